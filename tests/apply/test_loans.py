"""Keys on their way between appliances: when they are fetched, what goes wrong on the way, and that nothing shows."""

from __future__ import annotations

import base64
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from reconciler.apply.result import ApplianceResult, Outcome
from reconciler.live.driver import ExportedFile, Format
from reconciler.pki.keys import private_key
from reconciler.pki.writing import write_der, write_pkcs12
from reconciler.plan.digest import digest
from reconciler.plan.model import Import, Loan, State
from tests.apply.stage import Stage, outcomes
from tests.plan.scenes import ALL, OWN, Scene, leaf, one, own, requested, two
from tests.support.authority import NOW, Issued
from tests.support.memory import Fault, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping

ISSUED = leaf(one(), start=-10, names=ALL)
OTHER = leaf(one(), start=-10, names=["other.example.com"])
PRINT = ISSUED.certificate.fingerprint
SCENE = Scene({"access": requested(ISSUED)}, default="access", west="")
THREE = replace(SCENE, north="")
MADE = Scene({"own": OWN}, default="own", west="")
EACH = Scene(
    {"access": requested(ISSUED), "other": requested(OTHER, names=["other.example.com"])}, default="access", west=""
)
EXPORTING = "exporting keys for other appliances"
both = pytest.mark.parametrize("concurrency", [1, 16])


def settled(*issued: Issued) -> MemoryStore:
    store = MemoryStore().put(*one().chain, one().certificate)
    for each in issued or (ISSUED,):
        store.put(each, name="access", default=True)
    return store


def asked(*issued: Issued) -> MemoryStore:
    store = MemoryStore()
    for each in issued or (ISSUED,):
        store.ask(each)
    return store


def applied(results: Mapping[str, ApplianceResult]) -> bool:
    return {each.outcome for each in results.values()} <= {Outcome.APPLIED, Outcome.UNCHANGED}


def identical(it: Stage, fingerprint: str) -> bool:
    """Whether every appliance holds a certificate with its key, and serves it by default."""
    return all(
        fingerprint in store.rows and store.live.by_fingerprint[fingerprint].has_key and store.default == fingerprint
        for store in it.stores.values()
    )


def failed(result: ApplianceResult) -> str:
    """What the one failed step of an appliance says."""
    [step] = [each for each in result.steps if each.outcome is Outcome.FAILED]
    assert step.remedy
    return step.message


