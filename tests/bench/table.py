"""How figures are written: a title, and what was found under min, median and max; or one figure, with its limit."""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_TITLE = 26


def head(title: str) -> None:
    """The heading of a table."""
    say(f"{title:{_TITLE}}" + "".join(f"{each:>9}" for each in ("min", "median", "max")))


def row(title: str, values: Sequence[float], digits: int = 2) -> None:
    """A figure that was measured several times."""
    figures = (min(values), statistics.median(values), max(values))
    say(f"{title:{_TITLE}}" + "".join(f"{each:9.{digits}f}" for each in figures))


def figure(title: str, value: float, digits: int = 2, *, limit: float | None = None) -> None:
    """A figure that was measured once; where it may be so large at most, whether it is."""
    held = "" if limit is None else f"   limit {limit:g}: {'kept' if value <= limit else 'EXCEEDED'}"
    say(f"{title:{_TITLE}}{value:9.{digits}f}{held}")


def say(text: str) -> None:
    """A line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
