"""Screenshots as they may be sent: PNG or JPEG, told by their structure, and written again with nothing but the image.

Comments, metadata, colour profiles, thumbnails and whatever else may hold more than meets the eye are left out; what
follows the image is refused. The pixels of a PNG are unpacked and packed anew. Nothing here looks at what they show.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from reconciler.base.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 32 << 20
"""Bytes of a file beyond which it is refused unread."""
_MOST_UNPACKED = 256 << 20
_REMEDY = "take the screenshot again, and save it as PNG or JPEG"

# PNG: https://www.w3.org/TR/png-3/
_PNG = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">IIBBBBB")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_PALETTE, _TRANSPARENT = 3, {0: {2}, 2: {6}}
_ADAM7 = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
_MOST_COLOURS = 256

# JPEG: ITU-T T.81, annex B
_JPEG = b"\xff\xd8"
_EOI, _SOS, _DQT, _DHT, _DRI, _COM, _JFIF, _ADOBE = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE, 0xE0, 0xEE
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_APPLICATION = frozenset(range(0xE0, 0xF0))
_RESTARTS = frozenset(range(0xD0, 0xD8))
_ADOBE_SIZE, _JFIF_SIZE = 12, 12


def image_only(content: bytes) -> tuple[str, bytes]:
    """The file extension of a picture (`png`, `jpg`), and the picture written again without anything else.

    Raises:
        FormatError: It is neither PNG nor JPEG, is damaged, too large, or something follows it.
    """
    if len(content) > LARGEST:
        raise FormatError(f"it is larger than {LARGEST >> 20} MiB", _REMEDY)
    try:
        if content.startswith(_PNG):
            return "png", _png(content)
        if content.startswith(_JPEG):
            return "jpg", _jpeg(content)
    except (IndexError, struct.error, zlib.error) as error:
        raise FormatError("the picture is damaged or cut short", _REMEDY) from error
    raise FormatError("it is neither a PNG nor a JPEG picture", _REMEDY)


def _damaged(what: str) -> FormatError:
    return FormatError(f"the picture is damaged: {what}", _REMEDY)


def _followed(size: int) -> FormatError:
    return FormatError(f"the picture is followed by {size} bytes of something else", _REMEDY)


def _png(content: bytes) -> bytes:
    header: tuple[int, ...] = ()
    kept: dict[bytes, bytes] = {}
    packed: list[bytes] = []
    for kind, data in _chunks(content):
        if (kind == b"IHDR") == bool(header):
            raise _damaged("it does not begin with one header")
        if kind == b"IHDR":
            header = _header(data)
        elif kind == b"IDAT":
            packed.append(data)
        elif kind in {b"PLTE", b"tRNS"}:
            if kind in kept or packed or not _fits(kind, data, header, kept):
                raise _damaged(f"its {kind.decode()} does not fit")
            kept[kind] = data
        elif kind != b"IEND" and not kind[0] & 0x20:  # a capital letter: it cannot be shown without this
            raise _damaged("it has parts that are not known")
    if header[3] == _PALETTE and b"PLTE" not in kept:
        raise _damaged("its palette is missing")
    pixels = _unpacked(b"".join(packed), _size(header))
    colours = [(kind, kept[kind]) for kind in (b"PLTE", b"tRNS") if kind in kept and header[3] in {0, 2, _PALETTE}]
    parts = [(b"IHDR", _IHDR.pack(*header)), *colours, (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return _PNG + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks up to IEND, after which nothing may come."""
    place = len(_PNG)
    while True:
        (size,) = struct.unpack_from(">I", content, place)
        kind, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + size]
        (check,) = struct.unpack_from(">I", content, place + 8 + size)
        if not kind.isalpha() or zlib.crc32(kind + data) != check:
            raise _damaged("a checksum is wrong")
        place += 12 + size
        yield kind, data
        if kind == b"IEND":
            break
    if data or place != len(content):
        raise _followed(len(data) + len(content) - place)


def _header(data: bytes) -> tuple[int, ...]:
    header = _IHDR.unpack(data)
    width, height, depth, colour, compression, filtering, interlaced = header
    if not width or not height or depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlaced > 1:
        raise _damaged("its header makes no sense")
    return header


