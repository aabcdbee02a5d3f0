"""Observe, check, plan, apply: the steps tied together, over simulated appliances."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.apply.result import Outcome
from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.base.findings import Severity
from reconciler.engine.operator import OperatorSettings, load_settings
from reconciler.engine.run import apply_planned, create_stores, observe_fleet, plan_fleet
from reconciler.engine.stores import Stores
from reconciler.live.driver import DriverType
from reconciler.live.web import WebConfiguration
from reconciler.plan.model import Progress, State
from tests.apply.stage import PASSPHRASE, Stage
from tests.plan.scenes import ALL, Scene, found, leaf, one, part, provided, steps, two
from tests.support.authority import DAY, NOW, self_signed
from tests.support.memory import Fault, MemoryConfiguration, MemoryStore, Meter, memory_driver

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.apply.result import ApplianceResult
    from reconciler.base.references import StoreConfiguration
    from reconciler.desired.state import DesiredState
    from reconciler.engine.run import Planned
    from reconciler.live.driver import OpenContext

OLD, NEW = leaf(one(), start=-300, names=ALL), leaf(one(), start=-10, names=ALL)
SETTINGS = OperatorSettings()
PAIR = Scene({"new": provided(NEW)}, default="new", west="")


def before(**more: object) -> MemoryStore:
    return MemoryStore(**more).put(OLD, name="old", default=True).put(*OLD.chain)  # type: ignore[arg-type]


class Engine:
    """The engine over simulated appliances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, scene: Scene, stores: Mapping[str, MemoryStore]) -> None:
        self.monkeypatch = monkeypatch
        self.state: DesiredState = Stage(scene, {}).state
        self.stores = stores
        self.told: list[tuple[str, str]] = []
        self.install(memory_driver(stores))
        monkeypatch.setenv("PASSPHRASE", PASSPHRASE)

    def install(self, driver: DriverType) -> None:
        # The appliances of scenes name the directory driver; here that is one in memory.
        self.monkeypatch.setattr("reconciler.engine.stores.driver_types", lambda: {"directory": driver})

    def plan(
        self,
        *,
        at: dt.datetime | None = None,
        only: frozenset[str] | None = None,
        allow_removals: int | None = None,
        settings: OperatorSettings = SETTINGS,
    ) -> Planned:
        async def run() -> Planned:
            return await plan_fleet(
                self.state,
                settings,
                lambda: NOW,
                at=at,
                only=only,
                allow_removals=allow_removals,
                notify=lambda appliance, happening: self.told.append((appliance, happening)),
            )

        return anyio.run(run)

    def apply(self, planned: Planned) -> dict[str, ApplianceResult]:
        async def run() -> tuple[ApplianceResult, ...]:
            return await apply_planned(planned, SETTINGS, lambda: NOW)

        return {each.appliance: each for each in anyio.run(run)}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(monkeypatch, PAIR, {"east": before(), "west": before()})


def test_a_plan_is_carried_out_and_the_second_one_is_empty(engine: Engine) -> None:
    planned = engine.plan()
    assert steps(planned.plan) == ["import new", "default new", "remove old"]
    results = engine.apply(planned)
    assert {each.outcome for each in results.values()} == {Outcome.APPLIED}
    again = engine.plan()
    assert again.plan.actions == ()
    assert {each.outcome for each in engine.apply(again).values()} == {Outcome.UNCHANGED}


def test_observing_changes_nothing_and_tells_of_each_appliance(engine: Engine) -> None:
    engine.plan()
    assert sorted(engine.told) == [("east", "observing"), ("west", "observing")]
    assert [each.calls for each in engine.stores.values()] == [["open", "observe"]] * 2


def test_progress_need_not_be_told_to_anybody(engine: Engine) -> None:
    async def run() -> int:
        return len((await observe_fleet(engine.state, SETTINGS, lambda: NOW)).stores)

    assert anyio.run(run) == 2


