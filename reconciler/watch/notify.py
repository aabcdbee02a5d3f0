"""What systemd is told of the loop, where it was started by it: sd_notify(3), `Type=notify` of systemd.service(5)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from reconciler.watch.endpoints import STALLED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.base.clock import Clock
    from reconciler.watch.board import Board

_MICROSECONDS = 1_000_000


class Notifier:
    """Tells the service manager; nobody where there is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Find out whom to tell.

        Args:
            environ: The environment: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` with `WATCHDOG_PID` where signs of life are
                expected (sd_watchdog_enabled(3)).
        """
        place = environ.get("NOTIFY_SOCKET", "")
        # An abstract socket is named with an at sign in place of the zero byte that its name begins with.
        self._address = "\0" + place[1:] if place.startswith("@") else place if place.startswith("/") else ""
        period = environ.get("WATCHDOG_USEC", "")
        meant = environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        self._period = int(period) / _MICROSECONDS if period.isascii() and period.isdecimal() and meant else 0.0

    def ready(self) -> None:
        """Say that the loop has been started."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that it takes its settings anew, and will be ready again."""
        self._send("RELOADING=1")

    def stopping(self) -> None:
        """Say that it ends."""
        self._send("STOPPING=1")

    async def show_life(self, board: Board, clock: Clock) -> None:
        """Say again and again that the loop turns, for as long as it does."""
        if not (self._address and self._period):
            return
        while True:
            if clock() - board.alive_at <= STALLED:
                self._send("WATCHDOG=1")
            await anyio.sleep(self._period / 3)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # Whoever does not listen is not worth an error, nor a wait.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)  # noqa: FBT003 - the signature of the standard library
            sender.sendto(message.encode(), self._address)
