"""Private files and folders of a store, and the lock that serialises changes. Nothing here knows what the files mean.

Files are put in place as `reconciler.base.durable` tells; the next change sweeps away what an interrupted one left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from reconciler.base.durable import TEMPORARY, sync_folder
from reconciler.base.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_POLL = 0.05


def shown(root: Path) -> str:
    """A certificate directory in a sentence, with the shortest path that its name comes to."""
    return f"the certificate directory {printable(os.path.normpath(root))}"


def reason(error: OSError) -> str:
    """What the operating system says, without the path, which the sentence around it names."""
    return os.strerror(error.errno) if error.errno else str(error)


def publish(temporary: Path, path: Path) -> None:
    """Put a finished temporary file or link in its place, over whatever is there."""
    os.replace(temporary, path)  # noqa: PTH105 - one seam for all file operations
    sync_folder(path.parent)


def unlink(path: Path) -> None:
    """Remove a file or link; that it is gone already is no error."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - one seam for all file operations
        sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder for its owner only, unless it is there."""
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)  # noqa: PTH102 - one seam for all file operations
        sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Remove what an interrupted change left under temporary names."""
    for name in os.listdir(folder):  # noqa: PTH208 - one seam for all file operations
        if name.startswith(TEMPORARY):
            unlink(folder / name)


@contextmanager
def locked(path: Path, *, exclusive: bool, patience: float, given_up: Callable[[], bool] = bool) -> Iterator[None]:
    """Hold a lock file: alone, or shared with others that only look.

    Args:
        path: The lock file. It is made for an exclusive lock; without it there is nothing that a reader must wait for.
        exclusive: Whether to keep everybody else out.
        patience: How long to wait for others, in seconds.
        given_up: Whether nobody waits any longer.

    Raises:
        TimeoutError: Another process held it all the time.
        InterruptedError: Another process held it until nobody waited any longer.
        OSError: The lock file cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT if exclusive else os.O_RDONLY
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        if exclusive:
            raise
        yield
        return
    try:
        _wait_for(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, time.monotonic() + patience, given_up)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, kind: int, deadline: float, given_up: Callable[[], bool]) -> None:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if given_up():
                raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR)) from None
            if time.monotonic() >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
            time.sleep(_POLL)
        else:
            return
