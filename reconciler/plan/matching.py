"""Which live certificates are ours: declared certificates are found in the stores, and every live one gets one class.

Nothing is remembered between runs. Identity is the certificate's SHA-256 where it is committed; a self-signed one is
known by subject, set of names and kind of key. Friendly names are shown, never an identity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from reconciler.desired.models import Requested, SelfSigned
from reconciler.live.store import Origin
from reconciler.pki.chain import needed_issuers
from reconciler.pki.names import SubjectAlternativeName, parse_name
from reconciler.plan.model import Reason
from reconciler.rules.validity import moment, renewal_instant

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    from reconciler.desired.models import Certificate as CertificateModel
    from reconciler.desired.state import Declared, DesiredState, Material
    from reconciler.live.store import LiveCertificate, LiveStore
    from reconciler.plan.world import Entry


class CertificateClass(StrEnum):
    """What a live certificate is to us: the first of these that fits."""

    FACTORY = "factory"
    APPLIANCE_MANAGED = "appliance-managed"
    RETIRED = "retired"
    DECLARED = "declared"
    CHAIN = "chain"
    PREVIOUS = "previous"
    UNDECLARED = "undeclared"


@dataclass(frozen=True, slots=True)
class Classified:
    """A live certificate and its class.

    Attributes:
        live: The row of the store.
        kind: Its class.
        certificate: Name of the declared certificate that it is, or that it preceded; None for the other classes.
        newer: Whether it is newer than the declared certificate whose common name or SAN set it shares.
    """

    live: LiveCertificate
    kind: CertificateClass
    certificate: str | None = None
    newer: bool = False


@dataclass(frozen=True)
class Target:
    """A declared certificate and the one object that counts as it, on one site or lone appliance.

    Attributes:
        declared: What is declared.
        material: What is committed for it.
        instance: SHA-256 of the object that counts as it, or None where it does not exist yet.
        not_before: Start of validity of that object, or None.
        due: Why a certificate whose key is made on an appliance is to be made anew, or None.
    """

    declared: Declared[CertificateModel]
    material: Material
    instance: str | None
    not_before: dt.datetime | None
    due: Reason | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.declared.name

    @property
    def model(self) -> CertificateModel:
        """What is declared."""
        return self.declared.model

    @property
    def label(self) -> str:
        """What people call it."""
        return self.model.friendly_name or self.name

    @property
    def is_requested(self) -> bool:
        """Whether a CA signs it, for a key that is made on an appliance."""
        return isinstance(self.model.source, Requested)

    @property
    def keeps_key(self) -> bool:
        """Whether its renewal uses the key of the committed certificate again."""
        leaf = self.material.leaf
        return leaf is not None and self.model.renew_with == "same_key" and leaf.key_kind == self.model.key

    @property
    def differs(self) -> bool:
        """Whether the committed certificate has other names or another kind of key than are declared."""
        leaf = self.material.leaf
        return leaf is not None and (leaf.san_set != frozenset(self.names) or leaf.key_kind != self.model.key)

    @cached_property
    def names(self) -> tuple[SubjectAlternativeName, ...]:
        """The declared subject alternative names, in order."""
        return tuple(parse_name(each) for each in self.model.subject_alternative_names)

    @cached_property
    def _common_names(self) -> frozenset[str]:
        leaf = self.material.leaf
        return frozenset({self.model.subject.common_name, leaf.common_name if leaf else ""} - {""})

    @cached_property
    def _san_sets(self) -> frozenset[frozenset[SubjectAlternativeName]]:
        leaf = self.material.leaf
        return frozenset({frozenset(self.names), leaf.san_set if leaf else frozenset()} - {frozenset()})

    def shares_a_name_with(self, entry: Entry) -> bool:
        """Whether a certificate has the same common name or the same set of subject alternative names."""
        return entry.common_name in self._common_names or frozenset(entry.subject_alternative_names) in self._san_sets


def find_targets(
    state: DesiredState,
    names: Iterable[str],
    stores: Mapping[str, LiveStore],
    retired: frozenset[str],
    now: dt.datetime,
) -> tuple[Target, ...]:
    """Find the objects that count as the declared certificates of one site or lone appliance.

    Args:
        state: The desired state.
        names: Declared certificates of the site and its members.
        stores: The observed stores of the reachable members.
        retired: Fingerprints that some member retires.
        now: The instant of the plan.
    """
    found = []
    for name in names:
        declared = state.certificates.get(name)
        if declared is None:
            continue
        material = state.material[name]
        if isinstance(declared.model.source, SelfSigned):
            found.append(_self_signed_target(state, declared, material, stores, retired, now))
        else:
            found.append(_committed_target(state, declared, material, now))
    return tuple(found)


def _committed_target(
    state: DesiredState, declared: Declared[CertificateModel], material: Material, now: dt.datetime
) -> Target:
    """What is committed counts. Only a requested certificate can be due: nobody here makes another provided one."""
    leaf = material.leaf
    if leaf is None:
        return Target(declared, material, None, None)
    target = Target(declared, material, leaf.fingerprint, leaf.not_before)
    if not target.is_requested:
        return target
    policy = declared.model.renew_before or state.policy.renew_before
    due = why_due(leaf.not_before, leaf.not_after, policy, declared.model.issued_after, now)
    if not due and target.differs:
        due = Reason(code="declared-anew", sentence="other names or another kind of key are declared now")
    return replace(target, due=due)


def _self_signed_target(
    state: DesiredState,
    declared: Declared[CertificateModel],
    material: Material,
    stores: Mapping[str, LiveStore],
    retired: frozenset[str],
    now: dt.datetime,
) -> Target:
    """The matching certificate with the latest start of validity on any reachable member counts for the whole site."""
    model = declared.model
    subject = frozenset(model.subject.distinguished_name.attributes)
    names = frozenset(parse_name(each) for each in model.subject_alternative_names)
    matches = {
        live.certificate
        for store in stores.values()
        for live in store.certificates
        if live.has_key
        and live.origin is Origin.ADMINISTRATOR
        and live.fingerprint not in retired
        and live.certificate.is_self_issued
        and live.certificate.key_kind == model.key
        and live.certificate.san_set == names
        and frozenset(live.certificate.subject.attributes) == subject
    }
    if not matches:
        return Target(declared, material, None, None)
    newest = max(matches, key=lambda each: (each.not_before, each.fingerprint))
    policy = model.renew_before or state.policy.renew_before
    due = why_due(newest.not_before, newest.not_after, policy, model.issued_after, now)
    return Target(declared, material, newest.fingerprint, newest.not_before, due)


def why_due(
    not_before: dt.datetime,
    not_after: dt.datetime,
    renew_before: dt.timedelta,
    issued_after: dt.datetime | None,
    now: dt.datetime,
) -> Reason | None:
    """Why a certificate is due for renewal, or None if it is not.

    `issued_after` counts from its instant on: one to come would ask for what nobody can issue yet, again and again.
    """
    if renewal_instant(not_before, not_after, renew_before) <= now:
        ends = "expired" if not_after < now else "expires"
        return Reason(code="renewal-due", sentence=f"it {ends} on {not_after:%Y-%m-%d}")
    if issued_after and not_before < issued_after <= now:
        return Reason(code="issued-after", sentence=f"it was issued before {moment(issued_after)}")
    return None


def classify(
    store: LiveStore, entries: Mapping[str, Entry], targets: tuple[Target, ...], retired: frozenset[str], *, keep: bool
) -> Mapping[str, Classified]:
    """Give every live certificate exactly one class, by fingerprint.

    Args:
        store: The observed store.
        entries: The store's certificates as entries.
        targets: The declared certificates of this appliance.
        retired: The fingerprints that this appliance retires.
        keep: Whether undeclared certificates are kept, so that their issuers are needed.
    """
    instances = {target.instance: target.name for target in targets if target.instance}
    classes: dict[str, Classified] = {}
    for live in store.certificates:
        classes[live.fingerprint] = _class_of(live, entries[live.fingerprint], targets, instances, retired)
    leaving = {CertificateClass.RETIRED} if keep else {CertificateClass.RETIRED, CertificateClass.UNDECLARED}
    loose = {CertificateClass.PREVIOUS, CertificateClass.UNDECLARED}
    staying = [
        each.live.certificate
        for each in classes.values()
        if each.kind not in leaving and not (each.kind in loose and not keep and each.live.certificate.is_authority)
    ]
    chain = {certificate for target in targets for certificate in target.material.chain}
    certificates = [each.certificate for each in store.certificates]
    needed = needed_issuers([*staying, *chain], certificates) | chain
    for fingerprint, each in classes.items():
        if each.kind in loose and each.live.certificate in needed:
            classes[fingerprint] = Classified(each.live, CertificateClass.CHAIN)
    return classes


def _class_of(
    live: LiveCertificate,
    entry: Entry,
    targets: tuple[Target, ...],
    instances: Mapping[str, str],
    retired: frozenset[str],
) -> Classified:
    """The class without regard to who issued what."""
    if live.origin is Origin.FACTORY:
        return Classified(live, CertificateClass.FACTORY)
    if live.origin is Origin.APPLIANCE:
        return Classified(live, CertificateClass.APPLIANCE_MANAGED)
    if live.fingerprint in retired:
        return Classified(live, CertificateClass.RETIRED)
    name = instances.get(live.fingerprint)
    if name and live.has_key:
        return Classified(live, CertificateClass.DECLARED, name)
    sharing = [target for target in targets if target.shares_a_name_with(entry)]
    later = [each for each in sharing if each.not_before is None or entry.not_before < each.not_before]
    if live.has_key and later:
        return Classified(live, CertificateClass.PREVIOUS, later[0].name)
    newer = [each for each in sharing if each.not_before is not None and entry.not_before > each.not_before]
    return Classified(live, CertificateClass.UNDECLARED, newer[0].name if newer else name, newer=bool(newer))
