"""`reconciler plan`: the dry run. It changes nothing."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.base.errors import UsageError
from reconciler.base.memory import without_cycle_search
from reconciler.base.text import printable
from reconciler.cli.exits import Exit, worst
from reconciler.cli.fleet import exits_of, open_scope
from reconciler.cli.interrupted import tell_interrupted
from reconciler.cli.options import (
    DEFAULT_DESIRED_STATE,
    AllowRemovals,
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
    from reconciler.engine.run import Planned
    from reconciler.plan.model import Plan


def plan(
    context: typer.Context,
    desired_state: DesiredStatePath = DEFAULT_DESIRED_STATE,
    *,
    revision: Revision = None,
    appliance: Appliances = None,
    site: Sites = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Plan as of a date or instant, like 2026-12-24 or 2026-12-24T08:00:00Z."),
    ] = None,
    allow_removals: AllowRemovals = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the plan, so that `apply FILE` does just this.")
    ] = None,
    output_format: OutputFormat = Format.TEXT,
    detailed_exitcode: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help="Exit 2 where there are changes, 6 where all that is left waits."),
    ] = False,
) -> Exit:
    """Show what would be done to the stores, and why. Changes nothing."""
    from reconciler.engine.files import check_place

    instant = _instant(at) if at is not None else None
    if out is not None:
        check_place(out, replace=True)
    scope = open_scope(session_of(context), desired_state, revision, appliance, site)
    tell_interrupted(scope)
    planned = scope.plan(at=instant, allow_removals=allow_removals)
    if output_format is Format.JSON:
        write_json(planned.plan)
    else:
        write_plan(planned)
    if out is not None:
        _save(planned.plan, out)
    changes = (_changes(planned.plan),) if detailed_exitcode else ()
    return worst(*exits_of(planned), *changes)


def _save(plan: Plan, out: Path) -> None:
    from reconciler.engine.saved import save_plan

    save_plan(plan, out)
    sys.stderr.write(printable(f"{out}: saved, digest {plan.digest}") + "\n")


def write_plan(planned: Planned) -> None:
    """Write a plan to stdout, for people."""
    from reconciler.report.plan_text import plan_text
    from reconciler.report.view import plan_view

    with without_cycle_search():
        view = plan_view(planned.plan, planned.observation.stores, planned.state.material)
        sys.stdout.write(plan_text(view, medium_of(sys.stdout)))
    sys.stdout.flush()


def _changes(plan: Plan) -> Exit:
    if plan.summary.ready:
        return Exit.CHANGES
    return Exit.HELD if plan.summary.held or plan.summary.waiting else Exit.DONE


def _instant(text: str) -> dt.datetime:
    try:
        if len(text) == len("2026-12-24"):
            return dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), dt.UTC)
        instant = dt.datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise UsageError(
            f"--at {text} is neither a date nor an instant with a time zone",
            "write it like 2026-12-24 or 2026-12-24T08:00:00Z",
        )
    return instant.astimezone(dt.UTC)
