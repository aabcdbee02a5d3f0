"""What the loop shows to whoever looks: the fleet as it knows it, and figures of its own work."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from reconciler.watch.model import Watched


@dataclass(frozen=True, slots=True)
class Figures:
    """What the loop counts, since it was started.

    Attributes:
        turns: How many turns were taken, each by appliances that belong together: a look, and an apply where it is due.
        looks: How many times an appliance was looked at, by outcome: `observed`, `unreachable`.
        applies: How many appliances something was applied to, by outcome.
        errors: How often the loop itself met what it did not expect.
        durations: How long turns took, in seconds: how many took at most so long, by upper bound, `inf` last; with the
            time for which they waited since others were taken.
        total_seconds: How long all turns took together.
        last_success: When a turn last ended without a failure, UTC.
    """

    turns: int = 0
    looks: Mapping[str, int] = field(default_factory=dict)
    applies: Mapping[str, int] = field(default_factory=dict)
    errors: int = 0
    durations: Mapping[float, int] = field(default_factory=dict)
    total_seconds: float = 0.0
    last_success: dt.datetime | None = None


class Board:
    """The latest state, and a way to wait for a newer one.

    Attributes:
        watched: The fleet.
        figures: The loop's own work.
        version: Grows with every change.
        ready: Whether a desired state is in force and every appliance was looked at once.
        alive_at: When the loop last showed that it runs, UTC.
        lost: How many events did not reach the webhook.
    """

    def __init__(self, watched: Watched, figures: Figures | None = None) -> None:
        self.watched = watched
        self.figures = figures or Figures()
        self.version = 0
        self.ready = False
        self.alive_at: dt.datetime = watched.at
        self.lost: Callable[[], int] = int
        self._changed = anyio.Event()

    def count(self, **counted: object) -> None:
        """Put up figures that have changed; they are shown with the next state."""
        self.figures = replace(self.figures, **counted)  # type: ignore[arg-type]  # the names are those of the figures

    def show(self, watched: Watched) -> None:
        """Put up a newer state."""
        self.watched = watched
        self.version += 1
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def newer_than(self, version: int) -> int:
        """Wait until there is a newer state; its version."""
        while self.version <= version:
            await self._changed.wait()
        return self.version
