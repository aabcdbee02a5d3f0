"""One certificate request (PKCS#10, RFC 2986) as a frozen value."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.pki.certificate import (
    DistinguishedName,
    key_kind_of,
    public_key_identity,
    read_general_name,
    read_name,
)
from reconciler.pki.library import understanding

if TYPE_CHECKING:
    from reconciler.pki.names import SubjectAlternativeName


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed certificate request. Equal when the bytes are equal.

    Attributes:
        der: The request itself.
        fingerprint: SHA-256 of `der`, lower-case hex.
        public_key: Identity of its key.
        key_kind: In the words of the policy.
        subject: The subject that is asked for.
        subject_alternative_names: The names that are asked for, in order.
        is_signature_valid: Whether its signature could be verified with its own key, which a CA will do, too.
    """

    der: bytes = field(repr=False)
    fingerprint: str
    public_key: str = field(compare=False)
    key_kind: str = field(compare=False)
    subject: DistinguishedName = field(compare=False)
    subject_alternative_names: tuple[SubjectAlternativeName, ...] = field(compare=False)
    is_signature_valid: bool = field(compare=False)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def pem(self) -> str:
        """The request data that is sent to a CA."""
        return x509.load_der_x509_csr(self.der).public_bytes(Encoding.PEM).decode("ascii")


def parse_request(der: bytes) -> Request:
    """Read one DER certificate request.

    Raises:
        FormatError: It is not a request, or has parts that cannot be understood.
    """
    with understanding("not a certificate request that can be understood"):
        parsed = x509.load_der_x509_csr(der)
        names = [each.value for each in parsed.extensions if isinstance(each.value, x509.SubjectAlternativeName)]
        key = parsed.public_key()
        return Request(
            der=der,
            fingerprint=hashlib.sha256(der).hexdigest(),
            public_key=public_key_identity(key),
            key_kind=key_kind_of(key),
            subject=read_name(parsed.subject),
            subject_alternative_names=tuple(read_general_name(name) for value in names for name in value),
            is_signature_valid=parsed.is_signature_valid,
        )
