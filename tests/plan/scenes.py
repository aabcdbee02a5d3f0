"""Short scenes for tests of planning: what is declared, what a store holds, and the plan that follows.

A scene has one site, `access.example.com`, with the appliance `east` (and `west` where a test asks for a pair, and
`north` for a third). What is declared is `provided` or `requested` unless a test writes its own YAML. Everything is
named by its label, so that a test reads like a plan: `steps(plan) == ["import new", "default new", "remove old"]`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from reconciler.live.store import LiveCertificate, LiveStore, Operation, Origin, PendingRequest
from reconciler.pki.certificate import Certificate, distinguished_name
from reconciler.pki.issuing import self_signed as make_self_signed
from reconciler.pki.keys import create_key
from reconciler.pki.names import parse_name
from reconciler.pki.selection import LIBERAL, CandidateRule
from reconciler.plan.model import Action, AppliancePlan, Import, Plan, State
from reconciler.plan.planner import Fleet, Planning, make_plan
from reconciler.rules import Stopped
from tests.support.authority import DAY, NOW, Authority, Issued, self_signed
from tests.support.desired import desired

if TYPE_CHECKING:
    import datetime as dt

    from reconciler.base.errors import StoreError
    from reconciler.base.findings import Finding
    from reconciler.desired.state import DesiredState
    from reconciler.pki.keys import KeyKind
    from reconciler.plan.matching import CertificateClass

SITE = "access.example.com"
BOTH = (SITE, "east.example.com")
ALL = (SITE, "east.example.com", "west.example.com")
CERTAIN = CandidateRule(common_name=True, deep_wildcards=False, certain=True)
EVERYTHING = frozenset(Operation)

Rows: TypeAlias = Sequence[LiveCertificate]


@cache
def one() -> Authority:
    """The intermediate of the CA that clients usually trust; `one().chain` holds its root."""
    return Authority.root("Root One").intermediate("Issuer One")


@cache
def two() -> Authority:
    """The intermediate of another CA."""
    return Authority.root("Root Two").intermediate("Issuer Two")


@cache
def factory() -> LiveCertificate:
    """The factory certificate."""
    made = self_signed([], common_name="BeyondTrust Appliance").certificate
    return LiveCertificate(made, "factory", has_key=True, origin=Origin.FACTORY)


def leaf(
    issuer: Authority,
    *,
    start: float = -30,
    end: float = 335,
    names: Sequence[str] = BOTH,
    common_name: str = "Example remote access",
) -> Issued:
    """A server certificate; start and end are days from now."""
    return issuer.issue(names, common_name=common_name, not_before=NOW + start * DAY, not_after=NOW + end * DAY)


def own(
    *,
    start: float = -30,
    end: float = 335,
    names: Sequence[str] = (SITE,),
    key: KeyKind = "ec-p256",
    common_name: str = "Made here",
) -> Certificate:
    """A certificate as the appliance makes it for the declaration `OWN`."""
    subject = distinguished_name([("CN", common_name), ("O", "Example Company")])
    parsed = [parse_name(each) for each in names]
    return make_self_signed(create_key(key), subject, parsed, NOW + start * DAY, (end - start) * DAY)


OWN = (
    "subject: {common_name: Made here, organization: Example Company}\n"
    f"subject_alternative_names: [{SITE}]\nkey: ec-p256\nsource: {{kind: self_signed, valid_for: 365d}}\n"
)
"""A declaration of a self-signed certificate."""


def keyed(certificate: Certificate | Issued, label: str) -> LiveCertificate:
    """A row with a key."""
    return LiveCertificate(_plain(certificate), label, has_key=True)


def keyless(certificate: Certificate | Issued | Authority, label: str = "") -> LiveCertificate:
    """A row without a key, called by its common name unless told otherwise."""
    made = _plain(certificate)
    return LiveCertificate(made, label or made.common_name, has_key=False)


def _plain(certificate: Certificate | Issued | Authority) -> Certificate:
    return certificate if isinstance(certificate, Certificate) else certificate.certificate


def chain_of(authority: Authority) -> Rows:
    """The rows of an intermediate and its root."""
    return [keyless(authority), *(keyless(each) for each in authority.chain)]


def store(
    *rows: LiveCertificate | Rows,
    default: Certificate | Issued | LiveCertificate | None = None,
    rule: CandidateRule = LIBERAL,
    offers: frozenset[Operation] = EVERYTHING,
    unfinished: str = "",
    requests: Sequence[PendingRequest] = (),
) -> LiveStore:
    """A store with these rows and the factory certificate, which is its default unless a test says otherwise."""
    flat = [factory()]
    for each in rows:
        flat += [each] if isinstance(each, LiveCertificate) else each
    chosen = factory() if default is None else default
    fingerprint = (
        chosen.fingerprint if isinstance(chosen, Certificate | LiveCertificate) else chosen.certificate.fingerprint
    )
    ordered = tuple(sorted(flat, key=lambda each: each.fingerprint))
    pending = tuple(sorted(requests, key=lambda each: each.fingerprint))
    return LiveStore(ordered, pending, default=fingerprint, rule=rule, offers=offers, unfinished=unfinished)


def pending(
    key: Issued | str,
    *,
    names: Sequence[str] = ALL,
    key_kind: str = "ec-p256",
    common_name: str = "Example remote access",
    organization: str = "Example Company",
) -> PendingRequest:
    """A pending request as the declaration of `requested` leads to it, with the key of a certificate or one of its own.

    A request is known by its key here: `pending("first")` is always the same one.
    """
    public_key = hashlib.sha256(key.encode()).hexdigest() if isinstance(key, str) else key.certificate.public_key
    identity = hashlib.sha256(f"{public_key} {names} {key_kind} {common_name} {organization}".encode()).hexdigest()
    subject = distinguished_name([("CN", common_name), ("O", organization), ("C", "US")])
    return PendingRequest(identity, public_key, key_kind, subject, tuple(map(parse_name, names)), request_data="")


@dataclass(frozen=True)
class Provided:
    """A declared certificate whose material is committed."""

    issued: Issued
    chain: Sequence[Certificate]
    more: str = ""


def provided(issued: Issued, *, chain: Sequence[Certificate] | None = None, more: str = "") -> Provided:
    """Declare a certificate that was made elsewhere, with the whole of its chain unless a test gives another."""
    return Provided(issued, issued.chain if chain is None else chain, more)


@dataclass(frozen=True)
class Requested:
    """A declared certificate that a CA signs, and the answer that is committed, if there is one."""

    answer: Issued | None
    chain: Sequence[Certificate]
    names: Sequence[str]
    key: str
    more: str = ""


def requested(
    answer: Issued | None = None,
    *,
    chain: Sequence[Certificate] | None = None,
    names: Sequence[str] = ALL,
    key: str = "ec-p256",
    more: str = "",
) -> Requested:
    """Declare a certificate that a CA signs, with the whole of the answer's chain unless a test gives another."""
    whole = answer.chain if answer else ()
    return Requested(answer, whole if chain is None else chain, names, key, more)


