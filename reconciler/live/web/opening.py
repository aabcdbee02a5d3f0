"""Opening the store behind an interface: whom to trust, where to connect to, which secrets to fetch and when."""

from __future__ import annotations

import math
import os
import ssl
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import httpx
from anyio import CapacityLimiter, to_thread

from reconciler.base.errors import StoreUnreachable
from reconciler.base.secrets import resolve
from reconciler.live.directory.files import locked
from reconciler.live.network import endpoint
from reconciler.live.web.capture import Capture
from reconciler.live.web.driver import WebDriver
from reconciler.live.web.exchange import Exchange
from reconciler.live.web.known import known_certificates, remember
from reconciler.live.web.listing import Interface
from reconciler.live.web.session import Session
from reconciler.live.web.transport import InterfaceTransport, Limits
from reconciler.live.web.trust import Pins, authority_context
from reconciler.pki.reading import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from reconciler.live.driver import OpenContext
    from reconciler.live.web.configuration import WebConfiguration

_HTTPS = 443
_PARTING = 5.0
_LOCK_PATIENCE = 90.0


@asynccontextmanager
async def open_session(
    configuration: WebConfiguration, context: OpenContext, limits: Limits
) -> AsyncIterator[tuple[Session, Pins]]:
    """A session with an interface, not signed in yet; signed out at the end.

    Raises:
        StoreUnreachable: The operator's settings do not allow the host.
        UnreadableInput: The root that it trusts cannot be read.
    """
    parts = urlsplit(configuration.url)
    host, port = parts.hostname or "", parts.port or _HTTPS
    # Before anything else: no secret is looked up for a host that nobody has allowed.
    address = context.network.address(host, port)
    place = endpoint(host, port)
    known = known_certificates(context.network.known_appliances, place)
    pins = Pins({*configuration.trust.sha256, *((context.declared | known) - context.retired)})
    transport = InterfaceTransport(host, address, pins, _root(configuration, context))

    capture = Capture(context.network.capture / context.appliance, {host}) if context.network.capture else None

    def credentials() -> tuple[str, str]:
        folder = context.folder or context.root
        found = (resolve(each, os.environ, folder) for each in (configuration.username, configuration.password))
        username, password = (each.decode("utf-8", "replace") for each in found)
        if capture:
            capture.hide({username, password})
        return username, password

    headers = {"accept": "text/html", "accept-encoding": "identity", "accept-language": "en"}
    async with httpx.AsyncClient(
        transport=transport, headers=headers, timeout=limits.timeout, trust_env=False
    ) as client:
        session = Session(Exchange(client, configuration.url, limits, capture), credentials)
        try:
            yield session, pins
        finally:
            with anyio.move_on_after(min(_PARTING, limits.patience), shield=True):
                await session.close()


@asynccontextmanager
async def open_driver(
    configuration: WebConfiguration, context: OpenContext, limits: Limits | None = None
) -> AsyncIterator[WebDriver]:
    """Open the store behind an interface. Signing in waits until something is asked of it."""
    bounds = limits or Limits()
    # Reserved first: who has waited must know the certificates that the other one has had made.
    async with _reserved(configuration, context), open_session(configuration, context, bounds) as (session, pins):
        file = context.network.known_appliances

        def keep(fingerprints: Iterable[str]) -> None:
            remember(file, session.endpoint, fingerprints)

        yield WebDriver(Interface(session, bounds.pages), pins, keep)


@asynccontextmanager
async def _reserved(configuration: WebConfiguration, context: OpenContext) -> AsyncIterator[None]:
    """Keep every other apply with these operator settings away from an appliance, whose interface cannot do that.

    Where nothing lasts, or nothing may be written, nobody else is expected: it is done without.

    Raises:
        StoreUnreachable: Another process has been at work on it all the time.
    """
    known = context.network.known_appliances
    with ExitStack() as held:
        if context.changes and known is not None:
            parts = urlsplit(configuration.url)
            place = endpoint(parts.hostname or "", parts.port or _HTTPS)
            file = known.with_name(f"{known.name}.{place}.lock")
            lock = locked(file, exclusive=True, patience=_LOCK_PATIENCE, given_up=context.given_up)
            try:
                # Whoever waits here does so in a thread, which is not to be one that others need.
                await to_thread.run_sync(held.enter_context, lock, limiter=CapacityLimiter(math.inf))
            except TimeoutError as error:
                problem = f"another apply has been at work on {place} for {_LOCK_PATIENCE:g} seconds"
                raise StoreUnreachable(problem, "wait until it has finished, and run again") from error
            except InterruptedError as error:
                problem = f"another apply is at work on {place}"
                raise StoreUnreachable(problem, "apply again when it has finished") from error
            except OSError:
                pass
        yield


def _root(configuration: WebConfiguration, context: OpenContext) -> bytes | None:
    if configuration.trust.ca is None:
        return None
    contents = read(context.read(configuration.trust.ca))
    if len(contents.certificates) != 1:
        raise StoreUnreachable(f"{configuration.trust.ca} is not one certificate", "name the file of one root")
    root = contents.certificates[0].der
    try:
        authority_context(root)
    except ssl.SSLError as error:
        raise StoreUnreachable(f"{configuration.trust.ca} cannot be used as a root", "name another root") from error
    return root
