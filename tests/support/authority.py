"""A certificate authority in memory, for tests. Its certificates are real; nothing is written anywhere.

    root = Authority.root()
    issued = root.intermediate().issue(["access.example.com"])
    issued.certificate, issued.key, issued.chain

Tests stand at `NOW`. Unless told otherwise a certificate is valid from 30 days before it to 335 days after it, a root
or an intermediate from 5 years before it to 15 years after it.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reconciler.pki.certificate import Certificate, parse_certificate
from reconciler.pki.names import NameType, parse_name

if TYPE_CHECKING:
    from collections.abc import Sequence

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
LEAF_VALIDITY = (NOW - 30 * DAY, NOW + 335 * DAY)
AUTHORITY_VALIDITY = (NOW - 5 * 365 * DAY, NOW + 15 * 365 * DAY)
_CURVES: dict[str, ec.EllipticCurve] = {"ec-p256": ec.SECP256R1(), "ec-p384": ec.SECP384R1(), "ec-p521": ec.SECP521R1()}


def make_key(kind: str = "ec-p256") -> PrivateKey:
    """A new key: `rsa-BITS`, `ec-p256`, `ec-p384`, `ec-p521` or `ed25519`."""
    if kind.startswith("rsa-"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("rsa-")))
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(_CURVES[kind])


@dataclass(frozen=True)
class Issued:
    """A certificate with its key and the certificates above it, issuer first, root last."""

    certificate: Certificate
    key: PrivateKey = field(repr=False)
    chain: tuple[Certificate, ...] = ()

    def pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.to_x509().public_bytes(Encoding.PEM)

    def key_pem(self, passphrase: bytes | None = None) -> bytes:
        """The key alone, as PKCS#8."""
        protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)

    def pkcs12(
        self, passphrase: bytes | None, *, chain: Sequence[Certificate] = (), friendly_name: str = "issued"
    ) -> bytes:
        """Certificate, key and whatever else is given."""
        return serialize_key_and_certificates(
            friendly_name.encode(),
            self.key,
            self.certificate.to_x509(),
            [each.to_x509() for each in chain],
            BestAvailableEncryption(passphrase) if passphrase else NoEncryption(),
        )


@dataclass(frozen=True)
class Authority:
    """A certification authority: a root, or an intermediate beneath one."""

    certificate: Certificate
    key: PrivateKey = field(repr=False)
    chain: tuple[Certificate, ...] = ()

    @classmethod
    def root(
        cls,
        common_name: str = "Root",
        *,
        not_before: dt.datetime = AUTHORITY_VALIDITY[0],
        not_after: dt.datetime = AUTHORITY_VALIDITY[1],
        key_kind: str = "ec-p256",
        key: PrivateKey | None = None,
    ) -> Authority:
        """A new root; with `key`, the same root again (its roll-over, for instance)."""
        key = key or make_key(key_kind)
        subject = _name(common_name)
        certificate = _sign(subject, key.public_key(), (), (subject, key), (not_before, not_after), authority=True)
        return cls(certificate, key)

    def intermediate(
        self,
        common_name: str = "Intermediate",
        *,
        not_before: dt.datetime = AUTHORITY_VALIDITY[0],
        not_after: dt.datetime = AUTHORITY_VALIDITY[1],
        key_kind: str = "ec-p256",
        key: PrivateKey | None = None,
    ) -> Authority:
        """A new authority beneath this one."""
        key = key or make_key(key_kind)
        certificate = self._sign(_name(common_name), key.public_key(), (), (not_before, not_after), authority=True)
        return Authority(certificate, key, (self.certificate, *self.chain))

    def cross_sign(
        self,
        other: Authority,
        *,
        not_before: dt.datetime = AUTHORITY_VALIDITY[0],
        not_after: dt.datetime = AUTHORITY_VALIDITY[1],
    ) -> Certificate:
        """The other's subject and key, issued by this one."""
        theirs = other.certificate.to_x509()
        return self._sign(theirs.subject, other.key.public_key(), (), (not_before, not_after), authority=True)

    def issue(
        self,
        names: Sequence[str | x509.GeneralName],
        *,
        common_name: str = "Example remote access",
        not_before: dt.datetime = LEAF_VALIDITY[0],
        not_after: dt.datetime = LEAF_VALIDITY[1],
        key_kind: str = "ec-p256",
        key: PrivateKey | None = None,
    ) -> Issued:
        """A server certificate; DNS names, wildcards and IP addresses may be mixed, odd names given as they are."""
        key = key or make_key(key_kind)
        certificate = self._sign(_name(common_name), key.public_key(), names, (not_before, not_after))
        return Issued(certificate, key, (self.certificate, *self.chain))

    def sign(
        self,
        request: x509.CertificateSigningRequest,
        *,
        not_before: dt.datetime = LEAF_VALIDITY[0],
        not_after: dt.datetime = LEAF_VALIDITY[1],
    ) -> Certificate:
        """The answer to a certificate request: its subject, names and key."""
        alternative = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(each.value) for each in alternative]
        public_key = request.public_key()
        assert isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
        return self._sign(request.subject, public_key, names, (not_before, not_after))

    def _sign(
        self,
        subject: x509.Name,
        public_key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
        names: Sequence[str | x509.GeneralName],
        validity: tuple[dt.datetime, dt.datetime],
        *,
        authority: bool = False,
    ) -> Certificate:
        issuer = self.certificate.to_x509().subject, self.key
        return _sign(subject, public_key, names, issuer, validity, authority=authority)


def self_signed(
    names: Sequence[str | x509.GeneralName],
    *,
    common_name: str = "Example remote access",
    not_before: dt.datetime = LEAF_VALIDITY[0],
    not_after: dt.datetime = LEAF_VALIDITY[1],
    key_kind: str = "ec-p256",
    key: PrivateKey | None = None,
) -> Issued:
    """A server certificate that is its own issuer."""
    key = key or make_key(key_kind)
    subject = _name(common_name)
    return Issued(_sign(subject, key.public_key(), names, (subject, key), (not_before, not_after)), key)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Company"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _general_name(name: str | x509.GeneralName) -> x509.GeneralName:
    if isinstance(name, x509.GeneralName):
        return name
    parsed = parse_name(name)
    if parsed.type is NameType.IP:
        return x509.IPAddress(ipaddress.ip_address(parsed.value))
    return x509.DNSName(parsed.value)


def _sign(
    subject: x509.Name,
    public_key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
    names: Sequence[str | x509.GeneralName],
    issuer: tuple[x509.Name, PrivateKey],
    validity: tuple[dt.datetime, dt.datetime],
    *,
    authority: bool = False,
) -> Certificate:
    issuer_name, issuer_key = issuer
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer_name)
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(_key_usage(authority=authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if names:
        alternative = x509.SubjectAlternativeName([_general_name(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    if not authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(purpose, critical=False)
    algorithm = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return parse_certificate(builder.sign(issuer_key, algorithm).public_bytes(Encoding.DER))


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
