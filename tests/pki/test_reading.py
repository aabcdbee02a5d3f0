"""Files as people have them: made by OpenSSL and by cryptography, in every format that the appliance imports."""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from reconciler.base.errors import FormatError, WrongPassphrase
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.issuing import certificate_request
from reconciler.pki.keys import private_key
from reconciler.pki.names import parse_name
from reconciler.pki.reading import LARGEST, Keys, read
from reconciler.pki.writing import write_pem
from tests.support.authority import Authority, Issued, make_key
from tests.support.two_keys import two_keys

if TYPE_CHECKING:
    from pathlib import Path

ROOT = Authority.root()
INTERMEDIATE = ROOT.intermediate()
LEAF = INTERMEDIATE.issue(["access.example.com"])
RSA = INTERMEDIATE.issue(["access.example.com"], key_kind="rsa-2048")
CHAIN = (LEAF.certificate, INTERMEDIATE.certificate, ROOT.certificate)
PASSPHRASE = b"correct horse"


def openssl(*arguments: str | Path, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout


def request() -> bytes:
    made = certificate_request(
        private_key(LEAF.key), distinguished_name([("CN", "Example")]), [parse_name("access.example.com")]
    )
    return made.pem.encode()


def traditional(issued: Issued, passphrase: bytes | None = None) -> bytes:
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return issued.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, protection)


def test_der_certificate() -> None:
    contents = read(LEAF.certificate.der)
    assert contents.certificates == (LEAF.certificate,)
    assert contents.format == "DER certificate"
    assert (contents.requests, contents.keys, contents.notes, contents.friendly_name) == ((), (), (), None)


def test_pem_keeps_order_and_each_certificate_once() -> None:
    content = write_pem([LEAF.certificate, ROOT.certificate, LEAF.certificate, INTERMEDIATE.certificate])
    assert read(content).certificates == (LEAF.certificate, ROOT.certificate, INTERMEDIATE.certificate)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: (
            b"subject=CN = \xff\xc3\xa4\nissuer: x\n" + text.replace(b"-----END", b"\n\n-----END") + b"-- the end"
        ),
        lambda text: text.replace(b"CERTIFICATE-", b"X509 CERTIFICATE-"),
        lambda text: b"".join(b"    " + line + b"  \n" for line in text.splitlines()),
        lambda text: text.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----").rstrip(),
        lambda text: b"0" + text,
    ],
    ids=["crlf", "byte order mark", "text around", "x509 label", "indented", "one line", "text that begins like DER"],
)
def test_pem_as_editors_and_mailers_leave_it(change: object) -> None:
    assert callable(change)
    assert read(change(write_pem(CHAIN))).certificates == CHAIN


def test_trusted_certificate_of_openssl() -> None:
    trusted = openssl("x509", "-trustout", "-addtrust", "serverAuth", given=LEAF.pem())
    assert b"TRUSTED CERTIFICATE" in trusted
    assert read(trusted).certificates == (LEAF.certificate,)


@pytest.mark.parametrize("form", ["DER", "PEM"])
def test_pkcs7_of_openssl(form: str, tmp_path: Path) -> None:
    (tmp_path / "chain.pem").write_bytes(write_pem(CHAIN))
    bundle = openssl("crl2pkcs7", "-nocrl", "-certfile", tmp_path / "chain.pem", "-outform", form)
    contents = read(bundle)
    assert frozenset(contents.certificates) == frozenset(CHAIN)
    assert contents.format == ("PKCS#7" if form == "DER" else "PEM PKCS#7")


def test_pkcs7_with_indefinite_lengths(tmp_path: Path) -> None:
    """What `openssl cms -stream` writes: BER, in which lengths are left open."""
    (tmp_path / "leaf.pem").write_bytes(LEAF.pem())
    (tmp_path / "key.pem").write_bytes(LEAF.key_pem())
    signer = ("-signer", tmp_path / "leaf.pem", "-inkey", tmp_path / "key.pem")
    message = openssl("cms", "-sign", "-stream", "-nodetach", "-outform", "DER", *signer, given=b"text")
    assert message[:2] == b"\x30\x80"
    assert read(message).certificates == (LEAF.certificate,)


