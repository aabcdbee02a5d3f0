"""Breaking off at the N-th file operation: as a crash does, or as a disk that says no.

Only what changes something is counted: opening for writing, flushing, renaming, linking, removing, making folders.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OPERATIONS = ("open", "fsync", "replace", "symlink", "unlink", "mkdir")


class Crash(BaseException):
    """The process ends here. No `except Exception` and no `except OSError` may notice."""


@dataclass
class Disk:
    """What happened on the disk, and where it breaks off.

    Attributes:
        breaks_at: Number of the operation that does not happen, from 0; None where all do.
        error: What is raised instead.
        happened: Name and first argument of each operation so far, the first that did not happen included.
    """

    breaks_at: int | None = None
    error: Callable[[], BaseException] = Crash
    happened: list[tuple[str, Any]] = field(default_factory=list)

    def pass_through(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - stands for any of them
            if name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR):
                return original(*arguments, **options)
            count = len(self.happened)
            # A full disk stays full, but what is on it can still be removed.
            if count == self.breaks_at or (self.breaks_at is not None and count > self.breaks_at and name != "unlink"):
                self.happened.append((name, arguments[0]))
                raise self.error()
            result = original(*arguments, **options)
            self.happened.append((name, arguments[0]))
            return result

        return operation


@contextmanager
def disk(breaks_at: int | None = None, error: Callable[[], BaseException] = Crash) -> Iterator[Disk]:
    """Watch, and break off, the file operations of a block."""
    watched = Disk(breaks_at, error)
    with pytest.MonkeyPatch.context() as patch:
        for name in _OPERATIONS:
            patch.setattr(os, name, watched.pass_through(name, getattr(os, name)))
        yield watched


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
