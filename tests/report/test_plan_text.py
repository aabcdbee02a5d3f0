from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.plan.model import AppliancePlan, Basis, Flag, Plan, Progress, ServedName, Summary
from reconciler.report.page import Medium
from reconciler.report.plan_text import plan_text
from reconciler.report.view import plan_view
from reconciler.report.words import summary
from tests.report import sample
from tests.report.goldens import check_golden
from tests.support.authority import NOW

VIEW = plan_view(sample.PLAN, sample.STORES, sample.MATERIAL, sample.CLASSES)


@pytest.mark.parametrize(
    ("name", "medium"),
    [("pipe", Medium()), ("80", Medium(80)), ("140-colour", Medium(140, colour=True))],
)
def test_the_whole_plan_reads_as_it_was_looked_at(name: str, medium: Medium) -> None:
    check_golden(f"plan-{name}.txt", plan_text(VIEW, medium))


def test_nothing_from_a_certificate_reaches_a_terminal_unescaped() -> None:
    for width in (None, 20, 80):
        text = plan_text(VIEW, Medium(width))
        assert all(line.isprintable() for line in text.splitlines())
        assert r"\x1b[31m\u202e" in text


def test_alike_appliances_are_shown_once() -> None:
    text = plan_text(VIEW, Medium())
    assert "  east-1 (after west-1), west-1\n" in text
    assert text.count("+ import   access.example.com") == 1


def test_nobody_comes_after_one_to_whom_nothing_happens() -> None:
    east, *_, west = sample.PLAN.appliances
    for actions in ((), west.actions[-1:]):
        plan = _plan(appliances=(east, west.model_copy(update={"actions": actions})))
        text = plan_text(plan_view(plan, sample.STORES, {}, {}), Medium())
        assert "  east-1\n" in text
        assert "after" not in text.partition("\n  west-1")[0]


def test_several_of_which_one_is_not_good_are_pointed_out() -> None:
    before, after = sample.PLAN.appliances[0].serving[-1].before, sample.PLAN.appliances[0].serving[1].after
    row = ServedName(name="a.b", before=before, after=(*before, *after), flags=(Flag.NOT_ALL_GOOD,))
    plan = _plan(appliances=(AppliancePlan(name="a", serving=(row,)),))
    assert "any one of these may be served, and nobody can know which\n" in plan_text(
        plan_view(plan, {}, {}, {}), Medium()
    )
    alone = row.model_copy(update={"after": before})
    plan = _plan(appliances=(AppliancePlan(name="a", serving=(alone,)),))
    assert "any one of" not in plan_text(plan_view(plan, {}, {}, {}), Medium())


def test_findings_of_several_appliances_are_shown_once() -> None:
    assert "  east-1, west-1: undeclared " in plan_text(VIEW, Medium())


def _plan(**changes: object) -> Plan:
    plan = Plan(made_at=NOW, digest="d", basis=Basis(desired_digest="0"), appliances=(), summary=Summary())
    return plan.model_copy(update=changes)


def test_a_plan_is_shown_even_where_nothing_is_known_of_its_certificates() -> None:
    text = plan_text(plan_view(sample.PLAN, {}, {}, {}), Medium())
    assert "Instead of           [06c8aaa93d80]\n" in text
    assert "Issued By" not in text


def test_a_default_that_is_called_like_the_one_before_is_told_by_its_fingerprint() -> None:
    default = sample.PLAN.appliances[0].actions[2].model_copy(update={"replaces": sample.OLD.fingerprint})
    plan = _plan(appliances=(AppliancePlan(name="east-1", actions=(default,)),))
    text = plan_text(plan_view(plan, sample.STORES, {}, {}), Medium())
    assert "Instead of           access.example.com [cba06b5736fa]\n" in text


def test_an_empty_plan_says_no_changes() -> None:
    text = plan_text(plan_view(_plan(), {}, {}, {}), Medium())
    assert text == "Plan 2026-11-23 12:00:00 UTC\n\nDigest d\nNo changes.\n"


def test_a_plan_for_another_instant_says_that_it_cannot_be_applied() -> None:
    text = plan_text(plan_view(_plan(as_of=NOW), {}, {}, {}), Medium())
    assert text.startswith("Plan as of 2026-11-23 12:00:00 UTC, so it cannot be applied\n")


def test_names_that_stay_as_they_are_are_counted() -> None:
    row = ServedName(name="access.example.com", before=(), after=())
    appliances = tuple(AppliancePlan(name=f"a-{number}", serving=(row,)) for number in range(3))
    text = plan_text(plan_view(_plan(appliances=appliances), {}, {}, {}), Medium())
    assert "appliances outside any site   a-0, a-1, a-2: no changes\n" in text
    assert "Served names: all 3 as now, by good certificates\n" in text


def test_a_row_with_a_flag_is_shown_even_where_nothing_changes() -> None:
    row = ServedName(name=None, before=(), after=(), flags=(Flag.UNSERVED,))
    text = plan_text(plan_view(_plan(appliances=(AppliancePlan(name="a", serving=(row,)),)), {}, {}, {}), Medium())
    assert "    no SNI                        nothing\n" in text
    assert "unchanged appliances" not in text


def test_many_appliances_with_the_same_finding_are_counted() -> None:
    found = sample.PLAN.appliances[0].findings[0]
    appliances = tuple(
        AppliancePlan(name=f"a-{number}", findings=(replace(found, appliance=f"a-{number}"),)) for number in range(7)
    )
    text = plan_text(plan_view(_plan(appliances=appliances), {}, {}, {}), Medium())
    assert "  a-0, a-1, a-2, a-3, a-4 and 2 more: undeclared " in text


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        (Summary(), "No changes."),
        (Summary(held=2, waiting=1), "No changes; 2 held, 1 waiting."),
        (
            Summary(import_=3, create=1, set_default=2, remove=1, held=2),
            "Plan: 3 to import, 1 to create, 2 defaults to set, 1 to remove; 2 held.",
        ),
        (Summary(set_default=1), "Plan: 1 default to set."),
    ],
)
def test_the_summary_is_one_line(counts: Summary, sentence: str) -> None:
    assert summary(_plan(summary=counts)) == sentence


def test_a_plan_of_appliances_that_nobody_could_observe_claims_no_unchanged_fleet() -> None:
    unseen = AppliancePlan(name="east-1", progress=Progress.UNREACHABLE)
    assert summary(_plan(appliances=(unseen,))) == "Nothing is planned; 1 appliance could not be observed."
