"""`reconciler history`: what was applied when, as the journals tell it. It changes nothing and asks no appliance."""

from __future__ import annotations

import os
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.base.errors import UsageError
from reconciler.cli.exits import Exit
from reconciler.cli.options import Format, OutputFormat
from reconciler.cli.output import medium_of, write_json
from reconciler.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.apply.history import Entry


def history(
    context: typer.Context,
    desired_state: Annotated[
        Path | None, typer.Argument(metavar="DESIRED_STATE", help="Only what was applied of this folder.")
    ] = None,
    *,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many to show.")] = 20,
    show: Annotated[
        str | None, typer.Option(metavar="ID", help="Show one of them, and what came of each of its actions.")
    ] = None,
    output_format: OutputFormat = Format.TEXT,
) -> Exit:
    """Show what was applied when, the latest first, and what an interrupted apply left.

    Journals are written by apply where the operator settings say, else beneath ~/.local/state/reconciler.
    """
    from reconciler.engine.journals import journal_folder
    from reconciler.engine.operator import load_settings
    from reconciler.report.history import apply_of, history_of
    from reconciler.report.history_text import apply_text, history_text

    settings = load_settings(session_of(context).operator, os.environ, desired_state)
    entries = _entries(journal_folder(settings, os.environ), desired_state)
    if show is None:
        document = history_of(entries, limit)
        text = history_text(document, medium_of(sys.stdout))
    else:
        entry = next((each for each in entries if each.id == show), None)
        if entry is None:
            raise UsageError(f"no apply is called {show}", "the first column of `reconciler history` names them")
        document = history_of((entry,), 1)
        text = apply_text(apply_of(entry), medium_of(sys.stdout))
    if output_format is Format.JSON:
        write_json(document)
    else:
        sys.stdout.write(text)
    return Exit.DONE


def _entries(folder: Path, desired_state: Path | None) -> Iterator[Entry]:
    from reconciler.apply.history import read_history
    from reconciler.apply.journal import place

    wanted = place(str(desired_state)) if desired_state else None
    return (each for each in read_history(folder) if wanted in {None, each.desired_state})