NO_CLIENTS = "client_software: none\n"


def builds(*entries: tuple[float, Sequence[Authority]]) -> str:
    """`client_software`: builds, each installed some days from now (negative: before) and trusting some roots."""
    lines = ["client_software:\n"]
    for days, authorities in entries:
        trusts = ", ".join(f"{_root(each).fingerprint}.pem" for each in authorities)
        lines.append(f"  - installed_at: {NOW + days * DAY:%Y-%m-%dT%H:%M:%SZ}\n    trusts: [{trusts}]\n")
    return "".join(lines)


def _root(authority: Authority) -> Certificate:
    return authority.chain[-1] if authority.chain else authority.certificate


@dataclass(frozen=True)
class Scene:
    """What a test declares. `plan(...)` puts stores beside it."""

    certificates: Mapping[str, Provided | Requested | str] = field(default_factory=dict)
    default: str | None = None
    clients: str = NO_CLIENTS
    policy: str = ""
    site: str = ""
    east: str = ""
    west: str | None = None
    north: str | None = None
    primary: str = "east"
    trusts: Sequence[Authority] = ()

    @property
    def state(self) -> DesiredState:
        """The desired state."""
        files, committed = dict[str, str](), dict[str, Sequence[Certificate]]()
        for name, each in self.certificates.items():
            files[f"certificates/{name}.yaml"] = _written(name, each)
            if isinstance(each, Provided):
                committed[f"certificates/{name}.pem"] = (each.issued.certificate,)
                committed[f"certificates/{name}-chain.pem"] = tuple(each.chain)
            if isinstance(each, Requested):
                committed[f"certificates/{name}.pem"] = (each.answer.certificate,) if each.answer else ()
                committed[f"certificates/{name}-chain.pem"] = tuple(each.chain)
        for authority in (one(), two(), *self.trusts):
            committed[f"sites/{_root(authority).fingerprint}.pem"] = (_root(authority),)
        default = f"default: {self.default}\n" if self.default else ""
        members = {"east": self.east, "west": self.west, "north": self.north}
        others = [name for name, more in members.items() if more is not None and name != self.primary]
        topology = ["", f"topology: failover\nbackup: {others[0] if others else ''}\n"]
        topology.append(f"topology: atlas\ntraffic_nodes: [{', '.join(others)}]\n")
        files["fleet.yaml"] = f"policy: {{{self.policy}}}\n"
        files["sites/access.yaml"] = (
            f"hostname: {SITE}\nprimary: {self.primary}\n{topology[len(others)]}"
            f"certificates: [{', '.join(self.certificates)}]\n"
            f"{default}{self.clients}{self.site}"
        )
        for name, more in members.items():
            if more is not None:
                files[f"appliances/{name}.yaml"] = f"hostname: {name}.example.com\nstore: {{driver: directory}}\n{more}"
        return desired(files, committed)

    def planning(
        self,
        east: LiveStore | None = None,
        west: LiveStore | None = None,
        north: LiveStore | None = None,
        *,
        now: dt.datetime = NOW,
        failures: Mapping[str, StoreError] | None = None,
        findings: Sequence[Finding] = (),
        stopped: Stopped | None = None,
        only: frozenset[str] | None = None,
        allow_removals: int | None = None,
    ) -> Planning:
        """Plan it against stores."""
        given = {"east": east, "west": west, "north": north}
        stores = {name: each for name, each in given.items() if each is not None}
        fleet = Fleet(self.state, stores, failures or {}, tuple(findings), stopped or Stopped(), only, allow_removals)
        return make_plan(fleet, now)

    def over(self, stores: Mapping[str, LiveStore], *, stopped: Stopped | None = None) -> Plan:
        """Plan it against stores by name."""
        return make_plan(Fleet(self.state, stores, {}, (), stopped or Stopped()), NOW).plan

    def plan(self, east: LiveStore, *, now: dt.datetime = NOW, allow_removals: int | None = None) -> Plan:
        """Plan its only appliance."""
        return self.planning(east, now=now, allow_removals=allow_removals).plan

    def classes(self, east: LiveStore) -> dict[str, CertificateClass]:
        """The class of each live certificate of `east`, by friendly name."""
        return {each.live.friendly_name: each.kind for each in self.planning(east).classes["east"].values()}


