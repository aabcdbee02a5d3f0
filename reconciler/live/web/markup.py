"""The elements of a page, as browsers make them of whatever comes, in bounds of number and depth.

Some of what a parser does takes time with the square of what it is given, and a tree takes many times the memory of its
text. So a page is first run through without keeping anything, up to where it goes beyond any page of an interface.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

from lxml import etree, html

from reconciler.base.errors import StoreUnrecognised

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_PIECES = 200_000
"""Elements and attributes: some forty for each row of a table."""
_MOST_ATTRIBUTES = 500
_DEEPEST = 200
_CHARSETS = frozenset({"utf-8", "utf-8-sig", "ascii", "iso8859-1", "iso8859-15", "cp1252", "utf-16"})


def parse(content: bytes, charset: str) -> html.HtmlElement | None:
    """The elements of a page, or None where nothing in it is markup. Comments are left out.

    Args:
        content: The page.
        charset: How it says that it is encoded; anything odd is taken for UTF-8.

    Raises:
        StoreUnrecognised: It is larger or deeper than any page of an interface.
    """
    text = content.decode(_codec(charset), "replace").removeprefix("\ufeff")
    markup = text.replace("\0", "\ufffd").encode("utf-8", "replace")
    parser = html.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True)
    gauge: Any = _Gauge()  # what it does without, lxml does not call
    etree.fromstring(markup, etree.HTMLParser(target=gauge, encoding="utf-8", no_network=True))
    try:
        return html.document_fromstring(markup, parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, AssertionError):
        return None


class _Gauge:
    """Counts what a parser meets."""

    def __init__(self) -> None:
        """Nothing was met yet."""
        self._pieces = 0
        self._depth = 0

    def start(self, _tag: object, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        self._pieces += 1 + len(attributes)
        self._depth += 1
        if self._pieces > _MOST_PIECES or len(attributes) > _MOST_ATTRIBUTES or self._depth > _DEEPEST:
            raise StoreUnrecognised(
                "a page comes that is larger or deeper than any of an interface", "see what answers at that address"
            )

    def end(self, _tag: object) -> None:
        """An element ends."""
        self._depth -= 1

    def close(self) -> int:
        """The page ends."""
        return self._pieces


def _codec(charset: str) -> str:
    """A codec for text. Others that Python knows fail in ways of their own, or take time with the square of size."""
    try:
        found = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return "utf-8"
    return found if found in _CHARSETS else "utf-8"
