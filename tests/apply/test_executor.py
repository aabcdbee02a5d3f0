"""Carrying a plan out: in order, read back, stopped where the store is not as expected, one result per appliance."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.perform import describe
from reconciler.apply.result import Outcome
from reconciler.plan.model import Action, Plan, State
from tests.apply.stage import PASSPHRASE, Stage, outcomes
from tests.plan.scenes import ALL, OWN, Scene, leaf, one, own, provided, requested, say, two
from tests.support.authority import Issued, make_key, self_signed
from tests.support.desired import desired
from tests.support.memory import Fault, MemoryStore, Meter

if TYPE_CHECKING:
    from collections.abc import Callable

OLD, NEW = leaf(one(), start=-300, names=ALL), leaf(two(), start=-10, names=ALL)
SCENE = Scene({"new": provided(NEW)}, default="new")
RENEWED = leaf(one(), start=-10, names=ALL)
PAIR = Scene({"new": provided(RENEWED)}, default="new", west="")
CHANGING = replace(SCENE, west="")
"""A pair that changes to another CA."""
GUESS = "open sesame"
STEPS = ["import Root Two", "import Issuer Two", "import new", "default new", "remove old"]


def before() -> MemoryStore:
    return MemoryStore().put(OLD, name="old", default=True).put(*OLD.chain)


def stage(scene: Scene = SCENE, *, west: MemoryStore | None = None) -> tuple[Stage, MemoryStore]:
    east = before()
    stores = {"east": east} if west is None else {"east": east, "west": west}
    return Stage(scene, stores), east


def fingerprint(issued: Issued) -> str:
    return issued.certificate.fingerprint


def steps(actions: tuple[Action, ...]) -> list[str]:
    return [say(each) for each in actions if each.state is State.READY]


class TestOrder:
    def test_every_action_runs_in_order_and_is_read_back_before_the_next(self) -> None:
        it, east = stage()
        assert steps(it.plan().actions) == STEPS
        result = it.apply()["east"]
        assert result.outcome is Outcome.APPLIED
        assert outcomes(result) == ["applied"] * 5
        looked = ["import", "observe", "import", "observe", "import", "observe"]
        assert east.calls == ["open", "recover", "observe", *looked, "set_default", "observe", "remove", "observe"]
        assert east.default == fingerprint(NEW)
        assert fingerprint(OLD) not in east.rows
        assert east.live.by_fingerprint[fingerprint(NEW)].has_key

    def test_a_second_run_finds_nothing_to_do_and_touches_nothing(self) -> None:
        it, east = stage()
        it.apply()
        east.calls.clear()
        result = it.apply()["east"]
        assert (result.outcome, result.steps, result.failed_step) == (Outcome.UNCHANGED, (), None)
        assert east.calls == []

    def test_a_key_arrives_under_a_passphrase_of_its_own_and_by_the_friendly_name(self) -> None:
        it, east = stage()
        it.apply()
        assert east.rows[fingerprint(NEW)].friendly_name == "new"

    def test_held_actions_are_not_carried_out(self) -> None:
        it, east = stage(replace(SCENE, policy="keep_previous: 30d"))
        assert outcomes(it.apply()["east"]) == ["applied"] * 4
        assert fingerprint(OLD) in east.rows

    def test_progress_is_told_step_by_step(self) -> None:
        it, _ = stage()
        it.apply()
        assert it.told == [
            ("east", "1/5 import Root Two"),
            ("east", "2/5 import Issuer Two"),
            ("east", "3/5 import new"),
            ("east", "4/5 make new the default"),
            ("east", "5/5 remove old"),
        ]


class TestFailure:
    @pytest.mark.parametrize("number", range(1, 6))
    def test_what_comes_after_a_refused_step_is_not_attempted(self, number: int) -> None:
        it, east = stage()
        call = [("import", 1), ("import", 2), ("import", 3), ("set_default", 1), ("remove", 1)][number - 1]
        east.faults[call] = Fault.REFUSE
        result = it.apply()["east"]
        assert result.outcome is Outcome.FAILED
        assert result.failed_step == number
        assert outcomes(result) == ["applied"] * (number - 1) + ["failed"] + ["not attempted"] * (5 - number)
        failed = result.steps[number - 1]
        assert (failed.message, failed.remedy) == ("the appliance refuses", "ask it why")
        assert len(east.changes) == number

    def test_running_again_completes_what_was_cut_off(self) -> None:
        it, east = stage()
        east.faults["set_default", 1] = Fault.REFUSE
        it.apply()
        assert steps(it.plan().actions) == STEPS[3:]
        assert it.apply()["east"].outcome is Outcome.APPLIED

    @pytest.mark.parametrize("call", [("import", 3), ("set_default", 1), ("remove", 1), ("create_self_signed", 1)])
    def test_an_effect_that_is_unknown_and_happened_counts_as_applied(self, call: tuple[str, int]) -> None:
        it, east = stage(Scene({"new": provided(NEW), "own": OWN}, default="new"))
        east.faults[call] = Fault.LOST_AFTER
        result = it.apply()["east"]
        assert result.outcome is Outcome.APPLIED
        assert set(outcomes(result)) == {"applied"}
        assert all(east.calls.count(each) == 1 for each in ("set_default", "remove", "create_self_signed"))

    @pytest.mark.parametrize("call", [("import", 3), ("set_default", 1), ("remove", 1), ("create_self_signed", 1)])
    def test_an_effect_that_is_unknown_and_did_not_happen_is_a_failure(self, call: tuple[str, int]) -> None:
        it, east = stage(Scene({"new": provided(NEW), "own": OWN}, default="new"))
        east.faults[call] = Fault.LOST_BEFORE
        result = it.apply()["east"]
        assert result.outcome is Outcome.FAILED
        assert result.failed_step
        assert result.steps[result.failed_step - 1].message == "no answer came"
        assert east.calls[-2:] == [call[0], "observe"]

    @pytest.mark.parametrize("call", [("import", 1), ("import", 3), ("set_default", 1), ("remove", 1)])
    def test_success_that_the_store_does_not_show_is_a_failure(self, call: tuple[str, int]) -> None:
        it, east = stage()
        east.faults[call] = Fault.IGNORE
        result = it.apply()["east"]
        assert result.outcome is Outcome.FAILED
        assert result.failed_step
        assert result.steps[result.failed_step - 1].message == "the store does not show it"

    def test_a_key_that_does_not_arrive_with_its_certificate_is_a_failure(self) -> None:
        it, east = stage()
        public_key = NEW.certificate.public_key
        east.meanwhile["observe", 4] = lambda: east.keys.pop(public_key)
        result = it.apply()["east"]
        assert (result.failed_step, result.steps[2].message) == (3, "the store does not show it")

    def test_a_store_that_cannot_be_opened_fails_before_any_step(self) -> None:
        it, east = stage()
        east.faults["open", 1] = Fault.UNREACHABLE
        result = it.apply()["east"]
        assert (result.outcome, result.failed_step) == (Outcome.FAILED, None)
        assert (result.message, result.remedy) == ("nobody answers", "check the cable")
        assert outcomes(result) == ["not attempted"] * 5

    @pytest.mark.parametrize("call", [("observe", 1), ("recover", 1)])
    def test_a_store_that_cannot_be_observed_first_is_left_alone(self, call: tuple[str, int]) -> None:
        it, east = stage()
        east.faults[call] = Fault.UNREACHABLE
        result = it.apply()["east"]
        assert (result.outcome, result.message) == (Outcome.FAILED, "nobody answers")
        assert east.changes == []

    def test_a_step_that_cannot_be_read_back_failed_and_is_not_called_unattempted(self) -> None:
        it, east = stage()
        east.faults["observe", 2] = Fault.UNREACHABLE
        result = it.apply()["east"]
        assert (result.outcome, result.failed_step) == (Outcome.FAILED, 1)
        assert result.steps[0].message == "whether it had its effect is not known: nobody answers"
        assert outcomes(result) == ["failed"] + ["not attempted"] * 4
        assert len(east.changes) == 1

    @pytest.mark.parametrize("fault", [Fault.CRASH, Fault.CRASH_AFTER])
    def test_a_broken_driver_fails_its_step_and_says_so_without_a_traceback(
        self, fault: Fault, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        it, east = stage()
        east.faults["set_default", 1] = fault
        result = it.apply()["east"]
        assert (result.outcome, result.failed_step) == (Outcome.FAILED, 4)
        assert result.steps[3].message == "whether it had its effect is not known: unexpected ZeroDivisionError"
        assert "--debug" in result.steps[3].remedy
        assert caplog.records == []
        caplog.set_level(logging.DEBUG)

    def test_a_driver_that_breaks_while_it_is_opened(self) -> None:
        it, east = stage()
        east.faults["open", 1] = Fault.CRASH
        result = it.apply()["east"]
        assert (result.outcome, result.message) == (Outcome.FAILED, "unexpected ZeroDivisionError")


def meddle(it: Stage, plan_then: Callable[[MemoryStore], object]) -> list[str]:
    """Plan, let somebody else change the store, apply; the outcomes."""
    east = it.stores["east"]
    result = it.apply(meanwhile=lambda: plan_then(east))["east"]
    assert result.outcome is Outcome.STALE
    assert east.changes == []
    assert result.steps[0].remedy == "plan again"
    return [f"{each.outcome.value} {each.message}".strip() for each in result.steps]


class TestStale:
    """The store moved after the plan was made: nothing more is done to it."""

    def test_somebody_imported_it_already(self) -> None:
        it, _ = stage()
        root = NEW.chain[-1]
        first, *rest = meddle(it, lambda east: east.put(root))
        assert first == f"stale the certificate {root.fingerprint[:16]} is in the store already"
        assert rest == ["not attempted"] * 4

    def test_somebody_changed_the_default(self) -> None:
        it, east = stage()
        it.stores["east"] = east.put(NEW, *NEW.chain, name="new")
        other = self_signed(["else.example.com"])
        first, _ = meddle(it, lambda east: east.put(other, default=True))
        assert first == f"stale the default is no longer the certificate {fingerprint(OLD)[:16]}"

    def test_somebody_removed_what_is_to_be_the_default(self) -> None:
        it, east = stage()
        east.put(NEW, *NEW.chain, name="new")
        first, _ = meddle(it, lambda east: east.drop(fingerprint(NEW)))
        assert first == f"stale the certificate {fingerprint(NEW)[:16]} is not in the store with its key"

    def test_somebody_took_the_key_of_what_is_to_be_the_default(self) -> None:
        it, east = stage()
        east.put(NEW, *NEW.chain, name="new")
        first, _ = meddle(it, lambda east: east.keys.pop(NEW.certificate.public_key))
        assert first.startswith("stale the certificate")

    def test_somebody_removed_it_already(self) -> None:
        it, east = stage()
        east.put(NEW, *NEW.chain, name="new", default=True)
        east.default = fingerprint(NEW)
        [only] = meddle(it, lambda east: east.drop(fingerprint(OLD)))
        assert only == f"stale the certificate {fingerprint(OLD)[:16]} is gone already"

    def test_what_is_removed_needs_its_successor_in_place(self) -> None:
        it, east = stage()
        east.put(NEW, *NEW.chain, name="new")
        east.default = fingerprint(NEW)
        [only] = meddle(it, lambda east: east.keys.pop(NEW.certificate.public_key))
        assert only == f"stale the certificate {fingerprint(NEW)[:16]} is not in the store with its key"

    def test_what_is_removed_needs_the_default_where_it_was(self) -> None:
        it, east = stage()
        east.put(NEW, *NEW.chain, name="new")
        east.default = fingerprint(NEW)

        def back(store: MemoryStore) -> None:
            store.default = fingerprint(OLD)

        [only] = meddle(it, back)
        assert only == f"stale the default is no longer the certificate {fingerprint(NEW)[:16]}"

    def test_between_two_steps(self) -> None:
        it, east = stage()
        other = self_signed(["else.example.com"])
        east.meanwhile["observe", 4] = lambda: east.put(other, default=True)
        result = it.apply()["east"]
        assert (result.outcome, result.failed_step) == (Outcome.STALE, 4)
        assert outcomes(result) == ["applied"] * 3 + ["stale", "not attempted"]
        assert "set_default" not in east.calls


class TestCreated:
    """What does not exist yet is bound to the one new object that appears."""

    SCENE = Scene({"own": OWN}, default="own", policy="keep_previous: 1m")

    def test_the_default_is_set_to_what_was_made(self) -> None:
        it = Stage(self.SCENE, {"east": MemoryStore()})
        result = it.apply()["east"]
        assert outcomes(result) == ["applied", "applied"]
        east = it.stores["east"]
        made = east.live.by_fingerprint[east.default or ""]
        assert made.common_name == "Made here"
        assert made.has_key
        assert it.apply()["east"].outcome is Outcome.UNCHANGED

    def test_removals_wait_for_what_was_made(self) -> None:
        aging = own(start=-364, end=0.5)
        east = MemoryStore().put(Issued(aging, make_key()), name="aging", default=True)
        east.keys[aging.public_key] = next(iter(east.keys.values()))
        it = Stage(self.SCENE, {"east": east})
        assert steps(it.plan().actions) == ["create own", "default own", "remove aging"]
        assert outcomes(it.apply()["east"]) == ["applied"] * 3
        assert aging.fingerprint not in east.rows

    def test_what_somebody_else_makes_at_the_same_time_is_not_taken_for_it(self) -> None:
        it = Stage(self.SCENE, {"east": MemoryStore()})
        east = it.stores["east"]
        stranger = self_signed(["access.example.com"], common_name="Made here by somebody else")
        east.meanwhile["observe", 2] = lambda: east.put(stranger)
        assert it.apply()["east"].outcome is Outcome.APPLIED
        assert east.default != fingerprint(stranger)

    def test_where_it_cannot_be_told_apart_nothing_more_is_done(self) -> None:
        it = Stage(self.SCENE, {"east": MemoryStore()})
        east = it.stores["east"]
        twin = own(start=0)

        def another() -> None:
            east.put(twin)
            east.keys[twin.public_key] = next(iter(east.keys.values()))

        east.meanwhile["observe", 2] = another
        result = it.apply()["east"]
        assert outcomes(result) == ["failed", "not attempted"]
        assert east.rows[east.default or ""].friendly_name == "factory"

    @pytest.mark.parametrize("wrong", ["names", "key", "subject"])
    def test_another_certificate_than_was_asked_for_is_a_failure(self, wrong: str) -> None:
        it = Stage(self.SCENE, {"east": MemoryStore()})
        east = it.stores["east"]
        made = {
            "names": own(start=0, names=["else.example.com"]),
            "key": own(start=0, key="ec-p384"),
            "subject": own(start=0, common_name="Else"),
        }[wrong]
        east.faults["create_self_signed", 1] = Fault.IGNORE
        east.meanwhile["observe", 2] = lambda: east.put(made)
        assert outcomes(it.apply()["east"]) == ["failed", "not attempted"]


class TestFleet:
    def test_the_primary_comes_after_the_other_members(self) -> None:
        it, _ = stage(PAIR, west=before())
        results = it.apply()
        assert {each.outcome for each in results.values()} == {Outcome.APPLIED}
        assert [name for name, _ in it.told] == ["west"] * 3 + ["east"] * 3

    def test_and_does_not_wait_for_their_success(self) -> None:
        it, _ = stage(PAIR, west=before())
        it.stores["west"].faults["import", 1] = Fault.REFUSE
        results = it.apply()
        assert {name: each.outcome for name, each in results.items()} == {
            "east": Outcome.APPLIED,
            "west": Outcome.FAILED,
        }
        assert [name for name, _ in it.told] == ["west"] + ["east"] * 3

    def test_nor_for_a_member_that_has_nothing_to_do(self) -> None:
        settled = MemoryStore().put(RENEWED, name="new", default=True).put(*RENEWED.chain)
        it, _ = stage(PAIR, west=settled)
        results = it.apply()
        assert results["west"].outcome is Outcome.UNCHANGED
        assert results["east"].outcome is Outcome.APPLIED
        assert settled.calls == []

    @pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.CRASH])
    def test_one_that_fails_leaves_the_others_alone(self, fault: Fault) -> None:
        it, _ = stage(PAIR, west=before())
        it.stores["west"].faults["open", 1] = fault
        results = it.apply()
        assert (results["west"].outcome, results["east"].outcome) == (Outcome.FAILED, Outcome.APPLIED)

    def test_with_one_at_a_time_the_primary_does_not_hold_the_place_that_a_member_needs(self) -> None:
        it, _ = stage(PAIR, west=before())
        assert {each.outcome for each in it.apply(concurrency=1).values()} == {Outcome.APPLIED}

    @pytest.mark.parametrize(("limit", "most"), [(1, 1), (3, 3), (16, 6)])
    def test_no_more_appliances_than_allowed_are_worked_on_at_once(self, limit: int, most: int) -> None:
        names = [f"node-{index}" for index in range(6)]
        files = {"certificates/own.yaml": OWN}
        for name in names:
            files[f"appliances/{name}.yaml"] = (
                f"hostname: {name}.example.com\nstore: {{driver: directory}}\ncertificates: [own]\ndefault: own\n"
                "client_software: none\n"
            )
        meter = Meter()
        it = Stage(desired(files), {name: MemoryStore(meter=meter) for name in names})
        results = it.apply(concurrency=limit)
        assert {each.outcome for each in results.values()} == {Outcome.APPLIED}
        assert (meter.most, meter.now) == (most, 0)


class TestWaiting:
    """Appliances that wait for each other's actions; nobody waits for ever."""

    @pytest.mark.parametrize("concurrency", [1, 16])
    def test_a_change_of_root_goes_on_when_all_have_it(self, concurrency: int) -> None:
        stores = {name: before() for name in ("east", "west", "north")}
        it = Stage(replace(CHANGING, north=""), stores)
        seen: list[bool] = []
        for store in stores.values():
            store.meanwhile["set_default", 1] = lambda: seen.append(
                all(fingerprint(NEW) in each.rows for each in stores.values())
            )
        assert {each.outcome for each in it.apply(concurrency=concurrency).values()} == {Outcome.APPLIED}
        assert seen == [True] * 3
        assert it.plan().actions == ()

    @pytest.mark.parametrize("call", [("import", 3), ("open", 1), ("observe", 1)])
    def test_where_one_fails_the_others_keep_what_they_have(self, call: tuple[str, int]) -> None:
        it = Stage(CHANGING, {"east": before(), "west": before()})
        it.stores["west"].faults[call] = Fault.UNREACHABLE
        results = it.apply()
        assert outcomes(results["east"]) == ["applied"] * 3 + ["not attempted"] * 2
        assert results["east"].steps[3].message == "west/import/new did not succeed"
        assert it.stores["east"].default == fingerprint(OLD)

    @staticmethod
    def waiting(plan: Plan, waits: dict[str, str], follows: dict[str, str]) -> Plan:
        """The plan with the first action of an appliance waiting for an action, or an appliance following another."""
        parts = []
        for part in plan.appliances:
            first, *rest = part.actions
            depends = (*first.depends_on, *([waits[part.name]] if part.name in waits else []))
            actions = (first.model_copy(update={"depends_on": depends}), *rest)
            behind = (follows[part.name],) if part.name in follows else ()
            parts.append(part.model_copy(update={"actions": actions, "follows": behind}))
        return plan.model_copy(update={"appliances": tuple(parts)})

    @pytest.mark.parametrize("concurrency", [1, 16])
    def test_where_everybody_waits_for_each_other_nothing_is_done(self, concurrency: int) -> None:
        it = Stage(PAIR, {"east": before(), "west": before()})
        plan = self.waiting(it.plan(), {"east": "west/import/new", "west": "east/import/new"}, {})
        results = it.apply(plan, concurrency=concurrency)
        assert {each.outcome for each in results.values()} == {Outcome.NOT_ATTEMPTED}
        assert {*outcomes(results["east"]), *outcomes(results["west"])} == {"not attempted"}
        assert all(each.changes == [] for each in it.stores.values())

    def test_where_each_follows_the_other_both_go_on(self) -> None:
        it = Stage(PAIR, {"east": before(), "west": before()})
        plan = self.waiting(it.plan(), {}, {"east": "west", "west": "east"})
        assert {each.outcome for each in it.apply(plan).values()} == {Outcome.APPLIED}

    def test_where_one_waits_for_whom_it_is_followed_by(self) -> None:
        it = Stage(PAIR, {"east": before(), "west": before()})
        plan = self.waiting(it.plan(), {"west": "east/import/new"}, {"east": "west"})
        results = it.apply(plan)
        assert {each.outcome for each in results.values()} <= {Outcome.APPLIED, Outcome.NOT_ATTEMPTED}

    def test_what_waits_for_an_appliance_that_is_not_in_the_plan_is_not_attempted(self) -> None:
        it = Stage(PAIR, {"east": before(), "west": before()})
        plan = self.waiting(it.plan(), {"west": "north/import/new"}, {})
        results = it.apply(plan)
        assert outcomes(results["west"]) == ["not attempted"] * 3
        assert results["west"].steps[0].message == "north/import/new did not succeed"
        assert results["east"].outcome is Outcome.APPLIED


