"""Whether appliances can be reached and understood, over simulated appliances and real TLS servers."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import FormatError, SecretUnavailable
from reconciler.engine.doctor import Examination, examine_fleet
from reconciler.engine.operator import OperatorSettings
from reconciler.live.driver import Check, CheckOutcome, DriverType
from reconciler.live.presented import Unseen
from reconciler.live.store import Operation
from tests.apply.stage import Stage
from tests.plan.scenes import ALL, Scene, leaf, one, provided
from tests.support.authority import NOW
from tests.support.memory import Fault, MemoryConfiguration, MemoryStore, Meter, memory_driver
from tests.support.presenting import Presenter, listening, refusing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.base.references import StoreConfiguration
    from reconciler.live.driver import OpenContext

pytestmark = pytest.mark.anyio
LEAF, OTHER = leaf(one(), names=ALL), leaf(one(), names=["west.example.com"])
EAST = "east.example.com"


class Doctor:
    """The doctor over simulated appliances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, east: str = "", west: str | None = "") -> None:
        self.monkeypatch = monkeypatch
        self.stores = {"east": MemoryStore(), "west": MemoryStore()}
        self.state = Stage(Scene({"new": provided(LEAF)}, default="new", east=east, west=west), {}).state
        self.told: list[tuple[str, str]] = []
        self.driver = memory_driver(self.stores)
        self.install(self.driver)

    def install(self, driver: DriverType) -> None:
        # The appliances of scenes name the directory driver; here that is another one.
        for module in ("doctor", "stores"):
            self.monkeypatch.setattr(f"reconciler.engine.{module}.driver_types", lambda: {"directory": driver})

    async def examine(
        self,
        settings: OperatorSettings | None = None,
        *,
        only: frozenset[str] | None = None,
        capture: Path | None = None,
    ) -> Mapping[str, Examination]:
        return await examine_fleet(
            self.state,
            settings or OperatorSettings(),
            lambda: NOW,
            only=only,
            notify=lambda appliance, happening: self.told.append((appliance, happening)),
            capture=capture,
        )


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> Doctor:
    return Doctor(monkeypatch)


def said(examination: Examination) -> dict[str, tuple[str, str]]:
    return {each.subject: (each.outcome.value, each.message) for each in examination.checks}


