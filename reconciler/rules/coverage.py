"""Rules about who serves which name: every name that clients use is covered wherever they may be answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Severity, Stops, found, rule
from reconciler.desired.hints import nearest
from reconciler.desired.state import members
from reconciler.pki.names import NameType, pattern_covers
from reconciler.rules.facts import Place, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.base.findings import ObjectName
    from reconciler.desired.models import Appliance, Site
    from reconciler.desired.state import Declared
    from reconciler.rules.facts import Facts

_INTRODUCTION = "SSL Certificates and BeyondTrust Privileged Remote Access"
_REPLICATION = "Copy the SSL Certificate to Privileged Remote Access Failover and Atlas Appliances"
_SELECTION = "SSL Certificate Auto-Selection"

HOSTNAME_COVERED = rule(
    "hostname-covered",
    Severity.ERROR,
    _INTRODUCTION,
    "On every appliance some declared certificate covers the site's hostname, the appliance's own and protected names.",
    acknowledgeable=True,
)
FAILOVER_COVERS_MEMBERS = rule(
    "failover-covers-members",
    Severity.ERROR,
    _REPLICATION,
    "In a failover setup both appliances hold identical certificates, which cover the hostnames of both.",
    acknowledgeable=True,
)
ATLAS_WILDCARD = rule(
    "atlas-wildcard",
    Severity.WARNING,
    _REPLICATION,
    "In an Atlas setup one wildcard certificate covers the site's hostname and every traffic node.",
)
DEFAULT_DECLARED = rule(
    "default-declared",
    Severity.ERROR,
    _SELECTION,
    "Every appliance has a declared default, which is one of the certificates declared for it.",
    acknowledgeable=True,
)
DEFAULT_COVERS_SITE = rule(
    "default-covers-site",
    Severity.ERROR,
    _SELECTION,
    "The default, which clients without server name indication get, covers the site's hostname.",
    acknowledgeable=True,
)
CONFLICTING_DEFAULT = rule(
    "conflicting-default",
    Severity.WARNING,
    _SELECTION,
    "A site and its appliances name the same default.",
    Stops.NOTHING,
)


def hostname_covered(facts: Facts) -> Iterator[Finding]:
    """Every protected name is covered on every appliance that may answer for it."""
    for site in facts.state.sites.values():
        yield from _site_names_covered(facts, site)
    for appliance in facts.state.appliances.values():
        yield from _own_name_covered(facts, appliance)


def _site_names_covered(facts: Facts, site: Declared[Site]) -> Iterator[Finding]:
    names = [(site.model.hostname, site.position("hostname"))]
    names += [(name, site.position("protected_names", i)) for i, name in enumerate(site.model.protected_names)]
    settled = [
        name
        for name in members(site.model)
        if name in facts.state.appliances and facts.is_settled(facts.state.appliances[name])
    ]
    for name, position in names:
        lacking = tuple(each for each in settled if not facts.covered(facts.state.certificates_of(each), name))
        if lacking:
            yield found(
                HOSTNAME_COVERED,
                f"no certificate declared for {listed(lacking)} covers {name}",
                f"list a certificate on the site that has {name} among its subject alternative names",
                position=position,
                about=site.about,
            )


def _own_name_covered(facts: Facts, appliance: Declared[Appliance]) -> Iterator[Finding]:
    """An appliance's own host name. Failover members have a rule of their own.

    Clients reach the traffic nodes of an Atlas setup, and an appliance outside any site, by this name; on the one
    appliance of a site only its administrators use it.
    """
    site = facts.state.site_of(appliance.name)
    topology = site.model.topology if site else None
    name = appliance.model.hostname
    if topology == "failover" or not facts.is_settled(appliance) or (site and name == site.model.hostname):
        return
    if not facts.covered(facts.state.certificates_of(appliance.name), name):
        yield found(
            HOSTNAME_COVERED,
            f"no certificate declared for {appliance.name} covers its own host name {name}",
            f"add {name} to the subject alternative names of a certificate that {appliance.name} holds",
            position=appliance.position("hostname"),
            about=appliance.about,
            severity=Severity.WARNING if topology == "single" else None,
        )


def failover_covers_members(facts: Facts) -> Iterator[Finding]:
    """The certificates that a failover site lists cover each member, and no member relies on further ones."""
    for site in facts.state.sites.values():
        if site.model.topology != "failover":
            continue
        pair = [facts.state.appliances[name] for name in members(site.model) if name in facts.state.appliances]
        for appliance in pair:
            yield from _failover_member_covered(facts, site, appliance)
        yield from _failover_extra_certificates(site, pair)


def _failover_member_covered(facts: Facts, site: Declared[Site], appliance: Declared[Appliance]) -> Iterator[Finding]:
    shared, name = site.model.certificates, appliance.model.hostname
    if facts.all_declared(shared) and not facts.covered(shared, name):
        yield found(
            FAILOVER_COVERS_MEMBERS,
            f"no certificate of the failover site {site.name} covers {name}, the host name of {appliance.name}",
            f"add {name} to the subject alternative names of a certificate that the site lists",
            position=site.position("certificates"),
            about=site.about,
        )


def _failover_extra_certificates(site: Declared[Site], pair: list[Declared[Appliance]]) -> Iterator[Finding]:
    for appliance in pair:
        others = [other for other in pair if other is not appliance]
        for index, name in enumerate(appliance.model.certificates):
            if name not in site.model.certificates and any(name not in each.model.certificates for each in others):
                yield found(
                    FAILOVER_COVERS_MEMBERS,
                    f"certificate {name} is declared for {appliance.name} only, so after a failover nobody serves it",
                    f"list it on the failover site {site.name}",
                    position=appliance.position("certificates", index),
                    about=appliance.about,
                    severity=Severity.WARNING,
                )


def atlas_wildcard(facts: Facts) -> Iterator[Finding]:
    """One certificate covers the site's hostname and, by a wildcard, every traffic node."""
    for site in facts.state.sites.values():
        names = site.model.traffic_nodes
        known = all(name in facts.state.appliances for name in names)
        if site.model.topology != "atlas" or not names or not known:
            continue
        nodes = tuple(facts.state.appliances[name].model.hostname for name in names)
        certificates = site.model.certificates
        if facts.all_declared(certificates) and not any(
            _serves_atlas(facts, each, site, nodes) for each in certificates
        ):
            yield found(
                ATLAS_WILDCARD,
                f"no certificate of the site covers both {site.model.hostname} and, by a wildcard, {listed(nodes)}",
                "list one with a wildcard for the traffic nodes; without it a new node may need a new software build",
                position=site.position("certificates"),
                about=site.about,
            )


