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
    from collections.abc import Sequence

    from reconciler.base.findings import Finding
    from reconciler.desired.signatures import Signature
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


def has_uncommitted(path: Path) -> bool:
    """Whether files of a desired state lie there otherwise than `HEAD` has them.

    Raises:
        UnreadableInput: There is no repository, or no git program.
    """
    from reconciler.desired.revision import is_dirty  # noqa: PLC0415 - only where git is asked for anything

    return is_dirty(path)


def signed_commit(path: Path, revision: str | None, signers: Sequence[Path]) -> tuple[Signature, ...]:
    """See that what is to be planned is signed, and by whom. What is read then must be the commit that is returned.

    Args:
        path: Folder of the desired state.
        revision: A git revision; None for the files as they lie there, which must be those of `HEAD` then.
        signers: Files that say who may sign. Where there are several, each must allow it.

    Raises:
        NotSigned: It is not signed by somebody who is allowed to.
        UsageError: A file lies in the desired state, or does not say who may sign.
        UnreadableInput: Something cannot be read, or there is no program to verify with.
    """
    from reconciler.desired.signatures import check_signed, read_signers  # noqa: PLC0415 - only where it is asked for

    return check_signed(path, revision, [read_signers(each, path) for each in signers])


@without_cycle_search()
def find_all(state: DesiredState, now: dt.datetime) -> tuple[Finding, ...]:
    """Everything that can be found without asking an appliance, but for what is acknowledged."""
    return acknowledge(state, (*state.findings, *check(state, now)), OFFLINE, now)


def _as_people_name(path: Path) -> str:
    """The folder relative to where the command was started if it lies beneath it: editors and pipelines follow that.

    Beneath the root of all lies everything, and there people name a whole path.
    """
    absolute, here = Path(os.path.abspath(path)), Path.cwd()  # noqa: PTH100 - links are kept as they were typed
    return str(absolute.relative_to(here)) if here.name and absolute.is_relative_to(here) else str(path)
