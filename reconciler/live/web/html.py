"""From markup to a `Page`: what is seen from top to bottom, and what is kept to send a form off as a browser would.

This is all that the driver knows of HTML (HTML Living Standard, section 4.10.21). What is hidden is not seen. Reading
is one pass without recursion, so that hostile pages cost time and memory in proportion to their size, which `exchange`
and `markup` bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from lxml import etree

from reconciler.live.web.markup import parse
from reconciler.live.web.page import Control, Form, Item, Link, Option, Page, Run, Span, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml import html

    from reconciler.live.web.page import ControlKind

_UNSEEN = frozenset({"script", "style", "template", "noscript", "title", "datalist", "svg", "math", "object", "iframe"})
_INLINE = frozenset(
    {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img"}
    | {"ins", "kbd", "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt"}
    | {"u", "var", "wbr"}
)
_CONTROLS = frozenset({"input", "select", "textarea", "button"})
_BEGINS, _ENDS = re.compile(rb"<table[\s>]", re.IGNORECASE), re.compile(rb"</table[\s>]", re.IGNORECASE)
_NUMBER = "data-number-of-form"
_LONGEST_URL = 2048
_MOST_STEPS = 100
_HIDING = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_INPUTS: dict[str, ControlKind] = {
    "password": "password",
    "file": "file",
    "checkbox": "checkbox",
    "radio": "radio",
    "submit": "submit",
    "image": "submit",
    "button": "script",
    "reset": "script",
    "hidden": "hidden",
}


def read_page(content: bytes, url: str, charset: str = "utf-8") -> Page:
    """Read a page. Whatever is wrong with the markup is taken as browsers take it.

    Args:
        content: The page.
        url: Where it came from.
        charset: How it is encoded.

    Raises:
        StoreUnrecognised: It is larger or deeper than any page of an interface.
    """
    root = parse(content, charset)
    page = Page(url) if root is None else _Reader(url).read(root)
    return replace(page, is_cut_short=len(_BEGINS.findall(content)) > len(_ENDS.findall(content)))


def collapse(text: str) -> str:
    """Text with white space as a page shows it."""
    return " ".join(text.split())


@dataclass
class _OpenTable:
    """A table that is being read."""

    rows: list[list[Span]] = field(default_factory=list)
    cell: int | None = None


class _Reader:
    """One pass over a document."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._items: list[Item] = []
        self._text: list[str] = []
        self._tables: list[_OpenTable] = []
        self._open: list[_OpenTable] = []
        self._forms: list[Form] = []
        self._form_ids: dict[str, int] = {}
        self._form: list[int] = []
        self._labels: dict[str, str] = {}
        self._labels_around: dict[html.HtmlElement, str] = {}
        self._disabled = 0
        self._blocks: list[int] = []
        self._block = 0

    def read(self, root: html.HtmlElement) -> Page:
        address = self._url
        base = root.find(".//base[@href]")
        if base is not None:
            self._url = self._absolute(base.get("href", "")) or address
        for number, form in enumerate(root.iter("form")):
            self._forms.append(Form(self._absolute(form.get("action") or address), form.get("method", "get").upper()))
            self._form_ids.setdefault(form.get("id", ""), number)
            form.set(_NUMBER, str(number))
        for label in root.iter("label"):
            self._labels_around[label] = _text_of(label)
            self._labels.setdefault(label.get("for", ""), self._labels_around[label])
        walker = etree.iterwalk(root, events=("start", "end"))
        for event, element in walker:
            if not isinstance(element.tag, str):
                continue
            if event == "end":
                self._end(element)
            elif _is_unseen(element):
                walker.skip_subtree()
                self._put_unseen(element)
            else:
                self._start(element)
                if element.tag in {"select", "textarea", "button"} or (element.tag == "a" and element.get("href")):
                    walker.skip_subtree()
        self._flush()
        title = root.findtext(".//title") or ""
        tables = tuple(Table(tuple(tuple(row) for row in each.rows)) for each in self._tables)
        return Page(address, collapse(title), tuple(self._items), tables, tuple(self._forms), tuple(self._blocks))

    def _start(self, element: html.HtmlElement) -> None:
        tag = element.tag
        if tag not in _INLINE:
            self._break(element)
        match tag:
            case each if each in _CONTROLS:
                self._put(self._control(element))
                return
            case "a" if element.get("href"):
                self._flush()
                url = self._absolute(element.get("href", ""))
                self._put(Link(_text_of(element), url))
                return
            case "img":
                self._text.append(f" {element.get('alt', '')} ")
            case "table":
                self._open.append(_OpenTable())
                self._tables.append(self._open[-1])
            case "tr" if self._open:
                self._open[-1].rows.append([])
            case "td" | "th" if self._open and self._open[-1].rows:
                self._open[-1].cell = len(self._items)
            case "form":
                self._form.append(int(element.get(_NUMBER, "0")))
            case "fieldset":
                self._disabled += element.get("disabled") is not None
            case _:
                pass
        self._text.append(element.text or "")

    def _end(self, element: html.HtmlElement) -> None:
        tag = element.tag
        if not _is_unseen(element):
            if tag not in _INLINE:
                self._break(element)
            match tag:
                case "td" | "th" if self._open and self._open[-1].cell is not None:
                    cell = Span(self._open[-1].cell, len(self._items))
                    self._open[-1].rows[-1].extend([cell] * _spanned(element))
                    self._open[-1].cell = None
                case "table" if self._open:
                    self._open.pop()
                case "form" if self._form:
                    self._form.pop()
                case "fieldset":
                    self._disabled -= element.get("disabled") is not None
                case _:
                    pass
        self._text.append(element.tail or "")

    def _break(self, element: html.HtmlElement) -> None:
        """Where text is interrupted: by a control, which stays on the line, or by a new block."""
        self._flush()
        self._block += element.tag not in _CONTROLS

    def _flush(self) -> None:
        text = collapse("".join(self._text))
        self._text.clear()
        if text:
            self._put(Run(text))

    def _put(self, item: Item) -> None:
        self._items.append(item)
        self._blocks.append(self._block)

    def _put_unseen(self, element: html.HtmlElement) -> None:
        """What a form sends although nobody sees it."""
        if element.tag in _UNSEEN:
            return
        for each in element.iter(*_CONTROLS):
            control = self._control(each)
            around = next(each.iterancestors("form"), None)
            if each.get("form") is None and around is not None:
                control = replace(control, form=int(around.get(_NUMBER, "0")))
            chosen = [option.value for option in control.options if option.selected]
            if control.kind in {"text", "password", "hidden"} or control.checked:
                self._put(replace(control, kind="hidden"))
            elif chosen:
                self._put(replace(control, kind="hidden", value=chosen[0], options=()))

    def _absolute(self, url: str) -> str:
        if len(url) + len(self._url) > _LONGEST_URL or url.count("/") + self._url.count("/") > _MOST_STEPS:
            return ""
        try:
            return urljoin(self._url, url.strip())
        except ValueError:
            return ""

    def _control(self, element: html.HtmlElement) -> Control:
        own = element.get("form")
        control = Control(
            place=len(self._items),
            kind=_kind(element),
            form=(self._form_ids.get(own) if own else None)
            if own is not None
            else (self._form[-1] if self._form else None),
            name=element.get("name", ""),
            value=element.get("value", ""),
            labels=tuple(filter(None, self._named(element))),
            checked=element.get("checked") is not None,
            action=self._absolute(element.get("formaction", "")) if element.get("formaction") else "",
            disabled=self._disabled > 0 or element.get("disabled") is not None,
        )
        match element.tag:
            case "select":
                return replace(control, options=_options(element))
            case "textarea":
                return replace(control, value="".join(element.itertext()))
            case "button":
                return replace(control, text=_text_of(element))
            case _:
                text = element.get("value") or element.get("alt") or ""
                box = control.kind in {"checkbox", "radio"}
                value = element.get("value", "on") if box else control.value
                return replace(control, value=value, text=collapse(text) if control.kind in _PRESSED else "")

    def _named(self, element: html.HtmlElement) -> Iterator[str]:
        if element.get("id"):
            yield self._labels.get(element.get("id", ""), "")
        around = next(element.iterancestors("label"), None)
        if around is not None:
            yield self._labels_around[around]
        for attribute in ("aria-label", "title"):
            yield collapse(element.get(attribute, ""))


