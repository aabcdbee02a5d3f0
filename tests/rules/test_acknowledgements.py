from __future__ import annotations

import datetime as dt

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.base.findings import Finding, Kind, ObjectName, Severity, Stops, rules
from reconciler.base.position import Position
from reconciler.rules import OFFLINE, acknowledge, check
from tests.rules.fleet import C_LONE, C_PAIR, C_SINGLE, PAIR, WEST, Broken, intermediate
from tests.support.authority import DAY, NOW

NAME = "  - single.example.com\n"
IP = (NAME, f"{NAME}  - 192.0.2.7\n")


def entry(rule: str, until: str = "2027-01-01") -> tuple[str, str]:
    return ("", f"acknowledge:\n  - rule: {rule}\n    reason: agreed\n    until: {until}\n")


def left(fleet: Broken, checked: frozenset[str] = OFFLINE, now: dt.datetime = NOW) -> list[tuple[str, str, str]]:
    state = fleet.state()
    findings = acknowledge(state, (*state.findings, *check(state, now)), checked, now)
    return [
        (each.rule, each.severity.value, fleet.pointed_at(each) if each.position else str(each.about))
        for each in findings
    ]


def test_an_acknowledged_finding_is_silent() -> None:
    assert [each[0] for each in left(Broken({C_SINGLE: [IP]}))] == ["ip-san", "signed-mismatch"]
    assert [each[0] for each in left(Broken({C_SINGLE: [IP, entry("ip-san")]}))] == ["signed-mismatch"]


def test_it_is_silent_on_this_object_only() -> None:
    fleet = Broken(
        {C_SINGLE: [IP, entry("ip-san")], C_PAIR: [("  - pair.example.com\n", "  - pair.example.com\n  - 192.0.2.8\n")]}
    )
    assert ("ip-san", "warning", f"{C_PAIR}: 192.0.2.8") in left(fleet)


def test_the_last_day_counts_to_its_end_in_utc() -> None:
    fleet = Broken({C_SINGLE: [IP, entry("ip-san", "2026-11-23")]})
    evening = dt.datetime(2026, 11, 23, 23, 59, 59, tzinfo=dt.UTC)
    ahead = dt.timezone(dt.timedelta(hours=14))
    assert not [each for each in left(fleet, now=evening) if each[0] != "signed-mismatch"]
    assert not [each for each in left(fleet, now=evening.astimezone(ahead)) if each[0] != "signed-mismatch"]
    late = left(fleet, now=evening + dt.timedelta(seconds=1))
    assert ("ip-san", "warning", f"{C_SINGLE}: 192.0.2.7") in late
    assert ("acknowledgement-expired", "warning", f"{C_SINGLE}: 2026-11-23") in late


def test_what_nothing_needs_is_told() -> None:
    fleet = Broken({C_LONE: [entry("ip-san")]})
    assert left(fleet) == [("acknowledgement-unneeded", "notice", f"{C_LONE}: ip-san")]


def test_what_nothing_needs_is_told_once_its_date_has_passed_too() -> None:
    assert left(Broken({C_LONE: [entry("ip-san", "2026-01-01")]})) == [
        ("acknowledgement-unneeded", "notice", f"{C_LONE}: ip-san")
    ]


def test_nothing_is_said_of_rules_that_were_not_evaluated() -> None:
    assert left(Broken({C_LONE: [entry("ip-san")]}), checked=frozenset()) == []


def test_nothing_is_called_unneeded_while_a_file_is_broken() -> None:
    broken = Finding("yaml-syntax", Severity.ERROR, "no", "yes", about=ObjectName(Kind.SITE, "other"))
    fleet = Broken({C_LONE: [entry("ip-san")]}, findings=(broken,))
    assert left(fleet) == [("yaml-syntax", "error", "site other")]


