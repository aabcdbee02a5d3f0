"""A small fleet on certificate directories, for tests that run commands as a user runs them.

A failover pair whose certificate a CA issued, and a lone appliance that makes its own. The command line reads the real
clock, so certificates are valid around the present.
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.base.clock import system_clock
from reconciler.cli import main
from reconciler.live.directory import create_store
from tests.support.authority import DAY, Authority, Issued

if TYPE_CHECKING:
    from pathlib import Path

PASSPHRASE = "correct horse battery staple"  # noqa: S105 - of keys that live as long as a test
VARIABLE = "TEST_ACCESS_KEY"
APPLIANCES = ("east-1", "lab", "west-1")

_SITE = """\
hostname: access.example.com
topology: failover
primary: east-1
backup: west-1
certificates: [access]
default: access
client_software: none
"""
_ACCESS = """\
friendly_name: access.example.com
subject: {country: US, organization: Example Company, common_name: Example remote access}
subject_alternative_names: [access.example.com, east-1.example.com, west-1.example.com]
key: ec-p256
source:
  kind: provided
  certificate: access/leaf.pem
  chain: [access/chain.pem]
  key: access/key.pem
  passphrase: {env: TEST_ACCESS_KEY}
"""
_LAB = """\
subject: {country: US, organization: Example Company, common_name: Lab}
subject_alternative_names: [lab.example.com]
key: ec-p256
source: {kind: self_signed}
"""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


def run(*arguments: str | Path) -> Ran:
    """Run a command in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(each) for each in arguments])
    return Ran(code, _content(out), _content(err))


def _content(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


@dataclass(frozen=True)
class Fleet:
    """A desired state and the stores that it speaks of."""

    root: Path

    @property
    def desired_state(self) -> Path:
        return self.root / "desired-state"

    def store(self, appliance: str) -> Path:
        return self.root / "stores" / appliance

    def file(self, path: str) -> Path:
        return self.desired_state / path

    def run(self, command: str, *arguments: str | Path) -> Ran:
        return run(command, self.desired_state, *arguments)

    def edit(self, path: str, old: str, new: str) -> None:
        text = self.file(path).read_text("utf-8")
        assert old in text
        self.file(path).write_text(text.replace(old, new), "utf-8")

    def commit(self, issued: Issued) -> None:
        """Put a certificate, its chain and its encrypted key where `access` is declared."""
        chain = b"".join(each.to_x509().public_bytes(Encoding.PEM) for each in issued.chain)
        self.file("certificates/access/leaf.pem").write_bytes(issued.pem())
        self.file("certificates/access/chain.pem").write_bytes(chain)
        self.file("certificates/access/key.pem").write_bytes(issued.key_pem(PASSPHRASE.encode()))


def issue(authority: Authority, *, days_ago: int = 30) -> Issued:
    now = system_clock()
    return authority.issue(
        ["access.example.com", "east-1.example.com", "west-1.example.com"],
        not_before=now - days_ago * DAY,
        not_after=now + 335 * DAY,
    )


def make_fleet(root: Path, *, stores: bool = True) -> Fleet:
    """Write the desired state and make the stores as they come from the factory."""
    fleet = Fleet(root)
    for folder in ("sites", "appliances", "certificates/access"):
        fleet.file(folder).mkdir(parents=True)
    fleet.file("fleet.yaml").write_text("policy: {}\n")
    fleet.file("sites/access.yaml").write_text(_SITE)
    fleet.file("certificates/access.yaml").write_text(_ACCESS)
    fleet.file("certificates/lab.yaml").write_text(_LAB)
    for name in APPLIANCES:
        store = f"store: {{driver: directory, path: ../../stores/{name}}}\n"
        own = "certificates: [lab]\ndefault: lab\nclient_software: none\n" if name == "lab" else ""
        fleet.file(f"appliances/{name}.yaml").write_text(f"hostname: {name}.example.com\n{store}{own}")
    now = system_clock()
    authority = Authority.root("Example Root", not_before=now - 900 * DAY, not_after=now + 3650 * DAY)
    fleet.commit(issue(authority.intermediate("Example Issuing CA", not_before=now - 800 * DAY)))
    if stores:
        (root / "stores").mkdir()
        for name in APPLIANCES:
            create_store(fleet.store(name), system_clock)
    return fleet
