"""The first question of whoever reviews a plan: is it safe to merge? Claims no more than the plan knows.

Safe is what breaks no rule, is known of every appliance, and takes nothing good from any protected name. Whether it is
wanted is for people to say.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.base.findings import Severity
from reconciler.plan.model import Flag, Progress, Remove, RemoveRequest, State
from reconciler.report import words
from reconciler.report.later import root_holds
from reconciler.report.noticed import clients_of, gets_worse, is_held_from_clients, loses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.desired.state import Material
    from reconciler.plan.model import Action, Hold, Plan, ServedName

_UNTRUSTED = "untrusted-by-clients"
_WAITS = {"answer-awaited": "for a CA's answer", "key-unreachable": "for an appliance that cannot be reached"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a plan is safe to merge.

    Attributes:
        safe: Whether nothing speaks against it that a plan can know.
        why: What speaks for or against it, as the rest of a sentence without a final full stop.
        further: What else to know before it is decided, in sentences.
    """

    safe: bool
    why: str
    further: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """In a few words."""
        return "Safe to merge" if self.safe else "Look before you merge"


def verdict_of(plan: Plan, material: Mapping[str, Material]) -> Verdict:
    """Judge a plan.

    Args:
        plan: The plan.
        material: Committed certificates by name of the declared certificate, to name the roots that builds lack.
    """
    against = "; ".join(_against(plan))
    return Verdict(not against, against or _effect(plan), tuple(_further(plan, material)))


def _against(plan: Plan) -> Iterator[str]:
    """What speaks against merging unseen, in clauses."""
    errors = sum(finding.severity is Severity.ERROR for finding in plan.all_findings)
    unplanned = sum(each.progress is not Progress.PLANNED for each in plan.appliances)
    if errors:
        yield words.counted(errors, "error")
    if unplanned:
        yield f"nothing is known of {words.counted(unplanned, 'appliance')}"
    rows = [row for each in plan.appliances for row in each.serving]
    lost = [row.name for row in rows if loses(row)]
    if lost:
        yield f"{clients_of(lost)} lose their last good certificate"
    worse = [row.name for row in rows if not loses(row) and gets_worse(row)]
    if worse:
        yield f"{clients_of(worse)} may be served a certificate that is not good"
    if plan.as_of or plan.basis.replaced:
        yield "this is a rehearsal, and not what apply would do now"
    if plan.basis.only is not None:
        yield f"only {words.several(plan.basis.only)} was asked for, and nothing is said of other appliances"


def _stays_bad(row: ServedName) -> bool:
    return not any(each.good for each in (*row.before, *row.after)) and not gets_worse(row)


def _effect(plan: Plan) -> str:
    """What clients notice of a plan against which nothing speaks."""
    rows = [row for each in plan.appliances for row in each.serving]
    if any({each.certificate for each in row.after} - {each.certificate for each in row.before} for row in rows):
        return "clients get other certificates, and these are good"
    if any(Flag.CHANGED in row.flags for row in rows):
        return "clients get fewer certificates, and keep good ones"
    if not plan.actions:
        return "nothing is to be done, and clients notice nothing"
    later = any(is_held_from_clients(action) and action.hold and action.hold.until for action in plan.actions)
    return "clients notice nothing yet" if later else "clients notice nothing"


def _further(plan: Plan, material: Mapping[str, Material]) -> Iterator[str]:
    bad = [row.name for each in plan.appliances for row in each.serving if _stays_bad(row)]
    if bad:
        yield f"There is no good certificate for {clients_of(bad)} now, and this brings none"
    keys = sum(_takes_a_key(action) for action in plan.actions if action.state is State.READY)
    if keys:
        yield f"{words.counted(keys, 'private key')} {'is' if keys == 1 else 'are'} removed, which cannot be undone"
    yield from _waiting(plan, material)
    sites = tuple(dict.fromkeys(each.where for each in plan.by_hand if each.code == "client-software"))
    if sites:
        bundles = words.several([f"`reconciler bundle {each}`" for each in sites])
        yield f"Next: run {bundles}, and send BeyondTrust Technical Support what it makes"
    elif plan.by_hand:
        yield "Next: see what is left to do by hand"


def _takes_a_key(action: Action) -> bool:
    return isinstance(action, RemoveRequest) or (isinstance(action, Remove) and action.has_key)


def _waiting(plan: Plan, material: Mapping[str, Material]) -> Iterator[str]:
    """How many actions wait for what."""
    holds = root_holds(plan.actions)
    numbers: dict[str, int] = defaultdict(int)
    for action in plan.actions:
        if action.state is not State.READY:
            numbers[_waits_for(action, holds.get(action.id), material)] += 1
    for what, number in sorted(numbers.items(), key=lambda pair: (-pair[1], pair[0])):
        yield f"{words.counted(number, 'action')} {'waits' if number == 1 else 'wait'} {what}"


def _waits_for(action: Action, hold: Hold | None, material: Mapping[str, Material]) -> str:
    if action.state is State.BY_HAND or hold is None:
        return "to be done by hand"
    if hold.until:
        return f"until {words.utc(hold.until)}"
    if hold.reason.code == _UNTRUSTED:
        return f"for a software build that trusts {_root(action.certificate or '', material)}"
    return _WAITS.get(hold.reason.code, "for what is told beneath")


def _root(certificate: str, material: Mapping[str, Material]) -> str:
    """What a build has to trust."""
    chain = material[certificate].chain if certificate in material else ()
    roots = [each.subject.display for each in chain if each.is_self_issued]
    return roots[0] if roots else f"the root of {certificate or 'what is to come'}"
