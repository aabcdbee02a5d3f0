"""A page as a person reads it: visible text from top to bottom, controls, links and tables, as frozen values.

Field names and addresses are kept only to fill a form in and send it off as a browser would; nothing is found by them.
`html` makes a page of markup, `finding` looks things up in one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ControlKind: TypeAlias = Literal[
    "text", "password", "file", "checkbox", "radio", "choice", "submit", "script", "hidden"
]
"""What a control does; `script` is a button that needs one."""


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of visible text that nothing interrupts, white space collapsed.

    Attributes:
        text: The text.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A link.

    Attributes:
        text: What it says.
        url: Where it leads, absolute.
    """

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a drop-down.

    Attributes:
        text: What it says.
        value: What is sent.
        selected: Whether it is chosen to begin with.
    """

    text: str
    value: str
    selected: bool


@dataclass(frozen=True, slots=True)
class Control:
    """Something to fill in, to tick, to choose or to press.

    Attributes:
        place: Its place among the items of the page: its identity.
        kind: What it does.
        form: Number of the form that it belongs to, or None.
        name: What it is called when the form is sent; never looked for.
        value: What it holds; what a box or button sends.
        text: What a button says.
        labels: What its own markup calls it: `label`, `aria-label`, `title`.
        checked: Whether a box is ticked.
        options: What a drop-down offers.
        action: Where a button sends the form, where it says so itself.
        disabled: Whether it is out of use.
    """

    place: int
    kind: ControlKind
    form: int | None
    name: str = ""
    value: str = ""
    text: str = ""
    labels: tuple[str, ...] = ()
    checked: bool = False
    options: tuple[Option, ...] = ()
    action: str = ""
    disabled: bool = False


Item: TypeAlias = Run | Link | Control


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a page, from one item up to another.

    Attributes:
        start: Place of its first item.
        end: Place after its last item.
    """

    start: int
    end: int

    def __contains__(self, place: int) -> bool:
        return self.start <= place < self.end


@dataclass(frozen=True, slots=True)
class Table:
    """A table; tables inside its cells are tables of their own.

    Attributes:
        rows: For each row its cells in order, a cell that spans columns repeated.
    """

    rows: tuple[tuple[Span, ...], ...]


@dataclass(frozen=True, slots=True)
class Form:
    """A form.

    Attributes:
        url: Where it is sent, absolute.
        method: `GET` or `POST`.
    """

    url: str
    method: str


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        url: Where it came from.
        title: Its title.
        items: What is seen, from top to bottom, hidden fields of forms among it.
        tables: Its tables, outer ones before those inside them.
        forms: Its forms.
        blocks: For each item the number of the block that it stands in: what shares one is on one line.
        is_cut_short: Whether a table in it has no end, which HTML demands: the page broke off on its way.
    """

    url: str
    title: str = ""
    items: tuple[Item, ...] = ()
    tables: tuple[Table, ...] = ()
    forms: tuple[Form, ...] = ()
    blocks: tuple[int, ...] = field(default=(), repr=False)
    is_cut_short: bool = False

    def row_around(self, place: int) -> Span | None:
        """The innermost row of a table that an item stands in."""
        return self._rows.get(place)

    @cached_property
    def _rows(self) -> Mapping[int, Span]:
        rows = (Span(row[0].start, row[-1].end) for table in self.tables for row in table.rows if row)
        return {place: row for row in rows for place in range(row.start, row.end)}

    @property
    def whole(self) -> Span:
        """All of it."""
        return Span(0, len(self.items))

    def lines(self, span: Span | None = None) -> Iterator[str]:
        """Visible text, run by run, links included."""
        part = self.items if span is None else self.items[span.start : span.end]
        return (each.text for each in part if not isinstance(each, Control))

    def controls(self, span: Span | None = None) -> Iterator[Control]:
        """Controls that are in use, hidden ones left out."""
        part = self.items if span is None else self.items[span.start : span.end]
        return (each for each in part if isinstance(each, Control) and each.kind != "hidden" and not each.disabled)

    def links(self, span: Span | None = None) -> Iterator[Link]:
        """Links."""
        part = self.items if span is None else self.items[span.start : span.end]
        return (each for each in part if isinstance(each, Link))
