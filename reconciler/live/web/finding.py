"""Looking things up on a page by what is visible: labels, headings, table headers, button texts.

A control that is not there, or that a label leaves ambiguous, is None; `need` makes of that what a page must have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from reconciler.live.web import labels
from reconciler.live.web.page import Control, Link, Run, Span, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from reconciler.live.web.labels import Label
    from reconciler.live.web.page import ControlKind, Page

Pressed: TypeAlias = Control | Link
"""What can be pressed: a button of a form, or a link."""

_NEAR = 6
_MOST_SECTIONS = 50


class NotUnderstood(Exception):
    """A page lacks something that it must have.

    Attributes:
        wanted: What was looked for.
    """

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted


def labelled(page: Page, label: Label, kinds: AbstractSet[ControlKind], span: Span | None = None) -> Control | None:
    """The one control of a kind that a label names: by its own markup, or because it follows the label's text.

    Boxes may also stand just before their label. None where there is no such control, or more than one.
    """
    part = span or page.whole
    named = [
        each for each in page.controls(part) if each.kind in kinds and any(label.matches(text) for text in each.labels)
    ]
    if not named:
        in_row = _Rows(page, kinds)
        beside = (_beside(page, place, in_row, part) for place in _runs(page, label, part))
        named = list(dict.fromkeys(each for each in beside if each))
    return named[0] if len(named) == 1 else None


def _runs(page: Page, label: Label, span: Span) -> Iterator[int]:
    for place in range(span.start, span.end):
        item = page.items[place]
        if isinstance(item, Run) and label.matches(item.text):
            yield place


class _Rows:
    """The controls of some kinds in the rows of a page's tables; each row is looked through once."""

    def __init__(self, page: Page, kinds: AbstractSet[ControlKind]) -> None:
        self.kinds = kinds
        self._page = page
        self._found: dict[Span, list[Control]] = {}

    def around(self, place: int) -> list[Control]:
        """Those in the innermost row that an item stands in."""
        row = self._page.row_around(place) or Span(0, 0)
        if row not in self._found:
            self._found[row] = [each for each in self._page.controls(row) if each.kind in self.kinds]
        return self._found[row]


def _beside(page: Page, place: int, in_row: _Rows, span: Span) -> Control | None:
    """What a label's text speaks of: for a box what is on its line, or in its row; else what comes next."""
    kinds = in_row.kinds
    if kinds <= {"checkbox", "radio"}:
        for near in (place - 1, place + 1):
            item = page.items[near] if near in span and page.blocks[near] == page.blocks[place] else None
            if isinstance(item, Control) and item.kind in kinds and not item.disabled:
                return item
        boxes = in_row.around(place)
        if len(boxes) == 1:
            return boxes[0]
    for item in page.items[place + 1 : min(place + 1 + _NEAR, span.end)]:
        if isinstance(item, Control) and item.kind != "hidden":
            return item if item.kind in kinds and not item.labels and not item.disabled else None
    return None


def pressed(page: Page, label: Label, span: Span | None = None) -> Pressed | None:
    """The first button that says something, or else the first link that does."""
    for control in page.controls(span):
        if control.kind == "submit" and label.matches(control.text):
            return control
    return next((link for link in page.links(span) if label.matches(link.text)), None)


def button(page: Page, label: Label, form: int | None) -> Control | None:
    """The first button of a form that says something."""
    submits = (each for each in page.controls() if each.kind == "submit" and each.form == form)
    return next((each for each in submits if label.matches(each.text)), None)


def only_button(page: Page, label: Label) -> Control | None:
    """The one button that says something, where its form asks for nothing else: there is nothing to fill in."""
    forms = {each.form for each in page.controls() if each.kind == "submit" and label.matches(each.text)}
    form = forms.pop() if len(forms) == 1 else None
    asked = (each for each in page.controls() if each.form == form and each.kind not in {"submit", "script"})
    return None if form is None or any(asked) else button(page, label, form)


def need(found: Control | None, label: Label) -> Control:
    """A control that must be there.

    Raises:
        NotUnderstood: It is not.
    """
    if found is None:
        raise NotUnderstood(f"'{label}'")
    return found


def table_with(
    page: Page, headers: Sequence[Label], span: Span
) -> tuple[dict[Label, int], list[tuple[Span, ...]]] | None:
    """The table in a part of a page whose header has these cells: column by header, and the rows beneath."""
    for table in page.tables:
        found = _header(page, table, headers, span)
        if found:
            return found
    return None


def _header(
    page: Page, table: Table, headers: Sequence[Label], span: Span
) -> tuple[dict[Label, int], list[tuple[Span, ...]]] | None:
    for number, row in enumerate(table.rows):
        if not row or row[0].start not in span:
            continue
        # A cell that spans columns is there several times, and is read once.
        said = {cell: " ".join(page.lines(cell)) for cell in set(row)}
        texts = [said[cell] for cell in row]
        columns = {label: index for label in headers for index, text in enumerate(texts) if label.matches(text)}
        if len(columns) == len(headers):
            # A row of one cell that spans all columns says something about the table.
            beneath = [
                each for each in table.rows[number + 1 :] if len(each) > max(columns.values()) and len(set(each)) > 1
            ]
            return columns, beneath
    return None


def sections(page: Page) -> list[tuple[Label, Span]]:
    """The sections of the page of certificates, from each heading up to the next.

    Raises:
        NotUnderstood: There are more than any page has.
    """
    starts = [
        (place, label)
        for place, item in enumerate(page.items)
        if isinstance(item, Run)
        for label in labels.HEADINGS
        if label.matches(item.text)
    ]
    if len(starts) > _MOST_SECTIONS:
        raise NotUnderstood(f"each heading once, such as '{labels.CERTIFICATES_SECTION}'")
    ends = [place for place, _ in starts[1:]] + [len(page.items)]
    return [(label, Span(place, end)) for (place, label), end in zip(starts, ends, strict=False)]
