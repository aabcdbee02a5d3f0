"""Files that are on the disk, as a whole, before anything else happens; and read back if they are files at all.

A file comes into being complete: it is written under a temporary name beside the place where it belongs, flushed, and
then given its name; after that its folder is flushed. What a crash leaves is the old file or the new one, and at worst
a temporary one. The functions of `os` are called by their names, so that tests can break off each of them.
"""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING

from reconciler.base.errors import FormatError

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


def read_file(path: Path, most: int) -> bytes:
    """The content of a regular file.

    Args:
        path: The file; symbolic links are not followed.
        most: The largest size that is read, in bytes.

    Raises:
        FormatError: It is larger, or no regular file.
        OSError: It cannot be read.
    """
    # O_NONBLOCK: a named pipe put in the file's place must not make us wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FormatError("it is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1) if status.st_size <= most else None
    finally:
        os.close(descriptor)
    if content is None or len(content) > most:
        raise FormatError(f"it is larger than {most} bytes")
    return content