def _written(name: str, each: Provided | Requested | str) -> str:
    match each:
        case Provided():
            return _yaml(name, each)
        case Requested():
            return _requested_yaml(name, each)
        case str():
            return each


def _requested_yaml(name: str, each: Requested) -> str:
    names = ", ".join(f"'{san}'" for san in each.names)
    signed = f"signed: {name}.pem, " if each.answer else ""
    return (
        f"friendly_name: {name}\n"
        "subject: {country: US, organization: Example Company, common_name: Example remote access}\n"
        f"subject_alternative_names: [{names}]\nkey: {each.key}\n"
        f"source: {{kind: requested, {signed}chain: [{name}-chain.pem]}}\n{each.more}"
    )


def _yaml(name: str, each: Provided) -> str:
    names = ", ".join(f"'{san.value}'" for san in each.issued.certificate.subject_alternative_names)
    return (
        f"friendly_name: {name}\nsubject: {{common_name: {each.issued.certificate.common_name}}}\n"
        f"subject_alternative_names: [{names}]\n"
        "key: ec-p256\n"
        f"source: {{kind: provided, certificate: {name}.pem, chain: [{name}-chain.pem], key: {name}.key,"
        f" passphrase: {{env: PASSPHRASE}}}}\n{each.more}"
    )


_VERBS = {
    "create_request": "request",
    "remove_request": "withdraw",
    "create_self_signed": "create",
    "import": "import",
    "set_default": "default",
    "remove": "remove",
}


def say(action: Action) -> str:
    """An action in two words: `import new`, `default new`, `remove old`."""
    return f"{_VERBS[action.kind]} {action.label}"


def part(plan: Plan, name: str = "east") -> AppliancePlan:
    """One appliance's part of a plan."""
    return next(each for each in plan.appliances if each.name == name)


def steps(plan: Plan, name: str = "east") -> list[str]:
    """The ready actions of an appliance, in order."""
    return [say(each) for each in part(plan, name).actions if each.state is State.READY]


def held(plan: Plan, name: str = "east") -> dict[str, tuple[str, dt.datetime | None]]:
    """The held actions of an appliance: code of the reason and end, where there is one."""
    found = (each for each in part(plan, name).actions if each.state is State.HELD)
    return {say(each): (each.hold.reason.code, each.hold.until) for each in found if each.hold}


def waiting(plan: Plan, name: str = "east") -> dict[str, str]:
    """The actions of an appliance that wait, and the code of what they wait for."""
    found = (each for each in part(plan, name).actions if each.state is State.WAITING)
    return {say(each): each.hold.reason.code for each in found if each.hold}


def by_hand(plan: Plan, name: str = "east") -> list[str]:
    """What the interface of an appliance leaves to a person."""
    return [say(each) for each in part(plan, name).actions if each.state is State.BY_HAND]


def told(plan: Plan, code: str) -> list[str]:
    """What is left to do by hand, of one kind, and where."""
    return [f"{each.where}: {each.what}" for each in plan.by_hand if each.code == code]


def imported(plan: Plan, name: str, label: str) -> Import:
    """The ready import of a leaf on an appliance, by its label."""
    found = (each for each in part(plan, name).actions if isinstance(each, Import) and each.role == "leaf")
    return next(each for each in found if each.label == label)


def found(plan: Plan) -> list[str]:
    """The rules whose findings a plan shows, in order."""
    return [each.rule for each in plan.all_findings]


def message(plan: Plan, rule: str) -> str:
    """What the first finding of a rule says, remedy included."""
    return next(f"{each.message} - {each.remedy}" for each in plan.all_findings if each.rule == rule)
