"""Runs the program on a pseudo-terminal, as a person does."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = Path(sys.executable).with_name("reconciler")


@dataclass
class Terminal:
    """A program on a terminal of its own."""

    process: subprocess.Popen[bytes]
    descriptor: int
    output: str = field(default="")

    @classmethod
    def run(cls, *arguments: str | Path, columns: int = 80, environ: Mapping[str, str] | None = None) -> Terminal:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(
            [PROGRAM, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", **(environ or {})},
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - a terminal sends ctrl-c only to those that it controls
        )
        os.close(theirs)
        return cls(process, ours)

    def read_until(self, text: str) -> str:
        """Everything that has been written, once a text is among it."""
        while text not in self.output:
            chunk = self._read()
            assert chunk, f"{text!r} never came: {self.output}"
        return self.output

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def end(self) -> tuple[int, str]:
        """The exit code and everything that was written."""
        while self._read():
            pass
        code = self.process.wait(60)
        os.close(self.descriptor)
        return code, self.output

    def _read(self) -> str:
        try:
            chunk = os.read(self.descriptor, 65536).decode(errors="replace")
        except OSError:  # how Linux says that nobody writes any more
            return ""
        self.output += chunk
        return chunk


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
