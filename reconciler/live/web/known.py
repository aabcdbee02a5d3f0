"""Certificates of appliances that came into being under our eyes, remembered beside the operator settings as ssh does.

A file of lines `host:port sha256`; `#` begins a comment. Lines are only ever added, each with one write, so that
several processes may do so at once.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from reconciler.base.errors import StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LINE = re.compile(r"(\S+)\s+([0-9a-f]{64})")


def known_certificates(file: Path | None, endpoint: str) -> frozenset[str]:
    """Fingerprints that are remembered for an interface.

    Args:
        file: The file; it need not exist.
        endpoint: The interface as `host:port`.

    Raises:
        StoreUnreachable: The file is there and cannot be read.
    """
    if file is None:
        return frozenset()
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        problem = f"the known appliances in {file} cannot be read: {error.strerror}"
        raise StoreUnreachable(problem, "mend its permissions") from error
    found = (_LINE.fullmatch(line.strip()) for line in lines)
    return frozenset(match[2] for match in found if match and match[1] == endpoint)


def remember(file: Path | None, endpoint: str, fingerprints: Iterable[str]) -> None:
    """Add certificates of an interface, unless nothing lasts here or the file cannot be written.

    What cannot be remembered must be trusted by hand later; the change that made it necessary has succeeded all the
    same, so that is no reason to fail.
    """
    if file is None:
        return
    try:
        known = known_certificates(file, endpoint)
        new = "".join(f"{endpoint} {each}\n" for each in sorted(set(fingerprints) - known))
        if new:
            descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                # A last line without its end would run together with ours, and both be lost.
                whole = not size or os.pread(descriptor, 1, size - 1) == b"\n"
                os.write(descriptor, (new if whole else f"\n{new}").encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except (OSError, StoreUnreachable):
        return