class TestAtOnce:
    """What a member holds already is exported before anything changes anywhere."""

    @both
    def test_a_member_gets_what_another_holds(self, concurrency: int) -> None:
        it = Stage(SCENE, {"east": settled(), "west": MemoryStore()})
        assert applied(it.apply(concurrency=concurrency))
        assert identical(it, PRINT)
        assert it.told[0] == ("east", EXPORTING)
        assert it.stores["east"].calls == ["open", "export"], "the lender is not changed"
        assert it.plan().actions == ()

    def test_it_is_exported_before_anything_changes(self) -> None:
        it = Stage(EACH, {"east": settled(ISSUED), "west": settled(OTHER)})
        seen: list[list[str]] = []
        for store in it.stores.values():
            store.meanwhile["export", 1] = lambda: seen.append([c for each in it.stores.values() for c in each.changes])
        assert applied(it.apply())
        assert seen == [[], []]

    @both
    def test_two_lend_to_each_other(self, concurrency: int) -> None:
        it = Stage(EACH, {"east": settled(ISSUED), "west": settled(OTHER)})
        assert applied(it.apply(concurrency=concurrency))
        assert identical(it, PRINT)
        assert all(OTHER.certificate.fingerprint in each.live.by_fingerprint for each in it.stores.values())

    def test_one_export_serves_several(self) -> None:
        it = Stage(THREE, {"east": settled(), "west": MemoryStore(), "north": MemoryStore()})
        assert applied(it.apply())
        assert identical(it, PRINT)
        assert it.stores["east"].calls.count("export") == 1

    def test_a_key_comes_from_an_older_certificate_and_goes_with_the_answer(self) -> None:
        before = one().issue(ALL, not_before=NOW.replace(year=2026, month=1), not_after=NOW.replace(year=2027))
        answer = one().issue(ALL, not_before=NOW, not_after=NOW.replace(year=2028), key=before.key)
        scene = replace(SCENE, certificates={"access": requested(answer)})
        it = Stage(scene, {"east": settled(before), "west": MemoryStore()})
        assert applied(it.apply())
        assert identical(it, answer.certificate.fingerprint)
        assert before.certificate.fingerprint not in it.stores["west"].rows

    @pytest.mark.parametrize(
        ("call", "fault", "why"),
        [
            ("export", Fault.REFUSE, "the appliance refuses"),
            ("export", Fault.UNREACHABLE, "nobody answers"),
            ("export", Fault.CRASH, "unexpected ZeroDivisionError"),
            ("export", Fault.LOST_BEFORE, "no answer came"),
            ("open", Fault.UNREACHABLE, "nobody answers"),
            ("open", Fault.CRASH, "unexpected ZeroDivisionError"),
        ],
    )
    def test_a_lender_that_fails_fails_the_step_that_borrows(self, call: str, fault: Fault, why: str) -> None:
        it = Stage(SCENE, {"east": settled(), "west": MemoryStore()})
        it.stores["east"].faults[call, 1] = fault
        results = it.apply()
        assert results["west"].outcome is Outcome.FAILED
        assert results["east"].outcome is Outcome.UNCHANGED
        assert outcomes(results["west"]) == ["applied", "applied", "failed", "not attempted"]
        assert failed(results["west"]) == f"its key could not be copied from east: {why}"
        assert PRINT not in it.stores["west"].rows

    def test_one_that_is_not_in_the_plan_lends_all_the_same(self) -> None:
        it = Stage(SCENE, {"east": settled(), "west": MemoryStore()})
        whole = it.plan()
        plan = whole.model_copy(update={"appliances": tuple(each for each in whole.appliances if each.name == "west")})
        assert applied(it.apply(plan))
        assert identical(it, PRINT)

    def test_one_that_fails_to_lend_goes_on_with_its_own(self) -> None:
        it = Stage(EACH, {"east": settled(ISSUED), "west": settled(OTHER)})
        it.stores["west"].faults["export", 1] = Fault.REFUSE
        results = it.apply()
        assert results["east"].outcome is Outcome.FAILED
        assert results["west"].outcome is Outcome.APPLIED

    @pytest.mark.parametrize("what", ["no key", "another", "another's passphrase", "garbage"])
    def test_what_is_not_the_certificate_with_its_key_is_not_imported(self, what: str) -> None:
        it = Stage(SCENE, {"east": settled(), "west": MemoryStore()})
        plain = ExportedFile(Format.DER, write_der(ISSUED.certificate))
        archive = write_pkcs12("x", private_key(OTHER.key), OTHER.certificate, (), b"else")
        it.stores["east"].exports = {
            "no key": plain,
            "another": ExportedFile(Format.DER, write_der(OTHER.certificate)),
            "another's passphrase": ExportedFile(Format.PKCS12, archive),
            "garbage": ExportedFile(Format.PKCS12, b"garbage"),
        }[what]
        result = it.apply()["west"]
        assert failed(result).startswith("its key could not be copied from east: ")
        assert PRINT not in it.stores["west"].rows
        if what in {"no key", "another"}:
            assert failed(result).endswith("what it exported is not the certificate with its key")

    def test_running_again_completes_what_was_not_lent(self) -> None:
        it = Stage(SCENE, {"east": settled(), "west": MemoryStore()})
        it.stores["east"].faults["export", 1] = Fault.REFUSE
        it.apply()
        assert applied(it.apply())
        assert identical(it, PRINT)


