"""`reconciler requests`: the pending certificate requests, and their data for a CA. It changes no store."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.base.errors import UnreadableInput
from reconciler.base.text import printable
from reconciler.cli.exits import Exit, worst
from reconciler.cli.fleet import exits_of, open_scope
from reconciler.cli.options import (
    DEFAULT_DESIRED_STATE,
    Appliances,
    DesiredStatePath,
    Format,
    OutputFormat,
    Revision,
    Sites,
)
from reconciler.cli.output import medium_of, write_json
from reconciler.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.report.requests import Requests


def requests(
    context: typer.Context,
    desired_state: DesiredStatePath = DEFAULT_DESIRED_STATE,
    *,
    revision: Revision = None,
    appliance: Appliances = None,
    site: Sites = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write what is to be sent to a CA into this folder, as PEM.")
    ] = None,
    output_format: OutputFormat = Format.TEXT,
) -> Exit:
    """List the pending certificate requests, what each is for, and write what is to be sent to a CA.

    With --out, each request that a declared certificate waits for is written to CERTIFICATE.csr. Others are only
    listed: nobody should send them. Nothing is deleted.
    """
    from reconciler.report.requests import requests_of
    from reconciler.report.requests_text import requests_text

    scope = open_scope(session_of(context), desired_state, revision, appliance, site)
    planned = scope.look()
    seen = planned.observation
    document = requests_of(planned.plan, seen.stores, seen.failures, planned.requests)
    if output_format is Format.JSON:
        write_json(document)
    else:
        sys.stdout.write(requests_text(document, medium_of(sys.stdout), out))
    sys.stdout.flush()
    if out is not None:
        _write(document, out, scope.state.certificates)
    return worst(*exits_of(planned))


def _write(document: Requests, folder: Path, certificates: Collection[str]) -> None:
    """Write each request that is to be sent to its file, and say what came of it."""
    from reconciler.engine.files import write_public
    from reconciler.report.requests import EXTENSION

    data = {each.file: each.request_data for part in document.appliances for each in part.requests if each.file}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(each.name for each in folder.iterdir())
    except OSError as error:
        raise UnreadableInput(
            f"{folder} cannot be written: {error.strerror or error}", "name another folder with --out"
        ) from error
    for name, text in sorted(data.items()):
        written = write_public(folder / name, text.encode())
        _tell(f"{folder / name}: {'written' if written else 'unchanged'}")
    for name in there:
        stem, dot, extension = name.rpartition(EXTENSION)
        if dot and not extension and stem in certificates and name not in data:
            _tell(f"{folder / name}: left there, nobody waits for its answer any more")


def _tell(line: str) -> None:
    sys.stderr.write(printable(line) + "\n")
