"""Which differences between what is known now and what was known before are events. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.report import words
from reconciler.watch.model import ConditionType, Event, EventKind, Health, Sync, Truth

if TYPE_CHECKING:
    import datetime as dt

    from reconciler.watch.model import LastApply, Source, WatchedAppliance


_FEW = 5
"""So many actions are told in a sentence."""


def events(before: WatchedAppliance, after: WatchedAppliance, at: dt.datetime) -> tuple[Event, ...]:
    """What has changed, one event for each. At the first look only what is not well is one.

    Conditions are told as they break, and as they hold again; InSync is the same as sync, which is told already.
    """
    first = before.looked_at is None and not before.conditions
    told = []
    if after.sync is not before.sync and not (first and after.sync is Sync.SYNCED):
        message = _message(after, ConditionType.IN_SYNC)
        told.append(_event(at, EventKind.SYNC, after.name, before.sync, after.sync, message))
    if after.health is not before.health and not (first and after.health is Health.HEALTHY):
        told.append(_event(at, EventKind.HEALTH, after.name, before.health, after.health, _why(after)))
    old = {each.type: each.status for each in before.conditions}
    for each in after.conditions:
        was = old.get(each.type, Truth.UNKNOWN)
        broken_or_mended = each.status is Truth.FALSE or (was is Truth.FALSE and each.status is Truth.TRUE)
        if each.type is not ConditionType.IN_SYNC and each.status is not was and broken_or_mended:
            then, now = f"{each.type}={was}", f"{each.type}={each.status}"
            told.append(_event(at, EventKind.CONDITION, after.name, then, now, each.message))
    last, now_last = before.last_apply, after.last_apply
    if now_last and now_last != last and (now_last.done or not last or _ending(last) != _ending(now_last)):
        was_outcome = last.outcome if last else ""
        did = words.first_of(now_last.did, _FEW, now_last.done) or "nothing"
        message = now_last.message or f"done: {did}; see {now_last.journal}"
        told.append(_event(at, EventKind.APPLY, after.name, was_outcome, now_last.outcome, message))
    return tuple(told)


def not_declared(before: WatchedAppliance, at: dt.datetime) -> Event:
    """That an appliance is not watched any more."""
    return _event(at, EventKind.SYNC, before.name, before.sync, "NotDeclared", "it is not declared any more")


def source_events(before: Source, after: Source, at: dt.datetime) -> tuple[Event, ...]:
    """What has changed with the source: another desired state is in force, or why a newer one is not."""
    told = []
    if (after.revision, after.digest) != (before.revision, before.digest):
        signed = f", signed by {', '.join(after.signed_by)}" if after.signed_by else ""
        anew = "is no ancestor of it: the branch went back, or was written anew"
        left = f"; {words.short(after.left)} {anew}" if after.left else ""
        message = f"{after.place} is in force as of {words.short(_version(after))}{signed}{left}"
        told.append(_source_event(at, _version(before), _version(after), message))
    elif after.trouble and (after.trouble, after.refused) != (before.trouble, before.refused):
        refused = f"{words.short(after.refused)} is not put in force: " if after.refused else ""
        stays = f"; {words.short(_version(before))} stays in force" if before.digest else "; nothing is in force"
        told.append(_source_event(at, before.trouble, after.trouble, refused + after.problem + stays))
    elif before.trouble and not after.trouble:
        told.append(_source_event(at, before.trouble, _version(after), f"{after.place} is as it should be again"))
    return tuple(told)


def _source_event(at: dt.datetime, before: str, after: str, message: str) -> Event:
    return Event(at=at, kind=EventKind.SOURCE, before=before, after=after, message=message)


def _version(source: Source) -> str:
    return source.revision or source.digest


def _ending(apply: LastApply) -> tuple[str, str]:
    return apply.outcome, apply.message


def _event(at: dt.datetime, kind: EventKind, appliance: str, before: str, after: str, message: str) -> Event:
    return Event(at=at, kind=kind, appliance=appliance, before=str(before), after=str(after), message=message)


def _message(appliance: WatchedAppliance, about: ConditionType) -> str:
    return next((each.message for each in appliance.conditions if each.type is about), "")


def _why(appliance: WatchedAppliance) -> str:
    """Why its health is what it is, in one sentence."""
    if appliance.suspended:
        return appliance.suspended
    wrong = [each for each in appliance.conditions if each.status is Truth.FALSE and each.message]
    # That it is out of sync alone makes nothing worse than Progressing.
    wrong.sort(key=lambda each: each.type is ConditionType.IN_SYNC)
    return wrong[0].message if wrong else ""
