"""The loop in single situations: what it may do, what disturbs it, and how it ends and begins again."""

from __future__ import annotations

import gc
import logging
import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.apply.history import interrupted, read_history
from reconciler.apply.result import Outcome
from reconciler.apply.turns import Stop
from reconciler.base.clock import system_clock
from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.engine.load import load_desired
from reconciler.engine.run import apply_planned, begin_journal, check_rules, plan_fleet
from reconciler.engine.unattended import Suspension, Treatment, Unattended
from reconciler.live.driver import CertificateForm, NewKey, Upload
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.names import parse_name
from reconciler.watch.loop import Loop, Surroundings
from reconciler.watch.memory import Memory, held, read_watched
from reconciler.watch.model import ConditionType, Health, Sync, Truth
from reconciler.watch.reading import Reading, Trouble
from reconciler.watch.schedule import RealTimer
from tests.end_to_end.years import TurnedClock
from tests.support.authority import Issued, self_signed
from tests.watch.world import ALL, DAY, HOUR, RESYNC, World, install, running

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings
    from reconciler.engine.run import Checked
    from reconciler.live.store import LiveCertificate
    from reconciler.watch.model import Condition

pytestmark = pytest.mark.anyio
MINUTE = HOUR / 60


def condition(world: World, name: str, about: ConditionType) -> Condition:
    return next(each for each in world.appliance(name).conditions if each.type is about)


def stranger(world: World, name: str) -> Issued:
    """A certificate that nobody declares."""
    end = world.clock.now + 300 * DAY
    return self_signed([name], common_name=name, not_before=world.clock.now - HOUR, not_after=end)


def is_factory(live: LiveCertificate) -> bool:
    return "BeyondTrust" in live.friendly_name


def set_factory(world: World) -> None:
    """Make lab's default what it was when it came from the factory."""
    certificates = world.directory("lab").observe().certificates
    world.directory("lab").set_default(next(each for each in certificates if is_factory(each)).fingerprint)


def put(world: World, appliance: str, issued: Issued) -> None:
    world.directory(appliance).import_(Upload(issued.pkcs12(b"x"), b"x"))


# What it may do


@pytest.mark.parametrize("mode", ["plan", "observe"])
async def test_what_may_only_be_told_is_not_applied(world: World, mode: str) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
    world.watch = Unattended.model_validate({"mode": mode, "resync": "1d"})
    world.provide(world.issue())
    world.commit("c2")
    world.told.clear()
    async with running(world):
        await world.pass_(3 * DAY)
        east = world.appliance("east-1")
        # Nothing is wrong with it, and nobody has said that anything will be done about it.
        assert (east.mode, east.sync, east.health) == (mode, Sync.OUT_OF_SYNC, Health.HEALTHY)
        assert (east.ready, east.held, east.waiting) == (2, 0, 0)
        message = condition(world, "east-1", ConditionType.IN_SYNC).message
        todo = "import access.example.com; make access.example.com the default"
        told = f"1 to import, 1 default to set: {todo}"
        assert bool(east.todo) is (mode == "plan")
        assert message == (told if mode == "plan" else "it does not hold what is declared")
    assert {each.revision for each in read_history(world.journals)} == {"c1"}
    assert [str(each.after) for each in world.told if each.appliance == "east-1"] == ["OutOfSync"]


async def test_of_a_site_only_the_members_that_may_are_changed(world: World) -> None:
    world.watch = Unattended(mode="apply", resync=RESYNC, appliances={"west-1": Treatment(mode="plan")})
    world.commit("c1")
    async with running(world):
        await world.rest()
        # A site whose members would differ in what they serve is not changed by halves.
        assert condition(world, "east-1", ConditionType.VALID).reason == "SiteDivided"
        assert world.appliance("east-1").health is Health.DEGRADED
        assert world.appliance("west-1").ready
        assert world.appliance("lab").sync is Sync.SYNCED


