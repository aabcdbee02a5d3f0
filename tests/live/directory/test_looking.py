"""Looks and changes that have to wait: for another process, for each other, for a file system that does not answer."""

from __future__ import annotations

import fcntl
import sys
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import to_thread
from anyio.to_thread import current_default_thread_limiter

from reconciler.base.errors import StoreUnreachable
from reconciler.live.directory import DRIVER, DirectoryConfiguration, driver, looking, operations, snapshot
from reconciler.live.driver import OpenContext
from tests.live.directory.stores import new_store, store_at, upload
from tests.support.authority import NOW, self_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from typing import Any, TypeAlias

    from reconciler.live.driver import Driver
    from reconciler.live.store import LiveStore

    Attempt: TypeAlias = Callable[..., Coroutine[Any, Any, object]]

pytestmark = pytest.mark.anyio
ISSUED = self_signed(["a.example.com"])
FINGERPRINT = ISSUED.certificate.fingerprint
SOON = 10.0
"""Seconds, far below how long a store that is held is waited for."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        new_store(tmp_path / name)
    return tmp_path


def opened(root: Path, name: str, given_up: Callable[[], bool] = bool) -> AbstractAsyncContextManager[Driver]:
    context = OpenContext(name, root, lambda: NOW, given_up=given_up)
    return DRIVER.open(DirectoryConfiguration(driver="directory", path=name), context)


async def look(root: Path, name: str, given_up: Callable[[], bool] = bool) -> LiveStore:
    async with opened(root, name, given_up) as store:
        return await store.observe()


async def change(root: Path, name: str, given_up: Callable[[], bool] = bool) -> None:
    async with opened(root, name, given_up) as store:
        await store.import_(upload(ISSUED))


BOTH = pytest.mark.parametrize("attempt", [look, change])


@contextmanager
def held(root: Path, name: str) -> Iterator[None]:
    """A store that another process holds."""
    with (root / name / ".store/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@BOTH
async def test_a_store_that_is_held_holds_up_no_other(root: Path, attempt: Attempt) -> None:
    with held(root, "a"):
        async with anyio.create_task_group() as waiting:
            for _ in range(int(current_default_thread_limiter().total_tokens) + 5):
                waiting.start_soon(attempt, root, "a")
            await anyio.sleep(0.2)
            with anyio.fail_after(SOON):
                await look(root, "b")
                await change(root, "b")
            waiting.cancel_scope.cancel()
    assert FINGERPRINT in store_at(root / "b").observe().by_fingerprint


@BOTH
async def test_whoever_waits_for_a_store_can_be_cancelled(root: Path, attempt: Attempt) -> None:
    begin = time.monotonic()
    with held(root, "a"), anyio.move_on_after(0.2) as scope:
        await attempt(root, "a")
    assert scope.cancelled_caught
    assert time.monotonic() - begin < SOON
    assert FINGERPRINT not in store_at(root / "a").observe().by_fingerprint


@BOTH
async def test_whoever_waits_for_a_store_goes_on_when_it_is_free(root: Path, attempt: Attempt) -> None:
    async with anyio.create_task_group() as group:
        with held(root, "a"):
            group.start_soon(attempt, root, "a", lambda: True)  # not even who gives up gives up at once
            await anyio.sleep(0.2)
    assert (FINGERPRINT in store_at(root / "a").observe().by_fingerprint) == (attempt is change)


@BOTH
async def test_nobody_waits_for_ever(root: Path, monkeypatch: pytest.MonkeyPatch, attempt: Attempt) -> None:
    monkeypatch.setattr(driver, "LOCK_PATIENCE", 0.2)
    with held(root, "a"), pytest.raises(StoreUnreachable, match="has been held by another process for"):
        await attempt(root, "a")


@BOTH
async def test_nobody_waits_for_what_is_given_up(root: Path, attempt: Attempt) -> None:
    begin = time.monotonic()
    with held(root, "a"), pytest.raises(StoreUnreachable, match="is held by another process"):
        await attempt(root, "a", lambda: time.monotonic() > begin + 0.2)
    assert time.monotonic() - begin < SOON
    assert FINGERPRINT not in store_at(root / "a").observe().by_fingerprint


class Disk:
    """A file system that does not answer where `a` is looked at, until it does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = threading.Event()
        self.asked: list[str] = []
        self._read = snapshot.read_directory
        monkeypatch.setattr(operations, "read_directory", self.read)

    def read(self, root: Path) -> object:
        self.asked.append(root.name)
        assert root.name != "a" or self.answers.wait(60)
        return self._read(root)


