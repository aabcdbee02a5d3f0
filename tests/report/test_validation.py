from __future__ import annotations

from reconciler.base.findings import Finding, Kind, ObjectName, Severity, Stops
from reconciler.base.position import Position
from reconciler.report.page import Medium
from reconciler.report.validation import findings_document, findings_text, rules_text, summary

PLACED = Finding("a-rule", Severity.WARNING, "first\nsecond \x1b[2J", "", Position("odd,na:me%.yaml", 3, 7))
ABOUT = Finding("b-rule", Severity.ERROR, "wrong", "right it", about=ObjectName(Kind.SITE, "access"))
STRAY = Finding("c-rule", Severity.NOTICE, "::error::no", "::stop-commands::x")


def test_text_keeps_every_finding_on_one_line() -> None:
    assert findings_text([PLACED, ABOUT, STRAY], "here", Medium(width=20)).splitlines() == [
        r"odd,na:me%.yaml:3:7 a-rule first\nsecond \x1b[2J",
        "site access b-rule wrong - right it",
        "here c-rule ::error::no - ::stop-commands::x",
        "here: 1 error, 1 warning, 1 notice",
    ]


def test_text_is_painted_where_colours_are_shown() -> None:
    painted = findings_text([ABOUT], "here", Medium(colour=True))
    assert "\x1b[31mb-rule\x1b[0m" in painted


def test_programs_are_told_what_only_errors_stop() -> None:
    placed, about, stray = findings_document([PLACED, ABOUT, STRAY]).root
    assert (placed.file, placed.line, placed.column, placed.about) == ("odd,na:me%.yaml", 3, 7, None)
    assert (about.file, about.line, about.column, about.about) == (None, None, None, "site access")
    assert [each.stops for each in (placed, about, stray)] == [Stops.NOTHING, Stops.SITE, Stops.NOTHING]


def test_counts() -> None:
    assert summary([], "here") == "here: no findings"
    assert summary([ABOUT, ABOUT, STRAY], "here") == "here: 2 errors, 1 notice"


def test_a_list_of_no_rules_is_its_header() -> None:
    assert rules_text([], Medium()).split() == ["Rule", "Severity", "Section", "Summary"]
