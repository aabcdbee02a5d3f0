"""What was applied when, as text: a table where it fits, else a block each; or one apply with its actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from reconciler.apply.result import Outcome
from reconciler.report import words
from reconciler.report.history import Ending
from reconciler.report.page import Ink, Page, Span

if TYPE_CHECKING:
    from reconciler.report.history import AppliedAction, Apply, History
    from reconciler.report.page import Cell, Medium

_HEADINGS = ("Apply", "Began", "Took", "Desired state", "Revision", "Plan", "Outcome")
_INKS = {
    Ending.APPLIED: Ink.GOOD,
    Ending.FAILED: Ink.BAD,
    Ending.INTERRUPTED: Ink.CHANGED,
    Ending.AT_WORK: Ink.HELD,
}
_OUTCOMES = {Outcome.APPLIED: Ink.GOOD, Outcome.STALE: Ink.CHANGED, Outcome.NOT_ATTEMPTED: Ink.FAINT}
_LABELS = 15
_COLUMN = 16
_MINUTE, _HOUR = 60, 3600


def history_text(history: History, medium: Medium) -> str:
    """Every apply, the latest first."""
    page = Page(medium)
    if not history.applies:
        page.write("Nothing was applied yet.")
        return page.text()
    rows = [_cells(each) for each in history.applies]
    header: list[Cell] = [[Span(heading, Ink.FAINT)] for heading in _HEADINGS]
    if not page.table([header, *rows]):
        for row in rows:
            page.blank()
            _write_block(page, row)
    folders = {each.desired_state for each in history.applies}
    if len(folders) > 1:
        page.blank()
        page.write(f"These are of {len(folders)} folders: name one to see only what was applied of it.")
    if history.more:
        page.blank()
        page.write("There are older ones: ask for more with --limit.")
    return page.text()


def apply_text(apply: Apply, medium: Medium) -> str:
    """One apply, and what came of each of its actions."""
    page = Page(medium)
    _write_block(page, _cells(apply))
    page.write(apply.journal, indent=2, head=Span("Journal", Ink.FAINT), column=_LABELS)
    page.blank()
    for each in apply.actions:
        outcome, ink = _outcome(each, apply.ending)
        page.write(f"{each.appliance}: {each.what}", indent=2, head=Span(outcome, ink), column=_COLUMN)
        if each.message:
            page.write(each.message, indent=2 + _COLUMN)
    return page.text()


def _cells(apply: Apply) -> list[Cell]:
    """The cells of a row in the order of the headings."""
    return [
        [Span(apply.id, Ink.STRONG)],
        [words.utc(apply.began)],
        [_took(apply)],
        [apply.desired_state],
        [words.short(apply.revision) if apply.revision else "work tree"],
        [words.short(apply.plan)],
        [Span(_ended(apply), _INKS[apply.ending])],
    ]


def _write_block(page: Page, cells: list[Cell]) -> None:
    (name,), *others = cells
    page.write(name)
    for heading, (value,) in zip(_HEADINGS[1:], others, strict=True):
        page.write(value, indent=2, head=Span(heading, Ink.FAINT), column=_LABELS)


def _took(apply: Apply) -> str:
    if apply.ended is None:
        return "-"
    seconds = max(0, int((apply.ended - apply.began).total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min {seconds % _MINUTE} s"
    return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE} min"


def _ended(apply: Apply) -> str:
    again = f", {apply.times} times since {words.utc(apply.first_began)}" if apply.times > 1 else ""
    return _outcome_of_all(apply) + again


def _outcome_of_all(apply: Apply) -> str:
    total = words.counted(len(apply.actions), "action")
    match apply.ending:
        case Ending.APPLIED:
            return f"applied, {total}"
        case Ending.FAILED:
            stale = [each.appliance for each in apply.appliances if each.outcome is Outcome.STALE]
            bad = {Outcome.FAILED, Outcome.NOT_ATTEMPTED}
            failed = [each.appliance for each in apply.appliances if each.outcome in bad]
            told = (("failed on", failed), ("not as planned:", stale))
            return "; ".join(f"{how} {words.several(names)}" for how, names in told if names)
        case Ending.INTERRUPTED:
            return f"interrupted after {apply.done} of {total}"
        case Ending.AT_WORK:
            return f"at work, {apply.done} of {total} done"
        case _:
            assert_never(apply.ending)


def _outcome(action: AppliedAction, ending: Ending) -> tuple[str, Ink]:
    if action.outcome is not None:
        return action.outcome.value, _OUTCOMES.get(action.outcome, Ink.BAD)
    if not action.begun:
        return "not begun", Ink.FAINT
    return ("at work", Ink.HELD) if ending is Ending.AT_WORK else ("not known", Ink.CHANGED)
