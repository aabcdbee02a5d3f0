from __future__ import annotations

from dataclasses import replace

from reconciler.base.findings import Finding, Severity
from reconciler.base.position import Position
from reconciler.report.remedies import Mended, by_remedy

PLACE = Position("sites/access.yaml", 9, 13)
ONE = Finding("build-trusts-root", Severity.WARNING, "it is not trusted", "ask for a build", PLACE)
OTHER = replace(ONE, rule="ca-change-unprepared", message="it is held", appliance="east-1")


def test_what_one_deed_mends_at_one_place_is_one_item() -> None:
    again = replace(OTHER, appliance="west-1")
    assert by_remedy([again, OTHER, ONE]) == (
        Mended(str(PLACE), ("build-trusts-root", "ca-change-unprepared"), "it is not trusted; it is held", ONE.remedy),
    )


def test_one_rule_that_is_broken_in_several_ways_is_named_once() -> None:
    (item,) = by_remedy([ONE, replace(ONE, message="nor is that")])
    assert (item.rules, item.message) == (("build-trusts-root",), "it is not trusted; nor is that")


def test_another_place_or_remedy_is_another_item() -> None:
    others = [replace(OTHER, position=Position("sites/access.yaml", 9, 14)), replace(OTHER, remedy="look")]
    assert len(by_remedy([ONE, *others])) == 3


def test_what_has_no_place_or_no_remedy_stays_alone() -> None:
    for missing in ({"position": None}, {"remedy": ""}):
        two = [replace(each, appliance="east-1", **missing) for each in (ONE, OTHER)]
        assert [each.message for each in by_remedy(two)] == ["it is not trusted", "it is held"]
    (placeless,) = by_remedy([replace(OTHER, position=None), replace(OTHER, position=None, appliance="west-1")])
    assert placeless.place == "east-1, west-1"
