"""Desired + live + now -> `Plan`. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, found, sort_key
from reconciler.plan.appliance import plan_appliance
from reconciler.plan.digest import digest
from reconciler.plan.goodness import Chains, Judge
from reconciler.plan.matching import Classified, classify, find_targets
from reconciler.plan.model import Action, AppliancePlan, Basis, ByHand, Plan, Progress, State, Summary
from reconciler.plan.requests import RequestClass, Standing, standings
from reconciler.plan.rules import UNREACHABLE
from reconciler.plan.safety import ProtectedNames
from reconciler.plan.scene import Scene, appliance_of
from reconciler.plan.supply import Supply, supply_of
from reconciler.plan.world import World

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

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
        requests: For each observed appliance, what each pending request is to us, by fingerprint.
    """

    plan: Plan
    classes: Mapping[str, Mapping[str, Classified]]
    requests: Mapping[str, Mapping[str, Standing]]


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
        removed: How many removals of late use up a part of that ceiling already, by appliance.
        places: The store that is meant by each appliance, where that is another one than it declares.
    """

    state: DesiredState
    stores: Mapping[str, LiveStore]
    failures: Mapping[str, StoreError]
    findings: tuple[Finding, ...]
    stopped: Stopped
    only: frozenset[str] | None = None
    allow_removals: int | None = None
    removed: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)


def make_plan(fleet: Fleet, now: dt.datetime, *, as_of: dt.datetime | None = None) -> Planning:
    """Plan a fleet.

    Args:
        fleet: What the plan is made from.
        now: The instant for which it is made; the present one unless `as_of` is given.
        as_of: The instant that `--at` asked for, where it did; it equals `now` then.
    """
    names = [name for name in sorted(fleet.state.appliances) if fleet.only is None or name in fleet.only]
    planner = _Planner(fleet, now, frozenset(names))
    parts = planner.parts(names)
    basis = Basis(
        revision=fleet.state.revision,
        desired_digest=fleet.state.digest,
        live_digests={name: fleet.stores[name].digest for name in names if name in fleet.stores},
        only=None if fleet.only is None else tuple(sorted(fleet.only)),
        allow_removals=fleet.allow_removals,
        replaced=tuple(name for name in names if name in fleet.places),
    )
    plan = Plan(
        made_at=now,
        as_of=as_of,
        digest=digest(parts),
        basis=basis,
        appliances=parts,
        findings=tuple(sorted(fleet.findings, key=sort_key)),
        by_hand=tuple(dict.fromkeys(each for name in names for each in planner.by_hand.get(name, ()))),
        summary=summarize(parts),
    )
    classes = {name: scene.classes for name, scene in planner.scenes.items()}
    found = {part.name: _standings(planner.scenes[part.name], part) for part in parts if part.name in planner.scenes}
    return Planning(plan, classes, found)


def summarize(parts: tuple[AppliancePlan, ...]) -> Summary:
    """Count the actions of the appliances' parts of a plan."""
    actions = [action for each in parts for action in each.actions]
    ready = Counter(action.kind for action in actions if action.state is State.READY)
    states = Counter(action.state for action in actions)
    return Summary(
        create=ready["create_self_signed"] + ready["create_request"],
        import_=ready["import"],
        set_default=ready["set_default"],
        remove=ready["remove"] + ready["remove_request"],
        held=states[State.HELD] + states[State.BY_HAND],
        waiting=states[State.WAITING],
    )