class TestRequests:
    """Requests are made, waited for, answered and withdrawn."""

    ANSWER = leaf(one(), start=-10, names=ALL)
    UNASKED = Scene({"access": requested()})
    ANSWERED = Scene({"access": requested(ANSWER)})

    def test_a_request_is_made_once(self) -> None:
        it = Stage(self.UNASKED, {"east": MemoryStore()})
        assert outcomes(it.apply()["east"]) == ["applied"]
        [made] = it.stores["east"].requests.values()
        assert (made.key_kind, [each.value for each in made.subject_alternative_names]) == ("ec-p256", list(ALL))
        assert dict(made.subject.attributes) == {"CN": "Example remote access", "O": "Example Company", "C": "US"}
        assert made.public_key in it.stores["east"].keys
        assert it.apply()["east"].outcome is Outcome.UNCHANGED
        assert len(it.stores["east"].requests) == 1

    def test_a_request_with_the_same_key(self) -> None:
        aging = leaf(one(), start=-340, end=20, names=ALL)
        east = MemoryStore().put(aging, *aging.chain, name="access")
        it = Stage(Scene({"access": requested(aging)}), {"east": east})
        assert outcomes(it.apply()["east"]) == ["applied"]
        assert [each.public_key for each in east.requests.values()] == [aging.certificate.public_key]
        assert it.apply()["east"].outcome is Outcome.UNCHANGED

    def test_an_effect_that_is_unknown_and_happened_counts_as_applied(self) -> None:
        it = Stage(self.UNASKED, {"east": MemoryStore()})
        it.stores["east"].faults["create_request", 1] = Fault.LOST_AFTER
        assert outcomes(it.apply()["east"]) == ["applied"]
        assert it.stores["east"].calls.count("create_request") == 1

    @pytest.mark.parametrize("fault", [Fault.LOST_BEFORE, Fault.IGNORE, Fault.REFUSE])
    def test_one_that_did_not_come_to_be_is_a_failure(self, fault: Fault) -> None:
        it = Stage(self.UNASKED, {"east": MemoryStore()})
        it.stores["east"].faults["create_request", 1] = fault
        assert outcomes(it.apply()["east"]) == ["failed"]
        assert it.stores["east"].requests == {}
        assert it.apply()["east"].outcome is Outcome.APPLIED

    @pytest.mark.parametrize(
        "other",
        [
            leaf(one(), names=["else.example.com"]),
            leaf(one(), names=ALL, common_name="Else"),
            one().issue(ALL, key_kind="ec-p384"),
        ],
        ids=["names", "subject", "key"],
    )
    def test_what_somebody_else_asks_for_at_the_same_time_is_not_taken_for_it(self, other: Issued) -> None:
        it = Stage(self.UNASKED, {"east": MemoryStore()})
        east = it.stores["east"]
        east.faults["create_request", 1] = Fault.IGNORE
        east.meanwhile["observe", 2] = lambda: east.ask(other)
        assert outcomes(it.apply()["east"]) == ["failed"]

    def test_a_request_with_another_key_is_not_taken_for_one_with_the_same(self) -> None:
        aging = leaf(one(), start=-340, end=20, names=ALL)
        east = MemoryStore().put(aging, *aging.chain, name="access")
        it = Stage(Scene({"access": requested(aging)}), {"east": east})
        east.faults["create_request", 1] = Fault.IGNORE
        east.meanwhile["observe", 2] = lambda: east.ask(self.ANSWER)
        assert outcomes(it.apply()["east"]) == ["failed"]

    def test_where_it_cannot_be_told_apart_it_is_a_failure(self) -> None:
        it = Stage(self.UNASKED, {"east": MemoryStore()})
        east = it.stores["east"]
        east.meanwhile["observe", 2] = lambda: east.ask(self.ANSWER)
        assert outcomes(it.apply()["east"]) == ["failed"]

    def test_an_answer_finds_its_key_in_the_store(self) -> None:
        it = Stage(self.ANSWERED, {"east": MemoryStore().ask(self.ANSWER)})
        assert outcomes(it.apply()["east"]) == ["applied"] * 3
        assert it.stores["east"].live.by_fingerprint[fingerprint(self.ANSWER)].has_key
        assert it.stores["east"].requests == {}

    def test_an_answer_whose_request_was_withdrawn_meanwhile_is_not_imported(self) -> None:
        east = MemoryStore().put(*self.ANSWER.chain).ask(self.ANSWER)
        it = Stage(self.ANSWERED, {"east": east})
        [pending] = east.requests
        step = it.apply(meanwhile=lambda: east.drop_request(pending))["east"].steps[0]
        key = self.ANSWER.certificate.public_key[:16]
        assert step.outcome is Outcome.STALE
        assert step.message == f"no certificate and no request in the store has the key {key}"
        assert east.changes == []

    def withdrawing(self) -> tuple[Stage, MemoryStore, str]:
        east = MemoryStore().ask(leaf(one(), names=["else.example.com"]))
        it = Stage(Scene({"own": OWN}, east="undeclared: remove\n"), {"east": east})
        return it, east, next(iter(east.requests))

    def test_a_request_is_withdrawn(self) -> None:
        it, east, _ = self.withdrawing()
        assert outcomes(it.apply()["east"]) == ["applied"] * 2
        assert east.requests == {}

    @pytest.mark.parametrize(
        ("fault", "came"),
        [(Fault.LOST_AFTER, "applied"), (Fault.LOST_BEFORE, "failed"), (Fault.IGNORE, "failed")],
    )
    def test_a_withdrawal_is_read_back(self, fault: Fault, came: str) -> None:
        it, east, _ = self.withdrawing()
        east.faults["remove_request", 1] = fault
        assert outcomes(it.apply()["east"]) == ["applied", came]

    def test_a_request_that_is_gone_already_is_stale(self) -> None:
        it, east, pending = self.withdrawing()
        east.meanwhile["observe", 2] = lambda: east.drop_request(pending)
        step = it.apply()["east"].steps[1]
        assert (step.outcome, step.message) == (Outcome.STALE, f"the request {pending[:16]} is not pending")


