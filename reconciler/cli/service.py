"""`reconciler init --service`: the systemd unit of `reconciler watch`, for a fleet that is declared already."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.base.errors import UsageError
from reconciler.base.text import printable
from reconciler.cli.exits import Exit

if TYPE_CHECKING:
    from reconciler.cli.session import Session

_BESIDE = "operator.yaml"
"""What `init` calls the operator settings, beside the desired state."""
_BETTER = "; better remove it, and run this as a user of the service's own"


def write_service(session: Session, folder: Path) -> Exit:
    """Write the unit beside the desired state, and say how it is put to use.

    Raises:
        UnreadableInput: The desired state is not there, or the unit cannot be written.
        UsageError: The unit is there already, or the operator settings are not understood.
    """
    from reconciler.base.clock import system_clock
    from reconciler.engine.files import write_private
    from reconciler.engine.load import load_desired
    from reconciler.engine.operator import VARIABLE, load_settings
    from reconciler.watch.service import ROOT, SECRETS, STATE, UNIT, Service, unit_text, writable

    root = folder.absolute()
    unit, beside = root.parent / UNIT, root.parent / _BESIDE
    if os.path.lexists(unit):
        raise UsageError(f"{unit} is there already", "see what you changed in it, move it away, and run this again")
    variable = os.environ.get(VARIABLE)
    operator = session.operator or (Path(variable) if variable else beside if beside.exists() else None)
    settings, state = load_settings(operator, os.environ, root), load_desired(root)
    user = pwd.getpwuid(os.getuid()).pw_name
    text = unit_text(
        Service(
            program=_program(),
            desired_state=str(root),
            operator=str(operator.absolute()) if operator else None,
            user=user,
            writable=writable(root, state, settings, system_clock),
        )
    )
    write_private(unit, text.encode(), replace=False)
    # It has its memory beneath a folder that the unit names, not where this user's other commands look for it.
    ask = ["sudo", "-u", user, "env", f"XDG_STATE_HOME={STATE}", _program()]
    ask += [*(["--operator", str(operator.absolute())] if operator else []), "status", str(root)]
    lines = [
        f"Written: {unit}",
        f"  operator settings: {operator.absolute() if operator else 'none, so it changes nothing'}",
        f"  user: {user}{_BETTER if user == ROOT else ''}",
        "",
        "Next:",
        f"  put the secrets that the files name as {{env: NAME}} into {SECRETS}",
        f"  sudo install -m 644 {shlex.quote(str(unit))} /etc/systemd/system/",
        f"  sudo systemctl daemon-reload && sudo systemctl enable --now {UNIT}",
        f"  journalctl -fu {UNIT}",
        f"  {shlex.join(ask)}     tells what it knows",
    ]
    sys.stdout.write("".join(printable(line) + "\n" for line in lines))
    return Exit.DONE


def _program() -> str:
    """The program that runs now, as others can start it."""
    beside = Path(sys.executable).with_name("reconciler")
    return str(beside) if beside.exists() else shutil.which("reconciler") or os.path.abspath(sys.argv[0])  # noqa: PTH100
