"""One appliance's part of the plan: what comes in, what leaves, what is held, what is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, found, sort_key
from reconciler.plan.additions import additions
from reconciler.plan.holds import hold
from reconciler.plan.matching import CertificateClass, Classified
from reconciler.plan.model import AppliancePlan, ByHand
from reconciler.plan.removals import removals
from reconciler.plan.rules import NEWER_THAN_DECLARED, RETIRED_ABSENT, UNDECLARED, UNFINISHED
from reconciler.plan.serving import serving
from reconciler.plan.steps import Course, run

if TYPE_CHECKING:
    from reconciler.plan.scene import Scene


def plan_appliance(scene: Scene, follows: tuple[str, ...]) -> tuple[AppliancePlan, tuple[ByHand, ...]]:
    """Plan one appliance.

    Args:
        scene: The appliance.
        follows: Appliances whose actions come first.

    Returns:
        Its part of the plan, and what is left to do by hand.
    """
    adds = additions(scene)
    course = run(adds.actions, Course(scene.world), adds.arrivals, scene.judge, scene.protected, scene.store.offers)
    leaving = removals(scene, adds, course)
    course = leaving.course
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
    return plan, held.by_hand


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
