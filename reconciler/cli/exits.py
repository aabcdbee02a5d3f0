"""Exit codes: what a command tells the shell and the pipeline that called it. Nothing else here knows them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What came of a command."""

    DONE = 0
    """Done; with `--detailed-exitcode`: nothing to change."""
    COULD_NOT = 1
    """Usage, unreadable input, an appliance that could not be observed."""
    CHANGES = 2
    """With `--detailed-exitcode`: there are changes."""
    FINDINGS = 3
    """Findings of severity error: the desired state, or the plan, breaks a rule."""
    STALE = 4
    """What was reviewed no longer fits what is there."""
    FAILED = 5
    """Apply ended with some appliances failed."""
    HELD = 6
    """With `--detailed-exitcode`: in step, except for what is held or waiting."""


_PRECEDENCE = (Exit.COULD_NOT, Exit.FAILED, Exit.STALE, Exit.FINDINGS, Exit.CHANGES, Exit.HELD, Exit.DONE)


def worst(*exits: Exit) -> Exit:
    """The one to tell where several hold: 1 > 5 > 4 > 3 > 2 > 6 > 0; done where none is given."""
    return min(exits, key=_PRECEDENCE.index, default=Exit.DONE)
