"""`acknowledge`: findings that an administrator accepts on one object until a date, and what is wrong with entries."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from reconciler.base.findings import Finding, ObjectName, Rule, Severity, found, rule, rules, sort_key
from reconciler.desired.hints import nearest
from reconciler.rules.facts import quote

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from reconciler.desired.models import Acknowledgement, Appliance, Certificate, Site
    from reconciler.desired.state import Declared, DesiredState

_SECTION = "Desired state, acknowledge"

EXPIRED = rule(
    "acknowledgement-expired",
    Severity.WARNING,
    _SECTION,
    "What is acknowledged is put right, or looked at again, by the date.",
)
UNNEEDED = rule(
    "acknowledgement-unneeded",
    Severity.NOTICE,
    _SECTION,
    "Only what a rule finds is acknowledged.",
)
UNKNOWN = rule(
    "acknowledgement-unknown",
    Severity.WARNING,
    _SECTION,
    "An acknowledgement names a rule that exists.",
)
REFUSED = rule(
    "acknowledgement-refused",
    Severity.WARNING,
    _SECTION,
    "Only what can be lived with is acknowledged: not errors of form, nor what endangers keys or loses clients.",
)

Acknowledging: TypeAlias = "Declared[Site] | Declared[Appliance] | Declared[Certificate]"


def acknowledge(
    state: DesiredState, findings: Sequence[Finding], checked: Collection[str], now: dt.datetime
) -> tuple[Finding, ...]:
    """Drop the findings that are acknowledged, and add what is wrong with the acknowledgements.

    Args:
        state: The desired state with its acknowledgements.
        findings: All findings of this run.
        checked: Ids of the rules that were evaluated over the whole desired state: only for them does silence mean that
            an acknowledgement is not needed.
        now: The present instant; `until` is the last day, in UTC, on which a finding is silent.
    """
    today = now.astimezone(dt.UTC).date()
    by_object: dict[tuple[ObjectName | None, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        by_object[finding.about, finding.rule].append(finding)
    known = {each.id: each for each in rules()}
    # What a broken file hides from a rule may be just what an acknowledgement is for.
    judged = frozenset() if _is_broken(state) else frozenset(checked)
    silenced: set[int] = set()
    added: list[Finding] = []
    for declared in _acknowledging(state):
        for index, entry in enumerate(declared.model.acknowledge):
            concerned = by_object.get((declared.about, entry.rule), [])
            problem = _problem(declared, index, known, concerned, judged, today)
            if problem:
                added.append(problem)
            if today <= entry.until:
                silenced.update(id(each) for each in concerned if _may_be_silent(each, known))
    kept = [each for each in findings if id(each) not in silenced]
    return tuple(sorted((*kept, *added), key=sort_key))


def _problem(
    declared: Acknowledging,
    index: int,
    known: Mapping[str, Rule],
    concerned: Collection[Finding],
    judged: Collection[str],
    today: dt.date,
) -> Finding | None:
    entry: Acknowledgement = declared.model.acknowledge[index]
    named = declared.position("acknowledge", index, "rule")
    source = known.get(entry.rule)
    if source is None:
        near = nearest(entry.rule, known)
        remedy = f"did you mean `{near}`?" if near else "`validate --list-rules` shows all rules"
        return found(UNKNOWN, f"there is no rule {quote(entry.rule)}", remedy, position=named, about=declared.about)
    if source.severity is Severity.ERROR and not source.acknowledgeable:
        message = f"errors of {source.id} cannot be acknowledged"
        return found(REFUSED, message, "put right what it finds", position=named, about=declared.about)
    if not concerned:
        if source.id not in judged:
            return None
        message = f"nothing here breaks the rule {source.id} any more"
        return found(UNNEEDED, message, "remove the acknowledgement", position=named, about=declared.about)
    if today > entry.until:
        return found(
            EXPIRED,
            f"the acknowledgement of {source.id} ended with {entry.until:%Y-%m-%d}",
            "put right what it finds, or agree on a later date",
            position=declared.position("acknowledge", index, "until"),
            about=declared.about,
        )
    return None


def _may_be_silent(finding: Finding, known: Mapping[str, Rule]) -> bool:
    source = known.get(finding.rule)
    return source is not None and (finding.severity is not Severity.ERROR or source.acknowledgeable)


def _is_broken(state: DesiredState) -> bool:
    return any(each.severity is Severity.ERROR for each in state.findings)


def _acknowledging(state: DesiredState) -> Iterator[Acknowledging]:
    return chain(state.sites.values(), state.appliances.values(), state.certificates.values())
