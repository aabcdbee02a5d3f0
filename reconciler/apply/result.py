"""What came of an apply: one result per appliance, one per step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.apply.verification import Verified


class Outcome(StrEnum):
    """What came of an appliance, or of one action."""

    APPLIED = "applied"
    """Every ready action ran and was read back; an action that ran and was read back."""
    UNCHANGED = "unchanged"
    """There was nothing to do."""
    FAILED = "failed"
    """An action failed; those after it were not attempted."""
    STALE = "stale"
    """The store was not as the plan expects it; nothing more was done to it."""
    NOT_ATTEMPTED = "not attempted"
    """Something before it did not succeed."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What came of one action.

    Attributes:
        action: Id of the action.
        outcome: What came of it.
        message: What went wrong, in one sentence, or empty.
        remedy: What to do about it, or empty.
        made: Fingerprint of the certificate or request that the appliance made, or empty.
    """

    action: str
    outcome: Outcome
    message: str = ""
    remedy: str = ""
    made: str = ""


@dataclass(frozen=True, slots=True)
class ApplianceResult:
    """What came of one appliance.

    Attributes:
        appliance: Its name.
        outcome: What came of it.
        steps: One for each ready action, in order.
        message: What went wrong apart from any step (the store could not be opened), or empty.
        remedy: What to do about it, or empty.
        served: What was seen to be served afterwards, by name; empty where nobody looked.
    """

    appliance: str
    outcome: Outcome
    steps: tuple[StepResult, ...] = ()
    message: str = ""
    remedy: str = ""
    served: tuple[Verified, ...] = ()

    @property
    def failed_step(self) -> int | None:
        """Number of the step that failed, from 1."""
        bad = (index for index, step in enumerate(self.steps, 1) if step.outcome in {Outcome.FAILED, Outcome.STALE})
        return next(bad, None)
