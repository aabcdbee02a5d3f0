"""What strict clients would say of a certificate. It warns and never decides: many a private CA serves well without it.

Strict clients follow the profile of the public web (CA/Browser Forum), which demands more than RFC 5280: key
identifiers, BasicConstraints on roots, SHA-2 signatures, a name in the subject alternative names.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from reconciler.pki.library import REFUSALS, first_line, quiet

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from reconciler.pki.certificate import Certificate

_NO_WAY_UP = "all candidates exhausted with no interior errors"


def strict_objection(
    leaf: Certificate,
    intermediates: Iterable[Certificate],
    roots: Iterable[Certificate],
    host: str,
    instant: datetime,
) -> str | None:
    """Why a strict client would refuse a certificate for a host, in one sentence; None where it would not.

    Args:
        leaf: What the server presents as its own.
        intermediates: What it presents besides.
        roots: What the client trusts.
        host: The host name or IP address that the client asked for, not a wildcard.
        instant: When it asks.
    """
    trusted = [each.to_x509() for each in dict.fromkeys(roots)]
    if not trusted:
        return "strict clients would refuse it: there is no root that they could trust"
    try:
        with quiet():
            verifier = PolicyBuilder().store(Store(trusted)).time(instant).build_server_verifier(_subject(host))
            verifier.verify(leaf.to_x509(), [each.to_x509() for each in dict.fromkeys(intermediates)])
    except VerificationError as error:
        return f"strict clients would refuse it: {_reason(error)}"
    except REFUSALS as error:
        return f"strict clients would not understand it: {first_line(error)}"
    return None


def _subject(host: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host.removesuffix("."))


def _reason(error: VerificationError) -> str:
    """The reason alone, without what cryptography puts around it."""
    text = first_line(error).partition(" (encountered processing")[0]
    text = text.removeprefix("validation failed: ").removeprefix("candidates exhausted: ")
    return "no chain leads to a root that they trust" if text == _NO_WAY_UP else text
