"""Every public root, and every file of cryptography's vectors: each is read or refused in one sentence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import certifi
import cryptography_vectors
import pytest

from reconciler.base.errors import FormatError, WrongPassphrase
from reconciler.pki.protection import holds_clear_key
from reconciler.pki.reading import Contents, Keys, read

VECTORS = Path(cryptography_vectors.__file__).parent
# Passphrases that the documentation of the vectors gives.
PASSPHRASES = (None, b"password", b"cryptography", b"foobar", b"baz", b"asdf", b"123456", b"\xf0\x9f\x9a\x80")


def outcome(content: bytes) -> tuple[str, Contents | None]:
    """What becomes of a file: `read`, `encrypted` or `refused`."""
    for passphrase in PASSPHRASES:
        try:
            return "read", read(content, passphrase)
        except WrongPassphrase as error:
            assert_one_sentence(error)
        except FormatError as error:
            assert_one_sentence(error)
            return "refused", None
    return "encrypted", None


def assert_one_sentence(error: FormatError) -> None:
    assert error.message
    assert error.remedy
    assert "\n" not in str(error)


def test_every_public_root() -> None:
    contents = read(Path(certifi.where()).read_bytes())
    print(f"\ncertifi: {len(contents.certificates)} certificates")  # noqa: T201 - the counts are part of the proof
    assert len(contents.certificates) > 100
    assert all(each.is_authority and each.is_self_issued for each in contents.certificates)
    assert not holds_clear_key(Path(certifi.where()).read_bytes())


@pytest.mark.parametrize(
    ("folder", "least"),
    [
        ("pkcs12", {"files": 33, "read": 33, "certificates": 70, "keys": 20}),
        ("pkcs7", {"files": 10, "read": 6, "certificates": 8}),
        ("x509", {"files": 1774, "read": 930, "certificates": 900, "requests": 15, "keys": 350}),
        ("asymmetric/PKCS8", {"files": 55, "read": 28, "keys": 28}),
    ],
)
def test_every_vector(folder: str, least: dict[str, int]) -> None:
    counts: Counter[str] = Counter()
    for file in sorted((VECTORS / folder).rglob("*")):
        if not file.is_file():
            continue
        content = file.read_bytes()
        kind, contents = outcome(content)
        counts.update(["files", kind])
        counts["clear keys"] += holds_clear_key(content)
        if contents is not None:
            counts["certificates"] += len(contents.certificates)
            counts["requests"] += len(contents.requests)
            counts["keys"] += len(contents.keys)
    print(f"\n{folder}: " + ", ".join(f"{count} {what}" for what, count in counts.most_common()))  # noqa: T201 - see above
    assert counts["files"] == counts["read"] + counts["refused"] + counts["encrypted"]
    assert not {what: counts[what] for what, count in least.items() if counts[what] < count}


def test_a_clear_key_is_what_opens_without_a_passphrase() -> None:
    """Whatever gives up a key without a passphrase is known to `holds_clear_key`, in all folders of keys."""
    seen = 0
    for folder in ("pkcs12", "asymmetric", "x509/custom"):
        for file in sorted((VECTORS / folder).rglob("*")):
            content = file.read_bytes() if file.is_file() and file.stat().st_size < 100_000 else b""
            try:
                contents = read(content, keys=Keys.UNCHECKED)
            except FormatError:
                continue
            seen += bool(contents.keys)
            assert holds_clear_key(content) or not contents.keys, file
    assert seen > 50
