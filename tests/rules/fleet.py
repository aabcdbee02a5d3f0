"""A fleet that follows the guide, for tests that break it in one place, and where in its files a finding must point."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from reconciler.rules import check
from tests.support.authority import NOW, Authority, Issued
from tests.support.desired import desired

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from reconciler.base.findings import Finding
    from reconciler.desired.state import DesiredState
    from reconciler.pki.certificate import Certificate

SINGLE = "sites/single.yaml"
PAIR = "sites/pair.yaml"
ATLAS = "sites/atlas.yaml"
SOLO = "appliances/solo.yaml"
LONE = "appliances/lone.yaml"
EAST = "appliances/east.yaml"
WEST = "appliances/west.yaml"
NODE = "appliances/node.yaml"
C_SINGLE = "certificates/single.yaml"
C_PAIR = "certificates/pair.yaml"
C_ATLAS = "certificates/atlas.yaml"
C_LONE = "certificates/lone.yaml"

_STORE = "store: {driver: directory}\n"
_BUILD = "client_software:\n  - installed_at: 2026-01-01T00:00:00Z\n    trusts: [../certificates/root.pem]\n"


def _subject(common_name: str) -> str:
    return (
        "subject:\n  country: US\n  state: Mississippi\n  locality: Ridgeland\n"
        f"  organization: Example Company\n  common_name: {common_name}\n"
    )


_PROVIDED = (
    "source:\n  kind: provided\n  certificate: {name}/leaf.pem\n"
    "  chain: [intermediate.pem, root.pem]\n  key: {name}/key.p12\n  passphrase: {{env: KEY}}\n"
)

FILES: Mapping[str, str] = {
    "fleet.yaml": "policy:\n  renew_before: 30d\n",
    SINGLE: "hostname: single.example.com\nprimary: solo\ncertificates: [single]\ndefault: single\n" + _BUILD,
    PAIR: (
        "hostname: pair.example.com\ntopology: failover\nprimary: east\nbackup: west\n"
        "certificates: [pair]\ndefault: pair\nprotected_names: [help.example.com]\n" + _BUILD
    ),
    ATLAS: (
        "hostname: atlas.example.com\ntopology: atlas\nprimary: master\ntraffic_nodes: [node]\n"
        "certificates: [atlas]\ndefault: atlas\n" + _BUILD
    ),
    SOLO: "hostname: single.example.com\n" + _STORE,
    LONE: "hostname: lone.example.com\ncertificates: [lone]\ndefault: lone\n" + _BUILD + _STORE,
    EAST: "hostname: east.example.com\n" + _STORE,
    WEST: "hostname: west.example.com\n" + _STORE,
    "appliances/master.yaml": "hostname: master.example.com\n" + _STORE,
    NODE: "hostname: node.example.com\n" + _STORE,
    C_SINGLE: (
        _subject("Single access")
        + "subject_alternative_names:\n  - single.example.com\nkey: ec-p256\n"
        + "source:\n  kind: requested\n  signed: single/signed.p7b\n  chain: [intermediate.pem, root.pem]\n"
    ),
    C_PAIR: (
        _subject("Pair access")
        + "subject_alternative_names:\n  - pair.example.com\n  - east.example.com\n  - west.example.com\n"
        + "  - help.example.com\nkey: ec-p256\n"
        + _PROVIDED.format(name="pair")
    ),
    C_ATLAS: (
        _subject("Atlas access")
        + "subject_alternative_names:\n  - '*.example.com'\nkey: ec-p256\n"
        + _PROVIDED.format(name="atlas")
    ),
    C_LONE: (
        _subject("Lone access")
        + "subject_alternative_names:\n  - lone.example.com\nkey: ec-p256\n"
        + _PROVIDED.format(name="lone")
    ),
}


@cache
def root() -> Authority:
    return Authority.root()


@cache
def intermediate() -> Authority:
    return root().intermediate()


@cache
def issued(*names: str) -> Issued:
    return intermediate().issue(names)


@cache
def committed() -> Mapping[str, tuple[Certificate, ...]]:
    pair = issued("pair.example.com", "east.example.com", "west.example.com", "help.example.com")
    return {
        "certificates/root.pem": (root().certificate,),
        "certificates/intermediate.pem": (intermediate().certificate,),
        "certificates/single/signed.p7b": (issued("single.example.com").certificate,),
        "certificates/pair/leaf.pem": (pair.certificate,),
        "certificates/atlas/leaf.pem": (issued("*.example.com").certificate,),
        "certificates/lone/leaf.pem": (issued("lone.example.com").certificate,),
    }


@dataclass(frozen=True)
class Broken:
    """The fleet with edits.

    Attributes:
        edits: Replacements by file: what stands there, and what to write instead.
        material: Committed files to put in place of the fleet's own.
        without: Files to leave out.
        findings: What the loader found.
    """

    edits: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    material: Mapping[str, tuple[Certificate, ...]] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()

    @property
    def files(self) -> dict[str, str]:
        files = {path: text for path, text in FILES.items() if path not in self.without}
        for path, edits in self.edits.items():
            files.setdefault(path, "")
            for old, new in edits:
                assert old in files[path], f"{old!r} is not in {path}"
                files[path] = files[path].replace(old, new, 1) if old else files[path] + new
        return files

    def state(self) -> DesiredState:
        return desired(self.files, {**committed(), **self.material}, findings=self.findings)

    def check(self, now: dt.datetime = NOW) -> tuple[Finding, ...]:
        return check(self.state(), now)

    def found(self, now: dt.datetime = NOW) -> list[tuple[str, str, str]]:
        """Each finding as its rule, its severity, and the place it points to with the text that stands there."""
        return [(each.rule, each.severity.value, self.pointed_at(each)) for each in self.check(now)]

    def pointed_at(self, finding: Finding) -> str:
        place = finding.position
        assert place is not None
        line = self.files[place.file].splitlines()[place.line - 1]
        return f"{place.file}: {line[place.column - 1 :]}"


def edit(path: str, *edits: tuple[str, str]) -> Broken:
    return Broken({path: edits})
