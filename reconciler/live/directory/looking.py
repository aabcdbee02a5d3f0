"""Looks at certificate directories, in threads: one at a time, but never all at the mercy of one that does not end."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from reconciler.live.directory.files import shown
from reconciler.live.directory.operations import StoreHeld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

T = TypeVar("T")

LONG = 2.0
"""Seconds after which a look lets the next one begin: only a file system that does not answer takes that long."""


@dataclass(eq=False)
class _Look:
    """A look that has begun.

    Attributes:
        root: The directory.
        is_given_up: Whether nobody waits for it any longer.
    """

    root: Path
    is_given_up: bool = False


class Looks:
    """The looks of one event loop.

    Looking is mostly parsing, and threads that parse only wait for each other: over a thousand directories, sixteen
    take more than twice as long as one (`make bench`). A thread that waits for a file system cannot be ended, so who
    gives a look up leaves it behind; no other is then begun at the same directory until it has ended.
    """

    def __init__(self) -> None:
        self._turn = CapacityLimiter(1)
        self._begun: set[_Look] = set()

    async def take(self, root: Path, look: Callable[[], T]) -> T:
        """Take a look at a directory. It can be cancelled at any time.

        Raises:
            StoreHeld: A look at it that was given up has not ended yet.
            StoreError: What the look raises.
        """
        if any(each.is_given_up and each.root == root for each in tuple(self._begun)):
            raise StoreHeld(
                f"an earlier look at {shown(root)} has not ended yet",
                "see whether its file system answers",
            )
        this = _Look(root)

        def begun() -> T:
            self._begun.add(this)
            try:
                return look()
            finally:
                self._begun.discard(this)

        async with self._in_turn():
            try:
                return await to_thread.run_sync(begun, abandon_on_cancel=True, limiter=CapacityLimiter(math.inf))
            except anyio.get_cancelled_exc_class():
                this.is_given_up = True
                raise

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        turn = object()
        await self._turn.acquire_on_behalf_of(turn)
        late = asyncio.get_running_loop().call_later(LONG, self._let_next, turn)
        try:
            yield
        finally:
            late.cancel()
            self._let_next(turn)

    def _let_next(self, turn: object) -> None:
        with suppress(RuntimeError):  # it has been let already
            self._turn.release_on_behalf_of(turn)


_LOOKS = RunVar[Looks]("looks at certificate directories")


def looks() -> Looks:
    """The looks of the event loop that runs."""
    try:
        return _LOOKS.get()
    except LookupError:
        made = Looks()
        _LOOKS.set(made)
        return made
