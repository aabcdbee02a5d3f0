"""What can go wrong between us and an interface, each kind in a sentence of its own with a remedy."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING

import httpx

from reconciler.base.errors import FormatError, StoreUnreachable, StoreUnrecognised, StoreUntrusted
from reconciler.base.text import printable
from reconciler.live.web.transport import causes
from reconciler.live.web.trust import Untrusted
from reconciler.pki.certificate import parse_certificate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.live.web.page import Page

_LONGEST = 160
_MOST_LINES = 8
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})
_GATEWAY = frozenset({407, 502, 503, 504})


class Lost(Exception):
    """A request got no reply.

    Attributes:
        message: Why.
        remedy: What to do.
        sent: Whether it may have arrived.
        trusted: Whether it failed for another reason than that the server is not trusted.
    """

    def __init__(self, message: str, remedy: str, *, sent: bool, trusted: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.sent = sent
        self.trusted = trusted

    def as_error(self) -> StoreUnreachable:
        """For people."""
        return (StoreUnreachable if self.trusted else StoreUntrusted)(self.message, self.remedy)


def lost(error: Exception, endpoint: str, patience: float) -> Lost:
    """What became of a request that ended in an error of the client's.

    Args:
        error: The error.
        endpoint: The interface as `host:port`.
        patience: Seconds that were waited.
    """
    if isinstance(error, Untrusted):
        return Lost(*_untrusted(error, endpoint), sent=False, trusted=False)
    if isinstance(error, httpx.ConnectTimeout):
        return Lost(f"{endpoint} accepts no connection in time", "see whether it is up and not overloaded", sent=False)
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        message = f"{endpoint} did not answer within {patience:g} seconds"
        return Lost(message, "see whether it is up and not overloaded", sent=True)
    if isinstance(error, httpx.ConnectError):
        return _unconnected(error, endpoint)
    why = printable(str(error))[:_LONGEST]
    return Lost(
        f"{endpoint} broke the connection off{f': {why}' if why else ''}",
        "see whether it is up, then run again",
        sent=True,
    )


def _untrusted(error: Untrusted, endpoint: str) -> tuple[str, str]:
    try:
        certificate = parse_certificate(error.certificate)
    except FormatError:
        return f"{endpoint} presents a certificate that cannot be understood", "see what answers at that address"
    subject = printable(certificate.subject.display)[:_LONGEST]
    message = (
        f"{endpoint} presents a certificate that is not trusted: issued to '{subject}', valid until "
        f"{certificate.not_after:%Y-%m-%d}, SHA-256 {certificate.fingerprint}; nothing was sent to it"
    )
    remedy = (
        "compare the fingerprint with the one that the appliance shows on its own console; only if they agree, add it "
        f'to the store: `trust: {{sha256: ["{certificate.fingerprint}"]}}`'
    )
    return message, remedy


def _unconnected(error: httpx.ConnectError, endpoint: str) -> Lost:
    chain = list(causes(error))
    if any(isinstance(each, socket.gaierror) for each in chain):
        message, remedy = "its host name does not resolve", "check `url` and this machine's name service"
    elif any(isinstance(each, ConnectionRefusedError) for each in chain):
        message, remedy = "the connection is refused", "check host and port in `url`, and whether the interface is up"
    elif any(isinstance(each, OSError) and each.errno in _NO_ROUTE for each in chain):
        message, remedy = "there is no route to it", "check the network between this machine and the appliance"
    elif any(isinstance(each, ssl.SSLError) for each in chain):
        message, remedy = (
            "no TLS connection comes about",
            "see what answers at that address: it may not be the interface",
        )
    else:
        message, remedy = "it cannot be reached", "check host and port in `url`, and the network"
    return Lost(f"{endpoint}: {message}", remedy, sent=False)


def unexpected_answer(status: int, page: Page, endpoint: str) -> StoreUnrecognised:
    """An answer with a status that says that there is no page."""
    said = f" ('{title_of(page)}')" if page.title else ""
    what = f"{endpoint} answers with status {status}{said}"
    if status in _GATEWAY:
        return StoreUnrecognised(
            f"{what}, as a proxy or an overloaded server does", "see what stands between here and the interface"
        )
    return StoreUnrecognised(what, "check the path in `url`, and what the appliance's own log says")


def not_recognised(what: str, wanted: str, page: Page) -> StoreUnrecognised:
    """A page that is not understood, with what was looked for and what was seen."""
    said = [title_of(page), *(cut(line) for line in page.lines())]
    seen = ", ".join(f"'{line}'" for line in list(dict.fromkeys(filter(None, said)))[:_MOST_LINES])
    return StoreUnrecognised(
        f"{what} is not recognised: looked for {wanted}, saw {seen or 'nothing'}",
        "if this is an appliance, keep the page with `reconciler doctor --capture DIR` and send it to us",
    )


def title_of(page: Page) -> str:
    """A page's title, fit to be shown."""
    return cut(page.title)


def cut(text: str) -> str:
    """A text from a page, fit to be shown: on one line, nothing in it that steers a terminal, not too long."""
    plain = printable(text[: _LONGEST + 1])
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}..."


def said(before: Iterable[str], after: Iterable[str]) -> str:
    """What a page says now that it did not say before, in one line."""
    known = set(before)
    new = [cut(line) for line in after if line not in known]
    return cut("; ".join(dict.fromkeys(new[:3])))
