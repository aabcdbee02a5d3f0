"""Servers on loopback that play whatever may stand where an interface should: proxies, other products, hostile ones.

player = Player(issued, lambda request: [reply(b"<p>hello</p>")])
with playing(player) as address:
    await failure(address, issued)
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import StoreError
from reconciler.live.driver import OpenContext
from reconciler.live.network import Network
from reconciler.live.web import Trust
from reconciler.live.web.opening import open_driver
from reconciler.live.web.transport import Limits
from tests.live.web.interface import HOST, configuration
from tests.support.authority import NOW
from tests.support.presenting import listening, serving_context

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator

    from tests.support.authority import Issued

SHORT = Limits(patience=1.5, attempts=2, pause=0.01, pages=20)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Player:
    """A TLS server that answers every request in one way, and then parts.

    Attributes:
        requests: What it was sent, headers and body.
    """

    def __init__(self, issued: Issued, answer: Callable[[bytes], Iterable[bytes]]) -> None:
        self.requests: list[bytes] = []
        self._context = serving_context(issued.certificate.der, issued)
        self._answer = answer

    def __call__(self, connection: socket.socket) -> None:
        try:
            with self._context.wrap_socket(connection, server_side=True) as client:
                request = b""
                while b"\r\n\r\n" not in request:
                    part = client.recv(65536)
                    if not part:
                        return
                    request += part
                head, _, body = request.partition(b"\r\n\r\n")
                length = _LENGTH.search(head)
                while length and len(body) < int(length[1]):
                    body += client.recv(65536)
                self.requests.append(head + b"\r\n\r\n" + body)
                for part in self._answer(request):
                    client.sendall(part)
        except OSError:
            return


def reply(body: bytes, *headers: str, status: str = "200 OK", kind: str = "text/html") -> bytes:
    """A reply."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close", *headers]
    if not any(each.lower().startswith(("content-length", "transfer-encoding")) for each in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@contextmanager
def playing(player: Callable[[socket.socket], None]) -> Iterator[str]:
    """A player's `host:port`."""
    with listening(player) as (host, port):
        yield f"{host}:{port}"


def opening(address: str, root: Path = Path("/nowhere"), capture: Path | None = None) -> OpenContext:
    """What leads to an address in the place of the interface."""
    network = Network(frozenset({f"{HOST}:443"}), {f"{HOST}:443": address}, capture=capture)
    return OpenContext("east-1", root, lambda: NOW, network=network)


async def failure(address: str, issued: Issued, limits: Limits = SHORT, capture: Path | None = None) -> StoreError:
    """How observing the store behind an address fails."""
    trust = Trust(sha256=(issued.certificate.fingerprint,))
    with pytest.raises(StoreError) as caught:
        async with open_driver(configuration(trust=trust), opening(address, capture=capture), limits) as driver:
            await driver.observe()
    return caught.value
