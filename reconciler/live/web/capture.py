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
from reconciler.live.web.html import collapse
from reconciler.live.web.markup import parse

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from reconciler.live.web.page import Page

_LONGEST_WORD = 100
_LONG_WORD = re.compile(rf"\S{{{_LONGEST_WORD},}}")
_LONGEST_LISTED = 200
_MOST_LISTED = 500
_MOST_PAGES = 500
_DATA = re.compile(
    r"-----BEGIN .*?(?:-----END [^-]*-----|$)"  # PEM
    r"|[^\s@]+@[^\s@]+"  # mail addresses
    r"|\b(?:[0-9a-fA-F]{2}:?){8,}\b"  # fingerprints
    r"|\b[A-Za-z0-9+_-]{24,}={0,2}"  # tokens
    r"|\b\d+(?:\.\d+){2,}\b|\b[0-9a-fA-F:]*::[0-9a-fA-F:.]+\b"  # addresses
    r"|(?:\*\.)?\b(?:[\w-]+\.)+[A-Za-z]{2,}\b",  # host names
    re.DOTALL,
)
_KEPT_ATTRIBUTES = frozenset(
    {
        "action",
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
_SPOKEN = frozenset({"alt", "aria-label", "placeholder", "title"})
_REFERENCES = frozenset({"for", "form", "id", "name"})
_PRESSED = frozenset({"submit", "button", "reset", "image"})
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
        self._private: set[str] = set()
        self.hide(private)
        self._number = 0
        self._seen: set[bytes] = set()

    def hide(self, private: Collection[str]) -> None:
        """Replace further words from now on."""
        self._private.update(private)

    def keep(self, page: Page, content: bytes, charset: str) -> None:
        """Keep a page.

        Raises:
            StoreUnreachable: It cannot be written.
        """
        if self._number >= _MOST_PAGES:
            return
        # What a table lists is often the heading of the next page.
        if len(self._private) < _MOST_LISTED:
            self.hide(listed(content, charset)[:_MOST_LISTED])
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
    longest_first = sorted(set(private) - {""}, key=len, reverse=True)
    any_of = "|".join(map(re.escape, longest_first)) or r"(?!)"
    words = re.compile(rf"(?<!\w)(?:{any_of})(?!\w)", re.IGNORECASE)
    redaction = _Redaction(words, _data_cells(root))
    for element in root.iter():
        if isinstance(element.tag, str):
            redaction.redact(element)
    return etree.tostring(root, method="html", encoding="utf-8", pretty_print=True)


def listed(content: bytes, charset: str) -> list[str]:
    """Texts that the tables of a page list.

    Args:
        content: The page.
        charset: How it is encoded.
    """
    root = parse(content, charset)
    cells = _data_cells(root) if root is not None else frozenset()
    texts = {collapse(text) for cell in cells if cell is not None for text in cell.itertext()}
    short = (text for text in texts if len(text) <= _LONGEST_LISTED)
    return sorted(text for text in short if not set(_WORD.findall(text.casefold())) <= _KNOWN_WORDS)


class _Redaction:
    """What is taken out of one page."""

    def __init__(self, private: re.Pattern[str], cells: AbstractSet[html.HtmlElement | None]) -> None:
        self._private = private
        self._cells = cells
        self._names: dict[str, str] = {}

    def redact(self, element: html.HtmlElement) -> None:
        """Take the data out of one element."""
        for name, value in list(element.attrib.items()):
            kept = self._attribute(element, name, value)
            if kept is None:
                del element.attrib[name]
            else:
                element.set(name, kept)
        data = element.tag == "textarea" or self._is_data(element)
        if element.tag == "option" and not _is_of_actions(element):
            element.text = _choice(element.text or "")
        else:
            element.text = _text(element.text, self._private, data=data)
        parent = element.getparent()
        element.tail = _text(element.tail, self._private, data=parent is not None and self._is_data(parent))

    def _attribute(self, element: html.HtmlElement, name: str, value: str) -> str | None:
        kind = element.get("type", "").lower()
        if name == "value":
            if element.tag == "button" or kind in _PRESSED:
                return _clean(value, self._private)
            return _shape(value) if element.tag == "option" or kind in {"checkbox", "radio"} else None
        if name in _ADDRESSES:
            return _clean(value.partition("?")[0], self._private)
        if name in _SPOKEN:
            return _shape(value) if self._is_data(element) else _clean(value, self._private)
        if name in _REFERENCES:
            return self._reference(value)
        return _clean(value, self._private) if name in _KEPT_ATTRIBUTES else None

    def _reference(self, value: str) -> str:
        """What elements call each other by: two that differ still do."""
        if _clean(value, self._private) == value:
            return value
        return self._names.setdefault(value, f"x{len(self._names) + 1}")

    def _is_data(self, element: html.HtmlElement) -> bool:
        """Whether it stands in a cell that holds data."""
        cell = next((each for each in (element, *element.iterancestors()) if each.tag == "td"), None)
        return cell in self._cells


def _data_cells(root: html.HtmlElement) -> AbstractSet[html.HtmlElement | None]:
    """The cells of tables that hold neither a field nor the name of one."""
    listed = {table for each in root.iter("th") for table in each.iterancestors("table")}
    rows = {
        row
        for each in root.iter("input", "select", "textarea")
        for row in each.iterancestors("tr")
        if each.get("type", "").lower() not in _BESIDE
        # Boxes stand beside data, too, but not in a row of few cells without headers.
        or (
            each.get("type", "").lower() != "hidden"
            and len(row) <= _FEW
            and next(row.iterancestors("table"), None) not in listed
        )
    }
    outer = {cell for each in root.iter("table") for cell in each.iterancestors("td")}
    return {cell for cell in root.iter("td") if cell not in outer and cell.getparent() not in rows}


_BESIDE = frozenset({"hidden", "checkbox", "radio"})
_FEW = 3


def _is_of_actions(option: html.HtmlElement) -> bool:
    """Whether a choice is one of actions, which name nobody; others may, since keys are called after certificates."""
    select = next(option.iterancestors("select"), None)
    first = next(select.iter("option"), None) if select is not None else None
    return first is not None and labels.SELECT_ACTION.matches(first.text or "")


def _choice(text: str) -> str:
    """What a choice says, in so far as it speaks of keys."""
    words = re.split(r"([^\W\d_]+)", _clean(text))
    return "".join(
        each if each.casefold() in _WORDS_OF_CHOICES or not each.isalpha() else _shape(each) for each in words
    )


def _text(text: str | None, private: re.Pattern[str], *, data: bool) -> str | None:
    if not text or not text.strip():
        return text and " "
    if not data or _KNOWN.fullmatch(collapse(text)):
        return _clean(text, private)
    return _shape(text)


_KNOWN = re.compile(
    r"yes|no|no supported names|\d+ warning\(s\)|" + "|".join(map(re.escape, labels.FACTORY_NAMES)), re.IGNORECASE
)


def _clean(text: str, private: re.Pattern[str] | None = None) -> str:
    if private:
        text = private.sub(lambda match: _shape(match[0]), text)
    # No label has such words, and the search takes time with the square of their length.
    text = _LONG_WORD.sub("x" * _LONGEST_WORD, text)
    return _DATA.sub(lambda match: _shape(match[0]), _UNFIT.sub("\ufffd", text))


_UNFIT = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no markup may hold."""


def _shape(text: str) -> str:
    """Text of the same shape: letters and digits replaced, everything else as it is, and words that tell the format."""
    return "".join(
        word
        if word in _TELLING or word.startswith("-----")
        else "".join("x" if c.isalpha() else "0" if c.isdigit() else c for c in word)
        for word in re.split(_KEPT_AS_IT_IS, _UNFIT.sub("\ufffd", text))
    )


_KEPT_AS_IT_IS = re.compile(r"(\s+|-----(?:BEGIN|END) [A-Z ]{1,40}-----)")
_TELLING = frozenset({"GMT", "UTC", "dNSName", "iPAddress"})


def _slug(page: Page) -> str:
    """What to call a page: the words of its title that are words of the interface."""
    words = [word for word in _WORD.findall(page.title.casefold()) if word in _KNOWN_WORDS]
    return "-".join(dict.fromkeys(words))[:40] or "page"


_WORD = re.compile(r"[a-z]+")
_KNOWN_WORDS = frozenset(
    word
    for label in vars(labels).values()
    if isinstance(label, labels.Label)
    for text in label.texts
    for word in _WORD.findall(text.casefold())
)
_WORDS_OF_CHOICES = _KNOWN_WORDS | frozenset(
    {"bit", "bits", "curve", "current", "ec", "ecc", "ecdsa", "elliptic", "existing", "for", "generate", "k", "new"}
    | {"nist", "of", "p", "private", "reuse", "rsa", "same", "size", "the", "use", "with"}
)
