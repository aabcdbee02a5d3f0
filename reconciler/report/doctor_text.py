"""Whether appliances can be worked with, as text: the checks of each, and what is presented to clients now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.live.driver import CheckOutcome
from reconciler.report import words
from reconciler.report.findings import write_findings
from reconciler.report.page import Ink, Page, Span

if TYPE_CHECKING:
    from reconciler.report.doctor import ApplianceExamined, CheckRow, Doctor, PresentedCertificate, PresentedFor
    from reconciler.report.page import Cell, Medium, Piece

_MARKS = {
    CheckOutcome.OK: ("+", Ink.GOOD),
    CheckOutcome.WARNING: ("!", Ink.CHANGED),
    CheckOutcome.BY_HAND: ("~", Ink.HELD),
    CheckOutcome.FAILED: ("x", Ink.BAD),
}
_WIDEST = 36
_AROUND = 4
_NAMES = 30
_HEADER: list[Cell] = [[Span(each, Ink.FAINT)] for each in ("Asked for", "Presented", "Expiration", "")]


def doctor_text(document: Doctor, medium: Medium) -> str:
    """Every appliance, then errors of the desired state, the sum last."""
    page = Page(medium)
    page.write(Span("Doctor", Ink.STRONG), f" {words.utc(document.at)}")
    for appliance in document.appliances:
        page.blank()
        page.write(Span(appliance.name, Ink.STRONG), f", site {appliance.site}" if appliance.site is not None else "")
        _write_checks(page, appliance)
        if appliance.served:
            _write_served(page, appliance)
    write_findings(page, document.findings)
    page.blank()
    page.write(Span(_sum(document), Ink.STRONG))
    return page.text()


def _write_checks(page: Page, appliance: ApplianceExamined) -> None:
    wide = (len(each.subject) + _AROUND for each in appliance.checks)
    column = max((each for each in wide if each <= _WIDEST), default=0)
    for check in appliance.checks:
        mark, ink = _MARKS[check.outcome]
        page.write(*_said(check, ink), indent=2, head=Span(f"{mark} {check.subject}", ink), column=column)
        if check.remedy:
            page.write(check.remedy, indent=2 + column)


def _said(check: CheckRow, ink: Ink) -> list[Piece]:
    message: list[Piece] = [check.message] if check.message else []
    if check.outcome is CheckOutcome.OK:
        return message
    return [Span(check.outcome.value, ink), *([": ", *message] if message else [])]


def _write_served(page: Page, appliance: ApplianceExamined) -> None:
    page.blank()
    page.write(Span("Served now", Ink.FAINT), indent=2)
    seen = [(each, each.presented) for each in appliance.served if each.presented]
    if seen and not page.table([_HEADER, *(_cells(row, shown) for row, shown in seen)], indent=4):
        for row, shown in seen:
            _write_row(page, row, shown)
    for (problem, remedy), names in _unseen(appliance).items():
        page.write(Span(problem, Ink.BAD), indent=4, head=Span(words.several(names), Ink.STRONG), column=_NAMES)
        page.write(remedy, indent=4 + _NAMES)


def _unseen(appliance: ApplianceExamined) -> dict[tuple[str, str], list[str]]:
    """The names for which nothing was seen, by why: mostly all of them for the same reason."""
    alike: dict[tuple[str, str], list[str]] = {}
    for each in appliance.served:
        if not each.presented:
            alike.setdefault((each.problem, each.remedy), []).append(_name(each))
    return alike


def _cells(row: PresentedFor, shown: PresentedCertificate) -> list[Cell]:
    return [
        [Span(_name(row), Ink.STRONG)],
        [f"{shown.label} [{words.short(shown.fingerprint)}]"],
        [words.utc(shown.expiration)],
        _remarks(shown),
    ]


def _write_row(page: Page, row: PresentedFor, shown: PresentedCertificate) -> None:
    """One name on lines of its own, for a page that the table does not fit."""
    identity = Span(f" [{words.short(shown.fingerprint)}]", Ink.FAINT)
    until = f" until {words.utc(shown.expiration)}"
    page.write(shown.label, identity, until, indent=4, head=Span(_name(row), Ink.STRONG), column=_NAMES)
    for remark in _remarks(shown):
        page.write(remark, indent=4 + _NAMES)


def _remarks(shown: PresentedCertificate) -> list[Span]:
    ours = (
        Span(f"declared as {shown.certificate}", Ink.GOOD)
        if shown.certificate is not None
        else Span("not declared for this appliance", Ink.CHANGED)
    )
    return [ours, *(Span(f"! {each}", Ink.BAD) for each in shown.warnings)]


def _name(row: PresentedFor) -> str:
    return row.name if row.name is not None else "no SNI"


def _sum(document: Doctor) -> str:
    total = len(document.appliances)
    ill = sum(not each.healthy for each in document.appliances)
    if not ill:
        return f"Doctor: {words.counted(total, 'appliance')} can be reached and understood."
    return f"Doctor: {ill} of {words.counted(total, 'appliance')} could not be reached or understood."