async def test_a_suspension_ends_at_its_instant(world: World) -> None:
    pause = Suspension(reason="moving house", until=world.clock.now + 30 * HOUR)
    world.watch = Unattended(mode="apply", resync=RESYNC, sites={"access": Treatment(suspended=pause)})
    world.commit("c1")
    async with running(world):
        await world.pass_(29 * HOUR)
        assert world.appliance("east-1").health is Health.SUSPENDED
        assert world.appliance("east-1").suspended == "moving house, until 2026-11-24 18:00:00 UTC"
        assert [each.what for each in world.appliance("east-1").upcoming] == ["the suspension ends"]
        assert world.appliance("east-1").next_look == world.begin + 30 * HOUR
        world.chapter()
        await world.pass_(2 * HOUR)
        assert world.chapter() == [
            "1d06:00 looks: east-1 x2, west-1 x2",
            "  sync east-1: OutOfSync -> Synced",
            "  health east-1: Suspended -> Healthy",
            "  condition east-1: Served=False -> Served=True",
            "  apply east-1: - -> applied",
            "  sync west-1: OutOfSync -> Synced",
            "  health west-1: Suspended -> Healthy",
            "  condition west-1: Served=False -> Served=True",
            "  apply west-1: - -> applied",
            "  applied c1: east-1 import x3, east-1 set_default x1, west-1 import x3, west-1 set_default x1",
        ]


async def test_many_plans_remove_no_more_in_a_day_than_one_may(world: World) -> None:
    world.write("fleet.yaml", "policy: {removals_at_most: 1}\n")
    world.edit("appliances/lab.yaml", "client_software: none", "client_software: none\nundeclared: remove")
    world.watch = Unattended(mode="apply", resync=2 * HOUR)
    world.commit("c1")
    async with running(world):
        await world.rest()
        put(world, "lab", stranger(world, "one.example.com"))
        await world.turn_to(world.begin + 3 * HOUR)
        put(world, "lab", stranger(world, "two.example.com"))
        await world.turn_to(world.begin + 5 * HOUR)
        lab = world.appliance("lab")
        assert lab.removals == (world.begin + 2 * HOUR,)
        assert (lab.sync, lab.health, lab.held) == (Sync.OUT_OF_SYNC, Health.DEGRADED, 1)
        assert condition(world, "lab", ConditionType.VALID).reason == "RemovalCeiling"
        assert "1 removal of the last 24 hours counted" in lab.errors[0]
    # Not even a restart makes it forget.
    async with running(world):
        await world.rest()
        assert world.appliance("lab").held == 1
        world.chapter()
        await world.turn_to(world.begin + 26 * HOUR)
        assert [each for each in world.chapter() if "applied c1" in each or "condition" in each] == [
            "  condition lab: Valid=False -> Valid=True",
            "  applied c1: lab remove x1",
        ]
        assert world.appliance("lab").sync is Sync.SYNCED
        assert world.appliance("lab").removals == (world.begin + 26 * HOUR,)


async def test_a_request_that_is_withdrawn_counts_and_a_certificate_without_a_key_does_not(world: World) -> None:
    world.edit("appliances/lab.yaml", "client_software: none", "client_software: none\nundeclared: remove")
    world.commit("c1")
    async with running(world):
        await world.rest()
        subject = distinguished_name([("CN", "Somebody")])
        form = CertificateForm("somebody", NewKey("ec-p256"), subject, (parse_name("somebody.example.com"),))
        world.directory("lab").create_request(form)
        world.directory("lab").import_(Upload(world.authority.certificate.der))
        await world.pass_(RESYNC)
        assert world.appliance("lab").sync is Sync.SYNCED
        assert world.appliance("lab").removals == (world.clock.now,)
        assert (world.calls["lab", "remove"], world.calls["lab", "remove_request"]) == (1, 1)


