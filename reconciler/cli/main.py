"""Where a run of the program begins and ends. It imports next to nothing, so that `--version` answers at once."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from reconciler import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: The words after the program's name; those of this process where None.
    """
    _have_streams()
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given == ["--version"]:
        sys.stdout.write(f"reconciler {__version__}\n")
        return 0
    try:
        from reconciler.cli.app import run
    except KeyboardInterrupt:
        sys.stderr.write("reconciler: interrupted before anything was done\n")
        return 130

    return run(given)


def _have_streams() -> None:
    """Give a program that was started without stdin, stdout or stderr an empty one of its own.

    Otherwise the next file that is opened takes its number, and what is printed, or what a child process prints, would
    go there.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - that of stderr
        os.set_inheritable(number, True)  # noqa: FBT003 - its only parameter
    os.close(number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
