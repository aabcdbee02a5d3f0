"""Faults of a simulated appliance: which request meets which one. What a fault does is carried out in `disturbance`.

A fault is switched on for every request, or scheduled for the n-th one. Requests for the style sheet do not count.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from reconciler.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.lab.appliance import LabAppliance

    Act: TypeAlias = Callable[[LabAppliance], Awaitable[None]]


class FaultKind(StrEnum):
    """What may go wrong."""

    LATENCY = "latency"
    """The reply comes late."""
    SERVER_ERROR = "server_error"
    """503 with a small page, and no effect."""
    REFUSED = "refused"
    """The request is reset without effect, so is every other connection, and for a while none is accepted."""
    RESET_BEFORE = "reset_before"
    """The connection is reset without effect."""
    RESET_AFTER = "reset_after"
    """The effect happens, and the connection is reset before any byte of the reply."""
    TRUNCATED = "truncated"
    """The effect happens; the reply breaks off midway."""
    GARBLED = "garbled"
    """The effect happens; the reply is a page of nonsense with status 200."""
    SESSION_EXPIRED = "session_expired"
    """All sessions end just before the request."""
    SESSION_EXPIRED_AFTER = "session_expired_after"
    """The effect happens, and all sessions end."""
    CONCURRENT = "concurrent"
    """Somebody else changes the store just before the request."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: What goes wrong.
        seconds: How late a reply is, or how long connections are refused.
        act: What somebody else does; None for a self-signed certificate called "Somebody else's".
    """

    kind: FaultKind
    seconds: float = 0.2
    act: Act | None = None


class Faults:
    """The faults of one appliance."""

    def __init__(self) -> None:
        self._switched: dict[FaultKind, Fault] = {}
        self._scheduled: dict[int, list[Fault]] = defaultdict(list)
        self._count = 0

    def switch(self, fault: Fault | FaultKind, *, on: bool = True) -> None:
        """Let every request meet a fault from now on, or no longer."""
        told = _fault(fault)
        if on:
            self._switched[told.kind] = told
        else:
            self._switched.pop(told.kind, None)

    def at(self, number: int, fault: Fault | FaultKind) -> None:
        """Let one request meet a fault, once: the first to be counted from now on is number 1."""
        self._scheduled[number].append(_fault(fault))

    def count_from_here(self) -> None:
        """Count the requests from the start again. What is scheduled stays."""
        self._count = 0

    def clear(self) -> None:
        """Switch everything off, forget the schedule, and count from the start again."""
        self._switched.clear()
        self._scheduled.clear()
        self._count = 0

    def next(self) -> tuple[Fault, ...]:
        """Count a request; the faults that it meets."""
        self._count += 1
        return (*self._switched.values(), *self._scheduled.pop(self._count, ()))


def _fault(fault: Fault | FaultKind) -> Fault:
    return Fault(fault) if isinstance(fault, FaultKind) else fault


def parse_fault(text: str) -> tuple[Fault, int | None]:
    """Read `KIND[=SECONDS][@NUMBER]`; the number of the request, or None for all of them.

    Raises:
        UsageError: It is not written like that.
    """
    told, at, number = text.partition("@")
    kind, equals, seconds = told.partition("=")
    remedy = f"write KIND, KIND=SECONDS or KIND@NUMBER; kinds are {', '.join(FaultKind)}"
    if kind not in set(FaultKind):
        raise UsageError(f"{kind!r} is no kind of fault", remedy)
    try:
        duration, wanted = (float(seconds) if equals else 0.2), (int(number) if at else None)
    except ValueError:
        raise UsageError(f"the fault {text!r} has no sensible number", remedy) from None
    if not 0 <= duration < 3600 or (wanted is not None and wanted < 1):  # noqa: PLR2004 - an hour is no latency
        raise UsageError(f"the fault {text!r} has no sensible number", remedy)
    return Fault(FaultKind(kind), duration), wanted
