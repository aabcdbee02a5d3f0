"""What the global options say, handed to every command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import typer


@dataclass
class Session:
    """The global options of one run.

    Attributes:
        debug: Show tracebacks.
        operator: File of the operator settings, if it was named.
    """

    debug: bool = False
    operator: Path | None = None


def session_of(context: typer.Context) -> Session:
    """The session that a command runs in."""
    return context.ensure_object(Session)
