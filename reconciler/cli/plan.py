"""`reconciler plan`: the dry run. It changes nothing."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.base.errors import UsageError
from reconciler.base.text import printable
from reconciler.cli.exits import Exit, worst
from reconciler.cli.fleet import exits_of, open_signed_scope
from reconciler.cli.interrupted import tell_interrupted
from reconciler.cli.options import (
    DEFAULT_DESIRED_STATE,
    AllowRemovals,
    Appliances,
    DesiredStatePath,
    RequireSigned,
    Revision,
    Sites,
)
from reconciler.cli.output import medium_of
from reconciler.cli.plan_formats import PlanFormat, Rendering, check_url, report_formats
from reconciler.cli.session import session_of

if TYPE_CHECKING:
    from reconciler.engine.run import Planned
    from reconciler.plan.model import Plan


def plan(
    context: typer.Context,
    desired_state: DesiredStatePath = DEFAULT_DESIRED_STATE,
    *,
    revision: Revision = None,
    require_signed: RequireSigned = None,
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
    report: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Also write the plan into a file that ends in .md, .html, .json or .txt; may be given several times.",
        ),
    ] = None,
    report_url: Annotated[
        str, typer.Option(metavar="URL", help="Where the whole plan can be read; Markdown links to it.")
    ] = "",
    output_format: Annotated[
        PlanFormat, typer.Option("--format", help="How to write the plan; github: its findings, as annotations.")
    ] = PlanFormat.TEXT,
    detailed_exitcode: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help="Exit 2 where there are changes, 6 where all that is left waits."),
    ] = False,
) -> Exit:
    """Show what would be done to the stores, and why. Changes nothing."""
    from reconciler.engine.files import check_place, write_public
    from reconciler.report.page import Medium

    instant = _instant(at) if at is not None else None
    reports = report_formats(report or (), out)
    for path in (*reports, *([out] if out else ())):
        check_place(path, replace=True)
    check_url(report_url)
    scope = open_signed_scope(session_of(context), desired_state, revision, appliance, site, require_signed)
    tell_interrupted(scope)
    planned = scope.plan(at=instant, allow_removals=allow_removals)
    rendering = Rendering(planned, report_url)
    sys.stdout.write(rendering.text(output_format, medium_of(sys.stdout)))
    sys.stdout.flush()
    for path, report_format in reports.items():
        write_public(path, rendering.text(report_format, Medium()).encode())
        sys.stderr.write(printable(f"{path}: written") + "\n")
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
    sys.stdout.write(Rendering(planned).text(PlanFormat.TEXT, medium_of(sys.stdout)))
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
