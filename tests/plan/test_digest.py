"""The digest: the same for what a merge, a squash or a minute changes; another for whatever was not reviewed."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from reconciler.plan.digest import digest
from reconciler.plan.model import Expectation, Hold, Plan, Progress, Reason, State
from tests.plan.scenes import CERTAIN, SITE, Scene, builds, chain_of, keyed, leaf, one, part, provided, store, two
from tests.support.authority import DAY, NOW

OLD, NEW = leaf(one(), start=-300), leaf(one(), start=-10)
LIVE = store(keyed(OLD, "old"), chain_of(one()), default=OLD)
SCENE = Scene({"new": provided(NEW)}, default="new")
PLAN = SCENE.plan(LIVE)


def again(plan: Plan, **changes: object) -> str:
    """The digest with the first action changed."""
    east = part(plan)
    first, *rest = east.actions
    return digest([east.model_copy(update={"actions": (first.model_copy(update=changes), *rest)})])


def test_a_minute_later_is_the_same_plan() -> None:
    assert SCENE.plan(LIVE, now=NOW + dt.timedelta(minutes=1)).digest == PLAN.digest


def test_the_end_of_a_hold_is_not_part_of_it_but_the_hold_is() -> None:
    scene = Scene({"new": provided(leaf(two(), start=-1))}, default="new", clients=builds((-400, [one()])))
    east = part(scene.plan(LIVE))
    changed = [
        each.model_copy(update={"hold": Hold(reason=Reason(code="x", sentence="y"), until=NOW)})
        for each in east.actions
    ]
    assert digest([east.model_copy(update={"actions": tuple(changed)})]) == digest([east])
    ready = tuple(each.model_copy(update={"state": State.READY}) for each in east.actions)
    assert digest([east.model_copy(update={"actions": ready})]) != digest([east])


def test_line_numbers_labels_and_reasons_are_not_part_of_it() -> None:
    same = again(PLAN, source="elsewhere.yaml:99", label="renamed", reason=Reason(code="other", sentence="words"))
    assert same == PLAN.digest
    moved = replace(
        SCENE, site="\n\n# a comment\nprotected_names: []\n", clients="# no clients\nclient_software: none\n"
    )
    assert moved.plan(LIVE).digest == PLAN.digest


def test_friendly_names_in_the_store_are_not_part_of_it() -> None:
    renamed = store(keyed(OLD, "renamed"), chain_of(one()), default=OLD)
    assert SCENE.plan(renamed).digest == PLAN.digest


def test_the_order_of_rows_is_not_part_of_it() -> None:
    assert SCENE.plan(replace(LIVE, certificates=tuple(reversed(LIVE.certificates)))).digest == PLAN.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "other"},
        {"appliance": "west"},
        {"fingerprint": "0" * 64},
        {"public_key": "0" * 64},
        {"role": "chain"},
        {"depends_on": ("something",)},
        {"state": State.BY_HAND},
        {"certificate": "other"},
        {"friendly_name": "other"},
        {"expects": Expectation(default="0" * 64)},
        {"expects": Expectation(present=("0" * 64,))},
        {"expects": Expectation(absent=("0" * 64,))},
    ],
    ids=str,
)
def test_whatever_an_action_does_or_expects_is(changes: dict[str, object]) -> None:
    assert again(PLAN, **changes) != PLAN.digest


def test_the_order_of_actions_is() -> None:
    east = part(PLAN)
    assert digest([east.model_copy(update={"actions": tuple(reversed(east.actions))})]) != PLAN.digest


def test_a_missing_action_is() -> None:
    east = part(PLAN)
    assert digest([east.model_copy(update={"actions": east.actions[:-1]})]) != PLAN.digest


def test_who_follows_whom_and_how_far_planning_came_are() -> None:
    east = part(PLAN)
    assert digest([east.model_copy(update={"follows": ("west",)})]) != PLAN.digest
    assert digest([east.model_copy(update={"progress": Progress.UNREACHABLE})]) != PLAN.digest


def test_what_is_served_before_is_part_of_it_too() -> None:
    east = part(PLAN)
    first, *rest = east.serving
    bad = tuple(each.model_copy(update={"good": False}) for each in first.before)
    changed = (first.model_copy(update={"before": bad}), *rest)
    assert digest([east.model_copy(update={"serving": changed})]) != PLAN.digest


def test_served_names_are_even_where_no_action_differs() -> None:
    quiet = Scene({"old": provided(OLD)}, default="old")
    wanted = quiet.plan(LIVE)
    assert wanted.actions == ()
    assert replace(quiet, site="protected_names: [portal.example.com]\n").plan(LIVE).digest != wanted.digest
    stranger = keyed(leaf(two(), names=[SITE], common_name="Stranger"), "stranger")
    joined = store(keyed(OLD, "old"), stranger, chain_of(one()), default=OLD)
    assert quiet.plan(joined).digest != wanted.digest
    distrusted = replace(quiet, clients=builds((-400, [two()]))).plan(LIVE)
    assert distrusted.actions == ()
    assert distrusted.digest != wanted.digest


def test_a_certificate_that_expires_meanwhile_makes_another_plan() -> None:
    quiet = Scene({"old": provided(OLD)}, default="old")
    assert quiet.plan(LIVE, now=NOW + 400 * DAY).digest != quiet.plan(LIVE).digest


def test_the_rule_of_the_front_end_counts_only_by_what_is_served() -> None:
    assert SCENE.plan(replace(LIVE, rule=CERTAIN)).digest == PLAN.digest
