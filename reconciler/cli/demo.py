"""`reconciler demo`: the whole story on embedded stores, in a temporary place.

It works inside that place, so that paths read as they do in a checkout.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.base.errors import UsageError
from reconciler.cli.exits import Exit
from reconciler.cli.output import medium_of
from reconciler.cli.plan import write_plan

if TYPE_CHECKING:
    from reconciler.engine.run import Planned


def demo(
    *,
    keep: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Make the demo in this new folder, and leave it there.")
    ] = None,
) -> Exit:
    """Bring a small fleet of certificate directories to what its YAML says, and mend one that drifts."""
    import anyio

    if keep is not None:
        try:
            keep.mkdir(parents=True)
        except OSError as error:
            raise UsageError(f"{keep} cannot be made: {error.strerror}", "name a folder that does not exist") from error
        with contextlib.chdir(keep):
            return anyio.run(_story, Path.cwd())
    with tempfile.TemporaryDirectory(prefix="reconciler-demo-") as folder, contextlib.chdir(folder):
        return anyio.run(_story, Path(folder).resolve())


async def _story(folder: Path) -> Exit:
    from reconciler.base.clock import system_clock
    from reconciler.lab.example import PASSPHRASE, VARIABLE, disturb, make_example

    os.environ[VARIABLE] = PASSPHRASE.decode()
    await make_example(folder, system_clock)
    root = Path("desired-state")
    _say(f"A fleet of seven appliances, declared in {folder / root}. What would be done?")
    first = await _round(root)
    _say("And again: what is left to do?")
    second = await _plan(root)
    write_plan(second)
    _say(await disturb(root, system_clock) + " What does the next plan say?")
    third = await _round(root)
    _say("And the last one:")
    fourth = await _plan(root)
    write_plan(fourth)
    in_step = not second.plan.summary.ready and not fourth.plan.summary.ready
    return Exit.DONE if first and third and in_step else Exit.FAILED


async def _plan(root: Path) -> Planned:
    from reconciler.base.clock import system_clock
    from reconciler.engine.load import load_desired
    from reconciler.engine.operator import OperatorSettings
    from reconciler.engine.run import plan_fleet

    return await plan_fleet(load_desired(root, None), OperatorSettings(), system_clock)


async def _round(root: Path) -> bool:
    """Plan, show, apply, show; whether everything went well."""
    from reconciler.apply.result import Outcome
    from reconciler.base.clock import system_clock
    from reconciler.engine.operator import OperatorSettings
    from reconciler.engine.run import apply_planned
    from reconciler.report.results import applied, results_text

    planned = await _plan(root)
    write_plan(planned)
    _say("It is applied:")
    results = await apply_planned(planned, OperatorSettings(), system_clock)
    sys.stdout.write(results_text(applied(planned.plan, results), medium_of(sys.stdout)))
    return all(each.outcome in {Outcome.APPLIED, Outcome.UNCHANGED} for each in results)


def _say(text: str) -> None:
    sys.stdout.write(f"\n# {text}\n\n")
    sys.stdout.flush()
