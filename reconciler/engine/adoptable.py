"""What of a live certificate can be declared as it is, and which roots clients must know. Pure.

A certificate is adopted as a requested one whose answer is what is live: its key is on the appliance and stays there,
nothing is made until it falls due, and then its renewal is asked of a CA. That holds for a self-signed one as well,
which could not be declared as such where clients exist.
"""

from __future__ import annotations

import datetime as dt
import unicodedata
from dataclasses import dataclass, replace
from itertools import chain as chained
from itertools import count
from typing import TYPE_CHECKING, get_args

from reconciler.base.references import format_duration
from reconciler.desired.adoption import CertificateDraft, safe_name
from reconciler.desired.models import Requested, SelfSigned
from reconciler.live.store import Origin
from reconciler.pki.chain import ChainBuilder
from reconciler.pki.keys import KeyKind
from reconciler.pki.names import NameType, parse_name
from reconciler.pki.writing import write_pem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconciler.desired.state import DesiredState
    from reconciler.live.store import LiveCertificate, LiveStore, PendingRequest
    from reconciler.pki.certificate import Certificate

_FIELDS = {
    "C": "country",
    "ST": "state",
    "L": "locality",
    "O": "organization",
    "OU": "organizational_unit",
    "CN": "common_name",
}
_LONGEST_COMMON_NAME = 64
"""RFC 5280, appendix A.1: ub-common-name."""
_LONGEST_FRIENDLY_NAME = 200
_UNITS = (dt.timedelta(days=1), dt.timedelta(hours=1), dt.timedelta(minutes=1))
_KINDS = frozenset(get_args(KeyKind))


