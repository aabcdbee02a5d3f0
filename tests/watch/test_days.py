"""A year of injected time in which everything happens that may: each leads to the looks and applies that it should.

Every chapter says all that came of it; what is not told there has not happened. The desired state lies in a folder at
first, in which somebody edits, and then on the branch of a remote; the appliances are certificate directories, or
simulated ones behind their web interface, which people change in their directories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.apply.history import read_history
from reconciler.apply.result import Outcome
from reconciler.engine.unattended import Unattended
from reconciler.watch.model import EventKind, Health, Sync
from tests.support.authority import Authority
from tests.support.signing import git
from tests.watch.real_world import RealWorld
from tests.watch.world import ALL, DAY, HOUR, install, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
_PLAYED = [
    pytest.param(("lab", "west-1"), id="one of a pair is a directory"),
    pytest.param(ALL, id="simulated appliances", marks=pytest.mark.prove),
    pytest.param((), id="directories", marks=pytest.mark.prove),
]


@pytest.fixture(params=_PLAYED)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RealWorld:
    made = RealWorld(tmp_path, played=request.param).make()
    install(monkeypatch, made)
    return made


async def test_a_year_with_everything_that_happens_in_it(world: RealWorld) -> None:
    async with world.reachable():
        world.watch = Unattended(mode="apply", resync=4 * DAY)
        async with running(world):
            await edits(world)
        world.commit("first")
        world.push()
        world.follow()
        async with running(world):
            await commits(world)
            await drift(world)
            await absence(world)
            await a_broken_commit(world)
            await rewritten_history(world)
            await another_authority(world)
            await an_expired_certificate(world)
        world.watch = world.watch.model_copy(update={"resync": 90 * DAY})
        async with running(world):
            await a_self_signed_certificate_that_ends(world)
            assert {(each.sync, each.health) for each in world.loop.board.watched.appliances} == {
                (Sync.SYNCED, Health.HEALTHY)
            }
        assert await world.plan() == "No changes."
    assert world.resyncs == [5, 21, 25, 29, 33, 37, 39, 129, 219, 309]
    for journal in read_history(world.journals):
        assert journal.ended
        assert not journal.left
        assert set(journal.appliances.values()) == {Outcome.APPLIED}


async def edits(world: RealWorld) -> None:
    world.save("files")
    await world.pass_(HOUR)
    assert world.chapter() == [
        "0d00:00 looks: east-1 x2, lab x2, west-1 x2",
        "  source : - -> files",
        "  apply east-1: - -> applied",
        "  apply lab: - -> applied",
        "  apply west-1: - -> applied",
        "  applied the folder: east-1 import x3, east-1 set_default x1, west-1 import x3, west-1 set_default x1",
        "  applied the folder: lab create_self_signed x1, lab set_default x1",
    ]

    world.edit("fleet.yaml", "policy: {}", "policy: {}  # other words, the same meaning")
    world.save("wording")
    await world.pass_(HOUR)
    world.edit("certificates/lab.yaml", "common_name: Lab", "common_name: [Lab")
    await world.pass_(HOUR)
    assert world.chapter() == [
        "0d01:00 looks: none",
        "  source : files -> wording",
        "0d02:00 looks: none",
        "  source : - -> Broken",
    ]

    world.edit("certificates/lab.yaml", "common_name: [Lab", "common_name: Laboratory")
    world.save("another subject")
    await world.turn_to(world.begin + DAY)
    assert world.chapter() == [
        "0d03:00 looks: lab x2",
        "  source : wording -> another subject",
        "  sync lab: Synced -> OutOfSync",
        "  health lab: Healthy -> Progressing",
        "  apply lab: applied -> applied",
        "  applied the folder: lab create_self_signed x1, lab set_default x1",
    ]


async def commits(world: RealWorld) -> None:
    await world.pass_(HOUR)
    assert world.chapter() == [
        "1d00:00 looks: east-1 x1, lab x1, west-1 x1",
        "  source : - -> first",
        "  sync lab: Unknown -> OutOfSync",
    ]

    world.provide(world.issue())  # saved, then committed: it is not on the branch
    await world.pass_(HOUR)
    world.commit("renewed")
    await world.pass_(HOUR)
    assert world.chapter() == []

    world.push()
    await world.turn_to(world.begin + 8 * DAY + HOUR)
    assert world.chapter() == [
        "1d03:00 looks: east-1 x2, west-1 x2",
        "  source : first -> renewed",
        "  sync east-1: Synced -> OutOfSync",
        "  health east-1: Healthy -> Progressing",
        "  apply east-1: - -> applied",
        "  sync west-1: Synced -> OutOfSync",
        "  health west-1: Healthy -> Progressing",
        "  apply west-1: - -> applied",
        "  applied renewed: east-1 import x1, east-1 set_default x1, west-1 import x1, west-1 set_default x1",
        "7d03:00 looks: lab x2",
        "  sync lab: OutOfSync -> Synced",
        "  health lab: Progressing -> Healthy",
        "  apply lab: - -> applied",
        "  applied renewed: lab remove x1",
        "8d00:00 looks: east-1 x2, west-1 x2",
        "  sync east-1: OutOfSync -> Synced",
        "  health east-1: Progressing -> Healthy",
        "  apply east-1: applied -> applied",
        "  sync west-1: OutOfSync -> Synced",
        "  health west-1: Progressing -> Healthy",
        "  apply west-1: applied -> applied",
        "  applied renewed: east-1 remove x1, west-1 remove x1",
    ]

    # This edit lies in the loop's clone to the end. From here on everything comes through the remote.
    world.edit("fleet.yaml", "policy: {}", "policy: {half an ed")
    world.edit_elsewhere()


async def drift(world: RealWorld) -> None:
    world.commit("the same files", "--allow-empty")
    world.push()
    world.set_factory("lab")
    await world.turn_to(world.begin + 9 * DAY + HOUR)
    assert world.chapter() == [
        "8d01:00 looks: none",
        "  source : renewed -> the same files",
        "9d00:00 looks: east-1 x1, lab x2, west-1 x1",
        "  apply lab: applied -> applied",
        "  applied the same files: lab set_default x1",
    ]

    world.directory("lab").remove(world.set_factory("lab"))
    await world.turn_to(world.begin + 13 * DAY + HOUR)
    assert world.chapter() == [
        "13d00:00 looks: east-1 x1, lab x2, west-1 x1",
        "  apply lab: applied -> applied",
        "  applied the same files: lab create_self_signed x1, lab set_default x1",
    ]


async def absence(world: RealWorld) -> None:
    await world.take_away("lab")
    await world.turn_to(world.begin + 17 * DAY + HOUR / 3)
    await world.bring_back("lab")
    await world.turn_to(world.begin + 17 * DAY + HOUR)
    assert world.chapter() == [
        "17d00:00 looks: east-1 x1, lab x1, west-1 x1",
        "  sync lab: Synced -> Unknown",
        "  health lab: Healthy -> Degraded",
        "  condition lab: Observed=True -> Observed=False",
        "17d00:00 looks: lab x1",
        "17d00:01 looks: lab x1",
        "17d00:03 looks: lab x1",
        "17d00:07 looks: lab x1",
        "17d00:15 looks: lab x1",
        "17d00:22 looks: lab x1",
        "  sync lab: Unknown -> Synced",
        "  health lab: Degraded -> Healthy",
        "  condition lab: Observed=False -> Observed=True",
    ]

    world.disturb("west-1")
    world.provide(world.issue())
    world.commit("meanwhile")
    world.push()
    await world.pass_(HOUR / 12)
    world.calm("west-1")
    await world.turn_to(world.begin + 18 * DAY)
    assert world.chapter() == [
        "17d01:00 looks: east-1 x2, west-1 x2",
        "  source : the same files -> meanwhile",
        "  sync east-1: Synced -> OutOfSync",
        "  health east-1: Healthy -> Progressing",
        "  apply east-1: applied -> applied",
        "  sync west-1: Synced -> Unknown",
        "  health west-1: Healthy -> Degraded",
        "  condition west-1: Observed=True -> Observed=False",
        "  applied meanwhile: east-1 import x1, east-1 set_default x1",
        "17d01:00 looks: east-1 x1, west-1 x1",
        "17d01:01 looks: east-1 x1, west-1 x1",
        "17d01:03 looks: east-1 x1, west-1 x1",
        "17d01:07 looks: east-1 x2, west-1 x2",
        "  sync west-1: Unknown -> OutOfSync",
        "  health west-1: Degraded -> Progressing",
        "  condition west-1: Observed=False -> Observed=True",
        "  apply west-1: applied -> applied",
        "  applied meanwhile: west-1 import x1, west-1 set_default x1",
    ]


async def a_broken_commit(world: RealWorld) -> None:
    world.edit("appliances/west-1.yaml", "hostname:", "hostname: [")
    world.commit("broken")
    world.push()
    await world.pass_(HOUR)
    world.edit("appliances/west-1.yaml", "hostname: [", "hostname:")
    world.commit("mended")
    world.push()
    await world.pass_(HOUR)
    assert world.chapter() == [
        "18d00:00 looks: none",
        "  source : - -> Broken",
        "18d01:00 looks: none",
        "  source : meanwhile -> mended",
    ]


async def rewritten_history(world: RealWorld) -> None:
    world.provide(world.issue())
    world.commit("amended", "--amend")
    world.push("--force")
    await world.pass_(HOUR)
    world.git("reset", "-q", "--hard", "HEAD~2")
    world.push("--force")
    await world.turn_to(world.begin + 25 * DAY)
    assert world.chapter() == [
        "18d02:00 looks: east-1 x2, west-1 x2",
        "  source : mended -> amended",
        "  apply east-1: applied -> applied",
        "  apply west-1: applied -> applied",
        "  applied amended: east-1 import x1, east-1 set_default x1, west-1 import x1, west-1 set_default x1",
        "18d03:00 looks: east-1 x2, west-1 x2",
        "  source : amended -> meanwhile",
        "  apply east-1: applied -> applied",
        "  apply west-1: applied -> applied",
        "  applied meanwhile: east-1 set_default x1, west-1 set_default x1",
        "24d00:00 looks: east-1 x2, west-1 x2",
        "  sync east-1: OutOfSync -> Synced",
        "  health east-1: Progressing -> Healthy",
        "  apply east-1: applied -> applied",
        "  sync west-1: OutOfSync -> Synced",
        "  health west-1: Progressing -> Healthy",
        "  apply west-1: applied -> applied",
        "  applied meanwhile: east-1 remove x1, west-1 remove x1",
    ]


async def another_authority(world: RealWorld) -> None:
    """Its certificates last nine days, of which the last three are those in which they should be renewed."""
    other = Authority.root("Other Root").intermediate("Other Issuing CA")
    world.trust((world.begin - 400 * DAY, [world.authority]), (world.clock.now, [world.authority, other]))
    world.authority = other
    world.provide(world.issue(days=9))
    world.commit("another CA")
    world.push()
    await world.turn_to(world.begin + 33 * DAY)
    assert world.chapter() == [
        "25d00:00 looks: east-1 x2, west-1 x2",
        "  source : meanwhile -> another CA",
        "  sync east-1: Synced -> OutOfSync",
        "  health east-1: Healthy -> Progressing",
        "  apply east-1: applied -> applied",
        "  sync west-1: Synced -> OutOfSync",
        "  health west-1: Healthy -> Progressing",
        "  apply west-1: applied -> applied",
        "  applied another CA: east-1 import x2, west-1 import x2",
        "27d00:00 looks: east-1 x2, west-1 x2",
        "  apply east-1: applied -> applied",
        "  apply west-1: applied -> applied",
        "  applied another CA: east-1 import x1, east-1 set_default x1, west-1 import x1, west-1 set_default x1",
        # It falls due, and nobody but a person can renew it.
        "30d23:40 looks: east-1 x1, west-1 x1",
        "  health east-1: Progressing -> Degraded",
        "  condition east-1: Renewed=True -> Renewed=False",
        "  health west-1: Progressing -> Degraded",
        "  condition west-1: Renewed=True -> Renewed=False",
        "31d23:00 looks: east-1 x2, west-1 x2",
        "  sync east-1: OutOfSync -> Synced",
        "  apply east-1: applied -> applied",
        "  sync west-1: OutOfSync -> Synced",
        "  apply west-1: applied -> applied",
        "  applied another CA: east-1 remove x2, west-1 remove x2",
    ]


async def an_expired_certificate(world: RealWorld) -> None:
    end = world.begin + 34 * DAY
    upcoming = [(each.at, each.what) for each in world.appliance("east-1").upcoming]
    assert upcoming == [(end, "access.example.com expires")]
    await world.turn_to(world.begin + 38 * DAY)
    assert world.chapter() == [
        "34d00:00 looks: east-1 x1, west-1 x1",
        "  sync east-1: Synced -> Unknown",
        "  condition east-1: Valid=True -> Valid=False",
        "  condition east-1: Served=True -> Served=False",
        "  sync west-1: Synced -> Unknown",
        "  condition west-1: Valid=True -> Valid=False",
        "  condition west-1: Served=True -> Served=False",
    ]
    told = [each for each in world.told if each.kind is EventKind.CONDITION][-4:]
    assert all(f"expired on {end:%Y-%m-%d %H:%M} UTC" in each.message for each in told)

    world.provide(world.issue(days=390))
    world.commit("at last")
    world.push()
    await world.turn_to(world.begin + 39 * DAY)
    assert world.chapter() == [
        "38d00:00 looks: east-1 x2, west-1 x2",
        "  source : another CA -> at last",
        "  sync east-1: Unknown -> Synced",
        "  health east-1: Degraded -> Healthy",
        "  condition east-1: Valid=False -> Valid=True",
        "  condition east-1: Served=False -> Served=True",
        "  condition east-1: Renewed=False -> Renewed=True",
        "  apply east-1: applied -> applied",
        "  sync west-1: Unknown -> Synced",
        "  health west-1: Degraded -> Healthy",
        "  condition west-1: Valid=False -> Valid=True",
        "  condition west-1: Served=False -> Served=True",
        "  condition west-1: Renewed=False -> Renewed=True",
        "  apply west-1: applied -> applied",
        (
            "  applied at last: east-1 import x1, east-1 remove x1, east-1 set_default x1, "
            "west-1 import x1, west-1 remove x1, west-1 set_default x1"
        ),
    ]


async def a_self_signed_certificate_that_ends(world: RealWorld) -> None:
    await world.turn_to(world.begin + 360 * DAY)
    assert world.chapter() == [
        "348d00:00 looks: lab x2",
        "  sync lab: Synced -> OutOfSync",
        "  health lab: Healthy -> Progressing",
        "  apply lab: applied -> applied",
        "  applied at last: lab create_self_signed x1, lab set_default x1",
        "355d00:00 looks: lab x2",
        "  sync lab: OutOfSync -> Synced",
        "  health lab: Progressing -> Healthy",
        "  apply lab: applied -> applied",
        "  applied at last: lab remove x1",
    ]
    assert world.names[git(world.clone, "rev-parse", "HEAD")] == "renewed"
