"""How a certificate differs from the one in whose place it comes: what people compare before they approve.

Sets are compared as sets: an order that changes is no change. What is not known yet of a certificate that is still to
be made is left out on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from reconciler.base.references import format_duration
from reconciler.plan.matching import CertificateClass
from reconciler.plan.model import CreateRequest, CreateSelfSigned, Import, SetDefault
from reconciler.report import words

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from reconciler.desired.state import Material
    from reconciler.live.store import LiveCertificate, LiveStore
    from reconciler.pki.certificate import Certificate
    from reconciler.plan.matching import Classified
    from reconciler.plan.model import Action, Plan

_Traits: TypeAlias = "Mapping[str, tuple[str, ...]]"

ISSUED_TO, NAMES, ISSUED_BY = "Issued To", "Alternative Name(s)", "Issued By"
EXPIRATION, KEY, FINGERPRINT = "Expiration", "Key", "Fingerprint"


@dataclass(frozen=True, slots=True)
class Change:
    """How a certificate differs in one respect from the one in whose place it comes.

    Attributes:
        label: What it is about, as the appliance's pages call it.
        dropped: What the former has and the new one has not.
        added: What the new one has and the former has not.
        kept: How many both have.
    """

    label: str
    dropped: tuple[str, ...]
    added: tuple[str, ...]
    kept: int


@dataclass(frozen=True, slots=True)
class Succession:
    """The certificate in whose place an action puts another, and how they differ.

    Attributes:
        instead_of: The former's label and short fingerprint; empty where nothing is succeeded.
        changes: What differs, in the order in which people compare.
    """

    instead_of: str = ""
    changes: tuple[Change, ...] = ()


class Known:
    """Every certificate that a plan may speak of."""

    def __init__(
        self,
        plan: Plan,
        stores: Mapping[str, LiveStore],
        material: Mapping[str, Material],
        classes: Mapping[str, Mapping[str, Classified]],
    ) -> None:
        self._stores = stores
        self._classes = classes
        self._committed: dict[str, Certificate] = {}
        for each in material.values():
            for certificate in (*((each.leaf,) if each.leaf else ()), *each.chain):
                self._committed[certificate.fingerprint] = certificate
        self._now = plan.made_at
        self._made = {action.new: action for action in plan.actions if isinstance(action, CreateSelfSigned)}

    def certificate(self, appliance: str, reference: str) -> Certificate | None:
        """The certificate itself, if it is live on the appliance or committed."""
        live = self.live(appliance, reference)
        return live.certificate if live else self._committed.get(reference)

    def made(self, reference: str) -> CreateSelfSigned | None:
        """The action that makes a certificate which does not exist yet."""
        return self._made.get(reference)

    def live(self, appliance: str, fingerprint: str) -> LiveCertificate | None:
        """The row of an observed store."""
        store = self._stores.get(appliance)
        return store.by_fingerprint.get(fingerprint) if store else None

    def label(self, appliance: str, fingerprint: str) -> str:
        """What people call a live certificate: its friendly name, else whom it was issued to."""
        live = self.live(appliance, fingerprint)
        return (live.friendly_name or live.certificate.subject.display) if live else ""

    def succession(self, action: Action) -> Succession:
        """What an action puts another certificate in the place of."""
        match action:
            case Import(role="leaf"):
                former = self._former(action.appliance, action.certificate, action.fingerprint)
                traits = self._traits(action.appliance, action.fingerprint)
            case CreateSelfSigned():
                former = self._former(action.appliance, action.certificate, action.new)
                traits = _form(action)
            case CreateRequest():
                former = self._former(action.appliance, action.certificate, "")
                traits = _form(action)
            case SetDefault() if action.replaces:
                former = action.replaces
                traits = self._traits(action.appliance, action.target)
            case _:
                return Succession()
        if not former:
            return Succession()
        label = f"{self.label(action.appliance, former)} [{words.short(former)}]".lstrip()
        changes = _compare(self._traits(action.appliance, former), traits)
        if self._is_earlier(action, former):
            changes = tuple(_marked_earlier(each) if each.label == EXPIRATION else each for each in changes)
        return Succession(label, changes)

    def _is_earlier(self, action: Action, former: str) -> bool:
        """Whether what comes expires before what it replaces: a renewal that shortens is easily overlooked."""
        match action:
            case CreateSelfSigned():
                reference = action.new
            case Import():
                reference = action.fingerprint
            case SetDefault():
                reference = action.target
            case _:
                return False
        before, after = self._end(action.appliance, former), self._end(action.appliance, reference)
        return before is not None and after is not None and after < before

    def _end(self, appliance: str, reference: str) -> dt.datetime | None:
        """Until when a certificate is valid; one that is still to be made counts as made with the plan."""
        made, certificate = self.made(reference), self.certificate(appliance, reference)
        if made:
            return self._now + made.valid_for
        return certificate.not_after if certificate else None

    def _former(self, appliance: str, declared: str | None, reference: str) -> str:
        """The newest live certificate that is, or was, the declared one, apart from the one meant; empty for none."""
        kinds = {CertificateClass.DECLARED, CertificateClass.PREVIOUS}
        found = [
            each.live.certificate
            for each in self._classes.get(appliance, {}).values()
            if each.certificate == declared and each.kind in kinds and each.live.fingerprint != reference
        ]
        newest = max(found, key=lambda each: (each.not_before, each.fingerprint), default=None)
        return newest.fingerprint if newest else ""

    def _traits(self, appliance: str, reference: str) -> _Traits:
        made = self.made(reference)
        if made:
            return _form(made)
        certificate = self.certificate(appliance, reference)
        return _described(certificate) if certificate else {}


def _described(certificate: Certificate) -> _Traits:
    return {
        ISSUED_TO: (certificate.subject.display,),
        NAMES: tuple(each.value for each in certificate.subject_alternative_names),
        ISSUED_BY: (certificate.issuer.display,),
        EXPIRATION: (words.utc(certificate.not_after),),
        KEY: (_key(certificate.key_kind, certificate.public_key),),
        FINGERPRINT: (certificate.fingerprint,),
    }


def _form(action: CreateSelfSigned | CreateRequest) -> _Traits:
    """What is known of a certificate from the fields of the Create page. A CA may decide on the rest otherwise."""
    common_name = dict(action.subject).get("CN", "")
    traits = {
        ISSUED_TO: (common_name,) if common_name else (),
        NAMES: action.subject_alternative_names,
        KEY: (_key(action.key, (action.public_key or "") if isinstance(action, CreateRequest) else ""),),
    }
    if isinstance(action, CreateRequest):
        return traits
    lasts = f"{format_duration(action.valid_for)} after it is made"
    return {**traits, ISSUED_BY: traits[ISSUED_TO], EXPIRATION: (lasts,)}


def _key(kind: str, public_key: str) -> str:
    """The kind of a key, and which one it is: another key of the same kind is a change as well."""
    return f"{kind} [{words.short(public_key) if public_key else words.NEW}]"


def _marked_earlier(change: Change) -> Change:
    return replace(change, added=tuple(f"{each} (earlier)" for each in change.added))


def _compare(former: _Traits, new: _Traits) -> tuple[Change, ...]:
    changes = []
    for label in (ISSUED_TO, NAMES, ISSUED_BY, EXPIRATION, KEY, FINGERPRINT):
        if label in former and label in new:
            before, after = dict.fromkeys(former[label]), dict.fromkeys(new[label])
            dropped = tuple(each for each in before if each not in after)
            added = tuple(each for each in after if each not in before)
            if dropped or added:
                changes.append(Change(label, dropped, added, len(before) - len(dropped)))
    return tuple(changes)