def _serves_atlas(facts: Facts, certificate: str, site: Declared[Site], nodes: tuple[str, ...]) -> bool:
    names = facts.names(facts.state.certificates[certificate])
    wildcards = [each.value for each in names if each.type is NameType.DNS and each.value.startswith("*.")]
    return facts.covers(certificate, site.model.hostname) and all(
        any(pattern_covers(wildcard, node) for wildcard in wildcards) for node in nodes
    )


def default_declared(facts: Facts) -> Iterator[Finding]:
    """Every appliance with certificates has a default, which is one of them."""
    for place, appliances in _by_default(facts):
        default = place.model.default
        lacking = tuple(each for each in appliances if default not in facts.state.certificates_of(each))
        if default is None and any(facts.state.certificates_of(each) for each in appliances):
            yield found(
                DEFAULT_DECLARED,
                f"{place.about} names no default, so nobody decides what clients without server name indication get",
                "add `default:` with one of its certificates",
                position=place.position("certificates"),
                about=place.about,
            )
        elif default is not None and lacking:
            near = nearest(default, [each for each in place.model.certificates if each in facts.state.certificates])
            yield found(
                DEFAULT_DECLARED,
                f"the default {default} is not among the certificates declared for {listed(lacking)}",
                f"did you mean `{near}`?" if near else f"list it in the file of {place.about}, or choose a listed one",
                position=place.position("default"),
                about=place.about,
            )


def default_covers_site(facts: Facts) -> Iterator[Finding]:
    """The default covers the host name that clients without server name indication have in mind."""
    for place, appliances in _by_default(facts):
        default, name = place.model.default, facts.state.hostname_without_sni(appliances[0])
        if default and default in facts.state.certificates and not facts.covers(default, name):
            yield found(
                DEFAULT_COVERS_SITE,
                f"the default {default} does not cover {name}, so clients without server name indication refuse it",
                f"choose a certificate that covers {name} as default",
                position=place.position("default"),
                about=place.about,
            )


def _by_default(facts: Facts) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """Each place that says, or ought to say, which certificate is the default, with the appliances it says so for."""
    groups: dict[ObjectName, tuple[Place, list[str]]] = {}
    for appliance in facts.state.appliances.values():
        if not facts.is_placed(appliance):
            continue
        site = facts.state.site_of(appliance.name)
        by_site = site and not appliance.model.default and (site.model.default or site.model.certificates)
        place: Place = site if site and by_site else appliance
        groups.setdefault(place.about, (place, []))[1].append(appliance.name)
    for place, names in groups.values():
        yield place, tuple(sorted(names))


def conflicting_default(facts: Facts) -> Iterator[Finding]:
    """An appliance that overrides its site's default answers otherwise than the other members."""
    for appliance in facts.state.appliances.values():
        site = facts.state.site_of(appliance.name)
        own, common = appliance.model.default, site.model.default if site else None
        if site and own and common and own != common:
            yield found(
                CONFLICTING_DEFAULT,
                f"{appliance.name} names {own} as default, its site {site.name} names {common}",
                "name the default in one place only, so that all members answer alike",
                position=appliance.position("default"),
                about=appliance.about,
            )