class TestUnreachable:
    @pytest.mark.parametrize("call", ["open", "observe"])
    def test_one_store_that_cannot_be_observed_is_its_own_finding(self, engine: Engine, call: str) -> None:
        engine.stores["west"].faults[call, 1] = Fault.UNREACHABLE
        planned = engine.plan()
        assert part(planned.plan, "west").progress is Progress.UNREACHABLE
        assert found(planned.plan) == ["unreachable"]
        assert steps(planned.plan) == ["import new", "default new", "remove old"]
        results = engine.apply(planned)
        assert (results["west"].outcome, results["east"].outcome) == (Outcome.UNCHANGED, Outcome.APPLIED)

    @pytest.mark.parametrize("call", ["open", "observe"])
    def test_a_broken_driver_is_its_appliances_finding_too(self, engine: Engine, call: str) -> None:
        engine.stores["west"].faults[call, 1] = Fault.CRASH
        planned = engine.plan()
        [finding] = part(planned.plan, "west").findings
        assert (finding.rule, finding.message) == ("unreachable", "unexpected ZeroDivisionError")
        assert "--debug" in finding.remedy
        assert steps(planned.plan) == ["import new", "default new", "remove old"]

    def test_an_error_that_is_no_stores_own_is_one_all_the_same(self, engine: Engine) -> None:
        def opening(_: StoreConfiguration, context: OpenContext) -> object:
            raise UsageError(f"{context.appliance} may not be contacted", "name it in the operator settings")

        engine.install(DriverType(MemoryConfiguration, opening))  # type: ignore[arg-type]  # it never opens anything
        planned = engine.plan()
        assert {each.message for each in planned.plan.all_findings} == {
            "east may not be contacted",
            "west may not be contacted",
        }


class TestOnly:
    def test_some_appliances_are_planned_and_the_members_of_their_sites_observed(self, engine: Engine) -> None:
        planned = engine.plan(only=frozenset({"east"}))
        assert [each.name for each in planned.plan.appliances] == ["east"]
        assert set(planned.observation.stores) == {"east", "west"}
        assert set(engine.apply(planned)) == {"east"}
        assert engine.stores["west"].changes == []

    def test_a_name_that_nobody_has_is_a_usage_error(self, engine: Engine) -> None:
        with pytest.raises(UsageError, match="no appliance is called north, south"):
            engine.plan(only=frozenset({"south", "east", "north"}))