class TestUnfinished:
    def test_an_interrupted_change_is_finished_even_where_nothing_else_is_to_be_done(self) -> None:
        settled = MemoryStore(unfinished="a reload is due").put(NEW, name="new", default=True).put(*NEW.chain)
        it = Stage(SCENE, {"east": settled})
        result = it.apply(unfinished=("east",))["east"]
        assert (result.outcome, result.steps) == (Outcome.APPLIED, ())
        assert settled.calls == ["open", "recover"]
        assert settled.unfinished == ""

    def test_a_change_that_is_left_unfinished_fails_its_step(self) -> None:
        it, east = stage()

        def due() -> None:
            east.unfinished = "the reload failed"

        east.meanwhile["observe", 2] = due
        result = it.apply()["east"]
        assert (result.failed_step, result.steps[0].message) == (1, "the reload failed")
        assert outcomes(result) == ["failed"] + ["not attempted"] * 4

    def test_with_the_drivers_own_words_where_it_has_some(self) -> None:
        it, east = stage()

        def due() -> None:
            east.unfinished = "a reload is due"

        east.faults["import", 1] = Fault.LOST_AFTER
        east.meanwhile["observe", 2] = due
        step = it.apply()["east"].steps[0]
        assert (step.outcome, step.message, step.remedy) == (Outcome.FAILED, "no answer came", "look at the store")


