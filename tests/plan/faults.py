"""Ways in which a planner could be wrong, each of which can be seeded into the real one for a while.

    with FAULTS["ignores expiration"]():
        plan = ...

Only functions of `reconciler.plan` are replaced: what checks a plan when it runs is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from reconciler.plan import additions, appliance, goodness, matching, planner, removals, steps, supply
from reconciler.plan.goodness import Judge
from reconciler.plan.model import (
    Action,
    AppliancePlan,
    Expectation,
    Import,
    KeySource,
    Reason,
    Remove,
    RemoveRequest,
    SetDefault,
    State,
)
from reconciler.plan.requests import RequestClass, Standing
from reconciler.plan.safety import ProtectedNames
from reconciler.plan.scene import Scene
from reconciler.plan.world import World

if TYPE_CHECKING:
    from reconciler.plan.steps import Blocked
    from reconciler.plan.world import Entry

Seed: TypeAlias = Callable[[], AbstractContextManager[None]]
_Original: TypeAlias = Callable[..., Any]
_Replace: TypeAlias = Callable[[Any], Any]


def _seed(*places: tuple[object, str, _Replace]) -> Seed:
    """Replace functions, each by what is made of the original."""

    @contextmanager
    def seeded() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for owner, name, replacement in places:
                patch.setattr(owner, name, replacement(getattr(owner, name)))
            yield

    return seeded


def _always(result: object) -> _Replace:
    return lambda _: lambda *_, **__: result


def _forgives(*codes: str) -> Seed:
    """A judge to whom something that is wrong with a certificate is all right."""

    def replacement(original: _Original) -> _Original:
        def why_not_good(judge: Judge, entry: Entry, *more: object) -> Reason | None:
            why: Reason | None = original(judge, entry, *more)
            return None if why and why.code in codes else why

        return why_not_good

    return _seed((Judge, "why_not_good", replacement), (Judge, "why_unsound", replacement))


def _rewrites(rewrite: Callable[[Scene, AppliancePlan], AppliancePlan]) -> Seed:
    """A planner that spoils the finished part of an appliance."""

    def replacement(original: _Original) -> _Original:
        def plan_appliance(scene: Scene) -> tuple[AppliancePlan, Any]:
            part, hands = original(scene)
            return rewrite(scene, part), hands

        return plan_appliance

    return _seed((planner, "plan_appliance", replacement))


def _with_actions(part: AppliancePlan, actions: list[Action]) -> AppliancePlan:
    return part.model_copy(update={"actions": tuple(actions)})


def _careless(action: Action) -> Action:
    """An action that waits for nothing and expects nothing."""
    return action.model_copy(update={"depends_on": (), "expects": Expectation()})


def _first(*kinds: type[Action]) -> Callable[[Scene, AppliancePlan], AppliancePlan]:
    def rewrite(_: Scene, part: AppliancePlan) -> AppliancePlan:
        ready = [_careless(each) for each in part.actions if each.state is State.READY]
        rest = [each for each in part.actions if each.state is not State.READY]
        ready.sort(key=lambda each: not isinstance(each, kinds))
        return _with_actions(part, ready + rest)

    return rewrite


def _leaves_before_chain(_: Scene, part: AppliancePlan) -> AppliancePlan:
    actions = [_careless(each) for each in part.actions]
    actions.sort(key=lambda each: isinstance(each, Import) and each.role == "chain")
    return _with_actions(part, actions)


def _nothing_held(_: Scene, part: AppliancePlan) -> AppliancePlan:
    released = {"state": State.READY, "hold": None, "depends_on": ()}
    held = {State.HELD, State.BY_HAND}
    return _with_actions(part, [e.model_copy(update=released) if e.state in held else e for e in part.actions])


def _another_default(scene: Scene, part: AppliancePlan) -> AppliancePlan:
    """Whatever else has a key, the oldest first."""

    def wrong(action: Action) -> Action:
        if not isinstance(action, SetDefault):
            return action
        others = [each for each in scene.world.entries.values() if each.has_key and each.ref != scene.world.default]
        if not others:
            return action
        target = min(others, key=lambda each: each.not_before).ref
        return action.model_copy(update={"target": target, "expects": Expectation(present=(target,))})

    return _with_actions(part, list(map(wrong, part.actions)))


def _without_key(_: Scene, part: AppliancePlan) -> AppliancePlan:
    keyless = {"key_source": KeySource.NONE, "loan": None}
    return _with_actions(part, [e.model_copy(update=keyless) if isinstance(e, Import) else e for e in part.actions])


def _without_dependencies(_: Scene, part: AppliancePlan) -> AppliancePlan:
    ready = [each.model_copy(update={"depends_on": ()}) for each in part.actions]
    ready.sort(key=lambda each: isinstance(each, Import) and each.role == "leaf" and not each.loan)
    return _with_actions(part, ready)


def _repeats_the_first(_: Scene, part: AppliancePlan) -> AppliancePlan:
    ready = [each for each in part.actions if each.state is State.READY]
    again = [each.model_copy(update={"id": f"{each.id}-again"}) for each in ready[:1]]
    return _with_actions(part, [*part.actions[: len(ready)], *again, *part.actions[len(ready) :]])


def _default_may_go(original: _Original) -> _Original:
    def why_blocked(action: Action, world: World, *more: object) -> Blocked | None:
        blocked: Blocked | None = original(action, world, *more)
        if isinstance(action, Remove) and action.fingerprint == world.default and blocked and not blocked.waits_for:
            return None
        return blocked

    return why_blocked


def _newest_only(original: _Original) -> _Original:
    def candidates(world: World, name: str | None) -> tuple[Entry, ...]:
        found: tuple[Entry, ...] = original(world, name)
        return tuple(sorted(found, key=lambda each: each.not_before)[-1:])

    return candidates


def _oldest_only(original: _Original) -> _Original:
    def candidates(world: World, name: str | None) -> tuple[Entry, ...]:
        found: tuple[Entry, ...] = original(world, name)
        return tuple(sorted(found, key=lambda each: each.not_before)[:1])

    return candidates


def _without_the_default(original: _Original) -> _Original:
    """Does not know that the default is served where nothing matches."""

    def candidates(world: World, name: str | None) -> tuple[Entry, ...]:
        found: tuple[Entry, ...] = original(world, name)
        return found if name is None else tuple(each for each in found if each.ref != world.default)

    return candidates


def _newest_build_only(original: _Original) -> _Original:
    def init(judge: Judge, clients: Any, now: Any, chains: Any, builds: Any = None) -> None:  # noqa: ANN401
        original(judge, clients, now, chains, clients.builds[-1:] if builds is None else builds)

    return init


def _any_row(original: _Original) -> _Original:
    def with_key(store: Any, public_key: str) -> Any:  # noqa: ANN401
        rows = (row for row in store.certificates if row.certificate.public_key == public_key and not row.has_key)
        return next(rows, None) or original(store, public_key)

    return with_key


def _present_is_keyed(_: _Original) -> _Original:
    return lambda world, ref: ref is not None and ref in world.entries


def _by_common_name(original: _Original) -> _Original:
    """Holds an older opinion of what covers a name."""

    def why_not_good(judge: Judge, entry: Entry, name: str, world: World) -> Reason | None:
        if entry.common_name == name:
            return judge.why_unsound(entry, world)
        why: Reason | None = original(judge, entry, name, world)
        return why

    return why_not_good


def _only_names(chosen: Callable[[ProtectedNames], tuple[tuple[str | None, str], ...]]) -> Seed:
    return _seed((ProtectedNames, "asked", lambda _: property(chosen)))


def _removes_everything(original: _Original) -> _Original:
    def why(sweep: Any, entry: Entry) -> Any:  # noqa: ANN401
        return original(sweep, entry) or (Reason(code="undeclared", sentence="nothing declares it"), None)

    return why


_SWEEP = removals._Sweep  # noqa: SLF001 - what is spoilt lies inside
_OUT_OF_TURN = (steps, "harms", _always(()))

FAULTS: Mapping[str, Seed] = {
    "derives no order": _seed(_OUT_OF_TURN),
    "removes before it imports": _rewrites(_first(Remove)),
    "changes the default before it imports": _rewrites(_first(SetDefault)),
    "imports a leaf before its chain": _rewrites(_leaves_before_chain),
    "removes the default": _seed((steps, "_why_blocked", _default_may_go)),
    "makes another certificate the default": _rewrites(_another_default),
    "skips every hold": _rewrites(_nothing_held),
    "ignores expiration": _forgives("expired"),
    "ignores the start of validity": _forgives("not-yet-valid"),
    "ignores the validity of the chain": _forgives("chain-expired"),
    "ignores the chain": _forgives("chain-incomplete"),
    "forgets to import the chain": _seed(
        (additions, "_add_chain", _always(())),
        (Judge, "why_not_good", lambda _: lambda *_: None),
    ),
    "trusts what clients do not": _forgives("untrusted-by-clients"),
    "knows the newest build only": _seed((Judge, "__init__", _newest_build_only)),
    "does not ask each build by itself": _seed((Judge, "by_build", lambda _: property(lambda judge: (judge,)))),
    "believes that the newest is served": _seed((World, "candidates", _newest_only)),
    "believes that the oldest is served": _seed((World, "candidates", _oldest_only)),
    "forgets that the default is served": _seed((World, "candidates", _without_the_default)),
    "counts the common name as covered": _seed((Judge, "why_not_good", _by_common_name)),
    "counts every name as covered": _seed((goodness, "covers", _always(True))),  # noqa: FBT003
    "forgets clients without a server name": _only_names(lambda names: tuple((each, each) for each in names.names)),
    "protects the site's name only": _only_names(
        lambda names: ((names.hostname, names.hostname), (None, names.hostname))
    ),
    "protects nothing": _only_names(lambda _: ()),
    "imports without the key": _rewrites(_without_key),
    "takes what is there for what has a key": _seed((World, "holds_key_of", _present_is_keyed)),
    "copies from a member without the key": _seed((supply, "_with_key", _any_row)),
    "forgets what an action depends on": _rewrites(_without_dependencies),
    "removes whatever it likes": _seed((_SWEEP, "_why", _removes_everything)),
    "removes whatever it likes, unchecked": _seed(
        (_SWEEP, "_why", _removes_everything),
        _OUT_OF_TURN,
    ),
    "removes an issuer that is needed": _seed(
        (_SWEEP, "_is_needed", _always(False)),  # noqa: FBT003
        (_SWEEP, "_why", _removes_everything),
        (_SWEEP, "_may_leave", lambda _: lambda sweep, entry: entry.ref not in sweep.current),
        _OUT_OF_TURN,
    ),
    "changes roots member by member": _seed((Scene, "peers_first", _always(()))),
    "renews without end": _seed((matching, "why_due", _always(Reason(code="due", sentence="it is due")))),
    "asks again though it has asked": _seed((supply, "_pending", _always(()))),
    "withdraws a request that is awaited": _seed(
        (
            planner,
            "standings",
            lambda _: lambda requests, *_: {e.fingerprint: Standing(RequestClass.UNDECLARED) for e in requests},
        )
    ),
    "leaves out the default": _seed((additions, "_add_default", _always(None))),
    "leaves out removals": _rewrites(
        lambda _, part: _with_actions(part, [e for e in part.actions if not isinstance(e, Remove | RemoveRequest)])
    ),
    "does everything twice": _rewrites(_repeats_the_first),
    "takes no second look": _seed((appliance, "run", lambda _: lambda _, course, *__: course)),
}
"""By what the planner does."""
