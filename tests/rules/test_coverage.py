from __future__ import annotations

import pytest

from reconciler.base.findings import Finding, Kind, ObjectName, Severity
from tests.rules.fleet import (
    ATLAS,
    C_ATLAS,
    C_LONE,
    C_PAIR,
    C_SINGLE,
    EAST,
    LONE,
    NODE,
    PAIR,
    SINGLE,
    SOLO,
    WEST,
    Broken,
    edit,
    issued,
)

BROKEN_SITE = Finding("yaml-syntax", Severity.ERROR, "no", "yes", about=ObjectName(Kind.SITE, "pair"))


def test_the_hostname_of_a_site_is_covered() -> None:
    fleet = edit(SINGLE, ("single.example.com", "other.example.com"))
    assert fleet.found() == [
        ("hostname-covered", "error", f"{SINGLE}: other.example.com"),
        ("default-covers-site", "error", f"{SINGLE}: single"),
    ]


def test_protected_names_are_covered_each_at_its_place() -> None:
    fleet = edit(PAIR, ("[help.example.com]", "[help.example.com, a.example.com, b.example.com]"))
    assert fleet.found() == [
        ("hostname-covered", "error", f"{PAIR}: a.example.com, b.example.com]"),
        ("hostname-covered", "error", f"{PAIR}: b.example.com]"),
    ]
    assert "east and west" in fleet.check()[0].message


def test_an_answer_without_a_name_does_not_hinder_the_request_for_it() -> None:
    fleet = Broken(
        {
            SINGLE: [("default: single\n", "default: single\nprotected_names: [new.example.com]\n")],
            C_SINGLE: [("  - single.example.com\n", "  - single.example.com\n  - new.example.com\n")],
        }
    )
    assert [(rule, severity) for rule, severity, _ in fleet.found()] == [("signed-mismatch", "warning")]


def test_a_provided_certificate_covers_what_it_contains_and_no_more() -> None:
    fleet = Broken(
        {
            LONE: [("lone.example.com", "new.example.com")],
            C_LONE: [("  - lone.example.com\n", "  - lone.example.com\n  - new.example.com\n")],
        }
    )
    assert [(rule, place) for rule, _, place in fleet.found()] == [
        ("hostname-covered", f"{LONE}: new.example.com"),
        ("default-covers-site", f"{LONE}: lone"),
        ("signed-mismatch", f"{C_LONE}: lone/leaf.pem"),
    ]


def test_the_common_name_covers_nothing() -> None:
    fleet = edit(C_SINGLE, ("Single access", "single.example.com"), ("  - single.example.com", "  - x.example.com"))
    assert ("hostname-covered", "error", f"{SINGLE}: single.example.com") in fleet.found()


@pytest.mark.parametrize(
    ("path", "old", "severity"),
    [(SOLO, "single.example.com", "warning"), (NODE, "node.example.com", "error"), (LONE, "lone.example.com", "error")],
)
def test_the_own_name_of_an_appliance_matters_where_clients_use_it(path: str, old: str, severity: str) -> None:
    fleet = edit(path, (old, "own.example.net"))
    assert ("hostname-covered", severity, f"{path}: own.example.net") in fleet.found()


def test_certificates_of_its_own_cover_for_an_appliance() -> None:
    fleet = edit(SOLO, ("single.example.com", "lone.example.com"), ("", "certificates: [lone]\n"))
    assert fleet.found() == []


def test_a_broken_certificate_may_be_the_one_that_covers() -> None:
    fleet = Broken(without=frozenset((C_SINGLE, C_PAIR, C_ATLAS, C_LONE)))
    assert fleet.found() == []


def test_a_broken_appliance_leaves_its_site_alone() -> None:
    assert Broken(without=frozenset((EAST, NODE, SOLO, LONE))).found() == []


def test_appliances_that_a_broken_site_may_name_are_left_alone() -> None:
    fleet = Broken(
        {
            EAST: [("", "certificates: [single]\ndefault: atlas\n")],
            WEST: [("", "certificates: [single]\n")],
        },
        without=frozenset((PAIR,)),
        findings=(BROKEN_SITE,),
    )
    assert fleet.found() == []


def test_an_appliance_that_says_who_its_clients_are_stands_alone_whatever_is_broken() -> None:
    fleet = Broken(
        {LONE: [("default: lone\n", ""), ("lone.example.com", "own.example.net")]},
        without=frozenset((PAIR,)),
        findings=(BROKEN_SITE,),
    )
    assert [(rule, place) for rule, _, place in fleet.found()] == [
        ("hostname-covered", f"{LONE}: own.example.net"),
        ("default-declared", f"{LONE}: [lone]"),
    ]


