"""A plan as people look at it: by site, alike appliances together, each action with its facts, then what is served.

Renderers of every medium start from this view. It holds text as it was found, and they make it safe for their medium.
It decides what is shown together, never what is done.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from reconciler.base.references import format_duration
from reconciler.plan.model import (
    CreateRequest,
    CreateSelfSigned,
    Flag,
    Import,
    KeySource,
    Progress,
    Remove,
    RemoveRequest,
    SetDefault,
    State,
)
from reconciler.report import words
from reconciler.report.changes import Known
from reconciler.report.later import Cause, root_holds
from reconciler.report.noticed import nothing_noticed, noticed
from reconciler.report.verdict import verdict_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    from reconciler.base.findings import Finding
    from reconciler.desired.state import Material
    from reconciler.live.store import LiveStore
    from reconciler.pki.certificate import Certificate
    from reconciler.plan.matching import Classified
    from reconciler.plan.model import Action, AppliancePlan, ByHand, Candidate, Hold, Plan
    from reconciler.report.changes import Change
    from reconciler.report.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known of a certificate, under the label that the appliance's pages give it."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class ActionView:
    """One action.

    Attributes:
        kind: What it does, by the kinds of the plan.
        state: Whether it can run now.
        title: The certificate as people know it.
        identity: Its SHA-256 in brief, or `new`.
        role: `chain` for a certificate of a chain, else empty.
        facts: What is known of it, in the appliance's words.
        instead_of: The certificate in whose place it comes, with its SHA-256 in brief; empty where there is none.
        changes: How it differs from that one; empty without one, or where an action before it tells the same.
        why: Why it is planned.
        held_until: When its hold ends, where that is known.
        held_because: What holds it and what releases it, or empty.
        cause: The same, or what holds the actions that it waits for, where that is one and the same.
        source: `file:line` of what declares it, or empty.
    """

    kind: str
    state: State
    title: str
    identity: str
    role: str
    facts: tuple[Fact, ...]
    instead_of: str
    changes: tuple[Change, ...]
    why: str
    held_until: dt.datetime | None
    held_because: str
    cause: Cause
    source: str

    @property
    def telling(self) -> tuple[Fact, ...]:
        """The facts that its changes do not tell; none of what is only held and comes in no other's place."""
        if self.state is State.HELD and not self.changes:
            return ()
        told = {change.label for change in self.changes}
        return tuple(fact for fact in self.facts if fact.label not in told)


@dataclass(frozen=True, slots=True)
class Member:
    """An appliance, and the ones whose actions come before its own."""

    name: str
    follows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Appliances of a site to which the same happens.

    Attributes:
        members: The appliances, by name.
        progress: How far planning came with them.
        actions: What happens on each.
    """

    members: tuple[Member, ...]
    progress: Progress
    actions: tuple[ActionView, ...]


@dataclass(frozen=True, slots=True)
class CandidateView:
    """A certificate that may be served.

    Attributes:
        label: As people know it.
        identity: Its SHA-256 in brief, or `new`; empty where the label alone tells it from the others of its row.
        why_not: What is wrong with it for the name; empty where it is good.
    """

    label: str
    identity: str
    why_not: str


@dataclass(frozen=True, slots=True)
class ServedView:
    """What may be served for a name.

    Attributes:
        name: The protected name; None for a client that sends no server name.
        appliances: Where this is so; empty for every appliance of the site that could be planned.
        before: What may be served now.
        after: What may be served once every ready action has run.
        flags: What to look at.
    """

    name: str | None
    appliances: tuple[str, ...]
    before: tuple[CandidateView, ...]
    after: tuple[CandidateView, ...]
    flags: tuple[Flag, ...]

    @property
    def notes(self) -> tuple[tuple[Flag, str], ...]:
        """What to look at, in words; nothing that the only certificate says of itself already."""
        alone = len(self.after) == 1
        told = (flag for flag in self.flags if flag in words.FLAGS and not (alone and flag is Flag.NOT_ALL_GOOD))
        return tuple((flag, words.FLAGS[flag]) for flag in told)


@dataclass(frozen=True, slots=True)
class SiteView:
    """What happens on one site, or on the appliances outside any.

    Attributes:
        name: The site, or None.
        groups: Its appliances, alike ones together.
        noticed: What its clients will notice, in sentences without a final full stop; nothing where nothing changes.
        served: What may be served: every row of appliances that change, and every row with a flag.
        steady: How many rows are left out, since nothing about them changes or needs a look.
    """

    name: str | None
    groups: tuple[Group, ...]
    noticed: tuple[str, ...]
    served: tuple[ServedView, ...]
    steady: int


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan for people.

    Attributes:
        made_at: When it was made.
        as_of: The instant that it was planned for, if that is another; it cannot be applied then.
        revision: The git commit, or None for a work tree.
        digest: What was reviewed.
        verdict: Whether it is safe to merge.
        replaced: The appliances in whose place the operator settings put another store.
        sites: By name, appliances outside any site last.
        noticed: What clients will notice, or that they will notice nothing; without final full stops.
        findings: All findings, in the plan's order.
        by_hand: What is left to do by hand.
        summary: What it comes to, in one line.
    """

    made_at: dt.datetime
    as_of: dt.datetime | None
    revision: str | None
    digest: str
    verdict: Verdict
    replaced: tuple[str, ...]
    sites: tuple[SiteView, ...]
    noticed: tuple[str, ...]
    findings: tuple[Finding, ...]
    by_hand: tuple[ByHand, ...]
    summary: str


