"""Certificate authorities that are other people's software: cfssl's signing server, and OpenSSL's `ca`.

    with cfssl_authority(folder) as authority:
        answer = as_pkcs7(authority.sign(request.request_data), authority.chain)

Each has a root and an intermediate that signs; their certificates are made by OpenSSL, whose `-startdate` lets a test
whose clock is injected choose their validity. Neither is our own code: for certificates of any odd shape there is
`tests.support.authority`. What a CA hands out is turned into the formats that an appliance imports by OpenSSL, too.
"""

from __future__ import annotations

import datetime as dt
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import httpx

from tests.support.authority import AUTHORITY_VALIDITY
from tests.support.ports import reserved_ports
from tests.support.programs import require_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIFETIME = dt.timedelta(days=90)
"""Of an answer, where nothing else is asked for."""

_STARTS_WITHIN = 20.0
_TIME = "%Y%m%d%H%M%SZ"
_CONFIGURATION = """
new_certs_dir = .
database = index.txt
rand_serial = yes
unique_subject = no
default_md = sha256
policy = whatever
preserve = yes
copy_extensions = copy
[ root ]
certificate = root.pem
private_key = root.key
[ intermediate ]
certificate = intermediate.pem
private_key = intermediate.key
[ whatever ]
commonName = optional
[ authority ]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ server ]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
"""


class Authority(Protocol):
    """A CA as an administrator knows it."""

    @property
    def name(self) -> str:
        """What it is called in the common names of its certificates."""

    @property
    def chain(self) -> tuple[bytes, ...]:
        """What stands above every answer, PEM: the issuer first, the root last."""

    def sign(
        self, request_pem: str, *, not_before: dt.datetime | None = None, not_after: dt.datetime | None = None
    ) -> bytes:
        """The answer to a certificate request, PEM: valid from now on and for `LIFETIME`, unless told otherwise."""


@dataclass(frozen=True)
class OpenSSLAuthority:
    """OpenSSL's `ca`, in a folder that holds its database and its keys.

    Attributes:
        name: What it is called in the common names of its certificates.
        folder: Its folder.
    """

    name: str
    folder: Path

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Intermediate and root."""
        return tuple((self.folder / f"{each}.pem").read_bytes() for each in ("intermediate", "root"))

    def sign(
        self, request_pem: str, *, not_before: dt.datetime | None = None, not_after: dt.datetime | None = None
    ) -> bytes:
        """The intermediate's answer; subject and SANs are those of the request."""
        (self.folder / "request.pem").write_text(request_pem)
        options = ("-name", "intermediate", "-extensions", "server", "-in", "request.pem")
        return self._ca(*options, not_before=not_before, not_after=not_after)

    def cross_sign(
        self, root: bytes, *, not_before: dt.datetime | None = None, not_after: dt.datetime | None = None
    ) -> bytes:
        """Another CA's root, subject and key, issued by the root of this one: PEM in, PEM out."""
        (self.folder / "other.pem").write_bytes(root)
        options = ("-name", "root", "-extensions", "authority", "-ss_cert", "other.pem")
        return self._ca(*options, not_before=not_before, not_after=not_after)

    def _ca(self, *options: str, not_before: dt.datetime | None, not_after: dt.datetime | None) -> bytes:
        start, end = _period(not_before, not_after)
        begins = ("-startdate", f"{start:{_TIME}}") if start else ()
        ends = ("-enddate", f"{end:{_TIME}}") if end else ("-days", str(LIFETIME.days))
        return _openssl("ca", "-batch", "-notext", "-config", "ca.cnf", *begins, *ends, *options, folder=self.folder)


def openssl_authority(
    folder: Path,
    name: str = "OpenSSL",
    *,
    validity: tuple[dt.datetime, dt.datetime] = AUTHORITY_VALIDITY,
) -> OpenSSLAuthority:
    """A new OpenSSL `ca`: a root and an intermediate, both of this validity."""
    folder.mkdir(parents=True)
    (folder / "ca.cnf").write_text(_CONFIGURATION)
    (folder / "index.txt").touch()
    authority = OpenSSLAuthority(name, folder)
    for each, how in (("root", ("-selfsign", "-keyfile", "root.key")), ("intermediate", ())):
        subject = f"/C=US/O=Example Company/CN={name} {each}"
        new = ("-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", f"{each}.key")
        _openssl("req", *new, "-config", "ca.cnf", "-subj", subject, "-out", f"{each}.csr", folder=folder)
        options = ("-name", "root", *how, "-extensions", "authority", "-in", f"{each}.csr")
        made = authority._ca(*options, not_before=validity[0], not_after=validity[1])  # noqa: SLF001 - making it
        (folder / f"{each}.pem").write_bytes(made)
    return authority


