"""A small universe of fleets and stores, for property tests: everything that makes planning hard, a few of each.

One site with one or two members. Certificates come from a fixed pool of real ones: two roots, an intermediate beneath
each, a cross-sign, leaves that are valid, expired, still to come, due and older, exact and wildcard names, two of them
with one key, and a self-signed one that is declared by its subject. What is declared is drawn from the same pool:
brought along with its key, or asked for from a CA, whose answer is committed or not, whose request is pending or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from reconciler.base.errors import StoreUnreachable
from reconciler.live.store import LiveCertificate, LiveStore, Operation, Origin
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.issuing import self_signed as make_self_signed
from reconciler.pki.keys import create_key
from reconciler.pki.names import parse_name
from reconciler.pki.selection import LIBERAL, CandidateRule
from reconciler.plan.planner import Fleet, Planning, make_plan
from reconciler.rules import Stopped
from tests.plan.scenes import pending
from tests.support.authority import DAY, NOW, Authority, self_signed
from tests.support.desired import desired

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hypothesis.vendor.pretty import RepresentationPrinter

    from reconciler.desired.state import DesiredState
    from reconciler.live.store import PendingRequest
    from reconciler.pki.certificate import Certificate

SITE = "access.example.com"
MEMBERS = ("east", "west")
HAPROXY = CandidateRule(common_name=True, deep_wildcards=False, certain=True)
SUBJECT = distinguished_name([("CN", "Appliance made"), ("O", "Example Company")])


@dataclass(frozen=True)
class Pool:
    """Every certificate of the universe, by name."""

    authorities: Mapping[str, Certificate]
    leaves: Mapping[str, Certificate]
    own: Mapping[str, Certificate]
    factory: Certificate
    requests: Mapping[str, PendingRequest]


@cache
def pool() -> Pool:
    """The certificates, made once."""
    one, two = Authority.root("Root One"), Authority.root("Root Two")
    sub_one, sub_two = one.intermediate("Issuer One"), two.intermediate("Issuer Two")
    lapsed = two.intermediate("Issuer Lapsed", not_before=NOW - 900 * DAY, not_after=NOW - DAY)
    both = [SITE, "east.example.com", "west.example.com"]
    leaves = {
        "old": sub_one.issue(both, not_before=NOW - 340 * DAY, not_after=NOW + 20 * DAY),
        "ending": sub_one.issue(both, not_before=NOW - 364 * DAY, not_after=NOW + DAY / 2),
        "expired": sub_one.issue(both, not_before=NOW - 400 * DAY, not_after=NOW - DAY),
        "new": sub_one.issue(both, not_before=NOW - DAY, not_after=NOW + 364 * DAY),
        "settled": sub_one.issue(both, not_before=NOW - 20 * DAY, not_after=NOW + 340 * DAY),
        "other-ca": sub_two.issue(both, not_before=NOW - 8 * DAY, not_after=NOW + 300 * DAY),
        "to-come": sub_one.issue(both, not_before=NOW + 5 * DAY, not_after=NOW + 365 * DAY),
        "lapsed-chain": lapsed.issue(both, not_before=NOW - 30 * DAY, not_after=NOW + 300 * DAY),
        "wildcard": sub_one.issue(["*.example.com"], common_name="Wildcard", not_before=NOW - 60 * DAY),
        "one-name": sub_two.issue(["east.example.com"], common_name="Lone", not_before=NOW - 10 * DAY),
        "by-title": sub_two.issue(["else.example.com"], common_name=SITE, not_before=NOW - 40 * DAY),
        "stranger": sub_two.issue(["else.example.com"], common_name="Stranger"),
    }
    leaves["renewed"] = sub_one.issue(both, not_before=NOW - 2 * DAY, not_after=NOW + 300 * DAY, key=leaves["old"].key)
    own = {
        name: make_self_signed(create_key("ec-p256"), SUBJECT, [parse_name(SITE)], NOW - days * DAY, 365 * DAY)
        for name, days in (("fresh", 10), ("fresher", 5), ("aging", 340), ("gone", 400))
    }
    authorities = {
        "root-one": one.certificate,
        "root-two": two.certificate,
        "issuer-one": sub_one.certificate,
        "issuer-two": sub_two.certificate,
        "issuer-lapsed": lapsed.certificate,
        "cross": two.cross_sign(one),
        "cross-back": one.cross_sign(two),
    }
    issued = {name: each.certificate for name, each in leaves.items()}
    factory = self_signed([], common_name="BeyondTrust Appliance").certificate
    asked = {name: pending(each, names=_names(each.certificate)) for name, each in leaves.items()}
    asked |= {name: pending(name, names=both) for name in ("a key of its own", "another")}
    return Pool(authorities, issued, own, factory, asked)


def _names(certificate: Certificate) -> list[str]:
    return [each.value for each in certificate.subject_alternative_names]


CHAINS = {
    "none": (),
    "one": ("issuer-one", "root-one"),
    "two": ("issuer-two", "root-two"),
    "crossed": ("issuer-one", "root-one", "cross", "root-two"),
}
BUILDS = {
    "none": "client_software: none\n",
    "one": "client_software:\n  - installed_at: 2025-01-01T00:00:00Z\n    trusts: [root-one.pem]\n",
    "two": "client_software:\n  - installed_at: 2025-01-01T00:00:00Z\n    trusts: [root-two.pem]\n",
    "settling": (
        "client_software:\n  - installed_at: 2025-01-01T00:00:00Z\n    trusts: [root-one.pem]\n"
        "  - installed_at: 2026-11-22T12:00:00Z\n    trusts: [root-one.pem, root-two.pem]\n"
    ),
    "divided": (
        "client_software:\n  - installed_at: 2025-01-01T00:00:00Z\n    trusts: [root-one.pem]\n"
        "  - installed_at: 2026-11-22T12:00:00Z\n    trusts: [root-two.pem]\n"
    ),
}


@st.composite
def states(draw: st.DrawFn) -> DesiredState:
    """A declared fleet: one site, one or two members, up to three certificates."""
    members = MEMBERS[: draw(st.integers(1, 2))]
    kept = draw(st.sampled_from(["0", "7"]))
    declared = draw(st.lists(st.sampled_from([*pool().leaves, "own"]), max_size=3, unique=True))
    if {"old", "renewed"} <= {*declared}:  # nobody declares two certificates for one key
        declared.remove("renewed")
    default = draw(st.sampled_from([*declared, None])) if declared else None
    builds = draw(st.sampled_from(["none", "none", *sorted(BUILDS)]))
    committed: dict[str, tuple[Certificate, ...]] = {
        "sites/root-one.pem": (pool().authorities["root-one"],),
        "sites/root-two.pem": (pool().authorities["root-two"],),
    }
    duration = "1m" if kept == "0" else "7d"
    files = {"fleet.yaml": f"policy: {{keep_previous: {duration}, removals_at_most: {draw(st.integers(0, 3))}}}\n"}
    for name in declared:
        usual = "two" if name in {"other-ca", "one-name", "by-title", "stranger"} else "one"
        chain = CHAINS[draw(st.sampled_from([usual, usual, usual, *sorted(CHAINS)]))]
        files[f"certificates/{name}.yaml"] = _certificate(name, draw)
        committed[f"certificates/{name}.pem"] = (pool().leaves.get(name, pool().factory),)
        committed[f"certificates/{name}-chain.pem"] = tuple(pool().authorities[each] for each in chain)
    topology = "single" if len(members) == 1 else "failover\nbackup: west"
    files["sites/access.yaml"] = (
        f"hostname: {SITE}\nprimary: east\ntopology: {topology}\n"
        f"certificates: [{', '.join(declared)}]\n" + (f"default: {default}\n" if default else "") + BUILDS[builds]
    )
    known = [each.fingerprint for each in _everything()] + [each.fingerprint for each in pool().requests.values()]
    for member in members:
        retired = draw(st.lists(st.sampled_from(known), max_size=2, unique=True))
        listed = "".join(f"  - {{sha256: '{each}', reason: told to}}\n" for each in retired)
        files[f"appliances/{member}.yaml"] = (
            f"hostname: {member}.example.com\nstore: {{driver: directory}}\n"
            f"undeclared: {draw(st.sampled_from(['keep', 'remove']))}\n" + (f"retired:\n{listed}" if retired else "")
        )
    return desired(files, committed)


def _certificate(name: str, draw: st.DrawFn) -> str:
    if name == "own":
        issued_after = draw(st.sampled_from(["", "issued_after: 2026-11-15\n", "issued_after: 2027-01-01\n"]))
        return (
            f"subject: {{common_name: Appliance made, organization: Example Company}}\n{issued_after}"
            f"subject_alternative_names: [{SITE}]\nkey: ec-p256\nsource: {{kind: self_signed, valid_for: 365d}}\n"
        )
    if draw(st.booleans()):
        return _asked(name, draw)
    return (
        f"subject: {{common_name: Example remote access}}\nsubject_alternative_names: [{SITE}]\nkey: ec-p256\n"
        f"source: {{kind: provided, certificate: {name}.pem, chain: [{name}-chain.pem],"
        " key: k, passphrase: {env: K}}\n"
    )


def _asked(name: str, draw: st.DrawFn) -> str:
    """A certificate that a CA signs: as its answer is, mostly, or with other names or another kind of key."""
    leaf = pool().leaves[name]
    names = draw(st.sampled_from([_names(leaf), _names(leaf), _names(leaf), [SITE]]))
    quoted = ", ".join(f"'{each}'" for each in names)
    signed = draw(st.sampled_from([f"signed: {name}.pem, ", f"signed: {name}.pem, ", ""]))
    return (
        "subject: {country: US, organization: Example Company, common_name: Example remote access}\n"
        f"subject_alternative_names: [{quoted}]\nkey: {draw(st.sampled_from(['ec-p256', 'ec-p256', 'ec-p384']))}\n"
        f"renew_with: {draw(st.sampled_from(['same_key', 'new_key']))}\n"
        f"{draw(st.sampled_from(['', '', 'issued_after: 2026-11-15']))}\n"
        f"source: {{kind: requested, {signed}chain: [{name}-chain.pem]}}\n"
    )


def _everything() -> list[Certificate]:
    made = pool()
    return [*made.leaves.values(), *made.own.values(), *made.authorities.values(), made.factory]


@st.composite
def stores(draw: st.DrawFn) -> LiveStore:
    """A store: any certificates of the universe, with or without key, any default, the factory certificate or not."""
    chosen = draw(st.lists(st.sampled_from(_everything()), max_size=7, unique=True))
    healthy = draw(st.sampled_from([None, "old", "wildcard", "settled", "other-ca"]))
    if healthy:  # most stores serve something good, so that there is something to lose
        number = "two" if healthy == "other-ca" else "one"
        issuers = [pool().authorities[f"issuer-{number}"], pool().authorities[f"root-{number}"]]
        chosen = list(dict.fromkeys([pool().leaves[healthy], *issuers, *chosen]))
    factory = pool().factory
    rows = []
    for each in sorted(chosen, key=lambda each: each.fingerprint):
        authority = each in pool().authorities.values()
        has_key = each == factory or (draw(st.integers(0, 9)) > 0) != authority
        origin = Origin.FACTORY if each == factory else Origin.ADMINISTRATOR
        if origin is not Origin.FACTORY and not authority and draw(st.integers(0, 19)) == 0:
            origin = Origin.APPLIANCE
        rows.append(LiveCertificate(each, f"row {each.fingerprint[:6]}", has_key, origin))
    keyed = [each.fingerprint for each in rows if each.has_key]
    default = draw(st.sampled_from([*keyed, None]))
    requests = draw(st.lists(st.sampled_from([*pool().requests.values()]), max_size=3, unique=True))
    return LiveStore(
        tuple(rows),
        tuple(sorted(requests, key=lambda each: each.fingerprint)),
        default,
        draw(st.sampled_from([LIBERAL, HAPROXY])),
        frozenset(Operation) - draw(st.sampled_from([frozenset()] * 9 + [{each} for each in Operation])),
    )


class Drawn(Fleet):
    """A fleet that shows itself by the names of the universe: what a failure prints can be read, and built again."""

    def __repr__(self) -> str:
        state = self.state
        declared = [*state.sites.values(), *state.appliances.values(), *state.certificates.values()]
        lines = [f"{each.about}: {each.model.model_dump(exclude_defaults=True)}" for each in declared]
        lines += [f"chain of {name}: {_called(each.chain)}" for name, each in state.material.items()]
        lines += [f"{name} holds {_shown(each)}" for name, each in self.stores.items()]
        return "\n".join(("", *lines, f"{state.policy}", f"lost: {[*self.failures]}, {self.stopped}"))

    def _repr_pretty_(self, printer: RepresentationPrinter, _: bool) -> None:  # noqa: FBT001 - hypothesis asks for it
        printer.text(repr(self))


def _called(several: Iterable[Certificate | PendingRequest]) -> str:
    made = pool()
    certificates = {**made.authorities, **made.leaves, **made.own, "factory": made.factory}
    names = {each.fingerprint: name for name, each in certificates.items()}
    names |= {each.fingerprint: name for name, each in made.requests.items()}
    return ", ".join(names.get(each.fingerprint, "made later") for each in several)


def _shown(store: LiveStore) -> str:
    rows = store.certificates
    ours = {key: _called(row.certificate for row in rows if row.has_key is key) for key in (True, False)}
    managed = _called(row.certificate for row in rows if row.origin is Origin.APPLIANCE)
    default = _called(row.certificate for row in rows if row.fingerprint == store.default)
    return (
        f"with keys {ours[True]}; without {ours[False]}; of the appliance's own {managed}; default {default};"
        f" requests {_called(store.requests)}; {store.rule}; does not offer {[*(frozenset(Operation) - store.offers)]}"
    )


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """A declared fleet and what its members hold; sometimes a certificate is stopped, or a member cannot be reached."""
    state = draw(states())
    observed = {name: draw(stores()) for name in state.appliances}
    lost = draw(st.sampled_from([None] * 6 + list(MEMBERS))) if len(observed) > 1 else None
    failures = {lost: StoreUnreachable("nobody answers", "check the cable")} if lost else {}
    observed = {name: each for name, each in observed.items() if name != lost}
    names = [*state.certificates]
    stopped = frozenset(draw(st.lists(st.sampled_from(names), max_size=1)) if names else ())
    return Drawn(state, observed, failures, (), Stopped(certificates=stopped))


def plan(fleet: Fleet) -> Planning:
    """Plan a fleet of the universe, at `NOW`."""
    return make_plan(fleet, NOW)
