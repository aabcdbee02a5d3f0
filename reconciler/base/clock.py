"""The one place that reads the clock. Pure rooms take `now` as an argument instead."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], dt.datetime]
"""Returns the present instant, aware, in UTC."""


def system_clock() -> dt.datetime:
    """The present instant, to the second: certificates know no finer time (RFC 5280, section 4.1.2.5)."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0)  # noqa: TID251 - this is the edge
