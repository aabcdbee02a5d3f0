"""What `validate` found, one line each for people and editors, or as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, RootModel

from reconciler.base.findings import Finding, Rule, Severity, Stops
from reconciler.report.page import Ink, Medium, Page, Piece, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_INKS = {Severity.ERROR: Ink.BAD, Severity.WARNING: Ink.CHANGED, Severity.NOTICE: Ink.HELD}


class FindingDocument(BaseModel):
    """One finding."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rule: str
    """Id of the rule."""
    severity: Severity
    """How bad it is."""
    message: str
    """What is wrong."""
    remedy: str
    """What to do."""
    file: str | None
    """The file that it points to."""
    line: int | None
    """Line, from 1."""
    column: int | None
    """Column in characters, from 1."""
    about: str | None
    """The declared object that it concerns, like `site access`."""
    stops: Stops
    """What an error keeps from being planned."""


class Findings(RootModel[tuple[FindingDocument, ...]]):
    """All findings, by place."""


class RuleDocument(BaseModel):
    """One rule."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """Its id, as `acknowledge` names it."""
    severity: Severity
    """How bad its findings are, unless one says otherwise."""
    section: str
    """What it rests on: a chapter of the vendor's guide, an RFC, or a part of this project."""
    summary: str
    """What it demands."""


class Rules(RootModel[tuple[RuleDocument, ...]]):
    """All rules, by id."""


def findings_document(findings: Iterable[Finding]) -> Findings:
    """Findings for programs."""
    return Findings(tuple(_document(each) for each in findings))


def _document(finding: Finding) -> FindingDocument:
    place = finding.position
    return FindingDocument(
        rule=finding.rule,
        severity=finding.severity,
        message=finding.message,
        remedy=finding.remedy,
        file=place.file if place else None,
        line=place.line if place else None,
        column=place.column if place else None,
        about=str(finding.about) if finding.about else None,
        stops=finding.stops if finding.severity is Severity.ERROR else Stops.NOTHING,
    )


def findings_text(findings: Sequence[Finding], checked: str, medium: Medium) -> str:
    """Each finding on a line of its own, never wrapped, then how many there are.

    Args:
        findings: The findings, in the order in which they are shown.
        checked: What was checked, for the last line.
        medium: What it is written on.
    """
    page = Page(replace(medium, width=None))
    for each in findings:
        place = f"{each.position}" if each.position else str(each.about or checked)
        sentence = f" {each.message} - {each.remedy}" if each.remedy else f" {each.message}"
        page.write(Span(place, Ink.STRONG), " ", Span(each.rule, _INKS[each.severity]), sentence)
    page.write(summary(findings, checked))
    return page.text()


def summary(findings: Iterable[Finding], checked: str) -> str:
    """How many findings there are: `desired-state: 2 errors, 1 warning`."""
    counts = Counter(each.severity for each in findings)
    parts = [_count(counts[severity], severity.value) for severity in Severity if counts[severity]]
    return f"{checked}: {', '.join(parts) or 'no findings'}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def rules_document(rules: Iterable[Rule]) -> Rules:
    """Rules for programs."""
    return Rules(
        tuple(
            RuleDocument(id=each.id, severity=each.severity, section=each.section, summary=each.summary)
            for each in rules
        )
    )


def rules_text(rules: Sequence[Rule], medium: Medium) -> str:
    """Rules as an aligned table: id, severity, section and summary. It is never wrapped."""
    page = Page(replace(medium, width=None))
    titles: list[list[Piece]] = [[Span(title, Ink.STRONG)] for title in ("Rule", "Severity", "Section", "Summary")]
    page.table([titles, *(_cells(each) for each in rules)])
    return page.text()


def _cells(rule: Rule) -> list[list[Piece]]:
    return [[rule.id], [Span(rule.severity, _INKS[rule.severity])], [rule.section], [rule.summary]]
