"""Blocks of PEM (RFC 7468), and the older kind with headers (RFC 1421), cut out of whatever text surrounds them."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.base.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = b"-----BEGIN "
_END = b"-----END "
_DASHES = b"-----"
_LONGEST_LABEL = 64
_DEK_INFO = re.compile("DEK-Info: *([A-Z0-9-]+), *([0-9A-Fa-f]+)")


@dataclass(frozen=True, slots=True)
class Block:
    """One block.

    Attributes:
        label: What follows BEGIN. It is advice: the content says what it is.
        headers: The lines between BEGIN and the base64, where there are any.
        text: The base64 in one piece, not shown, since it may be a key.
        line: Line of BEGIN, from 1.
    """

    label: str
    headers: tuple[str, ...]
    text: bytes = field(repr=False)
    line: int

    @property
    def is_encrypted_by_header(self) -> bool:
        """Whether it is encrypted in the manner of old OpenSSL."""
        return any(each.startswith("Proc-Type:") and "ENCRYPTED" in each for each in self.headers)

    @property
    def has_sound_encryption_header(self) -> bool:
        """Whether DEK-Info gives as many octets as its cipher starts from; cryptography panics at fewer."""
        found = [match for each in self.headers if (match := _DEK_INFO.fullmatch(each))]
        return len(found) == 1 and len(found[0][2]) == (32 if found[0][1].startswith("AES") else 16)

    def decode(self) -> bytes:
        """What the block holds.

        Raises:
            FormatError: It is not base64.
        """
        try:
            return binascii.a2b_base64(self.text, strict_mode=True)
        except binascii.Error as error:
            raise FormatError("it is not base64", "get the file again; it was damaged on its way") from error

    def armoured(self) -> bytes:
        """The block as OpenSSL would write it, headers included."""
        headers = "".join(f"{each}\n" for each in self.headers) + "\n" if self.headers else ""
        lines = b"\n".join(self.text[start : start + 64] for start in range(0, len(self.text), 64))
        label = self.label.encode()
        return b"-----BEGIN %b-----\n%b%b\n-----END %b-----\n" % (label, headers.encode(), lines, label)


def blocks(content: bytes) -> Iterator[Block]:
    """The blocks of a text, in order. Each costs time in proportion to its length.

    Raises:
        FormatError: A block has no end, or ends as something else; raised where that shows.
    """
    position, line = 0, 1
    while (start := content.find(BEGIN, position)) >= 0:
        line += content.count(b"\n", position, start)
        label, body_start = _label(content, start + len(BEGIN), line)
        end = content.find(_DASHES, body_start)
        footer = _END + label + _DASHES
        if end < 0 or content[end : end + len(footer)] != footer:
            raise FormatError(
                f"the {label.decode()} that begins on line {line} has no END line of its own",
                "get the file again; a part of it is missing",
            )
        headers, text = _body(content[body_start:end], line)
        yield Block(label.decode(), headers, text, line)
        position = end + len(footer)
        line += content.count(b"\n", start, position)


def _label(content: bytes, start: int, line: int) -> tuple[bytes, int]:
    end = content.find(_DASHES, start, start + _LONGEST_LABEL)
    label = content[start:end] if end >= 0 else b""
    if not label or not label.isascii() or not label.decode("ascii").isprintable():
        raise FormatError(f"the BEGIN line on line {line} is damaged", "get the file again")
    return label, end + len(_DASHES)


def _body(body: bytes, line: int) -> tuple[tuple[str, ...], bytes]:
    if b":" not in body:
        return (), b"".join(body.split())
    try:
        lines = [each.strip() for each in body.decode("ascii").strip().splitlines()]
    except UnicodeDecodeError as error:
        raise FormatError(f"the headers of the block on line {line} are not ASCII", "get the file again") from error
    end = lines.index("") if "" in lines else len(lines)
    return tuple(lines[:end]), "".join(lines[end:]).encode()
