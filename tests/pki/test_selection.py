"""Auto-selection: which certificates may be served for a name. Liberal: whatever might match."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from reconciler.pki.names import SubjectAlternativeName, parse_name
from reconciler.pki.selection import LIBERAL, CandidateRule, is_candidate, may_serve

HAPROXY = CandidateRule(common_name=True, deep_wildcards=False, certain=True)
NAMES_ONLY = CandidateRule(common_name=False, deep_wildcards=False, certain=True)


@dataclass(frozen=True)
class Row:
    title: str
    subject_alternative_names: tuple[SubjectAlternativeName, ...] = ()
    common_name: str = ""
    has_key: bool = True


def row(title: str, *names: str, common_name: str = "", has_key: bool = True) -> Row:
    return Row(title, tuple(parse_name(each) for each in names), common_name, has_key)


def served(rows: list[Row], name: str | None, rule: CandidateRule = LIBERAL, default: Row | None = None) -> list[str]:
    return [each.title for each in may_serve(rows, default, name, rule)]


def test_every_certificate_that_matches_may_be_served_since_no_tie_break_is_documented() -> None:
    rows = [row("exact", "access.example.com"), row("wildcard", "*.example.com"), row("other", "else.example.com")]
    assert served(rows, "access.example.com") == ["exact", "wildcard"]


def test_a_certificate_without_key_is_never_served() -> None:
    keyless = row("keyless", "access.example.com", has_key=False)
    assert served([keyless], "access.example.com", default=keyless) == []


def test_no_server_name_gets_the_default_and_nothing_else() -> None:
    default = row("default", "else.example.com")
    assert served([row("exact", "access.example.com"), default], None, default=default) == ["default"]
    assert served([row("exact", "access.example.com")], None) == []


@pytest.mark.parametrize("rule", [LIBERAL, HAPROXY])
def test_a_name_that_nothing_matches_gets_the_default(rule: CandidateRule) -> None:
    default = row("default", "else.example.com")
    assert served([default], "unknown.example.org", rule, default) == ["default"]


@pytest.mark.parametrize(
    ("name", "matched"),
    [
        ("access.example.com", True),
        ("ACCESS.Example.COM", True),
        ("access.example.com.", True),
        ("example.com", False),
        ("a.access.example.com", False),
        ("accessexample.com", False),
    ],
)
def test_a_wildcard_covers_one_label(name: str, *, matched: bool) -> None:
    assert is_candidate(row("wildcard", "*.example.com"), name, HAPROXY) is matched


def test_where_nothing_is_known_a_wildcard_might_span_labels() -> None:
    wildcard = row("wildcard", "*.example.com")
    assert is_candidate(wildcard, "a.access.example.com", LIBERAL)
    assert not is_candidate(wildcard, "example.com", LIBERAL)
    assert not is_candidate(wildcard, ".example.com", LIBERAL)


def test_a_wildcard_beneath_one_label_covers_nothing_and_still_might_be_chosen() -> None:
    assert is_candidate(row("tld", "*.com"), "example.com", HAPROXY)


def test_the_common_name_is_matched_by_rules_that_say_so() -> None:
    titled = row("titled", "else.example.com", common_name="Access.Example.com")
    assert is_candidate(titled, "access.example.com", HAPROXY)
    assert not is_candidate(titled, "access.example.com", NAMES_ONLY)
    assert not is_candidate(row("human", common_name="Example remote access"), "access.example.com", LIBERAL)


def test_addresses_are_no_server_names() -> None:
    assert not is_candidate(row("address", "192.0.2.1"), "192.0.2.1", LIBERAL)


def test_the_default_may_join_where_the_rule_is_not_known_and_nothing_matches_strictly() -> None:
    default = row("default", "else.example.com")
    deep = row("deep", "*.example.com")
    titled = row("titled", "else.example.org", common_name="a.access.example.com")
    exact = row("exact", "a.access.example.com")
    assert served([deep, default], "a.access.example.com", LIBERAL, default) == ["deep", "default"]
    assert served([titled, default], "a.access.example.com", LIBERAL, default) == ["titled", "default"]
    assert served([deep, exact, default], "a.access.example.com", LIBERAL, default) == ["deep", "exact"]
    assert served([deep], "a.access.example.com", LIBERAL) == ["deep"]
    assert served([titled, default], "a.access.example.com", HAPROXY, default) == ["titled"]


def test_a_default_that_matches_by_itself_is_named_once() -> None:
    default = row("default", "*.example.com")
    assert served([default], "a.access.example.com", LIBERAL, default) == ["default"]


def test_a_default_without_key_serves_nobody() -> None:
    assert served([], "x.example.com", LIBERAL, row("default", has_key=False)) == []


def test_a_name_that_is_no_name_matches_nothing() -> None:
    assert not is_candidate(row("wildcard", "*.example.com"), "not a name", LIBERAL)