class TestAcknowledge:
    def scene(self, *entries: str, east: str = "") -> Scene:
        lines = "".join(f"  - {each}\n" for each in entries)
        return replace(PAIR, west=None, east=f"{east}acknowledge:\n{lines}" if entries else east)

    def engine(self, monkeypatch: pytest.MonkeyPatch, scene: Scene) -> Engine:
        stranger = self_signed(["else.example.org"], common_name="Else")
        return Engine(monkeypatch, scene, {"east": before().put(stranger, name="stranger")})

    def test_what_nobody_accepted_is_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "undeclared" in found(self.engine(monkeypatch, self.scene()).plan().plan)

    def test_what_was_accepted_is_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scene = self.scene("{rule: undeclared, reason: known, until: 2026-11-23}")
        plan = self.engine(monkeypatch, scene).plan().plan
        assert "undeclared" not in found(plan)
        assert [each for each in found(plan) if each.startswith("acknowledgement")] == []

    def test_until_its_date(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scene = self.scene("{rule: undeclared, reason: known, until: 2026-11-22}")
        rules = found(self.engine(monkeypatch, scene).plan().plan)
        assert {"undeclared", "acknowledgement-expired"} <= set(rules)

    def test_what_nothing_needs_any_more_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scene = self.scene("{rule: newer-than-declared, reason: known, until: 2027-01-01}")
        assert "acknowledgement-unneeded" in found(self.engine(monkeypatch, scene).plan().plan)

    def test_but_not_by_a_plan_that_looked_at_a_part_of_the_fleet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scene = self.scene("{rule: newer-than-declared, reason: known, until: 2027-01-01}")
        plan = self.engine(monkeypatch, scene).plan(only=frozenset({"east"})).plan
        assert "acknowledgement-unneeded" not in found(plan)

    def test_accepting_a_hold_hides_the_finding_and_releases_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        new = leaf(two(), start=-10, names=ALL)
        entry = "\nacknowledge: [{rule: client-settling, reason: known, until: 2027-01-01}]\n"
        scene = Scene(
            {"new": provided(new, more=entry)},
            default="new",
            clients="client_software:\n"
            f"  - installed_at: 2025-01-01T00:00:00Z\n    trusts: [{one().chain[0].fingerprint}.pem]\n"
            "  - installed_at: 2026-11-22T12:00:00Z\n"
            f"    trusts: [{one().chain[0].fingerprint}.pem, {two().chain[0].fingerprint}.pem]\n",
        )
        plan = Engine(monkeypatch, scene, {"east": before()}).plan().plan
        assert "client-settling" not in found(plan)
        assert State.HELD in {each.state for each in plan.actions}

    def test_no_finding_is_shown_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = self.engine(monkeypatch, self.scene()).plan().plan
        assert len(plan.all_findings) == len(set(plan.all_findings))


class TestErrors:
    def test_an_error_of_form_stops_its_site(self, monkeypatch: pytest.MonkeyPatch) -> None:
        narrow = leaf(one(), start=-10, names=["else.example.org"], common_name="Else")
        engine = Engine(monkeypatch, Scene({"new": provided(narrow)}, default="new"), {"east": before()})
        planned = engine.plan()
        assert part(planned.plan).progress is Progress.STOPPED
        assert Severity.ERROR in {each.severity for each in planned.plan.findings}
        engine.apply(planned)
        assert engine.stores["east"].changes == []

    def test_an_expired_certificate_is_its_own_error_and_not_imported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lapsed = leaf(one(), start=-90, end=-1, names=ALL)
        engine = Engine(monkeypatch, Scene({"new": provided(lapsed)}, default="new"), {"east": before()})
        planned = engine.plan()
        assert part(planned.plan).progress is Progress.PLANNED
        assert steps(planned.plan) == []
        assert "expired" in found(planned.plan)


class TestAt:
    def test_a_plan_as_of_another_time_shows_what_falls_due(self, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = Engine(monkeypatch, replace(PAIR, west=None, policy="keep_previous: 30d"), {"east": before()})
        assert "remove old" not in steps(engine.plan().plan)
        planned = engine.plan(at=NOW + 20 * DAY)
        assert "remove old" in steps(planned.plan)
        assert (planned.plan.made_at, planned.plan.as_of) == (NOW + 20 * DAY, NOW + 20 * DAY)

    def test_and_cannot_be_applied(self, engine: Engine) -> None:
        planned = engine.plan(at=NOW + DAY)
        with pytest.raises(UsageError, match="cannot be applied"):
            engine.apply(planned)
        assert engine.stores["east"].changes == []


def test_the_ceiling_can_be_raised_for_one_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [self_signed([f"{name}.example.org"], common_name=name) for name in ("one", "two", "three")]
    store = MemoryStore().put(NEW, name="new", default=True).put(*NEW.chain).put(*rows)
    engine = Engine(monkeypatch, replace(PAIR, west=None, east="undeclared: remove\n"), {"east": store})
    assert steps(engine.plan().plan) == []
    assert len(steps(engine.plan(allow_removals=3).plan)) == 3


def test_no_more_stores_than_allowed_are_observed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter()
    engine = Engine(monkeypatch, PAIR, {"east": before(meter=meter), "west": before(meter=meter)})
    engine.plan(settings=OperatorSettings(concurrency=1))
    assert meter.most == 1
    engine.plan()
    assert meter.most == 2


def test_what_an_interrupted_change_left_due_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore(unfinished="a reload is due").put(NEW, name="new", default=True).put(*NEW.chain)
    engine = Engine(monkeypatch, replace(PAIR, west=None), {"east": store})
    planned = engine.plan()
    assert "unfinished-change" in found(planned.plan)
    assert engine.apply(planned)["east"].outcome is Outcome.APPLIED
    assert store.unfinished == ""


class TestCreateStores:
    def test_stores_are_made_where_their_driver_makes_them(self, engine: Engine) -> None:
        made: list[str] = []

        def create(_: StoreConfiguration, context: OpenContext) -> bool:
            made.append(context.appliance)
            return context.appliance == "west"

        engine.install(replace(memory_driver(engine.stores), create=create))
        settings = OperatorSettings()
        assert create_stores(engine.state, settings, lambda: NOW) == ("west",)
        assert made == ["east", "west"]

    def test_and_nowhere_else(self, engine: Engine) -> None:
        assert create_stores(engine.state, SETTINGS, lambda: NOW) == ()


def test_a_reload_command_reaches_only_the_store_that_the_operator_named(engine: Engine) -> None:
    seen: dict[str, tuple[str, ...]] = {}

    def create(_: StoreConfiguration, context: OpenContext) -> bool:
        seen[context.appliance] = context.reload
        return False

    engine.install(replace(memory_driver(engine.stores), create=create))
    create_stores(engine.state, OperatorSettings(reload={"west": ("systemctl", "reload", "haproxy")}), lambda: NOW)
    assert seen == {"east": (), "west": ("systemctl", "reload", "haproxy")}


def test_what_an_operators_store_names_is_read_beside_the_operators_file(tmp_path: Path) -> None:
    options = (
        "{driver: web, url: https://east.example.com, username: {env: U}, password: {env: P}, trust: {ca: root.pem}}"
    )
    (tmp_path / "operator.yaml").write_text(f"stores: {{east: {options}}}\n")
    (tmp_path / "root.pem").write_text("the operator's")
    settings = load_settings(tmp_path / "operator.yaml", {})
    stores = Stores(Stage(PAIR, {}).state, settings, lambda: NOW)
    configuration = stores.configuration("east")
    assert isinstance(configuration, WebConfiguration)
    assert stores.context("east").read(str(configuration.trust.ca)) == b"the operator's"
    with pytest.raises(UnreadableInput, match="check the operator settings"):
        stores.context("east").read(str(tmp_path / "none"))