class CfsslAuthority:
    """A cfssl signing server, asked over HTTP.

    A request to this version of cfssl cannot say from when to when: the answer takes that from a profile, and profiles
    are read when the server starts. So it is started again wherever another validity is asked for than the last time.

    Attributes:
        name: What it is called in the common names of its certificates.
        chain: Intermediate and root.
    """

    def __init__(self, program: str, made: OpenSSLAuthority, port: int) -> None:
        self._program = program
        self.name = made.name
        self.chain = made.chain
        self._folder = made.folder
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._validity: tuple[dt.datetime | None, dt.datetime | None] = (None, None)

    def sign(
        self, request_pem: str, *, not_before: dt.datetime | None = None, not_after: dt.datetime | None = None
    ) -> bytes:
        """The server's answer; subject and SANs are those of the request. It cuts the present off to minutes."""
        validity = _period(not_before, not_after)
        if self._process is None or validity != self._validity:
            self._start(validity)
        asked = {"certificate_request": request_pem, "profile": "server"}
        url = f"http://127.0.0.1:{self._port}/api/v1/cfssl/sign"
        reply = httpx.post(url, json=asked, trust_env=False, timeout=_STARTS_WITHIN)
        told = reply.json()
        assert told["success"], told["errors"]
        return str(told["result"]["certificate"]).encode()

    def stop(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_STARTS_WITHIN)
            self._process = None

    def _start(self, validity: tuple[dt.datetime | None, dt.datetime | None]) -> None:
        self.stop()
        profile: dict[str, object] = {
            "expiry": f"{LIFETIME // dt.timedelta(hours=1)}h",
            "usages": ["digital signature", "key encipherment", "server auth"],
        }
        for name, instant in zip(("not_before", "not_after"), validity, strict=True):
            if instant is not None:
                profile[name] = f"{instant:%Y-%m-%dT%H:%M:%SZ}"
        signing = {"signing": {"default": profile, "profiles": {"server": profile}}}
        (self._folder / "cfssl.json").write_text(json.dumps(signing))
        command = [self._program, "serve", "-address", "127.0.0.1", "-port", str(self._port)]
        command += ["-ca", "intermediate.pem", "-ca-key", "intermediate.key", "-config", "cfssl.json"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._validity = validity
        self._wait(self._process)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _STARTS_WITHIN
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                break
            except OSError:
                log = (self._folder / "log").read_text(errors="replace")
                assert process.poll() is None, f"cfssl did not start: {log}"
                assert time.monotonic() < deadline, "cfssl does not answer"
                time.sleep(0.02)


@contextmanager
def cfssl_authority(
    folder: Path,
    name: str = "cfssl",
    *,
    validity: tuple[dt.datetime, dt.datetime] = AUTHORITY_VALIDITY,
) -> Iterator[CfsslAuthority]:
    """A cfssl signing server until the block ends, with a root and an intermediate, both of this validity."""
    program = require_program("cfssl")
    with reserved_ports(1) as (port,):
        authority = CfsslAuthority(program, openssl_authority(folder, name, validity=validity), port)
        try:
            yield authority
        finally:
            authority.stop()


def as_der(leaf: bytes, _: Sequence[bytes] = ()) -> bytes:
    """A leaf alone, in DER."""
    return _openssl("x509", "-outform", "DER", given=leaf)


def as_pem(leaf: bytes, _: Sequence[bytes] = ()) -> bytes:
    """A leaf alone, in PEM, as `openssl x509` writes it."""
    return _openssl("x509", given=leaf)


def as_pem_with_chain(leaf: bytes, chain: Sequence[bytes]) -> bytes:
    """A leaf and its chain in one PEM file, from the leaf up."""
    return b"".join((leaf, *chain))


def as_pkcs7(leaf: bytes, chain: Sequence[bytes]) -> bytes:
    """A leaf and its chain in PKCS#7, in DER."""
    bundle = as_pem_with_chain(leaf, chain)
    return _openssl("crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin", "-outform", "DER", given=bundle)


def as_pkcs12(leaf: bytes, chain: Sequence[bytes]) -> bytes:
    """A leaf and its chain in PKCS#12 without a key, under the empty password: what is committed must be readable."""
    return _openssl("pkcs12", "-export", "-nokeys", "-passout", "pass:", given=as_pem_with_chain(leaf, chain))


Wrap: TypeAlias = Callable[[bytes, Sequence[bytes]], bytes]

FORMATS: Mapping[str, Wrap] = {
    "DER": as_der,
    "PEM": as_pem,
    "PEM with chain": as_pem_with_chain,
    "PKCS#7": as_pkcs7,
    "PKCS#12": as_pkcs12,
}
"""Every format that an appliance's Import accepts: what makes it of a leaf and its chain, each in PEM."""


def objections(leaf: bytes, chain: Sequence[bytes], at: dt.datetime) -> str:
    """What `openssl verify` has against a leaf beneath its chain, root last, at an instant; empty where nothing."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("leaf", leaf), ("between", b"".join(chain[:-1])), ("root", chain[-1])):
            Path(folder, name).write_bytes(content)
        command = [require_program("openssl"), "verify", "-x509_strict", "-purpose", "sslserver"]
        command += ["-no-CAfile", "-no-CApath", "-no-CAstore", "-trusted", "root", "-attime", f"{at.timestamp():.0f}"]
        command += (["-untrusted", "between"] if chain[:-1] else []) + ["leaf"]
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _openssl(*arguments: str, folder: Path | None = None, given: bytes = b"") -> bytes:
    command = [require_program("openssl"), *arguments]
    done = subprocess.run(command, cwd=folder, input=given, check=False, capture_output=True)
    assert done.returncode == 0, f"{arguments}: {done.stderr.decode(errors='replace')}"
    return done.stdout


def _period(
    not_before: dt.datetime | None, not_after: dt.datetime | None
) -> tuple[dt.datetime | None, dt.datetime | None]:
    return not_before, not_before + LIFETIME if not_before and not not_after else not_after
