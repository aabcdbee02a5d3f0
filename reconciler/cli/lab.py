"""`reconciler lab`: simulated appliances for a desired state, until they are interrupted."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.base.errors import UsageError
from reconciler.base.text import printable
from reconciler.cli.exits import Exit
from reconciler.cli.options import DEFAULT_DESIRED_STATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.lab.fleet import Lab

_LAST_PORT = 65535


def lab(
    *,
    desired_state: Annotated[
        Path, typer.Option("--from", metavar="DESIRED_STATE", help="Folder of the desired state to play.")
    ] = DEFAULT_DESIRED_STATE,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Keep the lab in this folder. Else it is temporary and removed at the end."
        ),
    ] = None,
    variant: Annotated[str, typer.Option(metavar="NAME", help="Markup of the pages: guide, later or other.")] = "guide",
    tie_break: Annotated[
        str, typer.Option(metavar="RULE", help="Which of several matching certificates is served: first, last, random.")
    ] = "first",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=_LAST_PORT, help="Port of the first appliance; 0 for free ports.")
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[APPLIANCE:]KIND[=SECONDS][@REQUEST]",
            help="Let something go wrong, on every request or on one; may be given several times.",
        ),
    ] = None,
) -> Exit:
    """Play the appliances of a desired state on this machine, to look at them and to rehearse on them."""
    import anyio

    from reconciler.base.clock import system_clock
    from reconciler.lab.fleet import make_lab
    from reconciler.lab.tls import TieBreak

    if tie_break not in set(TieBreak):
        raise UsageError(f"{tie_break!r} is no rule for a tie", f"choose one of {', '.join(TieBreak)}")
    with contextlib.ExitStack() as held:
        place = folder or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="reconciler-lab-")))
        made = make_lab(desired_state, place, variant=variant, tie_break=TieBreak(tie_break), clock=system_clock)
        _set_faults(made, fault or ())
        anyio.run(_play, made, desired_state, port, folder is None)
    return Exit.DONE


def _set_faults(lab: Lab, told: Sequence[str]) -> None:
    from reconciler.lab.faults import parse_fault

    by_name = {each.name: each for each in lab.appliances}
    for each in told:
        name, colon, rest = each.rpartition(":")
        if colon and name not in by_name:
            raise UsageError(f"there is no appliance {name!r}", f"choose one of {', '.join(by_name)}")
        fault, number = parse_fault(rest)
        for appliance in [by_name[name]] if colon else by_name.values():
            if number is None:
                appliance.faults.switch(fault)
            else:
                appliance.faults.at(number, fault)


async def _play(lab: Lab, desired_state: Path, first_port: int, temporary: bool) -> None:  # noqa: FBT001 - anyio passes by position
    import anyio

    from reconciler.lab.server import serve

    # From here on: what is asked to end while it starts ends as cleanly.
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with serve(*lab.appliances, first_port=first_port):
            lab.write_files()
            sys.stdout.write(_told(lab, desired_state, temporary=temporary))
            sys.stdout.flush()
            async for _ in signals:
                break
    sys.stdout.write("\nThe appliances have ended.\n")


def _told(lab: Lab, desired_state: Path, *, temporary: bool) -> str:
    rows = [("Appliance", "Host name", "Address"), *((e.name, e.hostname, e.url) for e in lab.appliances)]
    widths = [max(len(printable(row[column])) for row in rows) for column in range(2)]
    lines = [f"{printable(a).ljust(widths[0])}  {printable(b).ljust(widths[1])}  {c}" for a, b, c in rows]
    kept = "temporary, and removed at the end" if temporary else "kept"
    return "\n".join(
        [
            "Simulated appliances:",
            "",
            *lines,
            "",
            f"Sign in as {printable(lab.account.username)} with the password {printable(lab.account.password)}",
            f"Everything of theirs lies in {printable(str(lab.folder))} ({kept})",
            "",
            "In another terminal:",
            "",
            f"    . {printable(shlex.quote(str(lab.environment)))}",
            f"    reconciler plan {printable(shlex.quote(str(desired_state)))}",
            "",
            "Ctrl-C ends them.",
            "",
        ]
    )
