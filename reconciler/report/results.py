"""What came of an apply, as a document and as text.

`apply --format json` is the document; the text says one line per appliance that was worked on, and for a failure the
step, what went wrong and what was not attempted any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.apply.perform import describe
from reconciler.apply.result import Outcome
from reconciler.apply.verification import Served
from reconciler.plan.model import Plan, PlanModel
from reconciler.report import words
from reconciler.report.page import Ink, Page, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.apply.result import ApplianceResult
    from reconciler.plan.model import Action
    from reconciler.report.page import Medium

FORMAT_VERSION = "1.0"
_INKS = {Outcome.APPLIED: Ink.GOOD, Outcome.UNCHANGED: Ink.FAINT, Outcome.STALE: Ink.CHANGED}
_COLUMN = 24


class Step(PlanModel):
    """What came of one action."""

    action: str
    """Id of the action in the plan."""
    kind: str
    """What it does, by the kinds of the plan."""
    what: str
    """What it does, for people."""
    outcome: Outcome
    """What came of it."""
    message: str = ""
    """What went wrong, or empty."""
    remedy: str = ""
    """What to do about it, or empty."""
    made: str = ""
    """SHA-256 of the certificate or request that the appliance made, or empty."""


class ServedSeen(PlanModel):
    """What a client that asks for a name was shown afterwards."""

    name: str | None
    """The server name; None for a client that sends none."""
    served: Served
    """What it was, compared with what the plan foretold."""
    fingerprint: str = ""
    """SHA-256 of the certificate that was presented, or empty."""


class Result(PlanModel):
    """What came of one appliance."""

    appliance: str
    """Its name."""
    outcome: Outcome
    """What came of it."""
    failed_step: int | None = None
    """Number of the step that failed, from 1."""
    steps: tuple[Step, ...] = ()
    """One for each ready action, in order."""
    message: str = ""
    """What went wrong apart from any step, or empty."""
    remedy: str = ""
    """What to do about it, or empty."""
    served: tuple[ServedSeen, ...] = ()
    """What is served for each protected name afterwards; empty where nobody looked."""


class Applied(PlanModel):
    """A plan and what came of it."""

    format_version: str = FORMAT_VERSION
    """Version of this format: a new minor one adds, a new major one breaks."""
    plan: Plan
    """What was carried out."""
    results: tuple[Result, ...] = ()
    """By appliance; empty where there was nothing to do."""


def applied(plan: Plan, results: Iterable[ApplianceResult]) -> Applied:
    """Join results to the actions that they are about."""
    actions = {action.id: action for action in plan.actions}
    return Applied(plan=plan, results=tuple(_result(each, actions) for each in results))


def _result(result: ApplianceResult, actions: Mapping[str, Action]) -> Result:
    steps = tuple(
        Step(
            action=step.action,
            kind=actions[step.action].kind,
            what=describe(actions[step.action]),
            outcome=step.outcome,
            message=step.message,
            remedy=step.remedy,
            made=step.made,
        )
        for step in result.steps
    )
    return Result(
        appliance=result.appliance,
        outcome=result.outcome,
        failed_step=result.failed_step,
        steps=steps,
        message=result.message,
        remedy=result.remedy,
        served=tuple(
            ServedSeen(name=each.name, served=each.served, fingerprint=each.fingerprint) for each in result.served
        ),
    )


def results_text(document: Applied, medium: Medium) -> str:
    """One line per appliance that was worked on, failures with their step, then the sum."""
    page = Page(medium)
    page.write(Span("Results", Ink.STRONG))
    for result in document.results:
        if result.outcome is not Outcome.UNCHANGED:
            _write_result(page, result)
    page.write(Span(_sum(document.results), Ink.STRONG))
    return page.text()


def _write_result(page: Page, result: Result) -> None:
    ink = _INKS.get(result.outcome, Ink.BAD)
    done = sum(step.outcome is Outcome.APPLIED for step in result.steps)
    total = len(result.steps)
    said = ""
    if result.outcome is Outcome.APPLIED:
        said = f", {done} of {words.counted(total, 'action')}" if total else ": an interrupted change was finished"
        said += f"; {words.counted(len(result.served), 'name')} served as foretold" if result.served else ""
    number = result.failed_step
    if number is not None:
        step = result.steps[number - 1]
        said = f" at step {number} of {total}, {step.what}: {_sentence(step.message, step.remedy)}"
    elif result.message:
        said = f": {_sentence(result.message, result.remedy)}"
    page.write(Span(result.outcome.value, ink), said, indent=2, head=Span(result.appliance, Ink.STRONG), column=_COLUMN)
    for step in result.steps:
        if step.made:
            page.write(f"{step.what}: SHA-256 {step.made}", indent=2 + _COLUMN)
        if step.outcome is Outcome.NOT_ATTEMPTED:
            why = f": {step.message}" if step.message else ""
            page.write(f"not attempted: {step.what}{why}", indent=2 + _COLUMN)


def _sentence(message: str, remedy: str) -> str:
    return f"{message} - {remedy}" if remedy else message


def _sum(results: tuple[Result, ...]) -> str:
    steps = [step for result in results for step in result.steps]
    done = sum(step.outcome is Outcome.APPLIED for step in steps)
    ended = [result.outcome for result in results]
    parts = [f"{words.counted(done, 'action')} applied on {words.counted(ended.count(Outcome.APPLIED), 'appliance')}"]
    failed, stale = ended.count(Outcome.FAILED) + ended.count(Outcome.NOT_ATTEMPTED), ended.count(Outcome.STALE)
    if failed:
        parts.append(f"{words.counted(failed, 'appliance')} failed")
    if stale:
        parts.append(f"{words.counted(stale, 'appliance')} not as planned")
    if left := sum(step.outcome is Outcome.NOT_ATTEMPTED for step in steps):
        parts.append(f"{words.counted(left, 'action')} not attempted")
    return f"Apply: {'; '.join(parts)}."
