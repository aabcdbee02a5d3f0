"""Which files are refused because of what opening them would cost, and which hold a key for everyone to read."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from reconciler.base.errors import FormatError
from reconciler.pki.asn1 import first_element
from reconciler.pki.protection import TooDear, check_cost, holds_clear_key
from reconciler.pki.reading import read
from tests.support.authority import Authority, Issued

ROOT = Authority.root()
LEAF = ROOT.issue(["access.example.com"])
RSA = ROOT.issue(["access.example.com"], key_kind="rsa-2048")
PASSPHRASE = b"correct horse"


def encode(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes([tag, 0x82]) + len(body).to_bytes(2, "big") + body


def number(value: int) -> bytes:
    octets = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([0x02, len(octets)]) + octets


def encrypted_key(*numbers: int) -> bytes:
    """The outline of an encrypted PKCS#8 key whose key derivation takes these numbers."""
    parameters = encode(0x30, encode(0x04, b"saltsalt"), *[number(each) for each in numbers])
    return encode(0x30, encode(0x30, b"\x06\x03\x2a\x03\x04", parameters), encode(0x04, b"\0" * 16))


@pytest.mark.parametrize("numbers", [(), (2048,), (5_000_000,), (600_000, 32), (16384, 8, 1), (2**18, 8, 1)])
def test_usual_costs(numbers: tuple[int, ...]) -> None:
    check_cost(encrypted_key(*numbers))


@pytest.mark.parametrize("numbers", [(5_000_001,), (2**32,), (2**31, 32), (2**20, 8, 1), (2, 2**30, 1), (2, 1, 17)])
def test_costs_without_measure_are_refused_before_they_are_paid(numbers: tuple[int, ...]) -> None:
    with pytest.raises(TooDear, match="unreasonable number of iterations"):
        read(encrypted_key(*numbers), PASSPHRASE)


def with_iterations(content: bytes, iterations: int) -> bytes:
    """A PKCS#12 file with another count in its integrity check (RFC 7292, section 4)."""
    body = bytes(first_element(content)[0].content)
    version_and_safes = 3 + first_element(body[3:])[1]
    integrity = bytes(first_element(body[version_and_safes:])[0].content).removesuffix(number(2048))
    return encode(0x30, body[:version_and_safes], encode(0x30, integrity, number(iterations)))


def test_pkcs12_of_unreasonable_cost() -> None:
    content = LEAF.pkcs12(PASSPHRASE)
    assert read(with_iterations(content, 2048), PASSPHRASE).certificates == (LEAF.certificate,)
    with pytest.raises(TooDear):
        read(with_iterations(content, 2**31), PASSPHRASE)
    # What cannot be looked into might be open to everyone.
    assert holds_clear_key(with_iterations(content, 2**31))


def test_damaged_files_have_no_cost() -> None:
    with pytest.raises(FormatError, match="the file is damaged"):
        check_cost(encode(0x30, encode(0x30, b"\x06\x7f")))


def test_nesting_without_measure() -> None:
    content = b""
    for _ in range(100):
        content = encode(0x30, content)
    with pytest.raises(FormatError, match="nested too deeply"):
        check_cost(content)


def test_octets_in_chunks_are_looked_into() -> None:
    """BER may cut an octet string in chunks; what they hold together counts."""
    inner = encrypted_key(2**32)
    chunks = encode(0x24, encode(0x04, inner[:30]), encode(0x04, inner[30:]))
    with pytest.raises(TooDear):
        check_cost(encode(0x30, chunks))


def der(issued: Issued, form: PrivateFormat, passphrase: bytes | None = None) -> bytes:
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return issued.key.private_bytes(Encoding.DER, form, protection)


def traditional(issued: Issued, passphrase: bytes | None = None) -> bytes:
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return issued.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, protection)


OPENSSH = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
CLEAR = LEAF.key_pem()


@pytest.mark.parametrize(
    "content",
    [
        CLEAR,
        RSA.key_pem(),
        traditional(LEAF),
        traditional(RSA),
        der(LEAF, PrivateFormat.PKCS8),
        der(RSA, PrivateFormat.PKCS8),
        der(LEAF, PrivateFormat.TraditionalOpenSSL),
        der(RSA, PrivateFormat.TraditionalOpenSSL),
        base64.encodebytes(der(RSA, PrivateFormat.PKCS8)),
        LEAF.pkcs12(None),
        OPENSSH,
        LEAF.pem() + CLEAR,
        b"key: |\n" + b"".join(b"  " + line + b"\n" for line in CLEAR.splitlines()),
        json.dumps({"key": CLEAR.decode()}).encode(),
        CLEAR.replace(b"\n", b"\r\n"),
        CLEAR.replace(b"PRIVATE KEY", b"CERTIFICATE"),
        CLEAR.replace(b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"),
        CLEAR[:-40],
        CLEAR.replace(b"MI", b"MI?"),
        b"-----BEGIN PKCS12-----\n" + base64.encodebytes(LEAF.pkcs12(None)) + b"-----END PKCS12-----\n",
    ],
)
def test_keys_that_anyone_can_read(content: bytes) -> None:
    assert holds_clear_key(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hostname: access.example.com\n",
        b"0: 1\n",
        b"MI is a state\n",
        b"# paste what stands between -----BEGIN CERTIFICATE----- and its end\n",
        LEAF.pem(),
        LEAF.certificate.der,
        base64.encodebytes(LEAF.certificate.der),
        LEAF.key_pem(PASSPHRASE),
        traditional(RSA, PASSPHRASE),
        der(RSA, PrivateFormat.PKCS8, PASSPHRASE),
        LEAF.pkcs12(PASSPHRASE),
        LEAF.pkcs12(PASSPHRASE)[:-1],
        LEAF.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        LEAF.key_pem(PASSPHRASE)[:-40],
    ],
)
def test_files_without_a_clear_key(content: bytes) -> None:
    assert not holds_clear_key(content)


def test_openssh_keys_with_a_passphrase() -> None:
    files = sorted((Path(cryptography_vectors.__file__).parent / "asymmetric" / "OpenSSH").glob("*-psw.key"))
    assert files
    assert not [file for file in files if holds_clear_key(file.read_bytes())]
