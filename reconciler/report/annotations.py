"""Findings as annotations: workflow commands, which GitHub shows beside the lines that they point to.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.text import printable
from reconciler.report import words
from reconciler.report.findings import alike

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.base.findings import Finding


def findings_annotations(findings: Iterable[Finding], closing: str, named: Callable[[str], str] = str) -> str:
    """Each finding as a workflow command, what is found on several appliances once, then one line of text.

    GitHub shows only the first ten of each severity that a step writes. What was chosen by others cannot begin a
    command: it never stands at the beginning of a line, and line breaks in it are escaped.

    Args:
        findings: The findings, in the order in which they are shown.
        closing: The last line; the caller begins it.
        named: What GitHub calls a file: its path from the root of the repository.
    """
    lines = [_annotation(first, names, named) for first, names in alike(findings)]
    return "".join(f"{line}\n" for line in (*lines, printable(closing)))


def _annotation(finding: Finding, names: tuple[str, ...], named: Callable[[str], str]) -> str:
    place = finding.position
    properties = {"file": named(place.file), "line": str(place.line), "col": str(place.column)} if place else {}
    written = ",".join(f"{key}={_property(value)}" for key, value in {**properties, "title": finding.rule}.items())
    where = f"{words.several(names)}: " if names and not place else ""
    sentence = f"{finding.message} - {finding.remedy}" if finding.remedy else finding.message
    return f"::{finding.severity.value} {written}::{_data(where + sentence)}"


def _data(text: str) -> str:
    """Text as the data of a workflow command. Line breaks are escaped by `printable` already."""
    return printable(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