class _Planner:
    """Plans the appliances of a fleet one by one, and shares between them what they have in common."""

    def __init__(self, fleet: Fleet, now: dt.datetime, planned: frozenset[str]) -> None:
        self.fleet = fleet
        self.now = now
        self._planned = planned
        self.scenes: dict[str, Scene] = {}
        self.by_hand: dict[str, tuple[ByHand, ...]] = {}
        self._chains = Chains()
        self._targets: dict[tuple[str, ...], Mapping[str, Target]] = {}
        self._supplies: dict[tuple[str, tuple[str, ...]], Supply] = {}
        self._committed_keys: defaultdict[str, set[str]] = defaultdict(set)
        for name, material in fleet.state.material.items():
            if material.leaf:
                self._committed_keys[material.leaf.public_key].add(name)
        self._speakers = frozenset(
            name for name in planned if name in fleet.stores and name not in fleet.stopped.appliances
        )

    def parts(self, names: Sequence[str]) -> tuple[AppliancePlan, ...]:
        """Each appliance's part, in the order given.

        An action may wait for one of another appliance. So appliances are planned again for as long as what they wait
        for turns out to be ready elsewhere, or not to be ready after all; that is taken for final, so this ends.
        """
        parts = {name: self._part(name, frozenset()) for name in names}
        known, refuted = frozenset[str](), frozenset[str]()
        while (ready := _ready(parts) - refuted) != known:
            refuted |= known - ready
            known = ready
            for name, part in parts.items():
                elsewhere = frozenset(each for each in known if appliance_of(each) != name)
                if any(_is_outdated(each, elsewhere) for each in part.actions):
                    parts[name] = self._part(name, elsewhere)
        return tuple(
            part.model_copy(update={"follows": self._follows(part, parts), "store": self._place(part.name)})
            for part in parts.values()
        )

    def _place(self, name: str) -> str:
        return self.fleet.places.get(name) or self.fleet.state.appliances[name].model.store.place

    def _part(self, name: str, elsewhere: frozenset[str]) -> AppliancePlan:
        fleet, state = self.fleet, self.fleet.state
        site = state.site_of(name)
        site_name = site.name if site else None
        if name in fleet.failures:
            return self._unreachable(name, site_name)
        scene = self.scenes.get(name) or self._scene(name)
        self.scenes[name] = scene
        if name in fleet.stopped.appliances:
            return AppliancePlan(name=name, site=site_name, progress=Progress.STOPPED)
        part, self.by_hand[name] = plan_appliance(replace(scene, elsewhere=elsewhere))
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

    def _follows(self, part: AppliancePlan, parts: Mapping[str, AppliancePlan]) -> tuple[str, ...]:
        """The primary comes after the other members that can be reached: what goes wrong goes wrong there first.

        It does not come after one that waits for it, to get a key from it or to change roots together.
        """
        members = self.fleet.state.members_with(part.name)
        if part.name != members[0]:
            return ()
        others = (each for each in members[1:] if each in self.fleet.stores)
        return tuple(each for each in others if part.name not in _waits_for(each, parts))

    def _scene(self, name: str) -> Scene:
        state, store = self.fleet.state, self.fleet.stores[name]
        declared = state.appliances[name]
        targets = self._targets_of(name)
        world = World.of(store)
        retired = frozenset(each.sha256 for each in declared.model.retired)
        own = tuple(targets[each] for each in state.certificates_of(name) if each in targets)
        keep = declared.model.undeclared == "keep"
        ceiling = state.policy.removals_at_most if self.fleet.allow_removals is None else self.fleet.allow_removals
        of_site = {each.name: self._supply(each, name) for each in targets.values()}
        supplies = {each.name: of_site[each.name] for each in own}
        awaited = {
            supply.awaited.request.fingerprint: supply.target.name
            for supply in of_site.values()
            if supply.awaited and supply.awaited.appliance == name
        }
        return Scene(
            state=state,
            declared=declared,
            store=store,
            world=world,
            targets=own,
            stopped=self.fleet.stopped.certificates,
            classes=classify(store, world.entries, own, retired, keep=keep),
            protected=ProtectedNames(state.protected_names(name), state.hostname_without_sni(name)),
            judge=Judge(state.clients(name), self.now, self._chains),
            removals_at_most=max(ceiling - self.fleet.removed.get(name, 0), 0),
            supplies=supplies,
            standings=standings(store.requests, targets.values(), awaited, retired),
            neighbours={
                each: self.fleet.stores[each] for each in state.members_with(name) if each in self.fleet.stores
            },
            left_out=frozenset(
                each for each in state.members_with(name) if each in self.fleet.stores and each not in self._planned
            ),
            tells=tuple(each for each in supplies.values() if name == self._speaker(each)),
        )

    def _speaker(self, supply: Supply) -> str | None:
        """The appliance in whose part of the plan it is told what concerns all that hold a certificate."""
        return next((each for each in supply.holders if each in self._speakers), None)

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

    def _supply(self, target: Target, name: str) -> Supply:
        """How a certificate comes to those that should hold it; what is not asked for from a CA stays in its site."""
        holders = self.fleet.state.holders_of(target.name)
        if not target.is_requested:
            site = self.fleet.state.members_with(name)
            holders = tuple(each for each in holders if each in site)
        key = (target.name, holders)
        if key not in self._supplies:
            stopped = target.name in self.fleet.stopped.certificates
            unfit, retiring = self._unfit(target, holders), self._retiring(target, holders)
            self._supplies[key] = supply_of(
                target, holders, self.fleet.stores, stopped=stopped, unfit=unfit, retiring=retiring
            )
        return self._supplies[key]

    def _retiring(self, target: Target, holders: tuple[str, ...]) -> frozenset[str]:
        """The appliances that retire the committed answer of a certificate."""
        leaf, appliances = target.material.leaf, self.fleet.state.appliances
        listed = ((name, each.sha256) for name in holders for each in appliances[name].model.retired)
        return frozenset(name for name, fingerprint in listed if leaf and fingerprint == leaf.fingerprint)

    def _unfit(self, target: Target, holders: tuple[str, ...]) -> frozenset[str]:
        """Fingerprints of requests that are retired, or used up when another declared certificate is imported."""
        state, stores = self.fleet.state, self.fleet.stores
        requests = (each for holder in holders if holder in stores for each in stores[holder].requests)
        answered = {each.fingerprint for each in requests if self._committed_keys[each.public_key] - {target.name}}
        return frozenset(
            answered.union(each.sha256 for name in holders for each in state.appliances[name].model.retired)
        )


def _standings(scene: Scene, part: AppliancePlan) -> Mapping[str, Standing]:
    """What each pending request is to us, now that it is known which answers are waited for."""
    waiting = (each for each in part.actions if each.state is State.WAITING)
    awaited = {
        one: Standing(RequestClass.AWAITED, each.certificate) for each in waiting for one in each.expects.requests
    }
    return {**scene.standings, **awaited}


def _runs(action: Action) -> bool:
    return action.state is State.READY


def _is_outdated(action: Action, elsewhere: frozenset[str]) -> bool:
    """Whether what is ready on other appliances may let an action run that does not, or not let one run that does."""
    foreign = {each for each in action.depends_on if appliance_of(each) != action.appliance}
    return not foreign <= elsewhere if _runs(action) else bool(foreign & elsewhere)


def _ready(parts: Mapping[str, AppliancePlan]) -> frozenset[str]:
    return frozenset(each.id for part in parts.values() for each in part.actions if _runs(each))


def _waits_for(name: str, parts: Mapping[str, AppliancePlan]) -> frozenset[str]:
    """The appliances whose actions an appliance's ready actions wait for, directly or by way of others."""
    waits, open_ends = set[str](), [name]
    while open_ends:
        part = parts.get(open_ends.pop())
        actions = (action for action in part.actions if _runs(action)) if part else ()
        others = {appliance_of(each) for action in actions for each in action.depends_on}
        open_ends += others - waits
        waits |= others
    return frozenset(waits)
