"""What the loop keeps across restarts: the `Watched` document in a folder of its own, which one loop holds at a time.

Nothing depends on it to converge. It knows since when things are as they are, how often they failed, and how many
certificates the loop has removed of late.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.base.durable import TEMPORARY, read_file
from reconciler.base.errors import FormatError, UnreadableInput, UsageError
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
_PATIENCE, _POLL = 0.5, 0.1
"""For how long the folder is tried to be held, and how often, in seconds: `at_work` holds it for an instant."""
_MOVE = "the next loop writes it anew; look at it before, if a newer version has written it"
_log = logging.getLogger(__name__)


def memory_folder(settings: OperatorSettings, environ: Mapping[str, str]) -> Path:
    """The folder of what the loop knows: where the operator says, else that of the journals.

    Raises:
        UsageError: Nothing says where.
    """
    return Path(settings.watch.state) if settings.watch.state else journal_folder(settings, environ)


def read_watched(folder: Path) -> Watched | None:
    """What a loop knows, or knew when it ended; None where there is nothing.

    A newer version may have added to it: that is passed over.

    Raises:
        UnreadableInput: Something is there that cannot be read, or not be understood.
    """
    path = folder / FILE
    try:
        watched = Watched.model_validate_json(read_file(path, _LARGEST), extra="ignore")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, FormatError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableInput(f"{path} cannot be read: {reason}", "see what it is, and who may read it") from error
    except ValueError:  # pydantic's own tells at length what does not fit
        raise UnreadableInput(f"{path} is not understood: it is cut short, or of another version", _MOVE) from None
    if watched.format_version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise UnreadableInput(f"{path} is not understood: its version is {watched.format_version}", _MOVE)
    return watched


def at_work(folder: Path) -> bool | None:
    """Whether a loop holds the folder now; None where whoever asks may not know."""
    try:
        # O_NONBLOCK: a named pipe put in the file's place must not make us wait for a writer.
        descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):  # the latter where it is no path at all
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Memory:
    """The folder, held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self) -> Watched | None:
        """What the last loop knew. Where that is there and not understood it is as if it were not, and is told."""
        try:
            return read_watched(self._folder)
        except UnreadableInput as error:
            _log.warning(
                "what the last loop knew is lost: %s; what it removed in the last 24 hours is not counted",
                error.message,
            )
            return None

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
        _sweep(folder)
        yield Memory(folder)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                remedy = "stop it first, or name a folder for each as `state` under `watch` in their operator settings"
                raise UsageError(f"another loop is at work with {folder}", remedy) from error
            time.sleep(_POLL)
        else:
            return


def _sweep(folder: Path) -> None:
    """Remove what loops left that were killed while they wrote down what they knew."""
    for each in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            each.unlink()
