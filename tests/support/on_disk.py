"""A certificate directory for random histories: the production driver, with faults on request as `MemoryStore` has."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from anyio.lowlevel import checkpoint

from reconciler.base.errors import ActionRefused, EffectUnknown, StoreUnreachable
from reconciler.live.directory.driver import FACTORY_NAME, DirectoryDriver
from reconciler.live.directory.operations import DirectoryStore
from reconciler.live.driver import Upload
from tests.support.authority import NOW, Issued
from tests.support.memory import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from reconciler.live.driver import Driver
    from reconciler.live.store import LiveStore
    from reconciler.pki.certificate import Certificate

_AFTERWARDS = {Fault.LOST_AFTER, Fault.CRASH_AFTER}


class OnDisk:
    """A certificate directory, what was asked of it, and what is to go wrong.

    Attributes:
        now: Its clock.
        calls: Every call, by name.
        faults: What goes wrong, by name and number (from 1) of a call.
        meanwhile: What somebody else does just before a call.
    """

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.calls: list[str] = []
        self.faults: dict[tuple[str, int], Fault] = {}
        self.meanwhile: dict[tuple[str, int], Callable[[], object]] = {}
        self._store = DirectoryStore(folder, lambda: self.now)
        self._store.create(FACTORY_NAME)

    @property
    def live(self) -> LiveStore:
        """What can be observed."""
        return self._store.observe()

    @property
    def keys(self) -> frozenset[str]:
        """The keys that it holds, with a certificate or with a pending request."""
        live = self.live
        keyed = {each.certificate.public_key for each in live.certificates if each.has_key}
        return frozenset(keyed | {each.public_key for each in live.requests})

    @property
    def default(self) -> str | None:
        """Fingerprint of the default certificate."""
        return self.live.default

    @default.setter
    def default(self, fingerprint: str) -> None:
        self._store.set_default(fingerprint)

    def put(self, *held: Issued | Certificate, default: bool = False) -> OnDisk:
        """Put certificates in, with their keys where there are any. Returns itself."""
        for each in held:
            if isinstance(each, Issued):
                self._store.import_(Upload(each.pkcs12(b"passphrase"), b"passphrase"))
                if default:
                    self.default = each.certificate.fingerprint
            else:
                self._store.import_(Upload(each.der))
        return self

    def drop(self, fingerprint: str) -> None:
        """Take a certificate out."""
        self._store.remove(fingerprint)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Driver]:
        """Open it as production does for an apply."""
        async with self._open() as driver:
            disturbed = _Disturbed(self, driver)
            await disturbed.call("open")
            yield disturbed

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Driver]:
        yield DirectoryDriver(self._store)


class _Disturbed:
    """The driver, as it behaves on a bad day."""

    def __init__(self, store: OnDisk, driver: Driver) -> None:
        self._store = store
        self._driver = driver

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - it is whatever the driver has
        async def call(*arguments: object) -> object:
            return await self.call(name, *arguments)

        return call

    async def call(self, name: str, *arguments: object) -> object:
        """Do what was asked for, or what goes wrong."""
        await checkpoint()
        store, what = self._store, name.rstrip("_")
        store.calls.append(what)
        place = what, Counter(store.calls)[what]
        store.meanwhile.get(place, lambda: None)()
        fault = store.faults.get(place)
        if fault and fault not in _AFTERWARDS:
            raise _error(fault)
        answer = await getattr(self._driver, name)(*arguments) if what != "open" else None
        if fault:
            raise _error(fault)
        return answer


def _error(fault: Fault) -> Exception:
    match fault:
        case Fault.REFUSE:
            return ActionRefused("the appliance refuses", "ask it why")
        case Fault.UNREACHABLE:
            return StoreUnreachable("nobody answers", "check the cable")
        case Fault.LOST_BEFORE | Fault.LOST_AFTER:
            return EffectUnknown("no answer came", "look at the store")
        case _:
            return ZeroDivisionError("a fault of the driver's own")
