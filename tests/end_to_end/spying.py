"""Everything about a program that others on its machine could see while it runs, and what it leaves behind.

What is looked at, again and again: the arguments of the program and of all that it starts, the environments of what it
starts, and the files in its place for temporary ones, those included that have no name any more. What lives for less
than a look is missed: programs that matter are told to note down by themselves what they see.
"""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PAUSE = 0.02
_LONGEST = 1_000_000


@dataclass
class Seen:
    """What was seen, each once, by where.

    Attributes:
        arguments: Of the program and of what it started.
        environments: Of what it started.
        temporary: Contents of temporary files.
        looks: How often was looked.
    """

    arguments: set[bytes] = field(default_factory=set)
    environments: set[bytes] = field(default_factory=set)
    temporary: set[bytes] = field(default_factory=set)
    looks: int = 0

    def look(self, program: int, temporary: Path) -> None:
        """Look once."""
        self.looks += 1
        own = _content(Path(f"/proc/{program}/cmdline"))
        for process in (program, *_descendants(program)):
            environment = _content(Path(f"/proc/{process}/environ"))
            arguments = _content(Path(f"/proc/{process}/cmdline"))
            self.arguments.add(arguments)
            # Until a child runs its own program it is a copy of the parent. And GitPython asks for git's version as
            # soon as it is imported, with the whole of the environment.
            started = arguments not in {own, b""} and environment == _content(Path(f"/proc/{process}/environ"))
            if started and not arguments.endswith(b"\0version\0"):
                self.environments.add(environment)
            self.temporary |= set(_open_files(process, temporary))
        with suppress(OSError):
            self.temporary |= {_content(path) for path in temporary.rglob("*") if path.is_file()}


def _content(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.read(_LONGEST)
    return b""


def _descendants(process: int) -> Iterator[int]:
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, _content(path).split()):
            yield child
            yield from _descendants(child)


def _open_files(process: int, folder: Path) -> Iterator[bytes]:
    with suppress(OSError):
        for path in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                if str(path.readlink()).startswith(f"{folder}{os.sep}"):
                    yield _content(path)


@contextmanager
def spying(program: int, temporary: Path, seen: Seen) -> Iterator[None]:
    """Look at a program until the block ends."""
    ended = threading.Event()

    def spy() -> None:
        while not ended.wait(_PAUSE):
            seen.look(program, temporary)

    spy_thread = threading.Thread(target=spy)
    spy_thread.start()
    try:
        yield
    finally:
        ended.set()
        spy_thread.join()


def run_seen(
    command: Sequence[str | Path], environ: Mapping[str, str], temporary: Path, seen: Seen
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end while somebody looks."""
    with (
        subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        ) as process,
        spying(process.pid, temporary, seen),
    ):
        out, err = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out, err)
