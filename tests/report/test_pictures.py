from __future__ import annotations

import base64
import struct
import zlib

import pytest

from reconciler.base.errors import FormatError
from reconciler.report.pictures import LARGEST, image_only
from tests.report.images import JPEG, SIGNATURE, chunk, png, segment, with_segment
from tests.support.browser import browsing

SECRET = b"what nobody is to read"
KINDS = [
    (0, 1),
    (0, 2),
    (0, 4),
    (0, 8),
    (0, 16),
    (2, 8),
    (2, 16),
    (3, 1),
    (3, 2),
    (3, 4),
    (3, 8),
    (4, 8),
    (6, 8),
    (6, 16),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def claiming(width: int, height: int) -> bytes:
    """A picture whose header lies about its size."""
    true, false = (
        chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)) for size in ((13, 11), (width, height))
    )
    assert true in png()
    return png().replace(true, false)


def without_palette() -> bytes:
    picture = png(colour=3, depth=1)
    place = picture.index(b"PLTE") - 4
    return picture[:place] + picture[place + 12 + 6 :]


@pytest.mark.parametrize(
    "told",
    [
        chunk(b"tEXt", b"Comment\0" + SECRET),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(SECRET)),
        chunk(b"iTXt", b"Comment\0\0\0\0\0" + SECRET),
        chunk(b"eXIf", SECRET),
        chunk(b"iCCP", b"p\0\0" + zlib.compress(SECRET)),
        chunk(b"prVt", SECRET),
    ],
    ids=lambda each: str(each[4:8]),
)
def test_a_png_keeps_nothing_but_its_image(told: bytes) -> None:
    assert image_only(png(before=[told])) == image_only(png(after=[told])) == image_only(png())
    assert SECRET not in image_only(png(before=[told]))[1]


def test_what_is_written_is_a_picture_that_stays_as_it_is() -> None:
    for picture in (png(), png(colour=3, interlaced=True), JPEG):
        assert image_only(image_only(picture)[1]) == image_only(picture)
    assert image_only(png())[0] == "png"
    assert image_only(JPEG)[0] == "jpg"


def test_pixels_of_a_jpeg_may_hold_what_looks_like_markers() -> None:
    scan = b"\xff\x00\xff\xd0\xff\xd7"
    assert image_only(JPEG[:-2] + scan + JPEG[-2:])[1].endswith(scan + JPEG[-2:])


@pytest.mark.parametrize("marker", [0xE1, 0xE2, 0xED, 0xEF, 0xFE])
def test_a_jpeg_keeps_nothing_but_its_image(marker: int) -> None:
    assert image_only(with_segment(marker, SECRET)) == image_only(JPEG)


def test_a_jpeg_loses_its_thumbnail_and_keeps_how_its_colours_are_meant() -> None:
    jfif = b"JFIF\0\x01\x02\0\0\x48\0\x48"
    kept = image_only(with_segment(0xE0, jfif + b"\x07\x01" + SECRET[:21]))[1]
    assert segment(0xE0, jfif + b"\0\0") in kept
    adobe = b"Adobe\0\x64\0\0\0\0\x01"
    assert segment(0xEE, adobe) in image_only(with_segment(0xEE, adobe + SECRET))[1]
    assert SECRET[:21] not in kept
    assert SECRET not in image_only(with_segment(0xEE, adobe + SECRET))[1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "neither a PNG nor a JPEG"),
        (b"GIF89a" + bytes(50), "neither a PNG nor a JPEG"),
        (b"-----BEGIN CERTIFICATE-----", "neither a PNG nor a JPEG"),
        (bytes(LARGEST + 1), "larger than 32 MiB"),
        (png() + SECRET, f"followed by {len(SECRET)} bytes of something else"),
        (JPEG + SECRET, f"followed by {len(SECRET)} bytes of something else"),
        (png()[:-12] + chunk(b"IEND", SECRET), f"followed by {len(SECRET)} bytes of something else"),
        (png(hidden=SECRET), "something is hidden behind its pixels"),
        (png()[:-20], "damaged or cut short"),
        (png().replace(b"IDAT", b"IDAX", 1), "a checksum is wrong"),
        (png(before=[chunk(b"ABCD", SECRET)]), "parts that are not known"),
        (png(before=[chunk(b"PLTE", SECRET)]), "its PLTE does not fit"),
        (png(before=[chunk(b"tRNS", SECRET)]), "its tRNS does not fit"),
        (png(after=[chunk(b"PLTE", bytes(3))]), "its PLTE does not fit"),
        (SIGNATURE + chunk(b"IEND", b""), "does not begin with one header"),
        (SIGNATURE + chunk(b"IDAT", b"") + chunk(b"IEND", b""), "does not begin with one header"),
        (png(before=[chunk(b"IHDR", bytes(13))]), "does not begin with one header"),
        (claiming(13, 12), "as many pixels"),
        (claiming(13, 10), "as many pixels"),
        (claiming(0, 11), "header makes no sense"),
        (claiming(99999, 99999), "too many pixels"),
        (without_palette(), "its palette is missing"),
        (JPEG[:-2], "cut short"),
        (JPEG[:-1], "cut short"),
        (JPEG[:40], "cut short"),
        (JPEG[:2] + SECRET, "does not begin where it should"),
        (b"\xff\xd8\xff\xd9", "no image in it"),
        (with_segment(0xDB, bytes(65) + SECRET), "another size than they must have"),
        (with_segment(0xC4, bytes(17) + SECRET), "another size than they must have"),
        (with_segment(0xDD, SECRET), "another size than they must have"),
        (with_segment(0xC9, SECRET), "parts that are not known"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_anything_else_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem) as told:
        image_only(content)
    assert "save it as PNG or JPEG" in told.value.remedy


@pytest.mark.anyio
async def test_a_browser_shows_the_same_as_before() -> None:
    pictures = [png(colour=colour, depth=depth, interlaced=each) for colour, depth in KINDS for each in (False, True)]
    pictures += [png(colour=0, before=[chunk(b"tRNS", b"\0\x01")]), png(colour=3, before=[chunk(b"tRNS", bytes(9))])]
    pictures += [png(size=(1, 1), interlaced=True), with_segment(0xFE, SECRET)]
    async with browsing({}) as page:
        shown = []
        for each in (*pictures, *(image_only(picture)[1] for picture in pictures)):
            encoded = base64.b64encode(each).decode()
            drawn = await page.evaluate(
                """async source => {
                    const image = new Image(); image.src = source; await image.decode()
                    const canvas = document.createElement('canvas')
                    canvas.width = image.width; canvas.height = image.height
                    canvas.getContext('2d').drawImage(image, 0, 0)
                    return canvas.toDataURL()
                }""",
                f"data:image/{'png' if each.startswith(SIGNATURE) else 'jpeg'};base64,{encoded}",
            )
            shown.append(drawn)
    assert shown[: len(pictures)] == shown[len(pictures) :]
    assert len(set(shown)) > len(KINDS)
