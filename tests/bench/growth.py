"""Whether the reconcile loop grows while it runs: `python -m tests.bench.growth TURNS` writes JSON to stdout.

The real loop over certificate directories, and weeks of a turned clock in which it resyncs every ten minutes. The turns
are not all alike: a store drifts and is mended, one goes away and returns, certificates are renewed, commits come, some
of them broken; and somebody reads all that the loop serves. What a test would remember of it is forgotten.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx

from reconciler.engine.unattended import Unattended
from reconciler.live.store import Origin
from reconciler.watch.endpoints import serving
from tests.bench.watching import resident
from tests.watch.world import World, running

if TYPE_CHECKING:
    from reconciler.watch.board import Board

_PATIENCE = 60.0
_POLICY = "policy: {keep_previous: 1h}\n"


@dataclass(frozen=True)
class Grown:
    """What was measured.

    Attributes:
        turns: At which turns.
        memory: Resident memory then, in MB.
        applies: How many appliances something was applied to, by outcome.
        unreachable: How many looks at an appliance failed.
        days: How many days passed by the turned clock.
    """

    turns: tuple[int, int]
    memory: tuple[float, float]
    applies: dict[str, int]
    unreachable: int
    days: float

    @property
    def growth(self) -> float:
        """In per cent."""
        early, late = self.memory
        return (late / early - 1) * 100


async def grow(folder: Path, turns: int) -> Grown:
    """Take so many turns; memory is measured at a tenth of them, and at the end."""
    world = World(folder, watch=Unattended(mode="apply")).make()
    world.write("fleet.yaml", _POLICY)
    os.environ.update(world.environment)
    marks, memory = (max(1, turns // 10), turns), list[float]()
    async with (
        running(world),
        serving(world.loop.board, "127.0.0.1:0", clock=world.clock) as url,
        httpx.AsyncClient(base_url=url, timeout=_PATIENCE) as reader,
    ):
        board, days = world.loop.board, _Days(world, reader)
        world.commit("0")
        while len(memory) < len(marks):
            await days.rest()
            if board.figures.turns >= marks[len(memory)]:
                gc.collect()
                memory.append(resident("self"))
            await days.next()
        return _grown(marks, (memory[0], memory[1]), board, world)


def _grown(turns: tuple[int, int], memory: tuple[float, float], board: Board, world: World) -> Grown:
    assert not board.figures.errors
    days = (world.clock.now - world.begin).total_seconds() / 86400
    return Grown(turns, memory, dict(board.figures.applies), board.figures.looks["unreachable"], days)


class _Days:
    """What happens from one resync to the next."""

    def __init__(self, world: World, reader: httpx.AsyncClient) -> None:
        self._world, self._reader = world, reader
        self._number = 0
        self._away = world.folder / "away"
        self._factory = next(
            each.fingerprint for each in world.directory("lab").observe().certificates if each.origin is Origin.FACTORY
        )

    async def rest(self) -> None:
        """Wait until the loop has done what there is to do now, and forget what it told."""
        world = self._world
        await world.until(lambda: world.timer.sleeping and world.source.waiting and not world.loop.busy)
        world.told.clear()
        world.source.readings.clear()

    async def next(self) -> None:
        """Let something happen, or nothing, and turn the clock to the instant that the loop waits for."""
        self._number += 1
        world, number = self._world, self._number
        if number % 7 == 3:
            world.directory("lab").set_default(self._factory)
        if number % 50 == 10:
            shutil.move(world.store("west-1"), self._away)
        if number % 50 == 16:
            shutil.move(self._away, world.store("west-1"))
        if number % 150 == 100:
            world.provide(world.issue())
        match number % 40:
            case 20:
                self._commit(f"{_POLICY}# {number}\n")
            case 30:
                self._commit("policy: {")
            case 32:
                self._commit(_POLICY)
            case _:
                pass
        await self.rest()
        if number % 5 == 1:
            await self._read()
        assert world.timer.until
        world.clock.now = max(world.timer.until, world.clock.now)
        world.timer.wake()

    def _commit(self, fleet: str) -> None:
        self._world.write("fleet.yaml", fleet)
        self._world.commit(str(self._number))

    async def _read(self) -> None:
        for path in ("/", "/metrics", "/api/status", "/healthz", "/readyz"):
            await self._reader.get(path)
        async with self._reader.stream("GET", "/events") as news:
            await anext(news.aiter_lines())


def main() -> None:
    """Take as many turns as the first word says."""
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
        json.dump(asdict(anyio.run(grow, Path(folder), int(sys.argv[1]))), sys.stdout)


if __name__ == "__main__":
    main()
