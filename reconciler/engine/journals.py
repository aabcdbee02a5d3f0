"""Where the journals of applies lie: where the operator says, else with the state of whoever runs the reconciler."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.engine.operator import OperatorSettings

_OURS = Path("reconciler", "journal")


def journal_folder(settings: OperatorSettings, environ: Mapping[str, str]) -> Path:
    """The folder of the journals; it need not be there yet.

    Without a setting it is that of the XDG Base Directory Specification: beneath `XDG_STATE_HOME`, which counts only
    where it is absolute, else beneath `~/.local/state`.

    Raises:
        UsageError: Nothing says where.
    """
    if settings.journal is not None:
        return Path(settings.journal)
    state, home = (Path(environ.get(name, "")) for name in ("XDG_STATE_HOME", "HOME"))
    if state.is_absolute():
        return state / _OURS
    if home.is_absolute():
        return home / ".local" / "state" / _OURS
    raise UsageError("nothing says where journals lie", "name a folder as `journal` in the operator settings")
