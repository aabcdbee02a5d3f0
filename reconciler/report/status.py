"""The live stores as a document: the rows that each appliance shows, what each is to us, and what falls due.

`status --format json` is this document as it is; the text is rendered from it. It holds no key.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field

from reconciler.base.findings import Finding
from reconciler.pki.chain import ChainBuilder
from reconciler.plan.matching import CertificateClass, Classified
from reconciler.plan.model import Candidate, PlanModel
from reconciler.report import words
from reconciler.rules.validity import next_due

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.base.errors import StoreError
    from reconciler.desired.state import DesiredState
    from reconciler.live.store import LiveStore, PendingRequest
    from reconciler.pki.certificate import Certificate
    from reconciler.plan.model import AppliancePlan, Plan
    from reconciler.plan.requests import Standing

FORMAT_VERSION = "1.2"
_DOING = {
    "create_self_signed": "being created",
    "create_request": "being requested",
    "import": "being imported",
    "set_default": "becoming the default",
    "remove": "being removed",
    "remove_request": "being withdrawn",
}


class Row(PlanModel):
    """A row of the appliance's own table of certificates, and what it is to us."""

    friendly_name: str
    """Friendly Name."""
    issued_to: str
    """Issued To."""
    issued_by: str
    """Issued By."""
    expiration: dt.datetime
    """Expiration, UTC."""
    alternative_names: tuple[str, ...]
    """Alternative Name(s), as the appliance shows them: `dNSName - *.example.com`."""
    private_key: bool
    """Private Key?"""
    default: bool
    """Default."""
    fingerprint: str
    """SHA-256 of the certificate."""
    class_: Annotated[CertificateClass | None, Field(alias="class")]
    """What it is to us; None where errors keep its site from being planned."""
    certificate: str | None = None
    """Name of the declared certificate that it is, preceded, or is newer than."""
    newer: bool = False
    """Whether it is newer than that declared certificate."""
    warnings: tuple[str, ...] = ()
    """What is wrong with it by itself, now."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_by_name=True)


class RequestRow(PlanModel):
    """A row of the appliance's own table of certificate requests."""

    subject: str
    """Subject."""
    alternative_names: tuple[str, ...]
    """Alternative Name(s)."""
    fingerprint: str
    """SHA-256 of the request."""
    certificate: str | None = None
    """Name of the declared certificate that it is for."""


class ServedNow(PlanModel):
    """What may be served for a protected name now."""

    name: str | None
    """The protected name; None for a client that sends no server name."""
    candidates: tuple[Candidate, ...]
    """What may be served."""


class Due(PlanModel):
    """Something that time will bring."""

    at: dt.datetime
    """When, UTC; past where it is overdue."""
    what: str
    """What falls due, for people."""
    certificate: str | None = None
    """Name of the declared certificate that it concerns."""


class Reconciliation(PlanModel):
    """What the loop (`reconciler watch`) last knew of an appliance."""

    sync: str
    """Whether it held what is declared: Synced, OutOfSync or Unknown."""
    health: str
    """How it fared: Healthy, Progressing, Degraded or Suspended."""
    suspended: str = ""
    """Why and until when it is suspended, for people; empty where it is not."""
    mode: str
    """What the loop may do with it: observe, plan or apply."""
    looked_at: dt.datetime | None = None
    """When the loop last looked, UTC; None where it has not yet."""


class LoopStatus(PlanModel):
    """The loop over this desired state."""

    at_work: bool | None
    """Whether it is at work now, or else has ended; None where whoever asks may not know."""
    knew_at: dt.datetime | None = None
    """When what it knew last changed, UTC; None where that cannot be told."""
    problem: str = ""
    """Why that cannot be told, and what to do; empty where it can."""
    source_problem: str = ""
    """Why a newer desired state is not in force, or why its source gives nothing; empty where all is well."""
    source_problem_since: dt.datetime | None = None
    """Since when, UTC."""


class ApplianceStatus(PlanModel):
    """One appliance."""

    name: str
    """The appliance."""
    site: str | None = None
    """The site that it belongs to."""
    problem: str = ""
    """Why its store could not be observed, and what to do; empty where it was."""
    certificates: tuple[Row, ...] = ()
    """Its certificates, the default first, then by friendly name."""
    requests: tuple[RequestRow, ...] = ()
    """Its pending requests."""
    serving: tuple[ServedNow, ...] = ()
    """What may be served for each protected name; empty where errors keep its site from being planned."""
    due: tuple[Due, ...] = ()
    """What falls due, the soonest first."""
    findings: tuple[Finding, ...] = ()
    """What concerns its live state."""
    reconciliation: Reconciliation | None = None
    """What the loop last knew of it; None where no loop has known it."""


class Status(PlanModel):
    """The fleet as it is."""

    format_version: str = FORMAT_VERSION
    """Version of this format: a new minor one adds, a new major one breaks."""
    at: dt.datetime
    """When it was observed, UTC."""
    appliances: tuple[ApplianceStatus, ...]
    """By name."""
    findings: tuple[Finding, ...] = ()
    """What concerns the desired state."""
    loop: LoopStatus | None = None
    """The loop that knows it; None where none has."""


