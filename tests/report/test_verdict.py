from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.plan.model import (
    AppliancePlan,
    Basis,
    ByHand,
    Candidate,
    Flag,
    Hold,
    Plan,
    Progress,
    Reason,
    ServedName,
    State,
    Summary,
)
from reconciler.report.verdict import Verdict, verdict_of
from tests.plan.scenes import Scene, builds, chain_of, keyed, leaf, one, provided, store, two
from tests.report import sample
from tests.support.authority import NOW

if TYPE_CHECKING:
    from reconciler.plan.model import Action

GOOD = Candidate(certificate="1" * 64, label="good", good=True)
NEXT = Candidate(certificate="2" * 64, label="next", good=True)
BAD = Candidate(certificate="3" * 64, label="bad", good=False, why_not="it is bad")
WORSE = GOOD.model_copy(update={"good": False})
ERROR, WARNING = sample.PLAN.findings[1], sample.PLAN.findings[0]


def _plan(*parts: AppliancePlan, **changes: object) -> Plan:
    plan = Plan(made_at=NOW, digest="d", basis=Basis(desired_digest="0"), appliances=parts, summary=Summary())
    return plan.model_copy(update=changes)


def _serving(before: tuple[Candidate, ...], after: tuple[Candidate, ...], name: str | None = "a.b") -> AppliancePlan:
    flags = (Flag.CHANGED,) if before != after else ()
    return AppliancePlan(name="a", serving=(ServedName(name=name, before=before, after=after, flags=flags),))


def _doing(*actions: Action) -> AppliancePlan:
    return AppliancePlan(name="a", actions=actions)


def _told(*parts: AppliancePlan, **changes: object) -> Verdict:
    return verdict_of(_plan(*parts, **changes), sample.MATERIAL)


def test_where_nothing_is_to_be_done_it_is_safe() -> None:
    verdict = _told(_serving((GOOD,), (GOOD,)))
    assert (verdict.answer, verdict.why) == ("Safe to merge", "nothing is to be done, and clients notice nothing")
    assert verdict.further == ()


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ((GOOD,), (NEXT,), "clients get other certificates, and these are good"),
        ((), (NEXT,), "clients get other certificates, and these are good"),
        ((BAD,), (NEXT,), "clients get other certificates, and these are good"),
        ((BAD,), (BAD, NEXT), "clients get other certificates, and these are good"),
        ((GOOD, NEXT), (NEXT,), "clients get fewer certificates, and keep good ones"),
        ((GOOD, BAD), (GOOD,), "clients get fewer certificates, and keep good ones"),
        ((GOOD, BAD), (GOOD, BAD), "nothing is to be done, and clients notice nothing"),
    ],
)
def test_it_is_safe_where_all_that_clients_get_anew_is_good(
    before: tuple[Candidate, ...], after: tuple[Candidate, ...], why: str
) -> None:
    verdict = _told(_serving(before, after))
    assert (verdict.safe, verdict.why) == (True, why)


LOST = "clients of a.b lose their last good certificate"
MAY = "clients of a.b may be served a certificate that is not good"


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ((GOOD,), (), LOST),
        ((GOOD,), (BAD,), LOST),
        ((GOOD,), (WORSE,), LOST),
        ((GOOD,), (GOOD, BAD), MAY),
        ((GOOD, NEXT), (WORSE, NEXT), MAY),
        ((GOOD, NEXT, BAD), (NEXT, BAD), MAY),
        ((), (BAD,), MAY),
    ],
)
def test_it_is_not_where_a_name_loses_what_is_good_or_gets_what_is_not(
    before: tuple[Candidate, ...], after: tuple[Candidate, ...], why: str
) -> None:
    verdict = _told(_serving(before, after))
    assert (verdict.answer, verdict.why, verdict.further) == ("Look before you merge", why, ())


def test_names_to_which_the_same_happens_are_told_together_and_each_once() -> None:
    parts = [_serving((GOOD,), (), name) for name in ("a.b", "c.d", "a.b", None)]
    assert (
        _told(*parts).why == "clients of a.b, c.d and clients that send no server name lose their last good certificate"
    )


