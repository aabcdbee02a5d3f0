"""The `Driver` protocol: how a store is observed and changed, whatever stands behind it.

Drivers come by entry point (group `reconciler.drivers`). An entry point names a `DriverType`, which pairs the model of
the driver's options with a function that opens one; so a third party's options are validated, placed and described in
the schema like our own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from reconciler.base.errors import UnreadableInput
from reconciler.live.network import Network

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import timedelta
    from pathlib import Path

    from reconciler.base.clock import Clock
    from reconciler.base.references import StoreConfiguration
    from reconciler.live.store import LiveStore
    from reconciler.pki.certificate import DistinguishedName
    from reconciler.pki.names import SubjectAlternativeName


@dataclass(frozen=True, slots=True)
class NewKey:
    """Make a new key.

    Attributes:
        kind: In the words of the policy: `rsa-2048`, `ec-p256`, ...
    """

    kind: str


@dataclass(frozen=True, slots=True)
class ExistingKey:
    """Use a key that the store holds already.

    Attributes:
        public_key: Identity of the key.
    """

    public_key: str


@dataclass(frozen=True, slots=True)
class CertificateForm:
    """The fields of Security :: Certificate Installation > Create.

    Attributes:
        friendly_name: Certificate Friendly Name.
        key: The choice in the *Key* dropdown.
        subject: The Subject Name.
        subject_alternative_names: In the order in which they are added.
    """

    friendly_name: str
    key: NewKey | ExistingKey
    subject: DistinguishedName
    subject_alternative_names: tuple[SubjectAlternativeName, ...]


@dataclass(frozen=True, slots=True)
class Upload:
    """One file for the Import page, in any format that the guide lists.

    Attributes:
        content: The file. It may hold a key, so it is not shown.
        passphrase: The *Password* field, or None.
        friendly_name: What to call it where the interface lets one choose; else the interface's own choice stands.
    """

    content: bytes = field(repr=False)
    passphrase: bytes | None = field(default=None, repr=False)
    friendly_name: str = ""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The options of the Export page; the file format follows from them (DER, PKCS#8, PKCS#7, PKCS#12).

    Attributes:
        certificate: Include Certificate.
        private_key: Include Private Key.
        chain: Include Certificate Chain.
        passphrase: Protects the key; None leaves it unprotected.
    """

    certificate: bool = True
    private_key: bool = False
    chain: bool = False
    passphrase: bytes | None = field(default=None, repr=False)


class Format(StrEnum):
    """The formats that the Export page names."""

    DER = "DER"
    PKCS8 = "PKCS#8"
    PKCS7 = "PKCS#7"
    PKCS12 = "PKCS#12"


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """What the Export page hands out.

    Attributes:
        format: Its format.
        content: Its bytes, not shown, since they may hold a key.
    """

    format: Format
    content: bytes = field(repr=False)


class Driver(Protocol):
    """One appliance's store. Every method raises `StoreError` and nothing else.

    Methods that change something raise `ActionRefused` where nothing happened and `EffectUnknown` where that is not
    known. A method that returns has had its effect, on the store and on what is served. So where the store has changed
    but its front end could not be made to serve it, `EffectUnknown` is raised, and until a `recover` or a later change
    succeeds `LiveStore.unfinished` says so: such an action has failed, even though the store shows its effect.
    """

    async def observe(self) -> LiveStore:
        """Everything the store holds now. Changes nothing."""

    async def create_self_signed(self, form: CertificateForm, valid_for: timedelta) -> None:
        """Create Self-Signed Certificate. `valid_for` binds only where the interface can set it."""

    async def create_request(self, form: CertificateForm) -> None:
        """Create Certificate Request: the store makes or reuses the key and keeps it with the request."""

    async def import_(self, upload: Upload) -> None:
        """Import: every certificate in the file is added; one whose key the store holds is linked to it."""

    async def set_default(self, fingerprint: str) -> None:
        """Select the radio button in the Default column."""

    async def remove(self, fingerprint: str) -> None:
        """Remove a certificate, and its key where nothing else uses it."""

    async def remove_request(self, fingerprint: str) -> None:
        """Withdraw a pending request, and its key where nothing else uses it."""

    async def export(self, fingerprint: str, options: ExportOptions) -> ExportedFile:
        """Export a certificate in the format that the options ask for. Removes nothing."""

    async def recover(self) -> None:
        """Finish what an interrupted change left due (`LiveStore.unfinished`)."""


