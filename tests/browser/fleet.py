"""The example fleet as a lab, with the reconciler as a process that works on it."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import anyio

from reconciler.base.clock import system_clock
from reconciler.lab.example import PASSPHRASE, VARIABLE
from reconciler.lab.fleet import Lab, make_lab
from reconciler.lab.server import serve
from reconciler.lab.tls import TieBreak
from tests.cli.terminal import PROGRAM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from reconciler.lab.appliance import LabAppliance

_EXAMPLE = Path(__file__).parents[2] / "desired-state"


@dataclass(frozen=True)
class Fleet:
    """Simulated appliances that are being served, and the desired state that they are for."""

    lab: Lab
    desired_state: Path

    def appliance(self, name: str) -> LabAppliance:
        """One of them."""
        return next(each for each in self.lab.appliances if each.name == name)

    async def reconciler(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """Run a command in a shell that has sourced what the lab wrote: exit code, output, errors."""
        words = (self.lab.environment, PROGRAM, command, self.desired_state, *arguments)
        done = await anyio.run_process(
            ["sh", "-c", '. "$0" && exec "$@"', *map(str, words)],
            check=False,
            stdout=PIPE,
            stderr=PIPE,
            env={**os.environ, VARIABLE: PASSPHRASE.decode()},
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    async def status(self, name: str) -> Any:  # noqa: ANN401 - a JSON document
        """What `status` shows of one appliance."""
        _, output, errors = await self.reconciler("status", "--format", "json", "--appliance", name)
        assert not errors
        return next(each for each in json.loads(output)["appliances"] if each["name"] == name)

    def trust(self, name: str, line: str) -> None:
        """Add a line to a store in the operator settings, as somebody does who compared the fingerprint."""
        settings = self.lab.folder / "operator.yaml"
        place = f"  {name}:\n    driver: web\n"
        text = settings.read_text()
        assert place in text
        settings.write_text(text.replace(place, f"{place}    {line}\n"))


@asynccontextmanager
async def playing(folder: Path, variant: str) -> AsyncIterator[Fleet]:
    """The example fleet fresh from the factory, in one variant."""
    desired_state = folder / "desired-state"
    shutil.copytree(_EXAMPLE, desired_state)
    lab = make_lab(desired_state, folder / "lab", variant=variant, tie_break=TieBreak.FIRST, clock=system_clock)
    async with serve(*lab.appliances):
        lab.write_files()
        yield Fleet(lab, desired_state)
