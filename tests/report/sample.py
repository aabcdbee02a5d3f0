"""One plan with everything in it that a plan can say, hostile names included, and the stores that it was made from.

The certificates are real; what identifies them and their keys is set, so that every run shows the same.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import replace

from reconciler.base.errors import StoreUnreachable
from reconciler.base.findings import Finding, Kind, ObjectName, Severity, Stops
from reconciler.base.position import Position
from reconciler.desired.state import Material
from reconciler.live.store import LiveCertificate, LiveStore, Origin, PendingRequest
from reconciler.pki.certificate import Certificate, distinguished_name
from reconciler.pki.names import parse_name
from reconciler.plan.matching import CertificateClass, Classified
from reconciler.plan.model import (
    Action,
    AppliancePlan,
    Basis,
    ByHand,
    Candidate,
    CreateSelfSigned,
    Flag,
    Hold,
    Import,
    KeySource,
    Plan,
    Progress,
    Reason,
    Remove,
    ServedName,
    SetDefault,
    State,
    Summary,
)
from tests.support.authority import DAY, NOW, Authority, self_signed
from tests.support.desired import desired

HOSTILE = "Evil\x1b[31m\u202e[bold red]gpj.exe[/]\x9b2J\nsecond <b>&amp;</b> | `line`"
ACCESS_YAML = "desired-state/certificates/access.yaml"


def _known(certificate: Certificate, name: str) -> Certificate:
    fingerprint, key = (hashlib.sha256(each.encode()).hexdigest() for each in (name, f"key of {name}"))
    return replace(certificate, fingerprint=fingerprint, public_key=key)


_root = Authority.root("Example Root")
_issuing = _root.intermediate("Example Issuing CA")
_names = ["access.example.com", "east-1.example.com", "west-1.example.com"]
ROOT, ISSUING = _known(_root.certificate, "root"), _known(_issuing.certificate, "issuing")
LEAF = _known(_issuing.issue(_names).certificate, "leaf")
OLD = _known(_issuing.issue(_names, not_after=NOW + 20 * DAY).certificate, "old")
FACTORY = _known(self_signed([], common_name="BeyondTrust Appliance").certificate, "factory")
EVIL = _known(
    self_signed(["evil.example.com"], common_name=HOSTILE[:60], not_after=NOW - DAY).certificate,
    "evil",
)
ORPHAN = _known(Authority.root("Lost Root").issue(["orphan.example.com"], common_name="Orphan").certificate, "orphan")

MATERIAL = {"access": Material(LEAF, (ISSUING, ROOT))}


def _store(*rows: LiveCertificate, default: Certificate, requests: tuple[PendingRequest, ...] = ()) -> LiveStore:
    return LiveStore(tuple(sorted(rows, key=lambda row: row.fingerprint)), requests, default.fingerprint)


_factory = LiveCertificate(FACTORY, "BeyondTrust Appliance", has_key=True, origin=Origin.FACTORY)
_old = LiveCertificate(OLD, "access.example.com", has_key=True)
_evil = LiveCertificate(EVIL, HOSTILE, has_key=True)
_request = PendingRequest(
    hashlib.sha256(b"request").hexdigest(),
    "",
    "rsa-2048",
    distinguished_name([("CN", "Next"), ("C", "US")]),
    (parse_name("next.example.com"),),
    "",
)
STORES = {
    "east-1": _store(_factory, _old, _evil, LiveCertificate(ORPHAN, "", has_key=False), default=FACTORY),
    "west-1": _store(_factory, _old, _evil, default=FACTORY, requests=(_request,)),
    "node-1": _store(LiveCertificate(LEAF, "access.example.com", has_key=True), default=LEAF),
    "node-2": LiveStore(()),
    "stopped-1": _store(_factory, default=FACTORY),
}
FAILURES = {"lone": StoreUnreachable("the store cannot be read: Permission denied", "check who may read it")}


def _reason(sentence: str) -> Reason:
    return Reason(code="because", sentence=sentence)


def _actions(appliance: str) -> tuple[Action, ...]:
    return (
        Import(
            id=f"{appliance}/1",
            appliance=appliance,
            certificate="access",
            label="Example Root",
            reason=_reason("access needs it in its chain"),
            source=f"{ACCESS_YAML}:5",
            role="chain",
            fingerprint=ROOT.fingerprint,
            public_key=ROOT.public_key,
            friendly_name="Example Root",
            key_source=KeySource.NONE,
        ),
        Import(
            id=f"{appliance}/2",
            appliance=appliance,
            certificate="access",
            label="access.example.com",
            reason=_reason("it is declared and not in the store"),
            source=f"{ACCESS_YAML}:5",
            role="leaf",
            fingerprint=LEAF.fingerprint,
            public_key=LEAF.public_key,
            friendly_name="remote access",
            key_source=KeySource.COMMITTED,
        ),
        SetDefault(
            id=f"{appliance}/3",
            appliance=appliance,
            certificate="access",
            label="access.example.com",
            reason=_reason("it is declared as the default"),
            source="desired-state/sites/access.yaml:6",
            target=LEAF.fingerprint,
            replaces=FACTORY.fingerprint,
        ),
        Remove(
            id=f"{appliance}/4",
            appliance=appliance,
            label=HOSTILE,
            reason=_reason(f"it is retired: {HOSTILE}"),
            fingerprint=EVIL.fingerprint,
            has_key=True,
        ),
        Remove(
            id=f"{appliance}/5",
            appliance=appliance,
            label="access.example.com",
            state=State.HELD,
            reason=_reason("its successor is served"),
            hold=Hold(reason=_reason("access has been good for less than 7d"), until=NOW + 7 * DAY),
            fingerprint=OLD.fingerprint,
            has_key=True,
        ),
    )


def _further(appliance: str) -> tuple[Action, ...]:
    return (
        CreateSelfSigned(
            id=f"{appliance}/1",
            appliance=appliance,
            certificate="lab",
            label="lab",
            state=State.WAITING,
            reason=_reason("it is declared and not in the store"),
            hold=Hold(reason=_reason("the other member answers first")),
            source="desired-state/certificates/lab.yaml:4",
            new=f"new:lab@{appliance}",
            friendly_name="lab",
            subject=(("CN", "Lab"), ("C", "US")),
            subject_alternative_names=("lab.example.com",),
            key="rsa-2048",
            valid_for=dt.timedelta(days=365),
        ),
        SetDefault(
            id=f"{appliance}/2",
            appliance=appliance,
            certificate="lab",
            label="lab",
            state=State.BY_HAND,
            reason=_reason("there is no default"),
            hold=Hold(reason=_reason("the interface does not offer it")),
            target=f"new:lab@{appliance}",
            replaces=None,
        ),
    )


_OLD = Candidate(certificate=OLD.fingerprint, label="access.example.com", good=True)
_NEW = Candidate(certificate=LEAF.fingerprint, label="access.example.com", good=True)
_EVIL = Candidate(certificate=EVIL.fingerprint, label=HOSTILE, good=False, why_not="expired on 2026-11-22")
_FACTORY = Candidate(
    certificate=FACTORY.fingerprint, label="BeyondTrust Appliance", good=False, why_not="does not cover it"
)


def _serving(appliance: str) -> tuple[ServedName, ...]:
    return (
        ServedName(name=None, before=(_FACTORY,), after=(_NEW,), flags=(Flag.CHANGED,)),
        ServedName(name="access.example.com", before=(_OLD,), after=(_OLD, _NEW), flags=(Flag.CHANGED,)),
        ServedName(name=f"{appliance}.example.com", before=(_OLD,), after=(_OLD,)),
        ServedName(
            name="evil.example.com", before=(_EVIL,), after=(_FACTORY,), flags=(Flag.NOT_ALL_GOOD, Flag.DEFAULT_ONLY)
        ),
    )


def _live(rule: str, severity: Severity, appliance: str) -> Finding:
    return Finding(rule, severity, f"{HOSTILE} is there", "retire it", appliance=appliance)


PLAN = Plan(
    made_at=NOW,
    digest=hashlib.sha256(b"plan").hexdigest(),
    basis=Basis(revision="3f2a91c0", desired_digest="0"),
    appliances=(
        AppliancePlan(
            name="east-1",
            site="access",
            follows=("west-1",),
            actions=_actions("east-1"),
            serving=_serving("east-1"),
            findings=(_live("undeclared", Severity.NOTICE, "east-1"),),
        ),
        AppliancePlan(name="lone", progress=Progress.UNREACHABLE),
        AppliancePlan(
            name="node-1",
            site="traffic",
            serving=(ServedName(name="traffic.example.com", before=(_NEW,), after=(_NEW,)),),
        ),
        AppliancePlan(
            name="node-2",
            site="traffic",
            actions=_further("node-2"),
            serving=(ServedName(name="traffic.example.com", before=(), after=(), flags=(Flag.UNSERVED,)),),
        ),
        AppliancePlan(name="quiet-1", site="quiet"),
        AppliancePlan(name="quiet-2", site="quiet"),
        AppliancePlan(name="stopped-1", site="stopped", progress=Progress.STOPPED),
        AppliancePlan(
            name="west-1",
            site="access",
            actions=_actions("west-1"),
            serving=_serving("west-1"),
            findings=(_live("undeclared", Severity.NOTICE, "west-1"),),
        ),
    ),
    findings=(
        Finding(
            "ip-san",
            Severity.WARNING,
            "an IP address is among its names",
            "ask BeyondTrust Technical Support before it is used",
            Position(ACCESS_YAML, 3, 9),
            ObjectName(Kind.CERTIFICATE, "access"),
        ),
        Finding("cn-unique", Severity.ERROR, "two are called Lab", "", about=ObjectName(Kind.CERTIFICATE, "lab")),
        Finding("removal-ceiling", Severity.ERROR, "too many", "allow it", stops=Stops.NOTHING),
    ),
    by_hand=(
        ByHand(
            code="bundle",
            what="send the bundle to BeyondTrust Technical Support and install the software build that comes back",
            where="site access",
        ),
    ),
    summary=Summary(import_=4, set_default=2, remove=2, held=3, waiting=1),
)


def many(count: int) -> tuple[Plan, dict[str, LiveStore], dict[str, Material], dict[str, dict[str, Classified]]]:
    """A plan in which each of many lone appliances gets a certificate of its own, and what it was made from."""
    appliances, stores, material, classes = [], {}, {}, {}
    for number in range(count):
        name = f"node-{number:04}"
        host, declared = f"{name}.example.com", f"cert-{number:04}"
        names = (parse_name(host), parse_name("access.example.com"))
        old = _known(replace(OLD, subject_alternative_names=names[:1]), f"old {name}")
        new = _known(replace(LEAF, subject_alternative_names=names), f"new {name}")
        row = LiveCertificate(old, host, has_key=True)
        stores[name], material[declared] = _store(row, default=old), Material(new, (ISSUING, ROOT))
        classes[name] = {old.fingerprint: Classified(row, CertificateClass.PREVIOUS, declared)}
        default = {"appliance": name, "certificate": declared, "label": host}
        _, leaf, chosen, _, held = (each.model_copy(update=default) for each in _actions(name))
        before = Candidate(certificate=old.fingerprint, label=host, good=True)
        after = Candidate(certificate=new.fingerprint, label=host, good=True)
        appliances.append(
            AppliancePlan(
                name=name,
                actions=(
                    leaf.model_copy(update={"fingerprint": new.fingerprint}),
                    chosen.model_copy(update={"target": new.fingerprint, "replaces": old.fingerprint}),
                    held.model_copy(update={"fingerprint": old.fingerprint}),
                ),
                serving=(ServedName(name=host, before=(before,), after=(before, after), flags=(Flag.CHANGED,)),),
                findings=(_live("undeclared", Severity.NOTICE, name),),
            )
        )
    counts = Summary(import_=count, set_default=count, held=count)
    plan = Plan(made_at=NOW, digest="d" * 64, basis=Basis(desired_digest="0"), appliances=(), summary=counts)
    return plan.model_copy(update={"appliances": tuple(appliances)}), stores, material, classes


STATE = desired(
    {
        "certificates/access.yaml": """
            subject: {common_name: Example remote access}
            subject_alternative_names: [access.example.com]
            source: {kind: provided, certificate: access/leaf.pem, key: access/key.pem, passphrase: {env: KEY}}
        """
    },
    {"certificates/access/leaf.pem": (LEAF,)},
)

CLASSES = {
    "east-1": {
        FACTORY.fingerprint: Classified(_factory, CertificateClass.FACTORY),
        OLD.fingerprint: Classified(_old, CertificateClass.PREVIOUS, "access"),
        EVIL.fingerprint: Classified(_evil, CertificateClass.RETIRED),
        ORPHAN.fingerprint: Classified(LiveCertificate(ORPHAN, "", has_key=False), CertificateClass.UNDECLARED),
    },
    "west-1": {
        FACTORY.fingerprint: Classified(_factory, CertificateClass.FACTORY),
        OLD.fingerprint: Classified(_old, CertificateClass.PREVIOUS, "access"),
        EVIL.fingerprint: Classified(_evil, CertificateClass.UNDECLARED, "access", newer=True),
    },
    "node-1": {
        LEAF.fingerprint: Classified(
            LiveCertificate(LEAF, "access.example.com", has_key=True), CertificateClass.DECLARED, "access"
        )
    },
}
