"""Looks at certificate directories, in threads: one at a time, but never all at the mercy of one that does not end."""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import anyio
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

from reconciler.live.directory.files import shown
from reconciler.live.directory.operations import StoreHeld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

T = TypeVar("T")
Jobs: TypeAlias = "SimpleQueue[Callable[[], bool]]"
"""What a thread is to do, one after the other; each says whether it is to wait for more."""

LONG = 2.0
"""Seconds after which a look lets the next one begin: only a file system that does not answer takes that long."""
PARTING = 1.0
"""Seconds that looks which were given up have to end when the program ends."""
_NAME = "look at a certificate directory"


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

    The threads are not anyio's, for which the end of the program would wait. One serves look after look while there
    are any to take, since a new one costs as much as a small look: the libraries make themselves at home in each.
    """

    def __init__(self) -> None:
        self._turn = CapacityLimiter(1)
        self._begun: set[_Look] = set()
        self._taken = 0
        self._idle: list[Jobs] = []

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

        self._taken += 1
        try:
            async with self._in_turn():
                return await self._in_thread(begun)
        except anyio.get_cancelled_exc_class():
            this.is_given_up = True
            raise
        finally:
            self._taken -= 1
            if not self._taken:
                self._let_go()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        loop, ended, outcome = asyncio.get_running_loop(), asyncio.Event(), Future[T]()
        if self._idle:
            jobs = self._idle.pop()
        else:
            jobs = SimpleQueue()
            threading.Thread(target=_work, args=(jobs,), name=_NAME, daemon=True).start()

        def run() -> bool:
            try:
                outcome.set_result(call())
            except BaseException as error:  # noqa: BLE001 - it belongs to who waits
                outcome.set_exception(error)
            try:
                loop.call_soon_threadsafe(end)
            except RuntimeError:  # the loop is closed: nobody waits any longer
                return False
            return True

        def end() -> None:
            ended.set()
            self._idle.append(jobs)
            if not self._taken:
                self._let_go()

        jobs.put(partial(copy_context().run, run))
        await ended.wait()
        return outcome.result()

    def _let_go(self) -> None:
        while self._idle:
            self._idle.pop().put(lambda: False)

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


def _work(jobs: Jobs) -> None:
    while jobs.get()():
        pass


@atexit.register
def _part() -> None:
    """Let those looks end that can: the interpreter, where it ends amidst native code that parses, may abort."""
    until = time.monotonic() + PARTING
    for each in threading.enumerate():
        if each.name == _NAME:
            each.join(max(0.0, until - time.monotonic()))


_LOOKS = RunVar[Looks]("looks at certificate directories")


def looks() -> Looks:
    """The looks of the event loop that runs."""
    try:
        return _LOOKS.get()
    except LookupError:
        made = Looks()
        _LOOKS.set(made)
        return made
