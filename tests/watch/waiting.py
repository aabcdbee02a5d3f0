"""What waits for the test where production waits for time to pass: sources of the desired state, and the timer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import anyio

from reconciler.watch.reading import DesiredSource, Reading

if TYPE_CHECKING:
    import datetime as dt


class Waits:
    """How a source waits here: until the test has it asked again.

    Attributes:
        waiting: Whether it does.
    """

    waiting = False
    _asked: anyio.Event | None = None

    async def wait(self) -> None:
        self._asked = self._asked or anyio.Event()
        self.waiting = not self._asked.is_set()
        await self._asked.wait()
        self._asked = None

    def ask(self) -> None:
        """Have it asked whether there is anything newer."""
        self.waiting = False
        self._asked = self._asked or anyio.Event()
        self._asked.set()


class Source(DesiredSource, Protocol):
    """A source that waits like that."""

    waiting: bool

    def ask(self) -> None:
        """Have it asked whether there is anything newer."""


class Commits(Waits):
    """A source whose commits a test makes."""

    def __init__(self, place: str = "origin/main") -> None:
        self.place = place
        self.readings: dict[str, Reading] = {}
        self.newest = Reading()

    def offer(self, reading: Reading, revision: str) -> None:
        self.readings[revision] = self.newest = reading
        self.ask()

    async def read(self) -> Reading:
        return self.newest

    async def earlier(self, revision: str) -> Reading:
        return self.readings[revision]


class Sandglass:
    """A timer that sleeps until the test wakes it.

    Attributes:
        until: The instant that the sleeper waits for; None while nobody sleeps.
    """

    def __init__(self) -> None:
        self.until: dt.datetime | None = None
        self._woken = anyio.Event()

    async def sleep_until(self, instant: dt.datetime, woken: anyio.Event) -> None:
        self.until, self._woken = instant, woken
        await woken.wait()
        self.until = None

    @property
    def sleeping(self) -> bool:
        return self.until is not None and not self._woken.is_set()

    def wake(self) -> None:
        self._woken.set()