class TestDependencies:
    def test_a_step_whose_forerunner_is_not_done_is_not_attempted(self) -> None:
        it, east = stage()
        plan = it.plan()
        [part] = plan.appliances
        without = part.model_copy(update={"actions": part.actions[1:]})
        result = it.apply(plan.model_copy(update={"appliances": (without,)}))["east"]
        assert result.outcome is Outcome.NOT_ATTEMPTED
        assert outcomes(result) == ["applied", "not attempted", "not attempted", "not attempted"]
        assert result.steps[1].message == f"{part.actions[0].id} did not succeed"
        assert east.changes == ["import"]


def everything(it: Stage, caplog: pytest.LogCaptureFixture, results: object) -> str:
    records = "".join(f"{each.getMessage()} {each.exc_text} {each.args}" for each in caplog.records)
    return f"{results!r} {it.told} {records} {caplog.text}"


class TestSecrets:
    """A key that cannot be had fails its own step with a sentence, and no secret shows anywhere."""

    def failed(self, it: Stage, caplog: pytest.LogCaptureFixture) -> str:
        caplog.set_level(logging.DEBUG)
        results = it.apply()
        result = results["east"]
        assert (result.outcome, result.failed_step) == (Outcome.FAILED, 3)
        assert it.stores["east"].changes == [], "a key that does not open is known before anything changes"
        shown = everything(it, caplog, results)
        assert PASSPHRASE not in shown
        assert GUESS not in shown
        assert "PRIVATE KEY" not in shown
        assert "Traceback" not in shown
        assert result.steps[2].remedy
        return result.steps[2].message

    def test_a_missing_environment_variable(self, caplog: pytest.LogCaptureFixture) -> None:
        it, _ = stage()
        it.environment.clear()
        assert self.failed(it, caplog) == "the environment variable PASSPHRASE is not set"

    def test_an_empty_environment_variable(self, caplog: pytest.LogCaptureFixture) -> None:
        it, _ = stage()
        it.environment["PASSPHRASE"] = ""
        assert self.failed(it, caplog) == "the environment variable PASSPHRASE is not set"

    def test_a_wrong_passphrase(self, caplog: pytest.LogCaptureFixture) -> None:
        it, _ = stage()
        it.environment["PASSPHRASE"] = GUESS
        assert "passphrase" in self.failed(it, caplog)

    def test_a_key_that_does_not_fit(self, caplog: pytest.LogCaptureFixture) -> None:
        it, _ = stage()
        it.files["certificates/new.key"] = OLD.key_pem(PASSPHRASE.encode())
        assert self.failed(it, caplog) == "certificates/new.key does not hold the key of new, or not as its first one"

    def test_a_file_that_holds_no_key(self, caplog: pytest.LogCaptureFixture) -> None:
        it, _ = stage()
        it.files["certificates/new.key"] = NEW.pem()
        assert self.failed(it, caplog) == "certificates/new.key does not hold the key of new, or not as its first one"

    def test_a_file_that_holds_nothing_that_is_understood(self, caplog: pytest.LogCaptureFixture) -> None:
        it, _ = stage()
        it.files["certificates/new.key"] = b"garbage"
        assert self.failed(it, caplog)

    def test_nothing_shows_where_all_goes_well_either(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        it, _ = stage()
        plan = it.plan()
        shown = everything(it, caplog, it.apply(plan)) + plan.model_dump_json() + repr(plan)
        assert PASSPHRASE not in shown
        assert "PRIVATE KEY" not in shown

    def test_nothing_shows_where_a_driver_breaks_over_it(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        it, east = stage()
        east.faults["import", 3] = Fault.CRASH
        shown = everything(it, caplog, it.apply())
        assert "ZeroDivisionError" in shown
        assert PASSPHRASE not in shown
        assert "PRIVATE KEY" not in shown


def test_a_committed_pkcs12_file_brings_the_key_along_too() -> None:
    it, east = stage()
    it.files["certificates/new.key"] = NEW.pkcs12(PASSPHRASE.encode())
    assert it.apply()["east"].outcome is Outcome.APPLIED
    assert east.live.by_fingerprint[fingerprint(NEW)].has_key


def test_actions_are_described_in_the_guides_words() -> None:
    east = before().ask(leaf(one(), names=["else.example.com"], common_name="Else"))
    asked = requested(names=["asked.example.com"])
    scene = Scene({"new": provided(NEW), "own": OWN, "asked": asked}, default="new", east="undeclared: remove\n")
    assert [describe(each) for each in Stage(scene, {"east": east}).plan().actions if each.state is State.READY] == [
        "import Root Two",
        "import Issuer Two",
        "import new",
        "create own",
        "make new the default",
        "withdraw the request for Else",
        "request asked",
    ]
