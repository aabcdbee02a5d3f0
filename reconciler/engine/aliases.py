"""Stores that are one and the same though what is declared does not tell: by links, mounts or operator settings."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.rules import shared_stores

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from reconciler.base.findings import Finding
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings

PATIENCE = 5.0
"""Seconds that the file system is given to say which paths are the same, and once more for those that one held up."""

# What a check remembers for the next one, for as long as the program runs, so that a path that hangs costs one wait and
# one thread, however often is checked, and an alias that was found stays found. Each access is one step that no other
# thread can come between; only who asks takes turns, so that all that is still asked of then has been given up.
_TURN = threading.Lock()
_TOLD: dict[str, Hashable] = {}
"""What the file system last told the place of a path by."""
_ASKED: set[str] = set()
"""The paths of which it is being asked."""


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
    """What the file system tells the places of paths by, or told last where it does not answer."""
    with _TURN:
        left = deque(path for path in dict.fromkeys(paths) if path not in _ASKED)
        _ask(left, 1)
        _ask(left, len(left))  # what one of them holds up is asked apart
        return _TOLD.copy()


def _ask(left: deque[str], threads: int) -> None:
    """Ask of paths in so many threads at most, and wait for the answers as long as there is patience."""
    asking: list[threading.Thread] = []
    with suppress(RuntimeError):  # no more threads are to be had: the rest is asked of at the next check
        while left and len(asking) < threads:
            # A dead mount can hold a thread for ever: the program neither waits for it nor fails to end because of it.
            thread = threading.Thread(target=_answer, args=(left,), daemon=True)
            thread.start()
            asking.append(thread)
    until = time.monotonic() + PATIENCE
    for thread in asking:
        thread.join(max(0.0, until - time.monotonic()))


def _answer(left: deque[str]) -> None:
    """Ask of one path after another, until none is left."""
    with suppress(IndexError):
        while True:
            path = left.popleft()
            _ASKED.add(path)
            try:
                _TOLD[path] = _place(path)
            finally:
                _ASKED.discard(path)


def _place(path: str) -> Hashable:
    try:
        status = os.stat(path)  # noqa: PTH116 - one call for each of many stores
    except OSError:
        return os.path.realpath(path)  # it is still to be made
    except ValueError:
        return path  # no file system has such a path
    return status.st_dev, status.st_ino
