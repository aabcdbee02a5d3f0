"""A corpus of desired states in text files: what is committed, and exactly the findings that it must give.

A case is a text file of parts. Each part begins with a header line:

    === sites/access.yaml                          the lines that follow are its content
    === certificates/access/root.pem <- root       the content is made by a recipe, one of `RECIPES`
    === certificates/link.pem -> ../../secret      a symbolic link
    === appliances/west-1.yaml !                   the base has this file, the case has not
    === base                                       the files of `base.txt` are there, unless the case says otherwise
    === expected                                   one finding a line: `file:line:column rule`

Escapes in content: `\\t` a tab, `\\xNN` a byte. What stands before the first header says what the case is about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from reconciler.desired.load import load
from reconciler.desired.tree import read_work_tree
from reconciler.engine.load import find_all
from reconciler.live.driver import driver_types
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.issuing import certificate_request
from reconciler.pki.keys import private_key
from reconciler.pki.names import parse_name
from reconciler.pki.writing import write_pem, write_pkcs7
from tests.support.authority import DAY, NOW, Authority, Issued, self_signed
from tests.support.two_keys import two_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.base.findings import Finding

BROKEN = Path(__file__).parents[1] / "desired" / "broken"
BASE = BROKEN.parent / "base.txt"
_HEADER = re.compile(r"=== (\S+)(?: (<-|->|!)(?: (.+))?)?")
_ESCAPE = re.compile(rb"\\t|\\x([0-9a-f]{2})")


@cache
def root() -> Authority:
    return Authority.root()


@cache
def intermediate() -> Authority:
    return root().intermediate()


@cache
def leaf() -> Issued:
    names = ("access.example.com", "east-1.example.com", "west-1.example.com")
    return intermediate().issue(names, common_name="Example remote access")


@cache
def lone() -> Issued:
    return intermediate().issue(("lone.example.com",), common_name="Lone access")


def _request() -> bytes:
    key, name = private_key(leaf().key), distinguished_name([("CN", "Example remote access")])
    return certificate_request(key, name, [parse_name("access.example.com")]).pem.encode()


def _cross_signed() -> bytes:
    old = Authority.root("Old root")
    return write_pem([old.cross_sign(root()), old.certificate])


def _clear_der() -> bytes:
    return leaf().key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _traditional() -> bytes:
    return leaf().key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def _openssh() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


RECIPES: dict[str, Callable[[], bytes]] = {
    "root": lambda: write_pem([root().certificate]),
    "other-root": lambda: write_pem([Authority.root("Other root").certificate]),
    "intermediate": lambda: write_pem([intermediate().certificate]),
    "root-and-intermediate": lambda: write_pem([root().certificate, intermediate().certificate]),
    "intermediate-and-other-root": lambda: write_pem(
        [intermediate().certificate, Authority.root("Other root").certificate]
    ),
    "authorities.p7b": lambda: write_pkcs7([root().certificate, intermediate().certificate]),
    "cross-signed": _cross_signed,
    "request": _request,
    "leaf": lambda: leaf().pem(),
    "leaf-above-its-issuers": lambda: write_pem([leaf().certificate, root().certificate, intermediate().certificate]),
    "leaf.p7b": lambda: write_pkcs7([root().certificate, leaf().certificate, intermediate().certificate]),
    "leaf-and-other-root.p7b": lambda: write_pkcs7(
        [leaf().certificate, intermediate().certificate, root().certificate, Authority.root("Other root").certificate]
    ),
    "two-leaves": lambda: write_pem([leaf().certificate, lone().certificate]),
    "expired-leaf": lambda: (
        intermediate()
        .issue(
            ("access.example.com", "east-1.example.com", "west-1.example.com"),
            common_name="Example remote access",
            not_before=NOW - 90 * DAY,
            not_after=NOW - DAY,
        )
        .pem()
    ),
    "self-signed": lambda: self_signed(["access.example.com"]).pem(),
    "lone": lambda: lone().pem(),
    "key": lambda: leaf().key_pem(b"passphrase"),
    "lone-key": lambda: lone().key_pem(b"passphrase"),
    "key.p12": lambda: leaf().pkcs12(b"passphrase"),
    "two-keys.p12": lambda: two_keys(leaf().pkcs12(b"passphrase"), lone().pkcs12(b"passphrase")),
    "clear-key": lambda: leaf().key_pem(),
    "clear-key.der": _clear_der,
    "clear-key.p12": lambda: leaf().pkcs12(None),
    "clear-key.traditional": _traditional,
    "clear-key.openssh": _openssh,
    "leaf-and-clear-key": lambda: leaf().pem() + leaf().key_pem(),
    "damaged": lambda: leaf().pem().replace(b"M", b"-", 1),
    "a-megabyte-and-more": lambda: b"x" * ((1 << 20) + 1),
}


@dataclass(frozen=True)
class Case:
    """One case of the corpus.

    Attributes:
        files: Content by path.
        links: Target by path.
        expected: The findings, as `file:line:column rule`, in the order in which they are reported.
    """

    files: dict[str, bytes]
    links: dict[str, str]
    expected: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Lay the files out."""
        for path, content in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        for path, target in self.links.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(target)


def read_case(path: Path) -> Case:
    """Read one file of the corpus."""
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    expected: tuple[str, ...] = ()
    parts = re.split(r"^(?==== )", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for part in parts[1:]:
        header, _, body = part.partition("\n")
        match = _HEADER.fullmatch(header)
        assert match, f"{path.name}: {header}"
        name, arrow, detail = match.groups()
        if name == "base":
            files |= read_case(BASE).files
        elif name == "expected":
            expected = tuple(body.split("\n")[:-1])
        elif arrow == "!":
            del files[name]
        elif arrow == "->":
            files.pop(name, None)
            links[name] = detail
        else:
            files[name] = RECIPES[detail]() if arrow else _ESCAPE.sub(_unescape, body.encode())
    return Case(files, links, tuple(line for line in expected if line))


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode()) if match[1] else b"\t"


def validate(folder: Path) -> tuple[Finding, ...]:
    """Everything that `reconciler validate` would find in a folder, at `NOW`."""
    drivers = {name: each.configuration for name, each in driver_types().items()}
    return tuple(find_all(load(read_work_tree(folder), drivers, display_root=""), NOW))


def told(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Findings as the corpus writes them."""
    return tuple(f"{each.position} {each.rule}" for each in findings)
