"""Where output goes: data on stdout, progress on stderr, colours and progress only on a terminal."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.base.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from pydantic import BaseModel

    from reconciler.engine.run import Notify
    from reconciler.report.page import Medium


def medium_of(stream: TextIO) -> Medium:
    """Width and colours of a stream: those of its terminal, none in a pipe. `NO_COLOR` and `COLUMNS` are respected."""
    from reconciler.report.page import Medium

    asked = os.environ.get("COLUMNS", "")
    width = int(asked) if asked.isdecimal() and int(asked) else None
    if not _is_terminal(stream):
        return Medium(width)
    return Medium(width or os.get_terminal_size(stream.fileno()).columns or 80, colour=not os.environ.get("NO_COLOR"))


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}


def json_of(document: BaseModel) -> str:
    """A document as JSON. Everything beyond ASCII is escaped, so that nothing in it steers a terminal."""
    return document.model_dump_json(by_alias=True, indent=2, ensure_ascii=True) + "\n"


def write_json(document: BaseModel) -> None:
    """Write a document to stdout."""
    sys.stdout.write(json_of(document))


def named_in_repository(file: str) -> str:
    """What GitHub calls a file: its path from the root of the git work tree that it is in; as it is outside any."""
    path = Path(os.path.abspath(file))  # noqa: PTH100 - links are kept as they were typed
    root = next((each for each in (path, *path.parents) if (each / ".git").exists()), None)
    return path.relative_to(root).as_posix() if root else file


@contextmanager
def progress(doing: str) -> Iterator[Notify | None]:
    """Show what is happening now in one line on stderr, if that is a terminal; None where nobody would see it.

    Args:
        doing: What the whole is about, in a word: `planning`.
    """
    if not _is_terminal(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.text import Text

    seen: set[str] = set()
    with Console(stderr=True).status(Text(doing)) as line:

        def notify(appliance: str, happening: str) -> None:
            seen.add(appliance)
            text = f"{doing}: {appliance}, {happening} ({len(seen)} appliances so far)"
            line.update(Text(printable(text), overflow="ellipsis", no_wrap=True))

        yield notify
