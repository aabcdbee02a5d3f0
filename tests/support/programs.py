"""Real programs that tests use (Debian packages). On a developer's machine a missing one skips; in CI it fails."""

from __future__ import annotations

import os
import shutil

import pytest

# Debian keeps servers in a folder that is not on every user's path.
_SEARCH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"))


def require_program(name: str) -> str:
    """Path of an installed program."""
    path = shutil.which(name, path=_SEARCH)
    if path:
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed; CI has to install it", pytrace=False)
    pytest.skip(f"{name} is not installed")
