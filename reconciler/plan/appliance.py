"""One appliance's part of the plan: what comes in, what leaves, what is held, what is served."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.base.findings import sort_key
from reconciler.plan.additions import additions
from reconciler.plan.asking import answer
from reconciler.plan.by_hand import left_to_do
from reconciler.plan.findings import live_findings, served_findings
from reconciler.plan.holds import hold
from reconciler.plan.model import AppliancePlan, ByHand, CreateRequest, Remove, RemoveRequest
from reconciler.plan.removals import keyed_removals, removals
from reconciler.plan.serving import serving
from reconciler.plan.steps import Course, run
from reconciler.plan.supply import Awaited

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.plan.additions import Additions
    from reconciler.plan.model import Action
    from reconciler.plan.removals import Removals
    from reconciler.plan.scene import Scene
    from reconciler.plan.steps import Blocked


def plan_appliance(scene: Scene) -> tuple[AppliancePlan, tuple[ByHand, ...]]:
    """Plan one appliance.

    Returns:
        Its part of the plan, and what is left to do by hand.
    """
    settled = _settle(scene, 0)
    removed = keyed_removals(scene, settled.course)
    if removed > scene.removals_at_most:
        settled = _settle(scene, removed)
    course, adds, leaving = settled.course, settled.additions, settled.leaving
    scene, awaited = _wait_instead(scene, course.blocked)
    blocked = tuple(each for each in course.blocked if each.action.certificate not in awaited or not _asks(each.action))
    held = hold(scene, blocked, course.world, adds.arrivals)
    site = scene.state.site_of(scene.name)
    findings = (
        *adds.findings,
        *leaving.findings,
        *held.findings,
        *live_findings(scene),
        *served_findings(scene, course.world),
    )
    plan = AppliancePlan(
        name=scene.name,
        site=site.name if site else None,
        actions=(*course.ready, *held.actions, *leaving.later, *adds.waiting, *awaited.values()),
        serving=serving(scene.judge, scene.world, course.world, scene.protected),
        findings=tuple(sorted(findings, key=sort_key)),
    )
    return plan, (*held.by_hand, *left_to_do(scene, course.ready))


def _wait_instead(scene: Scene, blocked: Iterable[Blocked]) -> tuple[Scene, Mapping[str, Action]]:
    """Wait for the answer to a request that nothing uses up after all, in place of the one that would have followed.

    Returns:
        The scene with that said in it, and the imports that wait, by certificate.
    """
    supplies = dict(scene.supplies)
    awaited: dict[str, Action] = {}
    for each in blocked:
        supply = supplies.get(each.action.certificate or "")
        if _asks(each.action) and each.waits_for and supply and supply.making and supply.making.unless:
            waits = Awaited(scene.name, supply.making.unless, supply.making.why)
            supplies[supply.target.name] = replace(supply, making=None, awaited=waits)
            awaited[supply.target.name] = answer(scene, supply.target, waits)
    tells = tuple(supplies.get(each.target.name, each) for each in scene.tells)
    return replace(scene, supplies=supplies, tells=tells), awaited


def _asks(action: Action) -> bool:
    return isinstance(action, CreateRequest)


@dataclass(frozen=True)
class _Settled:
    """How far an appliance gets."""

    course: Course
    additions: Additions
    leaving: Removals


def _settle(scene: Scene, exceeding: int) -> _Settled:
    """Add, then remove; and where what has left lets more come in, once more, until nothing moves; then ask.

    An import uses up every request with its key, so a CA is asked when all that can be imported is there.
    """
    adds = additions(scene)
    asking = [each for each in adds.actions if _asks(each)]

    def proceed(actions: Iterable[Action], course: Course) -> Course:
        return run(actions, course, adds.arrivals, scene.judge, scene.protected, scene.store.offers)

    first = [each for each in adds.actions if each not in asking]
    course = proceed(first, Course(scene.world, elsewhere=scene.elsewhere))
    while True:
        leaving = removals(scene, adds, course, exceeding)
        settled = leaving.course
        waiting = [each.action for each in settled.blocked if not isinstance(each.action, Remove | RemoveRequest)]
        course = proceed(waiting, Course(settled.world, settled.ready, elsewhere=scene.elsewhere))
        if len(course.ready) == len(settled.ready):
            return _Settled(proceed(asking, settled), adds, leaving)