def test_pkcs7_that_is_a_message_is_refused(tmp_path: Path) -> None:
    (tmp_path / "leaf.pem").write_bytes(RSA.pem())
    message = openssl("cms", "-encrypt", "-outform", "PEM", tmp_path / "leaf.pem", given=b"text")
    with pytest.raises(FormatError, match=r"on line 1: the PKCS#7 file is a message, not a bundle of certificates -"):
        read(message)


@pytest.mark.parametrize(
    "ciphers", [(), ("-legacy",), ("-keypbe", "NONE", "-certpbe", "NONE")], ids=["modern", "legacy", "none"]
)
def test_pkcs12_of_openssl(ciphers: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "all.pem").write_bytes(write_pem(CHAIN) + RSA.key_pem() + LEAF.key_pem())
    (tmp_path / "key.pem").write_bytes(LEAF.key_pem())
    (tmp_path / "chain.pem").write_bytes(write_pem(CHAIN))
    (tmp_path / "secret").write_bytes(PASSPHRASE + b"\n")
    content = openssl(
        "pkcs12", "-export", "-in", tmp_path / "chain.pem", "-inkey", tmp_path / "key.pem", *ciphers,
        "-name", "access é", "-passout", f"file:{tmp_path / 'secret'}",
    )  # fmt: skip
    contents = read(content, PASSPHRASE)
    assert contents.certificates == CHAIN
    assert contents.key_of(LEAF.certificate) == private_key(LEAF.key)
    assert contents.key_of(ROOT.certificate) is None
    assert contents.friendly_name == "access é"
    assert contents.format == "PKCS#12"
    assert read(content, PASSPHRASE, keys=Keys.LEFT_ALONE).keys_left_alone == 1
    with pytest.raises(WrongPassphrase, match="the PKCS#12 file is protected and no passphrase was given"):
        read(content)
    with pytest.raises(WrongPassphrase, match="the passphrase does not fit the PKCS#12 file"):
        read(content, b"wrong")


@pytest.mark.parametrize("passphrase", [b"\xff\xfe", b"with\0nul"])
def test_pkcs12_passphrase_that_is_no_text(passphrase: bytes) -> None:
    with pytest.raises(WrongPassphrase, match="the passphrase is not text in UTF-8"):
        read(LEAF.pkcs12(PASSPHRASE), passphrase)


def test_pkcs12_without_passphrase() -> None:
    content = LEAF.pkcs12(None, chain=LEAF.chain)
    assert read(content).notes == ("the private key is not encrypted",)
    contents = read(content, b"not needed")
    assert contents.certificates == CHAIN
    assert contents.notes == ("the private key is not encrypted; the passphrase that was given was not needed",)


def test_pkcs12_with_several_keys_says_what_was_dropped() -> None:
    contents = read(two_keys(LEAF.pkcs12(None), RSA.pkcs12(None)))
    assert "the PKCS#12 file holds 2 private keys, of which only the first can be read" in contents.notes


@pytest.mark.parametrize("issued", [LEAF, RSA], ids=["ec", "rsa"])
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("keys", [Keys.CHECKED, Keys.UNCHECKED])
def test_clear_keys(issued: Issued, encoding: Encoding, form: PrivateFormat, keys: Keys) -> None:
    content = issued.key.private_bytes(encoding, form, NoEncryption())
    contents = read(content, keys=keys)
    assert contents.key_of(issued.certificate) == private_key(issued.key)
    assert contents.keys[0].key_kind == issued.certificate.key_kind
    assert contents.notes == ("the private key is not encrypted",)
    assert read(content, keys=Keys.LEFT_ALONE).keys_left_alone == 1


@pytest.mark.parametrize(
    "content",
    [
        LEAF.key_pem(PASSPHRASE),
        RSA.key_pem(PASSPHRASE),
        LEAF.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE)),
        traditional(LEAF, PASSPHRASE),
        traditional(RSA, PASSPHRASE).replace(b"\n", b"\r\n"),
    ],
    ids=["pem ec", "pem rsa", "der", "traditional ec", "traditional rsa crlf"],
)
def test_encrypted_keys(content: bytes) -> None:
    contents = read(content, PASSPHRASE)
    assert len(contents.keys) == 1
    assert contents.notes == ()
    assert read(content, PASSPHRASE, keys=Keys.UNCHECKED).keys == contents.keys
    assert read(content, keys=Keys.LEFT_ALONE).keys_left_alone == 1
    for missing in (None, b""):
        with pytest.raises(WrongPassphrase, match="the private key is encrypted and no passphrase was given"):
            read(content, missing)
    with pytest.raises(WrongPassphrase, match="the passphrase does not fit the private key"):
        read(content, b"wrong")