class TestAwaited:
    """What another action brings first is exported right after it."""

    @both
    @pytest.mark.parametrize("where", ["east", "west"])
    def test_an_answer_goes_from_where_its_key_waits_to_the_others(self, where: str, concurrency: int) -> None:
        it = Stage(SCENE, {name: asked() if name == where else MemoryStore() for name in ("east", "west")})
        assert applied(it.apply(concurrency=concurrency))
        assert identical(it, PRINT)
        assert all(each.requests == {} for each in it.stores.values())
        assert (it.plan().actions, it.told[0][1]) == ((), "1/4 import Root One")

    @both
    def test_what_is_made_on_the_primary_goes_to_the_others(self, concurrency: int) -> None:
        it = Stage(replace(MADE, north=""), {name: MemoryStore() for name in ("east", "west", "north")})
        results = it.apply(concurrency=concurrency)
        assert applied(results)
        made = it.stores["east"].default or ""
        assert it.stores["east"].rows[made].certificate.common_name == "Made here"
        assert identical(it, made)
        assert it.stores["east"].calls.count("export") == 1
        assert it.plan().actions == ()

    @both
    def test_a_renewed_one_waits_for_the_others_and_they_for_it(self, concurrency: int) -> None:
        aging = own(start=-340, end=25)
        stores = {}
        for name in ("east", "west"):
            store = MemoryStore().put(Issued(aging, ISSUED.key), name="aging", default=True)
            store.keys[aging.public_key] = private_key(ISSUED.key)
            stores[name] = store
        it = Stage(MADE, stores)
        assert applied(it.apply(concurrency=concurrency))
        assert identical(it, it.stores["east"].default or "")
        assert it.stores["east"].default != aging.fingerprint

    @both
    def test_two_lend_to_each_other(self, concurrency: int) -> None:
        it = Stage(EACH, {"east": asked(ISSUED), "west": asked(OTHER)})
        assert applied(it.apply(concurrency=concurrency))
        assert identical(it, PRINT)
        assert it.plan().actions == ()

    @pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.CRASH, Fault.UNREACHABLE])
    def test_a_lender_whose_import_fails_leaves_the_borrower_without(self, fault: Fault) -> None:
        it = Stage(SCENE, {"east": asked(), "west": MemoryStore()})
        it.stores["east"].faults["import", 3] = fault
        results = it.apply()
        assert results["east"].outcome is Outcome.FAILED
        assert outcomes(results["west"]) == ["applied", "applied", "not attempted", "not attempted"]
        assert results["west"].steps[2].message == "east/import/access did not succeed"

    @pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.UNREACHABLE, Fault.LOST_BEFORE])
    def test_a_lender_that_cannot_export_has_still_done_its_own(self, fault: Fault) -> None:
        it = Stage(SCENE, {"east": asked(), "west": MemoryStore()})
        it.stores["east"].faults["export", 1] = fault
        results = it.apply()
        assert results["east"].outcome is Outcome.APPLIED
        assert failed(results["west"]).startswith("its key could not be copied from east: ")

    def test_a_lender_whose_driver_breaks_while_it_exports(self) -> None:
        it = Stage(SCENE, {"east": asked(), "west": MemoryStore()})
        it.stores["east"].faults["export", 1] = Fault.CRASH
        results = it.apply()
        assert PRINT in it.stores["east"].rows
        assert results["west"].outcome is not Outcome.APPLIED
        assert "import access" not in results["west"].message

    def test_a_lender_that_dies_before_it_begins(self) -> None:
        it = Stage(SCENE, {"east": asked(), "west": MemoryStore()})
        it.stores["east"].faults["open", 1] = Fault.UNREACHABLE
        results = it.apply()
        assert results["east"].message == "nobody answers"
        assert outcomes(results["west"]) == ["applied", "applied", "not attempted", "not attempted"]
        assert results["west"].outcome is Outcome.NOT_ATTEMPTED

    def test_running_again_completes_it(self) -> None:
        it = Stage(SCENE, {"east": asked(), "west": MemoryStore()})
        it.stores["east"].faults["export", 1] = Fault.REFUSE
        it.apply()
        assert applied(it.apply())
        assert identical(it, PRINT)

    @staticmethod
    def waiting() -> Stage:
        """North begins, one at a time, and then waits for west."""
        return Stage(THREE, {"east": MemoryStore(), "north": MemoryStore(), "west": asked()})

    def test_the_store_is_closed_while_it_waits(self) -> None:
        it = self.waiting()
        assert applied(it.apply(concurrency=1))
        assert identical(it, PRINT)
        assert {name: each.calls.count("open") for name, each in it.stores.items()} == {
            "east": 1,
            "north": 2,
            "west": 1,
        }

    def test_what_moves_meanwhile_is_noticed(self) -> None:
        it = self.waiting()
        west, north = it.stores["west"], it.stores["north"]
        west.meanwhile["export", 1] = lambda: north.put(leaf(two()), name="stranger")
        results = it.apply(concurrency=1)
        assert results["west"].outcome is Outcome.APPLIED
        assert results["north"].outcome is Outcome.STALE
        assert outcomes(results["north"]) == ["applied", "applied", "stale", "not attempted"]
        assert results["north"].steps[2].message == "the store has changed since the plan was made"
        assert PRINT not in north.rows

    def test_what_moves_meanwhile_is_named_where_it_matters(self) -> None:
        it = self.waiting()
        north = it.stores["north"]
        it.stores["west"].meanwhile["export", 1] = lambda: north.put(ISSUED, name="by hand")
        step = it.apply(concurrency=1)["north"].steps[2]
        assert (step.outcome, step.message) == (Outcome.STALE, f"the certificate {PRINT[:16]} is in the store already")


