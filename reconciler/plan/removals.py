"""What may leave a store: retired, previous and undeclared certificates, and never what something still needs.

Certificates that issue nothing go first. Authorities are looked at afterwards, from the leaves up, when it is known
what stays: an issuer of anything that is still there stays, whoever brought it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, found
from reconciler.base.references import format_duration
from reconciler.base.text import instant
from reconciler.pki.chain import may_have_issued
from reconciler.plan.asking import withdrawal
from reconciler.plan.matching import CertificateClass
from reconciler.plan.model import (
    Action,
    CreateSelfSigned,
    Expectation,
    Hold,
    Import,
    Reason,
    Remove,
    RemoveRequest,
    SetDefault,
    State,
)
from reconciler.plan.requests import RequestClass
from reconciler.plan.rules import REMOVAL_CEILING, RETIRED_NEEDED
from reconciler.plan.scene import Scene, reason, source
from reconciler.plan.steps import Course, run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from reconciler.plan.additions import Additions
    from reconciler.plan.matching import Target
    from reconciler.plan.world import Entry

BEFORE_EXPIRATION = dt.timedelta(hours=24)
"""A previous certificate leaves at the latest this long before it expires."""


@dataclass(frozen=True)
class Removals:
    """What leaves.

    Attributes:
        course: The course with the ready removals appended.
        later: Removals that are held until an instant.
        findings: What keeps a certificate from leaving.
    """

    course: Course
    later: tuple[Action, ...]
    findings: tuple[Finding, ...]


def removals(scene: Scene, additions: Additions, course: Course, exceeding: int) -> Removals:
    """Continue a course of additions with what may leave after it.

    Args:
        scene: The appliance.
        additions: What comes in.
        course: How far that gets.
        exceeding: How many certificates with a key would go, where that is more than the ceiling allows; else 0. Then
            none of them goes: a part of what looks like a mistake is a mistake too.
    """
    sweep = _Sweep(scene, additions, course, exceeding)
    return Removals(sweep.course, tuple(sweep.later), tuple(sweep.findings))


def keyed_removals(scene: Scene, course: Course) -> int:
    """How many certificates with a key, and pending requests, a course removes, apart from what ends anyway."""
    return sum(
        isinstance(each, RemoveRequest)
        or (
            isinstance(each, Remove)
            and each.has_key
            and not _ends_anyway(scene, scene.world.entries[each.fingerprint], each.reason)
        )
        for each in course.ready
    )


def _ends_anyway(scene: Scene, entry: Entry, why: Reason) -> bool:
    """Whether a certificate with a successor is about to expire: kept, it would be a bad one beside a good one."""
    return why.code == "previous" and entry.not_after - BEFORE_EXPIRATION <= scene.judge.now


class _Sweep:
    """One pass over what the store would hold after the additions."""

    def __init__(self, scene: Scene, additions: Additions, course: Course, exceeding: int) -> None:
        self.scene = scene
        self.additions = additions
        self.course = course
        self.exceeding = exceeding
        self.later: list[Action] = []
        self.findings: list[Finding] = []
        self.current: set[str | None] = {ref for ref in additions.refs.values() if course.world.holds_key_of(ref)}
        replaced = {target.name for target in scene.targets if additions.refs.get(target.name) in self.current}
        self.declared = self.current | {each.instance for each in scene.targets if each.name not in replaced}
        self._leaves()
        self._authorities()
        self._requests()
        if exceeding:
            self.findings.append(self._ceiling())

    def _leaves(self) -> None:
        leaves = [
            each for each in self.course.world.entries.values() if not each.is_authority and self._may_leave(each)
        ]
        self._remove(leaves)

    def _requests(self) -> None:
        """Withdraw requests that are retired, or that nothing declares where only what is declared is held."""
        due, ready = [], {each.id for each in self.course.ready}
        used_up = {each.public_key for each in self.course.ready if isinstance(each, Import)}
        for request in self.scene.store.requests:
            if request.public_key in used_up:
                continue
            standing = self.scene.standings[request.fingerprint]
            retired = standing.kind is RequestClass.RETIRED
            if not retired and (standing.kind is not RequestClass.UNDECLARED or self.scene.keeps_undeclared):
                continue
            action = withdrawal(self.scene, request, retired=retired)
            if action.id in ready:
                continue
            if request.public_key in self._wanted_keys():
                problem = "is retired, and its key is that of a committed certificate"
                self.findings.append(self._needed(request.fingerprint, action.label, problem))
                continue
            if self.exceeding:
                self.later.append(_held(action, "removal-ceiling", self._excess, None))
            else:
                due.append(action)
        scene = self.scene
        self.course = run(due, self.course, {}, scene.judge, scene.protected, scene.store.offers)

    def _authorities(self) -> None:
        loose = [each for each in self.course.world.entries.values() if each.is_authority and self._may_leave(each)]
        while free := [each for each in loose if not self._is_needed(each)]:
            self._remove(free)
            loose = [each for each in loose if each not in free]
        self._report_needed(loose)

    def _is_needed(self, entry: Entry) -> bool:
        """Whether a declared chain holds it, or anything that is still there may have been issued by it."""
        world = self.course.world
        chain = {certificate for target in self.scene.targets for certificate in target.material.chain}
        others = (each.certificate for each in world.entries.values() if each.certificate and each.ref != entry.ref)
        return entry.certificate in chain or any(
            entry.certificate is not None and may_have_issued(entry.certificate, other) for other in others
        )

    def _report_needed(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.ref in self.scene.retired:
                problem = "is retired, and something that is kept needs it as its issuer"
                self.findings.append(self._needed(entry.ref, entry.label, problem))

    def _needed(self, fingerprint: str, label: str, problem: str) -> Finding:
        scene = self.scene
        return found(
            RETIRED_NEEDED,
            f"{label} {problem}",
            "replace what needs it first, then retire it",
            position=scene.declared.position("retired", scene.retired[fingerprint]),
            about=scene.declared.about,
            appliance=scene.name,
        )

    def _may_leave(self, entry: Entry) -> bool:
        known = self.scene.classes.get(entry.ref)
        if known is None or entry.ref in self.current:
            return False
        if known.kind in {CertificateClass.FACTORY, CertificateClass.APPLIANCE_MANAGED}:
            return False
        if self._why(entry) is None:
            return False
        if not self._holds_a_wanted_key(entry):
            return True
        if entry.ref in self.scene.retired:
            problem = "is retired, and its key is that of a committed certificate"
            self.findings.append(self._needed(entry.ref, entry.label, problem))
        return False

    def _holds_a_wanted_key(self, entry: Entry) -> bool:
        """Whether it has the key of what is committed and not here yet: the key would go with it."""
        if not entry.has_key or entry.certificate is None:
            return False
        return entry.certificate.public_key in self._wanted_keys()

    def _wanted_keys(self) -> frozenset[str]:
        """The keys of what is to come; one that was brought along and is retired here does not come any more."""
        missing = (each for each in self.scene.targets if self.additions.refs.get(each.name) not in self.current)
        return frozenset(
            target.material.leaf.public_key
            for target in missing
            if target.material.leaf
            and (target.is_requested or target.material.leaf.fingerprint not in self.scene.retired)
        )

    def _why(self, entry: Entry) -> tuple[Reason, dt.datetime | None] | None:
        """Why a certificate leaves and from which instant on, or None if it stays."""
        scene = self.scene
        if entry.ref in scene.retired:
            why = scene.declared.model.retired[scene.retired[entry.ref]].reason
            return reason("retired", f"it is retired: {why}"), None
        if entry.ref in self.declared:
            return None
        sharing = [target for target in scene.targets if target.shares_a_name_with(entry)]
        starts = {target.name: self._start(target) for target in sharing}
        older = [name for name, start in starts.items() if start is None or entry.not_before < start]
        if entry.has_key and older:
            return self._why_previous(entry, sharing)
        if scene.keeps_undeclared or any(start and entry.not_before > start for start in starts.values()):
            return None
        return reason("undeclared", "nothing declares it, and this appliance holds only what is declared"), None

    def _start(self, target: Target) -> dt.datetime | None:
        """When the certificate that counts as a declared one after the additions starts, or None if there is none."""
        ref = self.additions.refs.get(target.name)
        entry = (self.course.world.entries.get(ref) or self.additions.arrivals.get(ref)) if ref else None
        return entry.not_before if entry else target.not_before

    def _why_previous(self, entry: Entry, sharing: list[Target]) -> tuple[Reason, dt.datetime] | None:
        """A previous certificate leaves once every declared one that shares its names is there and has been good."""
        world, judge = self.course.world, self.scene.judge
        successors = [world.entries.get(self.additions.refs.get(target.name, "")) for target in sharing]
        starts = []
        for successor in successors:
            if successor is None or successor.ref not in self.current or judge.why_unsound(successor, world):
                return None
            starts.append(successor.not_before)
        kept_until = max(starts) + self.scene.state.policy.keep_previous
        until = min(kept_until, entry.not_after - BEFORE_EXPIRATION)
        names = ", ".join(target.name for target in sharing)
        keep = self.scene.state.policy.keep_previous
        over = f", and keep_previous ({format_duration(keep)}) ended on {instant(kept_until)}"
        ended = over if kept_until <= judge.now else ""
        return reason("previous", f"{names} has taken its place{ended}"), until

    def _remove(self, entries: Iterable[Entry]) -> None:
        """Remove what is due; hold what is not, and everything with a key where the ceiling is exceeded."""
        due = []
        for entry in sorted(entries, key=lambda each: (each.not_before, each.ref)):
            why = self._why(entry)
            if why is None:
                continue
            action = self._action(entry, why[0])
            if why[1] and why[1] > self.scene.judge.now:
                self.later.append(_held(action, "keep-previous", "it stays beside its successor", why[1]))
            elif entry.has_key and self.exceeding and not _ends_anyway(self.scene, entry, why[0]):
                self.later.append(_held(action, "removal-ceiling", self._excess, None))
            else:
                due.append(action)
        scene, arrivals = self.scene, self.additions.arrivals
        self.course = run(due, self.course, arrivals, scene.judge, scene.protected, scene.store.offers)

    @property
    def _excess(self) -> str:
        most = self.scene.removals_at_most
        return f"{self.exceeding} certificates with a key would go at once, and the policy allows {most}"

    def _ceiling(self) -> Finding:
        return found(
            REMOVAL_CEILING,
            self._excess,
            f"look at each of them; if all may go, allow it with --allow-removals {self.exceeding}",
            position=self.scene.declared.position(),
            about=self.scene.declared.about,
            appliance=self.scene.name,
        )

    def _action(self, entry: Entry, why: Reason) -> Remove:
        scene = self.scene
        sharing = [target.name for target in scene.targets if target.shares_a_name_with(entry)]
        successors = {self.additions.refs[name] for name in sharing if name in self.additions.refs} & self.current
        ready = self.course.ready
        follows = [each.id for each in ready if _brings(each, successors)]
        for target in scene.targets:
            if target.name in sharing and self.additions.refs.get(target.name) in successors:
                successor = self.course.world.entries[self.additions.refs[target.name]]
                follows += scene.peers_first(target, successor, [entry])
        index = scene.retired.get(entry.ref)
        position = scene.declared.position("undeclared")
        if index is not None:
            position = scene.declared.position("retired", index)
        elif successors:
            position = scene.where_listed(sharing[0])
        return Remove(
            id=scene.action_id("remove", entry.ref),
            appliance=scene.name,
            certificate=sharing[0] if sharing and why.code == "previous" else None,
            label=entry.label,
            reason=why,
            source=source(position),
            depends_on=tuple(dict.fromkeys(follows)),
            fingerprint=entry.ref,
            has_key=entry.has_key,
            expects=Expectation(present=tuple(sorted(successors))),
        )


def _brings(action: Action, successors: Collection[str]) -> bool:
    match action:
        case CreateSelfSigned():
            return action.new in successors
        case Import():
            return action.fingerprint in successors
        case SetDefault():
            return action.target in successors
        case _:
            return False


def _held(action: Remove | RemoveRequest, code: str, sentence: str, until: dt.datetime | None) -> Action:
    hold = Hold(reason=Reason(code=code, sentence=sentence), until=until)
    return action.model_copy(update={"state": State.HELD, "hold": hold})
