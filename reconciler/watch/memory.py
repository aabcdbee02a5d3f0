"""What the loop keeps across restarts: the `Watched` document in a folder of its own, which one loop holds at a time.

Nothing depends on it to converge. It knows since when things are as they are, how often they failed, and how many
certificates the loop has removed of late.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.engine.files import write_private
from reconciler.engine.journals import journal_folder
from reconciler.watch.model import FORMAT_VERSION, Watched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.engine.operator import OperatorSettings

FILE = "watch.json"
"""The document."""
_LOCK = "watch.lock"
_LARGEST = 64 * 1024 * 1024


def memory_folder(settings: OperatorSettings, environ: Mapping[str, str]) -> Path:
    """The folder of what the loop knows: where the operator says, else that of the journals.

    Raises:
        UsageError: Nothing says where.
    """
    return Path(settings.watch.state) if settings.watch.state else journal_folder(settings, environ)


def read_watched(folder: Path) -> Watched | None:
    """What a loop knows, or knew when it ended; None where there is nothing that can be understood.

    A newer version may have added to it: that is passed over.
    """
    try:
        with (folder / FILE).open("rb") as file:
            watched = Watched.model_validate_json(file.read(_LARGEST), extra="ignore")
    except (OSError, ValidationError, ValueError):
        return None
    return watched if watched.format_version.split(".")[0] == FORMAT_VERSION.split(".")[0] else None


class Memory:
    """The folder, held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self) -> Watched | None:
        """What the last loop knew."""
        return read_watched(self._folder)

    def keep(self, watched: Watched) -> None:
        """Write it down: it is on the disk, as a whole, when this returns.

        Raises:
            ReconcilerError: It cannot be written.
        """
        write_private(self._folder / FILE, watched.model_dump_json().encode(), replace=True)


@contextmanager
def held(folder: Path) -> Iterator[Memory]:
    """Hold the folder, so that no other loop works with it meanwhile. It is made where it is not there.

    Raises:
        UsageError: Another loop holds it.
        UnreadableInput: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except (OSError, ValueError) as error:  # the latter where it is no path at all
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "name another folder as `state` under `watch` in the operator settings"
        raise UnreadableInput(f"the folder {folder} cannot be written: {reason}", remedy) from error
    try:
        _lock(descriptor, folder)
        yield Memory(folder)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        remedy = "stop it first, or name a folder for each as `state` under `watch` in their operator settings"
        raise UsageError(f"another loop is at work with {folder}", remedy) from error
