"""What adopting leaves to a person: told from the plan that the written files lead to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.findings import Severity
from reconciler.desired.adoption import Told
from reconciler.plan.matching import CertificateClass
from reconciler.plan.requests import RequestClass
from reconciler.rules.clients import BUILD_TRUSTS_ROOT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from reconciler.base.findings import ObjectName
    from reconciler.engine.run import Planned
    from reconciler.live.store import LiveCertificate
    from reconciler.plan.model import Action

_VERBS = {
    "create_self_signed": "creates",
    "create_request": "requests",
    "import": "imports",
    "set_default": "makes the default",
    "remove": "removes",
    "remove_request": "withdraws",
}


def left_alone(planned: Planned, appliance: str) -> Iterator[Told]:
    """What of an appliance is not declared although nothing hinders it: it needs no declaration, or cannot have one."""
    store = planned.observation.stores[appliance]
    for each in planned.classes.get(appliance, {}).values():
        if each.kind is CertificateClass.APPLIANCE_MANAGED:
            yield Told(appliance, f"{called(each.live)} is the appliance's own, and left alone")
        elif each.kind is CertificateClass.UNDECLARED and not each.live.has_key:
            retire = f"leave it, or list {each.live.fingerprint} beneath `retired`"
            yield Told(appliance, f"{called(each.live)} has no key, and nothing needs it", retire)
    for request in store.requests:
        standing = planned.requests.get(appliance, {}).get(request.fingerprint)
        if standing and standing.kind in {RequestClass.UNDECLARED, RequestClass.SPARE}:
            what = f"the pending request for {request.subject.display} ({request.fingerprint[:12]}) is not declared"
            yield Told(appliance, what, "when the CA has answered, declare it as `requested`, its answer as `signed`")
    if planned.state.default_of(appliance) is None:
        row = store.by_fingerprint.get(store.default or "")
        what = f"its default is {called(row)}, which nothing declares" if row else "it has no default"
        yield Told(appliance, what, "choose one of its certificates with `default:`; the plan then sets it")


def troubles(planned: Planned, appliances: Collection[str], places: Collection[ObjectName | None]) -> Iterator[Told]:
    """What the rules or the plan find wrong with what was adopted, and clients that would not trust it."""
    for finding in planned.plan.all_findings:
        grave = finding.severity is Severity.ERROR or finding.rule == BUILD_TRUSTS_ROOT.id
        if grave and (finding.about in places or finding.appliance in appliances):
            yield Told(finding.appliance or str(finding.about), finding.message, finding.remedy)


def foretold(action: Action) -> Told:
    """What the next plan will do."""
    state = "" if action.state == "ready" else f" ({str(action.state).replace('_', ' ')})"
    if action.hold and action.hold.until:
        state = f" (held until {action.hold.until:%Y-%m-%d}: {action.hold.reason.sentence})"
    return Told(action.appliance, f"{_VERBS[action.kind]} {action.label}: {action.reason.sentence}{state}")


def called(live: LiveCertificate) -> str:
    """A live certificate as people know it, and the first digits of its SHA-256."""
    return f"{live.friendly_name or live.certificate.subject.display} ({live.fingerprint[:12]})"
