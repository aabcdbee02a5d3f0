"""Certificate files as a document: what is in each, how the certificates of all of them hang together, what they cover.

`inspect --format json` is this document as it is; the text is rendered from it. It describes and does not judge:
whether a certificate may be used is a matter of the desired state. It holds no key.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from reconciler.base.errors import ReconcilerError
from reconciler.pki.chain import Chain, ChainBuilder, has_issued
from reconciler.pki.names import NameType, covers
from reconciler.pki.strict import strict_objection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.pki.certificate import Certificate
    from reconciler.pki.reading import Contents
    from reconciler.pki.request import Request

FORMAT_VERSION = "1.0"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Role(StrEnum):
    """What a certificate is for, by the guide's words for a certificate chain."""

    LEAF = "server certificate"
    SELF_SIGNED = "self-signed server certificate"
    INTERMEDIATE = "intermediate"
    ROOT = "root"


class Validity(StrEnum):
    """Where an instant lies, seen from a validity."""

    VALID = "valid"
    EXPIRED = "expired"
    NOT_YET = "not yet valid"


class Coverage(_Document):
    """Whether a certificate covers a name that was asked for."""

    name: str
    """The host name or IP address."""
    covered: bool
    """Whether it is covered, strictly (RFC 9525)."""


class ChainView(_Document):
    """The best way up from a certificate within the files given."""

    certificates: tuple[str, ...]
    """Issued To of each, from the certificate itself up."""
    complete: bool
    """Whether the last one is a root."""
    missing: str | None
    """The issuer that no file holds, where the chain is not complete."""
    outside_validity: tuple[str, ...]
    """Issued To of those that are expired or not yet valid."""


class CertificateView(_Document):
    """One certificate."""

    role: Role
    """What it is for."""
    subject: str
    """Subject, in the order of the guide."""
    issuer: str
    """Issuer, likewise."""
    alternative_names: tuple[str, ...]
    """As the appliance shows them: `dNSName - *.example.com`."""
    not_before: dt.datetime
    """Start of validity, UTC."""
    not_after: dt.datetime
    """Expiration, UTC."""
    validity: Validity
    """Whether it is valid at the instant of the inspection."""
    key: str
    """Kind of key, in the words of the policy."""
    signature_hash: str
    """Hash of its signature."""
    private_key: bool
    """Whether one of the files holds its private key."""
    fingerprint: str
    """SHA-256 of the certificate."""
    chain: ChainView
    """The best way up."""
    coverage: tuple[Coverage, ...]
    """For each name that was asked for, if it is a server certificate."""
    strict: tuple[str, ...]
    """What strict clients would object to."""


class RequestView(_Document):
    """One certificate request."""

    subject: str
    """The subject that is asked for."""
    alternative_names: tuple[str, ...]
    """The names that are asked for."""
    key: str
    """Kind of key."""
    private_key: bool
    """Whether one of the files holds its private key."""
    fingerprint: str
    """SHA-256 of the request."""


class KeyView(_Document):
    """One private key, by what may be shown of it."""

    key: str
    """Kind of key."""
    public_key: str
    """SHA-256 of its public half."""
    belongs: bool
    """Whether one of the files holds a certificate or request for it."""


class FileView(_Document):
    """One file."""

    file: str
    """As it was named."""
    format: str = ""
    """Its format in words; empty where it was refused."""
    friendly_name: str | None = None
    """What a PKCS#12 file calls its certificate."""
    certificates: tuple[CertificateView, ...] = ()
    """In the order of the file."""
    requests: tuple[RequestView, ...] = ()
    """In the order of the file."""
    keys: tuple[KeyView, ...] = ()
    """In the order of the file."""
    keys_not_opened: int = 0
    """How many private keys were left alone, since no passphrase was given."""
    notes: tuple[str, ...] = ()
    """What a person should know about it."""
    problem: str | None = None
    """Why it was refused."""
    remedy: str = ""
    """What to do about that."""


class Inspection(_Document):
    """Some files, together."""

    format_version: str = FORMAT_VERSION
    """Version of this document's format."""
    at: dt.datetime
    """The instant at which validity was judged, UTC."""
    files: tuple[FileView, ...]
    """In the order given."""


@dataclass(frozen=True, slots=True)
class Found:
    """One file as it was found.

    Attributes:
        file: Its name.
        contents: What was read from it, or why it was refused.
    """

    file: str
    contents: Contents | ReconcilerError


