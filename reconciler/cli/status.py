"""`reconciler status`: the live stores as the appliances show them. It changes nothing."""

from __future__ import annotations

import sys

import typer  # noqa: TC002 - typer reads the annotations

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


def status(
    context: typer.Context,
    desired_state: DesiredStatePath = DEFAULT_DESIRED_STATE,
    *,
    revision: Revision = None,
    appliance: Appliances = None,
    site: Sites = None,
    output_format: OutputFormat = Format.TEXT,
) -> Exit:
    """Show what the stores hold now, what is served, and what falls due. Changes nothing."""
    from reconciler.report.status import status_of
    from reconciler.report.status_text import status_text

    scope = open_scope(session_of(context), desired_state, revision, appliance, site)
    planned = scope.look()
    seen = planned.observation
    document = status_of(scope.state, planned.plan, seen.stores, seen.failures, planned.classes, planned.requests)
    if output_format is Format.JSON:
        write_json(document)
    else:
        sys.stdout.write(status_text(document, medium_of(sys.stdout)))
    return worst(*exits_of(planned))
