"""`reconciler doctor`: can appliances be reached and understood, and what do they serve. It changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.base.errors import UsageError
from reconciler.base.text import printable
from reconciler.cli.exits import Exit, worst
from reconciler.cli.fleet import open_scope
from reconciler.cli.options import (
    DEFAULT_DESIRED_STATE,
    Appliances,
    DesiredStatePath,
    Format,
    OutputFormat,
    Revision,
    Sites,
)
from reconciler.cli.output import medium_of, progress, write_json
from reconciler.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.engine.doctor import Examination


def doctor(
    context: typer.Context,
    desired_state: DesiredStatePath = DEFAULT_DESIRED_STATE,
    *,
    revision: Revision = None,
    appliance: Appliances = None,
    site: Sites = None,
    capture: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep every page that was met, redacted, in this folder: send it to us when a page is not recognised.",
        ),
    ] = None,
    output_format: OutputFormat = Format.TEXT,
) -> Exit:
    """Look whether appliances can be reached and understood, and what they serve now. Changes nothing."""
    import anyio

    from reconciler.base.clock import system_clock
    from reconciler.engine.doctor import examine_fleet
    from reconciler.report.doctor import doctor_of
    from reconciler.report.doctor_text import doctor_text

    if capture is not None and not _may_be_folder(capture):
        raise UsageError(f"--capture {capture} is no folder", "name a folder; it is made where there is none")
    scope = open_scope(session_of(context), desired_state, revision, appliance, site)
    with progress("examining") as notify:

        async def look() -> Mapping[str, Examination]:
            return await examine_fleet(
                scope.state, scope.settings, system_clock, only=scope.only, notify=notify, capture=capture
            )

        found = anyio.run(look)
    checks = {name: each.checks for name, each in found.items()}
    document = doctor_of(scope.state, system_clock(), checks, {name: each.presented for name, each in found.items()})
    if output_format is Format.JSON:
        write_json(document)
    else:
        sys.stdout.write(doctor_text(document, medium_of(sys.stdout)))
    kept = sorted(capture.glob("*/*.html")) if capture else []
    if kept:
        sys.stderr.write(
            f"{len(kept)} pages are kept in {printable(str(capture))}: look at them before you send them\n"
        )
    unwell = (Exit.COULD_NOT,) if any(not each.healthy for each in document.appliances) else ()
    return worst(*unwell, *((Exit.FINDINGS,) if document.findings else ()))


def _may_be_folder(path: Path) -> bool:
    try:
        return path.is_dir() or not path.exists()
    except OSError:
        return False
