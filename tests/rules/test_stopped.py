from __future__ import annotations

import time

import pytest

from reconciler.base.findings import Finding, Kind, ObjectName, Severity, Stops
from reconciler.rules import Stopped, stopped
from tests.rules.fleet import ATLAS, C_ATLAS, C_SINGLE, EAST, LONE, NODE, PAIR, SOLO, Broken
from tests.support.desired import desired

ALL = frozenset({"east", "lone", "master", "node", "solo", "west"})


def error(
    kind: Kind | None,
    name: str = "",
    stops: Stops = Stops.SITE,
    severity: Severity = Severity.ERROR,
    appliance: str = "",
) -> Finding:
    about = ObjectName(kind, name) if kind else None
    return Finding("some-rule", severity, "m", "r", about=about, appliance=appliance or None, stops=stops)


@pytest.mark.parametrize(
    ("finding", "appliances"),
    [
        (error(Kind.FLEET, "fleet"), ALL),
        (error(None), ALL),
        (error(Kind.SITE, "pair"), {"east", "west"}),
        (error(Kind.SITE, "single"), {"solo"}),
        (error(Kind.APPLIANCE, "node"), {"master", "node"}),
        (error(Kind.APPLIANCE, "lone"), {"lone"}),
        (error(Kind.CERTIFICATE, "pair"), {"east", "west"}),
        (error(Kind.CERTIFICATE, "lone"), {"lone"}),
        (error(Kind.CERTIFICATE, "unheard-of"), set()),
        (error(None, appliance="west"), {"east", "west"}),
        (error(Kind.SITE, "pair", severity=Severity.WARNING), set()),
        (error(Kind.SITE, "pair", Stops.NOTHING), set()),
        (error(Kind.SITE, "pair", Stops.CERTIFICATE), {"east", "west"}),
    ],
)
def test_what_an_error_stops(finding: Finding, appliances: set[str]) -> None:
    assert stopped(Broken().state(), [finding]) == Stopped(frozenset(appliances))


def test_an_error_about_time_stops_the_certificate_only() -> None:
    found = [error(Kind.CERTIFICATE, "pair", Stops.CERTIFICATE)]
    assert stopped(Broken().state(), found) == Stopped(certificates=frozenset({"pair"}))


def test_without_errors_nothing_is_stopped() -> None:
    assert stopped(Broken().state(), []) == Stopped()


def test_a_certificate_stops_every_place_that_lists_it() -> None:
    fleet = Broken({LONE: [("[lone]", "[lone, pair]")], SOLO: [("", "certificates: [pair]\n")]})
    expected = frozenset({"east", "west", "lone", "solo"})
    assert stopped(fleet.state(), [error(Kind.CERTIFICATE, "pair")]).appliances == expected


def test_a_certificate_that_is_a_default_only_stops_too() -> None:
    fleet = Broken({LONE: [("default: lone", "default: single")], PAIR: [("default: pair", "default: single")]})
    assert stopped(fleet.state(), [error(Kind.CERTIFICATE, "single")]).appliances == {"east", "west", "lone", "solo"}


def test_a_site_without_a_default_is_stopped_by_its_certificates() -> None:
    fleet = Broken({PAIR: [("default: pair\n", "")], LONE: [("default: lone\n", "")]})
    assert stopped(fleet.state(), [error(Kind.CERTIFICATE, "pair")]).appliances == {"east", "west"}


@pytest.mark.parametrize(
    ("without", "appliances"),
    [
        (C_SINGLE, {"solo"}),
        (C_ATLAS, {"master", "node"}),
        (NODE, {"master", "node"}),
        (EAST, {"east", "west"}),
        (LONE, set()),
    ],
)
def test_an_absent_file_stops_whoever_needs_it(without: str, appliances: set[str]) -> None:
    state = Broken(without=frozenset({without})).state()
    assert stopped(state, []).appliances == appliances


def test_a_broken_site_stops_whoever_may_belong_to_it() -> None:
    fleet = Broken(without=frozenset({ATLAS}), findings=(error(Kind.SITE, "atlas"),))
    assert stopped(fleet.state(), []).appliances == {"master", "node"}


def test_an_appliance_that_two_sites_name_stops_both() -> None:
    fleet = Broken({ATLAS: [("[node]", "[node, west]")]})
    assert stopped(fleet.state(), [error(Kind.APPLIANCE, "west")]).appliances == {"east", "west", "master", "node"}


def test_findings_of_the_loader_count_without_being_asked_for() -> None:
    fleet = Broken(findings=(error(Kind.SITE, "single"),))
    assert stopped(fleet.state(), []).appliances == {"solo"}


def test_a_thousand_appliances_are_no_matter() -> None:
    count = 500
    files = {}
    for number in range(count):
        files[f"sites/s{number}.yaml"] = (
            f"hostname: s{number}.example.com\ntopology: failover\nprimary: a{number}\nbackup: b{number}\n"
            f"certificates: [c{number}]\nclient_software: none\n"
        )
        for letter in "ab":
            name = f"{letter}{number}"
            files[f"appliances/{name}.yaml"] = f"hostname: {name}.example.com\nstore: {{driver: directory}}\n"
    state = desired(files)
    errors = [error(Kind.CERTIFICATE, f"c{number}") for number in range(count)] * 20
    start = time.perf_counter()
    assert len(stopped(state, errors).appliances) == 2 * count
    assert time.perf_counter() - start < 1
