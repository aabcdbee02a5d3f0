"""Writing certificates and keys in the formats of the appliance's Export page, and PEM.

The guide: DER for a certificate alone, PKCS#8 for a key alone, PKCS#7 for several certificates, PKCS#12 for certificate
and key with or without the chain. Where no passphrase is given nothing is encrypted; whether that may be is for the
caller to decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs7,
    pkcs12,
)

from reconciler.base.errors import FormatError, WrongPassphrase
from reconciler.pki.library import understanding
from reconciler.pki.protection import is_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.pki.certificate import Certificate
    from reconciler.pki.keys import PrivateKey

LONGEST_PASSPHRASE = 1023
"""In bytes; cryptography protects PKCS#8 with no longer ones."""

_CHANGE = "choose a certificate with the RSA or EC key that it was made for"


def write_der(certificate: Certificate) -> bytes:
    """A certificate alone, as it is."""
    return certificate.der


def write_pem(certificates: Iterable[Certificate]) -> bytes:
    """Certificates one after another, in the order given."""
    return b"".join(each.to_x509().public_bytes(Encoding.PEM) for each in certificates)


def write_pkcs7(certificates: Sequence[Certificate]) -> bytes:
    """Certificates as a PKCS#7 bundle in DER. It is a set: readers learn nothing from its order.

    Raises:
        FormatError: There are none.
    """
    if not certificates:
        raise FormatError("a PKCS#7 file holds at least one certificate", "name the certificates to export")
    return pkcs7.serialize_certificates([each.to_x509() for each in certificates], Encoding.DER)


def write_pkcs8(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """A private key alone, as PKCS#8 in DER.

    Raises:
        WrongPassphrase: The passphrase is empty, too long, or no text.
    """
    return _write_key(key, passphrase, Encoding.DER)


def write_key_pem(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """A private key alone, as PKCS#8 in PEM.

    Raises:
        WrongPassphrase: The passphrase is empty, too long, or no text.
    """
    return _write_key(key, passphrase, Encoding.PEM)


def _write_key(key: PrivateKey, passphrase: bytes | None, encoding: Encoding) -> bytes:
    with understanding("this kind of private key cannot be written", _CHANGE):
        return key.key.private_bytes(encoding, PrivateFormat.PKCS8, _protection(passphrase))


def write_pkcs12(
    friendly_name: str,
    key: PrivateKey,
    certificate: Certificate,
    chain: Iterable[Certificate],
    passphrase: bytes | None,
) -> bytes:
    """A certificate with its key and, where given, its chain, as PKCS#12.

    Raises:
        WrongPassphrase: The passphrase is empty, too long, or no text.
        FormatError: The key is not the certificate's.
    """
    protection = _protection(passphrase)
    others = [each.to_x509() for each in chain]
    with understanding("certificate and key cannot be written as PKCS#12", _CHANGE):
        return pkcs12.serialize_key_and_certificates(
            friendly_name.encode(),
            key.key,  # type: ignore[arg-type]  # a kind that PKCS#12 cannot hold is refused by cryptography
            certificate.to_x509(),
            others,
            protection,
        )


def _protection(passphrase: bytes | None) -> KeySerializationEncryption:
    if passphrase is None:
        return NoEncryption()
    if not 0 < len(passphrase) <= LONGEST_PASSPHRASE or not is_text(passphrase):
        raise WrongPassphrase(
            f"a passphrase is text in UTF-8, of 1 to {LONGEST_PASSPHRASE} bytes and without NUL", "choose another one"
        )
    return BestAvailableEncryption(passphrase)