_PRESSED = frozenset({"submit", "script"})


def _kind(element: html.HtmlElement) -> ControlKind:
    match element.tag:
        case "select":
            return "choice"
        case "button":
            kind = element.get("type", "submit").lower()
            return "script" if kind in {"button", "reset"} else "submit"
        case "textarea":
            return "text"
        case _:
            return _INPUTS.get(element.get("type", "text").lower(), "text")


def _options(element: html.HtmlElement) -> tuple[Option, ...]:
    found = [each for each in element.iter("option") if each.get("disabled") is None]
    chosen = [each for each in element.iter("option") if each.get("selected") is not None]
    # Of several, the last is chosen; where that one is out of use, nothing is sent.
    chosen = chosen[-1:] if chosen or element.get("multiple") is not None else found[:1]
    texts = [collapse("".join(each.itertext())) for each in found]
    return tuple(Option(text, each.get("value", text), each in chosen) for each, text in zip(found, texts, strict=True))


def _text_of(element: html.HtmlElement) -> str:
    """Visible text in an element; what a label is put around does not count, nor do labels within labels."""
    if not len(element):
        return "" if _is_unseen(element) else collapse(element.text or "")
    parts: list[str] = []
    walker = etree.iterwalk(element, events=("start", "end"))
    for event, each in walker:
        if event == "end":
            parts.append((each.tail or "") if each is not element else "")
        elif _is_unseen(each) or (each is not element and each.tag in _NOT_ITS_TEXT):
            walker.skip_subtree()
        else:
            parts += [each.text or "", f" {each.get('alt', '')} " if each.tag == "img" else ""]
            parts.append("" if each.tag in _INLINE else " ")
    return collapse("".join(parts))


_NOT_ITS_TEXT = frozenset({"select", "textarea", "button", "label"})


def _is_unseen(element: html.HtmlElement) -> bool:
    if not isinstance(element.tag, str) or element.tag in _UNSEEN:
        return True
    if element.tag == "dialog" and element.get("open") is None:
        return True
    return element.get("hidden") is not None or bool(_HIDING.search(element.get("style", "")))


def _spanned(element: html.HtmlElement) -> int:
    spanned = element.get("colspan", "1")
    return min(int(spanned), _MOST_COLUMNS) if spanned.isdecimal() and int(spanned) else 1


_MOST_COLUMNS = 50
