"""From a folder or a git revision to the desired state, with everything that the rules say of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

# Declaring the rules of planning is all that is wanted of it here: an acknowledgement may name any rule.
import reconciler.plan.rules  # noqa: F401
from reconciler.base.memory import without_cycle_search
from reconciler.desired.load import load
from reconciler.desired.tree import open_tree
from reconciler.live.driver import driver_types
from reconciler.rules import OFFLINE, acknowledge, check

if TYPE_CHECKING:
    import datetime as dt

    from reconciler.base.findings import Finding
    from reconciler.desired.state import DesiredState


@without_cycle_search()
def load_desired(path: Path, revision: str | None = None) -> DesiredState:
    """Read a desired state with the options of all installed drivers. Problems of form are among its findings.

    Args:
        path: The folder.
        revision: A git revision to read it from; None for the files as they lie there.

    Raises:
        UnreadableInput: The folder, the repository or the revision is not there.
    """
    options = {name: each.configuration for name, each in driver_types().items()}
    return load(open_tree(path, revision), options, display_root=_as_people_name(path))


@without_cycle_search()
def find_all(state: DesiredState, now: dt.datetime) -> tuple[Finding, ...]:
    """Everything that can be found without asking an appliance, but for what is acknowledged."""
    return acknowledge(state, (*state.findings, *check(state, now)), OFFLINE, now)


def _as_people_name(path: Path) -> str:
    """The folder relative to where the command was started if it lies beneath it: editors and pipelines follow that."""
    absolute, here = Path(os.path.abspath(path)), Path.cwd()  # noqa: PTH100 - links are kept as they were typed
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(path)