class TestNothingShows:
    """Promise 4: neither the key nor the passphrase that it travels under."""

    @pytest.mark.parametrize("fault", [None, Fault.REFUSE, Fault.CRASH, Fault.CRASH_AFTER, Fault.LOST_AFTER])
    @pytest.mark.parametrize("where", ["export", "import"])
    def test_wherever_it_breaks(self, where: str, fault: Fault | None, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        it = Stage(SCENE, {"east": settled(), "west": MemoryStore()})
        store, number = (it.stores["east"], 1) if where == "export" else (it.stores["west"], 3)
        if fault:
            store.faults[where, number] = fault
        plan = it.plan()
        results = it.apply(plan)
        records = "".join(f"{each.getMessage()} {each.exc_text} {each.args}" for each in caplog.records)
        shown = f"{results!r} {it.told} {records} {caplog.text} {plan.model_dump_json()} {plan!r}"
        der = ISSUED.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        assert "PRIVATE KEY" not in shown
        assert base64.b64encode(der).decode()[-40:] not in shown
        assert der.hex()[-40:] not in shown

    def test_every_loan_is_in_the_digest_and_no_text_is(self) -> None:
        it = Stage(SCENE, {"east": settled(), "west": MemoryStore()})
        parts = it.plan().appliances
        [west] = [each for each in parts if each.name == "west"]

        def changed(**changes: object) -> str:
            actions = tuple(
                each.model_copy(update=changes) if isinstance(each, Import) and each.loan else each
                for each in west.actions
            )
            return digest([west.model_copy(update={"actions": actions})])

        reason = west.actions[0].reason.model_copy(update={"sentence": "in other words"})
        assert changed(reason=reason, label="renamed", source="elsewhere.yaml:1") == changed()
        assert changed(loan=Loan(appliance="north", certificate=PRINT)) != changed()
        assert changed(loan=Loan(appliance="east", certificate="0" * 64)) != changed()
        assert changed(state=State.WAITING) != changed()
