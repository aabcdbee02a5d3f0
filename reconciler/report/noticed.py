"""What clients will notice of a plan, in sentences that follow from its served names and its holds. Decides nothing."""

from __future__ import annotations

from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING

from reconciler.base.references import format_duration
from reconciler.plan.model import Import, Progress, State
from reconciler.report import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.plan.model import Action, AppliancePlan, Candidate, ServedName
    from reconciler.report.changes import Known

_NOBODY_SENDS = "clients that send no server name"
_FOLLOWS = "follows"


def noticed(appliances: Sequence[AppliancePlan], known: Known) -> tuple[str, ...]:
    """What the clients of a site will notice, or those of the appliances outside any; nothing where nothing changes."""
    return (*_served(appliances, known), *_held(appliances))


def nothing_noticed(appliances: Iterable[AppliancePlan]) -> str:
    """Says that clients notice nothing, as far as that is known."""
    planned = all(each.progress is Progress.PLANNED for each in appliances)
    return "Nothing that clients are served changes" + ("" if planned else " on the appliances that could be planned")


def _served(appliances: Sequence[AppliancePlan], known: Known) -> tuple[str, ...]:
    """What happens to names, alike ones in one sentence."""
    where: dict[tuple[str | None, str], list[str]] = defaultdict(list)
    having: dict[str | None, int] = defaultdict(int)
    for appliance in appliances:
        for row in appliance.serving:
            having[row.name] += 1
            happens = _happens(row, appliance.name, known)
            if happens:
                where[row.name, happens].append(appliance.name)
    clients: dict[tuple[str, str], list[str | None]] = defaultdict(list)
    for (name, happens), names in where.items():
        place = "" if len(names) == having[name] else f"On {words.several(names)}, "
        clients[place, happens].append(name)
    return tuple(_capital(f"{place}{_clients(names)} {happens}") for (place, happens), names in clients.items())


def _clients(names: list[str | None]) -> str:
    of_names = [name for name in names if name is not None]
    groups = [f"clients of {words.several(of_names)}"] if of_names else []
    return " and ".join([*groups, *([_NOBODY_SENDS] if len(of_names) < len(names) else [])])


def _happens(row: ServedName, appliance: str, known: Known) -> str:
    """What the clients of one name notice, as the rest of a sentence; empty where that is nothing."""
    texts = _described((*row.before, *row.after), appliance, known)
    before, after = ({each.certificate: texts[each.certificate] for each in side} for side in (row.before, row.after))
    added, left = _joined(after, before), _joined(before, after)
    if not after:
        return f"are not served anything any more (before: {left})" if before else "are not served anything, as now"
    if not (added or left):
        bad = any(not each.good for each in row.after)
        return f"get what they get now, and it is not good: {_joined(after)}" if bad else ""
    if not before:
        return f"get a certificate, and get none now: {added}"
    if not left:
        return f"may get another certificate: {added} (or still: {_joined(before)})"
    if not added:
        return f"do not get one of their certificates any more: {left}; what stays is {_joined(after)}"
    return f"get another certificate: {_joined(after)} (before: {_joined(before)})"


def _joined(some: Mapping[str, str], others: Mapping[str, str] = MappingProxyType({})) -> str:
    """The certificates that are not among others as well, by reference."""
    return " or ".join(text for reference, text in some.items() if reference not in others)


def _described(candidates: Iterable[Candidate], appliance: str, known: Known) -> dict[str, str]:
    """Candidates as people tell them apart: from whom, until when, and which where several are alike."""
    descriptions = {each.certificate: _description(each, appliance, known) for each in candidates}
    texts = list(descriptions.values())
    return {
        reference: text if texts.count(text) == 1 else f"{text} [{words.short(reference)}]"
        for reference, text in descriptions.items()
    }


def _description(candidate: Candidate, appliance: str, known: Known) -> str:
    certificate, made = known.certificate(appliance, candidate.certificate), known.made(candidate.certificate)
    if made:
        text = f"{candidate.label}, self-signed, for {format_duration(made.valid_for)}"
    elif certificate is None:
        text = candidate.label
    elif certificate.is_self_issued:
        text = f"{candidate.label}, self-signed, until {certificate.not_after:%Y-%m-%d}"
    else:
        text = f"from {certificate.issuer.display}, until {certificate.not_after:%Y-%m-%d}"
    return text if candidate.good else f"{text}, not good: {candidate.why_not or 'see the errors'}"


def _held(appliances: Iterable[AppliancePlan]) -> tuple[str, ...]:
    """What clients keep for now, since what would come in its place is held."""
    sentences: dict[str, None] = {}
    for appliance in appliances:
        told: set[str] = set()
        for action in sorted(appliance.actions, key=_merely_follows):
            about = action.certificate or action.label
            if _is_held_from_clients(action) and about not in told:
                told.add(about)
                sentences[_keep(action)] = None
    return tuple(sentences)


def _is_held_from_clients(action: Action) -> bool:
    is_leaf = not isinstance(action, Import) or action.role == "leaf"
    return action.state is State.HELD and is_leaf and action.kind in {"import", "create_self_signed", "set_default"}


def _merely_follows(action: Action) -> bool:
    """Whether something else is held and this with it: then that tells more."""
    return bool(action.hold and action.hold.reason.code == _FOLLOWS)


def _keep(action: Action) -> str:
    until = f"Until {words.instant(action.hold.until)} clients" if action.hold and action.hold.until else "Clients"
    why = f": {action.hold.reason.sentence}" if action.hold else ""
    return f"{until} keep what they are served now, {action.label} is held{why}"


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
