"""Which appliances belong together, and which of them a newer desired state concerns. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from reconciler.base.errors import UnreadableInput
from reconciler.base.findings import Finding, Kind, ObjectName, Severity
from reconciler.desired.material import committed
from reconciler.desired.models import Requested
from reconciler.desired.state import members

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.desired.state import Declared, DesiredState


def together(state: DesiredState) -> tuple[frozenset[str], ...]:
    """The appliances in groups that are observed and planned together, each appliance in one.

    Members of a site belong together. So do all for which one request to a CA is made: its key may have to come from
    any of them. Whatever else is declared for several sites comes to each of them by itself.
    """
    groups = {name: {name} for name in state.appliances}
    shared = [members(site.model) for site in state.sites.values()]
    shared += [
        state.holders_of(name) for name, each in state.certificates.items() if isinstance(each.model.source, Requested)
    ]
    for names in shared:
        merged = {other for name in names if name in groups for other in groups[name]}
        groups.update(dict.fromkeys(merged, merged))
    distinct = {id(group): frozenset(group) for group in groups.values()}
    return tuple(sorted(distinct.values(), key=min))


def concerned(old: DesiredState, new: DesiredState) -> frozenset[str]:
    """The appliances of a desired state for which more than the wording has changed, and all that belong to them.

    What concerns an appliance is what is declared for it, its site and its certificates, with the content of every
    committed file that these name, and the policy. The rest of the fleet does not; what rules say of it may.
    """
    if old.policy != new.policy:
        return frozenset(new.appliances)
    changed = _changed(old, new)
    touched = {
        name
        for name in new.appliances
        if name not in old.appliances
        or _about(old, name) != _about(new, name)
        or not changed.isdisjoint(_about(new, name))
    }
    return frozenset(name for group in together(new) if not touched.isdisjoint(group) for name in group)


def alike(one: DesiredState, other: DesiredState) -> bool:
    """Whether two desired states say the same: they may differ in wording, and in files that nothing refers to."""
    return one.policy == other.policy and one.findings == other.findings and not _changed(one, other)


def errors_of(state: DesiredState, findings: Iterable[Finding]) -> Mapping[str, tuple[Finding, ...]]:
    """Errors by the appliances that they concern. One whose own file is broken is among these, though not declared."""
    return by_appliance(state, (each for each in findings if each.severity is Severity.ERROR))


def by_appliance(state: DesiredState, findings: Iterable[Finding]) -> Mapping[str, tuple[Finding, ...]]:
    """Findings by the appliances that they concern."""
    found: dict[str, list[Finding]] = defaultdict(list)
    for each in findings:
        for name in _subjects(state, each):
            found[name].append(each)
    return {name: tuple(those) for name, those in found.items()}


def _subjects(state: DesiredState, finding: Finding) -> Collection[str]:
    about = finding.about
    if about is None:
        return [finding.appliance] if finding.appliance else []
    match about.kind:
        case Kind.FLEET:
            return state.appliances
        case Kind.SITE:
            site = state.sites.get(about.name)
            return members(site.model) if site else []
        case Kind.APPLIANCE:
            return [about.name]
        case Kind.CERTIFICATE:
            return state.holders_of(about.name)


def _objects(state: DesiredState) -> Mapping[ObjectName, Declared[Any]]:
    everything = (*state.sites.values(), *state.appliances.values(), *state.certificates.values())
    return {each.about: each for each in everything}


def _changed(old: DesiredState, new: DesiredState) -> frozenset[ObjectName]:
    """What is not declared any more, or newly, or otherwise."""
    before, after = _objects(old), _objects(new)
    alike = (
        about
        for about, each in after.items()
        if about in before and before[about].model == each.model and _files(old, each) == _files(new, each)
    )
    return frozenset(before.keys() | after.keys()) - frozenset(alike)


def _files(state: DesiredState, declared: Declared[Any]) -> list[bytes | None]:
    """The content of the committed files that an object names; None for one that cannot be read."""
    return [_content(state, path) for _, path in committed(declared.model)]


def _content(state: DesiredState, path: str) -> bytes | None:
    try:
        return state.tree.read(path)
    except UnreadableInput:
        return None


def _about(state: DesiredState, appliance: str) -> frozenset[ObjectName]:
    """The objects that say something of an appliance; those that are broken or missing included."""
    site = state.site_of(appliance)
    names = {*state.certificates_of(appliance), state.default_of(appliance)} - {None}
    certificates = (ObjectName(Kind.CERTIFICATE, str(name)) for name in names)
    own = [state.appliances[appliance].about, *([site.about] if site else [])]
    return frozenset((*own, *certificates))
