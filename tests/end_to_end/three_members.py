"""An Atlas site of three whose certificate a CA signs, and how its members are compared: byte by byte.

Its stores are certificate directories without a front end, unless `played` puts simulated appliances in their place.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconciler.base.clock import system_clock
from reconciler.engine.operator import VARIABLE
from reconciler.live.directory import create_store
from reconciler.pki.reading import read
from tests.end_to_end.example import reconciler
from tests.end_to_end.lifecycle import Lifecycle, appliance, certificate
from tests.support.authority import DAY
from tests.support.playing import playing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.authorities import Authority

TODAY = system_clock()
AN_HOUR_AGO = TODAY - DAY / 24
MEMBERS = ("hub-1", "node-1", "node-2")
WILDCARD = "*.example.com"
SITE = """\
hostname: access.example.com
topology: atlas
primary: hub-1
traffic_nodes: [node-1, node-2]
certificates: [access]
default: access
client_software: none
"""
FILES = {
    "fleet.yaml": "policy: {keep_previous: 30m}\n",
    "sites/access.yaml": SITE,
    **certificate("requested", WILDCARD),
    **{path: text for name in MEMBERS for path, text in appliance(name).items()},
}
PASSPHRASE = "under a passphrase"  # noqa: S105 - it protects nothing but this test


class ThreeMembers(Lifecycle):
    """The site, and what is done with it."""

    @property
    def stores(self) -> Path:
        """The folder of the stores."""
        return self.root.parent / ".stores"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the answer that was committed last."""
        assert self.leaf
        return self.leaf.fingerprint

    def make_store(self, name: str) -> None:
        """Make the store of a member, as it is delivered."""
        create_store(self.stores / name, system_clock)

    def renewal_is_due(self, authority: Authority, renew_with: str) -> None:
        """Have a certificate of a CA everywhere, and declare that another one is due."""
        self.begin(authority, TODAY - 10 * DAY)
        self.add("certificates/access.yaml", f"issued_after: {TODAY - DAY:%Y-%m-%d}\nrenew_with: {renew_with}\n")

    def hold_the_same(self, *names: str, leaf: str | None = None) -> None:
        """Members hold one certificate with its key, the default, and the two of its chain: the same to the byte."""
        fingerprint = leaf or self.fingerprint
        first, *others = (held(self.stores / each) for each in names or MEMBERS)
        assert len(first) == 4, list(first)
        assert first["00-default.pem"] == first[f"{fingerprint}.pem"]
        assert b"PRIVATE KEY" in first["00-default.pem"]
        assert all(each == first for each in others)

    def hand_out_the_same(self, authority: Authority) -> None:
        """Members export the same certificate, key and chain."""
        assert self.leaf
        chain = {each.fingerprint for part in authority.chain for each in read(part).certificates}
        for name in MEMBERS:
            assert self._handed_out(name) == ({self.fingerprint, *chain}, [self.leaf.public_key])

    def _handed_out(self, name: str) -> tuple[set[str], list[str]]:
        """The certificates and the keys that a member exports in one file."""
        file = self.root.parent / f"{name}.p12"
        options = ("--include", "certificate,key,chain", "--passphrase", "env:PASSPHRASE", "--out", file, "--force")
        environ = {**self.environ, "PASSPHRASE": PASSPHRASE}
        ran = reconciler("export", name, "access", self.root, *options, environ=environ)
        assert ran.returncode == 0, ran.stderr
        contents = read(file.read_bytes(), PASSPHRASE.encode())
        return {each.fingerprint for each in contents.certificates}, [each.public_key for each in contents.keys]


def held(store: Path) -> dict[str, bytes]:
    """Every certificate, key, default and request of a directory; not the factory's, nor what a kill left half-way."""
    factory = json.loads((store / ".store/store.json").read_text())["factory"]
    files = [*store.glob("*.pem"), *store.glob(".store/certificates/*"), *store.glob(".store/requests/*")]
    kept = (each for each in files if factory not in each.name and not each.name.startswith("."))
    return {str(each.relative_to(store)): each.read_bytes() for each in kept}


def three_members(folder: Path) -> ThreeMembers:
    """The site, before anything was done for it. Its appliances are worked on one after the other."""
    operator = folder / "operator.yaml"
    operator.write_text("concurrency: 1\n")
    site = ThreeMembers(folder / "desired-state", {VARIABLE: str(operator)}, {})
    site.declare(FILES)
    for name in MEMBERS:
        site.make_store(name)
    return site


@contextmanager
def played(site: ThreeMembers) -> Iterator[Path]:
    """Have the site on simulated appliances; gives the operator settings that lead to them."""
    with playing(site.root, site.root.parent / "lab") as lab:
        site.environ = lab.environ
        operator = lab.folder / "operator.yaml"
        operator.write_text(operator.read_text() + "concurrency: 1\n")
        yield operator
