from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.base.findings import Finding, Kind, ObjectName, Severity
from reconciler.base.position import Position
from reconciler.report.annotations import findings_annotations
from reconciler.report.view import plan_view
from tests.report import sample
from tests.report.goldens import check_golden

PLACED = Finding("a-rule", Severity.WARNING, "first\nsecond \x1b[2J", "", Position("odd,na:me%.yaml", 3, 7))
ABOUT = Finding("b-rule", Severity.ERROR, "wrong", "right it", about=ObjectName(Kind.SITE, "access"))
STRAY = Finding("c-rule", Severity.NOTICE, "::error::no", "::stop-commands::x")
LIVE = Finding("d-rule", Severity.NOTICE, "it is there", "retire it", appliance="east-1")


def test_what_has_a_meaning_there_is_escaped() -> None:
    assert findings_annotations([PLACED, ABOUT, STRAY], "here: 3 findings").splitlines() == [
        r"::warning file=odd%2Cna%3Ame%25.yaml,line=3,col=7,title=a-rule::first\nsecond \x1b[2J",
        "::error title=b-rule::wrong - right it",
        "::notice title=c-rule::::error::no - ::stop-commands::x",
        "here: 3 findings",
    ]


def test_what_is_found_on_several_appliances_is_annotated_once() -> None:
    found = [replace(LIVE, appliance=name) for name in ("east-1", "west-1", "east-1")]
    placed = [replace(each, position=Position("a.yaml", 2, 1)) for each in found]
    assert findings_annotations([*found, *placed], "end").splitlines() == [
        "::notice title=d-rule::east-1, west-1: it is there - retire it",
        "::notice file=a.yaml,line=2,col=1,title=d-rule::it is there - retire it",
        "end",
    ]


def test_files_are_called_as_the_repository_calls_them() -> None:
    written = findings_annotations([PLACED], "end", lambda file: f"infra/{file}")
    assert written.startswith("::warning file=infra/odd%2Cna%3Ame%25.yaml,line=3,")


@given(st.text())
def test_no_text_begins_a_line_or_ends_a_property(text: str) -> None:
    finding = replace(PLACED, rule=text, message=text, remedy=text, position=Position(text, 1, 1))
    command, closing = findings_annotations([finding], "end").splitlines()
    assert closing == "end"
    properties = command.removeprefix("::warning ").split("::")[0].split(",")
    assert [each.partition("=")[0] for each in properties] == ["file", "line", "col", "title"]


def test_the_findings_of_a_plan_read_as_they_were_looked_at() -> None:
    view = plan_view(sample.PLAN, sample.STORES, sample.MATERIAL, sample.CLASSES)
    check_golden("plan-github.txt", findings_annotations(view.findings, view.summary))
