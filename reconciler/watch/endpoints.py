"""What the loop answers to whoever asks: alive, ready, metrics, and the status page. On this machine's loopback only.

Nothing can be changed from here, and nothing that is asked waits for the loop or keeps it waiting: each answer is made
of what the board shows, large ones in a thread. As in the lab, uvicorn's server is not used, only its protocol: the
server would catch the signals that are meant for the loop, and wait for browsers that listen for news to go away.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import logging
import re
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import anyio
import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from reconciler.base.clock import system_clock
from reconciler.base.errors import UsageError
from reconciler.base.text import printable
from reconciler.report.words import several, utc
from reconciler.watch import metrics, page
from reconciler.watch.glance import glance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    from reconciler.base.clock import Clock
    from reconciler.watch.board import Board

STALLED = dt.timedelta(minutes=2)
"""A loop that has shown no sign of life for so long counts as dead."""

_CONNECTIONS = 300
"""So many connections are served at once; whoever comes then is turned away, so that the loop keeps its descriptors."""
_LISTENERS = 200
"""So many browsers may listen for news at once; the other connections are for whoever asks whether the loop lives."""
_PACE, _TICK = 1.0, 20.0
"""News are told at most once in so many seconds, and at least once: a page counts the minutes since something."""
_GRACE = 0.5
"""Seconds for answers that are being made when everything ends."""
_IDLE = 10.0
"""Seconds in which a connection has to bring a request, and to take something of an answer that waits for it."""
_BACKLOG = 128
_HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:/?#@\s]+)(?::[0-9]{1,5})?")

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(
    board: Board, listen: str, *, clock: Clock = system_clock, stalled: dt.timedelta = STALLED
) -> AsyncIterator[str]:
    """Answer until the block is left, and be gone within a second then.

    Args:
        board: What is shown.
        listen: Address and port, `127.0.0.1:9464` or `[::1]:9464`; port 0 for a free one.
        clock: What the time is.
        stalled: For how long the loop may show no sign of life.

    Yields:
        The URL of the status page.

    Raises:
        UsageError: The address is not of the loopback interface, or is in use.
    """
    listening = _bound(listen)
    config = uvicorn.Config(
        application(board, clock, stalled),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
    )
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(config, state, {}), sock=listening, backlog=_BACKLOG
    )
    host, port = listening.getsockname()[:2]
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    finally:
        server.close()
        await _end(state)


async def _end(state: ServerState) -> None:
    """Let whoever listens go, so that each answer comes to its end; cancel what does not."""
    for each in tuple(state.connections):
        each.transport.abort()
    tasks = tuple(state.tasks)
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=_GRACE)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    # A transport that was aborted closes its socket in the next turn of the event loop.
    await asyncio.sleep(0)


class _Connection(H11Protocol):
    """A connection, unless there are too many; for as long as something is asked or answered on it."""

    _looked: tuple[object, int] = (None, 0)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _CONNECTIONS:
            transport.abort()
        self._next_look = self.loop.call_later(_IDLE, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._next_look.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """End it if it is held for nothing: whoever is silent must not keep others from asking."""
        unread = self.transport.get_write_buffer_size()
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None until something is asked
        answering = cycle is not None and not cycle.response_complete
        # An answer that is being made, and news that are waited for, are asked for and leave nothing unread.
        if (answering and not unread) or (cycle, unread) != self._looked:
            self._looked = (cycle, unread)
            self._next_look = self.loop.call_later(_IDLE, self._look)
        else:
            self.transport.abort()


def _bound(listen: str) -> socket.socket:
    """A socket on an address of the loopback interface."""
    host, _, port = listen.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    if not _is_loopback(host) or not (port.isascii() and port.isdecimal()):
        raise UsageError(
            f"{printable(listen)} is not an address of this machine's loopback interface and a port",
            "write one such as 127.0.0.1:9464; to look from elsewhere, forward it, as `ssh -L` does",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio would not switch Nagle's algorithm off.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, int(port)))
        bound.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        bound.close()
        told = getattr(error, "strerror", None) or "it is no port"
        raise UsageError(f"{listen} cannot be listened on: {told}", "choose another address or port") from error
    return bound


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def application(board: Board, clock: Clock, stalled: dt.timedelta) -> ASGIApp:
    """All that is answered, as an ASGI application.

    Args:
        board: What is shown.
        clock: What the time is.
        stalled: For how long the loop may show no sign of life.
    """
    answers = _Answers(board, clock, stalled)
    routes = [
        Route("/", answers.page),
        Route("/api/status", answers.status),
        Route("/events", answers.events),
        Route("/healthz", answers.alive),
        Route("/readyz", answers.ready),
        Route("/metrics", answers.metrics),
    ]
    return _Guarded(Starlette(routes=routes, exception_handlers={Exception: _failed}))


async def _failed(request: Request, error: Exception) -> Response:
    del request, error
    return PlainTextResponse("This could not be made; `reconciler --debug watch` tells why.\n", 500)


class _Guarded:
    """Turns away who may not ask, says what browsers may do with an answer, and lets no error out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = _refusal(scope) or self._app
        try:
            await answer(scope, receive, send_guarded)
        except Exception:  # noqa: BLE001 - whatever it is, the server goes on
            # It has been answered, if it had not begun to be; what has begun ends here.
            _log.debug("an answer could not be made", exc_info=True)


