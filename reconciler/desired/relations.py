"""Rules of form between files: topologies and members, references by name, who says `client_software`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Kind, found
from reconciler.desired import rules
from reconciler.desired.state import members

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from reconciler.desired.hints import Hints
    from reconciler.desired.models import Appliance, Site
    from reconciler.desired.state import Declared


class Relations:
    """Everything that was declared, by name.

    Args:
        sites: The sites that could be read.
        appliances: The appliances that could be read.
        names: The names of all files of each kind, broken ones included: a reference to these is not unknown.
        broken_members: The members that broken sites name, as far as that can be told.
        hints: Near misses.
    """

    def __init__(
        self,
        sites: Mapping[str, Declared[Site]],
        appliances: Mapping[str, Declared[Appliance]],
        names: Mapping[Kind, Collection[str]],
        broken_members: Collection[str],
        hints: Hints,
    ) -> None:
        self._sites = sites
        self._appliances = appliances
        self._names = names
        self._broken_members = broken_members
        self._hints = hints

    def findings(self) -> Iterator[Finding]:
        """All findings of form between files."""
        sites_of: dict[str, list[str]] = {}
        for site in self._sites.values():
            for member in members(site.model):
                sites_of.setdefault(member, []).append(site.name)
        for site in self._sites.values():
            yield from _topology(site)
            yield from _builds(site)
            yield from self._members(site, sites_of)
            yield from self._listed(site)
        for appliance in self._appliances.values():
            yield from _builds(appliance)
            yield from self._listed(appliance)
            yield from self._client_software(appliance, sites_of)

    def _members(self, site: Declared[Site], sites_of: Mapping[str, list[str]]) -> Iterator[Finding]:
        seen: set[str] = set()
        for path, member in _member_places(site.model):
            position = site.position(*path)
            if member in seen:
                message = f"the appliance {member} is named twice"
                yield found(rules.MEMBER_TWICE, message, "name it once", position=position, about=site.about)
                continue
            seen.add(member)
            others = [name for name in sites_of[member] if name != site.name]
            if others:
                message = f"the appliance {member} is a member of the site {others[0]} too"
                remedy = "name it in one of the two"
                yield found(rules.SHARED_APPLIANCE, message, remedy, position=position, about=site.about)
            if member not in self._names[Kind.APPLIANCE]:
                yield self._unknown(site, Kind.APPLIANCE, member, path)

    def _listed(self, place: Declared[Site] | Declared[Appliance]) -> Iterator[Finding]:
        for index, name in enumerate(place.model.certificates):
            if name not in self._names[Kind.CERTIFICATE]:
                yield self._unknown(place, Kind.CERTIFICATE, name, ("certificates", index))

    def _unknown(
        self, place: Declared[Site] | Declared[Appliance], kind: Kind, name: str, path: tuple[str | int, ...]
    ) -> Finding:
        remedy = self._hints.did_you_mean(name, self._names[kind], f"declare it in {kind.value}s/{name}.yaml")
        message = f"there is no {kind.value} {name}"
        return found(rules.UNKNOWN_REFERENCE, message, remedy, position=place.position(*path), about=place.about)

    def _client_software(self, appliance: Declared[Appliance], sites_of: Mapping[str, list[str]]) -> Iterator[Finding]:
        model, about = appliance.model, appliance.about
        sites = sites_of.get(appliance.name)
        if sites:
            for key in ("client_software", "settle"):
                if getattr(model, key) is not None:
                    position = appliance.position(key, key=True)
                    message = f"`{key}` is the business of the site {sites[0]}, to which the appliance belongs"
                    remedy = "say it there, and take it out here"
                    yield found(rules.CLIENT_SOFTWARE, message, remedy, position=position, about=about)
        elif model.client_software is None and appliance.name not in self._broken_members:
            message = "no site that could be read names this appliance, and it does not say which clients it has"
            remedy = "name it in its site, or add `client_software:` with `none` or the software builds"
            yield found(rules.CLIENT_SOFTWARE, message, remedy, position=appliance.position(), about=about)


def _member_places(site: Site) -> Iterator[tuple[tuple[str | int, ...], str]]:
    yield ("primary",), site.primary
    if site.backup is not None:
        yield ("backup",), site.backup
    for index, node in enumerate(site.traffic_nodes):
        yield ("traffic_nodes", index), node


def _topology(site: Declared[Site]) -> Iterator[Finding]:
    model = site.model
    given = {"backup": model.backup is not None, "traffic_nodes": bool(model.traffic_nodes)}
    own = {"failover": "backup", "atlas": "traffic_nodes"}
    for key, there in given.items():
        if there and own.get(model.topology) != key:
            topology = next(name for name, its in own.items() if its == key)
            message = f"`{key}` belongs to the topology {topology}, not to {model.topology}"
            remedy = f"write `topology: {topology}`, or take `{key}` out"
            position = site.position(key, key=True)
            yield found(rules.TOPOLOGY_MEMBERS, message, remedy, position=position, about=site.about)
    needed = own.get(model.topology)
    if needed and not given[needed]:
        message = f"the topology {model.topology} needs `{needed}`"
        position = site.position("topology")
        yield found(rules.TOPOLOGY_MEMBERS, message, f"add `{needed}:`", position=position, about=site.about)


def _builds(place: Declared[Site] | Declared[Appliance]) -> Iterator[Finding]:
    builds = place.model.client_software
    if builds is None or builds == "none":
        return
    for index, (former, latter) in enumerate(pairwise(builds)):
        if latter.installed_at <= former.installed_at:
            message = "this build was not installed after the one before it"
            position = place.position("client_software", index + 1, "installed_at")
            remedy = "list the builds oldest first"
            yield found(rules.BUILDS_ORDER, message, remedy, position=position, about=place.about)
