"""What the reconcile loop costs while nothing happens, next to a screen on the wall and a Prometheus that look at it.

The appliances are in step, behind their web interface, and played by another process. All is as by default, so that
about one resync falls into ten minutes.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx

from reconciler.base.clock import system_clock
from tests.bench import web
from tests.bench.watching import watching

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from tests.bench.watching import Watching

PARTS = 10
_SCRAPE = 15.0
"""Seconds between two scrapes of a Prometheus."""
_LOOKS = 3
"""How often a page is asked for to see what making it costs."""
_PATIENCE = 60.0
_MINUTE = 60.0


@dataclass(frozen=True)
class Part:
    """A part of the time; a minute of ten.

    Attributes:
        seconds: How long it was.
        processor: Processor time of the loop's process, in seconds.
        requests: How many requests the appliances got.
        resident: Its resident memory at the end, in MB.
    """

    seconds: float
    processor: float
    requests: int
    resident: float

    @property
    def processor_a_minute(self) -> float:
        """Seconds of processor time a minute."""
        return self.processor / self.seconds * _MINUTE

    @property
    def load(self) -> float:
        """Processor time, in per cent of one core."""
        return self.processor / self.seconds * 100

    @property
    def requests_a_minute(self) -> float:
        """Requests a minute."""
        return self.requests / self.seconds * _MINUTE


@dataclass
class Idle:
    """What was measured.

    Attributes:
        appliances: How many there are.
        first: The first look at everything, the start of the program included.
        alone: A part in which nobody looks at it.
        parts: The parts in which a screen and a Prometheus do.
        page: Milliseconds of processor time that the status page costs, each time.
        scrape: The same, for the metrics.
        peak: The loop's resident memory at its largest, in MB.
    """

    appliances: int
    first: Part
    alone: Part
    parts: list[Part] = field(default_factory=list)
    page: list[float] = field(default_factory=list)
    scrape: list[float] = field(default_factory=list)
    peak: float = 0.0

    @property
    def rest(self) -> list[Part]:
        """The parts in which it asked nobody anything."""
        return [each for each in self.parts if not each.requests]

    @property
    def resync(self) -> list[Part]:
        """The parts into which a resync fell."""
        return [each for each in self.parts if each.requests]


def together(parts: Sequence[Part]) -> Part:
    """Parts as one."""
    return Part(
        sum(each.seconds for each in parts),
        sum(each.processor for each in parts),
        sum(each.requests for each in parts),
        max(each.resident for each in parts),
    )


def measure(appliances: int, seconds: float) -> Idle:
    """Have the loop look at everything, and then watch it rest for so long."""
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name:
        folder = Path(name)
        web.make_fleet(folder, appliances, system_clock())
        with web.played(folder, web.LATENCY) as played:
            web.may_apply(folder)
            began = time.perf_counter()
            with watching(folder / "desired-state", web.environment(folder)) as loop:
                return anyio.run(_Measuring(loop, played, began).run, appliances, seconds / PARTS)


class _Measuring:
    def __init__(self, loop: Watching, played: subprocess.Popen[str], began: float) -> None:
        self._loop, self._played = loop, played
        self._at, self._processor = began, 0.0

    async def run(self, appliances: int, part: float) -> Idle:
        async with httpx.AsyncClient(base_url=self._loop.url, timeout=_PATIENCE) as client:
            while (await client.get("/readyz")).is_error:  # noqa: ASYNC110 - another process is asked
                await anyio.sleep(0.2)
            first = self._part()
            await anyio.sleep(part)
            found = Idle(appliances, first, self._part())
            for _ in range(_LOOKS):
                found.page.append(await self._cost(client, "/"))
                found.scrape.append(await self._cost(client, "/metrics"))
                await anyio.sleep(1)  # within a second it is the same page, which is made once
            async with anyio.create_task_group() as group:
                group.start_soon(_screen, client)
                group.start_soon(_prometheus, client)
                self._part()
                for _ in range(PARTS):
                    await anyio.sleep(part - (time.perf_counter() - self._at))
                    found.parts.append(self._part())
                group.cancel_scope.cancel()
        found.peak = self._loop.peak
        return found

    def _part(self) -> Part:
        """What there was since this was asked last."""
        at, processor = self._at, self._processor
        self._at, self._processor = time.perf_counter(), self._loop.processor
        return Part(self._at - at, self._processor - processor, web.requests(self._played), self._loop.resident)

    async def _cost(self, client: httpx.AsyncClient, path: str) -> float:
        before = self._loop.processor
        (await client.get(path)).raise_for_status()
        return 1000 * (self._loop.processor - before)


async def _screen(client: httpx.AsyncClient) -> None:
    """Ask for the page whenever it is told that there is something new, as its script does."""
    async with client.stream("GET", "/events") as news:
        async for line in news.aiter_lines():
            if line.startswith("data:"):
                (await client.get("/")).raise_for_status()


async def _prometheus(client: httpx.AsyncClient) -> None:
    while True:
        (await client.get("/metrics")).raise_for_status()
        await anyio.sleep(_SCRAPE)
