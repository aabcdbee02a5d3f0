"""Lines of text for a terminal or a pipe. It knows widths and colours, and nothing of plans or certificates.

Everything that is written goes through `printable` here, so that no renderer can forget it: names in certificates are
chosen by whoever made them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from rich.cells import cell_len

from reconciler.base.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP = "  "


class Ink(StrEnum):
    """What a piece of text is, for the eye. The values are ANSI graphic renditions (ECMA-48, section 8.3.117)."""

    PLAIN = ""
    STRONG = "1"
    FAINT = "2"
    GOOD = "32"
    CHANGED = "33"
    BAD = "31"
    HELD = "36"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one ink."""

    text: str
    ink: Ink


Piece: TypeAlias = str | Span
Cell: TypeAlias = "Sequence[Piece]"


@dataclass(frozen=True, slots=True)
class Medium:
    """What the text is written on.

    Attributes:
        width: Columns at which lines are wrapped, or None where they are left whole, as in a pipe.
        colour: Whether inks are shown.
    """

    width: int | None = None
    colour: bool = False


def width_of(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return len(text) if text.isascii() else cell_len(text)


class Page:
    """Text in the making.

    A line may have a head, which stays to the left of a column, and a body, which is wrapped to the right of it. Words
    are never broken, so that a long name can be copied whole.
    """

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._lines: list[str] = []

    @property
    def width(self) -> int | None:
        """Columns at which lines are wrapped, or None."""
        return self._medium.width

    def fits(self, pieces: list[Piece], used: int) -> bool:
        """Whether the pieces fit on one line of which some columns are used."""
        return self.width is None or used + sum(width_of(_clean(piece).text) for piece in pieces) <= self.width

    def write(self, *body: Piece, indent: int = 0, head: Piece = "", column: int = 0) -> None:
        """Add a line.

        Args:
            body: Its pieces, put together without anything between them.
            indent: Columns that every line is moved to the right.
            head: Stands at the indent; empty for none.
            column: Where the body starts, counted from the indent; a longer head gets a line of its own.
        """
        left, spans = _clean(head), [_clean(piece) for piece in body]
        taken = width_of(left.text)
        start = column if taken + len(_GAP) <= column or not left.text else 0
        if left.text and not start:
            self._lines.append(" " * indent + self._paint(left))
            start, left, taken = column or 2, _NOTHING, 0
        prefix = " " * indent + self._paint(left) + " " * (start - taken)
        rows = self._wrap(spans, indent + start)
        self._lines.append((prefix + rows[0]).rstrip())
        self._lines.extend((" " * (indent + start) + row).rstrip() for row in rows[1:])

    def table(self, rows: Sequence[Sequence[Cell]], indent: int = 0) -> bool:
        """Add a table, its header first, if it fits; say whether it did.

        Args:
            rows: The cells of each row; each cell is a column of pieces.
            indent: Columns that the table is moved to the right.
        """
        cleaned = [[[_clean(piece) for piece in cell] for cell in row] for row in rows]
        widths = [max(width_of(span.text) for cell in column for span in cell) for column in zip(*cleaned, strict=True)]
        total = indent + sum(widths) + len(_GAP) * (len(widths) - 1)
        if self.width is not None and total > self.width:
            return False
        for row in cleaned:
            for depth in range(max(len(cell) for cell in row)):
                spans = [cell[depth] if depth < len(cell) else _NOTHING for cell in row]
                cells = [
                    self._paint(span) + " " * (width - width_of(span.text))
                    for span, width in zip(spans, widths, strict=True)
                ]
                self._lines.append((" " * indent + _GAP.join(cells)).rstrip())
        return True

    def blank(self) -> None:
        """Add an empty line, unless there is one or nothing stands above it."""
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def text(self) -> str:
        """Everything, each line ended; no empty line at the end."""
        while self._lines and not self._lines[-1]:
            self._lines.pop()
        return "".join(line + "\n" for line in self._lines)

    def _paint(self, span: Span) -> str:
        if not (self._medium.colour and span.ink and span.text):
            return span.text
        return f"\x1b[{span.ink}m{span.text}\x1b[0m"

    def _wrap(self, spans: list[Span], used: int) -> list[str]:
        """The pieces on as many rows as they need."""
        if self.width is None or self.fits([*spans], used):
            return ["".join(self._paint(span) for span in spans)]
        rows, row, room, gap = [], "", self.width - used, False
        left = room
        for word in _words(spans):
            length = sum(width_of(span.text) for span in word)
            painted = "".join(self._paint(span) for span in word)
            if gap and length + 1 > left:
                rows.append(row)
                row, left, gap = "", room, False
            row += f" {painted}" if gap else painted
            left -= length + gap
            gap = True
        return [*rows, row]


_NOTHING = Span("", Ink.PLAIN)


def _clean(piece: Piece) -> Span:
    if isinstance(piece, str):
        return Span(printable(piece), Ink.PLAIN)
    return Span(printable(piece.text), piece.ink)


def _words(spans: list[Span]) -> list[list[Span]]:
    """What stands between spaces; a word may be made of several pieces."""
    words: list[list[Span]] = [[]]
    for span in spans:
        first, *others = span.text.split(" ")
        words[-1].append(Span(first, span.ink))
        words.extend([Span(each, span.ink)] for each in others)
    return [kept for word in words if (kept := [span for span in word if span.text])]
