"""The certificates that a later release requests and renews by itself, and the make-believe authority that signs them.

Nothing is asked of anybody: the authority is made in a folder beside the store, and nobody trusts it. A certificate
lasts 90 days and is renewed from 30 days before it expires, by the appliance's clock, with a new key each time.
"""

from __future__ import annotations

import datetime as dt
import secrets
import threading
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID
from pydantic import Field

from reconciler.base.references import Model
from reconciler.live.driver import Upload
from reconciler.pki.keys import KeyKind, create_key

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from reconciler.base.clock import Clock
    from reconciler.live.directory.operations import DirectoryStore
    from reconciler.live.store import LiveCertificate

LIFETIME = dt.timedelta(days=90)
RENEW_BEFORE = dt.timedelta(days=30)
KEY_TYPES: dict[str, KeyKind] = {"ECDSA (P-256)": "ec-p256", "RSA (2048 Bits)": "rsa-2048"}
"""What the *Key Type* dropdown offers."""

_AUTHORITY_LIFETIME = dt.timedelta(days=3650)
_ISSUER = "Simulated Let's Encrypt R1"
_ROOT = "Simulated Let's Encrypt Root"


class Managed(Model):
    """A certificate that the appliance takes care of.

    Attributes:
        hostname: What it is for.
        key_kind: Which key it gets.
        fingerprint: The present one.
    """

    hostname: str
    key_kind: KeyKind
    fingerprint: str


class _Record(Model):
    managed: tuple[Managed, ...] = Field(default=())


class LetsEncrypt:
    """The certificates that one appliance requests and renews. Every method blocks."""

    def __init__(self, store: DirectoryStore, folder: Path, clock: Clock) -> None:
        self._store = store
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()

    def managed(self) -> tuple[Managed, ...]:
        """All of them."""
        path = self._folder / "managed.json"
        return _Record.model_validate_json(path.read_bytes()).managed if path.exists() else ()

    def request(self, hostname: str, key_kind: KeyKind) -> None:
        """Get a certificate for a host name, in place of an earlier one for the same name.

        Raises:
            StoreError: The store refuses it.
        """
        with self._lock:
            earlier = next((each for each in self.managed() if each.hostname == hostname), None)
            self._obtain(hostname, key_kind, earlier)

    def renew(self) -> None:
        """Renew what is due, and forget what somebody has removed.

        Raises:
            StoreError: The store refuses it.
        """
        if not self._folder.exists():
            return
        with self._lock:
            held = self._store.observe().by_fingerprint
            for each in self.managed():
                if each.fingerprint not in held:
                    self._record(each, None)
                elif self._is_due(held[each.fingerprint]):
                    self._obtain(each.hostname, each.key_kind, each)

    def _is_due(self, row: LiveCertificate) -> bool:
        return row.certificate.not_after - RENEW_BEFORE <= self._clock()

    def _obtain(self, hostname: str, key_kind: KeyKind, earlier: Managed | None) -> None:
        passphrase = secrets.token_urlsafe(16).encode()
        content, fingerprint = self._issue(hostname, key_kind, passphrase)
        self._store.import_(Upload(content, passphrase, hostname))
        self._record(earlier, Managed(hostname=hostname, key_kind=key_kind, fingerprint=fingerprint))
        if earlier is None:
            return
        live = self._store.observe()
        if live.default == earlier.fingerprint:
            self._store.set_default(fingerprint)
        if earlier.fingerprint in live.by_fingerprint:
            self._store.remove(earlier.fingerprint)

    def _record(self, earlier: Managed | None, now: Managed | None) -> None:
        kept = [each for each in self.managed() if each != earlier]
        record = _Record(managed=(*kept, now) if now else tuple(kept))
        (self._folder / "managed.json").write_text(record.model_dump_json(indent=2), encoding="utf-8")

    def _issue(self, hostname: str, key_kind: KeyKind, passphrase: bytes) -> tuple[bytes, str]:
        """Key, certificate and chain as PKCS#12, and the certificate's fingerprint."""
        signer, issuer, root = self._authority()
        key = create_key(key_kind).key
        assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)  # noqa: S101 - as `KEY_TYPES` has it
        builder = _builder(hostname, self._clock(), LIFETIME).issuer_name(issuer.subject).public_key(key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        leaf = builder.sign(signer, hashes.SHA256())
        content = pkcs12.serialize_key_and_certificates(
            hostname.encode(), key, leaf, [issuer, root], BestAvailableEncryption(passphrase)
        )
        return content, leaf.fingerprint(hashes.SHA256()).hex()

    def _authority(self) -> tuple[CertificateIssuerPrivateKeyTypes, x509.Certificate, x509.Certificate]:
        """The issuer's key, its certificate and its root, made when they are first needed."""
        path = self._folder / "authority.pem"
        if not path.exists():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(_new_authority(self._clock()))
        content = path.read_bytes()
        key = load_pem_private_key(content, None)
        issuer, root = x509.load_pem_x509_certificates(content)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - as it was written
        return key, issuer, root


def _new_authority(now: dt.datetime) -> bytes:
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _ROOT)])
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    made = [
        _builder(name, now, _AUTHORITY_LIFETIME)
        .issuer_name(root_name)
        .public_key(public_key)
        .add_extension(constraints, critical=True)
        .sign(root_key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
        for name, public_key in ((_ISSUER, key.public_key()), (_ROOT, root_key.public_key()))
    ]
    return b"".join((key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), *made))


def _builder(common_name: str, now: dt.datetime, lifetime: dt.timedelta) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + lifetime)
    )
