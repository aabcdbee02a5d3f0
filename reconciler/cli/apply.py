"""`reconciler apply`: plans, or takes a saved plan, shows it, asks, and carries it out."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.apply.result import Outcome
from reconciler.base.errors import StaleError, UsageError
from reconciler.base.text import printable
from reconciler.cli.exits import Exit, worst
from reconciler.cli.fleet import exits_of, open_signed_scope
from reconciler.cli.interrupted import applied_before, tell_interrupted
from reconciler.cli.options import (
    DEFAULT_DESIRED_STATE,
    AllowRemovals,
    Appliances,
    Format,
    OutputFormat,
    RequireSigned,
    Revision,
    Sites,
)
from reconciler.cli.output import medium_of, progress, write_json
from reconciler.cli.plan import write_plan
from reconciler.cli.session import session_of

if TYPE_CHECKING:
    from reconciler.apply.result import ApplianceResult
    from reconciler.apply.turns import Stop
    from reconciler.cli.fleet import Scope
    from reconciler.engine.run import Planned
    from reconciler.plan.model import Plan

_EXITS = {
    Outcome.APPLIED: Exit.DONE,
    Outcome.UNCHANGED: Exit.DONE,
    Outcome.FAILED: Exit.FAILED,
    Outcome.NOT_ATTEMPTED: Exit.FAILED,
    Outcome.STALE: Exit.STALE,
}


def apply(
    context: typer.Context,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="PLAN",
            help="A saved plan. Without one, or with a folder in its place, what is due now is planned.",
            show_default=False,
        ),
    ] = DEFAULT_DESIRED_STATE,
    beside: Annotated[
        Path | None, typer.Argument(metavar="DESIRED_STATE", help="Folder of the desired state that it was made from.")
    ] = None,
    *,
    revision: Revision = None,
    require_signed: RequireSigned = None,
    appliance: Appliances = None,
    site: Sites = None,
    allow_removals: AllowRemovals = None,
    create_stores: Annotated[
        bool, typer.Option("--create-stores", help="First make the directory stores that do not exist yet.")
    ] = False,
    expect_digest: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Carry nothing out but the plan with this digest.")
    ] = None,
    max_age: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How old a saved plan may be, like 48h; 7d unless told.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output_format: OutputFormat = Format.TEXT,
) -> Exit:
    """Plan, show the plan, ask, and bring the stores to what the desired state says.

    With PLAN, a file that `plan --out` saved, exactly that is done: it is planned again for the same instant, and where
    anything moved nothing is done (exit code 4).
    """
    from reconciler.report.results import applied, results_text

    if output_format is Format.JSON and not yes:
        raise UsageError("with --format json nobody can be asked", "pass --yes as well")
    if expect_digest is not None and not expect_digest.strip():
        raise UsageError("--expect-digest is empty", "look whether the variable is set that it comes from")
    is_plan = _is_plan(target, beside, max_age, revision)
    narrowed = bool(appliance or site or create_stores)
    saved = _saved_plan(target, max_age, allow_removals, narrowed=narrowed) if is_plan else None
    desired_state = (beside or DEFAULT_DESIRED_STATE) if is_plan else target
    scope = open_signed_scope(session_of(context), desired_state, revision, appliance, site, require_signed)
    was_interrupted = tell_interrupted(scope)
    if create_stores and (yes or _asked("Make the stores that do not exist yet?")):
        _create_stores(scope)
    planned = _plan_again(scope, saved) if saved else scope.plan(allow_removals=allow_removals)
    _expect(planned, expect_digest)
    if output_format is Format.TEXT:
        write_plan(planned)
    results: tuple[ApplianceResult, ...] = ()
    if _is_due(planned):
        if not yes and not _agreed(planned):
            sys.stderr.write("reconciler: nothing was applied\n")
            return Exit.COULD_NOT
        results = _carry_out(scope, planned)
    elif was_interrupted and scope.only is None and not planned.observation.failures:
        _carry_out(scope, planned)  # nothing: but a journal that has an end tells everybody that nothing is left
    document = applied(planned.plan, results)
    if output_format is Format.JSON:
        write_json(document)
    elif results:
        sys.stdout.write("\n" + results_text(document, medium_of(sys.stdout)))
    return worst(*exits_of(planned), *(_EXITS[result.outcome] for result in results))


def _is_plan(target: Path, beside: Path | None, max_age: str | None, revision: str | None) -> bool:
    """Whether what is named first is a saved plan, and not the folder of the desired state.

    Raises:
        UsageError: What is named beside makes sense only with a saved plan, or it is nothing at all.
    """
    if target.exists() and not target.is_dir():
        return True
    if beside is not None:
        missing = f"there is no {target}" if not target.exists() else f"{target} is no saved plan"
        raise UsageError(missing, "name the plan first, then the desired state")
    if max_age is not None:
        raise UsageError("--max-age is for a saved plan, and none is named", "name the file of `plan --out`")
    # A revision may have a folder that the work tree does not have.
    if not target.exists() and target != DEFAULT_DESIRED_STATE and revision is None:
        raise UsageError(f"there is no {target}", "name a saved plan, or the folder of a desired state")
    return False


def _saved_plan(path: Path, max_age: str | None, allow_removals: int | None, *, narrowed: bool) -> Plan:
    from reconciler.base.clock import system_clock
    from reconciler.base.references import parse_duration
    from reconciler.engine.saved import MAX_AGE, check_age, read_plan

    if narrowed:
        raise UsageError("a saved plan is carried out as it is", "leave out what would narrow or widen it")
    try:
        allowed = MAX_AGE if max_age is None else parse_duration(max_age)
    except ValueError as error:
        raise UsageError(f"--max-age {max_age} is not a duration", "write it like 7d or 48h") from error
    saved = read_plan(path)
    check_age(saved, system_clock(), allowed)
    _check_removals(saved, allow_removals)
    return saved


def _check_removals(saved: Plan, allowed: int | None) -> None:
    """See that whoever applies allows the removals that whoever planned did: a file must not lift the ceiling alone.

    Raises:
        UsageError: They do not.
    """
    told = saved.basis.allow_removals
    if told == allowed:
        return
    if told is None:
        raise UsageError("the plan was made without --allow-removals", "leave it out, or plan again with it")
    raise UsageError(
        f"the plan allows {told} removals on each appliance in place of the policy's ceiling",
        f"pass --allow-removals {told} as well, if that is meant",
    )


def _plan_again(scope: Scope, saved: Plan) -> Planned:
    import anyio

    from reconciler.base.clock import system_clock
    from reconciler.engine.run import plan_again

    with progress("planning") as notify:

        async def make() -> Planned:
            return await plan_again(saved, scope.state, scope.settings, system_clock, notify=notify)

        try:
            return anyio.run(make)
        except StaleError as error:
            raise StaleError(f"{error.message}{applied_before(scope, saved)}", error.remedy) from None


def _expect(planned: Planned, digest: str | None) -> None:
    from reconciler.engine.saved import PLAN_AGAIN

    if digest is not None and planned.plan.digest != digest.strip().lower():
        raise StaleError(f"the plan does not have the digest that is expected, {digest}", PLAN_AGAIN)


def _create_stores(scope: Scope) -> None:
    from reconciler.base.clock import system_clock
    from reconciler.engine.run import create_stores

    made = create_stores(scope.state, scope.settings, system_clock, only=scope.only)
    if made:
        sys.stderr.write(f"made the stores of {', '.join(made)}\n")


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
    """Carry a plan out under a journal; a signal ends it after the action in hand."""
    import anyio

    from reconciler.apply.turns import Stop
    from reconciler.base.clock import system_clock
    from reconciler.engine.journals import journal_folder
    from reconciler.engine.run import begin_journal, carry_out

    journal = begin_journal(planned, journal_folder(scope.settings, os.environ), system_clock)
    stop = Stop()
    with progress("applying") as notify:

        async def act() -> tuple[ApplianceResult, ...]:
            async with anyio.create_task_group() as group:
                group.start_soon(_heed_signals, stop)
                results = await carry_out(planned, scope.settings, system_clock, journal, notify=notify, stop=stop)
                group.cancel_scope.cancel()
            return results

        results = anyio.run(act)
    if journal.problem:
        sys.stderr.write(printable(f"reconciler: {journal.problem}") + "\n")
    return results


async def _heed_signals(stop: Stop) -> None:
    import anyio

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        async for number in received:
            sys.stderr.write("reconciler: stopping after the action in hand\n")
            sys.stderr.flush()
            stop.request(f"stopped by {number.name}")
