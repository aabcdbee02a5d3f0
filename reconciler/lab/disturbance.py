"""Carrying out faults: the layer between the network and the pages of a simulated appliance.

Every reply is held back until it is whole, so that what comes after the effect can be anything. The connection itself
is reached through the protocol class here, which hands its transport to the application.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import struct
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import TYPE_CHECKING

import anyio
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.lab.faults import Fault, FaultKind
from reconciler.live.driver import CertificateForm, NewKey
from reconciler.pki.certificate import distinguished_name

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from reconciler.lab.appliance import LabAppliance

_TRANSPORT = "transport"
_ABRUPT = struct.pack("ii", 1, 0)
_ERROR = b"<!DOCTYPE html><html><head><title>503 Service Unavailable</title></head><body><h1>Service Unavailable</h1>\
<p>The server is temporarily unable to service your request.</p></body></html>"
_NONSENSE = b"<html><tabel><tr><td>\xff\xfe<div id='x' id=\"y\"></p>0x1F: upstream <<<a href=>\n<form><inp</html></tr"
_BEFORE = (FaultKind.SERVER_ERROR, FaultKind.REFUSED, FaultKind.RESET_BEFORE)
_AFTER = (FaultKind.RESET_AFTER, FaultKind.TRUNCATED, FaultKind.GARBLED)


class Connection(H11Protocol):
    """A connection that lets the application reach its transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        """Hand the transport over in the state of every request."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the transport also where the peer has broken off; its parent leaves it open then, with its timer."""
        super().connection_lost(exc)
        self.transport.close()
        self._unset_keepalive_if_required()


@dataclass
class _Reply:
    """A reply that is held back."""

    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", ()))
        else:
            self.body += message.get("body", b"")


class Disturbed:
    """An application whose requests are counted, logged, and met by the faults of an appliance."""

    def __init__(self, app: ASGIApp, appliance: LabAppliance) -> None:
        self._app = app
        self._appliance = appliance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, well or badly."""
        try:
            await self._answer(scope, receive, send)
        except ClientDisconnect:
            pass  # whoever began to send a form has gone, and hears no reply
        except asyncio.CancelledError:
            # The appliance ends, and its connections have been broken off already.
            await _gone(receive)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == self._appliance.release.paths["style"]:
            await self._app(scope, receive, send)
            return
        query = scope["query_string"].decode("ascii", "replace")
        self._appliance.requests.append(f"{scope['method']} {scope['path']}{'?' if query else ''}{query}")
        met = {each.kind: each for each in self._appliance.faults.next()}
        await self._before(met)
        if any(kind in met for kind in _BEFORE):
            await self._instead(met, scope, receive, send)
            return
        reply = _Reply()
        await self._app(scope, receive, reply.take)
        if FaultKind.SESSION_EXPIRED_AFTER in met:
            self._appliance.sessions.drop()
        await self._after(met, reply, scope, receive, send)

    async def _before(self, met: dict[FaultKind, Fault]) -> None:
        if FaultKind.LATENCY in met:
            await anyio.sleep(met[FaultKind.LATENCY].seconds)
        if FaultKind.SESSION_EXPIRED in met:
            self._appliance.sessions.drop()
        if FaultKind.CONCURRENT in met:
            await (met[FaultKind.CONCURRENT].act or somebody_else)(self._appliance)

    async def _instead(self, met: dict[FaultKind, Fault], scope: Scope, receive: Receive, send: Send) -> None:
        if FaultKind.SERVER_ERROR in met:
            headers = [(b"content-type", b"text/html"), (b"content-length", str(len(_ERROR)).encode())]
            await _send(send, _Reply(503, headers, _ERROR))
            return
        listener = self._appliance.listener
        if FaultKind.REFUSED in met and listener is not None:
            listener.refuse(met[FaultKind.REFUSED].seconds)
        reset(scope["state"][_TRANSPORT])
        await _gone(receive)

    async def _after(
        self, met: dict[FaultKind, Fault], reply: _Reply, scope: Scope, receive: Receive, send: Send
    ) -> None:
        reply.headers.append(
            (b"date", format_datetime(self._appliance.clock().astimezone(dt.UTC), usegmt=True).encode())
        )
        fault = next((kind for kind in _AFTER if kind in met), None)
        if fault is FaultKind.RESET_AFTER:
            reset(scope["state"][_TRANSPORT])
            await _gone(receive)
        elif fault is FaultKind.GARBLED:
            headers = [(b"content-type", b"text/html"), (b"content-length", str(len(_NONSENSE)).encode())]
            await _send(send, _Reply(200, headers, _NONSENSE))
        elif fault is FaultKind.TRUNCATED:
            # A redirect has no body that could break off.
            whole = reply.body or b" " * 64
            headers = [pair for pair in reply.headers if pair[0].lower() != b"content-length"]
            headers.append((b"content-length", str(len(whole)).encode()))
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await send({"type": "http.response.body", "body": whole[: len(whole) // 2], "more_body": True})
            scope["state"][_TRANSPORT].close()
            await _gone(receive)
        else:
            await _send(send, reply)


async def _send(send: Send, reply: _Reply) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})


def reset(transport: asyncio.Transport) -> None:
    """End a connection so that its peer is told of a reset, not of an orderly end."""
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPT)
    transport.abort()


async def _gone(receive: Receive) -> None:
    """Wait until the connection has ended: what returns without a reply before that is answered with an error."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def somebody_else(appliance: LabAppliance) -> None:
    """What another administrator does meanwhile, unless a test says otherwise."""
    form = CertificateForm("Somebody else's", NewKey("ec-p256"), distinguished_name([("CN", "Somebody else's")]), ())
    await appliance.call(appliance.store.create_self_signed, form, dt.timedelta(days=365))
