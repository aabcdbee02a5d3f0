from __future__ import annotations

from reconciler.plan.model import Action, AppliancePlan, Hold, Reason, State
from reconciler.report.later import Cause, later_of, root_holds
from reconciler.report.view import plan_view
from tests.report import sample
from tests.support.authority import DAY, NOW

_, LEAF, DEFAULT, REMOVAL, _ = sample.PLAN.appliances[0].actions
UNTRUSTED = Hold(reason=Reason(code="untrusted-by-clients", sentence="nobody trusts it"))
LATER = Hold(reason=Reason(code="not-yet-valid", sentence="it is not valid yet"), until=NOW + DAY)
FOLLOWS = Hold(reason=Reason(code="follows", sentence="it waits for the import of access on east-1"))


def _held(action: Action, name: str, hold: Hold | None, *after: str, state: State = State.HELD) -> Action:
    changes = {"id": name, "hold": hold, "depends_on": after, "state": state, "appliance": name.partition("/")[0]}
    return action.model_copy(update=changes)


def _roots(*actions: Action) -> dict[str, str]:
    return {name: hold.reason.code for name, hold in root_holds(actions).items()}


def test_what_follows_is_held_by_what_holds_the_other_over_any_distance() -> None:
    assert _roots(
        _held(DEFAULT, "a/3", FOLLOWS, "a/2", "west/9"),
        _held(DEFAULT, "a/2", FOLLOWS, "a/1"),
        _held(LEAF, "a/1", UNTRUSTED),
    ) == dict.fromkeys(("a/1", "a/2", "a/3"), "untrusted-by-clients")


def test_what_waits_for_two_that_are_held_for_the_same_reason_is_held_by_it() -> None:
    twice = [_held(LEAF, name, UNTRUSTED) for name in ("a/1", "b/1")]
    assert _roots(*twice, _held(DEFAULT, "a/2", FOLLOWS, "a/1", "b/1"))["a/2"] == "untrusted-by-clients"


def test_what_waits_for_different_things_says_what_it_waits_for() -> None:
    both = [_held(LEAF, "a/1", UNTRUSTED), _held(LEAF, "b/1", LATER)]
    assert _roots(*both, _held(DEFAULT, "a/2", FOLLOWS, "a/1", "b/1"))["a/2"] == "follows"
    by_hand = _held(LEAF, "a/1", None, state=State.BY_HAND)
    assert _roots(by_hand, _held(DEFAULT, "a/2", FOLLOWS, "a/1")) == {"a/2": "follows"}


def test_two_that_wait_for_each_other_end_the_search() -> None:
    assert _roots(_held(LEAF, "a/1", FOLLOWS, "b/1"), _held(LEAF, "b/1", FOLLOWS, "a/1")) == {
        "a/1": "follows",
        "b/1": "follows",
    }


def _part(name: str, site: str | None = "access") -> AppliancePlan:
    import_ = _held(LEAF, f"{name}/1", UNTRUSTED)
    actions = (import_, _held(DEFAULT, f"{name}/2", FOLLOWS, import_.id), _held(REMOVAL, f"{name}/3", LATER))
    return AppliancePlan(name=name, site=site, actions=actions)


def test_one_reason_is_said_once_with_all_that_it_holds() -> None:
    parts = (_part("east-1"), _part("west-1"), _part("lone", None))
    view = plan_view(sample.PLAN.model_copy(update={"appliances": parts}), {}, {}, {})
    soon, unknown = later_of(view.sites)
    assert soon.cause == Cause(NOW + DAY, "it is not valid yet")
    assert [each.action.kind for each in soon.actions] == ["remove", "remove"]
    assert unknown.cause == Cause(None, "nobody trusts it")
    assert [(each.action.kind, each.site, each.appliances) for each in unknown.actions] == [
        ("import", "access", ("east-1", "west-1")),
        ("set_default", "access", ("east-1", "west-1")),
        ("import", None, ("lone",)),
        ("set_default", None, ("lone",)),
    ]


def test_what_is_held_comes_before_what_waits_and_what_is_left_to_people() -> None:
    view = plan_view(sample.PLAN, sample.STORES, sample.MATERIAL, sample.CLASSES)
    assert [each.state for each in later_of(view.sites)] == [State.HELD, State.WAITING, State.BY_HAND]