def _refusal(scope: Scope) -> Response | None:
    """Why somebody is turned away.

    A page from anywhere may have a browser on this machine ask here. It can read the answer only where it gets its own
    name to lead here (DNS rebinding), and then the browser sends that name.
    """
    if scope["method"] not in {"GET", "HEAD"}:
        return PlainTextResponse("Nothing can be changed from here.\n", 405, {"Allow": "GET, HEAD"})
    name = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    match = _HOST.fullmatch(name)
    host = match["host"].removeprefix("[").removesuffix("]").lower() if match else ""
    if host != "localhost" and not _is_loopback(host):
        return PlainTextResponse("This is only for this machine: ask for localhost or 127.0.0.1.\n", 421)
    return None


class _Answers:
    """What is answered, by path."""

    def __init__(self, board: Board, clock: Clock, stalled: dt.timedelta) -> None:
        self._board = board
        self._clock = clock
        self._stalled = stalled
        self._listeners = 0
        self._making = anyio.Lock()
        self._made: tuple[object, str] = (None, "")
        self._exposing = anyio.Lock()
        self._exposed: tuple[object, bytes] = (None, b"")

    async def alive(self, request: Request) -> Response:
        """Whether the loop turns."""
        del request
        since = self._stalled_since(self._clock())
        if since is None:
            return PlainTextResponse("ok\n")
        return PlainTextResponse(f"The loop has shown no sign of life since {utc(since)}.\n", 503)

    async def ready(self, request: Request) -> Response:
        """Whether a desired state is in force, and every appliance was looked at once."""
        del request
        if self._board.ready:
            return PlainTextResponse("ok\n")
        watched = self._board.watched
        if not watched.source.digest:
            why = f": {watched.source.problem}" if watched.source.problem else ""
            return PlainTextResponse(printable(f"No desired state is in force yet{why}") + ".\n", 503)
        unseen = several([each.name for each in watched.appliances if each.looked_at is None])
        told = f"Not looked at yet: {unseen}" if unseen else "The first turn has not ended yet"
        return PlainTextResponse(printable(told) + ".\n", 503)

    async def metrics(self, request: Request) -> Response:
        """Everything for Prometheus. It asks every few seconds, so it is made anew only when something has changed."""
        del request
        async with self._exposing:
            board = self._board
            key = (board.version, board.figures, board.alive_at, board.ready, board.lost())
            if self._exposed[0] != key:
                self._exposed = (key, await anyio.to_thread.run_sync(metrics.exposition, board, abandon_on_cancel=True))
            made = self._exposed[1]
        return Response(made, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def status(self, request: Request) -> Response:
        """What the loop knows, as the document that it keeps."""
        del request
        made = await anyio.to_thread.run_sync(self._board.watched.model_dump_json, abandon_on_cancel=True)
        return Response(made, media_type="application/json")

    async def page(self, request: Request) -> Response:
        """The status page. However many ask, it is made once for each state and second."""
        del request
        async with self._making:
            now = self._clock()
            key = (self._board.version, now)
            if self._made[0] != key:
                self._made = (key, await anyio.to_thread.run_sync(self._page, now, abandon_on_cancel=True))
            made = self._made[1]
        return Response(made, media_type="text/html", headers={"Content-Security-Policy": page.policy()})

    def _page(self, now: dt.datetime) -> str:
        return page.status_page(glance(self._board.watched, now, self._stalled_since(now)))

    def _stalled_since(self, now: dt.datetime) -> dt.datetime | None:
        """When the loop last showed that it runs, if that is too long ago."""
        return self._board.alive_at if now - self._board.alive_at > self._stalled else None

    async def events(self, request: Request) -> Response:
        """That there is something new, as server-sent events; what it is, the page itself tells."""
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return PlainTextResponse("This is for the status page.\n", 403)
        if self._listeners >= _LISTENERS:
            return PlainTextResponse("Too many listen already.\n", 503, {"Retry-After": "60"})
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        return StreamingResponse(self._news(), media_type="text/event-stream")

    async def _news(self) -> AsyncIterator[str]:
        """The number of the state that is shown: at once, whenever it changes, and now and then."""
        self._listeners += 1
        try:
            version = -1
            while True:
                with anyio.move_on_after(_TICK):
                    version = await self._board.newer_than(version)
                yield f"event: state\ndata: {version}\n\n"
                await anyio.sleep(_PACE)
        finally:
            self._listeners -= 1
