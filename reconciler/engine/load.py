"""Loading a desired state with the options of every installed driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.desired.load import load
from reconciler.desired.tree import open_tree
from reconciler.live.driver import driver_types

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.desired.state import DesiredState


def load_desired(path: Path, revision: str | None = None) -> DesiredState:
    """Read a desired state from a work tree, or from a git revision. Whatever is wrong with the files is a finding.

    Raises:
        UnreadableInput: The folder, the repository or the revision is not there.
    """
    drivers = {name: each.configuration for name, each in driver_types().items()}
    return load(open_tree(path, revision), drivers, display_root=str(path))
