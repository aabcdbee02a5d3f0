"""One appliance's part of the plan: what comes in, what leaves, what is held, what is served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, found, sort_key
from reconciler.plan.additions import additions
from reconciler.plan.holds import hold
from reconciler.plan.matching import CertificateClass, Classified
from reconciler.plan.model import AppliancePlan, ByHand, CreateSelfSigned, Remove
from reconciler.plan.removals import keyed_removals, removals
from reconciler.plan.rules import NEWER_THAN_DECLARED, RETIRED_ABSENT, UNDECLARED, UNFINISHED
from reconciler.plan.serving import serving
from reconciler.plan.steps import Course, run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.plan.additions import Additions
    from reconciler.plan.model import Action
    from reconciler.plan.removals import Removals
    from reconciler.plan.scene import Scene


def plan_appliance(scene: Scene, follows: tuple[str, ...]) -> tuple[AppliancePlan, tuple[ByHand, ...]]:
    """Plan one appliance.

    Args:
        scene: The appliance.
        follows: Appliances whose actions come first.

    Returns:
        Its part of the plan, and what is left to do by hand.
    """
    settled = _settle(scene, 0)
    removed = keyed_removals(scene, settled.course)
    if removed > scene.removals_at_most:
        settled = _settle(scene, removed)
    course, adds, leaving = settled.course, settled.additions, settled.leaving
    held = hold(scene, course.blocked, course.world, adds.arrivals)
    site = scene.state.site_of(scene.name)
    findings = (*adds.findings, *leaving.findings, *held.findings, *_live_findings(scene))
    plan = AppliancePlan(
        name=scene.name,
        site=site.name if site else None,
        follows=follows,
        actions=(*course.ready, *held.actions, *leaving.later),
        serving=serving(scene.judge, scene.world, course.world, scene.protected),
        findings=tuple(sorted(findings, key=sort_key)),
    )
    return plan, (*held.by_hand, *_to_trust(scene, course.ready))


def _to_trust(scene: Scene, ready: Iterable[Action]) -> list[ByHand]:
    """What an interface may present as soon as it is made there, and nobody has committed."""
    if not scene.store.presents_itself:
        return []
    where = f"`trust: {{sha256: [...]}}` of {scene.name}"
    how = f"keep known-appliances beside the operator settings, or commit the fingerprint that apply tells to {where}"
    return [
        ByHand(code="trust-new", what=f"Let {action.label} be trusted once it is made: {how}.", where=scene.name)
        for action in ready
        if isinstance(action, CreateSelfSigned)
    ]


@dataclass(frozen=True)
class _Settled:
    """How far an appliance gets."""

    course: Course
    additions: Additions
    leaving: Removals


def _settle(scene: Scene, exceeding: int) -> _Settled:
    """Add, then remove; and where what has left lets more come in, once more, until nothing moves."""
    adds = additions(scene)

    def proceed(actions: Iterable[Action], course: Course) -> Course:
        return run(actions, course, adds.arrivals, scene.judge, scene.protected, scene.store.offers)

    course = proceed(adds.actions, Course(scene.world))
    while True:
        leaving = removals(scene, adds, course, exceeding)
        settled = leaving.course
        waiting = [each.action for each in settled.blocked if not isinstance(each.action, Remove)]
        course = proceed(waiting, Course(settled.world, settled.ready))
        if len(course.ready) == len(settled.ready):
            return _Settled(settled, adds, leaving)


def _live_findings(scene: Scene) -> list[Finding]:
    findings = [finding for each in scene.classes.values() for finding in _undeclared(scene, each)]
    findings += [
        found(
            RETIRED_ABSENT,
            f"{fingerprint[:16]} is retired and not in the store",
            "take the line out",
            position=scene.declared.position("retired", index),
            about=scene.declared.about,
            appliance=scene.name,
        )
        for fingerprint, index in scene.retired.items()
        if fingerprint not in scene.world.entries
    ]
    if scene.store.unfinished:
        findings.append(
            found(
                UNFINISHED,
                scene.store.unfinished,
                "apply finishes it, even where nothing else is to be done",
                position=scene.declared.position("store"),
                about=scene.declared.about,
                appliance=scene.name,
            )
        )
    return findings


def _undeclared(scene: Scene, each: Classified) -> list[Finding]:
    if each.kind is not CertificateClass.UNDECLARED:
        return []
    fingerprint = each.live.fingerprint
    label = scene.world.entries[fingerprint].label
    retire = f"retire it with `- {{sha256: {fingerprint}, reason: ...}}` beneath `retired`"
    if each.newer:
        rule, problem = NEWER_THAN_DECLARED, f"{label} is newer than the declared {each.certificate}"
        remedy = f"commit it as {each.certificate}, or {retire}"
    elif each.certificate:
        return []  # it is declared, and about to get its key
    elif not scene.keeps_undeclared:
        return []  # the plan removes it, and says so
    else:
        rule, problem = UNDECLARED, f"nothing declares {label}"
        remedy = f"declare it, or {retire}"
    return [
        found(
            rule,
            f"{problem} ({fingerprint[:16]})",
            remedy,
            position=scene.declared.position(),
            about=scene.declared.about,
            appliance=scene.name,
        )
    ]
