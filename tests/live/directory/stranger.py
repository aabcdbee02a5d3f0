"""Run as `python -m tests.live.directory.stranger FOLDER`: uses FOLDER/store as a user who may not do everything.

Tests may run as root, whom no permission stops, so this gives up root first. It says what each attempt came to.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.base.errors import StoreError
from tests.live.contract import form
from tests.live.directory.stores import store_at

if TYPE_CHECKING:
    from collections.abc import Callable

_NOBODY = 65534


def give_up_root(root: Path) -> None:
    for each in (*root.rglob("*"), root):
        if each.name != "secret.pem":
            os.chown(each, _NOBODY, _NOBODY, follow_symlinks=False)
    os.setgroups([])
    os.setgid(_NOBODY)
    os.setuid(_NOBODY)


def attempt(operation: Callable[[], object]) -> None:
    try:
        said = operation()
    except StoreError as error:
        said = f"{type(error).__name__} {error}"
    sys.stdout.write(f"{said}\n")


def main() -> None:
    os.chdir(sys.argv[1])
    root = Path("store")
    (root / "secret.pem").chmod(0)
    if os.getuid() == 0:
        # What is imported at first use may lie where nobody else may read.
        store_at(Path("warm")).create("factory")
        store_at(Path("warm")).create_self_signed(form(), dt.timedelta(days=1))
        store_at(Path("warm")).create_request(form())
        give_up_root(root)
    store = store_at(root)
    attempt(store.observe)
    (root / "secret.pem").unlink()
    root.chmod(0o500)
    attempt(lambda: store.set_default("0" * 64))
    attempt(lambda: store.create_self_signed(form(), dt.timedelta(days=1)))
    (root / ".store").chmod(0o500)
    attempt(lambda: store.create_request(form()))
    attempt(lambda: len(store.observe().certificates))
    root.chmod(0)
    attempt(store.observe)
    attempt(store.exists)


if __name__ == "__main__":
    main()
