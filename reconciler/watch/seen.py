"""What a turn saw of an appliance, and the instants at which time alone may change what is due on it. Pure."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.apply.result import Outcome
from reconciler.plan.matching import CertificateClass
from reconciler.plan.model import State
from reconciler.plan.rules import REMOVAL_CEILING
from reconciler.rules.validity import next_due

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.apply.result import ApplianceResult
    from reconciler.base.errors import StoreError
    from reconciler.base.findings import Finding
    from reconciler.desired.state import DesiredState
    from reconciler.engine.unattended import Mode, Suspension
    from reconciler.live.store import LiveStore
    from reconciler.plan.matching import Classified
    from reconciler.plan.model import AppliancePlan

WINDOW = dt.timedelta(hours=24)
"""The time over which removals are counted."""
FAILED = frozenset({Outcome.FAILED, Outcome.STALE, Outcome.NOT_ATTEMPTED})
"""Outcomes after which something is left to do."""
_SECOND = dt.timedelta(seconds=1)
_NEVER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
"""What a certificate says that has no well-defined expiration (RFC 5280, section 4.1.2.5)."""


@dataclass(frozen=True)
class Applied:
    """What came of an apply to an appliance.

    Attributes:
        result: How it ended on it.
        journal: What `reconciler history --show` calls it; empty where no journal could be begun.
        deeds: What each action does, for people, by its id.
    """

    result: ApplianceResult
    journal: str = ""
    deeds: Mapping[str, str] = field(default_factory=dict)

    @property
    def did(self) -> tuple[str, ...]:
        """What was done, for people, in order."""
        done = (step.action for step in self.result.steps if step.outcome is Outcome.APPLIED)
        return tuple(self.deeds.get(each, each) for each in done)


@dataclass(frozen=True)
class Seen:
    """What a turn saw of an appliance and did to it.

    Attributes:
        at: When.
        state: The desired state.
        mode: What the loop may do with it.
        suspension: Its pause, where it takes one.
        part: Its part of the plan; None where it is not declared in a way that is understood.
        store: Its store; None where it could not be observed.
        failure: Why not.
        classes: What each live certificate is, by fingerprint.
        errors: What is wrong with what is declared for it.
        stopped: Whether an error keeps it, or one of its certificates, from being planned.
        applied: What came of the apply of this turn, where there was one.
        removals: When certificates with a key were removed from it of late.
        due: What is told of its committed certificates that are due for renewal.
    """

    at: dt.datetime
    state: DesiredState
    mode: Mode
    suspension: Suspension | None = None
    part: AppliancePlan | None = None
    store: LiveStore | None = None
    failure: StoreError | None = None
    classes: Mapping[str, Classified] = field(default_factory=dict)
    errors: tuple[Finding, ...] = ()
    stopped: bool = False
    applied: Applied | None = None
    removals: tuple[dt.datetime, ...] = ()
    due: tuple[Finding, ...] = ()

    @property
    def counts(self) -> Counter[State]:
        """How many actions there are in each state."""
        return Counter(action.state for action in self.part.actions) if self.part else Counter()

    @property
    def unfinished(self) -> str:
        """What an interrupted change left due, or empty."""
        return self.store.unfinished if self.store else ""

    @property
    def has_work(self) -> bool:
        """Whether something could be done now."""
        return bool(self.counts[State.READY] or self.unfinished)

    @property
    def failed(self) -> bool:
        """Whether the look or the apply has failed, or an apply has left something that could be done at once."""
        if self.failure is not None:
            return True
        return self.applied is not None and (self.applied.result.outcome in FAILED or self.has_work)


def instants(seen: Seen) -> Iterator[dt.datetime]:
    """The instants at which time alone may change what is due on an appliance. Past ones are among them."""
    for live in seen.store.certificates if seen.store else ():
        certificate, known = live.certificate, seen.classes.get(live.fingerprint)
        if known is None or known.kind is CertificateClass.FACTORY:
            continue
        if certificate.not_before > seen.at:
            yield certificate.not_before
        if certificate.not_after < _NEVER:
            # It is valid up to and including that instant (RFC 5280, section 4.1.2.5).
            yield certificate.not_after + _SECOND
        due = renewal(seen, known)
        if due:
            yield due
    for action in seen.part.actions if seen.part else ():
        if action.hold and action.hold.until:
            yield action.hold.until
    if seen.suspension:
        yield seen.suspension.until
    if seen.part and any(each.rule == REMOVAL_CEILING.id for each in seen.part.findings):
        yield from (each + WINDOW for each in seen.removals)


def renewal(seen: Seen, known: Classified) -> dt.datetime | None:
    """When a live certificate falls due for renewal; None where it is not a declared one."""
    declared = seen.state.certificates.get(known.certificate or "")
    if known.kind is not CertificateClass.DECLARED or declared is None:
        return None
    certificate = known.live.certificate
    margin = declared.model.renew_before or seen.state.policy.renew_before
    return next_due(certificate.not_before, certificate.not_after, margin, declared.model.issued_after)[0]


def recent(removals: tuple[dt.datetime, ...], now: dt.datetime) -> tuple[dt.datetime, ...]:
    """The removals that the ceiling counts still."""
    return tuple(each for each in removals if now - each < WINDOW)
