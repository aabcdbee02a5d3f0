"""One turn of appliances that belong together: look, plan, apply what may be applied, and look again.

What it may do follows from the operator settings, and how much it may remove from what was removed of late. It decides
nothing about when: see `loop`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from reconciler.apply.result import ApplianceResult, Outcome
from reconciler.base.errors import ReconcilerError, StoreUnrecognised
from reconciler.engine.run import Observation, begin_journal, carry_out, plan_observed
from reconciler.engine.stores import Stores
from reconciler.plan.model import Remove, RemoveRequest
from reconciler.plan.removals import BEFORE_EXPIRATION
from reconciler.report import words
from reconciler.watch.seen import Applied, Seen, recent

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from reconciler.apply.turns import Stop
    from reconciler.base.clock import Clock
    from reconciler.engine.operator import OperatorSettings
    from reconciler.engine.run import Planned
    from reconciler.engine.unattended import Mode, Suspension
    from reconciler.plan.model import Action, AppliancePlan
    from reconciler.watch.force import InForce
    from reconciler.watch.ledger import Ledger


@dataclass(frozen=True)
class Turn:
    """One turn.

    Attributes:
        force: The desired state by which it is taken.
        group: The appliances that belong together.
        ledger: What is known of them; told of each look, and of each removal that the ceiling counts.
        settings: Operator settings.
        clock: The time.
        journals: The folder of the journals.
        stop: Ends a look at once, and an apply after the action in hand.
        overtaken: Says whether something has come that concerns the group, so that this desired state is not to be
            applied to it any more.
        ends_journal: Says whether an apply to some of them was interrupted, whose journal has no end.
        applied: What was applied in this turn, by appliance.
    """

    force: InForce
    group: frozenset[str]
    ledger: Ledger
    settings: OperatorSettings
    clock: Clock
    journals: Path
    stop: Stop
    overtaken: Callable[[], bool]
    ends_journal: Callable[[], bool]
    applied: dict[str, Applied] = field(default_factory=dict)

    async def take(self) -> Mapping[str, Seen]:
        """Take the turn.

        Returns:
            What was seen of each appliance last; nothing where the turn was ended or overtaken.
        """
        planned = None if self._is_over() else await self._look()
        if planned is None or self._is_over():
            return {}
        own = self._applicable(planned)
        if own and _has_work(own):
            await self._apply(own)
            planned = await self._look()
            own = self._applicable(planned) if planned else None
        elif own and self.ends_journal() and not own.observation.failures:
            await self._apply(own)  # nothing: but a journal that has an end tells everybody that nothing is left
        return self._seen_of_all(planned, own) if planned else {}

    def broken(self, error: Exception) -> Mapping[str, Seen]:
        """What there is to say of the appliances after a turn that went wrong in a way that nobody expected."""
        problem, remedy = f"unexpected {type(error).__name__}", "look at the log, run it with --debug, and report that"
        now, failure = self.clock(), StoreUnrecognised(problem, remedy)
        return {
            name: Seen(
                at=now,
                state=self.force.state,
                mode=self._mode(name),
                suspension=self._suspension(name, now),
                failure=failure,
                errors=self.force.errors.get(name, ()),
                stopped=self.force.is_stopped(name),
                applied=self.applied.get(name),
            )
            for name in self.group
        }

    def _is_over(self) -> bool:
        return bool(self.stop.why) or self.overtaken()

    async def _look(self) -> Planned | None:
        """Observe and plan the appliances, each observed once; None where the turn was ended meanwhile."""
        with anyio.CancelScope() as scope, self.stop.then(scope.cancel):
            observation = Observation(*await self._stores.observe(sorted(self.group), lambda *_: None))
            self.ledger.looked(observation)
            return self._planned(observation, self.group, self.clock())
        return None

    @property
    def _stores(self) -> Stores:
        return Stores(self.force.state, self.settings, self.clock)

    def _planned(self, observation: Observation, only: frozenset[str], now: dt.datetime) -> Planned:
        return plan_observed(
            self.force.state,
            self.settings,
            observation,
            now,
            only=only,
            removed={name: len(self._removals(name, observation, now)) for name in only},
            checked=self.force.checked,
        )

    def _removals(self, name: str, observation: Observation, now: dt.datetime) -> tuple[dt.datetime, ...]:
        """When certificates with a key were removed from an appliance of late: of what is there still none was."""
        store = observation.stores.get(name)
        held = store.by_fingerprint.keys() | {each.fingerprint for each in store.requests} if store else ()
        removals = self.ledger.removals(self._store(name))
        return recent(tuple(each.at for each in removals if each.fingerprint not in held), now)

    def _store(self, name: str) -> str:
        """What tells the store of an appliance from others, however its path is written."""
        store = self._stores.configuration(name)
        located = store.located(self.force.state.root, os.path.abspath)
        return store.place if located is None else str(located)

    def _applicable(self, planned: Planned) -> Planned | None:
        """The plan of those appliances to which something may be applied; None where there are none."""
        may = frozenset(name for name in self.group if self._may_apply(name))
        if may == self.group:
            return planned
        return self._planned(planned.observation, may, planned.plan.made_at) if may else None

    async def _apply(self, planned: Planned) -> None:
        """Carry a plan out, under a journal of its own."""
        names = [part.name for part in planned.plan.appliances]
        try:
            journal = begin_journal(planned, self.journals, self.clock)
        except ReconcilerError as error:
            failed = (ApplianceResult(each, Outcome.FAILED, (), error.message, error.remedy) for each in names)
            self.applied.update({each.appliance: Applied(each) for each in failed})
            return

        def before(action: Action) -> None:
            what = self._counted(action, planned)
            if what:
                self.ledger.removing(self._store(action.appliance), what)

        results = await carry_out(planned, self.settings, self.clock, journal, stop=self.stop, before=before)
        deeds = {each.id: words.deed(each.kind, each.label) for each in planned.plan.actions}
        self.applied.update({each.appliance: Applied(each, journal.path.stem, deeds) for each in results})

    def _counted(self, action: Action, planned: Planned) -> str:
        """The SHA-256 of what a removal takes away, if the ceiling counts it, else nothing.

        It counts whatever takes a key along, unless it is replaced and ends anyway.
        """
        match action:
            case RemoveRequest():
                return action.fingerprint
            case Remove(has_key=True):
                live = planned.observation.stores[action.appliance].by_fingerprint.get(action.fingerprint)
                ends = live and live.certificate.not_after - BEFORE_EXPIRATION <= planned.plan.made_at
                return "" if ends and action.reason.code == "previous" else action.fingerprint
            case _:
                return ""

    def _seen_of_all(self, planned: Planned, own: Planned | None) -> Mapping[str, Seen]:
        """What was seen of each: its part of the plan that is carried out, where there is one, else of that of all."""
        parts = {part.name: part for each in (planned, own) if each for part in each.plan.appliances}
        return {name: self._seen(name, planned, parts[name]) for name in sorted(self.group)}

    def _seen(self, name: str, planned: Planned, part: AppliancePlan) -> Seen:
        observation, now = planned.observation, planned.plan.made_at
        return Seen(
            at=now,
            state=self.force.state,
            mode=self._mode(name),
            suspension=self._suspension(name, now),
            part=part,
            store=observation.stores.get(name),
            failure=observation.failures.get(name),
            classes=planned.classes.get(name, {}),
            errors=self.force.errors.get(name, ()),
            stopped=self.force.is_stopped(name),
            applied=self.applied.get(name),
            removals=self._removals(name, observation, now),
            due=self.force.due.get(name, ()),
        )

    def _may_apply(self, name: str) -> bool:
        return self._mode(name) == "apply" and self._suspension(name, self.clock()) is None

    def _mode(self, name: str) -> Mode:
        return self.force.watch.mode_of(name, self.force.site_of(name))

    def _suspension(self, name: str, now: dt.datetime) -> Suspension | None:
        return self.force.watch.suspension_of(name, self.force.site_of(name), now)


def _has_work(planned: Planned) -> bool:
    """Whether there is anything to carry out: ready actions, or a change that was interrupted."""
    stores = planned.observation.stores
    names = [part.name for part in planned.plan.appliances if part.name in stores]
    return bool(planned.plan.summary.ready) or any(stores[name].unfinished for name in names)
