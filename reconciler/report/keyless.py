"""The last look at a file that leaves the house: is it what it says, and does any private key show in it.

Encrypted keys count as keys, and so does PKCS#12: what is sent is to hold certificates only. It looks at content, never
at names, and at every place of a file, not only at its beginning.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

from reconciler.base.errors import FormatError
from reconciler.pki.asn1 import Kind, Malformed, first_element, kind_of
from reconciler.pki.protection import holds_clear_key
from reconciler.report.pictures import image_only

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEYS = frozenset({Kind.PKCS8, Kind.ENCRYPTED_PKCS8, Kind.TRADITIONAL, Kind.PKCS12})
_MARKED = re.compile(rb"PRIVATE KEY-----|PuTTY-User-Key-File|openssh-key-v1\0")
# A SEQUENCE that begins with a version: PKCS#8, traditional RSA and EC keys, PKCS#12.
_OUTLINE = re.compile(rb"(?=\x30(?:[\x00-\x7f]|\x80|\x81.|\x82..|\x83...)\x02\x01[\x00-\x03][\x02\x04\x30])", re.DOTALL)
# What encrypts a key: PBES1 and PBES2 (1.2.840.113549.1.5), those of PKCS#12 (1.2.840.113549.1.12), and its bags.
_ENCRYPTION = re.compile(rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05|\x06[\x0a\x0b]\x2a\x86\x48\x86\xf7\x0d\x01\x0c")
_BASE64 = re.compile(rb"(?<![A-Za-z0-9+/])M[A-Za-z0-9+/]{19}[A-Za-z0-9+/=\s]*")


def check_keyless(name: str, content: bytes) -> None:
    """Refuse a file that is not what its name says, or in which a private key shows.

    Args:
        name: Its name; what it ends in says what it must be.
        content: The file.

    Raises:
        FormatError: It is something else, or there is a private key in it.
    """
    if shows_key(content):
        raise FormatError(f"{name} would hold a private key, and nothing is written", "look at where it comes from")
    if not _is_what_it_says(name.rpartition(".")[2], content):
        raise FormatError(f"{name} would not hold what its name says, and nothing is written", "report this")


def shows_key(content: bytes) -> bool:
    """Whether a private key shows anywhere in a file, encrypted or not; PKCS#12 always counts as one."""
    if _MARKED.search(content) or holds_clear_key(content):
        return True
    return any(_shows_key(part) for part in (content, *_decoded(content)))


def _shows_key(data: bytes) -> bool:
    if _ENCRYPTION.search(data):
        return True
    return any(_kind(data[match.start() :]) in _KEYS for match in _OUTLINE.finditer(data))


def _decoded(content: bytes) -> Iterator[bytes]:
    """What stands in a file as base64 and may be a SEQUENCE."""
    for match in _BASE64.finditer(content):
        text = b"".join(match[0].partition(b"=")[0].split())
        whole = text[:-1] if len(text) % 4 == 1 else text
        yield binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))


def _kind(data: bytes) -> Kind | None:
    try:
        return kind_of(data)
    except Malformed:
        return None


def _is_what_it_says(extension: str, content: bytes) -> bool:
    match extension:
        case "crt":
            return _kind(content) is Kind.CERTIFICATE and first_element(content)[1] == len(content)
        case "p7b":
            return _kind(content) is Kind.PKCS7 and first_element(content)[1] == len(content)
        case "png" | "jpg":
            return image_only(content) == (extension, content)
        case "txt":
            return "\0" not in content.decode("utf-8")
        case _:
            return False
