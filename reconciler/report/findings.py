"""Findings as text: `file:line:column rule message - remedy`, worst first, alike ones together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.findings import Severity, sort_key
from reconciler.report import words
from reconciler.report.page import Ink, Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.base.findings import Finding
    from reconciler.base.position import Position
    from reconciler.report.page import Page

_HEADINGS = {
    Severity.ERROR: ("Errors", Ink.BAD),
    Severity.WARNING: ("Warnings", Ink.CHANGED),
    Severity.NOTICE: ("Notices", Ink.HELD),
}


def write_findings(page: Page, findings: Iterable[Finding]) -> None:
    """Write findings, each severity under its own heading; nothing where there are none."""
    ordered = sorted(findings, key=sort_key)
    for severity, (heading, ink) in _HEADINGS.items():
        of_severity = [each for each in ordered if each.severity is severity]
        if not of_severity:
            continue
        page.blank()
        page.write(Span(heading, ink))
        for each, names in alike(of_severity):
            page.write(
                Span(where(each, names), Ink.STRONG),
                " ",
                Span(each.rule, ink),
                f" {each.message} - {each.remedy}" if each.remedy else f" {each.message}",
                indent=2,
            )


def alike(findings: Iterable[Finding]) -> tuple[tuple[Finding, tuple[str, ...]], ...]:
    """Findings that say the same of the same place, as the first of them, with the appliances that they concern."""
    same: dict[tuple[Severity, Position | None, str, str, str], list[Finding]] = {}
    for each in findings:
        key = each.severity, each.position, each.rule, each.message, each.remedy
        same.setdefault(key, []).append(each)
    return tuple(
        (group[0], tuple(dict.fromkeys(each.appliance for each in group if each.appliance))) for group in same.values()
    )


def where(finding: Finding, names: tuple[str, ...]) -> str:
    """The place of a finding as people look for it: in a file, else on appliances, else what it is about."""
    if finding.position:
        return str(finding.position)
    return f"{words.several(names) or finding.about or 'fleet'}:"