class TestStores:
    async def test_what_can_be_observed_is_readable(self, doctor: Doctor) -> None:
        doctor.stores["west"].put(LEAF)
        found = await doctor.examine()
        assert list(found) == ["east", "west"]
        assert said(found["east"])["readable"] == ("ok", "certificates: 1; certificate requests: 0")
        assert said(found["west"])["readable"] == ("ok", "certificates: 2; certificate requests: 0")
        assert sorted(doctor.told) == [("east", "examining"), ("west", "examining")]

    async def test_examining_changes_nothing(self, doctor: Doctor) -> None:
        doctor.stores["east"].unfinished = "a reload is due"
        await doctor.examine()
        assert [each.calls for each in doctor.stores.values()] == [["open", "observe"]] * 2

    async def test_unfinished_work_is_a_warning(self, doctor: Doctor) -> None:
        doctor.stores["east"].unfinished = "a reload is due"
        found = await doctor.examine()
        assert said(found["east"])["unfinished work"] == ("warning", "a reload is due")
        assert "unfinished work" not in said(found["west"])

    async def test_what_the_interface_does_not_offer_is_to_be_done_by_hand(self, doctor: Doctor) -> None:
        doctor.stores["east"].offers = frozenset({Operation.IMPORT, Operation.EXPORT})
        found = await doctor.examine()
        by_hand = [each.subject for each in found["east"].checks if each.outcome is CheckOutcome.BY_HAND]
        assert by_hand == [
            "create a self-signed certificate",
            "create a certificate request",
            "set the default",
            "remove a certificate",
            "remove a certificate request",
        ]
        assert CheckOutcome.BY_HAND not in {each.outcome for each in found["west"].checks}

    async def test_every_operation_has_words(self, doctor: Doctor) -> None:
        doctor.stores["east"].offers = frozenset()
        found = await doctor.examine()
        outcomes = [each.outcome for each in found["east"].checks]
        assert outcomes.count(CheckOutcome.BY_HAND) == len(Operation)

    @pytest.mark.parametrize("call", ["open", "observe"])
    async def test_one_that_cannot_be_observed_leaves_the_others_alone(self, doctor: Doctor, call: str) -> None:
        doctor.stores["west"].faults[call, 1] = Fault.UNREACHABLE
        found = await doctor.examine()
        check = found["west"].checks[0]
        assert check == Check("readable", CheckOutcome.FAILED, "nobody answers", "check the cable")
        assert said(found["east"])["readable"][0] == "ok"

    @pytest.mark.parametrize("call", ["open", "observe"])
    async def test_a_broken_driver_is_a_failed_check_too(
        self, doctor: Doctor, call: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        doctor.stores["west"].faults[call, 1] = Fault.CRASH
        found = await doctor.examine()
        check = found["west"].checks[0]
        assert (check.outcome, check.message) == (CheckOutcome.FAILED, "unexpected ZeroDivisionError")
        assert "--debug" in check.remedy
        assert "endpoint" in said(found["west"])
        assert said(found["east"])["readable"][0] == "ok"
        assert "a fault of the driver's own" in caplog.text

    async def test_any_error_of_ours_keeps_its_words(self, doctor: Doctor) -> None:
        def opening(*_: object) -> object:
            raise SecretUnavailable("the variable PASSWORD is not set", "set it")

        doctor.install(DriverType(MemoryConfiguration, opening))  # type: ignore[arg-type]  # it never opens anything
        found = await doctor.examine()
        check = found["east"].checks[0]
        assert (check.message, check.remedy) == ("the variable PASSWORD is not set", "set it")

    async def test_only_those_that_are_asked_for_are_examined(self, doctor: Doctor) -> None:
        assert list(await doctor.examine(only=frozenset({"west"}))) == ["west"]
        assert doctor.stores["east"].calls == []

    async def test_no_more_than_allowed_at_once(self, doctor: Doctor) -> None:
        meter = Meter()
        for store in doctor.stores.values():
            store.meter = meter
        await doctor.examine(OperatorSettings(concurrency=1))
        assert meter.most == 1
        await doctor.examine()
        assert meter.most == 2

    async def test_nobody_need_be_told(self, doctor: Doctor) -> None:
        assert len(await examine_fleet(doctor.state, OperatorSettings(), lambda: NOW)) == 2


class TestDriversOwnExamination:
    async def test_it_says_what_there_is_to_say_and_gets_the_folder_for_pages(self, doctor: Doctor) -> None:
        contexts: dict[str, OpenContext] = {}

        async def examine(_: StoreConfiguration, context: OpenContext) -> tuple[Check, ...]:
            contexts[context.appliance] = context
            return (Check("signed in", CheckOutcome.OK), Check("clock", CheckOutcome.WARNING, "90 seconds ahead"))

        doctor.install(replace(doctor.driver, examine=examine))
        settings = OperatorSettings(hosts=(EAST,))
        found = await doctor.examine(settings, capture=Path("pages"))
        assert [each.subject for each in found["east"].checks] == ["signed in", "clock", "endpoint"]
        assert contexts["east"].network == replace(settings.network, capture=Path("pages"))
        assert contexts["east"].declared == {LEAF.certificate.fingerprint}
        assert doctor.stores["east"].calls == []

    async def test_no_page_is_kept_unless_that_is_asked_for(self, doctor: Doctor) -> None:
        async def examine(_: StoreConfiguration, context: OpenContext) -> tuple[Check, ...]:
            return (Check("captures", CheckOutcome.OK, str(context.network.capture)),)

        doctor.install(replace(doctor.driver, examine=examine))
        assert said((await doctor.examine())["east"])["captures"] == ("ok", "None")

    @pytest.mark.parametrize(
        ("error", "message"),
        [(FormatError("half a page", "look"), "half a page"), (KeyError("x"), "unexpected KeyError")],
    )
    async def test_one_that_raises_is_a_failed_check(self, doctor: Doctor, error: Exception, message: str) -> None:
        async def examine(_: StoreConfiguration, context: OpenContext) -> tuple[Check, ...]:
            if context.appliance == "east":
                raise error
            return ()

        doctor.install(replace(doctor.driver, examine=examine))
        found = await doctor.examine()
        assert said(found["east"])["store"] == ("failed", message)
        assert "store" not in said(found["west"])


class TestServedNames:
    async def test_an_endpoint_that_is_not_known_is_asked_for(self, doctor: Doctor) -> None:
        examination = (await doctor.examine())["east"]
        check = examination.checks[-1]
        assert (check.subject, check.outcome) == ("endpoint", CheckOutcome.WARNING)
        assert "`endpoint: host:port` in appliances/east.yaml" in check.remedy
        assert examination.presented == {}

    async def test_each_protected_name_is_asked_for_and_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        presenter = Presenter(LEAF, {"west.example.com": OTHER})
        with ExitStack() as stack:
            host, port = stack.enter_context(listening(presenter))
            doctor = Doctor(monkeypatch, east=f"endpoint: {host}:{port}\n")
            found = await doctor.examine(OperatorSettings(hosts=(f"{host}:{port}",)), only=frozenset({"east"}))
        names = (None, *doctor.state.protected_names("east"))
        assert len(names) > 2
        assert list(found["east"].presented) == list(names)
        assert sorted(presenter.asked, key=str) == sorted(names, key=str)
        assert set(found["east"].presented.values()) == {LEAF.certificate}
        assert said(found["east"])["endpoint"] == ("ok", f"{host}:{port}")

    async def test_stores_behind_an_interface_are_served_at_the_host_name(self, doctor: Doctor) -> None:
        doctor.install(replace(doctor.driver, endpoint="hostname"))
        presenter = Presenter(LEAF)
        with listening(presenter) as (host, port):
            connect = {f"{EAST}:443": f"{host}:{port}"}
            found = await doctor.examine(OperatorSettings(hosts=(EAST,), connect=connect), only=frozenset({"east"}))
        assert found["east"].presented[EAST] == LEAF.certificate
        assert said(found["east"])["endpoint"] == ("ok", f"{EAST}:443, reached at {host}:{port}")

    async def test_a_host_that_is_not_allowed_is_not_contacted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        presenter = Presenter(LEAF)
        with listening(presenter) as (host, port):
            doctor = Doctor(monkeypatch, east=f"endpoint: {host}:{port}\n")
            found = await doctor.examine(OperatorSettings(hosts=("127.0.0.2",)))
        check = found["east"].checks[-1]
        assert (check.subject, check.outcome) == ("endpoint", CheckOutcome.FAILED)
        assert f"{host}:{port} is not among those" in check.message
        assert "`hosts` in the operator settings" in check.remedy
        assert presenter.asked == []
        assert found["east"].presented == {}

    @pytest.mark.parametrize(
        ("written", "host"), [("EAST.Example.com:8443", f"{EAST}:8443"), ("[0:0::1]:443", "::1"), ("a!b:443", "a!b")]
    )
    async def test_hosts_are_compared_as_the_operators_settings_spell_them(
        self, monkeypatch: pytest.MonkeyPatch, written: str, host: str
    ) -> None:
        doctor = Doctor(monkeypatch, east=f"endpoint: '{written}'\n", west=None)
        found = await doctor.examine()
        assert said(found["east"])["endpoint"][1].startswith(f"the host {host} is not")

    async def test_what_cannot_be_looked_at_says_why_for_each_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        host, port = refusing()
        doctor = Doctor(monkeypatch, east=f"endpoint: {host}:{port}\n", west=None)
        found = await doctor.examine(OperatorSettings(hosts=(f"{host}:{port}",)))
        assert set(found["east"].presented.values()) == {Unseen.REFUSED}
        assert len(found["east"].presented) > 1
