"""The directory driver as the rest of the program sees it: options, opening, and the `Driver` protocol.

Operations block on locks, disks and the reload command, so each runs in a thread of its own. One that has begun is
not given up when its task is cancelled: it ends first.
"""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Literal

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from reconciler.base.references import PlacePath, StoreConfiguration
from reconciler.live.directory.operations import DirectoryStore
from reconciler.live.driver import DriverType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta
    from pathlib import Path

    from reconciler.base.clock import Clock
    from reconciler.live.driver import CertificateForm, ExportedFile, ExportOptions, OpenContext, Upload
    from reconciler.live.store import LiveStore


FACTORY_NAME = "BeyondTrust Appliance"
"""Common name of the certificate that ships with every appliance."""


_READER = RunVar[CapacityLimiter]("reader of certificate directories")


def _reader() -> CapacityLimiter:
    """One directory is read at a time: reading is mostly parsing, and threads that parse only wait for each other.

    Over a thousand directories, sixteen threads take more than twice as long as one (`make bench`).
    """
    try:
        return _READER.get()
    except LookupError:
        limiter = CapacityLimiter(1)
        _READER.set(limiter)
        return limiter


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


class DirectoryDriver:
    """A certificate directory. See `reconciler.live.driver.Driver` for what its methods promise."""

    def __init__(self, store: DirectoryStore) -> None:
        self._store = store

    async def observe(self) -> LiveStore:
        """Everything the store holds now. Changes nothing."""
        return await to_thread.run_sync(self._store.observe, limiter=_reader())

    async def create_self_signed(self, form: CertificateForm, valid_for: timedelta) -> None:
        """Create Self-Signed Certificate, valid from the clock's present instant for exactly `valid_for`."""
        await to_thread.run_sync(self._store.create_self_signed, form, valid_for)

    async def create_request(self, form: CertificateForm) -> None:
        """Create Certificate Request."""
        await to_thread.run_sync(self._store.create_request, form)

    async def import_(self, upload: Upload) -> None:
        """Import. What is there already is left as it is."""
        await to_thread.run_sync(self._store.import_, upload)

    async def set_default(self, fingerprint: str) -> None:
        """Make a certificate the default."""
        await to_thread.run_sync(self._store.set_default, fingerprint)

    async def remove(self, fingerprint: str) -> None:
        """Remove a certificate, unless it is the default or the factory certificate."""
        await to_thread.run_sync(self._store.remove, fingerprint)

    async def remove_request(self, fingerprint: str) -> None:
        """Withdraw a pending request."""
        await to_thread.run_sync(self._store.remove_request, fingerprint)

    async def export(self, fingerprint: str, options: ExportOptions) -> ExportedFile:
        """Export a certificate in the format that the options ask for."""
        return await to_thread.run_sync(self._store.export, fingerprint, options)

    async def recover(self) -> None:
        """Reload, where an interrupted change or a failed reload left that due."""
        await to_thread.run_sync(self._store.recover)


@asynccontextmanager
async def _open(configuration: StoreConfiguration, context: OpenContext) -> AsyncIterator[DirectoryDriver]:
    store = _store(configuration, context)
    with ExitStack() as held:
        if context.changes:
            await to_thread.run_sync(held.enter_context, store.reserved(context.given_up))
        yield DirectoryDriver(store)


def _store(configuration: StoreConfiguration, context: OpenContext) -> DirectoryStore:
    assert isinstance(configuration, DirectoryConfiguration)  # noqa: S101 - what the entry point pairs it with
    return DirectoryStore(context.root / configuration.path, context.clock, context.reload)


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
