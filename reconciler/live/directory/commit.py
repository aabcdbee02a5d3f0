"""Carrying out the steps of a change on the disk: everything is written and tried first, and only then put in place.

Whatever can be refused is refused while nothing has happened yet: a full disk, a directory that may not be written to,
a file that OpenSSL - the library of HAProxy and of this Python alike - would not load at its security level. From the
first step on the marker of a due reload lasts until a reload has succeeded, whatever happens in between.
"""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, assert_never

from reconciler.base.durable import TEMPORARY, write_new
from reconciler.base.errors import ActionRefused, EffectUnknown
from reconciler.base.text import printable
from reconciler.live.directory.change import Link, Unlink, Write, changes_serving
from reconciler.live.directory.files import make_folder, publish, reason, shown, sweep, unlink
from reconciler.live.directory.snapshot import CERTIFICATES, RELOAD_DUE, REQUESTS, STORE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reconciler.live.directory.change import Step

_OBSERVE = "look at the store's status, mend the cause, and run the reconciler again: it goes on from what is there"


def prepare(root: Path) -> None:
    """Make the folders of `.store/`, and sweep away what an interrupted change left.

    Raises:
        OSError: They cannot be made.
    """
    for folder in (root, root / STORE, root / CERTIFICATES, root / REQUESTS):
        make_folder(folder)
        sweep(folder)


def commit(root: Path, steps: Sequence[Step], *, reload_due: bool, reload: Callable[[], None]) -> None:
    """Carry out steps, then reload where that is due.

    Args:
        root: The directory.
        steps: In order; see `reconciler.live.directory.change`.
        reload_due: Whether an earlier change left a reload due.
        reload: Makes the front end load the directory anew.

    Raises:
        ActionRefused: Nothing has happened.
        EffectUnknown: It broke off midway, or the reload failed. The marker of a due reload is there.
    """
    staged = _stage(root, steps)
    try:
        if any(changes_serving(step) for step in steps) and not reload_due:
            write_new(root / f"{STORE}/{TEMPORARY}due", b"")
            publish(root / f"{STORE}/{TEMPORARY}due", root / RELOAD_DUE)
            reload_due = True
        for step, temporary in zip(steps, staged, strict=True):
            if temporary is None:
                unlink(root / step.path)
            else:
                publish(temporary, root / step.path)
        if reload_due:
            reload()
            unlink(root / RELOAD_DUE)
    except OSError as error:
        raise EffectUnknown(f"the change of {shown(root)} broke off: {reason(error)}", _OBSERVE) from error


def _stage(root: Path, steps: Sequence[Step]) -> list[Path | None]:
    """Write everything that will be needed, under temporary names, and try whether it can be served."""
    staged: list[Path | None] = []
    try:
        for index, step in enumerate(steps):
            temporary = (root / step.path).with_name(f"{TEMPORARY}{index}")
            match step:
                case Write():
                    staged.append(temporary)
                    write_new(temporary, step.content)
                    if step.is_served:
                        _try(temporary, step.path)
                case Link():
                    staged.append(temporary)
                    os.symlink(step.target, temporary)  # noqa: PTH211 - one seam for all file operations
                case Unlink():
                    staged.append(None)
                case _:
                    assert_never(step)
    except (OSError, ActionRefused) as error:
        for each in filter(None, staged):
            with suppress(OSError):
                unlink(each)
        if isinstance(error, ActionRefused):
            raise
        raise ActionRefused(
            f"nothing can be written to {shown(root)}: {reason(error)}",
            "check permissions and free space; nothing was changed",
        ) from error
    return staged


def _try(temporary: Path, path: str) -> None:
    """Load a file as a server would.

    Raises:
        ActionRefused: It could not be served.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(temporary)
    except ssl.SSLError as error:
        why = printable((error.reason or "unknown").replace("_", " ").lower())
        raise ActionRefused(
            f"a TLS front end would not load {printable(path)} with its chain and key: OpenSSL says {why!r}",
            "use certificates, in the chain as well, with keys and signatures of today's strength",
        ) from error
