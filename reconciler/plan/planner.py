"""Desired + live + now -> `Plan`. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, found, sort_key
from reconciler.plan.appliance import plan_appliance
from reconciler.plan.digest import digest
from reconciler.plan.goodness import Chains, Judge
from reconciler.plan.matching import Classified, classify, find_targets
from reconciler.plan.model import AppliancePlan, Basis, ByHand, Plan, Progress, State, Summary
from reconciler.plan.rules import UNREACHABLE
from reconciler.plan.safety import ProtectedNames
from reconciler.plan.scene import Scene
from reconciler.plan.world import World

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from reconciler.base.errors import StoreError
    from reconciler.desired.state import DesiredState
    from reconciler.live.store import LiveStore
    from reconciler.plan.matching import Target
    from reconciler.rules import Stopped


@dataclass(frozen=True)
class Planning:
    """A plan, and what was understood on the way.

    Attributes:
        plan: The plan.
        classes: For each observed appliance, the class of each live certificate, by fingerprint.
    """

    plan: Plan
    classes: Mapping[str, Mapping[str, Classified]]


@dataclass(frozen=True)
class Fleet:
    """What a plan is made from.

    Attributes:
        state: The desired state.
        stores: What was observed, by appliance.
        failures: Why an appliance could not be observed.
        findings: What the rules found.
        stopped: What those findings keep from being planned.
        only: Appliances to plan; None for all.
        allow_removals: Overrides the policy's ceiling.
    """

    state: DesiredState
    stores: Mapping[str, LiveStore]
    failures: Mapping[str, StoreError]
    findings: tuple[Finding, ...]
    stopped: Stopped
    only: frozenset[str] | None = None
    allow_removals: int | None = None


def make_plan(fleet: Fleet, now: dt.datetime, *, as_of: dt.datetime | None = None) -> Planning:
    """Plan a fleet.

    Args:
        fleet: What the plan is made from.
        now: The instant for which it is made; the present one unless `as_of` is given.
        as_of: The instant that `--at` asked for, where it did; it equals `now` then.
    """
    planner = _Planner(fleet, now)
    names = [name for name in sorted(fleet.state.appliances) if fleet.only is None or name in fleet.only]
    parts = tuple(planner.appliance(name) for name in names)
    basis = Basis(
        revision=fleet.state.revision,
        desired_digest=fleet.state.digest,
        live_digests={name: fleet.stores[name].digest for name in names if name in fleet.stores},
    )
    plan = Plan(
        made_at=now,
        as_of=as_of,
        digest=digest(parts),
        basis=basis,
        appliances=parts,
        findings=tuple(sorted(fleet.findings, key=sort_key)),
        by_hand=tuple(dict.fromkeys(planner.by_hand)),
        summary=summarize(parts),
    )
    return Planning(plan, planner.classes)


def summarize(parts: tuple[AppliancePlan, ...]) -> Summary:
    """Count the actions of the appliances' parts of a plan."""
    actions = [action for each in parts for action in each.actions]
    ready = Counter(action.kind for action in actions if action.state is State.READY)
    states = Counter(action.state for action in actions)
    return Summary(
        create=ready["create_self_signed"],
        import_=ready["import"],
        set_default=ready["set_default"],
        remove=ready["remove"],
        held=states[State.HELD] + states[State.BY_HAND],
        waiting=states[State.WAITING],
    )


class _Planner:
    """Plans the appliances of a fleet one by one, and shares between them what they have in common."""

    def __init__(self, fleet: Fleet, now: dt.datetime) -> None:
        self.fleet = fleet
        self.now = now
        self.chains = Chains()
        self.classes: dict[str, Mapping[str, Classified]] = {}
        self.by_hand: list[ByHand] = []
        self._targets: dict[tuple[str, ...], Mapping[str, Target]] = {}

    def appliance(self, name: str) -> AppliancePlan:
        """One appliance's part."""
        fleet, state = self.fleet, self.fleet.state
        site = state.site_of(name)
        site_name = site.name if site else None
        if name in fleet.failures:
            return self._unreachable(name, site_name)
        scene = self._scene(name)
        self.classes[name] = scene.classes
        if name in fleet.stopped.appliances:
            return AppliancePlan(name=name, site=site_name, progress=Progress.STOPPED)
        part, by_hand = plan_appliance(scene, self._follows(name))
        self.by_hand += by_hand
        return part

    def _unreachable(self, name: str, site: str | None) -> AppliancePlan:
        error, declared = self.fleet.failures[name], self.fleet.state.appliances[name]
        finding = found(
            UNREACHABLE,
            error.message,
            error.remedy or "make its store readable, then plan again",
            position=declared.position("store"),
            about=declared.about,
            appliance=name,
        )
        return AppliancePlan(name=name, site=site, progress=Progress.UNREACHABLE, findings=(finding,))

    def _follows(self, name: str) -> tuple[str, ...]:
        """The primary comes after the other members that can be reached: what goes wrong goes wrong there first."""
        members = self.fleet.state.members_with(name)
        if name != members[0]:
            return ()
        return tuple(each for each in members[1:] if each in self.fleet.stores)

    def _scene(self, name: str) -> Scene:
        state, store = self.fleet.state, self.fleet.stores[name]
        declared = state.appliances[name]
        targets = self._targets_of(name)
        world = World.of(store)
        retired = frozenset(each.sha256 for each in declared.model.retired)
        own = tuple(targets[each] for each in state.certificates_of(name) if each in targets)
        keep = declared.model.undeclared == "keep"
        ceiling = self.fleet.allow_removals
        return Scene(
            state=state,
            declared=declared,
            store=store,
            world=world,
            targets=own,
            stopped=self.fleet.stopped.certificates,
            classes=classify(store, world.entries, own, retired, keep=keep),
            protected=ProtectedNames(state.protected_names(name), state.hostname_without_sni(name)),
            judge=Judge(state.clients(name), self.now, self.chains),
            removals_at_most=state.policy.removals_at_most if ceiling is None else ceiling,
        )

    def _targets_of(self, name: str) -> Mapping[str, Target]:
        """The declared certificates of a site, found once for all its members."""
        state = self.fleet.state
        members = tuple(each for each in state.members_with(name) if each in state.appliances)
        if members not in self._targets:
            names = dict.fromkeys(each for member in members for each in state.certificates_of(member))
            stores = {each: self.fleet.stores[each] for each in members if each in self.fleet.stores}
            retired = frozenset(each.sha256 for member in members for each in state.appliances[member].model.retired)
            found_targets = find_targets(state, names, stores, retired, self.now)
            self._targets[members] = {each.name: each for each in found_targets}
        return self._targets[members]