@pytest.fixture
def disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    del root  # made while it answers
    monkeypatch.setattr(looking, "LONG", 0.3)
    made = Disk(monkeypatch)
    yield made
    made.answers.set()


async def test_directories_are_looked_at_one_at_a_time(root: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "LONG", 60.0)
    async with anyio.create_task_group() as group:
        group.start_soon(look, root, "a")
        await anyio.sleep(0.2)
        group.start_soon(look, root, "b")
        await anyio.sleep(0.2)
        assert disk.asked == ["a"]
        disk.answers.set()
    assert disk.asked == ["a", "b"]


async def test_a_file_system_that_does_not_answer_holds_up_the_others_for_a_moment_only(root: Path, disk: Disk) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(look, root, "a")
        await anyio.sleep(0.1)
        with anyio.fail_after(SOON):
            for _ in range(3):
                await look(root, "b")
        assert disk.asked == ["a", "b", "b", "b"]
        disk.answers.set()


async def test_a_look_can_be_given_up_and_no_other_is_begun_before_it_has_ended(
    root: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with anyio.move_on_after(0.2) as scope:
        await look(root, "a")
    assert scope.cancelled_caught
    with monkeypatch.context() as patch:
        patch.setattr(driver, "LOCK_PATIENCE", 0.2)
        with pytest.raises(StoreUnreachable, match=r"an earlier look at .*/a has not ended yet"):
            await look(root, "a")
    with anyio.fail_after(SOON):
        await look(root, "b")
    assert disk.asked == ["a", "b"]
    async with anyio.create_task_group() as group:
        group.start_soon(look, root, "a")
        await anyio.sleep(0.2)
        disk.answers.set()
    assert disk.asked == ["a", "b", "a"]


async def test_what_a_look_raises_reaches_who_waits(root: Path) -> None:
    def failing() -> None:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await looking.looks().take(root, failing)
    with pytest.raises(StoreUnreachable, match="cannot be read: No such file"):
        await look(root, "none")


async def test_a_look_sees_the_context_of_who_waits(root: Path) -> None:
    context = ContextVar("context", default="none")
    context.set("seen")
    assert await looking.looks().take(root, context.get) == "seen"


async def test_one_thread_serves_all_looks_and_ends_with_the_last(root: Path) -> None:
    threads = []

    async def one() -> None:
        threads.append(await looking.looks().take(root, threading.current_thread))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(one)
    assert len(set(threads)) == 1
    threads[0].join(SOON)
    assert not threads[0].is_alive()


async def test_a_thread_ends_with_the_look_that_was_given_up(root: Path) -> None:
    answers, threads = threading.Event(), []

    def hanging() -> None:
        threads.append(threading.current_thread())
        answers.wait(60)

    with anyio.move_on_after(0.2):
        await looking.looks().take(root, hanging)
    assert threads[0].is_alive()
    answers.set()
    await to_thread.run_sync(threads[0].join, SOON)
    assert not threads[0].is_alive()


SCRIPT = """
import sys, time
from pathlib import Path
import anyio
from reconciler.live.directory.looking import looks

def look():
    time.sleep(float(sys.argv[1]))
    print("ended", flush=True)

async def main():
    with anyio.move_on_after(0.1):
        await looks().take(Path("a"), look)
    if sys.argv[2] == "exit":
        raise SystemExit(3)

anyio.run(main)
print("over", flush=True)
"""


@pytest.mark.parametrize(("how", "output", "code"), [("return", "over\n", 0), ("exit", "", 3)])
async def test_a_look_that_hangs_does_not_keep_the_program_from_ending(how: str, output: str, code: int) -> None:
    with anyio.fail_after(SOON):
        ran = await anyio.run_process([sys.executable, "-c", SCRIPT, "60", how], check=False)
    assert (ran.stdout.decode(), ran.stderr.decode(), ran.returncode) == (output, "", code)


async def test_a_look_that_was_given_up_but_ends_is_let_end() -> None:
    ran = await anyio.run_process([sys.executable, "-c", SCRIPT, "0.5", "return"])
    assert (ran.stdout.decode(), ran.stderr.decode()) == ("over\nended\n", "")
