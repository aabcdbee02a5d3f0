"""A certificate store as the planner imagines it: what is there now, and what would be after each action.

It differs from `LiveStore` in that it may hold certificates that do not exist yet (`new:<certificate>@<appliance>`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from reconciler.live.store import Origin
from reconciler.pki.selection import CandidateRule, may_serve

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from reconciler.live.store import LiveCertificate, LiveStore
    from reconciler.pki.certificate import Certificate
    from reconciler.pki.names import SubjectAlternativeName


@dataclass(frozen=True, slots=True)
class Entry:
    """A certificate in an imagined store.

    Attributes:
        ref: SHA-256, or `new:<certificate>@<appliance>` where it does not exist yet.
        label: As people know it.
        certificate: The certificate; None where it does not exist yet: then it is self-signed.
        has_key: Whether the store holds its key.
        common_name: The subject's common name.
        subject_alternative_names: In order.
        not_before: Start of validity, UTC.
        not_after: End of validity, UTC.
        origin: Who put it there.
    """

    ref: str
    label: str
    certificate: Certificate | None
    has_key: bool
    common_name: str
    subject_alternative_names: tuple[SubjectAlternativeName, ...]
    not_before: dt.datetime
    not_after: dt.datetime
    origin: Origin = Origin.ADMINISTRATOR

    @property
    def is_authority(self) -> bool:
        """Whether it may issue certificates."""
        return self.certificate is not None and self.certificate.is_authority


def entry_of(certificate: Certificate, label: str, *, has_key: bool, origin: Origin = Origin.ADMINISTRATOR) -> Entry:
    """A certificate that exists, as an entry."""
    return Entry(
        certificate.fingerprint,
        label,
        certificate,
        has_key,
        certificate.common_name,
        certificate.subject_alternative_names,
        certificate.not_before,
        certificate.not_after,
        origin,
    )


def live_entry(live: LiveCertificate) -> Entry:
    """A row of the store as an entry, called by its friendly name."""
    label = live.friendly_name or live.certificate.subject.display
    return entry_of(live.certificate, label, has_key=live.has_key, origin=live.origin)


@dataclass(frozen=True)
class World:
    """An imagined store.

    Attributes:
        entries: By ref.
        default: Ref of the default certificate, or None.
        rule: How its TLS front end selects.
    """

    entries: Mapping[str, Entry]
    default: str | None
    rule: CandidateRule

    @classmethod
    def of(cls, store: LiveStore) -> World:
        """The store as it is."""
        entries = (live_entry(each) for each in store.certificates)
        return cls({each.ref: each for each in entries}, store.default, store.rule)

    @cached_property
    def authorities(self) -> frozenset[Certificate]:
        """Everything in it that may issue certificates."""
        return frozenset(each.certificate for each in self.entries.values() if each.certificate and each.is_authority)

    def with_entry(self, entry: Entry) -> World:
        """The store with a certificate added, or its key added."""
        return replace(self, entries={**self.entries, entry.ref: entry})

    def without(self, ref: str) -> World:
        """The store with a certificate removed."""
        return replace(self, entries={key: each for key, each in self.entries.items() if key != ref})

    def with_default(self, ref: str) -> World:
        """The store with another default."""
        return replace(self, default=ref)

    def holds_key_of(self, ref: str | None) -> bool:
        """Whether a certificate is there with its key."""
        return ref is not None and ref in self.entries and self.entries[ref].has_key

    def with_key(self, public_key: str) -> tuple[str, ...]:
        """Refs of the certificates that are there with this key."""
        held = ((each.ref, each.certificate) for each in self.entries.values() if each.has_key)
        return tuple(ref for ref, certificate in held if certificate and certificate.public_key == public_key)

    def candidates(self, name: str | None) -> tuple[Entry, ...]:
        """What may be served for a server name, or for none."""
        default = self.entries.get(self.default) if self.default else None
        return may_serve(self.entries.values(), default, name, self.rule)
