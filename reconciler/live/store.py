"""An appliance's certificate store as a frozen value, as its pages show it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from reconciler.pki.selection import LIBERAL, CandidateRule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.pki.certificate import Certificate, DistinguishedName
    from reconciler.pki.names import SubjectAlternativeName


class Origin(StrEnum):
    """Who put a certificate into the store."""

    FACTORY = "factory"
    """It ships with the appliance (`BeyondTrust Appliance`) and cannot be removed."""
    APPLIANCE = "appliance"
    """The appliance requests and renews it by itself (Let's Encrypt)."""
    ADMINISTRATOR = "administrator"


class Operation(StrEnum):
    """What can be asked of a store, in the guide's words."""

    CREATE_SELF_SIGNED = "create_self_signed"
    CREATE_REQUEST = "create_request"
    IMPORT = "import"
    SET_DEFAULT = "set_default"
    REMOVE = "remove"
    REMOVE_REQUEST = "remove_request"
    EXPORT = "export"


IN_WORDS: Mapping[Operation, str] = {
    Operation.CREATE_SELF_SIGNED: "create a self-signed certificate",
    Operation.CREATE_REQUEST: "create a certificate request",
    Operation.IMPORT: "import",
    Operation.SET_DEFAULT: "set the default",
    Operation.REMOVE: "remove a certificate",
    Operation.REMOVE_REQUEST: "remove a certificate request",
    Operation.EXPORT: "export",
}
"""What each is, for people."""


@dataclass(frozen=True, slots=True)
class LiveCertificate:
    """A row of Security > Certificates.

    Attributes:
        certificate: The certificate itself.
        friendly_name: Shown, never an identity.
        has_key: The column *Private Key?*.
        origin: Who put it there.
    """

    certificate: Certificate
    friendly_name: str
    has_key: bool
    origin: Origin = Origin.ADMINISTRATOR

    @property
    def fingerprint(self) -> str:
        """Identity: SHA-256 of the certificate."""
        return self.certificate.fingerprint

    @property
    def common_name(self) -> str:
        """The subject's common name."""
        return self.certificate.common_name

    @property
    def subject_alternative_names(self) -> tuple[SubjectAlternativeName, ...]:
        """All subject alternative names."""
        return self.certificate.subject_alternative_names


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A row of Security :: Certificate Requests.

    Attributes:
        fingerprint: SHA-256 of the request's DER, lower-case hex.
        public_key: Identity of its key.
        key_kind: In the words of the policy.
        subject: Its subject.
        subject_alternative_names: In its order.
        request_data: The PEM that is sent to a CA.
    """

    fingerprint: str
    public_key: str
    key_kind: str
    subject: DistinguishedName
    subject_alternative_names: tuple[SubjectAlternativeName, ...]
    request_data: str


@dataclass(frozen=True)
class LiveStore:
    """Everything that was observed of one appliance at one instant.

    Attributes:
        certificates: All rows, each certificate once, ordered by fingerprint.
        requests: All pending requests, ordered by fingerprint.
        default: Fingerprint of the default certificate, or None where there is none.
        rule: How its TLS front end selects.
        offers: What the interface in front of us can do; anything else is left to do by hand.
        unfinished: What an interrupted change left due (a reload), or empty; `Driver.recover` finishes it.
        presents_itself: Whether its interface presents certificates of the store, so that one that is made there must
            be trusted before anybody signs in again.
    """

    certificates: tuple[LiveCertificate, ...]
    requests: tuple[PendingRequest, ...] = ()
    default: str | None = None
    rule: CandidateRule = LIBERAL
    offers: frozenset[Operation] = frozenset(Operation)
    unfinished: str = ""
    presents_itself: bool = False

    @cached_property
    def by_fingerprint(self) -> Mapping[str, LiveCertificate]:
        """The certificates by identity."""
        return {each.fingerprint: each for each in self.certificates}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over what identifies the content: fingerprints, keys, default and requests."""
        content = {
            "certificates": sorted([each.fingerprint, each.has_key] for each in self.certificates),
            "requests": sorted(each.fingerprint for each in self.requests),
            "default": self.default,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
