"""A simulated appliance in memory, for tests: the production `Driver` over values, with faults on request.

Certificates and keys are real and go through `reconciler.pki`; nothing is written anywhere.

    store = MemoryStore().put(issued)
    store.faults["import", 1] = Fault.LOST_AFTER      # the first import happens, and its answer is lost
    store.meanwhile["observe", 2] = lambda: ...       # somebody else is at work just before the second look
    store.calls                                       # ["observe", "import", "observe", ...]
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Literal, get_args

from anyio.lowlevel import checkpoint

from reconciler.base.errors import ActionRefused, EffectUnknown, FormatError, StoreUnreachable
from reconciler.base.references import StoreConfiguration
from reconciler.live.driver import DriverType, ExportedFile, Format, NewKey
from reconciler.live.store import LiveCertificate, LiveStore, Operation, Origin, PendingRequest
from reconciler.pki.chain import ChainBuilder
from reconciler.pki.issuing import certificate_request, self_signed
from reconciler.pki.keys import KeyKind, PrivateKey, create_key, private_key
from reconciler.pki.reading import read
from reconciler.pki.selection import LIBERAL, CandidateRule
from reconciler.pki.writing import write_der, write_pkcs7, write_pkcs8, write_pkcs12
from tests.support.authority import NOW, Issued
from tests.support.authority import self_signed as make_factory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from datetime import datetime, timedelta

    from reconciler.live.driver import CertificateForm, Driver, ExportOptions, OpenContext, Upload
    from reconciler.pki.certificate import Certificate
    from reconciler.pki.request import Request


class Fault(Enum):
    """What goes wrong with one call."""

    REFUSE = auto()
    """It is refused and nothing happens."""
    LOST_BEFORE = auto()
    """Nothing happens, and nobody can tell."""
    LOST_AFTER = auto()
    """It happens, and nobody can tell."""
    UNREACHABLE = auto()
    """Nothing can be asked."""
    CRASH = auto()
    """The driver itself is broken."""
    CRASH_AFTER = auto()
    """It happens, and then the driver turns out to be broken."""
    IGNORE = auto()
    """Nothing happens, and success is claimed."""


class Meter:
    """How many stores are open at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def enter(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def leave(self) -> None:
        self.now -= 1


@dataclass
class MemoryStore:
    """What a simulated appliance holds, what was asked of it, and what is to go wrong.

    Attributes:
        now: Its clock.
        rows: Certificates by fingerprint; whether a row has a key follows from `keys`.
        keys: Private keys by identity.
        requests: Pending requests by fingerprint.
        default: Fingerprint of the default certificate.
        calls: Every call, by name.
        faults: What goes wrong, by name and number (from 1) of a call.
        meanwhile: What somebody else does just before a call.
        exports: What the Export page hands out whatever is asked for, where it is not what it should be.
    """

    now: datetime = NOW
    rows: dict[str, LiveCertificate] = field(default_factory=dict)
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    requests: dict[str, PendingRequest] = field(default_factory=dict)
    default: str | None = None
    rule: CandidateRule = LIBERAL
    offers: frozenset[Operation] = frozenset(Operation)
    unfinished: str = ""
    calls: list[str] = field(default_factory=list)
    faults: dict[tuple[str, int], Fault] = field(default_factory=dict)
    meanwhile: dict[tuple[str, int], Callable[[], object]] = field(default_factory=dict)
    exports: ExportedFile | None = None
    meter: Meter = field(default_factory=Meter)

    def __post_init__(self) -> None:
        made = make_factory([], common_name="BeyondTrust Appliance")
        self.put(made, name="factory", origin=Origin.FACTORY)
        self.default = made.certificate.fingerprint

    def put(
        self,
        *held: Issued | Certificate,
        name: str = "",
        origin: Origin = Origin.ADMINISTRATOR,
        default: bool = False,
    ) -> MemoryStore:
        """Put certificates in, with their keys where there are any. Returns itself."""
        for each in held:
            certificate = each.certificate if isinstance(each, Issued) else each
            if isinstance(each, Issued):
                self.keys[certificate.public_key] = private_key(each.key)
            self.add(certificate, name, origin)
            if default:
                self.default = certificate.fingerprint
        return self

    def ask(self, issued: Issued) -> MemoryStore:
        """Put a pending request in that this certificate answers: its subject, its names, its key. Returns itself."""
        key, certificate = private_key(issued.key), issued.certificate
        made = certificate_request(key, certificate.subject, certificate.subject_alternative_names)
        self.keys[key.public_key] = key
        self.requests[made.fingerprint] = _pending(made)
        return self

    def add(self, certificate: Certificate, name: str, origin: Origin = Origin.ADMINISTRATOR) -> None:
        """Add one row."""
        label = "".join(each for each in name if each.isprintable()) or certificate.subject.display
        self.rows[certificate.fingerprint] = LiveCertificate(certificate, label, has_key=False, origin=origin)

    def drop(self, fingerprint: str) -> None:
        """Take a certificate out, and its key where nothing else uses it."""
        public_key = self.rows.pop(fingerprint).certificate.public_key
        self._drop_key(public_key)

    def drop_request(self, fingerprint: str) -> None:
        """Take a request out, and its key where nothing else uses it."""
        self._drop_key(self.requests.pop(fingerprint).public_key)

    def _drop_key(self, public_key: str) -> None:
        used = {each.certificate.public_key for each in self.rows.values()}
        if public_key not in used | {each.public_key for each in self.requests.values()}:
            self.keys.pop(public_key, None)

    @property
    def live(self) -> LiveStore:
        """What can be observed."""
        rows = (
            LiveCertificate(each.certificate, each.friendly_name, each.certificate.public_key in self.keys, each.origin)
            for _, each in sorted(self.rows.items())
        )
        requests = tuple(each for _, each in sorted(self.requests.items()))
        return LiveStore(tuple(rows), requests, self.default, self.rule, self.offers, self.unfinished)

    @property
    def changes(self) -> list[str]:
        """The calls that may change something."""
        return [each for each in self.calls if each not in {"open", "observe", "export", "recover"}]


class MemoryDriver:
    """The production interface over a `MemoryStore`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def observe(self) -> LiveStore:
        await self._call("observe", lambda: None)
        return self._store.live

    async def create_self_signed(self, form: CertificateForm, valid_for: timedelta) -> None:
        def effect() -> None:
            key = self._key(form)
            made = self_signed(key, form.subject, form.subject_alternative_names, self._store.now, valid_for)
            self._store.keys[key.public_key] = key
            self._store.add(made, form.friendly_name)

        await self._call("create_self_signed", effect)

    async def create_request(self, form: CertificateForm) -> None:
        def effect() -> None:
            key = self._key(form)
            made = certificate_request(key, form.subject, form.subject_alternative_names)
            self._store.keys[key.public_key] = key
            self._store.requests[made.fingerprint] = _pending(made)

        await self._call("create_request", effect)

    async def import_(self, upload: Upload) -> None:
        await self._call("import", lambda: self._take(upload))

    def _take(self, upload: Upload) -> None:
        store, contents = self._store, read(upload.content, upload.passphrase)
        keys = {each.public_key: each for each in contents.keys}
        rows = [each.certificate for each in store.rows.values()]
        if not contents.certificates and not keys:
            raise ActionRefused("there is nothing to import in the file", "choose another")
        if not {each.public_key for each in (*contents.certificates, *rows)}.issuperset(keys):
            raise ActionRefused("the file holds a key that fits no certificate", "import the certificate with it")
        store.keys.update(keys)
        new = [each for each in contents.certificates if each.fingerprint not in store.rows]
        for each in new:
            named = each.public_key in keys or len(new) == 1
            store.add(each, (upload.friendly_name or contents.friendly_name or "") if named else "")
            answered = [key for key, pending in store.requests.items() if pending.public_key == each.public_key]
            for fingerprint in answered:
                store.drop_request(fingerprint)

    async def set_default(self, fingerprint: str) -> None:
        def effect() -> None:
            if self._row(fingerprint).certificate.public_key not in self._store.keys:
                raise ActionRefused("a certificate without its key cannot be the default", "import its key")
            self._store.default = fingerprint

        await self._call("set_default", effect)

    async def remove(self, fingerprint: str) -> None:
        def effect() -> None:
            if self._row(fingerprint).origin is Origin.FACTORY:
                raise ActionRefused("the factory certificate cannot be removed", "leave it")
            if self._store.default == fingerprint:
                raise ActionRefused("the default cannot be removed", "choose another default")
            self._store.drop(fingerprint)

        await self._call("remove", effect)

    async def remove_request(self, fingerprint: str) -> None:
        def effect() -> None:
            if fingerprint not in self._store.requests:
                raise ActionRefused(f"there is no request {fingerprint}", "look at the store")
            self._store.drop_request(fingerprint)

        await self._call("remove_request", effect)

    async def export(self, fingerprint: str, options: ExportOptions) -> ExportedFile:
        made: list[ExportedFile] = []
        await self._call("export", lambda: made.append(self._exported(fingerprint, options)))
        return made[0]

    def _exported(self, fingerprint: str, options: ExportOptions) -> ExportedFile:
        if self._store.exports:
            return self._store.exports
        row = self._row(fingerprint)
        leaf, key = row.certificate, self._store.keys.get(row.certificate.public_key)
        builder = ChainBuilder(each.certificate for each in self._store.rows.values())
        chain = builder.chains(leaf)[0].certificates[1:] if options.chain else ()
        bundle = (leaf, *chain) if options.certificate else chain
        match options.certificate, options.private_key:
            case True, False if not chain:
                return ExportedFile(Format.DER, write_der(leaf))
            case _, False:
                return ExportedFile(Format.PKCS7, write_pkcs7(bundle))
            case _ if key is None:
                raise ActionRefused("its key is not in the store", "choose another")
            case False, True if not options.chain:
                return ExportedFile(Format.PKCS8, write_pkcs8(key, options.passphrase))
            case True, True:
                return ExportedFile(
                    Format.PKCS12, write_pkcs12(row.friendly_name, key, leaf, chain, options.passphrase)
                )
        raise ActionRefused("a key is not exported with a chain and without its certificate", "choose otherwise")

    async def recover(self) -> None:
        def effect() -> None:
            self._store.unfinished = ""

        await self._call("recover", effect)

    def _row(self, fingerprint: str) -> LiveCertificate:
        if fingerprint not in self._store.rows:
            raise ActionRefused(f"there is no certificate {fingerprint}", "look at the store")
        return self._store.rows[fingerprint]

    def _key(self, form: CertificateForm) -> PrivateKey:
        if isinstance(form.key, NewKey):
            if form.key.kind not in get_args(KeyKind):
                raise ActionRefused(f"there are no keys of kind {form.key.kind}", "choose another")
            return create_key(form.key.kind)  # type: ignore[arg-type]  # it was looked up just now
        if form.key.public_key not in self._store.keys:
            raise ActionRefused(f"there is no key {form.key.public_key}", "choose another")
        return self._store.keys[form.key.public_key]

    async def _call(self, name: str, act: Callable[[], None]) -> None:
        def effect() -> None:
            try:
                act()
            except FormatError as error:
                raise ActionRefused(error.message, error.remedy or "choose another") from error

        await checkpoint()
        store = self._store
        store.calls.append(name)
        number = Counter(store.calls)[name]
        store.meanwhile.get((name, number), lambda: None)()
        fault = store.faults.get((name, number))
        if fault in _INSTEAD:
            error = _INSTEAD[fault]()
            raise error
        if fault is not Fault.IGNORE:
            effect()
        if fault in _AFTERWARDS:
            error = _AFTERWARDS[fault]()
            raise error


def _pending(made: Request) -> PendingRequest:
    return PendingRequest(
        made.fingerprint, made.public_key, made.key_kind, made.subject, made.subject_alternative_names, made.pem
    )


def _lost() -> EffectUnknown:
    return EffectUnknown("no answer came", "look at the store")


def _broken() -> ZeroDivisionError:
    return ZeroDivisionError("a fault of the driver's own")


_INSTEAD: Mapping[Fault | None, Callable[[], Exception]] = {
    Fault.REFUSE: lambda: ActionRefused("the appliance refuses", "ask it why"),
    Fault.UNREACHABLE: lambda: StoreUnreachable("nobody answers", "check the cable"),
    Fault.LOST_BEFORE: _lost,
    Fault.CRASH: _broken,
}
_AFTERWARDS: Mapping[Fault | None, Callable[[], Exception]] = {Fault.LOST_AFTER: _lost, Fault.CRASH_AFTER: _broken}


class MemoryConfiguration(StoreConfiguration):
    """A store in memory; the appliance's name says which."""

    driver: Literal["memory"]


@asynccontextmanager
async def open_memory(store: MemoryStore) -> AsyncIterator[Driver]:
    """Open a store as production opens one."""
    driver = MemoryDriver(store)
    await driver._call("open", lambda: None)  # noqa: SLF001 - a fault may strike here, too
    store.meter.enter()
    try:
        yield driver
    finally:
        store.meter.leave()


def memory_driver(stores: Mapping[str, MemoryStore]) -> DriverType:
    """A driver type whose stores are these, by appliance."""

    @asynccontextmanager
    async def opening(_: StoreConfiguration, context: OpenContext) -> AsyncIterator[Driver]:
        async with open_memory(stores[context.appliance]) as driver:
            yield driver

    return DriverType(MemoryConfiguration, opening)