async def test_a_removal_that_cannot_be_counted_does_not_happen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.edit("appliances/lab.yaml", "client_software: none", "client_software: none\nundeclared: remove")
    world.commit("c1")
    async with running(world):
        await world.rest()
        put(world, "lab", stranger(world, "one.example.com"))

        def full(self: Memory, watched: object) -> None:  # noqa: ARG001
            raise UnreadableInput("the disk is full", "make room")

        with monkeypatch.context() as patched:
            patched.setattr(Memory, "keep", full)
            await world.turn_to(world.begin + RESYNC + 15 * MINUTE)
            assert world.appliance("lab").last_apply.message == "the disk is full - make room"  # type: ignore[union-attr]
            assert ("lab", "remove") not in world.calls
        await world.turn_to(world.begin + RESYNC + HOUR)
        assert world.calls["lab", "remove"] == 1


# What disturbs it


async def test_an_appliance_that_hangs_delays_no_other(world: World) -> None:
    world.watch = Unattended(mode="apply", resync=HOUR)
    world.commit("c1")
    async with running(world):
        await world.pass_(HOUR / 2)
        world.meanwhile["lab", "observe"] = anyio.sleep_forever
        before = world.calls["east-1", "observe"]
        for _ in range(3):
            world.clock.now += HOUR
            world.timer.wake()
            await world.until(lambda: world.loop.busy == {"lab"} and bool(world.timer.sleeping))
        assert world.calls["east-1", "observe"] == before + 3
        assert world.loop.board.alive_at == world.clock.now
        # What concerns it meanwhile waits for it to come back, and is not forgotten.
        world.edit("certificates/lab.yaml", "common_name: Lab", "common_name: Laboratory")
        world.commit("c2")
        await world.until(lambda: world.source.waiting)
        assert world.loop.busy == {"lab"}
        looks = world.calls["lab", "open to look"]
    # It has ended in no time, though the appliance still hangs.
    assert world.calls["lab", "open to look"] == looks


async def test_those_who_failed_wait_for_each_other_only(world: World) -> None:
    world.watch = Unattended(mode="apply", resync=HOUR)
    world.concurrency = 1
    world.commit("c1")
    async with running(world):
        await world.rest()
        world.store("lab").rename(world.store("gone"))
        await world.turn_to(world.begin + HOUR)
        assert world.appliance("lab").failures == 1
        world.meanwhile["lab", "observe"] = anyio.sleep_forever
        world.store("gone").rename(world.store("lab"))
        world.clock.now += MINUTE
        world.timer.wake()
        await world.until(lambda: world.loop.busy == {"lab"} and world.timer.sleeping)
        before = world.calls["east-1", "observe"]
        world.provide(world.issue())
        world.commit("c2")
        await world.until(lambda: world.loop.busy == {"lab"} and world.appliance("east-1").held == 1)
        assert world.calls["east-1", "observe"] > before


async def test_what_fails_is_tried_in_its_own_time_whatever_the_resync(world: World) -> None:
    world.watch = Unattended(mode="apply", resync=4 * MINUTE)
    world.commit("c1")
    async with running(world):
        await world.rest()
        world.store("lab").rename(world.store("gone"))
        before = world.calls.copy()
        await world.turn_to(world.begin + HOUR)
        # From the fourth minute on: after half a minute, one, two, four, and then seven and a half each.
        assert world.calls["lab", "open to look"] - before["lab", "open to look"] == 1 + 4 + 6
        assert world.calls["east-1", "open to look"] - before["east-1", "open to look"] == 15


async def test_where_the_clock_is_set_back_everything_is_looked_at(world: World) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        world.store("lab").rename(world.store("gone"))
        await world.turn_to(world.begin + RESYNC)
        world.store("gone").rename(world.store("lab"))
        world.chapter()
        world.clock.now -= 1.5 * HOUR  # no instant that was waited for comes before the next resync
        world.timer.wake()
        await world.rest()
        assert world.chapter()[0] == "0d22:30 looks: east-1 x1, lab x1, west-1 x1"
        assert world.appliance("lab").sync is Sync.SYNCED


