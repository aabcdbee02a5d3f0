"""Carries out a plan: appliances side by side under a limit, each appliance's actions in order, each read back.

One appliance's failure leaves the others alone. An action runs only when the store is as the plan expects it; after an
error whose effect is unknown the store is observed before anything else is said about it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, assert_never

import anyio
from anyio import to_thread

from reconciler.apply.effects import created, has_happened, why_stale
from reconciler.apply.result import ApplianceResult, Outcome, StepResult
from reconciler.base.errors import EffectUnknown, ReconcilerError
from reconciler.live.driver import CertificateForm, NewKey
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.names import parse_name
from reconciler.plan.model import Action, CreateSelfSigned, Import, Remove, SetDefault, State

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractAsyncContextManager

    from reconciler.apply.uploads import Uploads
    from reconciler.live.driver import Driver
    from reconciler.live.store import LiveStore
    from reconciler.plan.model import AppliancePlan, Plan

_log = logging.getLogger(__name__)

Notify: TypeAlias = Callable[[str, str], None]
"""Told of progress: the appliance, and what is happening on it now."""

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
    """

    plan: Plan
    open_store: OpenStore
    uploads: Uploads
    unfinished: Collection[str] = ()
    concurrency: int = 16
    notify: Notify = lambda appliance, happening: None  # noqa: ARG005 - the names say what it is told
    _done: set[str] = field(default_factory=set)
    _ended: dict[str, anyio.Event] = field(default_factory=dict)
    _results: dict[str, ApplianceResult] = field(default_factory=dict)

    async def run(self) -> tuple[ApplianceResult, ...]:
        """Carry the plan out. Never raises for what goes wrong on an appliance: results say it, by name."""
        limiter = anyio.CapacityLimiter(self.concurrency)
        parts = [part for part in self.plan.appliances if _ready(part) or part.name in self.unfinished]
        self._ended = {part.name: anyio.Event() for part in parts}
        async with anyio.create_task_group() as group:
            for part in parts:
                group.start_soon(self._appliance, part, limiter)
        unchanged = (ApplianceResult(part.name, Outcome.UNCHANGED) for part in self.plan.appliances)
        return tuple(self._results.get(result.appliance, result) for result in unchanged)

    async def _appliance(self, part: AppliancePlan, limiter: anyio.CapacityLimiter) -> None:
        for name in part.follows:
            if name in self._ended:
                await self._ended[name].wait()
        try:
            async with limiter:
                self._results[part.name] = await self._attempt(part)
        finally:
            self._ended[part.name].set()

    async def _attempt(self, part: AppliancePlan) -> ApplianceResult:
        steps: list[StepResult] = []
        problem, remedy = "", ""
        try:
            if await self._try_keys(part, steps):
                async with self.open_store(part.name) as driver:
                    await driver.recover()
                    await self._steps(part, driver, steps)
        except Exception as error:  # noqa: BLE001 - a driver may be anyone's; its fault stays on its appliance
            problem, remedy = _explain(error)
        ready = _ready(part)
        steps += [StepResult(action.id, Outcome.NOT_ATTEMPTED) for action in ready[len(steps) :]]
        return ApplianceResult(part.name, _outcome(steps, problem), tuple(steps), problem, remedy)

    async def _try_keys(self, part: AppliancePlan, steps: list[StepResult]) -> bool:
        """Whether every key that will be needed opens: a wrong passphrase shows before anything changes."""
        for number, action in enumerate(_ready(part)):
            if not isinstance(action, Import):
                continue
            try:
                await to_thread.run_sync(self.uploads.upload, action)
            except ReconcilerError as error:
                steps += [StepResult(each.id, Outcome.NOT_ATTEMPTED) for each in _ready(part)[:number]]
                steps.append(StepResult(action.id, Outcome.FAILED, error.message, error.remedy))
                return False
        return True

    async def _steps(self, part: AppliancePlan, driver: Driver, steps: list[StepResult]) -> None:
        actions = _ready(part)
        if not actions:
            return
        store = await driver.observe()
        bound: dict[str, str] = {}
        if store.digest != self.plan.basis.live_digests.get(part.name):
            moved = why_stale(actions[0], store, bound) or "the store has changed since the plan was made"
            steps.append(StepResult(actions[0].id, Outcome.STALE, moved, "plan again"))
            return
        for number, action in enumerate(actions, 1):
            self.notify(part.name, f"{number}/{len(actions)} {describe(action)}")
            try:
                result, store = await self._step(action, driver, store, bound)
            except Exception as error:  # noqa: BLE001 - the same; and here something may have happened already
                problem, remedy = _explain(error)
                message = f"whether it had its effect is not known: {problem}"
                result = StepResult(action.id, Outcome.FAILED, message, remedy)
            steps.append(result)
            if result.outcome is not Outcome.APPLIED:
                return
            self._done.add(action.id)

    async def _step(
        self, action: Action, driver: Driver, store: LiveStore, bound: dict[str, str]
    ) -> tuple[StepResult, LiveStore]:
        missing = [each for each in action.depends_on if each not in self._done]
        if missing:
            message = f"{', '.join(missing)} did not succeed"
            return StepResult(action.id, Outcome.NOT_ATTEMPTED, message, "see what came of it"), store
        stale = why_stale(action, store, bound)
        if stale:
            return StepResult(action.id, Outcome.STALE, stale, "plan again"), store
        error: ReconcilerError | None = None
        try:
            await self._perform(action, driver, bound)
        except EffectUnknown as unknown:
            error = unknown
        except ReconcilerError as refused:
            return StepResult(action.id, Outcome.FAILED, refused.message, refused.remedy), store
        after = await driver.observe()
        if not has_happened(action, store, after, bound):
            message = error.message if error else "the store does not show it"
            remedy = error.remedy if error else "look at the store, then plan again"
            return StepResult(action.id, Outcome.FAILED, message, remedy), after
        if isinstance(action, CreateSelfSigned):
            bound[action.new] = created(action, store, after)[0]
        if after.unfinished:
            message = error.message if error else after.unfinished
            return StepResult(action.id, Outcome.FAILED, message, error.remedy if error else "apply again"), after
        made = bound[action.new] if isinstance(action, CreateSelfSigned) else ""
        return StepResult(action.id, Outcome.APPLIED, made=made), after

    async def _perform(self, action: Action, driver: Driver, bound: dict[str, str]) -> None:
        match action:
            case CreateSelfSigned():
                names = tuple(parse_name(each) for each in action.subject_alternative_names)
                subject = distinguished_name(list(action.subject))
                form = CertificateForm(action.friendly_name, NewKey(action.key), subject, names)
                await driver.create_self_signed(form, action.valid_for)
            case Import():
                upload = await to_thread.run_sync(self.uploads.upload, action)
                await driver.import_(upload)
            case SetDefault():
                await driver.set_default(bound.get(action.target, action.target))
            case Remove():
                await driver.remove(action.fingerprint)
            case _:
                assert_never(action)


def describe(action: Action) -> str:
    """An action in a few words, for progress."""
    match action:
        case CreateSelfSigned():
            return f"create {action.label}"
        case Import():
            return f"import {action.label}"
        case SetDefault():
            return f"make {action.label} the default"
        case Remove():
            return f"remove {action.label}"
        case _:
            assert_never(action)


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
