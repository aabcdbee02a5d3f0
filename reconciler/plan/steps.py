"""Steps, and the order in which they are safe.

A step is an action and what it does to an imagined store. `run` derives the order: it takes the first step whose
dependencies have run and that harms no protected name, again and again, until none is left or none can go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from reconciler.live.store import Operation
from reconciler.plan.model import (
    Action,
    CreateRequest,
    CreateSelfSigned,
    Expectation,
    Import,
    Remove,
    RemoveRequest,
    SetDefault,
    State,
)
from reconciler.plan.safety import harms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.plan.goodness import Judge
    from reconciler.plan.safety import Harm, ProtectedNames
    from reconciler.plan.world import Entry, World

_OPERATIONS = {
    "create_self_signed": Operation.CREATE_SELF_SIGNED,
    "create_request": Operation.CREATE_REQUEST,
    "import": Operation.IMPORT,
    "set_default": Operation.SET_DEFAULT,
    "remove": Operation.REMOVE,
    "remove_request": Operation.REMOVE_REQUEST,
}


@dataclass(frozen=True, slots=True)
class Blocked:
    """A step that cannot go.

    Attributes:
        action: The action.
        harms: What it would do to protected names; empty where something else blocks it.
        waits_for: Ids of the actions that it depends on and that cannot go either.
    """

    action: Action
    harms: tuple[Harm, ...] = ()
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class Course:
    """How far a list of steps gets.

    Attributes:
        world: The store after the ready actions.
        ready: Actions in the order in which they are safe.
        blocked: What cannot go, in the order given.
        elsewhere: Ids of the actions of other appliances that are ready.
    """

    world: World
    ready: tuple[Action, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    elsewhere: frozenset[str] = frozenset()


def change(world: World, action: Action, arrivals: Mapping[str, Entry]) -> World:
    """What an action does to a store.

    Args:
        world: The store before.
        action: The action.
        arrivals: What is imported or created, by ref.
    """
    match action:
        case CreateSelfSigned():
            return world.with_entry(arrivals[action.new])
        case Import():
            return world.with_entry(arrivals[action.fingerprint])
        case SetDefault():
            return world.with_default(action.target)
        case Remove():
            return world.without(action.fingerprint)
        case CreateRequest() | RemoveRequest():
            return world
        case _:
            assert_never(action)


def run(
    actions: Iterable[Action],
    course: Course,
    arrivals: Mapping[str, Entry],
    judge: Judge,
    protected: ProtectedNames,
    offers: frozenset[Operation],
) -> Course:
    """Continue a course with further actions, in the first order that is safe at every step."""
    world, ready, waiting = course.world, list(course.ready), list(actions)
    done = course.elsewhere | {action.id for action in ready}
    refused: dict[str, Blocked] = {}
    progress = True
    while progress:
        progress = False
        for action in waiting:
            blocked = _why_blocked(action, world, done, arrivals, judge, protected, offers)
            if blocked:
                refused[action.id] = blocked
                continue
            ready.append(_expecting(action, world))
            world = change(world, action, arrivals)
            done |= {action.id}
            waiting.remove(action)
            progress = True
            break
    still = (refused[action.id] for action in waiting)
    return Course(world, tuple(ready), (*course.blocked, *still), course.elsewhere)


def _why_blocked(
    action: Action,
    world: World,
    done: frozenset[str],
    arrivals: Mapping[str, Entry],
    judge: Judge,
    protected: ProtectedNames,
    offers: frozenset[Operation],
) -> Blocked | None:
    missing = tuple(each for each in action.depends_on if each not in done)
    if missing:
        return Blocked(action, waits_for=missing)
    if isinstance(action, Remove) and action.fingerprint == world.default:
        return Blocked(action)
    harm = harms(judge, world, change(world, action, arrivals), protected)
    if harm:
        return Blocked(action, harms=harm)
    # Only what is safe is left to a person: done by hand, a harmful step would harm all the same.
    if action.state is State.BY_HAND or _OPERATIONS[action.kind] not in offers:
        return Blocked(action.model_copy(update={"state": State.BY_HAND}))
    return None


def _expecting(action: Action, world: World) -> Action:
    """The action with what it will meet where that matters: the default, lest others change it, or who has its key."""
    if isinstance(action, SetDefault):
        expects = Expectation(present=action.expects.present, default=world.default)
        return action.model_copy(update={"expects": expects, "replaces": world.default})
    if isinstance(action, Remove):
        return action.model_copy(update={"expects": action.expects.model_copy(update={"default": world.default})})
    if isinstance(action, CreateRequest) and action.public_key:
        # What held the key before may have left by then, and its successor holds it.
        return action.model_copy(update={"expects": Expectation(present=world.with_key(action.public_key)[:1])})
    return action
