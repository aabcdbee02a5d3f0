"""One certificate as a frozen value. It holds what the rules ask for and nothing of its key."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from reconciler.pki.asn1 import subject_public_key_info
from reconciler.pki.library import quiet, understanding
from reconciler.pki.names import NameType, SubjectAlternativeName, normalize_dns

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

SHORT_NAMES = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.COUNTRY_NAME: "C",
}
_NOT_UNDERSTOOD = "not a certificate that can be understood"
_CURVES = {"secp256r1": "ec-p256", "secp384r1": "ec-p384", "secp521r1": "ec-p521"}


@dataclass(frozen=True, slots=True)
class DistinguishedName:
    """A subject or issuer.

    Attributes:
        attributes: Pairs of short name (or dotted OID) and value, in the order of the guide's request page
            (CN, OU, O, L, ST, C) where they have one, others after them.
        der: The encoded name where it was read from a certificate; empty where it is only declared.
    """

    attributes: tuple[tuple[str, str], ...]
    der: bytes = field(default=b"", compare=False, repr=False)

    @property
    def common_name(self) -> str:
        """The common name, or an empty string."""
        return next((value for key, value in self.attributes if key == "CN"), "")

    @property
    def display(self) -> str:
        """What the appliance shows as Issued To or Issued By: the common name, else the most telling part there is."""
        values = dict(reversed(self.attributes))
        return next((values[key] for key in ("CN", "OU", "O") if values.get(key)), str(self))

    def __str__(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.attributes)


_GUIDE_ORDER = {key: index for index, key in enumerate(SHORT_NAMES.values())}


def distinguished_name(attributes: list[tuple[str, str]], der: bytes = b"") -> DistinguishedName:
    """A name with its attributes in the guide's order (`CN=..., OU=..., O=..., L=..., ST=..., C=...`)."""
    ordered = sorted(attributes, key=lambda pair: (_GUIDE_ORDER.get(pair[0], len(_GUIDE_ORDER)), pair))
    return DistinguishedName(tuple(ordered), der)


@lru_cache(maxsize=16384)
def read_name(name: x509.Name) -> DistinguishedName:
    """A name as cryptography read it."""
    pairs = [(SHORT_NAMES.get(each.oid, each.oid.dotted_string), _text(each.value)) for each in name]
    return distinguished_name(pairs, name.public_bytes())


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else "#" + value.hex()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A parsed X.509 certificate. Equal when the bytes are equal.

    Attributes:
        der: The certificate itself.
        fingerprint: SHA-256 of `der`, lower-case hex: its identity.
        public_key: SHA-256 of the SubjectPublicKeyInfo, lower-case hex: the identity of its key.
        key_kind: `rsa-2048`, `ec-p256`, `ed25519`, ... in the words of the policy; `unknown-` and the dotted OID of its
            algorithm where nothing more is known.
        subject: Who it was issued to.
        issuer: Who issued it.
        subject_alternative_names: In the order of the certificate.
        not_before: Start of validity, UTC.
        not_after: End of validity, inclusive (RFC 5280, section 4.1.2.5), UTC.
        is_authority: Whether BasicConstraints say that it may issue certificates; version 1 certificates that are
            self-issued count, since old roots have no extensions.
        signature_hash: Name of the signature's hash (`sha256`), `none` where the algorithm has its own, or the
            algorithm's dotted OID where it is unknown.
        subject_key_identifier: As the certificate gives it, or None.
        authority_key_identifier: As the certificate gives it, or None.
    """

    der: bytes = field(repr=False)
    fingerprint: str
    public_key: str = field(compare=False)
    key_kind: str = field(compare=False)
    subject: DistinguishedName = field(compare=False)
    issuer: DistinguishedName = field(compare=False)
    subject_alternative_names: tuple[SubjectAlternativeName, ...] = field(compare=False)
    not_before: datetime = field(compare=False)
    not_after: datetime = field(compare=False)
    is_authority: bool = field(compare=False)
    signature_hash: str = field(compare=False)
    subject_key_identifier: bytes | None = field(compare=False, repr=False)
    authority_key_identifier: bytes | None = field(compare=False, repr=False)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def common_name(self) -> str:
        """The subject's common name, or an empty string."""
        return self.subject.common_name

    @property
    def is_self_issued(self) -> bool:
        """Whether subject and issuer are the same name: a root, or a self-signed certificate."""
        return self.subject.der == self.issuer.der

    @property
    def san_set(self) -> frozenset[SubjectAlternativeName]:
        """Its subject alternative names, without order."""
        return frozenset(self.subject_alternative_names)

    def is_valid_at(self, instant: datetime) -> bool:
        """Whether the instant lies inside the validity, both ends included."""
        return self.not_before <= instant <= self.not_after

    def to_x509(self) -> x509.Certificate:
        """The certificate as cryptography's object, parsed again."""
        with quiet():
            return x509.load_der_x509_certificate(self.der)


