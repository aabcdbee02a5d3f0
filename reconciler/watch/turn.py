"""One turn of appliances that belong together: look, plan, apply what may be applied, and look again.

What it may do follows from the operator settings, and how much it may remove from what was removed of late. It decides
nothing about when: see `loop`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import anyio

from reconciler.apply.result import ApplianceResult, Outcome
from reconciler.base.errors import ReconcilerError
from reconciler.engine.run import Observation, begin_journal, carry_out, plan_observed
from reconciler.engine.stores import Stores
from reconciler.plan.model import Remove, RemoveRequest
from reconciler.plan.removals import BEFORE_EXPIRATION
from reconciler.watch.seen import Applied, Seen, recent

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from reconciler.apply.turns import Stop
    from reconciler.base.clock import Clock
    from reconciler.base.findings import Finding
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings
    from reconciler.engine.run import Checked, Planned
    from reconciler.engine.unattended import Mode, Suspension
    from reconciler.plan.model import Action, AppliancePlan

Removing: TypeAlias = Callable[[str], None]
"""Told of the appliance from which a certificate with a key is about to be removed; it may raise to prevent that."""


@dataclass(frozen=True)
class InForce:
    """A desired state that is in force, and what is known of it without asking an appliance.

    Attributes:
        state: The desired state.
        checked: What the rules say of it.
        errors: Errors among that, by appliance.
        groups: The appliances that belong together.
    """

    state: DesiredState
    checked: Checked
    errors: Mapping[str, tuple[Finding, ...]]
    groups: tuple[frozenset[str], ...]

    @property
    def names(self) -> frozenset[str]:
        """The appliances, and those whose own file is broken."""
        return frozenset(self.state.appliances) | self.errors.keys()

    def site_of(self, name: str) -> str | None:
        """The site of an appliance, where it has one."""
        site = self.state.site_of(name)
        return site.name if site else None

    def is_stopped(self, name: str) -> bool:
        """Whether an error keeps an appliance, or one of its certificates, from being planned."""
        stopped = self.checked.stopped
        return (
            name not in self.state.appliances
            or name in stopped.appliances
            or not stopped.certificates.isdisjoint(self.state.certificates_of(name))
        )

    def undeclared(self, name: str, now: dt.datetime, mode: Mode) -> Seen:
        """What there is to say of an appliance whose own file is broken: why."""
        return Seen(at=now, state=self.state, mode=mode, errors=self.errors.get(name, ()), stopped=True)


def restated(old: InForce, new: InForce) -> frozenset[str]:
    """The appliances of which rules say something else than before."""
    told = old.errors.keys() | new.errors.keys()
    differing = {name for name in told if old.errors.get(name) != new.errors.get(name)}
    return frozenset(differing | (old.checked.stopped.appliances ^ new.checked.stopped.appliances))


@dataclass(frozen=True)
class Turn:
    """One turn.

    Attributes:
        force: The desired state in force.
        group: The appliances that belong together.
        removals: When certificates with a key were removed from an appliance of late.
        settings: Operator settings.
        clock: The time.
        journals: The folder of the journals.
        stop: Ends a look at once, and an apply after the action in hand.
        interrupted: Says whether an apply to them, and to nobody else, was interrupted, whose journal has no end.
        looked: Told of each look: which appliances were observed, which were not.
        removing: Told of each removal that the ceiling counts, before it happens.
    """

    force: InForce
    group: frozenset[str]
    removals: Callable[[str], tuple[dt.datetime, ...]]
    settings: OperatorSettings
    clock: Clock
    journals: Path
    stop: Stop
    interrupted: Callable[[], bool]
    looked: Callable[[Observation], None]
    removing: Removing

    async def take(self) -> Mapping[str, Seen]:
        """Take the turn.

        Returns:
            What was seen of each appliance last; nothing where the turn was ended.
        """
        planned, applied = await self._look(), dict[str, Applied]()
        own = self._applicable(planned) if planned else None
        if own and _has_work(own) and not self.stop.why:
            applied = await self._apply(own)
            planned = await self._look()
            own = self._applicable(planned) if planned else None
        elif own and self.interrupted() and not own.observation.failures:
            await self._apply(own)  # nothing: but a journal that has an end tells everybody that nothing is left
        return self._seen_of_all(planned, own, applied) if planned else {}

    async def _look(self) -> Planned | None:
        """Observe and plan the appliances, each observed once; None where the turn was ended meanwhile."""
        stores = Stores(self.force.state, self.settings, self.clock)
        with anyio.CancelScope() as scope:
            self.stop.then(scope.cancel)
            if self.stop.why:
                return None
            observation = Observation(*await stores.observe(sorted(self.group), lambda *_: None))
            self.looked(observation)
            return self._planned(observation, self.group, self.clock())
        return None

    def _planned(self, observation: Observation, only: frozenset[str], now: dt.datetime) -> Planned:
        state = self.force.state
        removed = max(len(recent(self.removals(name), now)) for name in only)
        ceiling = max(state.policy.removals_at_most - removed, 0) if removed else None
        return plan_observed(
            state,
            self.settings,
            observation,
            now,
            only=only,
            allow_removals=ceiling,
            checked=self.force.checked,
        )

    def _applicable(self, planned: Planned) -> Planned | None:
        """The plan of those appliances to which something may be applied; None where there are none."""
        may = frozenset(name for name in self.group if self._may_apply(name))
        if may == self.group:
            return planned
        return self._planned(planned.observation, may, planned.plan.made_at) if may else None

    async def _apply(self, planned: Planned) -> dict[str, Applied]:
        """Carry a plan out, under a journal of its own."""
        names = [part.name for part in planned.plan.appliances]
        try:
            journal = begin_journal(planned, self.journals, self.clock)
        except ReconcilerError as error:
            failed = (ApplianceResult(each, Outcome.FAILED, (), error.message, error.remedy) for each in names)
            return {each.appliance: Applied(each) for each in failed}

        def before(action: Action) -> None:
            if self._is_counted(action, planned):
                self.removing(action.appliance)

        results = await carry_out(planned, self.settings, self.clock, journal, stop=self.stop, before=before)
        return {each.appliance: Applied(each, journal.path.stem) for each in results}

    def _is_counted(self, action: Action, planned: Planned) -> bool:
        """Whether the ceiling counts a removal: whatever takes a key along, unless it is replaced and ends anyway."""
        match action:
            case RemoveRequest():
                return True
            case Remove(has_key=True):
                live = planned.observation.stores[action.appliance].by_fingerprint.get(action.fingerprint)
                ends = live and live.certificate.not_after - BEFORE_EXPIRATION <= planned.plan.made_at
                return not (ends and action.reason.code == "previous")
            case _:
                return False

    def _seen_of_all(self, planned: Planned, own: Planned | None, applied: Mapping[str, Applied]) -> Mapping[str, Seen]:
        """What was seen of each: its part of the plan that is carried out, where there is one, else of that of all."""
        parts = {part.name: part for each in (planned, own) if each for part in each.plan.appliances}
        return {name: self._seen(name, planned, parts[name], applied.get(name)) for name in sorted(self.group)}

    def _seen(self, name: str, planned: Planned, part: AppliancePlan, applied: Applied | None) -> Seen:
        observation, now = planned.observation, planned.plan.made_at
        return Seen(
            at=now,
            state=self.force.state,
            mode=self.settings.watch.mode_of(name, self.force.site_of(name)),
            suspension=self._suspension(name, now),
            part=part,
            store=observation.stores.get(name),
            failure=observation.failures.get(name),
            classes=planned.classes.get(name, {}),
            errors=self.force.errors.get(name, ()),
            stopped=self.force.is_stopped(name),
            applied=applied,
        )

    def _may_apply(self, name: str) -> bool:
        mode = self.settings.watch.mode_of(name, self.force.site_of(name))
        return mode == "apply" and self._suspension(name, self.clock()) is None

    def _suspension(self, name: str, now: dt.datetime) -> Suspension | None:
        return self.settings.watch.suspension_of(name, self.force.site_of(name), now)


def _has_work(planned: Planned) -> bool:
    """Whether there is anything to carry out: ready actions, or a change that was interrupted."""
    stores = planned.observation.stores
    names = [part.name for part in planned.plan.appliances if part.name in stores]
    return bool(planned.plan.summary.ready) or any(stores[name].unfinished for name in names)
