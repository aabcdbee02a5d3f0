"""What a TLS server presents: the leaf certificate that a client gets to see, or why it sees none.

It only looks. It is no store and no driver, and it does not say whether what is presented is right: a certificate that
expired, or that nobody trusts, is what it is there to find.
"""

from __future__ import annotations

import errno
import socket
import ssl
from enum import StrEnum
from typing import TYPE_CHECKING

import anyio
from anyio.streams.tls import TLSAttribute, TLSStream

from reconciler.base.errors import FormatError
from reconciler.pki.certificate import parse_certificate
from reconciler.pki.names import normalize_dns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.pki.certificate import Certificate


class Unseen(StrEnum):
    """Why no certificate was seen."""

    UNRESOLVED = "unresolved"
    """The name of the host leads to no address."""
    UNREACHABLE = "unreachable"
    """There is no way to the host."""
    REFUSED = "refused"
    """The host is there, and nothing listens on the port."""
    TIMED_OUT = "timed-out"
    """No answer came, or not all of it, within the time limit."""
    CLOSED = "closed"
    """The connection was closed before a certificate came."""
    NO_TLS = "no-tls"
    """What answers refuses the handshake, or does not speak TLS."""
    NOT_UNDERSTOOD = "not-understood"
    """What it presents is no certificate that can be understood."""


async def presented(address: tuple[str, int], server_name: str | None, within: float) -> Certificate | Unseen:
    """Connect, and look at the leaf certificate that is presented to a client that asks for a name.

    The certificate is not verified, and that is right here and nowhere else: what is presented is the very question.
    Nothing is sent but the handshake, nothing is read after it, and no decision to trust is derived from it.

    Args:
        address: Host and port to connect to, as `Network.address` allows them.
        server_name: A host name for the server name indication (RFC 6066, section 3), or None to send none.
        within: Seconds that the whole may take.

    Raises:
        ValueError: The server name is a wildcard, an IP address, or no name at all: none can be asked for.
    """
    if server_name is not None:
        server_name = _asked_for(server_name)
    try:
        with anyio.fail_after(within):
            return await _look(address, server_name)
    except TimeoutError:
        return Unseen.TIMED_OUT


def _asked_for(server_name: str) -> str:
    normal = normalize_dns(server_name)
    if normal.startswith("*."):
        raise ValueError(f"{server_name!r} is a wildcard, which no client asks for")
    return normal


async def _look(address: tuple[str, int], server_name: str | None) -> Certificate | Unseen:
    try:
        stream = await anyio.connect_tcp(*address)
    except (socket.gaierror, UnicodeError):  # the latter where a part of the name is too long for DNS
        return Unseen.UNRESOLVED
    except OSError as error:
        return _unconnected(error)
    async with stream:
        try:
            tls = await TLSStream.wrap(
                stream, server_side=False, hostname=server_name, ssl_context=_context(), standard_compatible=False
            )
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return Unseen.CLOSED
        except ssl.SSLError:
            return Unseen.NO_TLS
        return _leaf(tls.extra(TLSAttribute.peer_certificate_binary))  # noqa: S610 - this is not Django


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _leaf(der: bytes | None) -> Certificate | Unseen:
    try:
        return parse_certificate(der or b"")
    except FormatError:
        return Unseen.NOT_UNDERSTOOD


_CATEGORIES = {errno.ECONNREFUSED: Unseen.REFUSED, errno.ETIMEDOUT: Unseen.TIMED_OUT, errno.ECONNRESET: Unseen.CLOSED}


def _unconnected(error: OSError) -> Unseen:
    """The most telling of what went wrong at the addresses of a host: an answer tells more than none."""
    found = {_CATEGORIES.get(each.errno or 0, Unseen.UNREACHABLE) for each in _attempts(error)}
    return next((each for each in _CATEGORIES.values() if each in found), Unseen.UNREACHABLE)


def _attempts(error: OSError) -> Iterable[OSError]:
    """Anyio tells of each address in the cause of the error: one, or a group of them."""
    cause = error.__cause__
    if isinstance(cause, ExceptionGroup):
        return [each for each in cause.exceptions if isinstance(each, OSError)]
    return [cause] if isinstance(cause, OSError) else [error]
