"""Rules about time: committed certificates that are not valid at the present instant, or not for long.

Their errors stop the certificate, not its site: time passes without anybody committing anything.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Severity, Stops, found, rule
from reconciler.base.references import format_duration
from reconciler.base.text import instant
from reconciler.desired.models import Requested
from reconciler.rules.facts import chain_position, leaf_position, quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.base.position import Position
    from reconciler.desired.models import Certificate
    from reconciler.desired.state import Declared, DesiredState
    from reconciler.pki import certificate as pki
    from reconciler.rules.facts import Facts

_RENEW = "Renew an Expired Certificate for the Privileged Remote Access Appliance"

EXPIRED = rule(
    "expired",
    Severity.ERROR,
    _RENEW,
    "No committed certificate, nor the chain that it needs, has expired.",
    Stops.CERTIFICATE,
)
EXPIRES_SOON = rule(
    "expires-soon",
    Severity.WARNING,
    _RENEW,
    "A committed certificate and its chain last longer than the time that a renewal takes.",
    Stops.CERTIFICATE,
)
NOT_YET_VALID = rule(
    "not-yet-valid",
    Severity.WARNING,
    "RFC 5280, section 4.1.2.5",
    "A committed certificate and its chain are valid already; until then it is not imported.",
    Stops.CERTIFICATE,
)


def renewal_instant(not_before: dt.datetime, not_after: dt.datetime, renew_before: dt.timedelta) -> dt.datetime:
    """When a certificate falls due: `renew_before` its end, or a third of its lifetime where that is shorter."""
    return not_after - min(renew_before, (not_after - not_before) / 3)


def moment(value: dt.datetime) -> str:
    """A date where an instant is the first of its day, as people wrote it."""
    return instant(value) if value.time() != dt.time() else f"{value:%Y-%m-%d}"


def next_due(
    not_before: dt.datetime, not_after: dt.datetime, renew_before: dt.timedelta, issued_after: dt.datetime | None
) -> tuple[dt.datetime, str]:
    """When a certificate falls due, and why then."""
    at = renewal_instant(not_before, not_after, renew_before)
    if issued_after and not_before < issued_after < at:
        return issued_after, f"it was issued before {moment(issued_after)}"
    if at + renew_before == not_after:
        return at, f"{format_duration(renew_before)} before it expires"
    return at, "a third of its lifetime before it expires"


def renewal_due(certificate: Declared[Certificate], leaf: pki.Certificate, state: DesiredState) -> dt.datetime:
    """When a committed certificate falls due, by what is declared for it or by the policy."""
    before = certificate.model.renew_before or state.policy.renew_before
    return renewal_instant(leaf.not_before, leaf.not_after, before)


def expired(facts: Facts) -> Iterator[Finding]:
    """The committed certificate, or the first expired one of the chain where every way up has one."""
    for certificate, leaf in facts.with_leaf:
        for each, position in _unusable(facts, certificate, leaf):
            if each.not_after < facts.now:
                yield found(
                    EXPIRED,
                    f"{quote(each.subject.display)} expired on {instant(each.not_after)}",
                    _renewal(certificate) if each == leaf else "commit the CA's present chain",
                    position=position,
                    about=certificate.about,
                )


def not_yet_valid(facts: Facts) -> Iterator[Finding]:
    """The committed certificate, or one of its chain, starts later."""
    for certificate, leaf in facts.with_leaf:
        for each, position in _unusable(facts, certificate, leaf):
            if each.not_before > facts.now:
                yield found(
                    NOT_YET_VALID,
                    f"{quote(each.subject.display)} is not valid before {instant(each.not_before)}",
                    "wait, or check the clock of this machine",
                    position=position,
                    about=certificate.about,
                )


def expires_soon(facts: Facts) -> Iterator[Finding]:
    """The committed certificate is due for renewal, or the chain that it needs ends earlier and soon."""
    for certificate, leaf in facts.with_leaf:
        if leaf.not_after < facts.now:
            continue
        if facts.now >= renewal_due(certificate, leaf, facts.state):
            yield found(
                EXPIRES_SOON,
                f"{quote(leaf.subject.display)} expires on {instant(leaf.not_after)}",
                _renewal(certificate),
                position=leaf_position(certificate),
                about=certificate.about,
            )
        ending = _first_to_end(facts, certificate)
        if ending and ending.not_after < leaf.not_after and _ends_soon(facts, certificate, ending):
            yield found(
                EXPIRES_SOON,
                f"{quote(ending.subject.display)}, which the certificate needs, expires on {instant(ending.not_after)}",
                "commit the CA's next chain, or a certificate from another",
                position=chain_position(certificate),
                about=certificate.about,
            )


def _unusable(
    facts: Facts, certificate: Declared[Certificate], leaf: pki.Certificate
) -> Iterator[tuple[pki.Certificate, Position]]:
    """The certificate itself, and the authorities above it where no complete chain of authorities is valid now."""
    if not leaf.is_valid_at(facts.now):
        yield leaf, leaf_position(certificate)
    complete = [chain for chain in facts.chains[certificate.name] if chain.complete]
    above = [chain.certificates[1:] for chain in complete]
    if above and not any(all(each.is_valid_at(facts.now) for each in way) for way in above):
        for each in above[0]:
            if not each.is_valid_at(facts.now):
                yield each, chain_position(certificate)


def _first_to_end(facts: Facts, certificate: Declared[Certificate]) -> pki.Certificate | None:
    """Of the way up that lasts longest, the authority that ends first."""
    ways = [chain.certificates[1:] for chain in facts.chains[certificate.name] if chain.complete]
    ends = [min(way, key=lambda each: each.not_after) for way in ways if way]
    return max(ends, key=lambda each: each.not_after, default=None)


def _ends_soon(facts: Facts, certificate: Declared[Certificate], authority: pki.Certificate) -> bool:
    return facts.now <= authority.not_after and facts.now >= renewal_due(certificate, authority, facts.state)


def _renewal(certificate: Declared[Certificate]) -> str:
    if isinstance(certificate.model.source, Requested):
        return "send the renewal request to the CA and commit its answer as `signed`"
    return "commit a renewed certificate with its key"
