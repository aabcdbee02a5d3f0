"""Observe the fleet, check the rules, plan, apply. The command line and the loop both go through here."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from reconciler.apply.executor import Executor
from reconciler.apply.journal import Journal, Unwritten, WrittenJournal
from reconciler.apply.safety import Guard
from reconciler.apply.turns import Stop
from reconciler.apply.uploads import Uploads
from reconciler.apply.verification import Verified, verify
from reconciler.base.errors import StaleError, StoreError, StoreUnreachable, UsageError
from reconciler.base.memory import without_cycle_search
from reconciler.engine.aliases import aliases
from reconciler.engine.saved import PLAN_AGAIN, what_moved
from reconciler.engine.stores import Stores
from reconciler.plan.planner import Fleet, make_plan
from reconciler.plan.rules import JUDGED, RENEWAL_DUE, REQUEST_PENDING
from reconciler.rules import OFFLINE, acknowledge, check, stopped
from reconciler.rules.validity import EXPIRES_SOON

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.apply.result import ApplianceResult, StepResult
    from reconciler.base.clock import Clock
    from reconciler.base.findings import Finding
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings
    from reconciler.live.store import LiveStore
    from reconciler.plan.matching import Classified
    from reconciler.plan.model import Action, AppliancePlan, Plan
    from reconciler.plan.requests import Standing
    from reconciler.rules import Stopped

Notify: TypeAlias = Callable[[str, str], None]
"""Told of progress: the appliance, and what is happening on it now."""


# Not shown in full: when an event loop ends, asyncio asks for the text of what its task returned.
@dataclass(frozen=True, repr=False)
class Observation:
    """What was seen of the fleet.

    Attributes:
        stores: Stores by appliance.
        failures: Why the others could not be observed.
    """

    stores: Mapping[str, LiveStore]
    failures: Mapping[str, StoreError]


@dataclass(frozen=True, repr=False)
class Planned:
    """A plan and what it was made from.

    Attributes:
        state: The desired state.
        observation: What was seen of the fleet.
        plan: The plan.
        classes: For each observed appliance, the class of each live certificate, by fingerprint.
        requests: For each observed appliance, what each pending request is to us, by fingerprint.
    """

    state: DesiredState
    observation: Observation
    plan: Plan
    classes: Mapping[str, Mapping[str, Classified]]
    requests: Mapping[str, Mapping[str, Standing]]


@dataclass(frozen=True, repr=False)
class Checked:
    """What the rules say of a desired state at an instant. It costs a pass over the whole of it.

    Attributes:
        at: The instant.
        raw: Everything that is found without asking an appliance.
        accepted: The same without what is acknowledged.
        stopped: What the errors among these keep from being planned.
    """

    at: dt.datetime
    raw: tuple[Finding, ...]
    accepted: tuple[Finding, ...]
    stopped: Stopped


def check_rules(state: DesiredState, now: dt.datetime, settings: OperatorSettings) -> Checked:
    """Evaluate all rules that need no live store. Asks the file system which stores are one and the same."""
    declared = (*state.findings, *check(state, now))
    told = {(each.rule, each.about) for each in declared}
    raw = (*declared, *(each for each in aliases(state, settings) if (each.rule, each.about) not in told))
    accepted = acknowledge(state, raw, OFFLINE, now)
    return Checked(now, raw, accepted, stopped(state, accepted))


def _silent(appliance: str, happening: str) -> None:
    """Tells nobody."""


async def observe_fleet(
    state: DesiredState,
    settings: OperatorSettings,
    clock: Clock,
    *,
    only: frozenset[str] | None = None,
    notify: Notify | None = None,
) -> Observation:
    """Observe all appliances, or some and the members of their sites, which plans may depend on."""
    names = _concerned(state, only)
    return Observation(*await Stores(state, settings, clock).observe(names, notify or _silent))


def _concerned(state: DesiredState, only: frozenset[str] | None) -> Collection[str]:
    if only is None:
        return sorted(state.appliances)
    unknown = sorted(only - state.appliances.keys())
    if unknown:
        raise UsageError(f"no appliance is called {', '.join(unknown)}", "look at the names of the files")
    with_members = {member for name in only for member in state.members_with(name)} & state.appliances.keys()
    # A key that is made on one appliance may be needed on another, whatever its site.
    listed = {certificate for name in with_members for certificate in state.certificates_of(name)}
    sharing = {holder for certificate in listed for holder in state.holders_of(certificate)}
    return sorted(with_members | sharing)


async def plan_fleet(
    state: DesiredState,
    settings: OperatorSettings,
    clock: Clock,
    *,
    at: dt.datetime | None = None,
    only: frozenset[str] | None = None,
    allow_removals: int | None = None,
    notify: Notify | None = None,
) -> Planned:
    """Observe the fleet and plan it.

    Args:
        state: The desired state.
        settings: Operator settings.
        clock: The time.
        at: Plan as of this instant; None for now.
        only: Names of the appliances to plan; None for all.
        allow_removals: Overrides the policy's ceiling on removals.
        notify: Told of progress.
    """
    with without_cycle_search():
        observation = await observe_fleet(state, settings, clock, only=only, notify=notify)
        now = at or clock()
        return plan_observed(state, settings, observation, now, as_of=at, only=only, allow_removals=allow_removals)


async def plan_again(
    saved: Plan, state: DesiredState, settings: OperatorSettings, clock: Clock, *, notify: Notify | None = None
) -> Planned:
    """Plan what a saved plan was made of, for the same instant, from the desired state and the stores as they are now.

    Raises:
        StaleError: The plan would differ; the message names each thing that moved.
    """
    only = None if saved.basis.only is None else frozenset(saved.basis.only)
    gone = sorted((only or frozenset()) - state.appliances.keys())
    if gone:
        raise _stale([f"{each} is not declared any more" for each in gone])
    with without_cycle_search():
        observation = await observe_fleet(state, settings, clock, only=only, notify=notify)
        allowed = saved.basis.allow_removals
        again = plan_observed(state, settings, observation, saved.made_at, only=only, allow_removals=allowed)
    moved = what_moved(saved, again.plan)
    if moved:
        raise _stale(moved)
    return again


def _stale(moved: Iterable[str]) -> StaleError:
    listed = "\n".join(f"  {each}" for each in moved)
    return StaleError(f"the saved plan no longer fits:\n{listed}", PLAN_AGAIN)


def plan_observed(
    state: DesiredState,
    settings: OperatorSettings,
    observation: Observation,
    now: dt.datetime,
    *,
    as_of: dt.datetime | None = None,
    only: frozenset[str] | None = None,
    allow_removals: int | None = None,
    removed: Mapping[str, int] | None = None,
    checked: Checked | None = None,
) -> Planned:
    """Plan from what was observed. Asks nobody.

    Args:
        state: The desired state.
        settings: Operator settings.
        observation: What was seen of the fleet.
        now: The instant for which it is planned.
        as_of: The same, where it is not the present one.
        only: Names of the appliances to plan; None for all.
        allow_removals: Overrides the policy's ceiling on removals.
        removed: How many removals of late use up a part of that ceiling already, by appliance.
        checked: What the rules say of the desired state, where that is known already; None to check them now.
    """
    checked = checked or check_rules(state, now, settings)
    fleet = Fleet(
        state,
        observation.stores,
        observation.failures,
        checked.accepted,
        checked.stopped,
        only,
        allow_removals,
        removed or {},
        {name: each.place for name, each in settings.stores.items()},
    )
    planning = make_plan(fleet, now, as_of=as_of)
    whole = only is None and not observation.failures
    plan = _acknowledged(state, planning.plan, checked.raw, OFFLINE | JUDGED if whole else OFFLINE, now)
    return Planned(state, observation, plan, planning.classes, planning.requests)


def _acknowledged(
    state: DesiredState, plan: Plan, raw: tuple[Finding, ...], checked: frozenset[str], now: dt.datetime
) -> Plan:
    """The plan with only those findings that nobody has accepted, and with what is wrong with acknowledgements."""
    live = [finding for part in plan.appliances for finding in part.findings]
    left = acknowledge(state, (*raw, *live), checked, now)
    remaining = set(map(id, left))
    parts = tuple(
        part.model_copy(update={"findings": tuple(each for each in part.findings if id(each) in remaining)})
        if part.findings
        else part
        for part in plan.appliances
    )
    shown = {id(finding) for part in parts for finding in part.findings}
    told = {(finding.rule, finding.about) for part in parts for finding in part.findings}
    told |= {(EXPIRES_SOON.id, about) for rule, about in told if rule in {RENEWAL_DUE.id, REQUEST_PENDING.id}}
    # What the live state tells of an object says more than what the committed files alone tell.
    offline = tuple(each for each in left if id(each) not in shown and (each.rule, each.about) not in told)
    return plan.model_copy(update={"appliances": parts, "findings": offline})


async def apply_planned(
    planned: Planned,
    settings: OperatorSettings,
    clock: Clock,
    *,
    notify: Notify | None = None,
    journal: Journal | None = None,
    stop: Stop | None = None,
) -> tuple[ApplianceResult, ...]:
    """Carry a plan out that was just made.

    Args:
        planned: The plan, and what it was made from.
        settings: Operator settings.
        clock: The time.
        notify: Told of progress.
        journal: Where it is noted what is done; None for nowhere.
        stop: Asks to end after the action in hand.

    Raises:
        UsageError: It was made as of another instant.
    """
    if planned.plan.as_of is not None:
        raise UsageError("a plan as of another time cannot be applied", "plan again without --at")
    state, stores, stop = planned.state, Stores(planned.state, settings, clock), stop or Stop()
    executor = Executor(
        planned.plan,
        partial(stores.open, changes=True, given_up=lambda: bool(stop.why)),
        Uploads(state, os.environ, Path(state.root)),
        unfinished=[name for name, store in planned.observation.stores.items() if store.unfinished],
        concurrency=settings.concurrency,
        notify=notify or _silent,
        guards={name: Guard(state.protected_names(name), state.clients(name)) for name in state.appliances},
        clock=clock,
        journal=journal or Unwritten(),
        verify=_Verifier(stores, settings).verify,
        stop=stop,
    )
    return await executor.run()


async def carry_out(
    planned: Planned,
    settings: OperatorSettings,
    clock: Clock,
    journal: WrittenJournal,
    *,
    notify: Notify | None = None,
    stop: Stop | None = None,
    before: Callable[[Action], None] | None = None,
) -> tuple[ApplianceResult, ...]:
    """Carry a plan out that was just made, under a journal that is closed afterwards.

    Args:
        planned: The plan, and what it was made from.
        settings: Operator settings.
        clock: The time.
        journal: The journal, which was just begun; see `begin_journal`.
        notify: Told of progress.
        stop: Asks to end after the action in hand.
        before: Told of each action before it runs; what it raises of the family of errors keeps the action from it.
    """
    with closing(journal):
        noted = _Told(journal, before) if before else journal
        results = await apply_planned(planned, settings, clock, notify=notify, journal=noted, stop=stop)
        journal.end(results)
    return results


def begin_journal(planned: Planned, folder: Path, clock: Clock) -> WrittenJournal:
    """Begin the journal of an apply of a plan.

    Raises:
        UnreadableInput: It cannot be written.
    """
    return WrittenJournal(folder, planned.plan, str(Path(planned.state.root).resolve()), clock)


@dataclass(frozen=True)
class _Told:
    """A journal, and somebody else who is told of what is about to be done."""

    journal: Journal
    before: Callable[[Action], None]

    def intend(self, action: Action) -> None:
        self.journal.intend(action)
        self.before(action)

    def record(self, result: StepResult) -> None:
        self.journal.record(result)


@dataclass(frozen=True)
class _Verifier:
    """Looks at what appliances serve, where it is known where they do and the operator allows the host."""

    stores: Stores
    settings: OperatorSettings

    async def verify(self, part: AppliancePlan, bound: Mapping[str, str]) -> tuple[Verified, ...]:
        place = self.stores.endpoint(part.name)
        if place is None:
            return ()
        try:
            address = self.settings.network.address(*place)
        except StoreUnreachable:
            return ()
        return await verify(part.serving, bound, address)


def create_stores(
    state: DesiredState, settings: OperatorSettings, clock: Clock, *, only: frozenset[str] | None = None
) -> tuple[str, ...]:
    """Make the stores that do not exist yet, each with its factory certificate, where their driver makes stores.

    A store that cannot be made is passed over: observing it says what is wrong with it.

    Returns:
        The names of the appliances that got one.
    """
    stores = Stores(state, settings, clock)
    made = []
    for name in sorted(state.appliances if only is None else only):
        with suppress(StoreError):
            if stores.create(name):
                made.append(name)
    return tuple(made)
