"""`reconciler status`: the live stores as the appliances show them. It changes nothing."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer  # noqa: TC002 - typer reads the annotations

from reconciler.base.errors import UnreadableInput, UsageError
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
    from pathlib import Path

    from reconciler.engine.operator import OperatorSettings
    from reconciler.report.status import LoopStatus, Reconciliation


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
    loop, known = _loop(desired_state, scope.settings)
    document = status_of(
        scope.state, planned.plan, seen.stores, seen.failures, planned.classes, planned.requests, known, loop
    )
    if output_format is Format.JSON:
        write_json(document)
    else:
        sys.stdout.write(status_text(document, medium_of(sys.stdout)))
    return worst(*exits_of(planned))


def _loop(desired_state: Path, settings: OperatorSettings) -> tuple[LoopStatus | None, dict[str, Reconciliation]]:
    """The loop over this desired state, and what it last knew, by appliance; nothing where there is none."""
    from reconciler.report.status import LoopStatus, Reconciliation
    from reconciler.watch.memory import at_work, memory_folder, read_watched
    from reconciler.watch.model import shown
    from reconciler.watch.sources import place_of

    try:
        folder = memory_folder(settings, os.environ)
    except UsageError:  # nothing says where its memory would be
        return None, {}
    try:
        watched = read_watched(folder)
    except UnreadableInput as error:
        return LoopStatus(at_work=at_work(folder), problem=str(error)), {}
    if watched is None or watched.source.place != place_of(desired_state, settings):
        return None, {}
    source = watched.source
    loop = LoopStatus(
        at_work=at_work(folder),
        knew_at=watched.at,
        source_problem=source.problem,
        source_problem_since=source.problem_since,
    )
    return loop, {
        each.name: Reconciliation(
            sync=each.sync.value,
            health=each.health.value,
            suspended=each.suspended,
            mode=each.mode,
            looked_at=each.looked_at,
        )
        for each in shown(watched).appliances
    }
