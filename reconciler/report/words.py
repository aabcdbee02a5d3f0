"""How single values read: instants, fingerprints, counts, findings. Labels are the appliance's own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from reconciler.plan.model import Flag, Progress

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from reconciler.plan.model import Plan, State

_SHORT = 12
_NAMED = 5
NEW = "new"
FLAGS = {
    Flag.NOT_ALL_GOOD: "any one of these may be served, and nobody can know which",
    Flag.DEFAULT_ONLY: "no certificate is made out to this name, so the default is served",
}
"""What a reader of a row of served names should look at."""
_DEEDS = {
    "create_self_signed": "create {}",
    "create_request": "request {}",
    "import": "import {}",
    "set_default": "make {} the default",
    "remove": "remove {}",
    "remove_request": "withdraw the request for {}",
}
UNPLANNED = {
    Progress.UNREACHABLE: "could not be observed",
    Progress.STOPPED: "not planned: see the errors",
}
"""Why nothing is planned on an appliance."""


def gmt(value: dt.datetime) -> str:
    """An instant as the appliance's Expiration column shows it: `2019-03-27 12:00:00 GMT`."""
    return f"{value:%Y-%m-%d %H:%M:%S} GMT"


def utc(value: dt.datetime) -> str:
    """An instant as everything else says it: `2026-12-05 17:13:10 UTC`."""
    return f"{value:%Y-%m-%d %H:%M:%S} UTC"


def short(reference: str) -> str:
    """A certificate's identity in brief: the first digits of its SHA-256, or `new` for one that does not exist yet."""
    return NEW if reference.startswith(("new:", "answer:")) else reference[:_SHORT]


def counted(number: int, singular: str, plural: str = "") -> str:
    """A number and what it counts: `1 appliance`, `2 appliances`."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def several(names: Sequence[str]) -> str:
    """Names in one line, the first few of many: `east-1, west-1`."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def deed(kind: str, label: str) -> str:
    """What an action does, said of what is done or to be done: `make access.example.com the default`."""
    pattern = _DEEDS.get(kind)
    return pattern.format(label) if pattern else f"{kind} {label}".strip()


def first_of(texts: Sequence[str], most: int, total: int = 0) -> str:
    """Texts in one line, the first of many and how many more; in total there may be more than are known."""
    left = max(total, len(texts)) - most
    return "; ".join(texts[:most]) + (f" and {left} more" if left > 0 else "")


def summary(plan: Plan) -> str:
    """What a plan comes to, in one line: `Plan: 3 to import, 1 to create, 2 defaults to set, 1 to remove; 2 held`."""
    counts = plan.summary
    by_hand = sum(action.state == "by_hand" for action in plan.actions)
    progress = [each.progress.value for each in plan.appliances]
    unseen, stopped = progress.count("unreachable"), progress.count("stopped")
    without = [
        f"{counted(unseen, 'appliance')} could not be observed" if unseen else "",
        f"{counted(stopped, 'appliance')} not planned because of errors" if stopped else "",
    ]
    none_seen = progress and unseen + stopped == len(progress)
    begin = "Nothing is planned" if none_seen else "No changes"
    if counts.ready:
        begin = f"Plan: {_ready(counts.import_, counts.create, counts.set_default, counts.remove)}"
    later = _later(counts.held - by_hand, counts.waiting, by_hand)
    return "; ".join(part for part in (begin, later, _listed(without)) if part) + "."


def tally(actions: Mapping[tuple[str, State], int]) -> str:
    """How many actions there are, by kind where they are ready: `3 to import, 1 to remove; 2 held`; empty for none."""
    kinds: Counter[str] = Counter()
    states: Counter[str] = Counter()
    for (kind, state), number in actions.items():
        states[state] += number
        kinds[kind] += number if state == "ready" else 0
    created, removed = (kinds[f"{verb}_request"] for verb in ("create", "remove"))
    ready = _ready(
        kinds["import"], kinds["create_self_signed"] + created, kinds["set_default"], kinds["remove"] + removed
    )
    later = _later(states["held"], states["waiting"], states["by_hand"])
    return "; ".join(part for part in (ready, later) if part)


def _ready(import_: int, create: int, set_default: int, remove: int) -> str:
    return _listed(
        [
            f"{import_} to import" if import_ else "",
            f"{create} to create" if create else "",
            f"{counted(set_default, 'default')} to set" if set_default else "",
            f"{remove} to remove" if remove else "",
        ]
    )


def _later(held: int, waiting: int, by_hand: int) -> str:
    return _listed(
        [
            f"{held} held" if held > 0 else "",
            f"{waiting} waiting" if waiting else "",
            f"{by_hand} by hand" if by_hand else "",
        ]
    )


def _listed(parts: list[str]) -> str:
    return ", ".join(part for part in parts if part)
