"""The fleet at a glance: what the status page says, worked out of what the loop knows. Pure.

Every appliance stands in exactly one way, which is what the numbers on top count. What is alike on several appliances
is told once. Texts are as they came: whoever writes them out escapes them.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.report.words import short
from reconciler.watch.model import ConditionType, Truth
from reconciler.watch.standing import Standing, headline, overdue, standing_now

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable

    from reconciler.watch.model import (
        Condition,
        LastApply,
        Source,
        Watched,
        WatchedAppliance,
        WatchedCertificate,
    )
    from reconciler.watch.standing import Headline

_CHOSEN = 5
"""A command is about so many appliances at most, as many as are named beside it."""


@dataclass(frozen=True, slots=True)
class Matter:
    """Something about one appliance or several that somebody should know.

    Attributes:
        names: The appliances.
        what: What it is about, in a word or two.
        ink: How it is drawn.
        message: What is the case, in one sentence.
        remedy: What to do about it, in one sentence, or empty.
        command: The subcommand that helps, and its options, but for which appliances it is about; or empty.
        since: Since when, UTC; None where that is not known.
        details: What else there is to tell, a line each.
    """

    names: tuple[str, ...]
    what: str
    ink: str
    message: str
    remedy: str = ""
    command: tuple[str, ...] = ()
    since: dt.datetime | None = None
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """An appliance of a site.

    Attributes:
        known: What is known of it.
        standing: How it stands.
        next: What is next on it.
        overdue: Since when it should have been looked at again, where its turn seems to hang.
    """

    known: WatchedAppliance
    standing: Standing
    next: Coming | None
    overdue: dt.datetime | None


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


@dataclass(frozen=True, slots=True)
class Coming:
    """Something that time will bring: when, what, and to which appliances."""

    at: dt.datetime
    what: str
    names: tuple[str, ...]


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
        suspended: What is suspended, and what is wrong with it meanwhile.
        warnings: What is odd about the operator settings, a sentence each.
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
    suspended: tuple[Matter, ...]
    warnings: tuple[str, ...]
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
    fleet = tuple(
        Member(
            each,
            standing_now(each, watched, now),
            next(iter(_coming((each,))), None),
            overdue(each, watched, now),
        )
        for each in watched.appliances
    )
    counts = Counter(each.standing for each in fleet)

    def told(tell: Callable[[Member], Iterable[Matter]], *hows: Standing) -> tuple[Matter, ...]:
        return _together(matter for each in fleet if each.standing in hows for matter in tell(each))

    return Glance(
        now=now,
        headline=headline(watched, counts, stalled_since),
        counts=tuple((how, counts[how]) for how in Standing),
        total=len(fleet),
        needs=told(_needs, Standing.NEEDS_YOU),
        drift=told(_drift, Standing.TO_APPLY, Standing.ON_ITS_WAY),
        suspended=told(_suspended, Standing.SUSPENDED),
        warnings=watched.warnings,
        sites=_sites(fleet),
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

_WHAT = {
    ConditionType.OBSERVED: "cannot be observed",
    ConditionType.VALID: "breaks a rule",
    ConditionType.IN_SYNC: "out of step",
    ConditionType.APPLIED: "apply failed",
    ConditionType.SERVED: "not served well",
    ConditionType.RENEWED: "to be renewed",
}


def _needs(member: Member) -> Iterable[Matter]:
    """What is wrong with an appliance; what is out of step only where nothing else is wrong."""
    wrong = tuple(_wrong(member))
    yield from wrong
    if not wrong:
        out_of_step = _out_of_step(member.known)
        yield Matter(
            (member.known.name,),
            _WHAT[ConditionType.IN_SYNC],
            Standing.NEEDS_YOU.ink,
            out_of_step.message if out_of_step else "",
            "The plan says what is left to do by hand:",
            ("plan",),
            out_of_step.since if out_of_step else None,
        )


def _wrong(member: Member) -> Iterable[Matter]:
    """What is wrong with an appliance, by condition, but for what is out of step."""
    appliance = member.known
    names, ink = (appliance.name,), Standing.NEEDS_YOU.ink
    if member.overdue:
        message, remedy = "its turn has not come to an end", "See what the loop logs, and start it again."
        yield Matter(names, "overdue", ink, message, remedy, since=member.overdue)
    for each in appliance.conditions:
        if each.status is not Truth.FALSE or each.type is ConditionType.IN_SYNC:
            continue
        remedy, command = _help(appliance, each.type)
        details = _by_you(appliance) if command == _APPLY else ()
        is_listed = each.type is ConditionType.VALID and appliance.errors
        for text in appliance.errors if is_listed else (each.message,):
            yield Matter(names, _WHAT[each.type], ink, text, remedy, command, each.since, details)


_APPLY = ("apply",)


def _help(appliance: WatchedAppliance, about: ConditionType) -> tuple[str, tuple[str, ...]]:
    """What to do where a condition does not hold, and the command that helps."""
    if about is ConditionType.OBSERVED:
        return "Find out where it fails:", ("doctor",)
    if about is ConditionType.APPLIED and appliance.last_apply and appliance.last_apply.journal:
        return "See every step:", ("history", "--show", appliance.last_apply.journal)
    if about is ConditionType.VALID:
        return "", ()  # An error says itself what to do.
    if appliance.ready and appliance.mode != "apply":
        return _not_from_here(appliance), _APPLY
    return "See what it holds and serves:", ("status",)


def _not_from_here(appliance: WatchedAppliance) -> str:
    return f"Its mode is {appliance.mode}, so it is not applied from here. Look at it and apply it:"


def _by_you(appliance: WatchedAppliance) -> tuple[str, ...]:
    """What somebody would do who applied now."""
    more = appliance.ready - len(appliance.todo)
    return (*appliance.todo, f"and {more} more") if appliance.todo and more > 0 else appliance.todo


def _drift(member: Member) -> Iterable[Matter]:
    """What is out of step, and what becomes of it."""
    appliance, how, condition = member.known, member.standing, _out_of_step(member.known)
    command: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    if how is Standing.TO_APPLY:
        remedy, command, details = _not_from_here(appliance), _APPLY, _by_you(appliance)
    elif appliance.waiting:
        remedy, command = "A request waits for the CA's answer. See which:", ("requests",)
    elif appliance.ready:
        remedy = "Nothing to do: it is being applied."
    elif appliance.mode == "apply":
        remedy = "Nothing to do: what is held goes on by itself."
    else:
        remedy = f"Nothing to do yet: its mode is {appliance.mode}, so what is held will then be yours to apply."
    message, since = (condition.message, condition.since) if condition else ("", None)
    if details:  # after the numbers, the message tells the first of them
        message = message.partition(": ")[0]
    yield Matter((appliance.name,), how.words(), how.ink, message, remedy, command, since, details)


def _suspended(member: Member) -> Iterable[Matter]:
    """Why it is suspended, and what is wrong meanwhile: nobody is sent there, but it should not be forgotten."""
    appliance, how = member.known, member.standing
    meanwhile = tuple(f"meanwhile {each.what}: {each.message}" for each in _wrong(member))
    yield Matter((appliance.name,), how.words(), how.ink, appliance.suspended, details=meanwhile)


def _out_of_step(appliance: WatchedAppliance) -> Condition | None:
    """That it does not hold what is declared, where it does not."""
    said = (each for each in appliance.conditions if each.type is ConditionType.IN_SYNC)
    return next((each for each in said if each.status is Truth.FALSE), None)


def _together(matters: Iterable[Matter]) -> tuple[Matter, ...]:
    """Matters that say the same of several appliances as one, since the first of them; the oldest first."""
    alike: dict[tuple[object, ...], list[Matter]] = defaultdict(list)
    for each in matters:
        alike[each.what, each.message, each.remedy, each.details].append(each)
    merged = (
        replace(
            group[0],
            names=tuple(name for each in group for name in each.names),
            since=min((each.since for each in group if each.since), default=None),
        )
        for group in alike.values()
    )
    return tuple(sorted(merged, key=lambda each: (each.since is None, each.since, each.names)))


def command(matter: Matter, source: Source) -> str:
    """The command that helps, to be pasted: about the first few appliances, and the desired state in force.

    The operator settings that it needs are not known here; nor is the folder, where a branch is followed.
    """
    verb, *options = matter.command
    if verb == "history":
        return shlex.join(("reconciler", verb, *options))
    revision = ("--revision", short(source.revision)) if source.revision else ()
    chosen = (word for name in matter.names[:_CHOSEN] for word in ("--appliance", name))
    folder = (source.place,) if is_folder(source) else ()
    return shlex.join(("reconciler", verb, *options, *revision, *chosen, *folder))


def is_folder(source: Source) -> bool:
    """Whether the source is a folder, and not a branch of a remote: those are not named by a path."""
    return source.place.startswith("/")


# The fleet


def _sites(fleet: Iterable[Member]) -> tuple[Site, ...]:
    by_site: dict[str | None, list[Member]] = defaultdict(list)
    for each in fleet:
        by_site[each.known.site].append(each)
    order = list(Standing)
    named = sorted(by_site.items(), key=lambda pair: (pair[0] is None, pair[0] or ""))
    sites = [
        Site(
            f"site-{number}",
            name,
            tuple(members),
            tuple(sorted(Counter(each.standing for each in members).items(), key=lambda pair: order.index(pair[0]))),
            next(iter(_coming(each.known for each in members)), None),
        )
        for number, (name, members) in enumerate(named, start=1)
    ]
    return tuple(sorted(sites, key=lambda site: order.index(site.counts[0][0])))


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
