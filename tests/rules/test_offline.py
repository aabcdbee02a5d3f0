from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.base.findings import Finding, Kind, ObjectName, Severity, rules, sort_key
from reconciler.rules import OFFLINE, check
from reconciler.rules.facts import listed, quote
from tests.rules.fleet import (
    C_ATLAS,
    C_LONE,
    C_PAIR,
    C_SINGLE,
    EAST,
    FILES,
    LONE,
    PAIR,
    SINGLE,
    SOLO,
    Broken,
    committed,
)
from tests.support.authority import DAY, NOW

if TYPE_CHECKING:
    import random

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

EDITS: list[tuple[str, tuple[str, str]]] = [
    (SINGLE, ("single.example.com", "other.example.com")),
    (SINGLE, ("default: single\n", "")),
    (PAIR, ("topology: failover", "topology: single")),
    (PAIR, ("topology: failover", "topology: atlas")),
    (PAIR, ("[pair]", "[lone, missing]")),
    (PAIR, ("default: pair", "default: missing")),
    (LONE, ("[lone]", "[]")),
    (LONE, ("default: lone\n", "default: atlas\n")),
    (SOLO, ("", "certificates: [lone]\ndefault: lone\n")),
    (EAST, ("east.example.com", "east.example.net")),
    (EAST, ("", "platform: cloud\nclient_software: none\n")),
    (C_SINGLE, ("  - single.example.com\n", "  - '*.net'\n  - 192.0.2.1\n")),
    (C_SINGLE, ("country: US", "country: '\u202eUK'")),
    (C_ATLAS, ("Mississippi", "MS")),
    (C_PAIR, ("Pair access", "lone access")),
    (C_LONE, ("Lone access", "'*.example.com'")),
    (C_LONE, ("chain: [intermediate.pem, root.pem]", "chain: [root.pem]")),
    (C_SINGLE, ("  signed: single/signed.p7b\n", "")),
    ("fleet.yaml", ("  renew_before: 30d", "  keys: [rsa-4096]")),
]
SHARED = (PAIR, ("backup: west", "backup: solo"))


def fleets(edits: list[tuple[str, tuple[str, str]]]) -> st.SearchStrategy[Broken]:
    """The fleet with some of these edits, and without some of its files."""
    return st.builds(
        _broken,
        st.lists(st.sampled_from(edits), max_size=6, unique_by=lambda each: (each[0], each[1][0])),
        st.sets(st.sampled_from(sorted(FILES)), max_size=3),
        st.sets(st.sampled_from(sorted(committed())), max_size=2),
    )


def _broken(edits: list[tuple[str, tuple[str, str]]], without: set[str], lost: set[str]) -> Broken:
    return Broken(
        {path: [change for where, change in edits if where == path] for path, _ in edits if path not in without},
        dict.fromkeys(lost, ()),
        frozenset(without),
        tuple(
            Finding("yaml-syntax", Severity.ERROR, "m", "r", about=ObjectName(Kind.SITE, path[6:-5]))
            for path in without
            if path.startswith("sites/")
        ),
    )


@settings(deadline=None, max_examples=80)
@given(fleets([*EDITS, SHARED]), st.integers(-4000, 9000))
def test_whatever_is_loaded_can_be_checked(fleet: Broken, days: int) -> None:
    findings = fleet.check(NOW + days * DAY)
    assert list(findings) == sorted(findings, key=sort_key)
    for each in findings:
        assert each.rule in OFFLINE
        assert each.position
        assert each.about
        assert each.message
        assert each.remedy
        assert not each.message.endswith(".")
        assert fleet.pointed_at(each)


@settings(deadline=None, max_examples=30)
@given(fleets(EDITS), st.randoms(use_true_random=False))
def test_the_order_of_files_is_irrelevant(fleet: Broken, chance: random.Random) -> None:
    state = fleet.state()

    def shuffled(objects: Mapping[str, T]) -> dict[str, T]:
        return dict(chance.sample(sorted(objects.items(), key=lambda each: each[0]), len(objects)))

    other = replace(
        state,
        sites=shuffled(state.sites),
        appliances=shuffled(state.appliances),
        certificates=shuffled(state.certificates),
        material=shuffled(state.material),
    )
    assert check(other, NOW) == check(state, NOW)


def test_every_offline_rule_is_registered_and_says_what_it_rests_on() -> None:
    known = {each.id: each for each in rules()}
    assert known.keys() >= OFFLINE
    for name in OFFLINE:
        assert known[name].section
        assert known[name].summary.endswith(".")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), ""),
        (("a",), "a"),
        (("a", "b"), "a and b"),
        (("a", "b", "c"), "a, b and c"),
        (("a", "b", "c", "d", "e", "f", "g"), "a, b, c, d and 3 more"),
    ],
)
def test_names_are_listed_as_in_a_sentence(names: tuple[str, ...], sentence: str) -> None:
    assert listed(names) == sentence


def test_quotes_are_short_and_plain() -> None:
    assert quote("x" * 60) == f"'{'x' * 60}'"
    assert quote("a\x1b[2J\n\u202eb") == r"'a\x1b[2J\n\u202eb'"
    assert quote("x" * 61) == f"'{'x' * 59}\u2026'"
