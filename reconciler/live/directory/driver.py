"""The directory driver as the rest of the program sees it: options, opening, and the `Driver` protocol.

Operations block on disks and the reload command, so each runs in a thread of its own. Where another process holds the
directory they end at once and are tried again, so that waiting takes no thread, holds up nobody else, and can be
cancelled. A change that has begun is not given up when its task is cancelled: it ends first.
"""

from __future__ import annotations

import math
import os
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from reconciler.base.references import PlacePath, StoreConfiguration
from reconciler.live.directory.looking import looks
from reconciler.live.directory.operations import LOCK_PATIENCE, DirectoryStore, StoreHeld
from reconciler.live.driver import DriverType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
    from datetime import timedelta
    from pathlib import Path

    from reconciler.base.clock import Clock
    from reconciler.live.driver import CertificateForm, ExportedFile, ExportOptions, OpenContext, Upload
    from reconciler.live.store import LiveStore


FACTORY_NAME = "BeyondTrust Appliance"
"""Common name of the certificate that ships with every appliance."""


P = ParamSpec("P")
T = TypeVar("T")

_POLL = 0.05
_MOMENT = 1.0
"""Seconds for which even who waits no longer waits for another process: a look that it takes is over by then."""


class DirectoryConfiguration(StoreConfiguration):
    """A certificate directory that a TLS front end serves as it is (HAProxy: `crt DIR/`)."""

    driver: Literal["directory"]
    """Which driver: `directory`."""
    path: PlacePath
    """The directory, absolute or relative to this file."""

    @property
    def place(self) -> str:
        """`directory`, and its path from the desired state."""
        return f"{self.driver} {self.path}"

    def located(self, root: str, resolve: Callable[[str], Hashable]) -> Hashable:
        """The directory, however its path is written."""
        return self.driver, resolve(os.path.join(root, self.path))  # noqa: PTH118 - `resolve` decides what a path says


class DirectoryDriver:
    """A certificate directory. See `reconciler.live.driver.Driver` for what its methods promise."""

    def __init__(self, store: DirectoryStore, given_up: Callable[[], bool] = bool) -> None:
        self._store = store
        self._given_up = given_up

    async def observe(self) -> LiveStore:
        """Everything the store holds now. Changes nothing."""
        return await self._look(self._store.observe)

    async def create_self_signed(self, form: CertificateForm, valid_for: timedelta) -> None:
        """Create Self-Signed Certificate, valid from the clock's present instant for exactly `valid_for`."""
        await self._change(self._store.create_self_signed, form, valid_for)

    async def create_request(self, form: CertificateForm) -> None:
        """Create Certificate Request."""
        await self._change(self._store.create_request, form)

    async def import_(self, upload: Upload) -> None:
        """Import. What is there already is left as it is."""
        await self._change(self._store.import_, upload)

    async def set_default(self, fingerprint: str) -> None:
        """Make a certificate the default."""
        await self._change(self._store.set_default, fingerprint)

    async def remove(self, fingerprint: str) -> None:
        """Remove a certificate, unless it is the default or the factory certificate."""
        await self._change(self._store.remove, fingerprint)

    async def remove_request(self, fingerprint: str) -> None:
        """Withdraw a pending request."""
        await self._change(self._store.remove_request, fingerprint)

    async def export(self, fingerprint: str, options: ExportOptions) -> ExportedFile:
        """Export a certificate in the format that the options ask for."""
        return await self._look(self._store.export, fingerprint, options)

    async def recover(self) -> None:
        """Reload, where an interrupted change or a failed reload left that due."""
        await self._change(self._store.recover)

    async def _look(self, look: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._when_free(lambda: looks().take(self._store.root, partial(look, *args, **kwargs)))

    async def _change(self, change: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        await self._when_free(lambda: to_thread.run_sync(partial(change, *args, **kwargs)))

    async def _when_free(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Attempt something until no other process holds the store, or nobody waits any longer."""
        begin = anyio.current_time()
        while True:
            try:
                return await attempt()
            except StoreHeld:
                waited = anyio.current_time() - begin
                if waited >= LOCK_PATIENCE:
                    raise
                if waited >= _MOMENT and self._given_up():
                    raise self._store.not_waited_for() from None
            await anyio.sleep(_POLL)


@asynccontextmanager
async def _open(configuration: StoreConfiguration, context: OpenContext) -> AsyncIterator[DirectoryDriver]:
    store = _store(configuration, context, patience=0)
    with ExitStack() as held:
        if context.changes:
            # Whoever waits here does so in a thread, which is not to be one that others need.
            reserved, unlimited = store.reserved(context.given_up), CapacityLimiter(math.inf)
            await to_thread.run_sync(held.enter_context, reserved, limiter=unlimited)
        yield DirectoryDriver(store, context.given_up)


def _store(
    configuration: StoreConfiguration, context: OpenContext, *, patience: float = LOCK_PATIENCE
) -> DirectoryStore:
    assert isinstance(configuration, DirectoryConfiguration)  # noqa: S101 - what the entry point pairs it with
    return DirectoryStore(context.root / configuration.path, context.clock, context.reload, patience=patience)


def create_store(path: Path, clock: Clock, *, factory_name: str = FACTORY_NAME) -> None:
    """Make a new certificate directory as it comes from the factory: one self-signed certificate, the default.

    What an interrupted attempt left is completed. Blocks on the disk.

    Args:
        path: The directory; it may exist as long as it holds no certificate.
        clock: What the time is.
        factory_name: Common name of the factory certificate.

    Raises:
        ActionRefused: There is a store already, or it cannot be made.
        StoreUnreachable: Another process holds it.
        StoreUnrecognised: Files are in the way that no front end would load.
    """
    DirectoryStore(path, clock).create(factory_name)


def _create(configuration: StoreConfiguration, context: OpenContext) -> bool:
    store = _store(configuration, context)
    if store.exists():
        return False
    store.create(FACTORY_NAME)
    return True


DRIVER = DriverType(DirectoryConfiguration, _open, _create)
"""The entry point `directory` of the group `reconciler.drivers`."""
