"""What errors stop: which appliances are left alone altogether, and which certificates are.

Errors of form stop their site, not the fleet. A broken file is absent from the desired state, so what it might have
said counts as unknown: whatever it could concern is stopped too.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from reconciler.base.findings import Finding, Kind, Severity, Stops
from reconciler.desired.state import members

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.desired.state import DesiredState


@dataclass(frozen=True, slots=True)
class Stopped:
    """What errors stop.

    Attributes:
        appliances: Appliances for which nothing may be planned.
        certificates: Declared certificates for which nothing may be planned.
    """

    appliances: frozenset[str] = frozenset()
    certificates: frozenset[str] = frozenset()


def stopped(state: DesiredState, findings: Iterable[Finding]) -> Stopped:
    """What the errors among some findings, and those of the loader, stop."""
    errors = [each for each in (*state.findings, *findings) if each.severity is Severity.ERROR]
    errors = [each for each in errors if each.stops is not Stops.NOTHING]
    fleet = _Fleet(state)
    appliances = set(fleet.incomplete())
    certificates: set[str] = set()
    for each in errors:
        if each.stops is Stops.CERTIFICATE and each.about and each.about.kind is Kind.CERTIFICATE:
            certificates.add(each.about.name)
        else:
            appliances.update(fleet.concerned(each))
    return Stopped(frozenset(appliances), frozenset(certificates))


class _Fleet:
    """Who belongs together, for quick answers."""

    def __init__(self, state: DesiredState) -> None:
        self._state = state
        named = (members(site.model) for site in state.sites.values())
        self._all = frozenset(state.appliances).union(*named)
        self._together: dict[str, set[str]] = defaultdict(set)
        for site in state.sites.values():
            group = members(site.model)
            for member in group:
                self._together[member].update(group)
        self._holders = self._by_certificate()

    def _by_certificate(self) -> Mapping[str, set[str]]:
        holders: dict[str, set[str]] = defaultdict(set)
        for site in self._state.sites.values():
            for name in (*site.model.certificates, site.model.default):
                if name:
                    holders[name].update(members(site.model))
        for appliance in self._state.appliances.values():
            for name in (*appliance.model.certificates, appliance.model.default):
                if name:
                    holders[name].update(self._site(appliance.name))
        return holders

    def _site(self, appliance: str) -> Collection[str]:
        """The appliance and all that share a site with it."""
        return self._together.get(appliance) or (appliance,)

    def incomplete(self) -> Iterable[str]:
        """Appliances whose own, whose site's, or whose certificates' files are absent."""
        for member in self._together:
            if member not in self._state.appliances:
                yield from self._site(member)
        for certificate, holders in self._holders.items():
            if certificate not in self._state.certificates:
                yield from holders

    def _unplaced(self) -> Iterable[str]:
        """Appliances that may belong to a broken site: no other names them, and they do not say who their clients are.

        One that says so belongs to no site; where a site names it nevertheless, that is an error of its own.
        """
        for name, appliance in self._state.appliances.items():
            if name not in self._together and appliance.model.client_software is None:
                yield name

    def concerned(self, finding: Finding) -> Iterable[str]:
        """The appliances that an error stops."""
        about = finding.about
        if about is None:
            return self._site(finding.appliance) if finding.appliance else self._all
        match about.kind:
            case Kind.FLEET:
                return self._all
            case Kind.SITE:
                site = self._state.sites.get(about.name)
                return members(site.model) if site else self._unplaced()
            case Kind.APPLIANCE:
                return self._site(about.name)
            case Kind.CERTIFICATE:
                return self._holders.get(about.name, ())
            case _:
                assert_never(about.kind)
