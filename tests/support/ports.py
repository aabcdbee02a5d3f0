"""Ports on loopback for programs that must be told one, such that no two test processes are ever given the same.

    with reserved_ports(2) as (first, second):
        ...

A port that was free a moment ago is nobody's: until the program binds it, the kernel may give it to whoever asks for
some free port. So these lie below the range that the kernel gives out, and whoever uses one holds a lock on a file of
its name until it is done. Servers of our own need none of this: they bind port 0 and keep what they get.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RANGE = range(20000, 30000)
"""Below what Linux (from 32768) and other systems (from 49152) give out."""


@contextmanager
def reserved_ports(count: int) -> Iterator[tuple[int, ...]]:
    """Ports that are ours until the block ends. A process that dies gives its own back."""
    folder = Path(tempfile.gettempdir(), f"reconciler-test-ports-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    with ExitStack() as held:
        ports: list[int] = []
        for port in RANGE:
            if len(ports) == count:
                break
            with ExitStack() as trial:
                lock = trial.enter_context((folder / str(port)).open("w"))
                if _locked(lock.fileno()) and _nobody_listens(port):
                    ports.append(port)
                    held.push(trial.pop_all())
        assert len(ports) == count, f"there are no {count} free ports from {RANGE.start} to {RANGE.stop - 1}"
        yield tuple(ports)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _nobody_listens(port: int) -> bool:
    """Whether the port is free: other users, and programs that are no tests, know nothing of the locks."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True
