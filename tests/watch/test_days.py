"""Weeks of injected time: everything that happens leads to the looks and applies that it should, and to no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.watch.model import Health, Sync
from tests.support.authority import Authority
from tests.watch.world import DAY, HOUR, running

if TYPE_CHECKING:
    from tests.watch.world import World

pytestmark = pytest.mark.anyio


async def test_weeks_with_everything_that_happens_in_them(world: World) -> None:
    world.commit("first")
    async with running(world):
        await world.pass_(HOUR)
        assert world.chapter() == [
            "0d00:00 looks: east-1 x2, lab x2, west-1 x2",
            "  source : - -> first",
            "  apply east-1: - -> applied",
            "  apply lab: - -> applied",
            "  apply west-1: - -> applied",
            "  applied first: east-1 import x3, east-1 set_default x1, west-1 import x3, west-1 set_default x1",
            "  applied first: lab create_self_signed x1, lab set_default x1",
        ]

        world.edit("fleet.yaml", "policy: {}", "policy: {}  # other words, the same meaning")
        world.commit("wording")
        await world.pass_(HOUR)
        assert world.chapter() == [
            "0d01:00 looks: none",
            "  source : first -> wording",
        ]

        world.provide(world.issue())
        world.commit("renewed")
        await world.turn_to(world.begin + 8 * DAY + HOUR)
        assert world.chapter() == [
            "0d02:00 looks: east-1 x2, west-1 x2",
            "  source : wording -> renewed",
            "  sync east-1: Synced -> OutOfSync",
            "  health east-1: Healthy -> Progressing",
            "  apply east-1: applied -> applied",
            "  sync west-1: Synced -> OutOfSync",
            "  health west-1: Healthy -> Progressing",
            "  apply west-1: applied -> applied",
            "  applied renewed: east-1 import x1, east-1 set_default x1, west-1 import x1, west-1 set_default x1",
            "7d01:00 looks: east-1 x2, west-1 x2",
            "  sync east-1: OutOfSync -> Synced",
            "  health east-1: Progressing -> Healthy",
            "  apply east-1: applied -> applied",
            "  sync west-1: OutOfSync -> Synced",
            "  health west-1: Progressing -> Healthy",
            "  apply west-1: applied -> applied",
            "  applied renewed: east-1 remove x1, west-1 remove x1",
        ]

        held = world.directory("lab").observe().certificates
        factory = next(each.fingerprint for each in held if "BeyondTrust" in each.friendly_name)
        world.directory("lab").set_default(factory)
        await world.turn_to(world.begin + 9 * DAY + HOUR)
        assert world.chapter() == [
            "9d00:00 looks: east-1 x1, lab x2, west-1 x1",
            "  apply lab: applied -> applied",
            "  applied renewed: lab set_default x1",
        ]

        world.store("lab").rename(world.store("gone"))
        await world.turn_to(world.begin + 10 * DAY + HOUR / 3)
        world.store("gone").rename(world.store("lab"))
        await world.turn_to(world.begin + 11 * DAY + HOUR)
        assert world.chapter() == [
            "10d00:00 looks: east-1 x1, lab x1, west-1 x1",
            "  sync lab: Synced -> Unknown",
            "  health lab: Healthy -> Degraded",
            "  condition lab: Observed=True -> Observed=False",
            "10d00:00 looks: lab x1",
            "10d00:01 looks: lab x1",
            "10d00:03 looks: lab x1",
            "10d00:07 looks: lab x1",
            "10d00:15 looks: lab x1",
            "10d00:22 looks: lab x1",
            "  sync lab: Unknown -> Synced",
            "  health lab: Degraded -> Healthy",
            "  condition lab: Observed=False -> Observed=True",
        ]

        world.edit("appliances/west-1.yaml", "hostname:", "hostname: [")
        world.commit("broken")
        await world.pass_(HOUR)
        world.edit("appliances/west-1.yaml", "hostname: [", "hostname:")
        world.commit("mended")
        await world.pass_(HOUR)
        assert world.chapter() == [
            "11d01:00 looks: none",
            "  source : - -> Broken",
            "11d02:00 looks: none",
            "  source : renewed -> mended",
        ]

        other = Authority.root("Other Root").intermediate("Other Issuing CA")
        world.trust((world.begin - 400 * DAY, [world.authority]), (world.clock.now, [world.authority, other]))
        world.provide(world.issue(other))
        world.commit("another CA")
        await world.turn_to(world.begin + 19 * DAY)
        assert world.chapter() == [
            "11d03:00 looks: east-1 x2, west-1 x2",
            "  source : mended -> another CA",
            "  sync east-1: Synced -> OutOfSync",
            "  health east-1: Healthy -> Progressing",
            "  apply east-1: applied -> applied",
            "  sync west-1: Synced -> OutOfSync",
            "  health west-1: Healthy -> Progressing",
            "  apply west-1: applied -> applied",
            "  applied another CA: east-1 import x2, west-1 import x2",
            "13d03:00 looks: east-1 x2, west-1 x2",
            "  apply east-1: applied -> applied",
            "  apply west-1: applied -> applied",
            "  applied another CA: east-1 import x1, east-1 set_default x1, west-1 import x1, west-1 set_default x1",
            "18d02:00 looks: east-1 x2, west-1 x2",
            "  sync east-1: OutOfSync -> Synced",
            "  health east-1: Progressing -> Healthy",
            "  apply east-1: applied -> applied",
            "  sync west-1: OutOfSync -> Synced",
            "  health west-1: Progressing -> Healthy",
            "  apply west-1: applied -> applied",
            "  applied another CA: east-1 remove x1, west-1 remove x1",
        ]

        await world.turn_to(world.begin + 28 * DAY)
        assert world.chapter() == [
            "19d08:00 looks: lab x2",
            "  sync lab: Synced -> OutOfSync",
            "  health lab: Healthy -> Progressing",
            "  apply lab: applied -> applied",
            "  applied another CA: lab create_self_signed x1, lab set_default x1",
            "26d08:00 looks: lab x2",
            "  sync lab: OutOfSync -> Synced",
            "  health lab: Progressing -> Healthy",
            "  apply lab: applied -> applied",
            "  applied another CA: lab remove x1",
        ]
        assert {(each.sync, each.health) for each in world.loop.board.watched.appliances} == {
            (Sync.SYNCED, Health.HEALTHY)
        }
    assert world.resyncs == [each for each in range(1, 29) if each not in (9, 10)]
