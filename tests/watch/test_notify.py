from __future__ import annotations

import os
import socket
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.watch.notify import Notifier
from tests.watch import sample

if TYPE_CHECKING:
    from pathlib import Path


def listening(place: str) -> socket.socket:
    """Who is told, as a service manager listens."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(place)
    listener.settimeout(0)
    return listener


def heard(listener: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(listener.recv(100))
        except BlockingIOError:
            return found


def test_whoever_started_it_is_told(tmp_path: Path) -> None:
    place = str(tmp_path / "notify")
    with closing(listening(place)) as listener:
        notifier = Notifier({"NOTIFY_SOCKET": place})
        notifier.ready()
        notifier.stopping()
        assert heard(listener) == [b"READY=1", b"STOPPING=1"]


def test_a_new_beginning_is_no_end(tmp_path: Path) -> None:
    place = str(tmp_path / "notify")
    with closing(listening(place)) as listener:
        Notifier({"NOTIFY_SOCKET": place}).reloading()
        assert heard(listener) == [b"RELOADING=1"]


def test_a_socket_may_have_no_file() -> None:
    name = f"reconciler-test-{os.getpid()}"
    with closing(listening("\0" + name)) as listener:
        Notifier({"NOTIFY_SOCKET": "@" + name}).ready()
        assert heard(listener) == [b"READY=1"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_nobody_listens_and_nothing_happens(environ: dict[str, str]) -> None:
    Notifier(environ).ready()


@pytest.mark.anyio
async def test_signs_of_life_end_with_life(tmp_path: Path) -> None:
    place, board = str(tmp_path / "notify"), sample.board(sample.all_well())
    now = board.alive_at
    environ = {"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "60000", "WATCHDOG_PID": str(os.getpid())}
    with closing(listening(place)) as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(Notifier(environ).show_life, board, lambda: now)
            await anyio.sleep(0.3)
            assert heard(listener).count(b"WATCHDOG=1") >= 3
            now += timedelta(minutes=3)
            await anyio.sleep(0.05)
            heard(listener)
            await anyio.sleep(0.1)
            assert heard(listener) == []
            group.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize("more", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9000", "WATCHDOG_PID": "1"}])
async def test_no_signs_of_life_where_none_are_expected(tmp_path: Path, more: dict[str, str]) -> None:
    place, board = str(tmp_path / "notify"), sample.board(sample.all_well())
    with closing(listening(place)) as listener, anyio.fail_after(1):
        await Notifier({"NOTIFY_SOCKET": place, **more}).show_life(board, lambda: board.alive_at)
        assert heard(listener) == []