def status_of(
    state: DesiredState,
    plan: Plan,
    stores: Mapping[str, LiveStore],
    failures: Mapping[str, StoreError],
    classes: Mapping[str, Mapping[str, Classified]],
    requests: Mapping[str, Mapping[str, Standing]],
    reconciliations: Mapping[str, Reconciliation] | None = None,
    loop: LoopStatus | None = None,
) -> Status:
    """Put together what is known of the fleet.

    Args:
        state: The desired state.
        plan: The plan made of it, which knows what is served and what is held.
        stores: The observed stores by appliance.
        failures: Why the others could not be observed.
        classes: What each live certificate is, by appliance and fingerprint; none for appliances that were not planned.
        requests: What each pending request is, likewise.
        reconciliations: What the loop last knew of them, by appliance.
        loop: The loop itself.
    """
    appliances = tuple(
        _appliance(
            state,
            plan.made_at,
            each,
            stores.get(each.name),
            failures.get(each.name),
            classes.get(each.name, {}),
            requests.get(each.name, {}),
        ).model_copy(update={"reconciliation": (reconciliations or {}).get(each.name)})
        for each in plan.appliances
    )
    return Status(at=plan.made_at, appliances=appliances, findings=plan.findings, loop=loop)


def _appliance(
    state: DesiredState,
    now: dt.datetime,
    plan: AppliancePlan,
    store: LiveStore | None,
    failure: StoreError | None,
    classes: Mapping[str, Classified],
    standings: Mapping[str, Standing],
) -> ApplianceStatus:
    if store is None:
        problem = str(failure) if failure else "not observed"
        return ApplianceStatus(name=plan.name, site=plan.site, problem=problem, findings=plan.findings)
    rows = _rows(store, classes, now)
    requests = tuple(_request(each, standings.get(each.fingerprint)) for each in store.requests)
    return ApplianceStatus(
        name=plan.name,
        site=plan.site,
        certificates=rows,
        requests=requests,
        serving=tuple(ServedNow(name=row.name, candidates=row.before) for row in plan.serving),
        due=due_of(state, plan, store, classes),
        findings=plan.findings,
    )


def _request(request: PendingRequest, standing: Standing | None) -> RequestRow:
    return RequestRow(
        subject=str(request.subject),
        alternative_names=tuple(str(name) for name in request.subject_alternative_names),
        fingerprint=request.fingerprint,
        certificate=standing.certificate if standing else None,
    )


def _rows(store: LiveStore, classes: Mapping[str, Classified], now: dt.datetime) -> tuple[Row, ...]:
    chains = ChainBuilder(live.certificate for live in store.certificates)
    rows = []
    for live in store.certificates:
        certificate, known = live.certificate, classes.get(live.fingerprint)
        rows.append(
            Row(
                friendly_name=live.friendly_name,
                issued_to=certificate.subject.display,
                issued_by=certificate.issuer.display,
                expiration=certificate.not_after,
                alternative_names=tuple(str(each) for each in certificate.subject_alternative_names),
                private_key=live.has_key,
                default=live.fingerprint == store.default,
                fingerprint=live.fingerprint,
                class_=known.kind if known else None,
                certificate=known.certificate if known else None,
                newer=known.newer if known else False,
                warnings=_warnings(certificate, chains, now),
            )
        )
    return tuple(sorted(rows, key=lambda row: (not row.default, row.friendly_name.casefold(), row.fingerprint)))


def _warnings(certificate: Certificate, chains: ChainBuilder, now: dt.datetime) -> tuple[str, ...]:
    """What is wrong by itself: its validity, and issuers that the store lacks."""
    found = []
    if certificate.not_after < now:
        found.append("expired")
    if certificate.not_before > now:
        found.append(f"not valid before {words.utc(certificate.not_before)}")
    best = chains.chains(certificate)[0]
    if best.missing is not None:
        found.append(f"its issuer {best.missing.display} is missing")
    return tuple(found)


def due_of(
    state: DesiredState, plan: AppliancePlan, store: LiveStore, classes: Mapping[str, Classified]
) -> tuple[Due, ...]:
    """Renewals and expirations of what has a key, and the ends of holds."""
    due = []
    for live in store.certificates:
        known = classes.get(live.fingerprint)
        label = live.friendly_name or live.certificate.subject.display
        if not live.has_key or known is None or known.kind is CertificateClass.FACTORY:
            continue
        declared = state.certificates.get(known.certificate or "")
        end = live.certificate.not_after
        if known.kind is CertificateClass.DECLARED and declared:
            margin = declared.model.renew_before or state.policy.renew_before
            at, why = next_due(live.certificate.not_before, end, margin, declared.model.issued_after)
            due.append(Due(at=at, what=f"{label} is due for renewal, {why}", certificate=declared.name))
        due.append(Due(at=end, what=f"{label} expires", certificate=known.certificate))
    for action in plan.actions:
        if action.hold and action.hold.until:
            what = f"the hold ends that keeps {action.label} from {_DOING[action.kind]}"
            due.append(Due(at=action.hold.until, what=what, certificate=action.certificate))
    return tuple(sorted(due, key=lambda each: (each.at, each.what)))
