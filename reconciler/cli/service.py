"""`reconciler init --service`: the systemd unit of `reconciler watch`, for a fleet that is declared already."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.base.text import printable
from reconciler.cli.exits import Exit

if TYPE_CHECKING:
    from reconciler.cli.session import Session


def write_service(session: Session, folder: Path) -> Exit:
    """Write the unit beside the desired state, and say how it is put to use.

    Raises:
        UnreadableInput: The desired state is not there, or the unit is there already.
        UsageError: The operator settings are not understood.
    """
    from reconciler.base.clock import system_clock
    from reconciler.engine.files import write_private
    from reconciler.engine.load import load_desired
    from reconciler.engine.operator import VARIABLE, load_settings
    from reconciler.watch.service import SECRETS, UNIT, Service, unit_text, writable

    root = folder.absolute()
    settings, state = load_settings(session.operator, os.environ, root), load_desired(root)
    named = session.operator or os.environ.get(VARIABLE)
    text = unit_text(
        Service(
            program=_program(),
            desired_state=str(root),
            operator=str(Path(named).absolute()) if named else None,
            user=pwd.getpwuid(os.getuid()).pw_name,
            writable=writable(root, state, settings, system_clock),
        )
    )
    unit = root.parent / UNIT
    write_private(unit, text.encode(), replace=False)
    lines = [
        f"Written: {unit}",
        "",
        "Next:",
        f"  put the secrets that the files name as {{env: NAME}} into {SECRETS}",
        f"  sudo install -m 644 {shlex.quote(str(unit))} /etc/systemd/system/",
        f"  sudo systemctl daemon-reload && sudo systemctl enable --now {UNIT}",
        f"  journalctl -fu {UNIT}",
    ]
    sys.stdout.write("".join(printable(line) + "\n" for line in lines))
    return Exit.DONE


def _program() -> str:
    """The program that runs now, as others can start it."""
    beside = Path(sys.executable).with_name("reconciler")
    return str(beside) if beside.exists() else shutil.which("reconciler") or os.path.abspath(sys.argv[0])  # noqa: PTH100
