"""Files that were damaged, by accident or on purpose: they are read or refused, and nothing else ever happens."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cryptography_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.base.errors import FormatError
from reconciler.pki.pem import blocks
from reconciler.pki.protection import holds_clear_key
from reconciler.pki.reading import Keys, read
from tests.support.authority import Authority

VECTORS = Path(cryptography_vectors.__file__).parent
ISSUED = Authority.root().issue(["access.example.com"])
PASSPHRASE = b"cryptography"


def real_files() -> list[bytes]:
    """Small real files of every format, PEM ones also as the DER inside."""
    folders = ("pkcs12", "pkcs7", "asymmetric/PKCS8", "asymmetric/Traditional_OpenSSL_Serialization", "x509/requests")
    found = [ISSUED.pem(), ISSUED.key_pem(), ISSUED.key_pem(PASSPHRASE), ISSUED.pkcs12(PASSPHRASE)]
    found += [
        file.read_bytes()
        for folder in folders
        for file in sorted((VECTORS / folder).glob("*"))
        if file.is_file() and file.stat().st_size < 4000
    ]
    inside = []
    for content in found:
        try:
            inside += [block.decode() for block in blocks(content)]
        except FormatError:
            continue
    return found + inside


FILES = real_files()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    content = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        match draw(st.sampled_from(("set", "remove", "insert", "repeat"))):
            case "set":
                content[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case "remove":
                del content[place : place + draw(st.integers(1, 40))]
            case "insert":
                content[place:place] = draw(st.binary(min_size=1, max_size=8))
            case _:
                other = draw(st.integers(0, max(len(content) - 1, 0)))
                content[place : place + 20] = content[other : other + 20]
    return bytes(content)


def assert_read_or_refused(content: bytes, passphrase: bytes | None, keys: Keys) -> None:
    with suppress(FormatError):
        read(content, passphrase, keys=keys)
    assert holds_clear_key(content) in {True, False}


@settings(deadline=None, max_examples=400)
@given(damaged(), st.sampled_from((None, PASSPHRASE)), st.sampled_from(Keys))
def test_damaged_files(content: bytes, passphrase: bytes | None, keys: Keys) -> None:
    assert_read_or_refused(content, passphrase, keys)


@settings(deadline=None, max_examples=200)
@given(
    st.binary(max_size=300),
    st.sampled_from((b"", b"0", b"\x30\x82", b"-----BEGIN X-----\n", b"MI")),
    st.binary(max_size=8),
)
def test_anything_at_all(content: bytes, start: bytes, passphrase: bytes) -> None:
    assert_read_or_refused(start + content, passphrase, Keys.CHECKED)
