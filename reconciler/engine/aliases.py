"""Stores that are one and the same though what is declared does not tell: by links, mounts or operator settings."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from reconciler.rules import shared_stores

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from reconciler.base.findings import Finding
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings

PATIENCE = 5.0
"""Seconds that the file system is given to say which paths are the same; then what they say is gone by."""


def aliases(state: DesiredState, settings: OperatorSettings) -> tuple[Finding, ...]:
    """Each of the appliances whose store, as it is worked on, is that of another. Asks the file system."""
    stores = {name: settings.stores.get(name, each.model.store) for name, each in state.appliances.items()}
    paths: list[str] = []
    for store in stores.values():
        store.located(state.root, paths.append)
    real = _real(paths)
    how = ", by a link or by the operator settings"

    def resolve(path: str) -> Hashable:
        return real[path] if path in real else os.path.abspath(path)  # noqa: PTH100 - nothing that could hang is asked

    return tuple(shared_stores(state, stores, resolve, how))


def _real(paths: Iterable[str]) -> Mapping[str, Hashable]:
    """What the file system tells the places of some paths by; without those on which it does not answer."""
    found: dict[str, Hashable] = {}

    def ask() -> None:
        for path in paths:
            found[path] = _place(path)

    # A dead mount can hold a thread for ever: the program neither waits for it nor fails to end because of it.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return found.copy()


def _place(path: str) -> Hashable:
    try:
        status = os.stat(path)  # noqa: PTH116 - one call for each of many stores
    except OSError:
        return os.path.realpath(path)  # it is still to be made
    except ValueError:
        return path  # no file system has such a path
    return status.st_dev, status.st_ino