@dataclass(frozen=True)
class Adopted:
    """A live certificate that is to be declared.

    Attributes:
        name: What the declaration is called.
        live: The row of one of the stores that hold it.
        holders: The appliances that hold it with its key.
        chain: Its issuers in all of these stores, from the issuer up.
        draft: The declaration.
    """

    name: str
    live: LiveCertificate
    holders: tuple[str, ...]
    chain: tuple[Certificate, ...]
    draft: CertificateDraft

    @property
    def path(self) -> str:
        """The file of its declaration."""
        return f"certificates/{self.name}.yaml"

    @property
    def material(self) -> Mapping[str, Certificate]:
        """Its committed certificates by path."""
        paths = (self.draft.signed, *self.draft.chain)
        named = zip(paths, (self.live.certificate, *self.chain), strict=True)
        return {f"certificates/{path}": each for path, each in named}

    def files(self, *, schema: bool) -> Mapping[str, bytes]:
        """Everything that is written for it, what others refer to first."""
        material = {path: write_pem([each]) for path, each in self.material.items()}
        return {**material, self.path: self.draft.text(schema=schema).encode()}

    def acknowledging(self, item: str) -> Adopted:
        """The same, with a finding accepted."""
        return replace(self, draft=replace(self.draft, acknowledge=(*self.draft.acknowledge, item)))

    def without_country(self) -> Adopted:
        """The same, without a country that the rules do not know; it matters for the next request only."""
        subject = {key: value for key, value in self.draft.subject.items() if key != "country"}
        remark = "The country of its subject is no code of ISO 3166, and left out: see to it before the next request."
        return replace(self, draft=replace(self.draft, subject=subject, remarks=(*self.draft.remarks, remark)))

    def with_new_key(self) -> Adopted:
        """The same, renewed with a new key."""
        return replace(self, draft=replace(self.draft, renew_with="new_key"))

    def is_asked_for_by(self, request: PendingRequest) -> bool:
        """Whether a request with a key of its own would bring its successor."""
        certificate = self.live.certificate
        return (
            request.key_kind == certificate.key_kind
            and frozenset(request.subject_alternative_names) == certificate.san_set
            and request.public_key != certificate.public_key
        )

    def postponed(self, now: dt.datetime) -> Adopted | None:
        """The same, falling due only in half of the time that is left; None where that is no time at all."""
        half = (self.live.certificate.not_after - now) / 2
        unit = next((each for each in _UNITS if half >= each), None)
        if unit is None or self.draft.renew_before:
            return None
        remark = "It is due by the policy. Take `renew_before` out to have its renewal requested now."
        renew_before = format_duration(half // unit * unit)
        remarks = (*self.draft.remarks, remark)
        draft = replace(self.draft, renew_before=renew_before, renew_with="same_key", remarks=remarks)
        return replace(self, draft=draft)


def why_not(live: LiveCertificate, now: dt.datetime) -> tuple[str, str] | None:
    """Why a live certificate cannot be declared as it is, and what to do; None where it can."""
    certificate = live.certificate
    retire = f"keep it, or let it go with `- {{sha256: {live.fingerprint}, reason: ...}}` beneath `retired`"
    if certificate.not_after < now:
        return f"it expired on {certificate.not_after:%Y-%m-%d}", retire
    if not certificate.subject_alternative_names:
        return "it has no subject alternative names, without which clients refuse it", f"have another issued; {retire}"
    for each in certificate.subject_alternative_names:
        if each.type is NameType.OTHER or not _is_declarable(each.value):
            return f"its name {each.value} is neither a DNS name nor an IP address", f"have another issued; {retire}"
    if certificate.key_kind not in _KINDS:
        kinds = ", ".join(get_args(KeyKind))
        why = f"its key is {certificate.key_kind}, which cannot be declared"
        return why, f"have another issued, with one of {kinds}"
    return None


def _is_declarable(name: str) -> bool:
    try:
        return parse_name(name).value == name
    except ValueError:
        return False


def adopted(
    live: LiveCertificate,
    stores: Mapping[str, LiveStore],
    is_free: Callable[[str, bytes], bool],
    forms: set[tuple[object, ...]],
) -> Adopted:
    """A live certificate as it is to be declared.

    Args:
        live: The row of one of the stores that hold it.
        stores: The stores that hold it with its key, by appliance.
        is_free: Whether a declaration may have a name, given the content of its first committed file.
        forms: What the requested certificates that are declared already are told apart by; this one's is added.
    """
    certificate = live.certificate
    names = tuple(each.value for each in certificate.subject_alternative_names)
    base = safe_name(live.friendly_name, *names)
    content = write_pem([certificate])
    own = f"{base}-{live.fingerprint[:8]}"
    choices = chained((base, own), (f"{own}-{number}" for number in count(2)))
    name = next(each for each in choices if is_free(each, content))
    chain = _issuers(certificate, stores.values())
    subject, remarks = _subject(certificate)
    if form(subject, names, certificate.key_kind) in forms:
        until = f"until {certificate.not_after:%Y-%m-%d} {live.fingerprint[:8]}"
        subject["common_name"] = f"{subject['common_name'][:32]} {until}"
        remarks.append("Another has the same subject and names; the common name tells them apart for a next request.")
        remarks.append("It will be renewed like any other. Where a newer one has taken its place, let it go: take this")
        remarks.append("file out, and its name where it is listed: the plan removes it then.")
    forms.add(form(subject, names, certificate.key_kind))
    if certificate.is_self_issued:
        remarks.append("Self-signed: clients know it only by itself. Its renewal is asked of a CA.")
    friendly = _visible(live.friendly_name) if len(live.friendly_name) <= _LONGEST_FRIENDLY_NAME else ""
    files = _file_names(chain)
    draft = CertificateDraft(
        friendly_name=friendly,
        subject=subject,
        names=names,
        key=certificate.key_kind,
        signed=f"{name}/signed.pem",
        chain=tuple(f"{name}/{each}" for each in files),
        remarks=tuple(remarks),
    )
    return Adopted(name, live, tuple(stores), chain, draft)


def _visible(text: str) -> str:
    """A text without control characters, which may not be declared."""
    return "".join(each for each in text if unicodedata.category(each) != "Cc")


def form(subject: Mapping[str, str], names: Iterable[str], key: str) -> tuple[object, ...]:
    """What requested certificates are told apart by: see the rule `same-identity`."""
    return (*sorted(subject.items()), frozenset(names), key)


def _file_names(chain: tuple[Certificate, ...]) -> list[str]:
    """A file's name for each issuer, by its common name."""
    taken: list[str] = ["signed.pem"]
    for each in chain:
        base = safe_name(each.subject.display, "issuer")
        name = f"{base}.pem"
        taken.append(name if name not in taken else f"{base}-{each.fingerprint[:8]}.pem")
    return taken[1:]


def _subject(certificate: Certificate) -> tuple[dict[str, str], list[str]]:
    """The fields of a subject that can be declared, and remarks on the others."""
    subject: dict[str, str] = {}
    others: list[str] = []
    given = certificate.subject.attributes
    for attribute, key in _FIELDS.items():
        values = [_visible(value) for short, value in given if short == attribute and _visible(value)]
        if values:
            subject[key] = values[0]
        others += [attribute] * (len(values) - 1)
    others += sorted({short for short, _ in given if short not in _FIELDS})
    remarks = []
    if others:
        remarks.append(f"Its subject has more, which a next request will not have: {', '.join(dict.fromkeys(others))}.")
    common_name = subject.get("common_name", "")
    if not common_name:
        remarks.append("Its subject has no common name: this one is for a next request.")
        common_name = certificate.subject_alternative_names[0].value
    elif len(common_name) > _LONGEST_COMMON_NAME:
        remarks.append(f"Its common name is cut to {_LONGEST_COMMON_NAME} characters, for a next request.")
    subject["common_name"] = common_name[:_LONGEST_COMMON_NAME]
    return subject, remarks


def has_whole_chain(certificate: Certificate, store: LiveStore) -> bool:
    """Whether a store holds a complete chain of a certificate."""
    chains = ChainBuilder(each.certificate for each in store.certificates).chains(certificate)
    return any(each.complete for each in chains)


def _issuers(certificate: Certificate, stores: Iterable[LiveStore]) -> tuple[Certificate, ...]:
    """The issuers that every store holds, on any complete way up; on the longest where none is complete."""
    sets = [{each.certificate for each in store.certificates} for store in stores]
    shared = sorted(set.intersection(*sets), key=lambda each: each.fingerprint)
    chains = ChainBuilder(shared).chains(certificate)
    ways = [each for each in chains if each.complete] or [max(chains, key=lambda each: len(each.certificates))]
    return tuple(dict.fromkeys(each for way in ways for each in way.certificates if each != certificate))


def live_roots(stores: Iterable[LiveStore]) -> tuple[Certificate, ...]:
    """The roots at which certificates with a key end, each once by subject and public key.

    Where there are none but the factory's, its own certificate is the one: there is no other that clients could know.
    """
    found: dict[tuple[bytes, str], Certificate] = {}
    factory: dict[tuple[bytes, str], Certificate] = {}
    for store in stores:
        builder = ChainBuilder(each.certificate for each in store.certificates)
        for row in store.certificates:
            if row.has_key:
                roots = factory if row.origin is Origin.FACTORY else found
                for chain in builder.chains(row.certificate):
                    top = chain.top
                    if chain.complete:
                        roots.setdefault((top.subject.der, top.public_key), top)
    return tuple((found or factory).values())


def committed_paths(state: DesiredState) -> dict[str, str]:
    """Where single certificates lie that were committed before, by fingerprint."""
    paths: dict[str, str] = {}
    for name, material in state.material.items():
        source = state.certificates[name].model.source
        if isinstance(source, SelfSigned):
            continue
        leaf = source.signed if isinstance(source, Requested) else source.certificate
        for file in material.files:
            if len(file.certificates) == 1:
                path = leaf if file.index is None else source.chain[file.index]
                paths[file.certificates[0].fingerprint] = path or ""
    return paths
