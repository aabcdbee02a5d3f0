"""Pages kept for whoever adds a release that we have not seen: their markup and their words, nobody's data.

What labels, headings, table headers, buttons and choices say stays, since that is what a page is understood by. What
tables list, what fields hold, names, addresses, fingerprints and tokens become letters `x` and digits `0` of the same
shape; scripts, comments and whatever a page brings along unseen are left out.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from lxml import etree, html

from reconciler.base.errors import StoreUnreachable
from reconciler.live.web import labels
from reconciler.live.web.html import collapse, parse

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from reconciler.live.web.html import Page

_MOST_PAGES = 500
_DATA = re.compile(
    r"-----BEGIN .*?(?:-----END [^-]*-----|$)"  # PEM
    r"|[^\s@]+@[^\s@]+"  # mail addresses
    r"|\b(?:[0-9a-fA-F]{2}:?){8,}\b"  # fingerprints
    r"|\b[A-Za-z0-9+/_-]{24,}={0,2}"  # tokens
    r"|\b\d+(?:\.\d+){2,}\b|\b[0-9a-fA-F:]*::[0-9a-fA-F:.]+\b"  # addresses
    r"|(?:\*\.)?\b(?:[\w-]+\.)+[A-Za-z]{2,}\b",  # host names
    re.DOTALL,
)
_KEPT_ATTRIBUTES = frozenset(
    {
        "action",
        "aria-label",
        "checked",
        "class",
        "colspan",
        "disabled",
        "enctype",
        "for",
        "form",
        "formaction",
        "hidden",
    }
    | {"href", "id", "lang", "method", "multiple", "name", "role", "rowspan", "scope", "selected", "style", "type"}
)
_ADDRESSES = frozenset({"action", "href", "formaction"})
_DROPPED = ("script", "style", "noscript", "template", "iframe", "object", "svg", "link", "meta", "base")


class Capture:
    """Keeps the pages of one appliance in a folder, each once."""

    def __init__(self, folder: Path, private: Collection[str]) -> None:
        """Begin.

        Args:
            folder: Where to; it is made.
            private: Words that are replaced wherever they stand: host names, the user name.
        """
        self._folder = folder
        self._private: list[str] = []
        self.hide(private)
        self._number = 0
        self._seen: set[bytes] = set()

    def hide(self, private: Collection[str]) -> None:
        """Replace further words from now on."""
        self._private = sorted({*self._private, *private} - {""}, key=len, reverse=True)

    def keep(self, page: Page, content: bytes, charset: str) -> None:
        """Keep a page.

        Raises:
            StoreUnreachable: It cannot be written.
        """
        if self._number >= _MOST_PAGES:
            return
        kept = redact(content, charset, self._private)
        if kept in self._seen:
            return
        self._seen.add(kept)
        self._number += 1
        name = f"{self._number:02}-{_slug(page)}.html"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_bytes(kept)
            index = {
                "product": labels.PRODUCT.texts[0],
                "pages": sorted(each.name for each in self._folder.glob("*.html")),
            }
            (self._folder / "capture.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise StoreUnreachable(
                f"nothing can be kept in {self._folder}: {error.strerror}", "name another folder for --capture"
            ) from error


def redact(content: bytes, charset: str, private: Collection[str] = ()) -> bytes:
    """A page without data.

    Args:
        content: The page.
        charset: How it is encoded.
        private: Words that are replaced wherever they stand.
    """
    root = parse(content, charset)
    if root is None:
        return b""
    for each in list(root.iter(*_DROPPED)):
        each.drop_tree()
    for element in root.iter():
        if isinstance(element.tag, str):
            _redact(element, private)
    return etree.tostring(root, method="html", encoding="utf-8", pretty_print=True)


def _redact(element: html.HtmlElement, private: Collection[str]) -> None:
    pressed = element.tag == "button" or element.get("type", "").lower() in {"submit", "button", "reset", "image"}
    for name, value in list(element.attrib.items()):
        if name == "value" and (pressed or element.tag == "option"):
            element.set(name, _clean(value, private) if pressed else _shape(value))
        elif name == "value" and element.get("type", "").lower() in {"checkbox", "radio"}:
            element.set(name, _shape(value))
        elif name in _ADDRESSES:
            element.set(name, _clean(value.partition("?")[0], private))
        elif name in {"alt", "title", "placeholder"}:
            element.set(name, _clean(value, private))
        elif name not in _KEPT_ATTRIBUTES:
            del element.attrib[name]
    data = element.tag == "textarea" or _is_data(element)
    element.text = _text(element.text, private, data=data)
    parent = element.getparent()
    element.tail = _text(element.tail, private, data=parent is not None and _is_data(parent))


def _is_data(element: html.HtmlElement) -> bool:
    """Whether it stands in a cell of a table that holds neither a field nor the name of one."""
    cell = next((each for each in (element, *element.iterancestors()) if each.tag == "td"), None)
    if cell is None or cell.find(".//table") is not None:
        return False
    row = cell.getparent()
    fields = (
        row.xpath(".//input[not(@type='hidden' or @type='checkbox' or @type='radio')]|.//select|.//textarea")
        if (row is not None)
        else []
    )
    return not fields


def _text(text: str | None, private: Collection[str], *, data: bool) -> str | None:
    if not text or not text.strip():
        return text
    if not data or _KNOWN.fullmatch(collapse(text)):
        return _clean(text, private)
    return _shape(text)


_KNOWN = re.compile(
    r"yes|no|no supported names|\d+ warning\(s\)|" + "|".join(map(re.escape, labels.FACTORY_NAMES)), re.IGNORECASE
)


def _clean(text: str, private: Collection[str]) -> str:
    for word in private:
        text = re.sub(re.escape(word), lambda match: _shape(match[0]), text, flags=re.IGNORECASE)
    return _DATA.sub(lambda match: _shape(match[0]), text)


def _shape(text: str) -> str:
    """Text of the same shape: letters and digits replaced, everything else as it is."""
    return "".join("x" if each.isalpha() else "0" if each.isdigit() else each for each in text)


def _slug(page: Page) -> str:
    words = re.sub(r"[^a-z]+", "-", _clean(page.title, ()).lower()).strip("-")
    return words[:40] or "page"
