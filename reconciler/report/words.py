"""How single values read: instants, fingerprints, counts, findings. Labels are the appliance's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from reconciler.plan.model import Plan

_SHORT = 12
_NAMED = 5
NEW = "new"


def instant(value: dt.datetime) -> str:
    """An instant as the appliance's Expiration column shows it: `2019-03-27 12:00:00 GMT`."""
    return f"{value:%Y-%m-%d %H:%M:%S} GMT"


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


def summary(plan: Plan) -> str:
    """What a plan comes to, in one line: `Plan: 3 to import, 1 to create, 2 defaults to set, 1 to remove; 2 held`."""
    counts = plan.summary
    ready = [
        f"{counts.import_} to import" if counts.import_ else "",
        f"{counts.create} to create" if counts.create else "",
        f"{counted(counts.set_default, 'default')} to set" if counts.set_default else "",
        f"{counts.remove} to remove" if counts.remove else "",
    ]
    by_hand = sum(action.state == "by_hand" for action in plan.actions)
    later = [
        f"{counts.held - by_hand} held" if counts.held > by_hand else "",
        f"{counts.waiting} waiting" if counts.waiting else "",
        f"{by_hand} by hand" if by_hand else "",
    ]
    progress = [each.progress.value for each in plan.appliances]
    unseen, stopped = progress.count("unreachable"), progress.count("stopped")
    without = [
        f"{counted(unseen, 'appliance')} could not be observed" if unseen else "",
        f"{counted(stopped, 'appliance')} not planned because of errors" if stopped else "",
    ]
    none_seen = progress and unseen + stopped == len(progress)
    begin = f"Plan: {_listed(ready)}" if counts.ready else "Nothing is planned" if none_seen else "No changes"
    return "; ".join(part for part in (begin, _listed(later), _listed(without)) if part) + "."


def _listed(parts: list[str]) -> str:
    return ", ".join(part for part in parts if part)