def plan_view(
    plan: Plan,
    stores: Mapping[str, LiveStore],
    material: Mapping[str, Material],
    classes: Mapping[str, Mapping[str, Classified]],
) -> PlanView:
    """Arrange a plan for people.

    Args:
        plan: The plan.
        stores: The observed stores by appliance, to describe what is removed or replaced.
        material: Committed certificates by name, to describe what is imported.
        classes: For each observed appliance, the class of each live certificate, to tell what is succeeded.
    """
    known, holds = Known(plan, stores, material, classes), root_holds(plan.actions)
    sites: dict[str | None, list[AppliancePlan]] = defaultdict(list)
    for appliance in plan.appliances:
        sites[appliance.site].append(appliance)
    ordered = sorted(sites.items(), key=lambda pair: (pair[0] is None, pair[0] or ""))
    views = tuple(_site(name, appliances, known, holds) for name, appliances in ordered)
    return PlanView(
        made_at=plan.made_at,
        as_of=plan.as_of,
        revision=plan.basis.revision,
        digest=plan.digest,
        verdict=verdict_of(plan, material),
        replaced=plan.basis.replaced,
        sites=views,
        noticed=noticed(plan.appliances, known) or (nothing_noticed(plan.appliances),),
        findings=plan.all_findings,
        by_hand=plan.by_hand,
        summary=words.summary(plan),
    )


def _site(name: str | None, appliances: Iterable[AppliancePlan], known: Known, holds: Mapping[str, Hold]) -> SiteView:
    appliances = tuple(appliances)
    acting = {each.name for each in appliances if any(action.state is State.READY for action in each.actions)}
    groups: dict[tuple[Progress, tuple[ActionView, ...]], list[Member]] = defaultdict(list)
    for appliance in appliances:
        actions = _told_once(_action(action, known, holds.get(action.id)) for action in appliance.actions)
        follows = tuple(each for each in appliance.follows if each in acting) if appliance.name in acting else ()
        groups[appliance.progress, actions].append(Member(appliance.name, follows))
    served, steady = _served(appliances)
    return SiteView(
        name,
        tuple(Group(tuple(members), progress, actions) for (progress, actions), members in groups.items()),
        noticed(appliances, known),
        served,
        steady,
    )


def _told_once(actions: Iterable[ActionView]) -> tuple[ActionView, ...]:
    """A default differs from the one before just as the import that brings it, mostly: then that is told there."""
    told: set[tuple[str, tuple[Change, ...]]] = set()
    views = []
    for action in actions:
        difference = action.instead_of, action.changes
        views.append(replace(action, changes=()) if difference in told else action)
        told.add(difference)
    return tuple(views)


def _served(appliances: tuple[AppliancePlan, ...]) -> tuple[tuple[ServedView, ...], int]:
    where: dict[tuple[str | None, tuple[CandidateView, ...], tuple[CandidateView, ...], tuple[Flag, ...]], list[str]]
    where = defaultdict(list)
    steady = 0
    for appliance in appliances:
        for row in appliance.serving:
            if appliance.actions or row.flags:
                alike = _ambiguous((*row.before, *row.after))
                key = row.name, _candidates(row.before, alike), _candidates(row.after, alike), row.flags
                where[key].append(appliance.name)
            else:
                steady += 1
    planned = [each.name for each in appliances if each.progress is Progress.PLANNED]
    rows = [
        ServedView(name, () if names == planned else tuple(names), before, after, flags)
        for (name, before, after, flags), names in where.items()
    ]
    return tuple(sorted(rows, key=lambda row: row.name is None)), steady


