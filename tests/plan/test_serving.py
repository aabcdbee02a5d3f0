"""The served-names table: what may be served for each protected name before and after, and its flags."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.plan.model import Flag, Plan, ServedName
from tests.plan.scenes import CERTAIN, SITE, Scene, builds, chain_of, keyed, leaf, one, part, provided, store, two

if TYPE_CHECKING:
    from reconciler.live.store import LiveStore

OLD, NEW = leaf(one(), start=-300), leaf(one(), start=-1)
LIVE = store(keyed(OLD, "old"), chain_of(one()), default=OLD)
SCENE = Scene({"new": provided(NEW)}, default="new")


def rows(plan: Plan) -> dict[str | None, ServedName]:
    return {each.name: each for each in part(plan).serving}


def labels(row: ServedName) -> tuple[set[str], set[str]]:
    return {each.label for each in row.before}, {each.label for each in row.after}


def only(live: LiveStore, name: str | None = SITE, scene: Scene | None = None) -> ServedName:
    return rows((scene or Scene({})).plan(live))[name]


def test_there_is_a_row_for_each_protected_name_and_one_for_no_server_name() -> None:
    scene = replace(SCENE, site="protected_names: [portal.example.com]\n")
    assert list(rows(scene.plan(LIVE))) == [SITE, "east.example.com", "portal.example.com", None]


def test_before_and_after() -> None:
    table = rows(SCENE.plan(LIVE))
    assert labels(table[SITE]) == ({"old"}, {"old", "new"})
    assert labels(table[None]) == ({"old"}, {"new"})
    assert table[SITE].flags == (Flag.CHANGED,)
    assert all(each.good for row in table.values() for each in (*row.before, *row.after))


def test_held_actions_are_not_foretold() -> None:
    scene = Scene({"new": provided(leaf(two(), start=-1))}, default="new", clients=builds((-400, [one()])))
    row = rows(scene.plan(LIVE))[SITE]
    assert labels(row) == ({"old"}, {"old"})
    assert row.flags == ()


def test_what_is_not_good_says_why() -> None:
    lapsed = leaf(one(), start=-400, end=-1)
    row = only(store(keyed(lapsed, "lapsed"), chain_of(one()), default=lapsed))
    [candidate] = row.after
    assert (candidate.good, candidate.why_not) == (False, "expired on 2026-11-22 12:00 UTC")
    assert row.flags == (Flag.NOT_ALL_GOOD,)


def test_a_flag_where_only_the_default_is_left() -> None:
    other = leaf(one(), names=["else.example.org"])
    row = only(store(keyed(other, "other"), chain_of(one()), default=other))
    assert row.flags == (Flag.NOT_ALL_GOOD, Flag.DEFAULT_ONLY)
    assert row.after[0].why_not == f"does not cover {SITE}"


def test_no_server_name_always_gets_the_default_which_is_nothing_to_flag() -> None:
    assert only(LIVE, None).flags == ()


def test_no_server_name_is_measured_by_the_sites_hostname() -> None:
    own = leaf(one(), names=["east.example.com"])
    assert only(store(keyed(own, "own"), chain_of(one()), default=own), None).flags == (Flag.NOT_ALL_GOOD,)


def test_a_flag_where_nothing_is_served_at_all() -> None:
    row = only(replace(store(), default=None))
    assert (row.after, row.flags) == ((), (Flag.UNSERVED,))


def test_every_candidate_is_shown_where_nothing_is_known_of_the_rule() -> None:
    deep = leaf(one(), names=["*.com"], common_name="Deep")
    live = store(keyed(deep, "deep"), chain_of(one()), default=OLD)
    live = replace(live, certificates=(*live.certificates, keyed(leaf(one(), names=["x.org"]), "x")))
    assert labels(only(live))[1] == {"deep"}
    named = replace(live, rule=CERTAIN)
    assert labels(only(named))[1] == set()