def _nothing_committed(path: str) -> bytes:
    raise UnreadableInput(f"{path} is not committed", "look at the path")


@dataclass(frozen=True, slots=True)
class OpenContext:
    """What a driver may need besides its options.

    Attributes:
        appliance: Name of the appliance.
        root: Folder of the desired state; relative places start there.
        clock: What the time is.
        reload: Command to run after a change of a directory store, from the operator's settings; empty for none.
        folder: Folder of the file in which the options stand: secrets that are files are found from there.
        network: Which hosts may be contacted, and how.
        declared: Fingerprints of the committed certificates that are declared for this appliance.
        retired: Fingerprints of the certificates that the appliance must get rid of.
        read: Reads committed material by its path from the root; raises `UnreadableInput`.
        changes: Whether the store will be changed. Then nobody else's apply is to be at work on it, where that can be
            seen to.
        given_up: Whether nobody waits any longer for somebody else's to end.
    """

    appliance: str
    root: Path
    clock: Clock
    reload: tuple[str, ...] = ()
    folder: Path | None = None
    network: Network = field(default_factory=Network)
    declared: frozenset[str] = frozenset()
    retired: frozenset[str] = frozenset()
    read: Callable[[str], bytes] = _nothing_committed
    changes: bool = False
    given_up: Callable[[], bool] = bool


class CheckOutcome(StrEnum):
    """What came of one check of `reconciler doctor`."""

    OK = "ok"
    WARNING = "warning"
    """It works, and somebody should look at it."""
    BY_HAND = "by hand"
    """The interface does not offer it: a person has to do it."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at to tell whether an appliance can be worked with.

    Attributes:
        subject: What was looked at, in a few words: `reachable`, `Security > Certificates`, `set the default`.
        outcome: What came of it.
        message: What was seen, in one sentence without a final full stop; may be empty where all is well.
        remedy: What to do about it, or empty.
    """

    subject: str
    outcome: CheckOutcome
    message: str = ""
    remedy: str = ""


OpenDriver: TypeAlias = "Callable[[StoreConfiguration, OpenContext], AbstractAsyncContextManager[Driver]]"


CreateStore: TypeAlias = "Callable[[StoreConfiguration, OpenContext], bool]"

Examine: TypeAlias = "Callable[[StoreConfiguration, OpenContext], Awaitable[tuple[Check, ...]]]"

TakePicture: TypeAlias = "Callable[[StoreConfiguration, OpenContext], Awaitable[bytes]]"


@dataclass(frozen=True, slots=True)
class DriverType:
    """A driver as its entry point offers it.

    Attributes:
        configuration: Model of its options; its `driver` field is a literal of the driver's name.
        open: Opens one store; closing it signs out.
        create: Makes a store, with its factory certificate, where there is none yet, and says whether it did; None for
            stores that are not made by us.
        endpoint: `hostname` where TLS is served at the appliance's host name on port 443 unless the YAML says
            otherwise, `none` where that is known only to the operator.
        examine: Looks whether a store can be reached and understood, step by step, up to the first step that fails;
            changes nothing and raises nothing of the `ReconcilerError` family. None where observing tells all.
        picture: Takes a picture of Status > Basics, as PNG; raises `StoreError`, or `UsageError` where what takes
            pictures is not installed. None where there is no such page.
    """

    configuration: type[StoreConfiguration]
    open: OpenDriver
    create: CreateStore | None = None
    endpoint: Literal["hostname", "none"] = "none"
    examine: Examine | None = None
    picture: TakePicture | None = None


@cache
def driver_types() -> Mapping[str, DriverType]:
    """All installed drivers by name."""
    found = {each.name: each.load() for each in entry_points(group="reconciler.drivers")}
    return {name: found[name] for name in sorted(found)}