def _ambiguous(candidates: tuple[Candidate, ...]) -> frozenset[str]:
    """The labels that several certificates have."""
    named: dict[str, str] = {}
    return frozenset(
        each.label for each in candidates if named.setdefault(each.label, each.certificate) != each.certificate
    )


def _candidates(candidates: tuple[Candidate, ...], ambiguous: frozenset[str]) -> tuple[CandidateView, ...]:
    return tuple(
        CandidateView(
            each.label,
            words.short(each.certificate) if each.label in ambiguous else "",
            "" if each.good else each.why_not or "see the errors",
        )
        for each in candidates
    )


def _action(action: Action, known: Known, root: Hold | None) -> ActionView:
    identity, facts = _facts(action, known)
    succession = known.succession(action)
    return ActionView(
        kind=action.kind,
        state=action.state,
        title=action.label,
        identity=identity,
        role="chain" if isinstance(action, Import) and action.role == "chain" else "",
        facts=facts,
        instead_of=succession.instead_of,
        changes=succession.changes,
        why=action.reason.sentence,
        held_until=action.hold.until if action.hold else None,
        held_because=action.hold.reason.sentence if action.hold else "",
        cause=Cause(root.until, root.reason.sentence) if root else Cause(),
        source=action.source or "",
    )


def _facts(action: Action, known: Known) -> tuple[str, tuple[Fact, ...]]:
    """The identity of the certificate that an action is about, and what is worth knowing of it."""
    match action:
        case CreateSelfSigned():
            return words.NEW, (*_form(action), Fact("Lifetime", format_duration(action.valid_for)))
        case CreateRequest():
            return words.NEW, _form(action)
        case RemoveRequest():
            return words.short(action.fingerprint), (Fact("Private Key?", "Yes, it goes with it"),)
        case Import():
            facts = _described(known.certificate(action.appliance, action.fingerprint), action.label)
            friendly = (Fact("Friendly Name", action.friendly_name),) if action.friendly_name != action.label else ()
            return words.short(action.fingerprint), (*friendly, *facts, *_key(action))
        case SetDefault():
            first = () if action.replaces else (Fact("Instead of", "no default"),)
            return words.short(action.target), first
        case Remove():
            facts = _described(known.certificate(action.appliance, action.fingerprint), action.label)
            key = (Fact("Private Key?", "Yes, it goes with it"),) if action.has_key else ()
            return words.short(action.fingerprint), (*facts, *key)
        case _:
            assert_never(action)


def _form(action: CreateSelfSigned | CreateRequest) -> tuple[Fact, ...]:
    """The fields of the Create page, as they will be filled in."""
    reused = action.public_key if isinstance(action, CreateRequest) else None
    return (
        Fact("Friendly Name", action.friendly_name),
        Fact("Subject Name", ", ".join(f"{key}={value}" for key, value in action.subject)),
        Fact("Alternative Name(s)", ", ".join(action.subject_alternative_names)),
        Fact("Key", f"{action.key}, the one in use" if reused else action.key),
    )


def _key(action: Import) -> tuple[Fact, ...]:
    """Where the key of an imported certificate comes from, where that is not what is committed."""
    match action.key_source:
        case KeySource.PEER if action.loan:
            return (Fact("Private Key?", f"Yes, copied from {action.loan.appliance}"),)
        case KeySource.STORE if action.state is not State.WAITING:
            return (Fact("Private Key?", "Yes, it is in the store"),)
        case _:
            return ()


def _described(certificate: Certificate | None, label: str) -> tuple[Fact, ...]:
    """What is worth knowing of a certificate besides its label."""
    if certificate is None:
        return ()
    names = ", ".join(each.value for each in certificate.subject_alternative_names)
    facts = (
        Fact("Issued To", certificate.subject.display if certificate.subject.display != label else ""),
        Fact("Issued By", certificate.issuer.display),
        Fact("Expiration", words.utc(certificate.not_after)),
        Fact("Alternative Name(s)", names),
    )
    return tuple(fact for fact in facts if fact.value)
