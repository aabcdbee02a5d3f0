"""Looks for secrets in whatever a program wrote, in any form that they might have slipped out in.

A key is sought by its private numbers: as bytes, in hexadecimal with and without separators, in decimal, and in base64
at each of the three ways in which bytes may fall into it, so in PEM and DER of every container. Long numbers are cut
into pieces, any of which gives the leak away. Line breaks and spaces, and those that JSON writes, do not count.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from reconciler.pki.pem import blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_PIECE = 32
_SPACE = re.compile(rb"(\s|\\n|\\r)+")
_SHORTEST = 8


@dataclass(frozen=True)
class Needles:
    """Secrets in all their forms.

    Attributes:
        forms: Each form as bytes.
    """

    forms: frozenset[bytes]

    @classmethod
    def of(cls, keys: Iterable[object], passphrases: Iterable[bytes]) -> Needles:
        """Every form of private keys and passphrases."""
        found = {form for key in keys for number in _numbers(key) for form in _forms_of_number(number)}
        found |= {form for each in passphrases for form in _forms(each)}
        assert all(len(form) >= _SHORTEST for form in found)
        return cls(frozenset(found))

    def within(self, output: bytes | str) -> list[bytes]:
        """The forms that occur in an output."""
        content = output.encode("utf-8", "surrogateescape") if isinstance(output, str) else output
        plain = _SPACE.sub(b"", content)
        return [form for form in self.forms if form in content or form in plain]


def keys_below(folder: Path) -> list[object]:
    """Every unencrypted private key in the PEM files below a folder."""
    found: list[object] = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            found += [
                load_pem_private_key(block.armoured(), None)
                for block in blocks(path.read_bytes())
                if block.label.endswith("PRIVATE KEY")
            ]
    return found


def committed_keys(folder: Path, passphrase: bytes) -> list[object]:
    """Every private key in the PKCS#12 files below a folder that a passphrase opens."""
    return [
        pkcs12.load_key_and_certificates(each.read_bytes(), passphrase)[0] for each in sorted(folder.rglob("*.p12"))
    ]


def _numbers(key: object) -> tuple[int, ...]:
    if isinstance(key, rsa.RSAPrivateKey):
        each = key.private_numbers()
        return each.d, each.p, each.q, each.dmp1, each.dmq1, each.iqmp
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return (key.private_numbers().private_value,)


def _forms_of_number(number: int) -> Iterator[bytes]:
    yield str(number).encode()
    content = number.to_bytes((number.bit_length() + 7) // 8)
    for start in range(0, len(content), _PIECE):
        piece = content[start : start + _PIECE]
        if len(piece) >= _PIECE // 2:
            yield from _forms(piece)


def _forms(secret: bytes) -> Iterator[bytes]:
    yield secret
    yield repr(secret)[2:-1].encode()
    for separator in ("", ":"):
        digits = secret.hex(separator) if separator else secret.hex()
        yield digits.encode()
        yield digits.upper().encode()
    for shift in range(3):
        # Characters at either end depend on the neighbours as well, so they are left out.
        padded = bytes(shift) + secret
        text = base64.b64encode(padded[: len(padded) // 3 * 3])
        yield text[-(-shift * 8 // 6) :]
        yield base64.urlsafe_b64encode(base64.b64decode(text))[-(-shift * 8 // 6) :]