async def test_what_comes_during_a_turn_is_applied_in_place_of_what_it_was_begun_with(world: World) -> None:
    world.commit("c1")
    arrived, go_on = world.hold_up("lab", "observe")
    async with running(world):
        await arrived.wait()
        world.edit("certificates/lab.yaml", "common_name: Lab", "common_name: Laboratory")
        world.commit("c2")
        await world.until(lambda: world.source.waiting)
        go_on.set()
        await world.rest()
        subjects = {str(each.certificate.subject) for each in world.directory("lab").observe().certificates}
        assert any("Laboratory" in each for each in subjects)
        revisions = [each.revision for each in read_history(world.journals) if "lab" in each.appliances]
        assert revisions == ["c2"]


async def test_an_apply_that_fails_is_tried_again_ever_less_often_and_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_ACCESS_KEY", "not the passphrase")
    world.commit("c1")
    async with running(world):
        await world.turn_to(world.begin + HOUR)
        east = world.appliance("east-1")
        assert (east.health, east.failures) == (Health.DEGRADED, 12)
        assert condition(world, "east-1", ConditionType.APPLIED).status is Truth.FALSE
        assert [each.after for each in world.told if each.kind == "apply" and each.appliance == "east-1"] == ["failed"]
        assert world.appliance("lab").sync is Sync.SYNCED
        assert world.calls["lab", "observe"] == 5  # twice by the loop itself, and about two actions
        # A commit that concerns it is tried at once.
        monkeypatch.setenv("TEST_ACCESS_KEY", "correct horse battery staple")
        world.provide(world.issue())
        world.commit("c2")
        await world.rest()
        assert (world.appliance("east-1").failures, world.appliance("east-1").sync) == (0, Sync.SYNCED)
        assert condition(world, "east-1", ConditionType.APPLIED).since == world.clock.now


async def test_what_a_person_does_in_place_of_a_failed_apply_counts(world: World) -> None:
    async def refuse() -> None:
        raise UnreadableInput("no", "ask why")

    world.commit("c1")
    world.meanwhile["lab", "set_default"] = refuse
    async with running(world):
        await world.rest()
        assert condition(world, "lab", ConditionType.APPLIED).message == "no - ask why"
        certificates = world.directory("lab").observe().certificates
        world.directory("lab").set_default(next(each for each in certificates if not is_factory(each)).fingerprint)
        await world.pass_(MINUTE)
        assert condition(world, "lab", ConditionType.APPLIED).reason == "NothingLeft"
        assert (world.appliance("lab").failures, world.appliance("lab").health) == (0, Health.HEALTHY)


async def test_somebody_who_undoes_what_is_done_is_not_fought_without_end(world: World) -> None:
    async def undo() -> None:
        if world.calls["lab", "open to look"] > len(looks):
            looks.append(world.elapsed)
            set_factory(world)

    looks: list[str] = []
    world.commit("c1")
    world.meanwhile["lab", "observe"] = undo
    async with running(world):
        await world.turn_to(world.begin + HOUR)
        assert world.appliance("lab").failures == world.calls["lab", "set_default"] == 12
        assert condition(world, "lab", ConditionType.APPLIED).status is Truth.TRUE


async def test_an_appliance_whose_own_file_is_broken_stays_in_sight(world: World) -> None:
    world.commit("c1")
    async with running(world):
        await world.pass_(HOUR)
        before = world.appliance("lab")
        world.edit("appliances/lab.yaml", "hostname:", "hostnam:")
        world.commit("c2")
        await world.pass_(3 * DAY)
        lab = world.appliance("lab")
        assert (lab.sync, lab.health) == (Sync.UNKNOWN, Health.DEGRADED)
        assert lab.last_apply == before.last_apply
        assert any("unknown-key" in each for each in lab.errors)
        assert world.appliance("east-1").sync is Sync.SYNCED
        world.edit("appliances/lab.yaml", "hostnam:", "hostname:")
        world.commit("c3")
        await world.rest()
        assert (world.appliance("lab").sync, world.appliance("lab").errors) == (Sync.SYNCED, ())
        world.write("appliances/new-1.yaml", (world.root / "appliances/lab.yaml").read_text().replace("lab", "new-1"))
        (world.root / "appliances/lab.yaml").unlink()
        world.commit("c4")
        await world.rest()
        assert [each.name for each in world.loop.board.watched.appliances] == ["east-1", "new-1", "west-1"]
        assert world.appliance("new-1").sync is Sync.UNKNOWN


