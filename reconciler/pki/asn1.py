"""Just enough ASN.1 to tell what a file is, before a parser that needs to know is asked.

It reads tags and lengths (X.690), the indefinite ones of BER included, and compares the outline with the formats' own.
It is no parser of certificates: what an outline promises, cryptography has to confirm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, pairwise, takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

INTEGER, BIT_STRING, OCTET_STRING, OBJECT_IDENTIFIER = 0x02, 0x03, 0x04, 0x06
SEQUENCE, CONTEXT_0 = 0x30, 0xA0
_CONSTRUCTED = 0x20
_LONG_TAG = 0x1F
_INDEFINITE = 0x80
_DEEPEST = 40
_MOST_ELEMENTS = 100_000


class Malformed(ValueError):
    """Tags and lengths do not fit together."""


class Truncated(Malformed):
    """An element is longer than what is there."""


class Kind(StrEnum):
    """What a file or PEM block holds, in words for people."""

    CERTIFICATE = "certificate"
    REQUEST = "certificate request"
    REVOCATION_LIST = "certificate revocation list"
    PKCS7 = "PKCS#7"
    PKCS12 = "PKCS#12"
    PKCS8 = "PKCS#8 private key"
    ENCRYPTED_PKCS8 = "encrypted PKCS#8 private key"
    TRADITIONAL = "traditional private key"
    PUBLIC_KEY = "public key"


CLEAR_KEYS = frozenset({Kind.PKCS8, Kind.TRADITIONAL})
"""The kinds that are a private key anyone can read."""


# Which tags the first elements of a file have, as patterns over identifier octets.
_ENOUGH = 6
_OUTLINES = (
    (re.compile(rb"\x06\xa0?"), Kind.PKCS7),  # ContentInfo, RFC 5652, section 3
    (re.compile(rb"\x02\x30\x30?"), Kind.PKCS12),  # RFC 7292, section 4
    (re.compile(rb"\x02\x30\x04.*", re.DOTALL), Kind.PKCS8),  # RFC 5958, section 2
    (re.compile(rb"\x30\x04"), Kind.ENCRYPTED_PKCS8),  # RFC 5958, section 3
    (re.compile(rb"\x02\x04.*", re.DOTALL), Kind.TRADITIONAL),  # EC: RFC 5915, section 3
    (re.compile(rb"\x02{6}"), Kind.TRADITIONAL),  # RSA: RFC 8017, appendix A.1.2; DSA
    (re.compile(rb"\x30\x03"), Kind.PUBLIC_KEY),  # RFC 5280, section 4.1
)
# Certificates, requests and revocation lists share their outermost outline; these are of what is signed.
_SIGNED = (
    (re.compile(rb"\xa0.*|\x02\x30{5}", re.DOTALL), Kind.CERTIFICATE),  # RFC 5280, section 4.1
    (re.compile(rb"\x02\x30\x30\xa0?"), Kind.REQUEST),  # RFC 2986, section 4.1
    (re.compile(rb"\x02?\x30\x30[\x17\x18].*", re.DOTALL), Kind.REVOCATION_LIST),  # RFC 5280, section 5.1
)


@dataclass(frozen=True, slots=True)
class Element:
    """A tag and what it holds.

    Attributes:
        tag: The identifier octet.
        content: The octets inside.
        indefinite: Whether the length was left open, which DER forbids.
    """

    tag: int
    content: memoryview
    indefinite: bool = False

    @property
    def number(self) -> int:
        """The value of an INTEGER, counted as not negative."""
        return int.from_bytes(self.content, "big")


def first_element(data: bytes | memoryview) -> tuple[Element, int]:
    """The element that the data begins with, and how many octets it takes.

    Raises:
        Truncated: It is longer than the data.
        Malformed: There is no element.
    """
    return _element(memoryview(data), 0)


def children(element: Element) -> Iterator[Element]:
    """The elements inside another.

    Raises:
        Malformed: The content is not a series of elements; raised where that shows.
    """
    return _series(element.content, 0)


def _series(data: memoryview, depth: int) -> Iterator[Element]:
    while data:
        element, size = _element(data, depth)
        yield element
        data = data[size:]


def _element(data: memoryview, depth: int) -> tuple[Element, int]:
    if len(data) < 2:  # noqa: PLR2004 - a tag and a length
        raise Truncated("the last element is cut short")
    tag, length, start = data[0], data[1], 2
    if tag & _LONG_TAG == _LONG_TAG:
        raise Malformed("it uses tags that no certificate file has")
    if length == _INDEFINITE and tag & _CONSTRUCTED:
        size = _until_end_of_contents(data[start:], depth + 1)
        return Element(tag, data[start : start + size], indefinite=True), start + size + 2
    if length & 0x80:
        octets = length & 0x7F
        if not 0 < octets <= 4:  # noqa: PLR2004 - four octets count 4 GiB
            raise Malformed("a length is not encoded properly")
        start += octets
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise Truncated(f"it says that it is {start + length} bytes long, but {len(data)} are there")
    return Element(tag, data[start : start + length]), start + length


def _until_end_of_contents(data: memoryview, depth: int) -> int:
    if depth > _DEEPEST:
        raise Malformed("it is nested too deeply")
    size = count = 0
    while bytes(data[size : size + 2]) != b"\0\0":
        size += _element(data[size:], depth)[1]
        count += 1
        if count > _MOST_ELEMENTS:
            raise Malformed("it has too many parts")
    return size


def kind_of(data: bytes | memoryview) -> Kind | None:
    """What an outline stands for; None where it is none of the known ones.

    Raises:
        Malformed: It is no ASN.1.
    """
    outer, _ = first_element(data)
    if outer.tag != SEQUENCE:
        return None
    parts = list(islice(children(outer), _ENOUGH))
    if [each.tag for each in parts] == [SEQUENCE, SEQUENCE, BIT_STRING]:
        return _among(_SIGNED, list(islice(children(parts[0]), _ENOUGH)))
    return _among(_OUTLINES, parts)


def _among(outlines: tuple[tuple[re.Pattern[bytes], Kind], ...], parts: list[Element]) -> Kind | None:
    tags = bytes(each.tag for each in parts)
    return next((kind for outline, kind in outlines if outline.fullmatch(tags)), None)


def subject_public_key_info(certificate: bytes) -> bytes:
    """The octets inside a certificate's SubjectPublicKeyInfo (RFC 5280, section 4.1).

    Raises:
        Malformed: It is no ASN.1.
    """
    outer, _ = first_element(certificate)
    parts = list(children(next(children(outer))))
    return bytes(parts[6 if parts[0].tag == CONTEXT_0 else 5].content)


@dataclass(frozen=True, slots=True)
class Node:
    """An element and those inside it.

    Attributes:
        element: The element.
        parts: What it is made of; for an octet string, what its octets can be read as, if anything.
    """

    element: Element
    parts: tuple[Element, ...]

    @property
    def numbers_after_octets(self) -> tuple[int, ...]:
        """The INTEGERs that follow an OCTET STRING directly: how key derivation writes salt and cost.

        PBES1, PBKDF2 (RFC 8018), the integrity of PKCS#12 (RFC 7292) and scrypt (RFC 7914) all do.
        """
        for index, (before, after) in enumerate(pairwise(self.parts)):
            if before.tag == OCTET_STRING and after.tag == INTEGER:
                following = takewhile(lambda each: each.tag == INTEGER, self.parts[index + 1 :])
                return tuple(each.number for each in following)
        return ()


def walk(data: bytes | memoryview) -> Iterator[Node]:
    """Every element of a PKCS#8 or PKCS#12 file, also those inside octet strings, outermost first.

    Octets may look like ASN.1 by chance, so what is wrong inside them is passed over.

    Raises:
        Malformed: It is no ASN.1, nested too deeply, or has an unreasonable number of elements.
    """
    left = _MOST_ELEMENTS
    open_ends = [(first_element(data)[0], 0, False)]
    while open_ends:
        element, depth, by_chance = open_ends.pop()
        is_octets = element.tag in {OCTET_STRING, OCTET_STRING | _CONSTRUCTED}
        try:
            parts = _parts(element)
        except Malformed:
            if not by_chance and not is_octets:
                raise
            parts = ()
        left -= 1
        if left < 0 or depth > _DEEPEST:
            raise Malformed("it is nested too deeply or has too many parts")
        yield Node(element, parts)
        open_ends.extend((each, depth + 1, by_chance or is_octets) for each in parts)


def _parts(element: Element) -> tuple[Element, ...]:
    if element.tag == OCTET_STRING | _CONSTRUCTED:  # BER: a string in chunks
        return tuple(_series(memoryview(b"".join(bytes(each.content) for each in children(element))), 0))
    if element.tag == OCTET_STRING or element.tag & _CONSTRUCTED:
        return tuple(children(element))
    return ()
