"""What a turn means for what is known of an appliance: sync, health, conditions, what it holds. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from reconciler.apply.result import Outcome
from reconciler.base.findings import Severity
from reconciler.plan.matching import CertificateClass
from reconciler.plan.model import Progress, State
from reconciler.plan.rules import REMOVAL_CEILING, UNREACHABLE
from reconciler.report import words
from reconciler.report.status import due_of
from reconciler.watch.model import (
    Condition,
    ConditionType,
    Health,
    LastApply,
    Sync,
    Truth,
    Upcoming,
    WatchedAppliance,
    WatchedCertificate,
)
from reconciler.watch.seen import FAILED, renewal

if TYPE_CHECKING:
    import datetime as dt

    from reconciler.apply.result import ApplianceResult
    from reconciler.base.findings import Finding
    from reconciler.engine.unattended import Suspension
    from reconciler.watch.seen import Applied, Seen

_MOST_TOLD, _FEW = 10, 3
"""So many actions of an appliance are told one by one, and so many in a sentence."""
_NOTHING_YET = ("NothingYet", "the loop has applied nothing to it yet")
_NOT_LOOKED = ("NotLooked", "nobody has looked yet")


def judge(before: WatchedAppliance, seen: Seen) -> WatchedAppliance:
    """What is known of an appliance after a turn."""
    errors = _errors(seen)
    sync = _sync(seen)
    conditions = _conditions(before, seen, errors, sync)
    counts = seen.counts
    observed = seen.store is not None
    return before.model_copy(
        update={
            "site": seen.part.site if seen.part else before.site,
            "mode": seen.mode,
            "suspended": _pause(seen.suspension),
            "sync": sync,
            "health": _health(seen, conditions, sync),
            "conditions": conditions,
            "observed_at": seen.at if observed else before.observed_at,
            "looked_at": seen.at if seen.part or seen.failure else before.looked_at,
            "failures": before.failures + 1 if seen.failed else 0,
            "ready": counts[State.READY],
            "held": counts[State.HELD] + counts[State.BY_HAND],
            "waiting": counts[State.WAITING],
            "todo": _todo(seen)[:_MOST_TOLD],
            "errors": errors,
            "certificates": _certificates(seen) if observed else before.certificates,
            "upcoming": _upcoming(seen) if observed else _still_to_come(before, seen.at),
            "last_apply": last_apply(before, seen.applied, seen.at),
            "removals": seen.removals,
        }
    )


# Sync and health


def _sync(seen: Seen) -> Sync:
    if seen.part is None or seen.store is None or seen.part.progress is not Progress.PLANNED:
        return Sync.UNKNOWN
    if seen.part.actions or seen.unfinished:
        return Sync.OUT_OF_SYNC
    return Sync.UNKNOWN if seen.stopped else Sync.SYNCED


def _health(seen: Seen, conditions: tuple[Condition, ...], sync: Sync) -> Health:
    if seen.suspension:
        return Health.SUSPENDED
    truths = {each.type: each.status for each in conditions}
    wrong = {each for each, truth in truths.items() if truth is Truth.FALSE}
    counts = seen.counts
    if wrong - {ConditionType.IN_SYNC} or counts[State.BY_HAND]:
        return Health.DEGRADED
    # What is only told, and what would follow it, is on its way nowhere; and nothing is wrong with that.
    is_left = seen.has_work and seen.mode != "apply"
    return Health.HEALTHY if sync is Sync.SYNCED or (sync is Sync.OUT_OF_SYNC and is_left) else Health.PROGRESSING


def _pause(suspension: Suspension | None) -> str:
    return f"{suspension.reason}, until {words.utc(suspension.until)}" if suspension else ""


# Conditions


def _conditions(before: WatchedAppliance, seen: Seen, errors: tuple[str, ...], sync: Sync) -> tuple[Condition, ...]:
    told = {
        ConditionType.OBSERVED: _observed(seen),
        ConditionType.VALID: _valid(seen, errors),
        ConditionType.IN_SYNC: _in_sync(seen, sync),
        ConditionType.APPLIED: _was_applied(before, seen),
        ConditionType.SERVED: _served(seen),
        ConditionType.RENEWED: _renewed(seen),
    }
    old = {each.type: each for each in before.conditions}
    return tuple(
        Condition(
            type=each,
            status=status,
            reason=reason,
            message=message,
            since=old[each].since if each in old and old[each].status is status else seen.at,
        )
        for each, (status, reason, message) in told.items()
    )


def _observed(seen: Seen) -> tuple[Truth, str, str]:
    if seen.failure is not None:
        return Truth.FALSE, type(seen.failure).__name__, str(seen.failure)
    return (Truth.TRUE, "Observed", "") if seen.store is not None else (Truth.UNKNOWN, *_NOT_LOOKED)


def _valid(seen: Seen, errors: tuple[str, ...]) -> tuple[Truth, str, str]:
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        return Truth.FALSE, _camel(_found(seen)[0].rule), errors[0] + more
    if seen.stopped:
        return Truth.FALSE, "Stopped", "errors elsewhere keep it from being planned - see `reconciler validate`"
    if seen.store is None:
        return Truth.UNKNOWN, "NotObserved", "what it holds is not known"
    return Truth.TRUE, "NoErrors", ""


def _in_sync(seen: Seen, sync: Sync) -> tuple[Truth, str, str]:
    if sync is Sync.SYNCED:
        return Truth.TRUE, "Synced", ""
    if sync is Sync.UNKNOWN:
        if seen.failure is not None:
            return Truth.UNKNOWN, "NotObserved", "it could not be observed"
        return Truth.UNKNOWN, "Errors", "errors keep it from being planned"
    actions = seen.part.actions if seen.part else ()
    if not actions:
        return Truth.FALSE, "Unfinished", seen.unfinished
    if seen.mode == "observe":
        return Truth.FALSE, "OutOfSync", "it does not hold what is declared"
    first = next((each for each in State if seen.counts[each]), State.READY)
    tally = words.tally(Counter((each.kind, each.state) for each in actions))
    todo = _todo(seen)
    return Truth.FALSE, _camel(first.value), f"{tally}: {words.first_of(todo, _FEW)}" if todo else tally


def _todo(seen: Seen) -> tuple[str, ...]:
    """What could run now, for people; not where the loop is only to tell whether anything could."""
    actions = seen.part.actions if seen.part and seen.mode != "observe" else ()
    return tuple(words.deed(each.kind, each.label) for each in actions if each.state is State.READY)


def _was_applied(before: WatchedAppliance, seen: Seen) -> tuple[Truth, str, str]:
    result = seen.applied.result if seen.applied else None
    if result is not None and result.outcome is Outcome.APPLIED:
        return Truth.TRUE, "Applied", ""
    if result is not None and result.outcome in FAILED:
        return Truth.FALSE, _camel(result.outcome.value.replace(" ", "-")), _what_went_wrong(result)
    last = next((each for each in before.conditions if each.type is ConditionType.APPLIED), None)
    if last is None:
        return Truth.UNKNOWN, *_NOTHING_YET
    if last.status is Truth.FALSE and seen.store is not None and not seen.stopped and not seen.has_work:
        return Truth.TRUE, "NothingLeft", "nothing of it is left to do"
    return last.status, last.reason, last.message


def _served(seen: Seen) -> tuple[Truth, str, str]:
    if seen.part is None or seen.store is None or not seen.part.serving:
        return Truth.UNKNOWN, "NotJudged", "what is served is not known"
    for row in seen.part.serving:
        name = row.name or "clients that send no server name"
        bad = next((each for each in row.before if not each.good), None)
        if bad:
            return Truth.FALSE, "NotGood", f"{name} may be served {bad.label}, which is not good: {bad.why_not}"
        if not row.before:
            return Truth.FALSE, "Unserved", f"{name} is served nothing"
    return Truth.TRUE, "AllGood", ""


def _renewed(seen: Seen) -> tuple[Truth, str, str]:
    if seen.part is None or seen.store is None:
        return Truth.UNKNOWN, "NotObserved", "what it holds is not known"
    if seen.due:
        return Truth.FALSE, "RenewalDue", str(seen.due[0])
    return Truth.TRUE, "NothingDue", ""


def _camel(text: str) -> str:
    return "".join(part.capitalize() for part in text.replace("_", "-").split("-"))


# What it holds


def _found(seen: Seen) -> list[Finding]:
    """The errors: those of the live state, and those of what is declared. That it could not be observed is apart."""
    live = seen.part.findings if seen.part else ()
    severe = [each for each in live if each.severity is Severity.ERROR and each.rule != UNREACHABLE.id]
    return list(dict.fromkeys((*severe, *seen.errors)))


def _errors(seen: Seen) -> tuple[str, ...]:
    counted = len(seen.removals)
    note = f"; {words.counted(counted, 'removal')} of the last 24 hours counted" if counted else ""
    return tuple(f"{each}{note if each.rule == REMOVAL_CEILING.id else ''}" for each in _found(seen))


def _certificates(seen: Seen) -> tuple[WatchedCertificate, ...]:
    assert seen.store is not None  # noqa: S101 - who asks has looked
    rows = []
    for live in seen.store.certificates:
        known = seen.classes.get(live.fingerprint)
        if not live.has_key or known is None or known.kind is CertificateClass.FACTORY:
            continue
        rows.append(
            WatchedCertificate(
                label=live.friendly_name or live.certificate.subject.display,
                certificate=known.certificate,
                fingerprint=live.fingerprint,
                expiration=live.certificate.not_after,
                renewal=renewal(seen, known),
                default=live.fingerprint == seen.store.default,
            )
        )
    return tuple(sorted(rows, key=lambda each: (each.expiration, each.fingerprint)))


def _upcoming(seen: Seen) -> tuple[Upcoming, ...]:
    assert seen.store is not None  # noqa: S101 - the same
    assert seen.part is not None  # noqa: S101
    due = due_of(seen.state, seen.part, seen.store, seen.classes)
    told = [Upcoming(at=each.at, what=each.what) for each in due if each.at > seen.at]
    if seen.suspension:
        told.append(Upcoming(at=seen.suspension.until, what="the suspension ends"))
    return tuple(sorted(told, key=lambda each: (each.at, each.what)))


def _still_to_come(before: WatchedAppliance, now: dt.datetime) -> tuple[Upcoming, ...]:
    return tuple(each for each in before.upcoming if each.at > now)


def last_apply(before: WatchedAppliance, applied: Applied | None, at: dt.datetime) -> LastApply | None:
    """The last apply to an appliance: one that ended at an instant, if there was one, else the one before."""
    if applied is None or applied.result.outcome is Outcome.UNCHANGED:
        return before.last_apply
    did, outcome = applied.did, applied.result.outcome.value
    return LastApply(
        at=at,
        journal=applied.journal,
        outcome=outcome,
        done=len(did),
        did=did[:_MOST_TOLD],
        message=_what_went_wrong(applied.result),
    )


def _what_went_wrong(result: ApplianceResult) -> str:
    """In one sentence: of the appliance as a whole, or of the first step that did not succeed."""
    if result.message:
        return f"{result.message} - {result.remedy}" if result.remedy else result.message
    wrong = next((step for step in result.steps if step.outcome is not Outcome.APPLIED and step.message), None)
    if wrong is None:
        return ""
    return f"{wrong.message} - {wrong.remedy}" if wrong.remedy else wrong.message