async def test_an_error_of_form_stops_its_site_and_nothing_else(world: World) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        world.chapter()
        world.edit("sites/access.yaml", "topology: failover", "topology: single")
        world.commit("c2")
        await world.pass_(HOUR)
        assert "lab" not in "".join(world.chapter())
        assert world.appliance("east-1").sync is Sync.UNKNOWN
        assert world.appliance("east-1").health is Health.DEGRADED


async def test_a_source_that_cannot_be_asked_leaves_what_is_in_force(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        world.chapter()
        refusal = Reading.refusal(Trouble.UNREACHABLE, "the remote does not answer")
        for revision in ("again", "and again"):
            world.source.offer(refusal, revision)
            await world.pass_(HOUR)
        source = world.loop.board.watched.source
        assert (source.revision, source.trouble, source.problem) == ("c1", "Unreachable", refusal.message)
        assert source.problem_since == world.begin

        async def fails() -> Reading:
            raise UnreadableInput("the clone is gone", "clone it again")

        monkeypatch.setattr(world.source, "read", fails)
        world.source.offer(refusal, "once more")
        await world.rest()
        assert world.loop.board.watched.source.problem == "the clone is gone - clone it again"

        async def breaks() -> Reading:
            raise ZeroDivisionError

        monkeypatch.setattr(world.source, "read", breaks)
        with caplog.at_level(logging.CRITICAL, "reconciler"):
            world.source.offer(refusal, "the last time")
            await world.rest()
        assert world.loop.board.watched.source.problem == "unexpected ZeroDivisionError"
        assert world.loop.board.figures.errors == 1
        monkeypatch.undo()
        world.commit("c1")
        await world.until(lambda: not world.loop.board.watched.source.trouble)
    assert world.told[-1].message == "origin/main is as it should be again"
    assert [each.before for each in world.told if each.kind == "source"] == ["", "", "Unreachable"]


async def test_a_source_that_breaks_while_it_is_waited_for_is_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("reconciler.watch.loop.LONGEST_SLEEP", MINUTE / 60 / 100)
    world.commit("c1")
    with monkeypatch.context() as patched, caplog.at_level(logging.CRITICAL, "reconciler"):
        patched.setattr(world.source, "wait", breaks)
        async with running(world):
            await world.until(lambda: world.loop.board.ready and world.loop.board.figures.errors > 1)
            world.edit("fleet.yaml", "policy: {}", "policy: {renew_before: 20d}")
            world.commit("c2")
            await world.until(lambda: world.loop.board.watched.source.revision == "c2")


async def test_what_comes_while_a_turn_begins_is_what_the_turn_goes_by(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.commit("c1")
    go_on = threading.Event()
    async with running(world):
        await world.rest()
        checks: list[str | None] = []

        def slow(state: DesiredState, now: dt.datetime, settings: OperatorSettings) -> Checked:
            checks.append(state.revision)
            if len(checks) == 1:
                go_on.wait(10)
            return check_rules(state, now, settings)

        monkeypatch.setattr("reconciler.watch.loop.check_rules", slow)
        world.clock.now = world.begin + RESYNC
        world.timer.wake()
        await world.until(lambda: bool(checks))
        world.provide(world.issue())
        world.commit("c2")
        await world.until(lambda: world.loop.board.watched.source.revision == "c2" and world.source.waiting)
        go_on.set()
        await world.rest()
        assert checks == ["c1", "c2"]
    assert {each.revision for each in read_history(world.journals) if each.began == world.clock.now} == {"c2"}
    assert world.calls["lab", "observe"] == 6


async def test_a_turn_that_goes_wrong_unexpectedly_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        with monkeypatch.context() as patched:

            def broken(*_: object, **__: object) -> None:
                raise ZeroDivisionError

            patched.setattr("reconciler.watch.turn.plan_observed", broken)
            patched.setattr("reconciler.watch.ledger._log", logging.getLogger("nobody listens"))
            await world.turn_to(world.begin + RESYNC + MINUTE)
        assert world.appliance("lab").failures == 2
        assert world.loop.board.figures.errors == 4
        await world.turn_to(world.begin + RESYNC + HOUR)
        assert world.appliance("lab").failures == 0
        figures = world.loop.board.figures
        assert figures.last_success == world.begin + RESYNC + 2.5 * MINUTE or figures.last_success
        assert figures.durations[float("inf")] == figures.turns


@pytest.fixture
def untraced() -> Iterator[None]:
    """Whoever measures coverage keeps something of every thread there ever was."""
    tracing = threading.gettrace()
    threading.settrace(None)
    yield
    threading.settrace(tracing)


@pytest.mark.usefixtures("untraced")
async def test_memory_does_not_grow_with_turns(world: World) -> None:
    world.watch = Unattended(mode="apply", resync=HOUR)
    world.commit("c1")
    async with running(world):
        await world.pass_(2 * DAY)
        gc.collect()
        before, turns = len(gc.get_objects()), world.loop.board.figures.turns
        await world.pass_(5 * DAY)
        gc.collect()
        # Less than one object for each turn.
        assert len(gc.get_objects()) - before < world.loop.board.figures.turns - turns == 240


async def test_with_the_clock_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, clock=TurnedClock(system_clock())).make()
    install(monkeypatch, world)
    world.commit("c1")
    with held(world.folder / "state") as memory:
        around = Surroundings(
            world.source,
            world.settings,
            system_clock,
            RealTimer(system_clock),
            memory,
            world.journals,
            world.told.append,
        )
        world.loop, stop = Loop(around), Stop()
        async with anyio.create_task_group() as group:
            group.start_soon(world.loop.run, stop)
            await world.until(lambda: world.loop.board.ready and world.appliance("lab").sync is Sync.SYNCED)
            world.edit("certificates/lab.yaml", "common_name: Lab", "common_name: Laboratory")
            world.commit("c2")
            await world.until(lambda: len(list(read_history(world.journals))) == 3)
            stop.request("enough")
    recalled = read_watched(world.folder / "state")
    assert recalled is not None
    assert recalled.source.revision == "c2"
    assert len(recalled.appliances) == 3


# How it ends, and begins again


async def test_a_stop_ends_an_apply_after_the_action_in_hand(world: World) -> None:
    world.commit("c1")
    begun, go_on = world.hold_up("lab", "create_self_signed")
    async with running(world):
        await begun.wait()
        await world.until(lambda: world.loop.busy == {"lab"})

        world.stop.request("enough")
        go_on.set()
    entry = next(each for each in read_history(world.journals) if each.appliances.keys() & {"lab"})
    assert entry.ended
    assert entry.appliances == {"lab": Outcome.NOT_ATTEMPTED}
    assert [each.value for each in entry.outcomes.values() if each] == ["applied"]
    assert len(entry.left) == 1
    async with running(world):
        await world.rest()
        assert world.appliance("lab").sync is Sync.SYNCED


async def test_after_a_kill_everything_is_finished_and_the_journal_has_an_end(world: World) -> None:
    pause = Suspension(reason="one at a time", until=world.clock.now + DAY)
    world.watch = Unattended(mode="apply", resync=RESYNC, sites={"access": Treatment(suspended=pause)})
    world.commit("c1")
    world.meanwhile["lab", "set_default"] = anyio.sleep_forever
    with held(world.folder / "state") as memory:
        async with anyio.create_task_group() as group:
            group.start_soon(world.loop_over(memory).run, Stop())
            await world.until(lambda: world.loop.busy == {"lab"} and bool(world.calls["lab", "set_default"]))
            group.cancel_scope.cancel()
    assert len(interrupted(read_history(world.journals), str(world.root))) == 1
    del world.meanwhile["lab", "set_default"]
    async with running(world):
        await world.rest()
        assert world.appliance("lab").sync is Sync.SYNCED
    assert interrupted(read_history(world.journals), str(world.root)) == ()


async def test_an_interrupted_apply_that_has_left_nothing_gets_an_end(world: World) -> None:
    state = load_desired(world.root)
    planned = await plan_fleet(state, world.settings, world.clock)
    await apply_planned(planned, world.settings, world.clock)
    begin_journal(planned, world.journals, world.clock).close()
    assert len(interrupted(read_history(world.journals), state.root)) == 1
    world.watch = Unattended(mode="plan", resync=RESYNC)
    world.commit("c1")
    async with running(world):
        await world.rest()
    assert len(interrupted(read_history(world.journals), state.root)) == 1  # who may change nothing ends nothing
    world.watch = Unattended(mode="apply", resync=RESYNC)
    async with running(world):
        await world.pass_(2 * DAY)
    assert interrupted(read_history(world.journals), state.root) == ()
    assert len(list(read_history(world.journals))) == 3  # the interrupted one, and one of each site that it touched
    assert not [each for each in world.told if each.kind == "apply"]


async def test_since_is_kept_across_restarts_and_nothing_is_told_twice(world: World) -> None:
    world.commit("c1")
    async with running(world):
        await world.pass_(HOUR)
    told = list(world.told)
    world.clock.now += DAY
    async with running(world):
        await world.rest()
        assert world.loop.board.ready
        assert condition(world, "lab", ConditionType.IN_SYNC).since == world.begin
        assert world.loop.board.watched.source.since == world.begin
        assert world.loop.board.watched.started_at == world.clock.now
    assert world.told == told


async def test_after_a_restart_the_last_good_commit_is_in_force_where_the_newest_is_broken(world: World) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        world.edit("fleet.yaml", "policy:", "policy: [")
        world.commit("c2")
        await world.rest()
    async with running(world):
        await world.pass_(HOUR)
        assert world.loop.board.ready
        assert world.loop.board.watched.source.refused == "c2"
        set_factory(world)
        await world.turn_to(world.begin + 2 * RESYNC)
        assert world.calls["lab", "set_default"] == 2


async def test_without_any_good_commit_nothing_is_in_force(world: World) -> None:
    world.source.offer(Reading.refusal(Trouble.NOT_SIGNED, "nobody has signed it", "c1"), "c1")
    async with running(world):
        await world.until(lambda: world.source.waiting and world.timer.sleeping)
        world.timer.wake()
        await world.rest()
        assert not world.loop.board.ready
        assert not world.loop.board.watched.appliances
        assert world.told[0].message == "c1 is not put in force: nobody has signed it; nothing is in force"
    async with running(world):
        await world.rest()
    assert len(world.told) == 1


async def test_two_loops_do_not_work_with_one_folder(world: World) -> None:
    world.commit("c1")
    async with running(world):
        with pytest.raises(UsageError, match="another loop is at work"), held(world.folder / "state"):
            pass
        await world.rest()


async def test_what_was_known_of_another_source_is_forgotten(world: World) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
    world.source.place = "elsewhere"
    with held(world.folder / "state") as memory:
        assert world.loop_over(memory).board.watched.appliances == ()


async def test_a_disk_that_is_full_keeps_nobody_from_going_on(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: Memory, watched: object) -> None:  # noqa: ARG001
        raise UnreadableInput("the disk is full", "make room")

    monkeypatch.setattr(Memory, "keep", full)
    (world.folder / "journals").write_text("in the way")
    world.commit("c1")
    async with running(world):
        await world.turn_to(world.begin + 10 * MINUTE)
        assert world.appliance("lab").last_apply.outcome == "failed"  # type: ignore[union-attr]
        (world.folder / "journals").unlink()
        await world.pass_(HOUR)
        assert {world.appliance(name).sync for name in ALL} == {Sync.SYNCED}
    assert [each.getMessage() for each in caplog.records] == [
        "what the loop knows is not kept: the disk is full - make room"
    ]
    assert read_watched(world.folder / "state") is None
