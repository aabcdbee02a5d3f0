"""One turn of everything, in place of a loop: for a timer that starts it, or to see what it would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from reconciler.apply.turns import Stop
    from reconciler.watch.loop import Loop
    from reconciler.watch.reading import DesiredSource, Reading


class Once:
    """A source of which nothing newer is ever waited for.

    Attributes:
        place: As the source has it.
        gave: Whether it gave a desired state.
    """

    def __init__(self, source: DesiredSource) -> None:
        self.place = source.place
        self.gave = False
        self._source = source
        self._is_read = anyio.Event()

    async def read(self) -> Reading:
        """What is newest."""
        return self._given(await self._source.read())

    async def earlier(self, revision: str) -> Reading:
        """A commit that was in force before."""
        return self._given(await self._source.earlier(revision))

    async def wait(self) -> None:
        """Never return: what there is has been taken in."""
        self._is_read.set()
        await anyio.sleep_forever()

    def _given(self, reading: Reading) -> Reading:
        self.gave |= reading.state is not None
        return reading

    async def end(self, loop: Loop, stop: Stop) -> None:
        """Stop a loop over this when all its appliances have taken a turn, or when there is nothing to go by."""
        await self._is_read.wait()
        board, version = loop.board, -1
        while self.gave and (loop.busy or not (board.ready or board.figures.errors)):
            version = await board.newer_than(version)
        stop.request("one turn was asked for")
