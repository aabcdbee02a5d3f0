"""`reconciler apply`: plans, shows the plan, asks, and carries it out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.apply.result import Outcome
from reconciler.base.errors import UsageError
from reconciler.cli.exits import Exit, worst
from reconciler.cli.fleet import exits_of, open_scope
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
from reconciler.cli.output import medium_of, progress, write_json
from reconciler.cli.plan import write_plan
from reconciler.cli.session import session_of

if TYPE_CHECKING:
    from reconciler.apply.result import ApplianceResult
    from reconciler.cli.fleet import Scope
    from reconciler.engine.run import Planned

_EXITS = {
    Outcome.APPLIED: Exit.DONE,
    Outcome.UNCHANGED: Exit.DONE,
    Outcome.FAILED: Exit.FAILED,
    Outcome.NOT_ATTEMPTED: Exit.FAILED,
    Outcome.STALE: Exit.STALE,
}


def apply(
    context: typer.Context,
    desired_state: DesiredStatePath = DEFAULT_DESIRED_STATE,
    *,
    revision: Revision = None,
    appliance: Appliances = None,
    site: Sites = None,
    allow_removals: AllowRemovals = None,
    create_stores: Annotated[
        bool, typer.Option("--create-stores", help="First make the directory stores that do not exist yet.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output_format: OutputFormat = Format.TEXT,
) -> Exit:
    """Plan, show the plan, ask, and bring the stores to what the desired state says."""
    from reconciler.report.results import applied, results_text

    if output_format is Format.JSON and not yes:
        raise UsageError("with --format json nobody can be asked", "pass --yes as well")
    scope = open_scope(session_of(context), desired_state, revision, appliance, site)
    if create_stores and (yes or _asked("Make the stores that do not exist yet?")):
        _create_stores(scope)
    planned = _plan(scope, allow_removals)
    if output_format is Format.TEXT:
        write_plan(planned)
    results: tuple[ApplianceResult, ...] = ()
    if _is_due(planned):
        if not yes and not _agreed(planned):
            sys.stderr.write("reconciler: nothing was applied\n")
            return Exit.COULD_NOT
        results = _carry_out(scope, planned)
    document = applied(planned.plan, results)
    if output_format is Format.JSON:
        write_json(document)
    elif results:
        sys.stdout.write("\n" + results_text(document, medium_of(sys.stdout)))
    return worst(*exits_of(planned), *(_EXITS[result.outcome] for result in results))


def _create_stores(scope: Scope) -> None:
    from reconciler.base.clock import system_clock
    from reconciler.engine.run import create_stores

    made = create_stores(scope.state, scope.settings, system_clock, only=scope.only)
    if made:
        sys.stderr.write(f"made the stores of {', '.join(made)}\n")


def _plan(scope: Scope, allow_removals: int | None) -> Planned:
    import anyio

    from reconciler.base.clock import system_clock
    from reconciler.engine.run import plan_fleet

    with progress("planning") as notify:

        async def make() -> Planned:
            return await plan_fleet(
                scope.state,
                scope.settings,
                system_clock,
                only=scope.only,
                allow_removals=allow_removals,
                notify=notify,
            )

        return anyio.run(make)


def _is_due(planned: Planned) -> bool:
    """Whether there is anything to carry out: ready actions, or a change that was interrupted."""
    return bool(planned.plan.summary.ready) or any(each.unfinished for each in planned.observation.stores.values())


def _agreed(planned: Planned) -> bool:
    """Ask on the terminal.

    Raises:
        UsageError: There is no terminal to ask on.
    """
    from reconciler.report.words import counted

    number = planned.plan.summary.ready
    return _asked(f"Apply {counted(number, 'action')}?" if number else "Finish the change that was interrupted?")


def _asked(question: str) -> bool:
    """Ask a question on the terminal.

    Raises:
        UsageError: There is no terminal to ask on.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("there is no terminal to ask on, so nothing was applied", "pass --yes to apply without asking")
    sys.stderr.write(f"\n{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _carry_out(scope: Scope, planned: Planned) -> tuple[ApplianceResult, ...]:
    import anyio

    from reconciler.base.clock import system_clock
    from reconciler.engine.run import apply_planned

    with progress("applying") as notify:

        async def act() -> tuple[ApplianceResult, ...]:
            return await apply_planned(planned, scope.settings, system_clock, notify=notify)

        return anyio.run(act)
