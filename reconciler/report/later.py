"""What does not run now, by what holds it: one reason is said once, with everything that waits for the same."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.plan.model import State

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    from reconciler.plan.model import Action, Hold
    from reconciler.report.view import ActionView, SiteView

FOLLOWS = "follows"
"""The code of a hold that only follows from another one."""
_STATES = (State.HELD, State.WAITING, State.BY_HAND)


@dataclass(frozen=True, slots=True)
class Cause:
    """What keeps an action from running, or what keeps what it waits for.

    Attributes:
        until: When that ends, where it is known.
        because: What it is, and what releases it; may be empty for what is left to people.
    """

    until: dt.datetime | None = None
    because: str = ""


@dataclass(frozen=True, slots=True)
class LaterAction:
    """An action that does not run now, and the appliances of a site for which that is so."""

    action: ActionView
    site: str | None
    appliances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Later:
    """Everything that one cause keeps from running."""

    state: State
    cause: Cause
    actions: tuple[LaterAction, ...]


def root_holds(actions: Iterable[Action]) -> Mapping[str, Hold]:
    """What holds each action, by id; of one that waits for others, what holds these, where that is one and the same."""
    later = {action.id: action for action in actions if action.hold}
    found: dict[str, Hold] = {}
    for action in later.values():
        _find_root(action, later, found)
    return found


def _find_root(action: Action, later: Mapping[str, Action], found: dict[str, Hold]) -> Hold | None:
    if action.id in found or action.hold is None:
        return found.get(action.id)
    found[action.id] = action.hold
    if action.hold.reason.code == FOLLOWS:
        others = [_find_root(later[each], later, found) for each in action.depends_on if each in later]
        causes = {(each.until, each.reason.sentence): each for each in others if each}
        if len(causes) == 1:
            (found[action.id],) = causes.values()
    return found[action.id]


def later_of(sites: Iterable[SiteView]) -> tuple[Later, ...]:
    """What does not run now: held actions first, and what is released first among them."""
    found: dict[tuple[State, Cause], dict[tuple[object, ...], tuple[ActionView, str | None, list[str]]]]
    found = defaultdict(dict)
    for site in sites:
        for group in site.groups:
            for action in group.actions:
                if action.state in _STATES:
                    same = site.name, action.kind, action.title, action.identity
                    _, _, names = found[action.state, action.cause].setdefault(same, (action, site.name, []))
                    names += [member.name for member in group.members]
    ordered = sorted(found, key=lambda each: (_STATES.index(each[0]), str(each[1].until or "~"), each[1].because))
    return tuple(
        Later(state, cause, tuple(LaterAction(*row[:2], tuple(row[2])) for row in found[state, cause].values()))
        for state, cause in ordered
    )
