"""The pending certificate requests of the fleet as a document: what each asks for, what it is to us, what to send.

`requests --format json` is this document as it is; the text is rendered from it. It holds no key.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding
from reconciler.plan.model import PlanModel
from reconciler.plan.requests import RequestClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.base.errors import StoreError
    from reconciler.live.store import LiveStore, PendingRequest
    from reconciler.plan.model import Plan
    from reconciler.plan.requests import Standing

FORMAT_VERSION = "1.0"
EXTENSION = ".csr"


class Request(PlanModel):
    """A pending request, as the appliance's own page shows it, and what it is to us."""

    standing: RequestClass | None
    """What it is to us; None where errors keep its site from being planned."""
    certificate: str | None = None
    """Name of the declared certificate that it is for."""
    subject: str
    """Subject Name."""
    alternative_names: tuple[str, ...]
    """Alternative Names, as the appliance shows them: `dNSName - *.example.com`."""
    key: str
    """The kind of its key, in the words of the policy."""
    public_key: str
    """SHA-256 of its public key."""
    fingerprint: str
    """SHA-256 of the request."""
    request_data: str
    """Request Data: the PEM that is sent to a CA."""
    file: str = ""
    """Name of the file that `--out` puts it into; empty where nobody waits for its answer."""


class ApplianceRequests(PlanModel):
    """One appliance."""

    name: str
    """The appliance."""
    site: str | None = None
    """The site that it belongs to."""
    problem: str = ""
    """Why its store could not be observed, and what to do; empty where it was."""
    requests: tuple[Request, ...] = ()
    """Its pending requests, the awaited ones first."""
    findings: tuple[Finding, ...] = ()
    """What concerns its live state."""


class Requests(PlanModel):
    """The pending requests of the fleet."""

    format_version: str = FORMAT_VERSION
    """Version of this format: a new minor one adds, a new major one breaks."""
    at: dt.datetime
    """When they were observed, UTC."""
    appliances: tuple[ApplianceRequests, ...]
    """By name."""
    findings: tuple[Finding, ...] = ()
    """What concerns the desired state."""


def requests_of(
    plan: Plan,
    stores: Mapping[str, LiveStore],
    failures: Mapping[str, StoreError],
    standings: Mapping[str, Mapping[str, Standing]],
) -> Requests:
    """Put together what is known of pending requests.

    Args:
        plan: The plan that was made of the same stores.
        stores: The observed stores by appliance.
        failures: Why the others could not be observed.
        standings: What each request is to us, by appliance and fingerprint; none for what was not planned.
    """
    appliances = []
    for part in plan.appliances:
        store, problem = stores.get(part.name), ""
        if store is None:
            problem = str(failures.get(part.name, "not observed"))
        known = standings.get(part.name, {})
        pending = store.requests if store else ()
        rows = (_request(each, known.get(each.fingerprint)) for each in pending)
        appliances.append(
            ApplianceRequests(
                name=part.name,
                site=part.site,
                problem=problem,
                requests=tuple(sorted(rows, key=lambda row: (not row.file, row.file, row.fingerprint))),
                findings=part.findings,
            )
        )
    return Requests(at=plan.made_at, appliances=tuple(appliances), findings=plan.findings)


def _request(pending: PendingRequest, known: Standing | None) -> Request:
    awaited = known is not None and known.kind is RequestClass.AWAITED
    return Request(
        standing=known.kind if known else None,
        certificate=known.certificate if known else None,
        subject=str(pending.subject),
        alternative_names=tuple(str(each) for each in pending.subject_alternative_names),
        key=pending.key_kind,
        public_key=pending.public_key,
        fingerprint=pending.fingerprint,
        request_data=pending.request_data,
        file=f"{known.certificate}{EXTENSION}" if known and awaited else "",
    )
