"""Running the operator's reload command, after which the front end serves what the directory says.

The command comes from the operator's settings, never from the reviewed tree. It runs as it is, without a shell, without
input, and with only those environment variables that programs need to find each other: the process's environment may
hold passphrases. A command that needs more can be started through `env NAME=value ...`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from reconciler.base.errors import EffectUnknown
from reconciler.base.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 60.0
"""How long a reload may take, in seconds."""

_ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
_MOST_QUOTED = 500


def run_reload(command: Sequence[str], patience: float = PATIENCE) -> None:
    """Run a reload command and wait for its end; an empty one is a reload that nobody needs.

    Args:
        command: Program and arguments.
        patience: How long it may take, in seconds; then it is killed with everything that it started.

    Raises:
        EffectUnknown: It cannot be started, fails or takes too long. What it says about that is quoted, cut short.
    """
    if not command:
        return
    # Output goes to a file, not a pipe: a daemon that the command leaves behind may keep it open for ever.
    with tempfile.TemporaryFile() as output:
        problem = _run(command, output, patience)
        if problem:
            raise EffectUnknown(
                f"the store has changed, but the reload command {printable(command[0])!r} {problem}{_said(output)}",
                "mend the front end or the command in the operator's settings; the next run reloads before all else",
            )


def _run(command: Sequence[str], output: IO[bytes], patience: float) -> str:
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own command; no shell is involved
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"cannot be started: {getattr(error, 'strerror', None) or 'its arguments are not valid'}"
    with process:
        try:
            status = process.wait(patience)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return f"did not end within {patience:g} seconds"
    if status < 0:
        return f"was ended by signal {-status}"
    return f"failed with exit status {status}" if status else ""


def _said(output: IO[bytes]) -> str:
    end = output.seek(0, os.SEEK_END)
    output.seek(max(0, end - _MOST_QUOTED))
    text = printable(output.read().decode("utf-8", "replace").strip().replace("\n", " | "))
    return f": {'... ' if end > _MOST_QUOTED else ''}{text}" if text else ""
