"""`reconciler watch` as people run it, in a process of its own, and what that process costs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROGRAM = str(Path(sys.executable).with_name("reconciler"))
_MB = 1024


class Watching:
    """A loop that runs.

    Attributes:
        url: Of its status page.
    """

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url

    @property
    def processor(self) -> float:
        """Processor time of the process so far, all its threads, in seconds."""
        # The clock of another process's processor time, as clock_getcpuclockid(3) makes its id on Linux: to the
        # nanosecond, where /proc counts hundredths of a second.
        return time.clock_gettime(~self._process.pid << 3 | 2)

    @property
    def resident(self) -> float:
        """Its resident memory now, in MB."""
        return resident(self._process.pid)

    @property
    def peak(self) -> float:
        """Its resident memory at its largest, in MB."""
        return resident(self._process.pid, "VmHWM")

    def next_apply(self) -> str:
        """Wait until it tells of an apply; how that ended."""
        assert self._process.stdout
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["kind"] == "apply":
                return str(event["after"])
        raise AssertionError("it has ended")


def resident(process: int | str, which: str = "VmRSS") -> float:
    """Memory of a process as the kernel counts it, in MB."""
    told = Path(f"/proc/{process}/status").read_text()
    found = re.search(rf"^{which}:\s+(\d+) kB$", told, re.MULTILINE)
    assert found
    return int(found[1]) / _MB


@contextmanager
def watching(desired_state: Path, environment: Mapping[str, str]) -> Iterator[Watching]:
    """Run it with the default settings but for the port of its status page; it must end well when it is told to."""
    command = [PROGRAM, "watch", str(desired_state), "--log", "json", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        assert process.stderr
        told = process.stderr.readline()
        found = re.search(r"its status page is (\S+)", told)
        assert found, told + process.stderr.read()
        try:
            yield Watching(process, found[1])
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert process.returncode == 0, process.returncode
