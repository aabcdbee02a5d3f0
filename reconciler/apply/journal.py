"""The journal: what an apply set out to do and what came of it, written as it happens.

One file per apply, JSON lines: `begin`, then `intent` before and `outcome` after each action, then `end`. Every line is
on the disk before anything else happens. It tells people what was done when, and what an interrupted apply left
(`reconciler.apply.history` reads it); nothing depends on it to converge. It holds no key, no passphrase, no file.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from reconciler.apply.result import Outcome
from reconciler.base.durable import sync_folder
from reconciler.base.errors import UnreadableInput
from reconciler.plan.model import Progress, State

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from reconciler.apply.result import ApplianceResult, StepResult
    from reconciler.base.clock import Clock
    from reconciler.plan.model import Action, Plan

FORMAT_VERSION = "1.1"
SUFFIX = ".jsonl"


class Journal(Protocol):
    """Where an executor notes what it does."""

    def intend(self, action: Action) -> None:
        """Note that an action is about to run.

        Raises:
            UnreadableInput: It cannot be noted, so that the action should not run.
        """

    def record(self, result: StepResult) -> None:
        """Note what came of an action. Never raises: what has happened has happened."""


class Unwritten:
    """A journal that keeps nothing."""

    def intend(self, action: Action) -> None:
        """Note nothing."""

    def record(self, result: StepResult) -> None:
        """Note nothing."""


class WrittenJournal:
    """The journal of one apply, in a file of its own that nobody else may read.

    Attributes:
        path: The file.
        problem: Why something that had happened could not be noted, or None.
    """

    def __init__(self, folder: Path, plan: Plan, root: str, clock: Clock) -> None:
        """Begin a journal.

        Args:
            folder: Where journals lie; it is made where it is not there.
            plan: What is about to be carried out.
            root: Folder of the desired state.
            clock: The time.

        Raises:
            UnreadableInput: It cannot be written.
        """
        self._clock = clock
        self.problem: UnreadableInput | None = None
        try:
            self.path, self._file = _make(folder, clock())
        except (OSError, ValueError) as error:  # the latter where it is no path at all
            raise _unwritable(folder, error) from error
        self._length = 0
        try:
            # Whoever holds the lock is at work; a file without an end that nobody holds was interrupted.
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._write("begin", **_beginning(plan, root))
            sync_folder(folder)
        except OSError as error:
            self.close()
            with suppress(OSError):
                self.path.unlink()
            raise _unwritable(self.path, error) from error

    def intend(self, action: Action) -> None:
        """Note that an action is about to run."""
        try:
            self._write("intent", action=action.id)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def record(self, result: StepResult) -> None:
        """Note what came of an action."""
        made = {"made": result.made} if result.made else {}
        message = {"message": result.message} if result.message else {}
        self._note("outcome", action=result.action, outcome=result.outcome.value, **made, **message)

    def end(self, results: Iterable[ApplianceResult]) -> None:
        """Note how it ended."""
        outcomes = {each.appliance: each.outcome.value for each in results if each.outcome is not Outcome.UNCHANGED}
        self._note("end", appliances=outcomes)

    def close(self) -> None:
        """Close the file. Without `end` before, the apply counts as interrupted."""
        if self._file >= 0:
            descriptor, self._file = self._file, -1
            with suppress(OSError):
                os.close(descriptor)

    def _note(self, event: str, **more: object) -> None:
        try:
            self._write(event, **more)
        except OSError as error:
            self.problem = self.problem or _unwritable(self.path, error)

    def _write(self, event: str, **more: object) -> None:
        line = json.dumps({"at": f"{self._clock():%Y-%m-%dT%H:%M:%SZ}", "event": event, **more})
        left = memoryview(f"{line}\n".encode())
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError:
            # Half a line would spoil the next one, and one that nobody knows to be on the disk says too much.
            with suppress(OSError):
                os.ftruncate(self._file, self._length)
            raise
        self._length += len(line) + 1


def _make(folder: Path, began: dt.datetime) -> tuple[Path, int]:
    """A new file, called by the instant at which the apply began and by its number within that second."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in count(1):
        path = folder / f"{began:%Y%m%dT%H%M%SZ}-{number:02}{SUFFIX}"
        with suppress(FileExistsError):
            return path, os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    raise AssertionError  # pragma: no cover - numbers do not end


def _beginning(plan: Plan, root: str) -> dict[str, object]:
    ready = [each for each in plan.actions if each.state is State.READY]
    return {
        "format_version": FORMAT_VERSION,
        "desired_state": place(root),
        "revision": plan.basis.revision,
        "plan": plan.digest,
        "appliances": [each.name for each in plan.appliances if each.progress is Progress.PLANNED],
        "actions": [
            {
                "id": each.id,
                "kind": each.kind,
                "appliance": each.appliance,
                "label": each.label,
                "certificate": each.certificate,
            }
            for each in ready
        ],
    }


def place(root: str) -> str:
    """A folder of a desired state as journals call it: one is never taken for another of the same name elsewhere."""
    return str(Path(root).resolve())


def _unwritable(path: Path, error: OSError | ValueError) -> UnreadableInput:
    reason = getattr(error, "strerror", None) or str(error)
    remedy = "make room, or name another folder as `journal` in the operator settings"
    return UnreadableInput(f"the journal {path} cannot be written: {reason}", remedy)
