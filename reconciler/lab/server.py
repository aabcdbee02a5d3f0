"""Simulated appliances on the network: one listening socket each on the loopback address, all in one event loop.

uvicorn's server is not used, only its protocol: a hundred servers that each wake ten times a second, catch signals and
wait a tenth of a second to end are too many for one process.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.server import ServerState

from reconciler.base.errors import StoreError, UsageError
from reconciler.lab.disturbance import Connection, Disturbed, reset
from reconciler.lab.pages import application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from reconciler.lab.appliance import LabAppliance

HOST = "127.0.0.1"
_BACKLOG = 256
_RENEWAL = 60.0


@asynccontextmanager
async def serve(*appliances: LabAppliance, first_port: int = 0) -> AsyncIterator[None]:
    """Serve appliances until the block is left; each has its `port` inside it.

    Args:
        appliances: Whose stores exist.
        first_port: Port of the first one, the others follow; 0 for free ports.

    Raises:
        UsageError: A port is in use.
    """
    listeners: list[Listener] = []
    renewal = asyncio.create_task(_renew(appliances))
    try:
        for index, appliance in enumerate(appliances):
            listener = Listener(appliance, first_port + index if first_port else 0)
            listeners.append(listener)
            await listener.open()
            appliance.listener = listener
        yield
    finally:
        renewal.cancel()
        with suppress(asyncio.CancelledError):
            await renewal
        for each in listeners:
            await each.close()


async def _renew(appliances: tuple[LabAppliance, ...]) -> None:
    """Let each appliance renew its own certificates now and then."""
    while True:
        await asyncio.sleep(_RENEWAL)
        for each in appliances:
            # It is tried again in a minute, and at the next request.
            with suppress(StoreError):
                await each.call(each.lets_encrypt.renew)


class Listener:
    """The place where one appliance listens."""

    def __init__(self, appliance: LabAppliance, port: int) -> None:
        """Reserve a port.

        Raises:
            UsageError: It is in use.
        """
        self._reserved = _bound(port)
        self.port: int = self._reserved.getsockname()[1]
        self._context = appliance.selection.listening_context()
        self._config = uvicorn.Config(
            Disturbed(application(appliance), appliance),
            http=Connection,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=60,
        )
        self._config.load()
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Accept connections.

        Raises:
            UsageError: Somebody else listens on the port.
        """
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, sock=_bound(self.port, listening=True), ssl=self._context, backlog=_BACKLOG
        )

    def refuse(self, seconds: float) -> None:
        """Reset every connection, and refuse new ones for a while."""
        self._stop()
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._reopen(seconds))

    async def close(self) -> None:
        """End everything."""
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError):
                await self._opening
        self._stop()
        self._reserved.close()
        tasks = tuple(self._state.tasks)
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A transport that was aborted closes its socket in the next turn of the loop.
        await asyncio.sleep(0)

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.open()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for each in tuple(self._state.connections):
            reset(each.transport)

    def _connection(self) -> Connection:
        return Connection(self._config, self._state, {})


def _bound(port: int, *, listening: bool = False) -> socket.socket:
    """A socket on a port: one that only keeps it for us, or one that listens beside that one.

    SO_REUSEADDR lets the two share the port, and of all who ask for that only one may listen. With SO_REUSEPORT a
    server of somebody else could listen there too, and would be handed every other connection.
    """
    # Named as TCP, or asyncio would not switch Nagle's algorithm off, and each reply would wait for 40 ms.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        if listening:
            bound.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        bound.close()
        told = getattr(error, "strerror", None) or "it is no port"
        raise UsageError(f"port {port} cannot be used: {told}", "choose another port, or 0 for a free one") from error
    return bound
