"""Rules of form between files: topologies and members, references by name, who says `client_software`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Kind, ObjectName, found
from reconciler.desired import rules
from reconciler.desired.named import certificates_named, members_named
from reconciler.desired.tree import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from reconciler.base.position import Position
    from reconciler.desired.hints import Hints
    from reconciler.desired.models import Appliance, Site
    from reconciler.desired.nodes import Document
    from reconciler.desired.state import Declared


class Relations:
    """Everything that was declared. What a file refers to is known even where a model refuses it.

    Args:
        documents: Every legible file, by what it declares.
        sites: The sites that could be read.
        appliances: The appliances that could be read.
        names: The names of all files of each kind, illegible ones included: a reference to these is not unknown.
        hints: Near misses.
    """

    def __init__(
        self,
        documents: Mapping[ObjectName, Document],
        sites: Mapping[str, Declared[Site]],
        appliances: Mapping[str, Declared[Appliance]],
        names: Mapping[Kind, Collection[str]],
        hints: Hints,
    ) -> None:
        self._documents = documents
        self._sites = sites
        self._appliances = appliances
        self._names = names
        self._hints = hints
        self._sites_of: dict[str, list[str]] = {}

    def findings(self) -> Iterator[Finding]:
        """All findings of form between files."""
        for about, document in self._documents.items():
            if about.kind is Kind.SITE:
                for _, member in members_named(document):
                    self._sites_of.setdefault(member, []).append(about.name)
        for about, document in self._documents.items():
            if about.kind is Kind.SITE:
                yield from self._members(about, document)
            if about.kind in (Kind.SITE, Kind.APPLIANCE):
                yield from self._listed(about, document)
        for site in self._sites.values():
            yield from _topology(site)
            yield from _builds(site)
        for appliance in self._appliances.values():
            yield from _builds(appliance)
            yield from self._client_software(appliance)

    def _members(self, about: ObjectName, document: Document) -> Iterator[Finding]:
        seen: set[str] = set()
        for path, member in members_named(document):
            position = document.position(*path)
            if member in seen:
                message = f"the appliance {shown(member)} is named twice"
                yield found(rules.MEMBER_TWICE, message, "name it once", position=position, about=about)
                continue
            seen.add(member)
            others = [name for name in self._sites_of[member] if name != about.name]
            if others:
                message = f"the appliance {shown(member)} is a member of the site {shown(others[0])} too"
                remedy = "name it in one of the two"
                yield found(rules.SHARED_APPLIANCE, message, remedy, position=position, about=about)
            if member not in self._names[Kind.APPLIANCE]:
                yield self._unknown(about, position, Kind.APPLIANCE, member)

    def _listed(self, about: ObjectName, document: Document) -> Iterator[Finding]:
        for path, name in certificates_named(document):
            if name not in self._names[Kind.CERTIFICATE]:
                yield self._unknown(about, document.position(*path), Kind.CERTIFICATE, name)

    def _unknown(self, about: ObjectName, position: Position, kind: Kind, name: str) -> Finding:
        declare = f"declare it in {kind.value}s/{shown(name)}.yaml"
        remedy = self._hints.did_you_mean(name, self._names[kind], declare)
        message = f"there is no {kind.value} {shown(name)}"
        return found(rules.UNKNOWN_REFERENCE, message, remedy, position=position, about=about)

    def _client_software(self, appliance: Declared[Appliance]) -> Iterator[Finding]:
        model, about = appliance.model, appliance.about
        sites = self._sites_of.get(appliance.name)
        if sites:
            for key in ("client_software", "settle"):
                if getattr(model, key) is not None:
                    position = appliance.position(key, key=True)
                    message = f"`{key}` is the business of the site {shown(sites[0])}, to which the appliance belongs"
                    remedy = "say it there, and take it out here"
                    yield found(rules.CLIENT_SOFTWARE, message, remedy, position=position, about=about)
        elif model.client_software is None:
            message = "no site that could be read names this appliance, and it does not say which clients it has"
            remedy = "name it in its site, or add `client_software:` with `none` or the software builds"
            yield found(rules.CLIENT_SOFTWARE, message, remedy, position=appliance.position(), about=about)


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
