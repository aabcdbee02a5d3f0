"""`reconciler lab` as people run it: a process that plays the fleet until it is interrupted."""

from __future__ import annotations

import shlex
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.engine.operator import VARIABLE, load_settings
from tests.cli.terminal import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Playing:
    """A lab that is running.

    Attributes:
        folder: Its folder.
        environ: What its environment file sets.
    """

    folder: Path
    environ: Mapping[str, str]

    def port(self, endpoint: str) -> int:
        """Where an endpoint is played."""
        settings = load_settings(Path(self.environ[VARIABLE]), {})
        return int(settings.connect[endpoint].rpartition(":")[2])


def environment(file: Path) -> dict[str, str]:
    """What a file of `export NAME=value` lines sets."""
    pairs = (shlex.split(line)[1].partition("=") for line in file.read_text().splitlines())
    return {name: value for name, _, value in pairs}


@contextmanager
def playing(root: Path, folder: Path, *options: str) -> Iterator[Playing]:
    """Play the fleet of a desired state; it must end cleanly."""
    command: list[str | Path] = [PROGRAM, "lab", "--from", root, "--folder", folder, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        told = []
        for line in process.stdout:
            told.append(line)
            if "Ctrl-C" in line:
                break
        assert process.poll() is None, "".join(told)
        try:
            yield Playing(folder, environment(folder / "environment"))
        finally:
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
    assert process.returncode == 0, rest
