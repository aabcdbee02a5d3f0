"""When an appliance is looked at next, and how one waits for that."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING, Protocol, TypeAlias

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.base.clock import Clock

FIRST_RETRY = dt.timedelta(minutes=1)
"""What is waited at most after a first failure; twice as long after each further one."""
LAST_RETRY = dt.timedelta(minutes=15)
"""What is waited at most, however often it failed."""
_TOGETHER = 15
"""Retries fall on multiples of this, in seconds: many that fail share one look at the rules of the whole fleet."""
LONGEST_SLEEP = dt.timedelta(minutes=1)
"""A clock may be set, and a machine may be suspended: so the clock is asked at least this often."""

Chance: TypeAlias = Callable[[], float]
"""Returns a random number from 0 to 1."""


def retry_at(now: dt.datetime, failures: int, chance: Chance) -> dt.datetime:
    """When something is tried again that failed so many times in a row: after half to all of a time that grows."""
    longest = min(FIRST_RETRY * 2 ** min(failures - 1, 10), LAST_RETRY)
    at = now + longest * (1 + chance()) / 2
    return dt.datetime.fromtimestamp(ceil(at.timestamp() / _TOGETHER) * _TOGETHER, dt.UTC)


def resync_at(now: dt.datetime, interval: dt.timedelta, chance: Chance) -> dt.datetime:
    """When everything is looked at again: after the interval, or up to a tenth sooner, so that loops drift apart."""
    return now + dt.timedelta(seconds=round((interval * (1 - chance() / 10)).total_seconds()))


def next_instant(now: dt.datetime, instants: Iterable[dt.datetime]) -> dt.datetime | None:
    """The first of some instants that is still to come."""
    return min((each for each in instants if each > now), default=None)


class Timer(Protocol):
    """How the loop waits. Tests have their own, which turns the clock."""

    async def sleep_until(self, instant: dt.datetime, woken: anyio.Event) -> None:
        """Return when an instant has come, or somebody wakes the sleeper; or sooner, for no reason at all."""


class RealTimer:
    """Waits by the clock of this machine."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def sleep_until(self, instant: dt.datetime, woken: anyio.Event) -> None:
        """Return when an instant has come, when woken, or after a minute."""
        left = min(instant - self._clock(), LONGEST_SLEEP).total_seconds()
        with anyio.move_on_after(max(left, 0)):
            await woken.wait()
