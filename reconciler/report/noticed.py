"""What clients will notice of a plan, in sentences that follow from its served names and its holds. Decides nothing."""

from __future__ import annotations

from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING

from reconciler.base.references import format_duration
from reconciler.plan.model import Import, Progress, State
from reconciler.report import words
from reconciler.report.later import FOLLOWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.plan.model import Action, AppliancePlan, Candidate, ServedName
    from reconciler.report.changes import Known

_NOBODY_SENDS = "clients that send no server name"
_HELD = {
    "import": "the import of {}",
    "create_self_signed": "the creation of {}",
    "set_default": "the change of the default to {}",
}


def noticed(appliances: Sequence[AppliancePlan], known: Known) -> tuple[str, ...]:
    """What the clients of a site will notice, or those of the appliances outside any; nothing where nothing changes."""
    return (*_served(appliances, known), *_held(appliances))


def nothing_noticed(appliances: Iterable[AppliancePlan]) -> str:
    """Says that clients notice nothing, as far as that is known."""
    planned = all(each.progress is Progress.PLANNED for each in appliances)
    return "Nothing that clients are served changes" + ("" if planned else " on the appliances that could be planned")


def _served(appliances: Sequence[AppliancePlan], known: Known) -> tuple[str, ...]:
    """What happens to names, alike ones in one sentence, and what is worst first: a long list is cut at its end."""
    where: dict[tuple[int, str | None, str], list[str]] = defaultdict(list)
    having: dict[str | None, int] = defaultdict(int)
    for appliance in appliances:
        for row in appliance.serving:
            having[row.name] += 1
            happens = _happens(row, appliance.name, known)
            if happens:
                where[_rank(row), row.name, happens].append(appliance.name)
    clients: dict[tuple[int, str], dict[str, list[str | None]]] = defaultdict(lambda: defaultdict(list))
    for (rank, name, happens), names in where.items():
        place = "" if len(names) == having[name] else words.several(names)
        clients[rank, happens][place].append(name)
    ordered = sorted(clients.items(), key=lambda item: item[0][0])
    return tuple(_capital(f"{_whose(places)} {happens}") for (_, happens), places in ordered)


def _whose(places: Mapping[str, list[str | None]]) -> str:
    """The clients to which the same happens, first those to whom it happens wherever they are served."""
    first = sorted(places.items(), key=lambda item: bool(item[0]))
    return " and ".join(f"{clients_of(names)} on {place}" if place else clients_of(names) for place, names in first)


def loses(row: ServedName) -> bool:
    """Whether a name loses its last good certificate."""
    return any(each.good for each in row.before) and not any(each.good for each in row.after)


def gets_worse(row: ServedName) -> bool:
    """Whether something that is not good comes, or is likelier to be served since something good goes."""
    before, bad = ({each.certificate for each in row.before if each.good is good} for good in (True, False))
    bad_after = {each.certificate for each in row.after if not each.good}
    goes = before - {each.certificate for each in row.after}
    return bool(bad_after - bad or (goes and bad_after))


def _rank(row: ServedName) -> int:
    """Where what happens to a name stands: a loss, what gets worse, what is not good anyway, the rest."""
    if loses(row) or (row.before and not row.after):
        return 0
    if gets_worse(row):
        return 1
    return 3 if all(each.good for each in row.after) else 2


def clients_of(names: Iterable[str | None]) -> str:
    """The clients of protected names, each named once: `clients of a.example.com and clients that send no name`."""
    names = list(dict.fromkeys(names))
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
        return "" if all(each.good for each in row.after) else f"get what they get now: {_joined(after)}"
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
    return text if candidate.good else f"{text}, not good: {_why_not(candidate)}"


def _why_not(candidate: Candidate) -> str:
    """Without the name that the sentence tells already, so that alike names share one."""
    return (
        "does not cover the name"
        if candidate.why_not.startswith("does not cover ")
        else candidate.why_not or "see the errors"
    )


def _held(appliances: Iterable[AppliancePlan]) -> tuple[str, ...]:
    """What clients keep for now, since what would come in its place is held."""
    sentences: dict[str, None] = {}
    for appliance in appliances:
        told: set[str] = set()
        for action in sorted(appliance.actions, key=_merely_follows):
            about = action.certificate or action.label
            if is_held_from_clients(action) and about not in told:
                told.add(about)
                sentences[_keep(action)] = None
    return tuple(sentences)


def is_held_from_clients(action: Action) -> bool:
    """Whether it is held, and clients would notice it if it were not."""
    is_leaf = not isinstance(action, Import) or action.role == "leaf"
    return action.state is State.HELD and is_leaf and action.kind in _HELD


def _merely_follows(action: Action) -> bool:
    """Whether something else is held and this with it: then that tells more."""
    return bool(action.hold and action.hold.reason.code == FOLLOWS)


def _keep(action: Action) -> str:
    until = f"Until {words.utc(action.hold.until)} clients" if action.hold and action.hold.until else "Clients"
    why = f", because {action.hold.reason.sentence}" if action.hold else ""
    return f"{until} keep what they are served now: {_HELD[action.kind].format(action.label)} is held{why}"


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
