"""What the pages show of a store: rows of text, in the order and the words of the guide. Escaping is the templates'."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.lab.release import Handles
from reconciler.live.store import Origin
from reconciler.pki.chain import ChainBuilder

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from reconciler.lab.sessions import Session
    from reconciler.live.store import LiveCertificate, LiveStore, PendingRequest
    from reconciler.pki.names import SubjectAlternativeName

T = TypeVar("T")

NEW_KEYS = {
    "rsa-2048": "New RSA key (2048 Bits)",
    "rsa-3072": "New RSA key (3072 Bits)",
    "rsa-4096": "New RSA key (4096 Bits)",
    "ec-p256": "New EC key (P-256)",
    "ec-p384": "New EC key (P-384)",
}
"""What the *Key* dropdown offers besides the existing keys."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How the controls of a page name the objects of the store.

    Attributes:
        kind: In which way.
        secret: What opaque names are made with.
        session: Whose positions count.
    """

    kind: Handles
    secret: bytes
    session: Session

    def handle(self, identity: str) -> str:
        """What a control carries for an object."""
        match self.kind:
            case Handles.FINGERPRINT:
                return identity
            case Handles.OPAQUE:
                return hmac.new(self.secret, identity.encode(), hashlib.sha256).hexdigest()[:16]
            case Handles.POSITION:
                known = self.session.handles
                if identity not in known:
                    known.append(identity)
                return str(known.index(identity) + 1)

    def resolve(self, handle: str, identities: Iterable[str]) -> str | None:
        """The object that a control meant, if it is still there."""
        if self.kind is Handles.POSITION:
            shown = self.session.handles
            number = int(handle) if handle.isdecimal() and len(handle) < 6 else 0  # noqa: PLR2004 - no list is so long
            named = shown[number - 1] if 0 < number <= len(shown) else None
            return named if named in set(identities) else None
        return next((each for each in identities if self.handle(each) == handle), None)


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A row of a table of certificates."""

    handle: str
    friendly_name: str
    warnings: tuple[str, ...]
    issued_to: str
    issued_by: str
    expiration: str
    names: tuple[str, ...]
    has_key: bool
    is_default: bool
    serial_number: str


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A row of the table of certificate requests."""

    handle: str
    subject: str
    names: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Portion(Generic[T]):
    """The part of a table that one page shows.

    Attributes:
        rows: Its rows.
        number: Which part it is, from 1.
        total: How many there are.
    """

    rows: Sequence[T]
    number: int = 1
    total: int = 1


def portion(rows: Sequence[T], size: int, wanted: str) -> Portion[T]:
    """One part of a table; the last one where less is left than was wanted, all of it where the size is 0."""
    if not size:
        return Portion(rows)
    total = max(1, -(-len(rows) // size))
    number = min(max(int(wanted) if wanted.isdecimal() and len(wanted) < 6 else 1, 1), total)  # noqa: PLR2004
    return Portion(rows[(number - 1) * size : number * size], number, total)


def instant(moment: dt.datetime) -> str:
    """A time as the guide shows it."""
    return f"{moment:%Y-%m-%d %H:%M:%S} GMT"


def shown_names(names: Iterable[SubjectAlternativeName]) -> tuple[str, ...]:
    """Alternative names, one a line."""
    return tuple(str(each) for each in names)


def in_order(store: LiveStore) -> list[LiveCertificate]:
    """The rows in their order: the default first, then by friendly name."""
    return sorted(
        store.certificates,
        key=lambda each: (each.fingerprint != store.default, each.friendly_name.casefold(), each.fingerprint),
    )


def certificate_rows(store: LiveStore, naming: Naming, now: dt.datetime) -> list[CertificateRow]:
    """Every certificate as a row."""
    builder = ChainBuilder(each.certificate for each in store.certificates)
    return [
        CertificateRow(
            naming.handle(each.fingerprint),
            each.friendly_name,
            _warnings(each, builder, now),
            each.certificate.subject.display,
            each.certificate.issuer.display,
            instant(each.certificate.not_after),
            shown_names(each.subject_alternative_names),
            each.has_key,
            each.fingerprint == store.default,
            f"{each.certificate.to_x509().serial_number:x}",
        )
        for each in in_order(store)
    ]


def _warnings(row: LiveCertificate, builder: ChainBuilder, now: dt.datetime) -> tuple[str, ...]:
    told = []
    if row.origin is Origin.FACTORY:
        told.append("This is the factory certificate. It should be replaced by one of your own.")
    if not builder.chains(row.certificate)[0].complete:
        told.append("The certificate chain is incomplete: import the intermediate and root certificates.")
    if row.certificate.not_after < now:
        told.append("The certificate has expired.")
    if row.certificate.not_before > now:
        told.append("The certificate is not valid yet.")
    return tuple(told)


def request_rows(store: LiveStore, naming: Naming) -> list[RequestRow]:
    """Every pending request as a row."""
    rows = [
        RequestRow(
            naming.handle(each.fingerprint),
            str(each.subject),
            shown_names(each.subject_alternative_names),
            request_fingerprint(each),
        )
        for each in store.requests
    ]
    return sorted(rows, key=lambda row: (row.subject.casefold(), row.fingerprint))


def request_fingerprint(request: PendingRequest) -> str:
    """What the column *Fingerprint* shows: forty hexadecimal digits, so SHA-1."""
    parsed = x509.load_pem_x509_csr(request.request_data.encode())
    return hashlib.sha1(parsed.public_bytes(Encoding.DER), usedforsecurity=False).hexdigest()


def key_in_words(kind: str) -> str:
    """A kind of key as the request's page shows it: `RSA (2048 Bits)`."""
    algorithm, _, size = kind.partition("-")
    return f"{algorithm.upper()} ({size.replace('p', 'P-') if algorithm == 'ec' else f'{size} Bits'})"


def existing_keys(store: LiveStore) -> list[tuple[str, str]]:
    """The existing keys of the *Key* dropdown: identity and what is written; an option for each that has the key.

    Where two keys would be written alike, the expiration tells them apart, and at last the key's own identity.
    """
    found: list[tuple[str, str, str]] = []
    for each in in_order(store):
        if each.has_key:
            text = f"Existing key: {each.friendly_name}"
            found.append((each.certificate.public_key, text, f"expires {instant(each.certificate.not_after)}"))
    for pending in store.requests:
        text = f"Existing key: {pending.subject.display} (certificate request)"
        found.append((pending.public_key, text, request_fingerprint(pending)[:8]))
    keys_by_text: dict[str, set[str]] = {}
    for key, text, _ in found:
        keys_by_text.setdefault(text, set()).add(key)
    options = [(key, text if len(keys_by_text[text]) == 1 else f"{text} ({more})") for key, text, more in found]
    return list(dict.fromkeys(options))
