"""Which server we are willing to talk to: certificates by fingerprint, or a root with the right host name.

There is no way to turn this off. A certificate that is trusted by fingerprint may be expired or carry another name:
mending such a one is what this program is for.
"""

from __future__ import annotations

import hashlib
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Untrusted(Exception):
    """A server has presented a certificate that is not trusted. Nothing was sent to it.

    Attributes:
        certificate: What it presented, DER.
    """

    def __init__(self, certificate: bytes) -> None:
        super().__init__("the server's certificate is not trusted")
        self.certificate = certificate


class Pins:
    """Certificates that one appliance may present, by SHA-256. More may join while a trusted session lasts."""

    def __init__(self, fingerprints: Iterable[str]) -> None:
        self._fingerprints = set(fingerprints)

    def add(self, fingerprints: Iterable[str]) -> None:
        """Trust more: what the trusted appliance itself says it may serve."""
        self._fingerprints.update(fingerprints)

    def check(self, certificate: bytes) -> None:
        """Look at what a server presents.

        Raises:
            Untrusted: It is not among them.
        """
        if hashlib.sha256(certificate).hexdigest() not in self._fingerprints:
            raise Untrusted(certificate)


def pinned_context(pins: Pins) -> ssl.SSLContext:
    """A client's context in which a handshake succeeds only with one of these certificates."""

    class Pinned(ssl.SSLObject):
        """Checks the certificate before anything can be sent."""

        def do_handshake(self) -> None:
            super().do_handshake()
            pins.check(self.getpeercert(binary_form=True) or b"")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # OpenSSL's own verdict is not asked: the check above decides
    context.sslobject_class = Pinned
    return context


def authority_context(root: bytes) -> ssl.SSLContext:
    """A client's context in which a handshake succeeds only with a certificate for the host that a root has issued.

    Args:
        root: The root, DER.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=root)
    return context
