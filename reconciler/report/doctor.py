"""Whether appliances can be worked with, as a document: the checks, and what is presented to clients now.

`doctor --format json` is this document as it is; the text is rendered from it. It holds no key and no secret. It judges
names and validity, not whether clients trust what they are shown: that takes the store, and is the plan's business.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Severity
from reconciler.live.driver import CheckOutcome
from reconciler.live.presented import Unseen
from reconciler.live.store import LiveCertificate, LiveStore
from reconciler.pki.names import covers
from reconciler.plan.matching import find_targets
from reconciler.plan.model import PlanModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.desired.state import DesiredState
    from reconciler.live.driver import Check
    from reconciler.pki.certificate import Certificate

FORMAT_VERSION = "1.0"
_UNSEEN = {
    Unseen.UNRESOLVED: (
        "the name of its endpoint leads to no address",
        "correct the name, or set up `connect` in the operator settings",
    ),
    Unseen.UNREACHABLE: ("there is no way to its endpoint from here", "look at routes and firewalls"),
    Unseen.REFUSED: ("its endpoint refuses connections: nothing listens there", "look whether it runs, and the port"),
    Unseen.TIMED_OUT: ("its endpoint did not answer in time", "look at firewalls, and whether the appliance is busy"),
    Unseen.CLOSED: (
        "its endpoint closed the connection without presenting a certificate",
        "look whether something between here and there cuts the connection",
    ),
    Unseen.NO_TLS: ("its endpoint completes no TLS handshake", "look at the port, and at which TLS versions it allows"),
    Unseen.NOT_UNDERSTOOD: ("it presents no certificate that can be understood", "have it replaced"),
}


class CheckRow(PlanModel):
    """One thing that was looked at."""

    subject: str
    """What was looked at, in a few words."""
    outcome: CheckOutcome
    """What came of it."""
    message: str = ""
    """What was seen, or empty where all is well."""
    remedy: str = ""
    """What to do about it, or empty."""


class PresentedCertificate(PlanModel):
    """A certificate that is presented to clients."""

    label: str
    """What people call it: the friendly name where it is declared, else who it was issued to."""
    issued_by: str
    """Issued By."""
    not_before: dt.datetime
    """Start of its validity, UTC."""
    expiration: dt.datetime
    """Expiration, UTC."""
    alternative_names: tuple[str, ...]
    """Alternative Name(s), as the appliance shows them: `dNSName - *.example.com`."""
    fingerprint: str
    """SHA-256 of the certificate."""
    certificate: str | None = None
    """Name of the certificate declared for this appliance that it is; None for any other."""
    warnings: tuple[str, ...] = ()
    """What is wrong with it for this name, now: it does not cover the name, or is outside its validity."""


class PresentedFor(PlanModel):
    """What is presented to clients that ask for one name."""

    name: str | None
    """The protected name; None for a client that sends no server name."""
    presented: PresentedCertificate | None = None
    """What is presented; None where nothing was seen."""
    reason: Unseen | None = None
    """Why nothing was seen, for programs."""
    problem: str = ""
    """Why nothing was seen, for people; empty where something was."""
    remedy: str = ""
    """What to do about it, or empty."""


class ApplianceExamined(PlanModel):
    """One appliance."""

    name: str
    """The appliance."""
    site: str | None = None
    """The site that it belongs to."""
    healthy: bool
    """Whether no check failed and something is presented for every name."""
    checks: tuple[CheckRow, ...]
    """What was looked at, in order."""
    served: tuple[PresentedFor, ...] = ()
    """What is presented for no name and for each protected name; empty where its endpoint was not asked."""


class Doctor(PlanModel):
    """Whether the appliances of a fleet can be reached and understood."""

    format_version: str = FORMAT_VERSION
    """Version of this format: a new minor one adds, a new major one breaks."""
    at: dt.datetime
    """When it was looked at, UTC."""
    appliances: tuple[ApplianceExamined, ...]
    """By name."""
    findings: tuple[Finding, ...] = ()
    """Errors of form in the desired state: what they are about may have been left out."""


def doctor_of(
    state: DesiredState,
    at: dt.datetime,
    checks: Mapping[str, Sequence[Check]],
    presented: Mapping[str, Mapping[str | None, Certificate | Unseen]],
) -> Doctor:
    """Put together what was found out.

    Args:
        state: The desired state.
        at: When it was looked at.
        checks: What was looked at, by appliance.
        presented: What each of them presents, by name; None stands for no name.
    """
    return Doctor(
        at=at,
        appliances=tuple(_appliance(state, at, name, checks[name], presented[name]) for name in sorted(checks)),
        findings=tuple(each for each in state.findings if each.severity is Severity.ERROR),
    )


def _appliance(
    state: DesiredState,
    at: dt.datetime,
    name: str,
    checks: Sequence[Check],
    presented: Mapping[str | None, Certificate | Unseen],
) -> ApplianceExamined:
    site = state.site_of(name)
    declared = _declared(state, at, name, [each for each in presented.values() if not isinstance(each, Unseen)])
    served = []
    for server_name, seen in presented.items():
        if isinstance(seen, Unseen):
            problem, remedy = _UNSEEN[seen]
            served.append(PresentedFor(name=server_name, reason=seen, problem=problem, remedy=remedy))
        else:
            meant = state.hostname_without_sni(name) if server_name is None else server_name
            shown = _presented(state, seen, declared.get(seen.fingerprint), _warnings(seen, meant, at))
            served.append(PresentedFor(name=server_name, presented=shown))
    rows = tuple(
        CheckRow(subject=each.subject, outcome=each.outcome, message=each.message, remedy=each.remedy)
        for each in checks
    )
    healthy = all(each.outcome is not CheckOutcome.FAILED for each in rows) and all(each.presented for each in served)
    return ApplianceExamined(
        name=name, site=site.name if site else None, healthy=healthy, checks=rows, served=tuple(served)
    )


def _declared(
    state: DesiredState, at: dt.datetime, appliance: str, presented: Sequence[Certificate]
) -> Mapping[str, str]:
    """Names of the declared certificates that are among those presented, by fingerprint, by the rules of matching."""
    # What is presented has its key there, or no handshake would succeed.
    rows = tuple(LiveCertificate(each, "", has_key=True) for each in dict.fromkeys(presented))
    retired = frozenset(each.sha256 for each in state.appliances[appliance].model.retired)
    targets = find_targets(state, state.certificates_of(appliance), {appliance: LiveStore(rows)}, retired, at)
    return {each.instance: each.name for each in targets if each.instance}


def _presented(
    state: DesiredState, certificate: Certificate, declared: str | None, warnings: tuple[str, ...]
) -> PresentedCertificate:
    model = state.certificates[declared].model if declared else None
    return PresentedCertificate(
        label=(model and model.friendly_name) or declared or certificate.subject.display,
        issued_by=certificate.issuer.display,
        not_before=certificate.not_before,
        expiration=certificate.not_after,
        alternative_names=tuple(str(each) for each in certificate.subject_alternative_names),
        fingerprint=certificate.fingerprint,
        certificate=declared,
        warnings=warnings,
    )


def _warnings(certificate: Certificate, name: str, at: dt.datetime) -> tuple[str, ...]:
    """What is wrong with it for a name, whoever trusts it."""
    found = []
    if not covers(certificate.subject_alternative_names, name):
        found.append(f"does not cover {name}")
    if at > certificate.not_after:
        found.append("expired")
    if at < certificate.not_before:
        found.append("not valid yet")
    return tuple(found)
