"""What was applied when, as a document, the latest first: one entry per journal, but one for all that failed alike.

`history --format json` is this document as it is; the text is rendered from it.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.apply.result import Outcome
from reconciler.plan.model import PlanModel
from reconciler.report import words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.apply.history import Entry

FORMAT_VERSION = "1.1"


class Ending(StrEnum):
    """How an apply ended."""

    APPLIED = "applied"
    """Everything was done."""
    FAILED = "failed"
    """Some appliances failed, or were not as planned."""
    INTERRUPTED = "interrupted"
    """It stopped without an end: what it left is planned again by the next plan."""
    AT_WORK = "at work"
    """It has not ended yet."""


class AppliedAction(PlanModel):
    """An action that was to be done."""

    action: str
    """Its id in the plan."""
    kind: str
    """What it does, by the kinds of the plan."""
    appliance: str
    """The appliance whose store it changes."""
    what: str
    """What it does, for people."""
    begun: bool
    """Whether it was begun."""
    outcome: Outcome | None = None
    """What came of it; None where it was not begun, or where that is not known."""
    message: str = ""
    """What went wrong, or empty."""


class AppliedAppliance(PlanModel):
    """What came of one appliance."""

    appliance: str
    """Its name."""
    outcome: Outcome
    """What came of it."""


class Apply(PlanModel):
    """One apply, as its journal tells it."""

    id: str
    """What it is called: the instant at which it began, and its number within that second."""
    journal: str
    """Its journal."""
    began: dt.datetime
    """When it began."""
    ended: dt.datetime | None = None
    """When it ended, where it did."""
    ending: Ending
    """How it ended."""
    desired_state: str
    """Folder of the desired state."""
    revision: str | None = None
    """The git commit, or None for a work tree."""
    plan: str
    """Digest of the plan."""
    done: int
    """How many actions are known to be done."""
    times: int = 1
    """How often the same was tried in a row, and failed in the same way; this is the latest."""
    first_began: dt.datetime
    """When the first of these began."""
    actions: tuple[AppliedAction, ...] = ()
    """What was to be done, in the order of the plan."""
    appliances: tuple[AppliedAppliance, ...] = ()
    """What came of each appliance that was worked on, once it ended."""


class History(PlanModel):
    """What was applied when."""

    format_version: str = FORMAT_VERSION
    """Version of this format: a new minor one adds, a new major one breaks."""
    applies: tuple[Apply, ...] = ()
    """The latest first."""
    more: bool = False
    """Whether there are older ones than these."""


def history_of(entries: Iterable[Entry], limit: int) -> History:
    """The document of the latest applies.

    A loop tries again for as long as something fails: that is told once, unless something else was tried on the same
    appliances meanwhile.

    Args:
        entries: All of them, the latest first.
        limit: How many are told.
    """
    told: list[Apply] = []
    # Which of those told is the next after, by appliance.
    following: dict[str, int] = {}
    for entry in entries:
        apply = apply_of(entry)
        appliances = {each.appliance for each in apply.actions}
        places = {following.get(name) for name in appliances}
        place = places.pop() if len(places) == 1 else None
        if place is not None and _failed_alike(apply, told[place]):
            repeated = {"times": told[place].times + 1, "first_began": apply.began}
            told[place] = told[place].model_copy(update=repeated)
        elif len(told) == limit:
            return History(applies=tuple(told), more=True)
        else:
            following.update(dict.fromkeys(appliances, len(told)))
            told.append(apply)
    return History(applies=tuple(told))


def _failed_alike(one: Apply, other: Apply) -> bool:
    """Whether two applies came to the same, which is nothing."""
    nothing = one.ending is Ending.FAILED and not one.done
    return nothing and _matter(one) == _matter(other)


def _matter(apply: Apply) -> tuple[object, ...]:
    """What an apply was, and what came of it."""
    return apply.ending, apply.desired_state, apply.revision, apply.actions, apply.appliances


def apply_of(entry: Entry) -> Apply:
    """One of them."""
    actions = tuple(
        AppliedAction(
            action=action,
            kind=noted.kind,
            appliance=noted.appliance,
            what=words.deed(noted.kind, noted.label),
            begun=action in entry.outcomes,
            outcome=entry.outcomes.get(action),
            message=entry.messages.get(action, ""),
        )
        for action, noted in entry.actions.items()
    )
    return Apply(
        id=entry.id,
        journal=str(entry.path),
        began=entry.began,
        ended=entry.ended,
        ending=_ending(entry),
        desired_state=entry.desired_state,
        revision=entry.revision,
        plan=entry.plan,
        done=len(entry.actions) - len(entry.left),
        first_began=entry.began,
        actions=actions,
        appliances=tuple(AppliedAppliance(appliance=name, outcome=each) for name, each in entry.appliances.items()),
    )


def _ending(entry: Entry) -> Ending:
    if entry.running:
        return Ending.AT_WORK
    if entry.interrupted:
        return Ending.INTERRUPTED
    return Ending.APPLIED if set(entry.appliances.values()) <= {Outcome.APPLIED} else Ending.FAILED