def inspection(files: Sequence[Found], names: Sequence[str], now: dt.datetime) -> Inspection:
    """Look at some files as one: chains and keys are sought in all of them.

    Args:
        files: What was found.
        names: Host names or IP addresses to compare server certificates with.
        now: The instant at which validity is judged.
    """
    readable = [each.contents for each in files if not isinstance(each.contents, ReconcilerError)]
    inspector = _Inspector(readable, names, now)
    return Inspection(at=now, files=tuple(inspector.file(each) for each in files))


class _Inspector:
    def __init__(self, contents: Sequence[Contents], names: Sequence[str], now: dt.datetime) -> None:
        self._certificates = tuple(dict.fromkeys(one for each in contents for one in each.certificates))
        self._builder = ChainBuilder(self._certificates)
        self._keys = {key.public_key for each in contents for key in each.keys}
        self._holders = {one.public_key for each in contents for one in each.certificates}
        self._holders |= {one.public_key for each in contents for one in each.requests}
        self._names = names
        self._now = now

    def file(self, found: Found) -> FileView:
        contents = found.contents
        if isinstance(contents, ReconcilerError):
            return FileView(file=found.file, problem=contents.message, remedy=contents.remedy)
        keys = (
            KeyView(key=each.key_kind, public_key=each.public_key, belongs=each.public_key in self._holders)
            for each in contents.keys
        )
        return FileView(
            file=found.file,
            format=contents.format,
            friendly_name=contents.friendly_name,
            certificates=tuple(self._certificate(each) for each in contents.certificates),
            requests=tuple(self._request(each) for each in contents.requests),
            keys=tuple(keys),
            keys_not_opened=contents.keys_left_alone,
            notes=contents.notes,
        )

    def _certificate(self, certificate: Certificate) -> CertificateView:
        role = role_of(certificate)
        chains = self._builder.chains(certificate)
        best = min(chains, key=lambda chain: (not chain.complete, not chain.is_valid_at(self._now)))
        serves = role in {Role.LEAF, Role.SELF_SIGNED}
        coverage = [
            Coverage(name=name, covered=covers(certificate.subject_alternative_names, name)) for name in self._names
        ]
        return CertificateView(
            role=role,
            subject=str(certificate.subject),
            issuer=str(certificate.issuer),
            alternative_names=tuple(str(each) for each in certificate.subject_alternative_names),
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            validity=self._validity(certificate),
            key=certificate.key_kind,
            signature_hash=certificate.signature_hash,
            private_key=certificate.public_key in self._keys,
            fingerprint=certificate.fingerprint,
            chain=self._chain(best),
            coverage=tuple(coverage) if serves else (),
            strict=self._strict(best, [each.name for each in coverage if each.covered]) if serves else (),
        )

    def _validity(self, certificate: Certificate) -> Validity:
        if certificate.is_valid_at(self._now):
            return Validity.VALID
        return Validity.EXPIRED if certificate.not_after < self._now else Validity.NOT_YET

    def _chain(self, chain: Chain) -> ChainView:
        return ChainView(
            certificates=tuple(each.subject.display for each in chain.certificates),
            complete=chain.complete,
            missing=None if chain.missing is None else str(chain.missing),
            outside_validity=tuple(
                each.subject.display for each in chain.certificates if not each.is_valid_at(self._now)
            ),
        )

    def _strict(self, chain: Chain, covered: list[str]) -> tuple[str, ...]:
        """Objections to the names that were asked for, else to the first that the certificate covers."""
        if not chain.complete:
            return ()
        leaf, *intermediates = chain.certificates
        hosts = covered or _some_host(leaf)
        found = [strict_objection(leaf, intermediates, [chain.top], host, self._now) for host in hosts]
        return tuple(dict.fromkeys(each for each in found if each is not None))

    def _request(self, request: Request) -> RequestView:
        return RequestView(
            subject=str(request.subject),
            alternative_names=tuple(str(each) for each in request.subject_alternative_names),
            key=request.key_kind,
            private_key=request.public_key in self._keys,
            fingerprint=request.fingerprint,
        )


def role_of(certificate: Certificate) -> Role:
    """What a certificate is for.

    An authority that issued itself is a root; anything else that did is a self-signed server certificate.
    """
    if has_issued(certificate, certificate):
        return Role.ROOT if certificate.is_authority else Role.SELF_SIGNED
    return Role.INTERMEDIATE if certificate.is_authority else Role.LEAF


def _some_host(leaf: Certificate) -> list[str]:
    """A host that a certificate covers: its first name, with any label for a wildcard."""
    names = [each.value for each in leaf.subject_alternative_names if each.type is not NameType.OTHER]
    hosts = [f"www{name[1:]}" if name.startswith("*.") else name for name in names]
    return [host for host in hosts if covers(leaf.subject_alternative_names, host)][:1] or [leaf.common_name]