def test_failover_members_are_covered_by_what_both_hold() -> None:
    fleet = edit(WEST, ("west.example.com", "backup.example.com"))
    assert fleet.found() == [("failover-covers-members", "error", f"{PAIR}: [pair]")]
    assert "backup.example.com, the host name of west" in fleet.check()[0].message


def test_a_certificate_of_one_failover_member_does_not_cover_for_it() -> None:
    fleet = edit(WEST, ("west.example.com", "lone.example.com"), ("", "certificates: [lone]\n"))
    assert fleet.found() == [
        ("failover-covers-members", "warning", f"{WEST}: lone]"),
        ("failover-covers-members", "error", f"{PAIR}: [pair]"),
    ]


def test_failover_members_may_repeat_what_both_hold() -> None:
    fleet = Broken(
        {EAST: [("", "certificates: [pair, lone]\n")], WEST: [("", "certificates: [lone]\n")]},
    )
    assert fleet.found() == []


def test_failover_is_not_judged_by_a_broken_certificate() -> None:
    fleet = Broken({WEST: [("west.example.com", "backup.example.com")]}, without=frozenset((C_PAIR,)))
    assert fleet.found() == []


def test_an_atlas_site_wants_a_wildcard() -> None:
    names = ("atlas.example.com", "master.example.com", "node.example.com")
    fleet = Broken(
        {C_ATLAS: [("  - '*.example.com'\n", "".join(f"  - {name}\n" for name in names))]},
        {"certificates/atlas/leaf.pem": (issued(*names).certificate,)},
    )
    assert fleet.found() == [("atlas-wildcard", "warning", f"{ATLAS}: [atlas]")]


def test_the_wildcard_of_an_atlas_site_may_stand_beside_its_hostname() -> None:
    names = ("atlas.example.com", "master.example.com", "*.nodes.example.com")
    fleet = Broken(
        {
            NODE: [("node.example.com", "node.nodes.example.com")],
            C_ATLAS: [("  - '*.example.com'\n", "".join(f"  - '{name}'\n" for name in names))],
        },
        {"certificates/atlas/leaf.pem": (issued(*names).certificate,)},
    )
    assert fleet.found() == []


def test_a_missing_default_is_named_once_for_a_site() -> None:
    assert edit(PAIR, ("default: pair\n", "")).found() == [("default-declared", "error", f"{PAIR}: [pair]")]


def test_a_missing_default_of_an_appliance_with_certificates_of_its_own() -> None:
    fleet = Broken(
        {
            SINGLE: [("certificates: [single]\ndefault: single\n", "")],
            SOLO: [("", "certificates: [single]\n")],
        }
    )
    assert fleet.found() == [("default-declared", "error", f"{SOLO}: [single]")]


def test_without_certificates_there_is_nothing_to_choose_from() -> None:
    fleet = edit(LONE, ("certificates: [lone]\ndefault: lone\n", ""))
    assert fleet.found() == [("hostname-covered", "error", f"{LONE}: lone.example.com")]


@pytest.mark.parametrize("default", ["single", "unheard-of"])
def test_a_default_is_one_of_the_listed_certificates(default: str) -> None:
    fleet = edit(PAIR, ("default: pair", f"default: {default}"))
    assert ("default-declared", "error", f"{PAIR}: {default}") in fleet.found()


def test_a_near_miss_of_a_default_is_recognised() -> None:
    fleet = edit(PAIR, ("default: pair", "default: pairs"))
    assert [each.remedy for each in fleet.check()] == ["did you mean `pair`?"]


def test_a_default_covers_the_hostname_of_the_site() -> None:
    fleet = edit(PAIR, ("[pair]", "[pair, lone]"), ("default: pair", "default: lone"))
    assert fleet.found() == [("default-covers-site", "error", f"{PAIR}: lone")]


def test_an_appliance_that_overrides_the_default_of_its_site() -> None:
    fleet = edit(SOLO, ("", "certificates: [atlas]\ndefault: atlas\n"))
    assert fleet.found() == [("conflicting-default", "warning", f"{SOLO}: atlas")]


def test_an_overriding_default_covers_the_hostname_of_the_site_too() -> None:
    fleet = edit(SOLO, ("", "certificates: [lone]\ndefault: lone\n"))
    assert [(rule, place) for rule, _, place in fleet.found()] == [
        ("conflicting-default", f"{SOLO}: lone"),
        ("default-covers-site", f"{SOLO}: lone"),
    ]


def test_naming_the_same_default_twice_is_no_conflict() -> None:
    assert edit(SOLO, ("", "default: single\n")).found() == []


def test_an_appliance_may_choose_where_its_site_does_not() -> None:
    fleet = Broken({SINGLE: [("default: single\n", "")], SOLO: [("", "default: single\n")]})
    assert fleet.found() == []