@lru_cache(maxsize=131072)
def parse_certificate(der: bytes) -> Certificate:
    """Read one DER certificate. Equal bytes are parsed once in the life of the process.

    Raises:
        FormatError: It is not a certificate, or has parts that cannot be understood.
    """
    with understanding(_NOT_UNDERSTOOD):
        return _parse(der)


def _parse(der: bytes) -> Certificate:
    parsed = x509.load_der_x509_certificate(der)
    extensions = parsed.extensions
    names: tuple[SubjectAlternativeName, ...] = ()
    subject_key_identifier = authority_key_identifier = None
    basic: x509.BasicConstraints | None = None
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            names = tuple(read_general_name(name) for name in value)
        elif isinstance(value, x509.BasicConstraints):
            basic = value
        elif isinstance(value, x509.SubjectKeyIdentifier):
            subject_key_identifier = value.digest
        elif isinstance(value, x509.AuthorityKeyIdentifier):
            authority_key_identifier = value.key_identifier
    public_key, key_kind = _public_key(parsed)
    subject, issuer = read_name(parsed.subject), read_name(parsed.issuer)
    old_root = parsed.version is x509.Version.v1 and subject.der == issuer.der
    return Certificate(
        der=der,
        fingerprint=hashlib.sha256(der).hexdigest(),
        public_key=public_key,
        key_kind=key_kind,
        subject=subject,
        issuer=issuer,
        subject_alternative_names=names,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        is_authority=basic.ca if basic else old_root,
        signature_hash=_signature_hash(parsed),
        subject_key_identifier=subject_key_identifier,
        authority_key_identifier=authority_key_identifier,
    )


def _public_key(parsed: x509.Certificate) -> tuple[str, str]:
    """Identity and kind of the key. One that cryptography does not know still tells certificates apart."""
    try:
        key = parsed.public_key()
        return public_key_identity(key), key_kind_of(key)
    except (ValueError, UnsupportedAlgorithm):
        information = subject_public_key_info(parsed.public_bytes(Encoding.DER))
        return hashlib.sha256(information).hexdigest(), f"unknown-{parsed.public_key_algorithm_oid.dotted_string}"


def _signature_hash(parsed: x509.Certificate) -> str:
    try:
        algorithm = parsed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return parsed.signature_algorithm_oid.dotted_string
    return algorithm.name if algorithm else "none"


def read_general_name(name: x509.GeneralName) -> SubjectAlternativeName:
    """A subject alternative name as cryptography read it.

    A dNSName that should not be in a certificate keeps its own spelling, so that it is not mistaken for a good one: no
    host name, or one with a final dot.
    """
    if isinstance(name, x509.DNSName):
        return SubjectAlternativeName(NameType.DNS, _host(name.value))
    if isinstance(name, x509.IPAddress):
        value = name.value
        if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
            return SubjectAlternativeName(NameType.IP, str(value))
    return SubjectAlternativeName(NameType.OTHER, str(name.value))


def _host(text: str) -> str:
    try:
        return text if text.endswith(".") else normalize_dns(text)
    except ValueError:
        return text


def key_kind_of(key: PublicKeyTypes) -> str:
    """What the policy calls a key: `rsa-2048`, `ec-p256`, `ed25519`, ..."""
    match key:
        case rsa.RSAPublicKey() | dsa.DSAPublicKey():
            return f"{'rsa' if isinstance(key, rsa.RSAPublicKey) else 'dsa'}-{key.key_size}"
        case ec.EllipticCurvePublicKey():
            return _CURVES.get(key.curve.name, f"ec-{key.curve.name}")
        case ed25519.Ed25519PublicKey():
            return "ed25519"
        case ed448.Ed448PublicKey():
            return "ed448"
        case _:
            return type(key).__name__.removesuffix("PublicKey").lower()


def public_key_identity(key: PublicKeyTypes) -> str:
    """SHA-256 of a key's SubjectPublicKeyInfo, lower-case hex."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
