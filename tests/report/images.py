"""Small pictures for tests: PNG of every kind, made here, and a JPEG that Chromium made."""

from __future__ import annotations

import base64
import random
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# 16 x 16 pixels, baseline, with JFIF.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYV"
    "pQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wAARCAAQ"
    "ABADASIAAhEBAxEB/8QAFgABAQEAAAAAAAAAAAAAAAAABAMG/8QAFRABAQAAAAAAAAAAAAAAAAAAAgD/xAAUAQEAAAAAAAAAAAAAAAAAAAAF/8"
    "QAFxEBAQEBAAAAAAAAAAAAAAAABAAhMf/aAAwDAQACEQMRAD8AyDFBiexHYmAu5s8wd//Z"
)
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    *,
    size: tuple[int, int] = (13, 11),
    colour: int = 2,
    depth: int = 8,
    interlaced: bool = False,
    before: Sequence[bytes] = (),
    after: Sequence[bytes] = (),
    hidden: bytes = b"",
) -> bytes:
    """A PNG of random pixels.

    Args:
        size: Width and height.
        colour: Colour type.
        depth: Bits of a sample.
        interlaced: By Adam7.
        before: Chunks before the pixels.
        after: Chunks after the pixels.
        hidden: What follows the packed pixels within their chunk.
    """
    width, height = size
    chance = random.Random(1)  # noqa: S311 - pixels are no secrets
    pixels = b""
    for left, across, top, down in _PASSES if interlaced else ((0, 1, 0, 1),):
        columns, rows = len(range(left, width, across)), len(range(top, height, down))
        if columns:
            pixels += b"".join(
                b"\0" + chance.randbytes((columns * depth * _CHANNELS[colour] + 7) // 8) for _ in range(rows)
            )
    palette = [chunk(b"PLTE", chance.randbytes(3 << depth))] if colour == 3 else []
    packed = zlib.compress(pixels) + hidden
    middle = len(packed) // 2
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    parts = [
        chunk(b"IHDR", header),
        *palette,
        *before,
        chunk(b"IDAT", packed[:middle]),
        chunk(b"IDAT", packed[middle:]),
        *after,
        chunk(b"IEND", b""),
    ]
    return SIGNATURE + b"".join(parts)


def segment(marker: int, data: bytes) -> bytes:
    """A part of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def with_segment(marker: int, data: bytes) -> bytes:
    """The JPEG with one more part at its beginning."""
    return JPEG[:2] + segment(marker, data) + JPEG[2:]
