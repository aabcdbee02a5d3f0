"""Making self-signed certificates and certificate requests, as the appliance does at Certificate Installation."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, assert_never

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from reconciler.base.errors import FormatError
from reconciler.pki.certificate import SHORT_NAMES, Certificate, DistinguishedName, parse_certificate
from reconciler.pki.library import understanding
from reconciler.pki.names import NameType, SubjectAlternativeName
from reconciler.pki.request import Request, parse_request

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from reconciler.pki.keys import PrivateKey

_CHANGE = "change the subject, the names or the validity that are asked for"
_OIDS = {short: oid for oid, short in SHORT_NAMES.items()}


def self_signed(
    key: PrivateKey,
    subject: DistinguishedName,
    names: Iterable[SubjectAlternativeName],
    valid_from: datetime,
    valid_for: timedelta,
) -> Certificate:
    """A server certificate that is its own issuer, with a random serial number.

    Args:
        key: An RSA or EC key.
        subject: Subject and issuer.
        names: Subject alternative names, in order: DNS names, wildcards, IP addresses.
        valid_from: Start of validity, aware; certificates know whole seconds only (RFC 5280, section 4.1.2.5).
        valid_for: From the start of validity to its end.

    Raises:
        FormatError: Subject, names or validity cannot be written into a certificate, or the key is of another kind.
    """
    signer = _signer(key)
    with understanding("the self-signed certificate cannot be made", _CHANGE):
        name, public_key = _name(subject), signer.public_key()
        identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
        builder = (
            x509.CertificateBuilder()
            .issuer_name(name)
            .subject_name(name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(valid_from)
            .not_valid_after(valid_from + valid_for)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signer), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(identifier, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        )
        # The extension may be absent, as on the factory certificate, but not empty (RFC 5280, section 4.2.1.6).
        alternative = _alternative_names(names)
        if len(alternative):
            builder = builder.add_extension(alternative, critical=False)
        made = builder.sign(signer, hashes.SHA256())
        return parse_certificate(made.public_bytes(Encoding.DER))


def certificate_request(
    key: PrivateKey, subject: DistinguishedName, names: Iterable[SubjectAlternativeName]
) -> Request:
    """A certificate request for a CA.

    Args:
        key: An RSA or EC key.
        subject: The subject to ask for.
        names: Subject alternative names to ask for, in order.

    Raises:
        FormatError: Subject or names cannot be written into a request, or the key is of another kind.
    """
    signer = _signer(key)
    with understanding("the certificate request cannot be made", _CHANGE):
        made = (
            x509.CertificateSigningRequestBuilder(subject_name=_name(subject))
            .add_extension(_alternative_names(names), critical=False)
            .add_extension(_key_usage(signer), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        return parse_request(made.public_bytes(Encoding.DER))


def _signer(key: PrivateKey) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    if isinstance(key.key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return key.key
    raise FormatError(f"a key of kind {key.key_kind} does not make certificates here", "use an RSA or EC key")


def _name(subject: DistinguishedName) -> x509.Name:
    """The subject, most general part first: the reverse of how it is written for people."""
    return x509.Name(
        x509.NameAttribute(_OIDS[key] if key in _OIDS else x509.ObjectIdentifier(key), value)
        for key, value in reversed(subject.attributes)
    )


def _alternative_names(names: Iterable[SubjectAlternativeName]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(each) for each in names])


def _general_name(name: SubjectAlternativeName) -> x509.GeneralName:
    match name.type:
        case NameType.DNS:
            return x509.DNSName(name.value)
        case NameType.IP:
            return x509.IPAddress(ipaddress.ip_address(name.value))
        case NameType.OTHER:
            raise FormatError(f"{name.value!r} is neither a DNS name nor an IP address", "leave it out")
        case _:
            assert_never(name.type)


def _key_usage(signer: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> x509.KeyUsage:
    """What a TLS server needs: signing, and for RSA key transport as well (RFC 8446; RFC 5246, section 7.4.2)."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=isinstance(signer, rsa.RSAPrivateKey),
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
