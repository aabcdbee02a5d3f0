"""Carries out a plan: appliances side by side under a limit, each appliance's actions in order, each read back.

One appliance's failure leaves the others alone. An action runs only when the store is as the plan expects it; after an
error whose effect is unknown the store is observed before anything else is said about it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import anyio
from anyio import to_thread

from reconciler.apply.effects import created, has_happened, requested, why_stale
from reconciler.apply.journal import Journal, Unwritten
from reconciler.apply.loans import Loans
from reconciler.apply.perform import describe, perform
from reconciler.apply.result import ApplianceResult, Outcome, StepResult
from reconciler.apply.turns import Stop, Turns
from reconciler.apply.verification import Served
from reconciler.base.clock import system_clock
from reconciler.base.errors import ActionRefused, EffectUnknown, ReconcilerError
from reconciler.plan.model import (
    Action,
    CreateRequest,
    CreateSelfSigned,
    Import,
    KeySource,
    State,
)
from reconciler.plan.scene import appliance_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Mapping
    from contextlib import AbstractAsyncContextManager

    from reconciler.apply.loans import Lent
    from reconciler.apply.safety import Guard
    from reconciler.apply.uploads import Uploads
    from reconciler.apply.verification import Verified
    from reconciler.base.clock import Clock
    from reconciler.live.driver import Driver
    from reconciler.live.store import LiveStore
    from reconciler.plan.model import AppliancePlan, Plan

_log = logging.getLogger(__name__)
_GO_BACK = "see why; to go back, commit what was declared before and apply: what was replaced is still in the store"

Notify: TypeAlias = Callable[[str, str], None]
"""Told of progress: the appliance, and what is happening on it now."""

Verify: TypeAlias = "Callable[[AppliancePlan, Mapping[str, str]], Awaitable[tuple[Verified, ...]]]"
"""Looks at what an appliance serves, given what came into being in this apply."""

OpenStore: TypeAlias = "Callable[[str], AbstractAsyncContextManager[Driver]]"
"""Opens the store of an appliance, by name."""


@dataclass
class Executor:
    """Carries out one plan, once.

    Attributes:
        plan: The plan.
        open_store: Opens the store of an appliance.
        uploads: Makes what imports upload.
        unfinished: Appliances on which an interrupted change is to be finished first.
        concurrency: How many appliances are worked on at once.
        notify: Told of progress.
        guards: Watch over the protected names, by appliance.
        clock: The time, for them.
        journal: Where it is noted what is done.
        verify: Looks at what an appliance serves once its actions have run; None where nobody looks.
        stop: Asks to end after the action in hand.
    """

    plan: Plan
    open_store: OpenStore
    uploads: Uploads
    unfinished: Collection[str] = ()
    concurrency: int = 16
    notify: Notify = lambda appliance, happening: None  # noqa: ARG005 - the names say what it is told
    guards: Mapping[str, Guard] = field(default_factory=dict)
    clock: Clock = system_clock
    journal: Journal = field(default_factory=Unwritten)
    verify: Verify | None = None
    stop: Stop = field(default_factory=Stop)
    _done: set[str] = field(default_factory=set)
    _bound: dict[str, str] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _results: dict[str, ApplianceResult] = field(default_factory=dict)
    _turns: Turns = field(default_factory=Turns)
    _loans: Loans = field(init=False)

    def __post_init__(self) -> None:
        self._loans = Loans(self.plan)

    async def run(self) -> tuple[ApplianceResult, ...]:
        """Carry the plan out. Never raises for what goes wrong on an appliance: results say it, by name."""
        limiter = anyio.CapacityLimiter(self.concurrency)
        async with anyio.create_task_group() as group:
            for name, refs in self._loans.at_once.items():
                group.start_soon(self._borrow, name, refs, limiter)
        parts = [part for part in self.plan.appliances if _ready(part) or part.name in self.unfinished]
        self._running = {part.name for part in parts}
        with self.stop.then(self._turns.call):
            async with anyio.create_task_group() as group:
                for part in parts:
                    group.start_soon(self._appliance, part, limiter)
        unchanged = (ApplianceResult(part.name, Outcome.UNCHANGED) for part in self.plan.appliances)
        return tuple(self._results.get(result.appliance, result) for result in unchanged)

    async def _borrow(self, name: str, refs: list[str], limiter: anyio.CapacityLimiter) -> None:
        """Have copies of keys before anything changes; what fails is told where they are needed."""
        async with limiter:
            self.notify(name, "exporting keys for other appliances")
            try:
                async with self.open_store(name) as driver:
                    for ref in refs:
                        await self._loans.fetch(driver, name, ref, ref)
            except Exception as error:  # noqa: BLE001 - a driver may be anyone's; its fault stays on its appliance
                for ref in refs:
                    self._loans.fail(name, ref, ReconcilerError(*_explain(error)))

    async def _appliance(self, part: AppliancePlan, limiter: anyio.CapacityLimiter) -> None:
        steps: list[StepResult] = []
        served: tuple[Verified, ...] = ()
        problem, remedy = "", ""
        try:
            await self._turn(lambda: self._running.isdisjoint(part.follows))
            if await self._try_keys(part, steps):
                await self._visits(part, limiter, steps)
                served = await self._verified(part, steps)
        except Exception as error:  # noqa: BLE001 - a driver may be anyone's; its fault stays on its appliance
            problem, remedy = _explain(error)
        ready = _ready(part)
        steps += [StepResult(action.id, Outcome.NOT_ATTEMPTED) for action in ready[len(steps) :]]
        wrong = [each for each in served if each.served is not Served.AS_EXPECTED]
        if wrong and not problem:
            problem, remedy = "; ".join(each.sentence for each in wrong), _GO_BACK
            # Whatever still waits for this appliance is not to go on.
            self._done.difference_update(step.action for step in steps)
        outcome = _outcome(steps, problem)
        self._results[part.name] = ApplianceResult(part.name, outcome, tuple(steps), problem, remedy, served)
        self._running.discard(part.name)
        self._turns.call()

    async def _verified(self, part: AppliancePlan, steps: list[StepResult]) -> tuple[Verified, ...]:
        """What is served once every action has run; nothing where not all did, or none was to."""
        if self.verify is None or not steps or any(each.outcome is not Outcome.APPLIED for each in steps):
            return ()
        self.notify(part.name, "looking at what is served")
        return await self.verify(part, self._bound)

    async def _turn(self, is_mine: Callable[[], bool]) -> bool:
        return await self._turns.wait(lambda: bool(self.stop.why) or is_mine(), lambda: len(self._running))

    async def _try_keys(self, part: AppliancePlan, steps: list[StepResult]) -> bool:
        """Whether every committed key that will be needed opens: a wrong passphrase shows before anything changes."""
        for number, action in enumerate(_ready(part)):
            if not isinstance(action, Import) or action.key_source is not KeySource.COMMITTED:
                continue
            try:
                await to_thread.run_sync(self.uploads.upload, action)
            except ReconcilerError as error:
                steps += [StepResult(each.id, Outcome.NOT_ATTEMPTED) for each in _ready(part)[:number]]
                steps.append(StepResult(action.id, Outcome.FAILED, error.message, error.remedy))
                return False
        return True

    async def _visits(self, part: AppliancePlan, limiter: anyio.CapacityLimiter, steps: list[StepResult]) -> None:
        """Open the store for as many actions as can run; close it while the next one waits for another appliance."""
        actions, digest = _ready(part), self.plan.basis.live_digests.get(part.name)
        while True:
            if actions and not await self._turn(lambda: self._is_free(actions[len(steps)])):
                steps.append(self._not_attempted(actions[len(steps)]))
                return
            async with limiter, self.open_store(part.name) as driver:
                await driver.recover()
                digest = await self._steps(part, driver, steps, digest)
            if digest is None or len(steps) == len(actions):
                return

    def _is_free(self, action: Action) -> bool:
        """Whether nothing on another appliance that it depends on is still to come."""
        return all(each in self._done or appliance_of(each) not in self._running for each in _foreign(action))

    async def _steps(
        self, part: AppliancePlan, driver: Driver, steps: list[StepResult], digest: str | None
    ) -> str | None:
        """Carry out what can run now; the digest of the store afterwards, or None where nothing more is to be done."""
        actions = _ready(part)
        if not actions:
            return None
        store = await driver.observe()
        if store.digest != digest:
            moved = (
                why_stale(actions[len(steps)], store, self._bound) or "the store has changed since the plan was made"
            )
            steps.append(StepResult(actions[len(steps)].id, Outcome.STALE, moved, "plan again"))
            return None
        for number, action in enumerate(actions[len(steps) :], len(steps) + 1):
            if self.stop.why:
                steps.append(StepResult(action.id, Outcome.NOT_ATTEMPTED, self.stop.why, "apply again to go on"))
                return None
            if not self._is_free(action):
                return store.digest
            self.notify(part.name, f"{number}/{len(actions)} {describe(action)}")
            try:
                result, store = await self._step(action, driver, store)
            except Exception as error:  # noqa: BLE001 - the same; and here something may have happened already
                problem, remedy = _explain(error)
                message = f"whether it had its effect is not known: {problem}"
                result = StepResult(action.id, Outcome.FAILED, message, remedy)
            steps.append(result)
            self.journal.record(result)
            if result.outcome is not Outcome.APPLIED:
                return None
            await self._lend(action, driver)
            self._done.add(action.id)
            self._turns.call()
        return store.digest

    async def _lend(self, action: Action, driver: Driver) -> None:
        """Export what an action has brought, if somebody borrows it."""
        match action:
            case Import(fingerprint=ref) | CreateSelfSigned(new=ref) if self._loans.is_awaited(action.appliance, ref):
                await self._loans.fetch(driver, action.appliance, ref, self._bound.get(ref, ref))
            case _:
                return

    async def _step(self, action: Action, driver: Driver, store: LiveStore) -> tuple[StepResult, LiveStore]:
        bound = self._bound
        if not self._done.issuperset(action.depends_on):
            return self._not_attempted(action), store
        stale = why_stale(action, store, bound)
        if stale:
            return StepResult(action.id, Outcome.STALE, stale, "plan again"), store
        error: ReconcilerError | None = None
        try:
            lent = self._loans.get(action.loan) if isinstance(action, Import) and action.loan else None
            self._guard(action, store, lent)
            self.journal.intend(action)
            await perform(action, driver, self.uploads, lent, self._bound)
        except EffectUnknown as unknown:
            error = unknown
        except ReconcilerError as refused:
            return StepResult(action.id, Outcome.FAILED, refused.message, refused.remedy), store
        after = await driver.observe()
        if not has_happened(action, store, after, bound):
            message = error.message if error else "the store does not show it"
            remedy = error.remedy if error else "look at the store, then plan again"
            return StepResult(action.id, Outcome.FAILED, message, remedy), after
        made = ""
        if isinstance(action, CreateSelfSigned):
            made = bound[action.new] = created(action, store, after)[0]
        elif isinstance(action, CreateRequest):
            made = requested(action, store, after)[0]
        if after.unfinished:
            message = error.message if error else after.unfinished
            return StepResult(action.id, Outcome.FAILED, message, error.remedy if error else "apply again"), after
        return StepResult(action.id, Outcome.APPLIED, made=made), after

    def _not_attempted(self, action: Action) -> StepResult:
        missing = ", ".join(each for each in action.depends_on if each not in self._done)
        return StepResult(action.id, Outcome.NOT_ATTEMPTED, f"{missing} did not succeed", "see what came of it")

    def _guard(self, action: Action, store: LiveStore, lent: Lent | None) -> None:
        """See once more, on the store as it is, that an action harms nobody, whatever the plan says.

        Raises:
            ActionRefused: It would.
        """
        guard = self.guards.get(action.appliance)
        arriving = self.uploads.certificate(action, lent) if isinstance(action, Import) else None
        objection = guard.objection(action, store, arriving, self._bound, self.clock()) if guard else ""
        if objection:
            raise ActionRefused(f"it was not done, since {objection}", "plan again")


def _foreign(action: Action) -> list[str]:
    return [each for each in action.depends_on if appliance_of(each) != action.appliance]


def _explain(error: Exception) -> tuple[str, str]:
    """What went wrong and what to do, for people."""
    if isinstance(error, ReconcilerError):
        return error.message, error.remedy
    _log.debug("unexpected error", exc_info=error)
    return f"unexpected {type(error).__name__}", "run again with --debug and report what it shows"


def _ready(part: AppliancePlan) -> list[Action]:
    return [action for action in part.actions if action.state is State.READY]


def _outcome(steps: list[StepResult], problem: str) -> Outcome:
    outcomes = {step.outcome for step in steps}
    if problem or Outcome.FAILED in outcomes:
        return Outcome.FAILED
    if Outcome.STALE in outcomes:
        return Outcome.STALE
    return Outcome.NOT_ATTEMPTED if Outcome.NOT_ATTEMPTED in outcomes else Outcome.APPLIED