@pytest.mark.parametrize("kind", ["ed25519", "ec-p521"])
def test_other_kinds_of_key(kind: str) -> None:
    key = make_key(kind)
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert read(content).keys[0].key_kind == kind


def test_ec_key_after_its_parameters() -> None:
    """What `openssl ecparam -genkey` writes."""
    content = openssl("ecparam", "-name", "prime256v1", "-genkey")
    assert b"EC PARAMETERS" in content
    assert read(content).keys[0].key_kind == "ec-p256"


def test_certificates_beside_an_encrypted_key_need_no_passphrase_when_it_is_left_alone() -> None:
    content = write_pem(CHAIN) + LEAF.key_pem(PASSPHRASE)
    contents = read(content, keys=Keys.LEFT_ALONE)
    assert (contents.certificates, contents.keys, contents.keys_left_alone) == (CHAIN, (), 1)
    assert contents.format == "PEM certificate, encrypted PKCS#8 private key"
    with pytest.raises(WrongPassphrase):
        read(content)


def test_requests() -> None:
    pem = request()
    contents = read(pem)
    assert contents.format == "PEM certificate request"
    (found,) = contents.requests
    assert found.pem.encode() == pem
    assert found.public_key == LEAF.certificate.public_key
    assert read(found.der).requests == (found,)
    assert read(pem.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST")).requests == (found,)


def test_request_whose_signature_does_not_verify() -> None:
    (good,) = read(request()).requests
    content = good.der[:-1] + bytes([good.der[-1] ^ 1])
    assert read(content).notes == ("the signature of the certificate request does not verify; a CA will refuse it",)


def test_request_whose_signature_is_of_an_unknown_kind() -> None:
    (good,) = read(request()).requests
    ecdsa_with_sha256 = bytes.fromhex("06082a8648ce3d040302")
    content = good.der.replace(ecdsa_with_sha256, bytes.fromhex("06082a8648ce3d04037f"))
    assert content != good.der
    assert not read(content).requests[0].is_signature_valid


def test_encrypted_key_of_a_kind_that_is_not_known(tmp_path: Path) -> None:
    """The passphrase fits, and what it opens is a curve that nobody serves."""
    (tmp_path / "secret").write_bytes(PASSPHRASE)
    curve = ("-pkeyopt", "ec_paramgen_curve:secp256k1", "-pkeyopt", "ec_param_enc:explicit")
    content = openssl("genpkey", "-algorithm", "EC", *curve, "-aes256", "-pass", f"file:{tmp_path / 'secret'}")
    with pytest.raises(FormatError, match="not an encrypted private key that can be read: ") as refused:
        read(content, PASSPHRASE)
    assert not isinstance(refused.value, WrongPassphrase)


def test_what_else_stands_in_the_file_is_mentioned() -> None:
    public = LEAF.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    contents = read(LEAF.pem() + public)
    assert contents.certificates == (LEAF.certificate,)
    assert contents.notes == ("passed over a public key",)
    with pytest.raises(
        FormatError, match=r"^there is no certificate, request or private key in it, only PEM public key"
    ):
        read(public)


def test_values_do_not_show_keys() -> None:
    contents = read(LEAF.key_pem())
    secret = base64.b64encode(LEAF.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).decode()
    assert secret[:20] not in repr(contents)
    assert "PrivateKey object" not in repr(contents)


DER = LEAF.certificate.der
PEM = LEAF.pem()
TRADITIONAL = traditional(LEAF, PASSPHRASE)
NO_END = "the CERTIFICATE that begins on line 1 has no END line of its own"
OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"
OPENPGP = b"-----BEGIN PGP MESSAGE-----\nVersion: 1\n\nAAAA\n=AAAA\n-----END PGP MESSAGE-----"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is empty"),
        (b"x" * (LARGEST + 1), "the file is larger than 4 MiB"),
        (DER[:-1], "the file is cut short: it says that it is "),
        (DER + b"\n", "the certificate is followed by 1 bytes of something else"),
        (PEM[:-10], NO_END),
        (b"\n\n" + PEM[:-10] + PEM, "the CERTIFICATE that begins on line 3 has no END line of its own"),
        (PEM.replace(b"END CERT", b"END X509 CERT"), NO_END),
        (PEM[:200] + b"?" + PEM[200:], "the CERTIFICATE on line 1: it is not base64"),
        (PEM.replace(b"-----\nMI", b"-----\nMA", 1), "the CERTIFICATE on line 1 is damaged: "),
        (b"-----BEGIN \n-----", "the BEGIN line on line 1 is damaged"),
        (b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", "the CERTIFICATE on line 1 is damaged: "),
        (b"-----BEGIN X-----\nMAA=\n-----END X-----", "the X on line 1: neither a certificate, a"),
        (b"-----BEGIN X-----\n\xff: y\n-----END X-----", "the headers of the block on line 1 are not ASCII"),
        (DER.replace(b"\x30\x82", b"\x30\x83", 1), "the file is bytes in which there is no certificate"),
        (DER[:4] + b"\x31" + DER[5:], "the file is bytes in which there is no certificate"),
        (DER[:4] + DER[4:].replace(b"\x30", b"\x31"), "the file is bytes in which there is no certificate"),
        (b"\x30\x80\x00", "the file is bytes in which there is no certificate"),
        (b"\x30\x80" * 100, "the file is bytes in which there is no certificate"),
        (b"\x30\x03\x1f\x01\x01", "the file is bytes in which there is no certificate"),
        (b"\x30\x80" + b"\x05\x00" * 200_000 + b"\0\0", "the file is bytes in which there is no certificate"),
        (bytes.fromhex("300f06092a864886f70d010702a0020500"), "not a PKCS#7 file that can be understood: "),
        (b"{}", "the file is JSON"),
        (b"<!doctype html>", "the file is XML or HTML"),
        (b"ssh-ed25519 AAAA", "the file is an SSH public key"),
        (OPENSSH, "the file is an OpenSSH private key"),
        (OPENPGP, "the file is OpenPGP data"),
        (b"PuTTY-User-Key-File-3: ssh-rsa", "the file is a PuTTY private key"),
        (b"PK\x03\x04....", "the file is a ZIP archive"),
        (b"\xfe\xed\xfe\xed\0\0\0\2", "the file is a Java key store"),
        (b"\xff\xfe-\0-\0", "the file is text in UTF-16"),
        (base64.encodebytes(DER), "the file is base64 without its BEGIN and END lines"),
        (b"hello, w\xc3\xb6rld\n", "the file is text in which there is no certificate, request or private key"),
        (b"\0\1\2", "the file is bytes in which there is no certificate, request or private key"),
        (TRADITIONAL.replace(b"AES-256-CBC", b"AES-256-XXX"), "the passphrase does not fit the private key"),
        (TRADITIONAL.replace(b"AES-256-CBC,", b"AES-256-CBC,0"), "the EC PRIVATE KEY on line 1: its DEK-Info"),
        (TRADITIONAL.replace(b"DEK-Info", b"Dek"), "the EC PRIVATE KEY on line 1: its DEK-Info"),
        (LEAF.key_pem().replace(b"MIGH", b"MIGI"), "the PRIVATE KEY on line 1 is damaged: "),
    ],
)  # fmt: skip
def test_refused_in_one_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(FormatError) as refused:
        read(content, PASSPHRASE)
    message = refused.value.message
    assert message.startswith(sentence)
    assert "\n" not in message
    assert not message.endswith(".")
    assert refused.value.remedy


def test_reading_takes_time_in_proportion_to_size() -> None:
    """Blocks that never end are told at the first; headers, labels and dashes without end are no trap either."""
    for hostile in (
        b"-----BEGIN X-----\n" * 200_000,
        b"-----BEGIN " + b"x" * 2_000_000,
        b"-----BEGIN X-----\n" + b"a:b\n" * 500_000,
    ):
        with pytest.raises(FormatError):
            read(hostile)
