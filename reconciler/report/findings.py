"""Findings as text: `file:line:column rule message - remedy`, worst first, alike ones together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.findings import Severity, sort_key
from reconciler.report import words
from reconciler.report.page import Ink, Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.base.findings import Finding
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
        for (place, rule, message, remedy), names in _alike(of_severity).items():
            page.write(
                Span(place or _places(names), Ink.STRONG),
                " ",
                Span(rule, ink),
                f" {message} - {remedy}" if remedy else f" {message}",
                indent=2,
            )


def _alike(findings: list[Finding]) -> dict[tuple[str, str, str, str], list[str]]:
    """Appliances by what is found there; what has a place in a file stands alone."""
    alike: dict[tuple[str, str, str, str], list[str]] = {}
    for each in findings:
        place = str(each.position) if each.position else ""
        names = alike.setdefault((place, each.rule, each.message, each.remedy), [])
        names.append(each.appliance or (str(each.about) if each.about else ""))
    return alike


def _places(names: list[str]) -> str:
    return words.several(list(dict.fromkeys(name for name in names if name)) or ["fleet"]) + ":"
