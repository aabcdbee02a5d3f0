"""How requests get to one interface: only there, only to a server that is trusted, and in bounds of size and time."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from reconciler.live.web.trust import Pins, Untrusted, authority_context, pinned_context

if TYPE_CHECKING:
    from collections.abc import Iterator

_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=60)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one interface may cost.

    Attributes:
        patience: Seconds that one request may take from end to end, the reply read.
        size: Bytes that a reply may have.
        redirects: How often a reply may send us on.
        attempts: How often a request that changes nothing is made before it is given up.
        pause: Seconds before the second attempt; each further pause is twice as long, all with jitter.
        pages: Pages that one table may have.
    """

    patience: float = 30.0
    size: int = 8 << 20
    redirects: int = 5
    attempts: int = 3
    pause: float = 0.5
    pages: int = 200

    @property
    def timeout(self) -> httpx.Timeout:
        """How long each part of a request may take.

        Connecting and the handshake end well before the whole does: a handshake that is cancelled from outside would
        leave its connection open.
        """
        return httpx.Timeout(self.patience, connect=self.patience / 4)


class InterfaceTransport(httpx.AsyncBaseTransport):
    """Carries requests to where the interface answers. Which certificate suffices is decided at each handshake.

    Two clients in one: first by fingerprint; where that fails and a root is trusted, by the root. A server that fails
    both has been sent nothing.
    """

    def __init__(self, host: str, address: tuple[str, int], pins: Pins, root: bytes | None) -> None:
        self._host = host
        self._address = address
        self._pinned = httpx.AsyncHTTPTransport(verify=pinned_context(pins), limits=_ONE)
        self._rooted = httpx.AsyncHTTPTransport(verify=authority_context(root), limits=_ONE) if root else None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            Untrusted: The server is not trusted.
            httpx.TransportError: It cannot be reached, or breaks off.
        """
        try:
            return await self._pinned.handle_async_request(self._addressed(request))
        except Untrusted as untrusted:
            if self._rooted is None:
                raise
            try:
                return await self._rooted.handle_async_request(self._addressed(request))
            except httpx.ConnectError as error:
                if any(isinstance(each, ssl.SSLCertVerificationError) for each in causes(error)):
                    raise untrusted from error
                raise

    def _addressed(self, request: httpx.Request) -> httpx.Request:
        """The request for where the interface answers; the host that it speaks to keeps its name."""
        host, port = self._address
        url = request.url.copy_with(host=host, port=port)
        extensions = {**request.extensions, "sni_hostname": self._host}
        return httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=extensions)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pinned.aclose()
        if self._rooted:
            await self._rooted.aclose()


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what caused it, and so on; the members of groups, too."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
