"""Files that commands leave for people: complete from the moment they are there. What they hold is not known here."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.base.durable import sync_folder, temporary_for, write_new
from reconciler.base.errors import UnreadableInput, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PRIVATE, _PUBLIC = 0o600, 0o666
_REPLACE = "name another file, or replace it with --force"


def check_place(path: Path, *, replace: bool) -> None:
    """See that a file could be put somewhere, before anything is done for it.

    Args:
        path: Where it is to be.
        replace: Whether a file that is there already may be replaced.

    Raises:
        UsageError: Something is there that must stay, or the folder is not.
    """
    try:
        there = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        if not path.parent.is_dir():
            raise UsageError(f"{path.parent} is no folder", "make it, or name a file in another one") from None
        return
    except OSError as error:
        raise _not_written(path, error) from error
    if not stat.S_ISREG(there.st_mode):
        raise UsageError(f"{path} is there and no regular file", "name another file")
    if not replace:
        raise UsageError(f"{path} is there already", _REPLACE)


def write_private(path: Path, content: bytes, *, replace: bool) -> None:
    """Make a file that only its owner may read. A file that is there is replaced as a whole, or not touched.

    Args:
        path: The file.
        content: What it is to hold.
        replace: Whether a file that is there already may be replaced.

    Raises:
        UsageError: Something is there that must stay.
        UnreadableInput: It cannot be written.
    """
    check_place(path, replace=replace)
    _put(path, content, _PRIVATE, os.replace if replace else _link)


def write_public(path: Path, content: bytes) -> bool:
    """Make or replace a file that anybody may read, unless it holds just that already; whether it was written.

    Raises:
        UsageError: Something is there that is no regular file.
        UnreadableInput: It cannot be written.
    """
    check_place(path, replace=True)
    with suppress(OSError):
        if path.read_bytes() == content:
            return False
    _put(path, content, _PUBLIC, os.replace)
    return True


def _link(temporary: Path, path: Path) -> None:
    """Give a finished file its name; unlike a rename, this fails where the name is taken."""
    path.hardlink_to(temporary)


def _put(path: Path, content: bytes, mode: int, place: Callable[[Path, Path], None]) -> None:
    temporary = temporary_for(path)
    try:
        write_new(temporary, content, mode)
        place(temporary, path)
        sync_folder(path.parent)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already", _REPLACE) from error
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _not_written(path: Path, error: OSError) -> UnreadableInput:
    return UnreadableInput(f"{path} cannot be written: {error.strerror or error}", "name a file in another folder")
