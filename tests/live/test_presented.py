"""What TLS servers present, seen over real connections."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.base.clock import system_clock
from reconciler.live.directory import create_store
from reconciler.live.presented import Unseen, presented
from reconciler.pki.certificate import Certificate
from tests.support.authority import DAY, NOW, Authority, self_signed
from tests.support.haproxy import serving
from tests.support.presenting import Presenter, listening, refusing, serving_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio
LONG, SHORT = 20.0, 0.3
NAME = "access.example.com"


def resets(connection: socket.socket) -> None:
    connection.recv(1)


def closes(connection: socket.socket) -> None:
    connection.recv(4096)


def closes_within_its_answer(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"\x16\x03\x03\x00\x50")


def stays_silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def speaks_http(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def drips(connection: socket.socket) -> None:
    """A handshake record of which one byte comes at a time, and never the last."""
    connection.settimeout(0.02)
    try:
        connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03")
        while True:
            try:
                if not connection.recv(4096):
                    return
            except TimeoutError:
                connection.sendall(b"\x00")
    except OSError:
        return


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_leaf_is_seen_and_nothing_is_sent_after_the_handshake(host: str) -> None:
    issued = Authority.root().intermediate().issue([NAME])
    presenter = Presenter(issued)
    with listening(presenter, host) as address:
        assert await presented(address, NAME, LONG) == issued.certificate
    assert presenter.received == b""


async def test_a_name_is_asked_for_and_none_where_none_is_given() -> None:
    one, two = self_signed([NAME]), self_signed(["other.example.com"])
    presenter = Presenter(one, {"other.example.com": two})
    with listening(presenter) as address:
        seen = [await presented(address, name, LONG) for name in (NAME, None, "Other.example.com.")]
    assert presenter.asked == [NAME, None, "other.example.com"]
    assert seen == [one.certificate, one.certificate, two.certificate]


async def test_the_host_that_is_connected_to_is_not_asked_for_by_itself() -> None:
    presenter = Presenter(self_signed([NAME]))
    with listening(presenter) as (_, port):
        assert isinstance(await presented(("localhost", port), None, LONG), Certificate)
    assert presenter.asked == [None]


async def test_what_no_client_would_accept_is_seen_all_the_same() -> None:
    expired = self_signed(["else.example.org"], not_before=NOW - 900 * DAY, not_after=NOW - 800 * DAY)
    with listening(Presenter(expired)) as address:
        assert await presented(address, NAME, LONG) == expired.certificate


async def test_haproxy_presents_what_its_directory_holds(tmp_path: Path) -> None:
    create_store(tmp_path / "store", system_clock)
    with serving({"east-1": tmp_path / "store"}) as haproxy:
        seen = await presented(("127.0.0.1", haproxy.ports["east-1"]), NAME, LONG)
    assert isinstance(seen, Certificate)
    assert seen.common_name == "BeyondTrust Appliance"


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (resets, Unseen.CLOSED),
        (closes, Unseen.CLOSED),
        (closes_within_its_answer, Unseen.CLOSED),
        (speaks_http, Unseen.NO_TLS),
    ],
)
async def test_a_server_that_presents_nothing(answer: Callable[[socket.socket], None], seen: Unseen) -> None:
    with listening(answer) as address:
        assert await presented(address, NAME, LONG) is seen


async def test_a_handshake_that_is_refused() -> None:
    presenter = Presenter(self_signed([NAME]))
    presenter.context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    with listening(presenter) as address:
        assert await presented(address, NAME, LONG) is Unseen.NO_TLS


@pytest.mark.parametrize("answer", [stays_silent, drips])
async def test_a_server_that_does_not_come_to_the_point_is_given_up(answer: Callable[[socket.socket], None]) -> None:
    with listening(answer) as address:
        begun = anyio.current_time()
        assert await presented(address, NAME, SHORT) is Unseen.TIMED_OUT
        assert SHORT <= anyio.current_time() - begun < 2


async def test_a_port_on_which_nothing_listens() -> None:
    assert await presented(refusing(), NAME, LONG) is Unseen.REFUSED


@pytest.mark.parametrize(
    ("hosts", "seen"),
    [
        (("127.0.0.1", "127.0.0.2"), Unseen.REFUSED),
        (("224.0.0.1", "127.0.0.1"), Unseen.REFUSED),
        (("224.0.0.1", "224.0.0.2"), Unseen.UNREACHABLE),
    ],
)
async def test_an_answer_from_any_address_of_a_host_tells_more_than_none(
    monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, ...], seen: Unseen
) -> None:
    _, port = refusing()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]
    resolve = socket.getaddrinfo

    def resolved(host: str | bytes | None, *rest: int, **more: int) -> object:
        return found if host in {"pair.example.com", b"pair.example.com"} else resolve(host, *rest, **more)

    # No name of every machine leads to several addresses; what is done with them is real.
    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    assert await presented(("pair.example.com", port), NAME, LONG) is seen


@pytest.mark.parametrize("host", ["nowhere.invalid", f"{'a' * 64}.example.com"])
async def test_a_host_that_has_no_address(host: str) -> None:
    assert await presented((host, 443), NAME, LONG) is Unseen.UNRESOLVED


async def test_a_host_to_which_there_is_no_way() -> None:
    # TCP has no way to a group of hosts, and every kernel says so at once.
    assert await presented(("224.0.0.1", 443), NAME, LONG) is Unseen.UNREACHABLE


async def test_a_certificate_that_cannot_be_understood() -> None:
    issued = self_signed([NAME])
    presenter = Presenter(issued)
    # A version of X.509 that there is not; OpenSSL presents it without a look at it.
    broken = issued.certificate.der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x04", 1)
    presenter.context = serving_context(broken, issued)
    with listening(presenter) as address:
        assert await presented(address, NAME, LONG) is Unseen.NOT_UNDERSTOOD


@pytest.mark.parametrize("name", ["*.example.com", "127.0.0.1", "::1", "", "a b"])
async def test_what_no_client_asks_for_is_not_asked_for(name: str) -> None:
    with pytest.raises(ValueError, match=r"name|wildcard"):
        await presented(("127.0.0.1", 1), name, LONG)
