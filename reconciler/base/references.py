"""The typed scalars of the YAML: durations, references to secrets, committed material, places.

They are pydantic types, so that every model that uses them (a driver's configuration included) validates them alike
and describes them in its JSON Schema. Relative paths are resolved against the file that names them; the loader passes
that file's path in the validation context (`{"file": "appliances/east-1.yaml"}`, relative to the desired state).

What they refuse, they refuse with `refused`, whose sentences reach people as they are. A driver's model may raise a
plain `ValueError` instead and leave the remedy to the loader.
"""

from __future__ import annotations

import datetime as dt
import posixpath
import re
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

REFUSED = "refused"
"""Type of the validation errors that carry our own sentences."""


def refused(message: str, remedy: str, rule: str = "invalid-value") -> PydanticCustomError:
    """A validation error that says what is wrong and what to do, and which rule of form it breaks.

    Args:
        message: What is wrong, in one sentence without a final full stop.
        remedy: What to do.
        rule: Id of the rule.
    """
    return PydanticCustomError(REFUSED, "{message}", {"message": message, "remedy": remedy, "rule": rule})


def told_pattern(pattern: str, message: str) -> dict[str, Any]:
    """A pattern for a JSON Schema, with what an editor says where a value does not match it."""
    return {"pattern": pattern, "patternErrorMessage": message}


class Model(BaseModel):
    """Base of everything that is read from YAML: frozen, no unknown keys, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class StoreConfiguration(Model):
    """Base of every driver's options: the keys beneath `store:`."""

    driver: str
    """Which driver: the name of its entry point."""

    @property
    def place(self) -> str:
        """The store that is meant, in a line for people and for the digest of a plan: it names no secret."""
        return self.driver

    def located(self, root: str, resolve: Callable[[str], Hashable]) -> Hashable:  # noqa: ARG002 - for drivers
        """What is equal for two stores that are one and the same; None where a driver does not say.

        Args:
            root: Folder of the desired state, where relative places start.
            resolve: Makes one value of all paths that lead to the same place.
        """
        return None


_DURATION = re.compile(r"([1-9][0-9]{0,5})([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def parse_duration(value: object) -> dt.timedelta:
    """Read `30d`, `48h` or `90m`.

    Raises:
        PydanticCustomError: It is none of these.
    """
    if isinstance(value, dt.timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise refused("this is not a duration", "write days, hours or minutes: 30d, 48h or 90m")
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
    WithJsonSchema(
        {
            "type": "string",
            **told_pattern("^[1-9][0-9]{0,5}[dhm]$", "Write days, hours or minutes: 30d, 48h or 90m."),
            "examples": ["30d", "48h", "90m"],
        }
    ),
]
"""A time span: days, hours or minutes."""


def _beside(value: str, info: ValidationInfo) -> str:
    context: Any = info.context or {}
    folder = posixpath.dirname(str(context.get("file", "")))
    return posixpath.normpath(posixpath.join(folder, value))


def _variable(value: str) -> str:
    # What stands here may be the secret itself, put there by mistake: it is not repeated.
    if not re.fullmatch(_VARIABLE, value):
        raise refused("this is not the name of an environment variable", "write letters, digits and underscores")
    return value


_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


class EnvironmentSecret(Model):
    """A secret that an environment variable holds."""

    env: Annotated[str, AfterValidator(_variable), Field(json_schema_extra={"pattern": f"^{_VARIABLE}$"})]
    """Name of the environment variable."""


def _outside(value: str, info: ValidationInfo) -> str:
    path = _beside(value, info)
    if info.context and "file" in info.context and not posixpath.isabs(path) and path.split("/")[0] != "..":
        raise refused(
            "the file of a secret may not lie inside the desired state",
            "keep it where it is not committed, or use an environment variable: `{env: NAME}`",
            "secret-literal",
        )
    return value


class FileSecret(Model):
    """A secret that a file outside the desired state holds."""

    file: Annotated[str, Field(min_length=1), AfterValidator(_outside)]
    """Path of the file, relative to the file that names it; a final line break is not part of the secret."""


_REFER = "refer to it: `{env: NAME}` for an environment variable, `{file: PATH}` for a file that is not committed"


def _secret(value: object) -> object:
    if isinstance(value, EnvironmentSecret | FileSecret):
        return value
    if not isinstance(value, dict):
        raise refused("a secret may not be written here", _REFER, "secret-literal")
    if len(value) != 1 or not value.keys() <= {"env", "file"}:
        raise refused("this is not a reference to a secret", _REFER)
    return value


def _secret_tag(value: object) -> str:
    by_file = "file" in value if isinstance(value, dict) else isinstance(value, FileSecret)
    return "{file}" if by_file else "{env}"


SecretReference: TypeAlias = Annotated[
    Annotated[EnvironmentSecret, Tag("{env}")] | Annotated[FileSecret, Tag("{file}")],
    Discriminator(_secret_tag),
    BeforeValidator(_secret),
]
"""Where a secret is found when it is needed. Never the secret itself."""


class CommittedPath(str):
    """Path of committed material from the root of the desired state; the loader finds it by its type in any model."""

    __slots__ = ()


def _material(value: str, info: ValidationInfo) -> CommittedPath:
    if posixpath.isabs(value):
        raise refused(
            "committed material may not be named by an absolute path",
            "write the path relative to this file",
            "material-outside",
        )
    path = _beside(value, info)
    if path == ".." or path.startswith("../"):
        raise refused(
            "committed material may not lie outside the desired state",
            "commit a copy inside it, and name that",
            "material-outside",
        )
    return CommittedPath(path)


MaterialPath: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(_material)]
"""A committed file, named relative to the file that names it. Its value is the path from the desired state's root."""

PlacePath: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(_beside)]
"""A place on this machine, not committed. Its value is absolute, or relative to the desired state's root."""


def _fingerprint(value: str) -> str:
    text = value.replace(":", "").lower()
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise refused("this is not a SHA-256 fingerprint", "write 64 hexadecimal digits in quotes, colons allowed")
    return text


Fingerprint: TypeAlias = Annotated[
    str,
    AfterValidator(_fingerprint),
    Field(
        json_schema_extra=told_pattern(
            "^(?:[0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2}$", "Write 64 hexadecimal digits in quotes, colons allowed."
        )
    ),
]
"""SHA-256 of a certificate, as lower-case hex without colons."""
