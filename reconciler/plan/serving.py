"""The served-names table: what may be served for each protected name before and after a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.pki.selection import is_candidate
from reconciler.plan.model import Candidate, Flag, ServedName

if TYPE_CHECKING:
    from reconciler.plan.goodness import Judge
    from reconciler.plan.safety import ProtectedNames
    from reconciler.plan.world import World


def serving(judge: Judge, before: World, after: World, protected: ProtectedNames) -> tuple[ServedName, ...]:
    """One row for each protected name and one for clients that send no server name."""
    return tuple(_row(judge, before, after, sent, name) for sent, name in protected.asked)


def _row(judge: Judge, before: World, after: World, sent: str | None, name: str) -> ServedName:
    then = _candidates(judge, before, sent, name)
    later = then if after is before else _candidates(judge, after, sent, name)
    flags = []
    if {each.certificate for each in then} != {each.certificate for each in later}:
        flags.append(Flag.CHANGED)
    if not all(each.good for each in later):
        flags.append(Flag.NOT_ALL_GOOD)
    if sent is not None and later and not _anything_matches(after, sent):
        flags.append(Flag.DEFAULT_ONLY)
    if not later:
        flags.append(Flag.UNSERVED)
    return ServedName(name=sent, before=then, after=later, flags=tuple(flags))


def _anything_matches(world: World, name: str) -> bool:
    return any(each.has_key and is_candidate(each, name, world.rule) for each in world.entries.values())


def _candidates(judge: Judge, world: World, sent: str | None, name: str) -> tuple[Candidate, ...]:
    found = []
    for entry in world.candidates(sent):
        why = judge.why_not_good(entry, name, world)
        found.append(
            Candidate(certificate=entry.ref, label=entry.label, good=why is None, why_not=why.sentence if why else "")
        )
    return tuple(sorted(found, key=lambda each: each.certificate))