def _fits(kind: bytes, data: bytes, header: tuple[int, ...], kept: dict[bytes, bytes]) -> bool:
    """Whether a palette or transparency has the size that it must have."""
    if kind == b"PLTE":
        most = min(1 << header[2], _MOST_COLOURS) if header[3] == _PALETTE else _MOST_COLOURS
        return len(data) % 3 == 0 and 0 < len(data) // 3 <= most
    if header[3] == _PALETTE:
        return len(data) <= len(kept.get(b"PLTE", b"")) // 3
    return len(data) in _TRANSPARENT.get(header[3], ())


def _size(header: tuple[int, ...]) -> int:
    """Bytes of the pixels: each row begins with the number of its filter."""
    width, height, depth, colour, _, _, interlaced = header
    bits = depth * _CHANNELS[colour]
    total = 0
    for left, across, top, down in _ADAM7 if interlaced else ((0, 1, 0, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    if total > _MOST_UNPACKED:
        raise FormatError("the picture has too many pixels", _REMEDY)
    return total


def _unpacked(packed: bytes, size: int) -> bytes:
    unpacking = zlib.decompressobj()
    pixels = unpacking.decompress(packed, size + 1)
    if len(pixels) != size or unpacking.decompress(unpacking.unconsumed_tail, 1) or not unpacking.eof:
        raise _damaged("it has not as many pixels as it says")
    if unpacking.unused_data:
        raise _damaged("something is hidden behind its pixels")
    return pixels


def _jpeg(content: bytes) -> bytes:
    kept, place, seen = [_JPEG], 2, set[int]()
    while True:
        if content[place] != 0xFF:  # noqa: PLR2004 - what every marker begins with
            raise _damaged("a part does not begin where it should")
        while content[place] == 0xFF:  # noqa: PLR2004 - it may be filled up with more of them
            place += 1
        marker = content[place]
        place += 1
        if marker == _EOI:
            break
        (size,) = struct.unpack_from(">H", content, place)
        data = content[place + 2 : place + size]
        place += size
        if place > len(content):
            raise _damaged("it is cut short")
        part = _segment(marker, data)
        if part is not None:
            kept.append(struct.pack(">BBH", 0xFF, marker, len(part) + 2) + part)
            seen.add(marker)
        if marker == _SOS:
            end = _end_of_scan(content, place)
            kept.append(content[place:end])
            place = end
    if place != len(content):
        raise _followed(len(content) - place)
    if _SOS not in seen or not seen & _FRAMES:
        raise _damaged("there is no image in it")
    return b"".join((*kept, bytes((0xFF, _EOI))))


def _segment(marker: int, data: bytes) -> bytes | None:
    """What is kept of a part: what an image is made of, exactly as long as it must be; None for the rest."""
    if marker == _JFIF and data.startswith(b"JFIF\0") and len(data) >= _JFIF_SIZE:
        return data[:_JFIF_SIZE] + b"\0\0"  # no thumbnail
    if marker == _ADOBE and data.startswith(b"Adobe"):
        return data[:_ADOBE_SIZE]  # how its colours are meant
    if marker in _APPLICATION or marker == _COM:
        return None
    if not _is_whole(marker, data):
        raise _damaged("it has parts that are not known, or of another size than they must have")
    return data


def _is_whole(marker: int, data: bytes) -> bool:
    if marker in _FRAMES:
        return len(data) == 6 + 3 * data[5]
    if marker == _SOS:
        return len(data) == 4 + 2 * data[0]
    if marker == _DRI:
        return len(data) == 2  # noqa: PLR2004 - a number of two octets
    if marker not in {_DQT, _DHT}:
        return False
    place = 0
    while place < len(data):
        tables = 65 + 64 * (data[place] >> 4) if marker == _DQT else 17 + sum(data[place + 1 : place + 17])
        place += tables
    return place == len(data)


def _end_of_scan(content: bytes, place: int) -> int:
    """Where the next marker stands that is no part of the pixels."""
    while True:
        place = content.find(b"\xff", place)
        if place < 0:
            raise _damaged("it is cut short")
        following = content[place + 1]
        if following and following not in _RESTARTS:
            return place
        place += 2