def test_what_is_bad_and_stays_so_is_said_and_is_not_the_fault_of_the_plan() -> None:
    for after in ((BAD,), ()):
        verdict = _told(_serving(after, after))
        assert verdict.safe
        assert verdict.further == ("There is no good certificate for clients of a.b now, and this brings none",)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"findings": (ERROR, WARNING)}, "1 error"),
        ({"appliances": (AppliancePlan(name="a", progress=Progress.STOPPED),)}, "nothing is known of 1 appliance"),
        ({"as_of": NOW}, "this is a rehearsal, and not what apply would do now"),
        (
            {"basis": Basis(desired_digest="0", replaced=("a",))},
            "this is a rehearsal, and not what apply would do now",
        ),
        (
            {"basis": Basis(desired_digest="0", only=("a", "b"))},
            "only a, b was asked for, and nothing is said of other appliances",
        ),
    ],
)
def test_what_is_not_known_is_not_called_safe(changes: dict[str, object], why: str) -> None:
    verdict = _told(**changes)
    assert (verdict.safe, verdict.why) == (False, why)


def test_a_warning_alone_leaves_it_safe() -> None:
    assert _told(findings=(WARNING,)).safe


def test_everything_that_speaks_against_it_is_told() -> None:
    assert _told(_serving((GOOD,), ()), findings=(ERROR, ERROR)).why == f"2 errors; {LOST}"


_, LEAF, DEFAULT, REMOVAL, HELD = sample.PLAN.appliances[0].actions


def test_keys_that_go_cannot_be_brought_back() -> None:
    keyless = REMOVAL.model_copy(update={"has_key": False})
    assert _told(_doing(LEAF, keyless)).further == ()
    assert _told(_doing(REMOVAL)).further == ("1 private key is removed, which cannot be undone",)
    assert _told(_doing(REMOVAL, REMOVAL, HELD)).further[0] == "2 private keys are removed, which cannot be undone"


def _held(action: Action, code: str, state: State = State.HELD, certificate: str | None = "access") -> Action:
    hold = Hold(reason=Reason(code=code, sentence=code))
    return action.model_copy(update={"id": f"a/{code}", "state": state, "hold": hold, "certificate": certificate})


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (HELD, "1 action waits until 2026-11-30 12:00:00 UTC"),
        (_held(LEAF, "untrusted-by-clients"), "1 action waits for a software build that trusts Example Root"),
        (
            _held(LEAF, "untrusted-by-clients", certificate="lab"),
            "1 action waits for a software build that trusts the root of lab",
        ),
        (_held(LEAF, "answer-awaited", State.WAITING), "1 action waits for a CA's answer"),
        (_held(LEAF, "key-unreachable", State.WAITING), "1 action waits for an appliance that cannot be reached"),
        (_held(LEAF, "is-default"), "1 action waits for what is told beneath"),
        (LEAF.model_copy(update={"state": State.BY_HAND}), "1 action waits to be done by hand"),
    ],
)
def test_what_does_not_run_now_is_counted_by_what_it_waits_for(action: Action, sentence: str) -> None:
    verdict = _told(_doing(action))
    assert (verdict.why, verdict.further) == ("clients notice nothing", (sentence,))


def test_what_clients_notice_once_a_hold_ends_they_do_not_notice_yet() -> None:
    held = LEAF.model_copy(update={"state": State.HELD, "hold": HELD.hold})
    assert _told(_doing(held)).why == "clients notice nothing yet"


def test_what_is_next_is_said() -> None:
    hands = [ByHand(code="client-software", what="ask", where=name) for name in ("access", "atlas", "access")]
    other = ByHand(code="send-request", what="send it", where="east-1")
    assert _told(by_hand=(other, *hands)).further == (
        (
            "Next: run `reconciler bundle access`, `reconciler bundle atlas`, and send BeyondTrust Technical Support"
            " what it makes"
        ),
    )
    assert _told(by_hand=(other,)).further == ("Next: see what is left to do by hand",)


def test_a_new_root_that_clients_do_not_trust_yet_is_safe_and_says_what_is_next() -> None:
    old = leaf(one(), start=-340, end=25)
    scene = Scene({"new": provided(leaf(two(), start=-1))}, default="new", clients=builds((-400, [one()])))
    plan = scene.plan(store(keyed(old, "old"), chain_of(one()), default=old))
    verdict = verdict_of(plan, scene.state.material)
    assert (verdict.answer, verdict.why) == ("Safe to merge", "clients notice nothing")
    assert verdict.further == (
        "2 actions wait for a software build that trusts Root Two",
        "Next: run `reconciler bundle access`, and send BeyondTrust Technical Support what it makes",
    )
    ending = leaf(one(), start=-364, end=1)
    assert not verdict_of(scene.plan(store(keyed(ending, "old"), chain_of(one()), default=ending)), {}).safe
