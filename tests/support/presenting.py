"""Servers on loopback that treat every connection in one way: TLS servers that present certificates, and others.

presenter = Presenter(issued, {"west.example.com": other})
with listening(presenter) as (host, port):
    ...
presenter.asked          # [None, "access.example.com", ...]
"""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.authority import Issued

_PATIENCE = 20.0


@contextmanager
def listening(answer: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """A server that answers one connection after the other, until the block ends. Gives its host and port."""
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(_PATIENCE)
                answer(connection)

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield host, listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join()


def refusing() -> tuple[str, int]:
    """Host and port of an endpoint on which nothing listens: a port that nobody gets by asking for a free one."""
    return "127.0.0.1", 1


class Presenter:
    """A TLS server.

    Attributes:
        asked: The server names that clients asked for, in order; None where one sent none.
        received: Whatever came after the handshakes.
        context: What it presents where no other name is asked for.
    """

    def __init__(self, issued: Issued, others: Mapping[str, Issued] | None = None) -> None:
        self.asked: list[str | None] = []
        self.received = b""
        self.context = serving_context(issued.certificate.der, issued)
        self._others = {name: serving_context(each.certificate.der, each) for name, each in (others or {}).items()}
        self.context.sni_callback = self._select

    def _select(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        self.asked.append(name)
        connection.context = self._others.get(name or "", self.context)

    def __call__(self, connection: socket.socket) -> None:
        try:
            with self.context.wrap_socket(connection, server_side=True) as client:
                self.received += client.recv(4096)
        except OSError:
            return


def serving_context(der: bytes, issued: Issued) -> ssl.SSLContext:
    """What presents a certificate, whatever its bytes are, with the key of an issued one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "served.pem")
        path.write_bytes(ssl.DER_cert_to_PEM_cert(der).encode() + key)
        context.load_cert_chain(path)
    return context
