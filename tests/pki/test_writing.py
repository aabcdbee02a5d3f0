"""What the Export page offers, read back by ourselves and by OpenSSL."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import FormatError, WrongPassphrase
from reconciler.pki.keys import create_key, private_key
from reconciler.pki.reading import read
from reconciler.pki.writing import (
    LONGEST_PASSPHRASE,
    write_der,
    write_key_pem,
    write_pem,
    write_pkcs7,
    write_pkcs8,
    write_pkcs12,
)
from tests.support.authority import Authority, make_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROOT = Authority.root()
INTERMEDIATE = ROOT.intermediate()
LEAF = INTERMEDIATE.issue(["access.example.com"])
KEY = private_key(LEAF.key)
CHAIN = (LEAF.certificate, INTERMEDIATE.certificate, ROOT.certificate)
PASSPHRASE = "pass phrase é".encode()


def openssl(*arguments: str, given: bytes) -> str:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout.decode()


def test_der() -> None:
    assert read(write_der(LEAF.certificate)).certificates == (LEAF.certificate,)


def test_pem() -> None:
    assert read(write_pem(CHAIN)).certificates == CHAIN


def test_pkcs7() -> None:
    content = write_pkcs7(CHAIN)
    assert frozenset(read(content).certificates) == frozenset(CHAIN)
    assert openssl("pkcs7", "-inform", "DER", "-print_certs", given=content).count("BEGIN CERTIFICATE") == 3
    with pytest.raises(FormatError, match="at least one certificate"):
        write_pkcs7([])


@pytest.mark.parametrize("write", [write_pkcs8, write_key_pem])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE, b"x" * LONGEST_PASSPHRASE])
def test_keys(write: Callable[..., bytes], passphrase: bytes | None) -> None:
    contents = read(write(KEY, passphrase), passphrase)
    assert contents.keys == (KEY,)
    assert bool(contents.notes) == (passphrase is None)


@pytest.mark.parametrize("chain", [(), CHAIN[1:]])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_pkcs12(chain: tuple[object, ...], passphrase: bytes | None, tmp_path: Path) -> None:
    content = write_pkcs12("access ☺", KEY, LEAF.certificate, CHAIN[1:] if chain else (), passphrase)
    contents = read(content, passphrase)
    assert contents.certificates == (LEAF.certificate, *chain)
    assert contents.keys == (KEY,)
    assert contents.friendly_name == "access ☺"
    (tmp_path / "secret").write_bytes((passphrase or b"") + b"\n")
    shown = openssl("pkcs12", "-nodes", "-passin", f"file:{tmp_path / 'secret'}", given=content)
    assert shown.count("BEGIN CERTIFICATE") == 1 + len(chain)
    assert shown.count("BEGIN PRIVATE KEY") == 1


@pytest.mark.parametrize("passphrase", [b"", b"\xff", b"a\0b", b"x" * (LONGEST_PASSPHRASE + 1)])
def test_passphrases_that_some_reader_would_not_take(passphrase: bytes) -> None:
    with pytest.raises(WrongPassphrase, match="a passphrase is text in UTF-8"):
        write_pkcs8(KEY, passphrase)
    with pytest.raises(WrongPassphrase, match="a passphrase is text in UTF-8"):
        write_pkcs12("access", KEY, LEAF.certificate, (), passphrase)


def test_a_key_of_another_certificate_is_refused() -> None:
    with pytest.raises(FormatError, match="certificate and key cannot be written as PKCS#12"):
        write_pkcs12("access", create_key("ec-p256"), LEAF.certificate, (), PASSPHRASE)


def test_other_kinds_of_key_can_be_written() -> None:
    issued = ROOT.issue(["access.example.com"], key=make_key("ed25519"))
    key = private_key(issued.key)
    assert read(write_pkcs12("access", key, issued.certificate, (), PASSPHRASE), PASSPHRASE).keys == (key,)
