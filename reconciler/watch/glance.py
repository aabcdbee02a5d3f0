"""The fleet at a glance: what the status page says, worked out of what the loop knows. Pure.

Every appliance stands in exactly one way, which is what the numbers on top count. What is alike on several appliances
is told once. Texts are as they came: whoever writes them out escapes them.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.report.words import several, short
from reconciler.watch.model import ConditionType, Truth
from reconciler.watch.standing import Standing, headline, standing

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from reconciler.watch.model import (
        Condition,
        LastApply,
        Source,
        Watched,
        WatchedAppliance,
        WatchedCertificate,
    )
    from reconciler.watch.standing import Headline


@dataclass(frozen=True, slots=True)
class Matter:
    """Something about one appliance or several that somebody should know.

    Attributes:
        names: The appliances.
        what: What it is about, in a word or two.
        ink: How it is drawn.
        message: What is the case, in one sentence.
        remedy: What to do about it, in one sentence, or empty.
        command: The command that helps, or empty.
        since: Since when, UTC; None where that is not known.
    """

    names: tuple[str, ...]
    what: str
    ink: str
    message: str
    remedy: str = ""
    command: str = ""
    since: dt.datetime | None = None

    @property
    def where(self) -> str:
        """The appliances, the first few of many."""
        return several(self.names)


@dataclass(frozen=True, slots=True)
class Member:
    """An appliance of a site: what is known of it, how it stands, and what is next."""

    known: WatchedAppliance
    standing: Standing
    next: Coming | None


@dataclass(frozen=True, slots=True)
class Site:
    """A site, or what is outside any.

    Attributes:
        key: Tells it from the others on the page, whatever else changes there.
        name: Its name; None for what is outside any site.
        members: Its appliances, by name.
        counts: How many stand in which way, in the order of `Standing`.
        next: What is next on any of them.
    """

    key: str
    name: str | None
    members: tuple[Member, ...]
    counts: tuple[tuple[Standing, int], ...]
    next: Coming | None

    @property
    def quiet(self) -> bool:
        """Whether all of it is in step."""
        return all(standing is Standing.IN_STEP for standing, _ in self.counts)


@dataclass(frozen=True, slots=True)
class Coming:
    """Something that time will bring: when, what, and to which appliances."""

    at: dt.datetime
    what: str
    names: tuple[str, ...]

    @property
    def where(self) -> str:
        """The appliances, the first few of many."""
        return several(self.names)


@dataclass(frozen=True, slots=True)
class Life:
    """A certificate, wherever it is.

    Attributes:
        certificate: As the first of the appliances has it.
        names: The appliances that hold it.
    """

    certificate: WatchedCertificate
    names: tuple[str, ...]

    @property
    def declared(self) -> bool:
        """Whether it is a declared one, and not one that was, or that nobody has declared."""
        return self.certificate.renewal is not None

    @property
    def identity(self) -> str:
        """The first digits of its fingerprint."""
        return short(self.certificate.fingerprint)

    @property
    def where(self) -> str:
        """The appliances, the first few of many."""
        return several(self.names)


@dataclass(frozen=True, slots=True)
class Glance:
    """All that the page says.

    Attributes:
        now: As of when, UTC.
        headline: What is to be read from across the room.
        counts: How many appliances stand in which way; every way is there.
        total: How many appliances there are.
        needs: What somebody has to look at.
        drift: What is out of step and needs nobody's help, or an apply.
        suspended: The appliances that are suspended.
        sites: By how much they concern people, then by name.
        lives: Certificates with a key, the soonest to expire first.
        coming: What time will bring, the soonest first.
        applies: The last apply of each appliance that had one, the latest first.
        source: Where the desired state comes from.
        started_at: When the loop was started, UTC.
        changed_at: When what the loop knows last changed, UTC.
    """

    now: dt.datetime
    headline: Headline
    counts: tuple[tuple[Standing, int], ...]
    total: int
    needs: tuple[Matter, ...]
    drift: tuple[Matter, ...]
    suspended: tuple[WatchedAppliance, ...]
    sites: tuple[Site, ...]
    lives: tuple[Life, ...]
    coming: tuple[Coming, ...]
    applies: tuple[tuple[WatchedAppliance, LastApply], ...]
    source: Source
    started_at: dt.datetime
    changed_at: dt.datetime


def glance(watched: Watched, now: dt.datetime, stalled_since: dt.datetime | None = None) -> Glance:
    """What the page says.

    Args:
        watched: What the loop knows.
        now: As of when, UTC.
        stalled_since: When the loop last showed that it runs, if that is too long ago.
    """
    standings = [(each, standing(each)) for each in watched.appliances]
    counts = Counter(how for _, how in standings)
    return Glance(
        now=now,
        headline=headline(watched, stalled_since),
        counts=tuple((how, counts[how]) for how in Standing),
        total=len(standings),
        needs=_together(matter for each, how in standings if how is Standing.NEEDS_YOU for matter in _needs(each)),
        drift=_together(
            matter
            for each, how in standings
            if how in {Standing.TO_APPLY, Standing.ON_ITS_WAY}
            for matter in _drift(each, how)
        ),
        suspended=tuple(each for each, how in standings if how is Standing.SUSPENDED),
        sites=_sites(standings),
        lives=_lives(watched.appliances),
        coming=_coming(watched.appliances),
        applies=tuple(
            sorted(
                ((each, each.last_apply) for each in watched.appliances if each.last_apply),
                key=lambda pair: (-pair[1].at.timestamp(), pair[0].name),
            )
        ),
        source=watched.source,
        started_at=watched.started_at,
        changed_at=watched.at,
    )


# What needs somebody, and what is out of step

_BAD = Standing.NEEDS_YOU.ink
_WHAT = {
    ConditionType.OBSERVED: "cannot be observed",
    ConditionType.VALID: "breaks a rule",
    ConditionType.IN_SYNC: "out of step",
    ConditionType.APPLIED: "apply failed",
    ConditionType.SERVED: "not served well",
}


def _needs(appliance: WatchedAppliance) -> Iterable[Matter]:
    """What is wrong with an appliance, by condition; what is out of step only where nothing else is wrong."""
    wrong = {each.type: each for each in appliance.conditions if each.status is Truth.FALSE}
    out_of_step = wrong.pop(ConditionType.IN_SYNC, None)
    for about, each in wrong.items():
        texts = appliance.errors if about is ConditionType.VALID and appliance.errors else (each.message,)
        remedy, command = _help(appliance, about)
        for text in texts:
            yield Matter((appliance.name,), _WHAT[about], _BAD, text, remedy, command, each.since)
    if not wrong:
        message = out_of_step.message if out_of_step else ""
        told = "The plan says what is left to do by hand:"
        since = out_of_step.since if out_of_step else None
        command = f"reconciler plan {_chosen(appliance.name)}"
        yield Matter((appliance.name,), _WHAT[ConditionType.IN_SYNC], _BAD, message, told, command, since)


def _help(appliance: WatchedAppliance, about: ConditionType) -> tuple[str, str]:
    """What to do where a condition does not hold, and the command that helps."""
    chosen = _chosen(appliance.name)
    if about is ConditionType.OBSERVED:
        return "Find out where it fails:", f"reconciler doctor {chosen}"
    if about is ConditionType.APPLIED and appliance.last_apply and appliance.last_apply.journal:
        return "See every step:", f"reconciler history --show {shlex.quote(appliance.last_apply.journal)}"
    if about is ConditionType.VALID:
        return "", ""  # An error says itself what to do.
    return "See what it holds and serves:", f"reconciler status {chosen}"


def _drift(appliance: WatchedAppliance, how: Standing) -> Iterable[Matter]:
    """What is out of step, and what becomes of it."""
    condition: Condition | None = next(
        (each for each in appliance.conditions if each.type is ConditionType.IN_SYNC), None
    )
    message = condition.message if condition else ""
    remedy, command = "Nothing to do: what is held goes on by itself.", ""
    if appliance.ready and appliance.mode != "apply":
        remedy = f"Its mode is {appliance.mode}, so it is not applied from here. Look at it and apply it:"
        command = f"reconciler apply {_chosen(appliance.name)}"
    elif appliance.waiting:
        remedy, command = "A request waits for the CA's answer. See which:", "reconciler requests"
    elif appliance.ready:
        remedy = "Nothing to do: it is being applied."
    since = condition.since if condition else None
    yield Matter((appliance.name,), how.words(), how.ink, message, remedy, command, since)


def _chosen(name: str) -> str:
    return f"--appliance {shlex.quote(name)}"


def _together(matters: Iterable[Matter]) -> tuple[Matter, ...]:
    """Matters that say the same of several appliances as one, since the first of them; the oldest first.

    A command names the first of them: what is wrong with one is likely wrong with all.
    """
    alike: dict[tuple[str, str, str], list[Matter]] = defaultdict(list)
    for each in matters:
        alike[each.what, each.message, each.remedy].append(each)
    merged = (
        Matter(
            tuple(name for each in group for name in each.names),
            group[0].what,
            group[0].ink,
            group[0].message,
            group[0].remedy,
            group[0].command,
            min((each.since for each in group if each.since), default=None),
        )
        for group in alike.values()
    )
    return tuple(sorted(merged, key=lambda each: (each.since is None, each.since, each.names)))


# The fleet


def _sites(standings: list[tuple[WatchedAppliance, Standing]]) -> tuple[Site, ...]:
    by_site: dict[str | None, list[Member]] = defaultdict(list)
    for each, how in standings:
        by_site[each.site].append(Member(each, how, _first_of(_coming((each,)))))
    order = list(Standing)
    named = sorted(by_site.items(), key=lambda pair: (pair[0] is None, pair[0] or ""))
    sites = [
        Site(
            f"site-{number}",
            name,
            tuple(members),
            tuple(sorted(Counter(each.standing for each in members).items(), key=lambda pair: order.index(pair[0]))),
            _first_of(_coming(each.known for each in members)),
        )
        for number, (name, members) in enumerate(named, start=1)
    ]
    return tuple(sorted(sites, key=lambda site: order.index(site.counts[0][0])))


def _first_of(coming: tuple[Coming, ...]) -> Coming | None:
    return coming[0] if coming else None


def _coming(appliances: Iterable[WatchedAppliance]) -> tuple[Coming, ...]:
    """What time will bring, alike things of the same instant together."""
    found: dict[tuple[dt.datetime, str], list[str]] = defaultdict(list)
    for appliance in appliances:
        for each in appliance.upcoming:
            found[each.at, each.what].append(appliance.name)
    return tuple(Coming(at, what, tuple(names)) for (at, what), names in sorted(found.items()))


def _lives(appliances: Iterable[WatchedAppliance]) -> tuple[Life, ...]:
    """Every certificate once; one that is declared on some and not on others counts as declared."""
    found: dict[str, tuple[WatchedCertificate, dict[str, None]]] = {}
    for appliance in appliances:
        for each in appliance.certificates:
            known, names = found.setdefault(each.fingerprint, (each, {}))
            names[appliance.name] = None
            if known.renewal is None and each.renewal is not None:
                found[each.fingerprint] = (each, names)
    lives = (Life(certificate, tuple(names)) for certificate, names in found.values())
    return tuple(sorted(lives, key=lambda life: (life.certificate.expiration, life.certificate.fingerprint)))
