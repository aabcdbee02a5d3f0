"""Findings and the registry of rules."""

from __future__ import annotations

import pytest

from reconciler.base.findings import Finding, Kind, ObjectName, Severity, Stops, found, rule, rules, sort_key
from reconciler.base.position import Position
from reconciler.plan.rules import UNDECLARED, UNREACHABLE
from reconciler.rules.material import SIGNED_MISMATCH


def finding(position: Position | None = None, appliance: str | None = None, **more: str) -> Finding:
    return Finding(more.get("rule", "r"), Severity.ERROR, more.get("message", "m"), "remedy", position, None, appliance)


def test_a_rule_is_declared_once() -> None:
    with pytest.raises(ValueError, match="undeclared is declared twice"):
        rule("undeclared", Severity.ERROR, "Anywhere", "Anything.")


def test_rules_are_listed_by_id() -> None:
    listed = [each.id for each in rules()]
    assert listed == sorted(listed)
    assert {"undeclared", "unreachable"} <= set(listed)


def test_an_error_stops_its_site_unless_its_rule_says_otherwise() -> None:
    assert SIGNED_MISMATCH.stops is Stops.CERTIFICATE
    assert UNREACHABLE.stops is Stops.NOTHING
    assert UNDECLARED.stops is Stops.NOTHING
    assert finding().stops is Stops.SITE


def test_a_finding_has_its_rules_severity_unless_another_is_given() -> None:
    assert found(UNDECLARED, "m", "r").severity is Severity.NOTICE
    assert found(UNDECLARED, "m", "r", severity=Severity.ERROR).severity is Severity.ERROR


def test_a_finding_reads_as_place_rule_message_and_remedy() -> None:
    assert str(finding(Position("sites/a.yaml", 3, 7))) == "sites/a.yaml:3:7 r m - remedy"
    assert str(finding(appliance="east")) == "east r m - remedy"
    assert str(finding()) == "r m - remedy"


def test_findings_are_ordered_by_place_and_those_of_live_state_come_last() -> None:
    ordered = [
        finding(Position("a.yaml", 2, 1)),
        finding(Position("a.yaml", 10, 1)),
        finding(Position("a.yaml", 10, 2), rule="a"),
        finding(Position("a.yaml", 10, 2), rule="b"),
        finding(Position("b.yaml", 1, 1)),
        finding(appliance="east"),
        finding(appliance="west"),
    ]
    shuffled = [*ordered[1::2], *ordered[::2]]
    assert sorted(shuffled, key=sort_key) == ordered


def test_objects_are_called_by_kind_and_name() -> None:
    assert str(ObjectName(Kind.SITE, "access")) == "site access"
    assert str(ObjectName(Kind.FLEET, "fleet")) == "fleet"
