from __future__ import annotations

import gc
import logging
import re
import socket
import threading
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx
import pytest

from reconciler.base.errors import UsageError
from reconciler.watch import endpoints, metrics, page
from reconciler.watch.board import Board
from reconciler.watch.endpoints import serving
from reconciler.watch.model import Source, Watched
from tests.watch import sample
from tests.watch.sample import HOSTILE, MINUTE, NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from anyio.abc import ByteStream

    from reconciler.watch.glance import Glance

pytestmark = pytest.mark.anyio

PATHS = ("/", "/api/status", "/healthz", "/readyz", "/metrics", "/events")
READ_AT_ONCE = PATHS[:-1]
BOARD = sample.board(sample.all_well())


@asynccontextmanager
async def asking(board: Board = BOARD, listen: str = "127.0.0.1:0") -> AsyncIterator[httpx.AsyncClient]:
    """Somebody on this machine; it is noon."""
    async with (
        serving(board, listen, clock=lambda: NOW) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client,
    ):
        yield client


def port_of(client: httpx.AsyncClient) -> int:
    return urlsplit(str(client.base_url)).port or 0


async def raw(port: int, request: bytes) -> bytes:
    """What comes back for a request of any form, until the other side ends the connection."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request)
        answer = b""
        with anyio.fail_after(10):
            async for chunk in stream:
                answer += chunk
        return answer


# Alive and ready


async def test_a_loop_that_turns_is_alive() -> None:
    board = sample.board(sample.all_well())
    async with asking(board) as client:
        board.alive_at = NOW - 2 * MINUTE
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.text) == (200, "ok\n")
        board.alive_at = NOW - 2 * MINUTE - MINUTE / 60
        answer = await client.get("/healthz")
        assert answer.status_code == 503
        assert answer.text == "The loop has shown no sign of life since 2026-11-28 11:57:59 UTC.\n"
        assert "The loop stands still" in (await client.get("/")).text


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (sample.watched(source=Source(place="x")), "No desired state is in force yet.\n"),
        (
            sample.watched(source=Source(place="x", problem=f"no \N{BELL}such {HOSTILE}".replace("\n", ""))),
            "No desired state is in force yet: no \N{BELL}such ",
        ),
        (sample.watched(sample.unseen("b\x1b"), sample.appliance("a")), "Not looked at yet: b\\x1b.\n"),
        (sample.watched(sample.appliance("a")), "The first turn has not ended yet.\n"),
    ],
)
async def test_what_is_not_ready_says_why(known: Watched, why: str) -> None:
    async with asking(Board(known)) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.text.startswith(why)
        assert answer.text.removesuffix("\n").isprintable()


async def test_a_loop_that_has_looked_at_everything_is_ready() -> None:
    async with asking() as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.text) == (200, "ok\n")


# What is shown


async def test_metrics_status_and_page_show_the_board() -> None:
    board = sample.board(sample.all_well())
    async with asking(board) as client:
        answer = await client.get("/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.content == metrics.exposition(board)

        answer = await client.get("/api/status")
        assert answer.headers["content-type"] == "application/json"
        assert Watched.model_validate_json(answer.content) == board.watched

        answer = await client.get("/")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"] == page.policy()
        assert "All 7 in step" in answer.text

        board.show(sample.troubled())
        assert "3 need you" in (await client.get("/")).text


async def test_metrics_are_made_once_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    board, made = sample.board(sample.all_well()), list[bytes]()
    exposition = metrics.exposition

    def counted(shown: Board) -> bytes:
        made.append(exposition(shown))
        return made[-1]

    def changes() -> Iterator[None]:
        yield
        board.show(sample.troubled())
        yield
        board.alive_at += MINUTE
        yield
        board.ready = not board.ready
        yield
        board.lost = lambda: 3
        yield
        board.count(errors=1)
        yield

    monkeypatch.setattr(metrics, "exposition", counted)
    async with asking(board) as client:
        for _ in changes():
            before = len(made)
            assert {(await client.get("/metrics")).content for _ in range(3)} == {exposition(board)}
            assert len(made) == before + 1


async def test_nobody_keeps_frames_or_guesses_what_is_answered_and_the_server_does_not_tell_its_name() -> None:
    async with asking() as client:
        for path in (*READ_AT_ONCE, "/nothing-here"):
            headers = (await client.get(path)).headers
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "server" not in headers


async def test_what_is_not_there_is_not_found() -> None:
    async with asking() as client:
        for path in ("/nothing-here", "/api/", "/../etc/passwd", "/%00"):
            assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("path", [*PATHS, "/nothing-here"])
async def test_nothing_can_be_changed_from_here(path: str) -> None:
    async with asking() as client:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "STRANGE"):
            answer = await client.request(method, path)
            assert answer.status_code == 405
            assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", PATHS)
async def test_a_head_is_an_answer_without_its_body(path: str) -> None:
    async with asking() as client:
        asked = f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = await raw(port_of(client), asked.encode())
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\n")


async def test_an_answer_that_cannot_be_made_is_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Board):
        async def newer_than(self, version: int) -> int:
            raise RuntimeError(str(version))

    caplog.set_level(logging.DEBUG, "reconciler")
    board = Broken(sample.all_well())
    board.alive_at = NOW
    board.figures = None  # type: ignore[assignment]
    async with asking(board) as client:
        answer = await client.get("/metrics")
        assert answer.status_code == 500
        assert answer.text == "This could not be made; `reconciler --debug watch` tells why.\n"
        # What has begun already can only end.
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/events")
        assert (await client.get("/healthz")).status_code == 200
    assert {(each.name, each.levelno) for each in caplog.records} == {("reconciler.watch.endpoints", logging.DEBUG)}


# Who may ask


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost:80", 200),
        ("127.0.0.1:9464", 200),
        ("127.1.2.3", 200),
        ("[::1]:9464", 200),
        ("[::1]", 200),
        ("attacker.example", 421),
        ("127.0.0.1.attacker.example", 421),
        ("localhost.attacker.example:9464", 421),
        ("10.0.0.1", 421),
        ("192.0.2.1", 421),
        ("127.0.0.1@attacker.example", 421),
        ("[::1", 421),
        ("[fe80::1]", 421),
        ("::1", 421),
        ("", 421),
    ],
)
async def test_only_who_asks_for_this_machine_is_answered(host: str, status: int) -> None:
    async with asking() as client:
        for path in ("/healthz", "/api/status"):
            assert (await client.get(path, headers={"Host": host})).status_code == status
        answer = await client.get("/nothing-here", headers={"Host": host})
        assert answer.status_code == (404 if status == 200 else status)
        assert status == 200 or "ask for localhost or 127.0.0.1" in answer.text


async def test_who_names_no_host_or_speaks_no_http_is_turned_away() -> None:
    async with asking() as client:
        assert (await raw(port_of(client), b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 421")
        assert (await raw(port_of(client), b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 400")
        twice = b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: attacker.example\r\n\r\n"
        assert (await raw(port_of(client), twice)).startswith(b"HTTP/1.1 400")
        assert (await raw(port_of(client), b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.1 400")


async def test_a_page_from_elsewhere_may_not_listen() -> None:
    async with asking() as client:
        for site in ("cross-site", "same-site", "none"):
            assert (await client.get("/events", headers={"Sec-Fetch-Site": site})).status_code == 403


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:0", "[::]:0", "192.0.2.1:9464", "example.com:80", "127.0.0.1", "127.0.0.1:x", ":0", "127.0.0.1:\u0663"],
)
async def test_no_other_interface_is_listened_on(listen: str) -> None:
    with pytest.raises(UsageError, match="loopback") as raised:
        async with serving(BOARD, listen):
            pass
    assert "127.0.0.1:9464" in raised.value.remedy


async def test_localhost_and_version_6_are_this_machine_too() -> None:
    async with asking(listen="localhost:0") as client:
        assert client.base_url.host == "127.0.0.1"
        assert (await client.get("/healthz")).status_code == 200
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no version 6 of the loopback address")
    async with asking(listen="[::1]:0") as client:
        assert client.base_url.host == "::1"
        assert (await client.get("/healthz")).status_code == 200


async def test_a_port_that_is_taken_or_is_none_is_said() -> None:
    async with asking() as client:
        with pytest.raises(UsageError, match="in use"):
            async with serving(BOARD, f"127.0.0.1:{port_of(client)}"):
                pass
    with pytest.raises(UsageError, match="no port"):
        async with serving(BOARD, "127.0.0.1:99999"):
            pass


# News


@asynccontextmanager
async def listening(client: httpx.AsyncClient) -> AsyncIterator[AsyncIterator[int]]:
    """The states that are told of."""

    async def numbers(response: httpx.Response) -> AsyncIterator[int]:
        async for line in response.aiter_lines():
            assert re.fullmatch(r"|event: state|data: -?\d+", line)
            if line.startswith("data: "):
                yield int(line.removeprefix("data: "))

    async with client.stream("GET", "/events", headers={"Sec-Fetch-Site": "same-origin"}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield numbers(response)


async def test_news_come_at_once_then_with_each_change_but_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_PACE", 0.2)
    board = sample.board(sample.all_well())
    async with asking(board) as client, listening(client) as told:
        assert await anext(told) == 0
        began = anyio.current_time()
        for _ in range(50):
            board.show(board.watched)
        assert await anext(told) == 50
        assert anyio.current_time() - began > 0.1
        with anyio.move_on_after(0.5) as quiet:
            await anext(told)
        assert quiet.cancelled_caught


async def test_that_nothing_is_new_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_PACE", 0.01)
    monkeypatch.setattr(endpoints, "_TICK", 0.05)
    async with asking() as client, listening(client) as told:
        assert [await anext(told) for _ in range(3)] == [BOARD.version] * 3


async def test_who_comes_late_may_not_listen_until_somebody_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_LISTENERS", 1)
    async with asking() as client:
        async with listening(client) as told:
            await anext(told)
            answer = await client.get("/events")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
            assert (await client.get("/healthz")).status_code == 200
        with anyio.fail_after(10):
            while (await client.head("/events")).status_code == 503:
                gc.collect()
                await anyio.sleep(0.02)


async def test_too_many_connections_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_CONNECTIONS", 3)
    async with asking() as client, AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port_of(client)))
        assert (await client.get("/healthz")).status_code == 200
        late = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port_of(client)))
        with anyio.fail_after(5), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await late.receive()
        assert (await client.get("/healthz")).status_code == 200


async def ended(stream: ByteStream) -> float:
    """For how many seconds the other side keeps a connection on which nothing is sent any more."""
    began = anyio.current_time()
    with anyio.fail_after(10), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            await stream.receive()
    return anyio.current_time() - began


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-More: ",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
    ],
)
async def test_who_asks_nothing_does_not_keep_others_from_asking(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_IDLE", 0.5)
    monkeypatch.setattr(endpoints, "_CONNECTIONS", 5)

    async def trickle(stream: ByteStream) -> None:
        with suppress(anyio.BrokenResourceError):
            while True:
                await stream.send(b"a")
                await anyio.sleep(0.05)

    async with asking() as client, AsyncExitStack() as stack:
        held = [
            await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port_of(client))) for _ in range(5)
        ]
        async with anyio.create_task_group() as group:
            for each in held:
                if begun:
                    await each.send(begun)
                    group.start_soon(trickle, each)
            with pytest.raises(httpx.TransportError):
                await client.get("/healthz")
            assert max([await ended(each) for each in held]) < 3
            group.cancel_scope.cancel()
        assert (await client.get("/healthz")).status_code == 200


async def test_who_does_not_read_what_was_asked_for_is_not_kept_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_IDLE", 0.3)
    board = sample.board(sample.many(3000))

    def read(greedy: socket.socket) -> int:
        number = 0
        with suppress(ConnectionResetError):
            while part := greedy.recv(1_000_000):
                number += len(part)
        return number

    async with asking(board) as client:
        with socket.create_connection(("127.0.0.1", port_of(client)), 20) as greedy:
            greedy.sendall(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
            await anyio.sleep(2)
            assert await anyio.to_thread.run_sync(read, greedy) < 5 * len(board.watched.model_dump_json())
        assert (await client.get("/healthz")).status_code == 200


async def test_who_listens_for_news_or_waits_for_an_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_IDLE", 0.1)
    made = metrics.exposition

    def slowly(board: Board) -> bytes:
        time.sleep(0.5)
        return made(board)

    monkeypatch.setattr(metrics, "exposition", slowly)
    board = sample.board(sample.all_well())
    async with asking(board) as client, listening(client) as told:
        assert await anext(told) == 0
        assert (await client.get("/metrics")).status_code == 200
        await anyio.sleep(0.5)
        board.show(sample.troubled())
        assert await anext(told) == 1


async def test_a_hundred_who_listen_and_read_nothing_disturb_nobody_and_hold_up_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoints, "_PACE", 0.01)
    board = sample.board(sample.many(200))
    asked = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    greedy = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20
    sockets = []
    try:
        async with asking(board) as client:
            for number in range(110):
                # They send what they want at once, and never read.
                each = socket.create_connection(("127.0.0.1", port_of(client)))
                each.sendall(asked if number < 100 else greedy)
                sockets.append(each)
            latest = 0.0
            for _ in range(100):
                board.show(board.watched)
                began = anyio.current_time()
                await anyio.sleep(0.005)
                latest = max(latest, anyio.current_time() - began)
            assert (await client.get("/healthz")).status_code == 200
            assert latest < 0.5
            leaving = anyio.current_time()
        assert anyio.current_time() - leaving < 1
    finally:
        for each in sockets:
            each.close()


async def test_an_answer_that_is_being_made_holds_up_no_end() -> None:
    entered, released = threading.Event(), threading.Event()

    class Slow:
        def __getattr__(self, name: str) -> None:
            entered.set()
            released.wait(10)

    board = sample.board(sample.all_well())
    board.figures = Slow()  # type: ignore[assignment]
    try:
        async with asking(board) as client:
            asked = socket.create_connection(("127.0.0.1", port_of(client)))
            asked.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while not entered.is_set():  # noqa: ASYNC110 - it is set by a thread
                await anyio.sleep(0.01)
            leaving = anyio.current_time()
        assert anyio.current_time() - leaving < 1
        assert asked.recv(1) == b""
        asked.close()
    finally:
        released.set()


async def test_the_port_is_free_as_soon_as_all_has_ended() -> None:
    async with asking() as client:
        port = port_of(client)
        await client.get("/")
    async with asking(listen=f"127.0.0.1:{port}") as client:
        assert (await client.get("/healthz")).status_code == 200


async def test_a_page_for_which_many_ask_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = page.status_page

    def counted(shown: Glance) -> str:
        made.append(shown)
        return make(shown)

    monkeypatch.setattr(page, "status_page", counted)
    board = sample.board(sample.all_well())

    async def ask(client: httpx.AsyncClient) -> None:
        assert (await client.get("/")).status_code == 200

    async with asking(board) as client:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask, client)
        assert len(made) == 1
        board.show(sample.troubled())
        await ask(client)
        assert len(made) == 2
