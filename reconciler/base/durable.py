"""Files that are on the disk, as a whole, before anything else happens.

A file comes into being complete: it is written under a temporary name beside the place where it belongs, flushed, and
then given its name; after that its folder is flushed. What a crash leaves is the old file or the new one, and at worst
a temporary one. The functions of `os` are called by their names, so that tests can break off each of them.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TEMPORARY = ".reconciler-new-"
"""How temporary names start. HAProxy's `crt DIR/` passes over dot-files."""


def temporary_for(path: Path) -> Path:
    """A name beside a file that is to take its place; nobody else has it."""
    return path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")


def write_new(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Make a new file, and flush it to the disk.

    Args:
        path: The file.
        content: What it is to hold.
        mode: Who may read it, less what the process takes away from everybody; its owner only unless told.

    Raises:
        OSError: It exists, or cannot be written; what was begun may be left behind.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that what was made, renamed and removed in it lasts."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
