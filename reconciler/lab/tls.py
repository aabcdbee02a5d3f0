"""SSL certificate auto-selection of a simulated appliance, in the handshake itself.

Every certificate with a key in the appliance's directory is a candidate for the name that a client sends; where several
match, the tie-break decides, which the guide leaves open. The directory is looked at in every handshake, so that what
was changed a moment ago, by whomever, is served already; only what is in a file is remembered, as long as it is the
same file.
"""

from __future__ import annotations

import os
import random
import ssl
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.base.errors import FormatError
from reconciler.live.directory.operations import HAPROXY
from reconciler.pki.certificate import Certificate, parse_certificate
from reconciler.pki.selection import may_serve

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.pki.names import SubjectAlternativeName


class TieBreak(StrEnum):
    """Which of several matching certificates is served."""

    FIRST = "first"
    """The default if it matches, else the first in the order of the files' names."""
    LAST = "last"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class _Servable:
    """A file with a certificate, its chain and its key, as it was when it was read."""

    certificate: Certificate
    context: ssl.SSLContext

    @property
    def has_key(self) -> bool:
        return True

    @property
    def common_name(self) -> str:
        return self.certificate.common_name

    @property
    def subject_alternative_names(self) -> tuple[SubjectAlternativeName, ...]:
        return self.certificate.subject_alternative_names


class Selection:
    """What a directory would serve, and the context in which an appliance listens."""

    def __init__(self, folder: Path, tie_break: TieBreak) -> None:
        self.tie_break = tie_break
        self._folder = folder
        self._files: dict[tuple[int, ...], _Servable] = {}
        self._served: tuple[_Servable, ...] = ()

    def listening_context(self) -> ssl.SSLContext:
        """A context without a certificate: each handshake chooses its own."""
        context = _context()
        context.sni_callback = self._choose
        return context

    def select(self, name: str | None) -> Certificate | None:
        """The certificate that a client is shown which sends this name, or none; None where nothing can be served."""
        chosen = self._select(name)
        return chosen.certificate if chosen else None

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        # An exception would be printed and end the handshake with the wrong alert.
        chosen = self._select(name)
        if chosen is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = chosen.context
        return None

    def _select(self, name: str | None) -> _Servable | None:
        loaded = self._load()
        default = loaded[0] if loaded else None
        # The default comes twice, as the link that is loaded first and as the file that it leads to.
        candidates: dict[str, _Servable] = {}
        for each in loaded:
            candidates.setdefault(each.certificate.fingerprint, each)
        matching = may_serve(candidates.values(), default, name, HAPROXY)
        if not matching:
            return None
        match self.tie_break:
            case TieBreak.FIRST:
                return matching[0]
            case TieBreak.LAST:
                return matching[-1]
            case TieBreak.RANDOM:
                return random.choice(matching)  # noqa: S311 - it need not be unforeseeable

    def _load(self) -> tuple[_Servable, ...]:
        """Every file that a front end would load, in its order; what is no such file is passed over."""
        with suppress(OSError):
            with os.scandir(self._folder) as found:
                names = sorted(os.fsencode(each.name) for each in found if _is_loaded(each.name))
            files: dict[tuple[int, ...], _Servable] = {}
            loaded: list[_Servable] = []
            for name in names:
                path = os.path.join(os.fsencode(self._folder), name)  # noqa: PTH118 - in every handshake
                # What is removed between listing and reading has been removed.
                with suppress(OSError, ValueError, FormatError):
                    status = os.stat(path)  # noqa: PTH116 - in every handshake
                    identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
                    files[identity] = files.get(identity) or self._files.get(identity) or _read(path)
                    loaded.append(files[identity])
            self._files, self._served = files, tuple(loaded)
        return self._served


def _is_loaded(name: str) -> bool:
    return name.endswith(".pem") and not name.startswith(".")


def _read(path: bytes) -> _Servable:
    with open(path, "rb") as file:  # noqa: PTH123 - a name in bytes
        leaf = x509.load_pem_x509_certificates(file.read())[0]
    context = _context()
    context.load_cert_chain(path)
    return _Servable(parse_certificate(leaf.public_bytes(Encoding.DER)), context)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A ticket would let a client resume without being shown the certificate.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return context
