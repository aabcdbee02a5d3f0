"""The loop where something goes wrong: with the desired state, with whoever may decide, with time, with itself."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.apply.history import read_history
from reconciler.engine.run import check_rules
from reconciler.engine.unattended import Suspension, Treatment, Unattended
from reconciler.live.driver import Upload
from reconciler.watch.ledger import Ledger
from reconciler.watch.model import ConditionType, EventKind, Health, Sync, Truth
from reconciler.watch.reading import Reading, Trouble
from tests.support.authority import NOW, self_signed
from tests.watch.test_loop import condition, put, set_factory, stranger
from tests.watch.world import DAY, HOUR, RESYNC, World, running

if TYPE_CHECKING:
    import datetime as dt

    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings
    from reconciler.engine.run import Checked
    from reconciler.watch.model import Event

pytestmark = pytest.mark.anyio
MINUTE = HOUR / 60
CEILING_OF_ONE = "policy: {removals_at_most: 1}\n"


def quiet(patch: pytest.MonkeyPatch) -> None:
    """Let what is expected here not be logged."""
    patch.setattr("reconciler.watch.ledger._log", logging.getLogger("nobody listens"))


def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError


def cleaning(world: World) -> None:
    """Declare that lab keeps nothing that is not declared, and that one removal a day is enough."""
    world.write("fleet.yaml", CEILING_OF_ONE)
    world.edit("appliances/lab.yaml", "client_software: none", "client_software: none\nundeclared: remove")
    world.watch = Unattended(mode="apply", resync=2 * HOUR)


# What is in force


async def test_what_waits_for_its_turn_is_not_applied_once_it_is_taken_back(world: World) -> None:
    world.concurrency = 1
    world.commit("c1")
    async with running(world):
        await world.rest()
        arrived, go_on = world.hold_up("east-1", "observe")
        world.provide(world.issue())
        world.commit("c2")
        await arrived.wait()
        mistake = ("common_name: Lab", "common_name: A mistake")
        world.edit("certificates/lab.yaml", *mistake)
        world.commit("c3")
        await world.until(lambda: world.loop.busy == {"east-1", "west-1", "lab"})
        world.edit("certificates/lab.yaml", *reversed(mistake))
        world.commit("c4")
        await world.until(lambda: world.source.waiting)
        go_on.set()
        await world.rest()
        held = world.directory("lab").observe().certificates
        assert not any("A mistake" in str(each.certificate.subject) for each in held)
    assert {each.revision for each in read_history(world.journals) if "lab" in each.appliances} == {"c1"}


async def test_an_appliance_that_is_taken_out_while_it_waits_is_left_alone(world: World) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        arrived, go_on = world.hold_up("lab", "observe")
        world.edit("certificates/lab.yaml", "common_name: Lab", "common_name: Laboratory")
        world.commit("c2")
        await arrived.wait()
        (world.root / "appliances/lab.yaml").unlink()
        world.commit("c3")
        await world.until(lambda: world.source.waiting)
        go_on.set()
        await world.rest()
        gone = [each for each in world.told if each.after == "NotDeclared"]
        assert [(each.kind, each.appliance, each.before) for each in gone] == [("sync", "lab", "Synced")]
    assert {each.revision for each in read_history(world.journals) if "lab" in each.appliances} == {"c1"}


async def test_a_rule_that_fails_on_a_newer_commit_leaves_the_last_good_one_in_force(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        with monkeypatch.context() as patched:
            quiet(patched)
            patched.setattr("reconciler.watch.loop.check_rules", broken)
            world.edit("certificates/lab.yaml", "common_name: Lab", "common_name: Laboratory")
            world.commit("c2")
            await world.rest()
        source = world.loop.board.watched.source
        assert (source.revision, source.refused, source.trouble) == ("c1", "c2", "Broken")
        assert "unexpected ZeroDivisionError while the rules were checked" in world.told[-1].message
        set_factory(world)
        await world.turn_to(world.begin + RESYNC)
        assert world.calls["lab", "set_default"] == 2


async def test_rules_that_fail_for_a_while_are_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        set_factory(world)
        with monkeypatch.context() as patched:
            quiet(patched)
            patched.setattr("reconciler.watch.loop.check_rules", broken)
            await world.turn_to(world.begin + RESYNC + MINUTE)
            assert world.loop.board.figures.errors == 2
            assert world.calls["lab", "set_default"] == 1
        await world.turn_to(world.begin + RESYNC + 3 * MINUTE)
        assert world.calls["lab", "set_default"] == 2


async def test_where_the_signature_of_what_is_in_force_counts_no_more_nothing_is(world: World) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        world.told.clear()
        good = world.source.newest
        world.source.offer(Reading.refusal(Trouble.NOT_SIGNED, "whoever signed it may not any more", "c1"), "c1")
        set_factory(world)
        await world.pass_(2 * DAY)
        assert [each.message for each in world.told] == [
            "c1 is not put in force: whoever signed it may not any more; nothing is in force"
        ]
        assert world.calls["lab", "set_default"] == 1
        board = world.loop.board
        assert not board.ready
        assert {each.sync for each in board.watched.appliances} == {Sync.UNKNOWN}
        assert world.appliance("lab").certificates
        world.source.offer(good, "c1")
        await world.rest()
        assert world.loop.board.ready
        assert world.calls["lab", "set_default"] == 2
        # What is well is not told of all of them.
        assert {each.appliance for each in world.told if each.kind is not EventKind.SOURCE} == {"lab"}


async def test_after_a_restart_without_any_good_commit_nothing_looks_well(world: World) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
    world.told.clear()
    world.source.readings["c1"] = Reading.refusal(Trouble.NOT_SIGNED, "nobody has signed it", "c1")
    world.source.offer(world.source.readings["c1"], "c1")
    async with running(world):
        await world.rest()
        assert {each.sync for each in world.loop.board.watched.appliances} == {Sync.UNKNOWN}
        assert world.loop.board.watched.source.digest == ""
    assert [each.message for each in world.told] == [
        "c1 is not put in force: nobody has signed it; nothing is in force"
    ]


async def test_what_has_become_of_an_appliance_while_nothing_was_in_force_is_told(world: World) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        world.store("lab").rename(world.store("gone"))
        await world.turn_to(world.begin + RESYNC)
        assert world.appliance("lab").health is Health.DEGRADED
    good = world.source.newest
    world.source.offer(Reading.refusal(Trouble.UNREACHABLE, "nobody answers"), "c2")
    world.source.readings["c1"] = world.source.newest
    async with running(world):
        await world.rest()
        assert world.appliance("lab").health is Health.PROGRESSING
        world.store("gone").rename(world.store("lab"))
    world.told.clear()
    # What was in force last is known still, though nothing was.
    world.source.readings["c1"] = good
    async with running(world):
        await world.rest()
        assert world.loop.board.watched.source.trouble == "Unreachable"
    assert [each.after for each in world.told if each.appliance == "lab"] == ["Synced", "Healthy", "Observed=True"]
    assert not [each for each in world.told if each.appliance in {"east-1", "west-1"}]


async def test_an_apply_is_told_though_nothing_is_in_force_when_it_ends(world: World) -> None:
    world.commit("c1")
    begun, go_on = world.hold_up("lab", "create_self_signed")
    async with running(world):
        await begun.wait()
        world.source.offer(Reading.refusal(Trouble.NOT_SIGNED, "whoever signed it may not any more", "c1"), "c1")
        await world.until(lambda: world.source.waiting)
        go_on.set()
        await world.rest()
        assert "apply" in [each.kind for each in world.told if each.appliance == "lab"]
        assert world.appliance("lab").last_apply


async def test_rules_are_asked_once_for_a_commit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str | None]()

    def counted(state: DesiredState, now: dt.datetime, settings: OperatorSettings) -> Checked:
        asked.append(state.revision)
        return check_rules(state, now, settings)

    monkeypatch.setattr("reconciler.watch.loop.check_rules", counted)
    world.commit("c1")
    async with running(world):
        await world.rest()
        world.clock.now += MINUTE / 60
        world.edit("certificates/lab.yaml", "common_name: Lab", "common_name: Laboratory")
        world.commit("c2")
        await world.rest()
        assert asked == ["c1", "c2"]
        await world.turn_to(world.begin + RESYNC)
        assert asked == ["c1", "c2", "c2"]


# Who may decide


@pytest.mark.parametrize(
    "treatments",
    [
        {"appliances": {"labb": Treatment(mode="observe")}},
        {"sites": {"acces": Treatment(suspended=Suspension(reason="moving", until=NOW + DAY))}},
    ],
    ids=["mode", "suspension"],
)
async def test_settings_that_restrain_what_is_not_declared_keep_everything_from_being_applied(
    world: World, treatments: dict[str, dict[str, Treatment]], caplog: pytest.LogCaptureFixture
) -> None:
    world.watch = Unattended(mode="apply", resync=HOUR, **treatments)  # type: ignore[arg-type]
    world.commit("c1")
    async with running(world):
        await world.pass_(HOUR / 2)
        assert not list(read_history(world.journals))
        assert {each.mode for each in world.loop.board.watched.appliances} == {"plan"}
        (told,) = world.loop.board.watched.warnings
        assert told in caplog.text
        assert "nothing is applied to anything until it is" in told
        await world.turn_to(world.begin + 2 * DAY)
        # A pause that has ended restrains nothing; that it is meant for nobody is told still.
        assert (told in world.loop.board.watched.warnings) is ("appliances" in treatments)
        assert bool(list(read_history(world.journals))) is ("sites" in treatments)
    assert caplog.text.count(told) == 1


async def test_settings_that_allow_something_to_what_is_not_declared_are_only_told(world: World) -> None:
    world.watch = Unattended(mode="apply", resync=HOUR, appliances={"labb": Treatment(mode="apply")})
    world.commit("c1")
    async with running(world):
        await world.rest()
        assert world.appliance("lab").sync is Sync.SYNCED
        assert world.loop.board.watched.warnings == (
            "`appliances.labb` beneath `watch` in the operator settings is not declared",
        )


async def test_a_site_whose_file_is_broken_is_no_stranger(world: World) -> None:
    world.watch = Unattended(mode="apply", resync=HOUR, sites={"access": Treatment(mode="plan")})
    world.edit("sites/access.yaml", "topology: failover", "topology: none")
    world.commit("c1")
    async with running(world):
        await world.rest()
        assert world.loop.board.watched.warnings == ()
        assert world.appliance("lab").sync is Sync.SYNCED


# What the ceiling counts


@pytest.mark.parametrize("name", ["lab", "renamed"])
async def test_a_store_that_is_declared_again_has_its_removals_counted(world: World, name: str) -> None:
    cleaning(world)
    world.commit("c1")
    async with running(world):
        await world.rest()
        put(world, "lab", stranger(world, "one.example.com"))
        await world.turn_to(world.begin + 3 * HOUR)
        assert world.calls["lab", "remove"] == 1
        declared = (world.root / "appliances/lab.yaml").read_text()
        (world.root / "appliances/lab.yaml").unlink()
        world.commit("c2")
        await world.rest()
    async with running(world):
        await world.rest()
        world.write(f"appliances/{name}.yaml", declared)
        world.commit("c3")
        put(world, "lab", stranger(world, "two.example.com"))
        await world.turn_to(world.begin + 6 * HOUR)
        assert world.calls["lab", "remove"] + world.calls["renamed", "remove"] == 1
        assert "1 removal of the last 24 hours counted" in world.appliance(name).errors[0]


async def test_a_store_whose_path_is_written_otherwise_has_its_removals_counted(world: World) -> None:
    cleaning(world)
    world.commit("c1")
    async with running(world):
        await world.rest()
        put(world, "lab", stranger(world, "one.example.com"))
        await world.turn_to(world.begin + 3 * HOUR)
        world.edit("appliances/lab.yaml", "path: ../../stores/lab", f"path: {world.store('lab')}")
        world.commit("c2")
        put(world, "lab", stranger(world, "two.example.com"))
        await world.turn_to(world.begin + 6 * HOUR)
        assert world.calls["lab", "remove"] == 1


async def test_what_one_member_has_removed_does_not_count_for_another(world: World) -> None:
    world.write("fleet.yaml", CEILING_OF_ONE)
    for name in ("east-1", "west-1"):
        store = f"store: {{driver: directory, path: ../../stores/{name}}}\n"
        world.edit(f"appliances/{name}.yaml", store, f"{store}undeclared: remove\n")
    world.watch = Unattended(mode="apply", resync=2 * HOUR)
    world.commit("c1")
    async with running(world):
        await world.rest()
        for number, name in enumerate(("east-1", "west-1")):
            put(world, name, stranger(world, f"{name}.example.net"))
            await world.turn_to(world.begin + (2 * number + 3) * HOUR)
            assert world.calls[name, "remove"] == 1


async def test_a_removal_that_is_tried_again_is_counted_once(world: World) -> None:
    cleaning(world)
    world.commit("c1")

    async def fail() -> None:
        if world.calls["lab", "remove"] < 3:
            raise OSError

    world.meanwhile["lab", "remove"] = fail
    async with running(world):
        await world.rest()
        put(world, "lab", stranger(world, "one.example.com"))
        await world.turn_to(world.begin + 3 * HOUR)
        assert world.calls["lab", "remove"] == 3
        assert world.appliance("lab").sync is Sync.SYNCED
        assert len(world.appliance("lab").removals) == 1


# Time, and the loop itself


async def test_a_stop_while_the_rules_are_checked_begins_no_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        set_factory(world)
        arrived, go_on = threading.Event(), threading.Event()

        def slow(*arguments: object) -> object:
            arrived.set()
            go_on.wait(20)
            return check_rules(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr("reconciler.watch.loop.check_rules", slow)
        world.clock.now += RESYNC
        world.timer.wake()
        await world.until(arrived.is_set)
        before = world.calls["lab", "open to look"]
        world.stop.request("enough")
        go_on.set()
    assert world.calls["lab", "open to look"] == before


async def test_what_was_applied_before_a_stop_is_told(world: World) -> None:
    world.commit("c1")
    begun, go_on = world.hold_up("lab", "create_self_signed")
    async with running(world):
        await begun.wait()
        await world.until(lambda: world.loop.busy == {"lab"})
        world.stop.request("enough")
        go_on.set()
    (told,) = [each for each in world.told if each.appliance == "lab"]
    assert (told.kind, told.after) == (EventKind.APPLY, "not attempted")
    last = world.appliance("lab").last_apply
    assert last is not None
    assert last.did == ("create lab",)
    async with running(world):
        await world.rest()
    assert [each.after for each in world.told if each.appliance == "lab"] == ["not attempted", "applied"]


async def test_a_turn_that_goes_wrong_is_told_as_what_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        world.told.clear()
        with monkeypatch.context() as patched:
            quiet(patched)
            patched.setattr("reconciler.watch.turn.plan_observed", broken)
            await world.turn_to(world.begin + RESYNC + MINUTE)
        lab = world.appliance("lab")
        assert (lab.sync, lab.health, lab.failures) == (Sync.UNKNOWN, Health.DEGRADED, 2)
        assert condition(world, "lab", ConditionType.OBSERVED).status is Truth.FALSE
        assert "unexpected ZeroDivisionError" in condition(world, "lab", ConditionType.OBSERVED).message
        await world.turn_to(world.begin + RESYNC + HOUR)
        assert [each.after for each in world.told if each.appliance == "lab"] == [
            *("Unknown", "Degraded", "Observed=False"),
            *("Synced", "Healthy", "Observed=True"),
        ]


async def test_what_cannot_even_be_entered_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        with monkeypatch.context() as patched:
            quiet(patched)
            patched.setattr("reconciler.watch.ledger.judge", broken)
            await world.turn_to(world.begin + RESYNC + MINUTE)
        looks = world.calls["lab", "open to look"]
        await world.pass_(2 * MINUTE)
        assert world.calls["lab", "open to look"] > looks


async def test_when_one_that_fails_is_looked_at_next_is_told_as_it_is(world: World) -> None:
    world.watch = Unattended(mode="apply", resync=10 * MINUTE)
    world.commit("c1")
    async with running(world):
        await world.rest()
        world.store("lab").rename(world.store("gone"))
        for _ in range(40):
            assert world.timer.until is not None
            await world.turn_to(world.timer.until)
            at = world.appliance("lab").next_look
            assert at is not None
            assert at > world.clock.now
        assert world.appliance("lab").failures > 4


async def test_a_look_that_does_not_end_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        monkeypatch.setattr("reconciler.engine.stores.PATIENCE", 0.3)
        world.meanwhile["lab", "observe"] = anyio.sleep_forever
        await world.turn_to(world.begin + RESYNC)
        lab = world.appliance("lab")
        assert (lab.health, lab.failures) == (Health.DEGRADED, 1)
        assert "has not come to an end" in condition(world, "lab", ConditionType.OBSERVED).message
        del world.meanwhile["lab", "observe"]
        await world.pass_(HOUR)
        assert world.appliance("lab").sync is Sync.SYNCED


async def test_a_certificate_that_never_expires_is_looked_at_like_any_other(world: World) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        never = NOW.replace(year=9999, month=12, day=31, hour=23, minute=59, second=59)
        issued = self_signed(["ever.example.com"], common_name="ever", not_before=NOW - DAY, not_after=never)
        world.directory("lab").import_(Upload(issued.pkcs12(b"x"), b"x"))
        await world.pass_(2 * DAY)
        assert world.loop.board.figures.errors == 0
        assert len(world.appliance("lab").certificates) == 2


async def test_a_clock_that_is_set_back_a_little_keeps_nobody_waiting(world: World) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        await world.turn_to(world.begin + 3 * HOUR)
        world.store("lab").rename(world.store("gone"))
        world.timer.wake()
        await world.turn_to(world.begin + RESYNC + HOUR)
        world.store("gone").rename(world.store("lab"))
        world.clock.now -= HOUR / 2
        world.timer.wake()
        await world.rest()
        assert world.appliance("lab").sync is Sync.SYNCED


async def test_what_cannot_be_told_keeps_nothing_from_being_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(monkeypatch)

    def fail(event: Event) -> None:
        raise UnicodeEncodeError("utf-8", event.after, 0, 1, "no")

    monkeypatch.setattr(Ledger, "_teller", property(lambda _: fail, lambda *_: None), raising=False)
    world.commit("c1")
    async with running(world):
        await world.rest()
        assert world.appliance("lab").sync is Sync.SYNCED
        assert world.loop.board.figures.errors
