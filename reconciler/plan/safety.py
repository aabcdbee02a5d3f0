"""Promise 1 at planning time: which change would harm a protected name, and when it no longer would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from reconciler.plan.goodness import Judge
    from reconciler.plan.model import Reason
    from reconciler.plan.world import Entry, World


@dataclass(frozen=True, slots=True)
class ProtectedNames:
    """What must stay served on one appliance.

    Attributes:
        names: The protected names, the site's hostname first.
        hostname: The name that clients without server name indication have in mind.
    """

    names: tuple[str, ...]
    hostname: str

    @property
    def asked(self) -> tuple[tuple[str | None, str], ...]:
        """Pairs of what a client sends and the name that its certificate must cover."""
        return (*((name, name) for name in self.names), (None, self.hostname))


@dataclass(frozen=True, slots=True)
class Harm:
    """What a change would do to one protected name that a good certificate may serve now.

    Attributes:
        sent: The server name, or None for a client that sends none.
        name: The name that must be covered.
        lost: Whether no good candidate would be left.
        offender: A candidate that is not good and was not there before; or, where a good one leaves and others stay,
            one that was: which of several is served first is not known, so it may be the next. None without one.
        why: What is wrong with the offender.
        served_until: When the last good certificate that may serve now expires.
    """

    sent: str | None
    name: str
    lost: bool
    offender: Entry | None
    why: Reason | None
    served_until: dt.datetime


def harms(judge: Judge, before: World, after: World, protected: ProtectedNames) -> tuple[Harm, ...]:
    """What a change from one store to another would do to the protected names; empty where it is safe.

    A name that no good certificate may serve now cannot be harmed. Beside all clients, those of each software build in
    the field are asked by themselves: where one does not trust what serves the others, these must not lose it for that.
    """
    found: dict[str | None, Harm] = {}
    for clients in dict.fromkeys((judge, *judge.by_build)):
        for sent, name in protected.asked:
            harm = None if sent in found else _harm(clients, before, after, sent, name)
            if harm:
                found[sent] = harm
    return tuple(found.values())


def _harm(judge: Judge, before: World, after: World, sent: str | None, name: str) -> Harm | None:
    candidates = before.candidates(sent)
    good = [entry for entry in candidates if judge.is_good(entry, name, before)]
    if not good:
        return None
    bad = {entry.ref for entry in candidates} - {entry.ref for entry in good}
    until = max(entry.not_after for entry in good)
    later = [(entry, judge.why_not_good(entry, name, after)) for entry in after.candidates(sent)]
    not_good = [(entry, why) for entry, why in later if why]
    lost = len(not_good) == len(later)
    joined = [each for each in not_good if each[0].ref not in bad]
    leaves = not {entry.ref for entry in good} <= {entry.ref for entry, _ in later}
    offending = joined or (not_good if leaves and not lost else [])
    if not (lost or offending):
        return None
    offender, why = offending[0] if offending else (None, None)
    return Harm(sent, name, lost, offender, why, until)


def safe_from(
    judge: Judge, before: World, change: Callable[[World], World], protected: ProtectedNames
) -> dt.datetime | None:
    """The first instant from which a change harms nothing any more, or None if none can be foreseen.

    Only the passing of time is foreseen: builds that settle, certificates whose validity begins.
    """
    after = change(before)
    instants = {each.installed_at + judge.clients.settle for each in judge.clients.builds}
    instants |= {each.installed_at for each in judge.clients.builds}
    instants |= {entry.not_before for entry in after.entries.values()}
    for instant in sorted(each for each in instants if each > judge.now):
        if not harms(judge.at(instant), before, after, protected):
            return instant
    return None
