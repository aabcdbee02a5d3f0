from __future__ import annotations

import base64
import subprocess
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from reconciler.base.errors import FormatError
from reconciler.pki.reading import read
from reconciler.pki.writing import write_der, write_pem, write_pkcs7
from reconciler.report.keyless import check_keyless, shows_key
from tests.report.images import JPEG, chunk, png
from tests.support.authority import DAY, NOW, Authority, Issued, make_key
from tests.support.programs import require_program

_DESCRIPTION = x509.ObjectIdentifier("2.5.4.13")
PASSPHRASE = b"correct horse battery staple"
CHAIN = Authority.root().intermediate().issue(["access.example.com"])


@cache
def issued(kind: str) -> Issued:
    return Authority.root().issue(["access.example.com"], key_kind=kind)


def key(form: str, kind: str) -> bytes:
    """A private key in one of its many forms."""
    one = issued(kind)
    protection = NoEncryption() if form.startswith("clear") else BestAvailableEncryption(PASSPHRASE)
    match form.split("-")[1:]:
        case ["pkcs12", *none]:
            return one.pkcs12(None if none else PASSPHRASE)
        case ["pkcs8", "der"]:
            return one.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, protection)
        case ["pkcs8", "pem"]:
            return one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
        case ["traditional", "der"]:
            return one.key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, protection)
        case ["traditional", "pem"]:
            return one.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, protection)
        case ["openssh", "pem"]:
            return one.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, protection)
        case _:
            raise AssertionError(form)


FORMS = [
    "clear-pkcs8-der",
    "clear-pkcs8-pem",
    "clear-traditional-der",
    "clear-traditional-pem",
    "clear-openssh-pem",
    "clear-pkcs12-none",
    "encrypted-pkcs8-der",
    "encrypted-pkcs8-pem",
    "encrypted-traditional-pem",
    "encrypted-pkcs12",
]


@pytest.mark.parametrize("kind", ["rsa-2048", "ec-p256", "ec-p384", "ec-p521"])
@pytest.mark.parametrize("form", FORMS)
def test_a_key_shows_in_whatever_form_and_wherever_it_stands(form: str, kind: str) -> None:
    content = key(form, kind)
    assert shows_key(content)
    assert shows_key(write_der(CHAIN.certificate) + content)
    assert shows_key(JPEG[:-2] + content + JPEG[-2:])
    assert shows_key(b"see below\n\n" + content + b"\n\nThank you")
    if not form.endswith("pem"):
        assert shows_key(b"see below: " + base64.b64encode(content) + b", please")
        assert shows_key(base64.encodebytes(content))


@pytest.mark.parametrize(
    ("arguments", "content"),
    [
        (["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"], "clear-pkcs8-pem"),
        (["pkcs8", "-topk8", "-scrypt"], "clear-pkcs8-pem"),
        (["pkcs8", "-topk8", "-v2", "aes-256-cbc"], "clear-pkcs8-pem"),
    ],
    ids=["pbes1", "scrypt", "pbes2"],
)
def test_what_openssl_encrypts_is_a_key(arguments: list[str], content: str) -> None:
    command = [require_program("openssl"), *arguments, "-passout", "pass:secret", "-outform", "DER"]
    made = subprocess.run(command, input=key(content, "ec-p256"), capture_output=True, check=True).stdout
    assert shows_key(made)
    assert shows_key(JPEG + made)


def test_certificates_show_none() -> None:
    every = [CHAIN.certificate, *CHAIN.chain, *(issued(kind).certificate for kind in ("rsa-2048", "ec-p521"))]
    for each in every:
        check_keyless("one.crt", write_der(each))
    check_keyless("all.p7b", write_pkcs7(every))
    assert not shows_key(write_pem(every))


def test_the_roots_of_the_world_show_none() -> None:
    certifi = pytest.importorskip("certifi")
    roots = read(certifi.contents().encode()).certificates
    assert len(roots) > 100
    for each in roots:
        check_keyless("root.crt", write_der(each))
    check_keyless("roots.p7b", write_pkcs7(roots))


@pytest.mark.parametrize(
    ("form", "where"),
    [
        ("clear-pkcs8-der", "extension"),
        ("clear-traditional-pem", "extension"),
        ("encrypted-pkcs8-der", "extension"),
        ("base64", "extension"),
        ("clear-traditional-pem", "subject"),
        ("base64", "subject"),
    ],
)
def test_a_key_inside_a_certificate_is_found(form: str, where: str) -> None:
    content = base64.b64encode(key("clear-pkcs8-der", "ec-p256")) if form == "base64" else key(form, "ec-p256")
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, "Root")]
    if where == "subject":
        attributes += [x509.NameAttribute(_DESCRIPTION, content.decode())]
    own = make_key()
    name = x509.Name(attributes)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(own.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
    )
    if where == "extension":
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), content)
        builder = builder.add_extension(unknown, critical=False)
    made = builder.sign(own, hashes.SHA256()).public_bytes(Encoding.DER)
    with pytest.raises(FormatError, match=r"root\.crt would hold a private key"):
        check_keyless("root.crt", made)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.crt", write_pem([CHAIN.certificate])),
        ("a.crt", write_der(CHAIN.certificate) + b"more"),
        ("a.crt", write_pkcs7([CHAIN.certificate])),
        ("a.p7b", write_der(CHAIN.certificate)),
        ("a.p7b", write_pkcs7([CHAIN.certificate]) + b"more"),
        ("a.png", png(before=[chunk(b"tEXt", b"Comment\0hidden")])),
        ("a.png", JPEG),
        ("a.txt", b"\0"),
        ("a.zip", b"PK"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_file_is_what_its_name_says(name: str, content: bytes) -> None:
    with pytest.raises(FormatError, match="would not hold what its name says"):
        check_keyless(name, content)


def test_words_about_keys_are_none() -> None:
    assert not shows_key(b"There is no private key in it. PRIVATE KEYS stay where they are.")
    assert not shows_key(b"M" * 5000)
    assert not shows_key(b"\x30\x82\xff\xff\x02\x01\x00\x02")
