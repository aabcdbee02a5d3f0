"""Where a run of the program begins and ends. It imports next to nothing, so that `--version` answers at once."""

from __future__ import annotations

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
