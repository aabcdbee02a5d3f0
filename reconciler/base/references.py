"""The typed scalars of the YAML: durations, references to secrets, committed material, places.

They are pydantic types, so that every model that uses them (a driver's configuration included) validates them alike
and describes them in its JSON Schema. Relative paths are resolved against the file that names them; the loader passes
that file's path in the validation context (`{"file": "appliances/east-1.yaml"}`, relative to the desired state).
"""

from __future__ import annotations

import datetime as dt
import posixpath
import re
from typing import Annotated, Any, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.functional_validators import AfterValidator


class Model(BaseModel):
    """Base of everything that is read from YAML: frozen, no unknown keys, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class StoreConfiguration(Model):
    """Base of every driver's options: the keys beneath `store:`."""

    driver: str
    """Which driver: the name of its entry point."""


_DURATION = re.compile(r"([1-9][0-9]{0,5})([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def parse_duration(value: object) -> dt.timedelta:
    """Read `30d`, `48h` or `90m`.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, dt.timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError("a duration reads like 30d, 48h or 90m")
    return dt.timedelta(**{_UNITS[match[2]]: int(match[1])})


def format_duration(value: dt.timedelta) -> str:
    """Write a duration the way it is read, in the largest unit that keeps it exact."""
    minutes = int(value.total_seconds()) // 60
    for size, unit in ((24 * 60, "d"), (60, "h")):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"


Duration: TypeAlias = Annotated[
    dt.timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,5}[dhm]$", "examples": ["30d", "48h", "90m"]}),
]
"""A time span: days, hours or minutes."""


class EnvironmentSecret(Model):
    """A secret that an environment variable holds."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """Name of the environment variable."""


class FileSecret(Model):
    """A secret that a file outside the desired state holds."""

    file: Annotated[str, Field(min_length=1)]
    """Path of the file, relative to the file that names it; a final line break is not part of the secret."""


SecretReference: TypeAlias = EnvironmentSecret | FileSecret
"""Where a secret is found when it is needed. Never the secret itself."""


def _beside(value: str, info: ValidationInfo) -> str:
    context: Any = info.context or {}
    folder = posixpath.dirname(str(context.get("file", "")))
    return posixpath.normpath(posixpath.join(folder, value))


def _material(value: str, info: ValidationInfo) -> str:
    if posixpath.isabs(value):
        raise ValueError("committed material is named by a path relative to this file")
    path = _beside(value, info)
    if path == ".." or path.startswith("../"):
        raise ValueError("committed material may not lie outside the desired state")
    return path


class MaterialMark:
    """Marks a field as committed material, so that the loader finds it in any model."""


MaterialPath: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(_material), MaterialMark()]
"""A committed file, named relative to the file that names it. Its value is the path from the desired state's root."""

PlacePath: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(_beside)]
"""A place on this machine, not committed. Its value is absolute, or relative to the desired state's root."""
