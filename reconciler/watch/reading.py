"""What a source of the desired state hands to the loop, and when a commit is broken.

Errors of form stop their site and nothing else, so a commit that has some is in force like any other. One of which
nothing can be understood for certain is not: then the last good one stays in force.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from reconciler.base.text import printable
from reconciler.desired import rules

if TYPE_CHECKING:
    from reconciler.base.findings import Finding
    from reconciler.desired.state import DesiredState

_NOTHING = frozenset({rules.NOTHING_DECLARED.id, rules.TOO_MANY_FILES.id})
"""Rules that are broken where there is no desired state at all."""
_ILLEGIBLE = frozenset(
    each.id for each in (rules.YAML_SYNTAX, rules.YAML_LIMIT, rules.FILE_TOO_LARGE, rules.FILE_UNREADABLE)
)
"""Rules that are broken where a file could not be read: what it would have declared is unknown."""


class Trouble(StrEnum):
    """Why what a source offers is not in force."""

    UNREACHABLE = "Unreachable"
    """The source cannot be asked, or keeps changing while it is read."""
    BROKEN = "Broken"
    """It cannot be read as a desired state."""
    NOT_SIGNED = "NotSigned"
    """Nobody who is allowed to has signed it."""


@dataclass(frozen=True)
class Reading:
    """What a source offers.

    Attributes:
        state: The newest desired state; None where there is none that may be in force.
        signed_by: Who signed it, where that is demanded.
        trouble: Why there is none.
        refused: The commit, or digest of the folder, that may not be in force; None where none was seen.
        message: Why, in one sentence for people; it can be encoded, whatever the files are called.
        left: The last commit that was read and not refused, where it is no ancestor of this one: the branch went back,
            or its history was written anew. None where history only grew, or nobody knows.
    """

    state: DesiredState | None = None
    signed_by: tuple[str, ...] = ()
    trouble: Trouble | None = None
    refused: str | None = None
    message: str = ""
    left: str | None = None

    @classmethod
    def of(cls, state: DesiredState, signed_by: tuple[str, ...] = ()) -> Reading:
        """A desired state that was just loaded, unless it is broken."""
        problem = next((each for each in state.findings if _is_broken(each)), None)
        if problem is None:
            return cls(state, signed_by)
        return cls(trouble=Trouble.BROKEN, refused=state.revision or state.digest, message=printable(str(problem)))

    @classmethod
    def refusal(cls, trouble: Trouble, message: str, refused: str | None = None) -> Reading:
        """Nothing that may be in force, and why."""
        return cls(trouble=trouble, refused=refused, message=printable(message))


def _is_broken(finding: Finding) -> bool:
    declares = finding.about is not None and finding.position is not None and finding.position.file.endswith(".yaml")
    return finding.rule in _NOTHING or (finding.rule in _ILLEGIBLE and declares)


class DesiredSource(Protocol):
    """Where the desired state comes from: a folder, or a branch that is followed."""

    @property
    def place(self) -> str:
        """The folder, or remote and branch, as people name it."""

    async def read(self) -> Reading:
        """What is newest. Where it is not as it should be the reading says so; nothing is raised."""

    async def earlier(self, revision: str) -> Reading:
        """A commit that was in force before the loop was started, for as long as the newest may not be.

        A folder can have one only where its files have to be those of a signed commit.
        """

    async def wait(self) -> None:
        """Return when there may be something newer than what was read last."""
