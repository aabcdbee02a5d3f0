"""Following references to secrets, at the last moment. A secret is handed on as bytes and never shown."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from reconciler.base.errors import SecretUnavailable
from reconciler.base.references import EnvironmentSecret, FileSecret, SecretReference

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_LONGEST = 65_536


def _read(path: Path) -> bytes | None:
    """The beginning of a regular file. What never ends, or makes its reader wait, is no place for a secret: None."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        return file.read(_LONGEST + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def resolve(reference: SecretReference, environment: Mapping[str, str], folder: Path) -> bytes:
    """Fetch a secret.

    Args:
        reference: Where it is.
        environment: The process's environment.
        folder: Where relative paths start: the folder of the file that names the secret.

    Raises:
        SecretUnavailable: It is not there. The message names the reference and nothing else.
    """
    match reference:
        case EnvironmentSecret(env=name):
            value = environment.get(name)
            if not value:
                raise SecretUnavailable(f"the environment variable {name} is not set", "set it, then run again")
            return value.encode(errors="surrogateescape")  # as Python decoded it: the bytes that were set
        case FileSecret(file=path):
            try:
                content = _read(folder / path)
            except (OSError, ValueError) as error:
                problem = getattr(error, "strerror", None) or "it is not a path"
                raise SecretUnavailable(f"the secret in {path} cannot be read: {problem}", "look at the path") from None
            if content is None or len(content) > _LONGEST:
                raise SecretUnavailable(f"the secret in {path} is in no regular file of some size", "look at the path")
            secret = content.removesuffix(b"\n").removesuffix(b"\r")
            if not secret:
                raise SecretUnavailable(f"the secret in {path} is empty", "put the secret into it")
            return secret
