"""Real TLS clients that say which certificate they were shown. They trust whatever that is."""

from __future__ import annotations

import hashlib
import socket
import ssl
import subprocess

from reconciler.pki.reading import read
from tests.support.programs import require_program


def served(port: int, server_name: str | None, host: str = "127.0.0.1") -> str:
    """Fingerprint of the leaf that a server shows to a client.

    Args:
        port: Where it listens.
        server_name: The server name indication, or None for a client that sends none.
        host: Where it listens.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=server_name) as client,
    ):
        certificate = client.getpeercert(binary_form=True)
    assert certificate
    return hashlib.sha256(certificate).hexdigest()


def served_chain(port: int, server_name: str, host: str = "127.0.0.1") -> tuple[str, ...]:
    """Fingerprints of everything that a server sends, in its order, as OpenSSL's client sees it."""
    command = [require_program("openssl"), "s_client", "-showcerts", "-connect", f"{host}:{port}"]
    shown = subprocess.run([*command, "-servername", server_name], input=b"", capture_output=True, check=False)
    return tuple(each.fingerprint for each in read(shown.stdout).certificates)