def test_an_unknown_rule_is_told_with_its_near_miss() -> None:
    fleet = Broken({C_SINGLE: [IP, entry("ip-sans")]})
    assert ("acknowledgement-unknown", "warning", f"{C_SINGLE}: ip-sans") in left(fleet)
    assert ("ip-san", "warning", f"{C_SINGLE}: 192.0.2.7") in left(fleet)
    findings = acknowledge(fleet.state(), (), OFFLINE, NOW)
    assert [each.remedy for each in findings] == ["did you mean `ip-san`?"]


def test_a_rule_that_resembles_none() -> None:
    findings = acknowledge(Broken({C_SINGLE: [entry("whatever")]}).state(), (), OFFLINE, NOW)
    assert [each.remedy for each in findings] == ["`validate --list-rules` shows all rules"]


def test_errors_that_would_lose_clients_are_not_silenced() -> None:
    leaf = intermediate().issue(["lone.example.com"], not_before=NOW - 9 * DAY, not_after=NOW - DAY).certificate
    fleet = Broken({C_LONE: [entry("expired")]}, {"certificates/lone/leaf.pem": (leaf,)})
    assert left(fleet) == [
        ("expired", "error", f"{C_LONE}: lone/leaf.pem"),
        ("acknowledgement-refused", "warning", f"{C_LONE}: expired"),
    ]


def test_an_error_of_a_rule_that_warns_otherwise_is_not_silenced() -> None:
    more = ("  - lone.example.com\n", "  - lone.example.com\n  - more.example.com\n")
    assert left(Broken({C_LONE: [more, entry("signed-mismatch")]})) == [
        ("signed-mismatch", "error", f"{C_LONE}: lone/leaf.pem")
    ]


def test_an_error_that_an_organisation_may_live_with_is_silenced() -> None:
    fleet = Broken({PAIR: [entry("failover-covers-members")], WEST: [("west.example.com", "backup.example.net")]})
    assert left(fleet) == []


def test_findings_of_the_live_store_are_silenced_alike() -> None:
    state = Broken({C_LONE: [entry("cn-unique")]}).state()
    live = Finding(
        "cn-unique", Severity.WARNING, "live", "", about=ObjectName(Kind.CERTIFICATE, "lone"), appliance="lone"
    )
    assert acknowledge(state, (live,), (), NOW) == ()


def test_a_finding_of_nobody_s_rule_is_kept() -> None:
    state = Broken({C_LONE: [entry("unheard-of")]}).state()
    stray = Finding("unheard-of", Severity.NOTICE, "stray", "", about=ObjectName(Kind.CERTIFICATE, "lone"))
    assert stray in acknowledge(state, (stray,), (), NOW)


OBJECTS = [ObjectName(Kind.CERTIFICATE, "single"), ObjectName(Kind.SITE, "pair"), ObjectName(Kind.FLEET, "fleet"), None]
RULES = ["ip-san", "cn-unique", "expired", "hostname-covered", "country-code"]
findings_ = st.builds(
    Finding,
    rule=st.sampled_from(RULES),
    severity=st.sampled_from(Severity),
    message=st.text(max_size=3),
    remedy=st.just(""),
    position=st.builds(Position, st.sampled_from(["a", "b"]), st.integers(1, 9)),
    about=st.sampled_from(OBJECTS),
    stops=st.sampled_from(Stops),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(findings_, max_size=12), st.sampled_from(RULES), st.sampled_from(["2026-11-22", "2026-11-23"]))
def test_what_is_acknowledged_disappears_and_nothing_else(findings: list[Finding], rule: str, until: str) -> None:
    state = Broken({C_SINGLE: [entry(rule, until)]}).state()
    acknowledgeable = {each.id for each in rules() if each.acknowledgeable}
    silent = [
        each
        for each in findings
        if until == "2026-11-23"
        and (each.about, each.rule) == (OBJECTS[0], rule)
        and (each.severity is not Severity.ERROR or rule in acknowledgeable)
    ]
    left = acknowledge(state, findings, (), NOW)
    own = [each for each in left if each.rule.startswith("acknowledgement-")]
    kept = [id(each) for each in left if each not in own]
    assert sorted(kept) == sorted(id(each) for each in findings if each not in silent)
    assert len(own) <= 1
