"""Reading journals: what was applied when, and what an interrupted apply left.

Journals outlive versions, full disks and power cuts: a line that is cut short or not understood is passed over.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from reconciler.apply.journal import SUFFIX, place
from reconciler.apply.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_LARGEST = 64 * 1024 * 1024
_LOOKED_AT = 32
"""How many journals are searched for interrupted applies: as many as may well be at work at once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One apply, as its journal tells it.

    Attributes:
        id: What it is called: the name of its journal.
        path: The journal.
        began: When it began.
        ended: When it ended; None where it was interrupted, or is still at work.
        running: Whether it is still at work.
        desired_state: The folder of the desired state.
        revision: The git commit, or None for a work tree.
        plan: Digest of the plan.
        planned: The appliances that were planned, from their stores as they were; None where it does not say so.
        actions: What was to be done, by id, in order.
        outcomes: What came of each action that was begun, by id; None where that is not known.
        messages: What went wrong, by id.
        appliances: What came of each appliance, once it ended.
    """

    id: str
    path: Path
    began: dt.datetime
    ended: dt.datetime | None
    running: bool
    desired_state: str
    revision: str | None
    plan: str
    planned: frozenset[str] | None
    actions: Mapping[str, Noted]
    outcomes: Mapping[str, Outcome | None]
    messages: Mapping[str, str]
    appliances: Mapping[str, Outcome]

    @property
    def interrupted(self) -> bool:
        """Whether it stopped without an end."""
        return self.ended is None and not self.running

    @property
    def touched(self) -> frozenset[str]:
        """The appliances on which something was to be done."""
        return frozenset(each.appliance for each in self.actions.values())

    @property
    def left(self) -> Sequence[str]:
        """Ids of the actions that are not known to be done."""
        return [each for each in self.actions if self.outcomes.get(each) is not Outcome.APPLIED]


@dataclass(frozen=True, slots=True)
class Noted:
    """An action, as a journal tells of it.

    Attributes:
        kind: Its kind in the plan.
        appliance: The appliance whose store it changes.
        label: The certificate as people know it.
    """

    kind: str
    appliance: str
    label: str


def read_history(folder: Path) -> Iterator[Entry]:
    """Every apply that left a journal in a folder, the latest first; none where there is no such folder.

    Each is read when it is asked for: folders grow old, and most who ask want the last few.
    """
    try:
        paths = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stem, reverse=True)
    except OSError:
        return
    for path in paths:
        entry = _read(path)
        if entry:
            yield entry


def interrupted(history: Iterable[Entry], desired_state: str) -> tuple[Entry, ...]:
    """The interrupted applies of a desired state, the latest first, but for those that later ones have made up for.

    A later apply of the same appliances was made from their stores as the interrupted one had left them. Applies to
    several parts of a fleet may be at work at once, and be interrupted together.

    Args:
        history: Entries, the latest first.
        desired_state: The folder.
    """
    wanted = place(desired_state)
    made_up_for, found = set[str](), list[Entry]()
    for each in islice((each for each in history if each.desired_state == wanted), _LOOKED_AT):
        if each.interrupted and not each.touched <= made_up_for:
            found.append(each)
        made_up_for |= each.touched if each.planned is None else each.planned
    return tuple(found)


def applies_of(history: Iterable[Entry], desired_state: str, plan: str) -> Iterator[Entry]:
    """The applies of one plan, the latest first.

    Args:
        history: Entries, the latest first.
        desired_state: The folder.
        plan: Digest of the plan.
    """
    wanted = place(desired_state)
    return (each for each in history if each.desired_state == wanted and each.plan == plan)


def _read(path: Path) -> Entry | None:
    try:
        if not path.is_file():
            return None
        with path.open(encoding="utf-8", errors="replace") as file:
            # First: what it says after its writer let go of it is all that it will ever say.
            locked = _is_locked(file)
            lines = list(_lines(file.read(_LARGEST)))
    except OSError:
        return None
    begin = next((each for each in lines if each.get("event") == "begin"), None)
    began = _instant(begin)
    if begin is None or began is None:
        return None
    end = next((each for each in lines if each.get("event") == "end"), None)
    outcomes: dict[str, Outcome | None] = {}
    messages: dict[str, str] = {}
    for each in lines:
        action = str(each.get("action", ""))
        if each.get("event") == "intent":
            outcomes[action] = None
        elif each.get("event") == "outcome":
            outcomes[action] = _outcome(each.get("outcome"))
            messages[action] = str(each.get("message", ""))
    ended = _instant(end)
    told = begin.get("appliances")
    return Entry(
        id=path.stem,
        path=path,
        began=began,
        ended=ended,
        running=locked and ended is None,
        desired_state=str(begin.get("desired_state", "")),
        revision=str(begin["revision"]) if begin.get("revision") else None,
        plan=str(begin.get("plan", "")),
        planned=frozenset(each for each in told if isinstance(each, str)) if isinstance(told, list) else None,
        actions=dict(_actions(begin.get("actions"))),
        outcomes=outcomes,
        messages={action: text for action, text in messages.items() if text},
        appliances=_appliances(end),
    )


def _lines(text: str) -> Iterator[Mapping[str, Any]]:
    for line in text.split("\n"):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


def _instant(line: Mapping[str, Any] | None) -> dt.datetime | None:
    try:
        instant = dt.datetime.fromisoformat(str(line["at"])) if line else None
    except (KeyError, ValueError):
        return None
    return instant if instant and instant.tzinfo else None


def _outcome(text: object) -> Outcome | None:
    try:
        return Outcome(str(text))
    except ValueError:
        return None


def _actions(listed: object) -> Iterator[tuple[str, Noted]]:
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and each.get("id"):
            kind, appliance, label = (str(each.get(key, "")) for key in ("kind", "appliance", "label"))
            yield str(each["id"]), Noted(kind, appliance, label)


def _appliances(end: Mapping[str, Any] | None) -> Mapping[str, Outcome]:
    told = end.get("appliances") if end else None
    pairs = told.items() if isinstance(told, dict) else ()
    return {str(name): found for name, each in pairs if (found := _outcome(each))}


def _is_locked(file: IO[str]) -> bool:
    """Whether the process that writes it is still at work."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
