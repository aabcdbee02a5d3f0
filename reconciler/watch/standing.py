"""How an appliance stands, for people, and what is to be read of all of them from across the room. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from reconciler.report.words import counted, utc
from reconciler.watch.model import Health, Sync

if TYPE_CHECKING:
    from collections import Counter

    from reconciler.watch.model import Source, Watched, WatchedAppliance

_PATIENCE = dt.timedelta(minutes=15)
"""What a turn may take beyond the instant for which it was due."""


class Standing(Enum):
    """How an appliance stands, for people; in the order in which it concerns them.

    The value is a symbol, so that it is not told by colour alone, the words for one and for several, and the ink.
    """

    NEEDS_YOU = ("\N{MULTIPLICATION SIGN}", "needs you", "need you", "bad")
    TO_APPLY = ("+", "to apply", "to apply", "changed")
    SUSPENDED = ("!", "suspended", "suspended", "changed")
    NOT_SEEN = ("?", "not looked at", "not looked at", "faint")
    ON_ITS_WAY = ("~", "on its way", "on their way", "held")
    IN_STEP = ("=", "in step", "in step", "good")

    @property
    def symbol(self) -> str:
        """One character that tells it from the others."""
        return self.value[0]

    @property
    def ink(self) -> str:
        """How it is drawn."""
        return self.value[3]

    def words(self, number: int = 1) -> str:
        """What is said of so many appliances that stand so."""
        return self.value[1] if number == 1 else self.value[2]


def standing(appliance: WatchedAppliance) -> Standing:
    """How an appliance stands by itself: its health first, then its sync."""
    if appliance.health is Health.SUSPENDED:
        return Standing.SUSPENDED
    if appliance.health is Health.DEGRADED:
        return Standing.NEEDS_YOU
    if appliance.sync is Sync.OUT_OF_SYNC:
        # What may not be applied from here is no progress: the loop calls that healthy.
        return Standing.ON_ITS_WAY if appliance.health is Health.PROGRESSING else Standing.TO_APPLY
    return Standing.IN_STEP if appliance.sync is Sync.SYNCED else Standing.NOT_SEEN


def overdue(appliance: WatchedAppliance, watched: Watched, now: dt.datetime) -> dt.datetime | None:
    """Since when an appliance should have been looked at again, where its turn seems to hang; else None."""
    if appliance.next_look is None or not watched.source.digest:
        return None
    since = max(appliance.next_look, watched.started_at)
    return since if now - since > _PATIENCE else None


def standing_now(appliance: WatchedAppliance, watched: Watched, now: dt.datetime) -> Standing:
    """How an appliance stands among the others. While nothing is in force none is looked at, whatever was known."""
    if not watched.source.digest:
        return Standing.NOT_SEEN
    how = standing(appliance)
    return Standing.NEEDS_YOU if how is not Standing.SUSPENDED and overdue(appliance, watched, now) else how


@dataclass(frozen=True, slots=True)
class Headline:
    """What is to be read from across the room.

    Attributes:
        text: In a few words, without a final full stop.
        rest: The next that one wants to know, in one sentence, or empty.
        ink: How it is drawn: good, held, changed or bad.
    """

    text: str
    rest: str
    ink: str


def headline(watched: Watched, counts: Counter[Standing], stalled_since: dt.datetime | None) -> Headline:
    """The first of what somebody has to know, and how the rest of the fleet stands.

    Args:
        watched: What the loop knows.
        counts: How many appliances stand in which way.
        stalled_since: When the loop last showed that it runs, if that is too long ago.
    """
    if stalled_since is not None:
        rest = f"Its last sign of life is from {utc(stalled_since)}: start `reconciler watch` again."
        return Headline("The loop stands still", rest, "bad")
    if counts and watched.source.digest:
        return _of_fleet(watched, counts)
    return _of_nothing(watched.source)


def _of_nothing(source: Source) -> Headline:
    """Where no appliance is known, or nothing is in force."""
    if source.problem and not source.digest:
        return Headline("Nothing is in force", "No appliance is looked at until the source is mended.", "bad")
    if source.problem:
        return Headline("The source needs you", "", "bad")
    if source.digest:
        return Headline("No appliances", "The desired state declares none.", "changed")
    return Headline("Starting", "The desired state is being read.", "held")


def _of_fleet(watched: Watched, counts: Counter[Standing]) -> Headline:
    worst = next(how for how in Standing if counts[how])
    if worst is Standing.NEEDS_YOU:
        rest = "The source needs you as well." if watched.source.problem else _others(counts, worst)
        return Headline(f"{counts[worst]} {worst.words(counts[worst])}", rest, worst.ink)
    if watched.source.problem:
        return Headline("The source needs you", _others(counts), "bad")
    if watched.warnings:
        return Headline("The settings need you", _others(counts), "changed")
    if worst is Standing.TO_APPLY:
        return Headline(f"{counts[worst]} to apply", _others(counts, worst), worst.ink)
    return _of_calm_fleet(watched, counts, worst)


def _of_calm_fleet(watched: Watched, counts: Counter[Standing], worst: Standing) -> Headline:
    """Where nothing has to be done."""
    total = counts.total()
    if worst is Standing.IN_STEP:
        return Headline(f"All {total} in step" if total > 1 else "In step", _what_is_next(watched), worst.ink)
    if counts[Standing.NOT_SEEN] == total:
        return Headline(f"Looking at {counted(total, 'appliance')}", "Nothing is known of them yet.", "held")
    ink = "held" if worst is Standing.NOT_SEEN else worst.ink
    return Headline(f"{counts[Standing.IN_STEP]} of {total} in step", _others(counts, Standing.IN_STEP), ink)


def _others(counts: Counter[Standing], told: Standing | None = None) -> str:
    """How those stand of whom the headline does not tell, those in step first."""
    total = counts.total()
    parts = [
        f"{number}{f' of {total}' if how is Standing.IN_STEP else ''} {how.words(number)}"
        for how in (Standing.IN_STEP, *Standing)
        if how is not told and (number := counts[how])
    ]
    return f"{', '.join(dict.fromkeys(parts))}." if parts else ""


def _what_is_next(watched: Watched) -> str:
    """What will be the next, by its date: this is read out whenever it changes, so it does not count the days."""
    coming = min(((each.at, each.what) for known in watched.appliances for each in known.upcoming), default=None)
    return f"Next, on {coming[0].date().isoformat()}: {coming[1]}." if coming else ""
