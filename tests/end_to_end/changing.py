"""A fleet whose declaration changes again and again, so that every kind of action comes by, one after the other.

A failover pair asks a CA for its certificate and renews it with the same key and with new ones, gets a second one with
a committed key, has that as its default and loses it, and asks for one that is withdrawn. Beside it stands an appliance
of its own, whose certificates are committed, and made and removed by itself. All that, every client is served well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from reconciler.base.clock import system_clock
from tests.end_to_end.lifecycle import appliance, certificate
from tests.end_to_end.test_kills import ISSUING, provide
from tests.support.authority import DAY, Issued

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.end_to_end.killed_sites import Site
    from tests.support.authorities import Authority

    Leaving = Mapping[str, str]

SITE, HELP, LONE = "access.example.com", "help.example.com", "lone-1"
PAIR = ("east-1", "west-1")
MEMBERS = (*PAIR, LONE)
NAMES = {name: (SITE, f"{name}.example.com", HELP) for name in PAIR} | {LONE: (f"{LONE}.example.com",)}
"""What clients ask each appliance for."""
EXPECTED = dict.fromkeys(PAIR, SITE) | {LONE: f"{LONE}.example.com"}
"""What the certificate has to be for where they send no name."""
ACCESS, SHOP, BASE, KIOSK, SPARE = "Example access", "Shop", "Base", "Kiosk", "Spare"
"""The common names."""
_EVERYWHERE = (SITE, HELP, *(f"{name}.example.com" for name in PAIR))
_BELIEVED = "sites/believed.pem"
_BEGAN = (system_clock() - DAY / 2).replace(microsecond=0)
"""When the first certificates begin. Each begins a minute after the one that it replaces."""
_MINUTE = DAY / 24 / 60


@dataclass
class Wanted:
    """What an appliance is to hold with its key, the factory certificate apart; a leaf by SHA-256, what is made by CN.

    Attributes:
        leaves: By common name.
        default: The common name of the default.
        requests: The common names of pending requests.
    """

    leaves: dict[str, str] = field(default_factory=dict)
    default: str = ""
    requests: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Change:
    """A change of what is declared.

    Attributes:
        name: What it is called.
        leaving: The certificates and requests that go with it, by SHA-256 or common name; for each the SHA-256 of what
            has to be there with its key before it goes, or nothing.
    """

    name: str
    leaving: Leaving


class Changing:
    """The fleet.

    Attributes:
        site: Where it lies.
        wanted: What is declared by now, by appliance.
        signed: The public keys of the answers that the CA gave, by the SHA-256 of the answer.
    """

    def __init__(self, site: Site, authority: Authority) -> None:
        self.site = site
        self.wanted = {name: Wanted() for name in MEMBERS}
        self.signed: dict[str, str] = {}
        self._authority = authority
        self._listed, self._default = ["access"], "access"
        self._minutes, self._kiosks = count(1), count(1)
        self._asked_at = _BEGAN
        self._pair, self._lone = self._of_pair(), self._of_lone()

    def begin(self) -> None:
        """Come to where changes begin: the pair is served by its CA's certificate, the other one by a committed one."""
        site = self.site
        lines = "undeclared: remove\n"
        access = {
            path: text.replace("rsa-2048", "ec-p256") for path, text in certificate("requested", *_EVERYWHERE).items()
        }
        site.declare(
            {
                "fleet.yaml": "policy: {keep_previous: 30m, removals_at_most: 1000}\n",
                **{path: text for name in PAIR for path, text in appliance(name, lines).items()},
                **access,
            }
        )
        self._list()
        self._list_alone("base")
        roots = (self._authority.chain[-1], Issued(ISSUING.chain[-1], ISSUING.key).pem())
        (site.root / _BELIEVED).write_bytes(b"".join(roots))
        self._provide("base", BASE, EXPECTED[LONE])
        site.run("apply", "--yes")
        self._answer()
        site.run("apply", "--yes")
        site.run("plan", "--detailed-exitcode")

    @property
    def believed(self) -> Path:
        """The file of the roots that clients believe."""
        return self.site.root / _BELIEVED

    def next(self) -> Change:
        """Change what is declared for the pair, and for the one that stands alone."""
        pair, lone = next(self._pair), next(self._lone)
        return Change(f"{pair.name}, {lone.name}", {**pair.leaving, **lone.leaving})

    # The pair

    def _of_pair(self) -> Iterator[Change]:
        while True:
            for how in ("same_key", "new_key"):
                self._ask(how)
                yield Change(f"ask with {how}", {})
                yield Change(f"answer for {how}", self._answer())
            self._listed, self._default = ["access", "shop"], "shop"
            self._provide("shop", SHOP, *_EVERYWHERE, "shop.example.com")
            self._list()
            yield Change("a committed key", {})
            yield Change("another committed key", self._provide("shop", SHOP, *_EVERYWHERE, "shop.example.com"))
            self._listed, self._default = ["access"], "access"
            self._drop("shop")
            self._list()
            yield Change("back to the first", {self._forget(PAIR, SHOP): self.wanted[PAIR[0]].leaves[ACCESS]})
            self._listed = ["access", "spare"]
            self.site.declare(_described("spare", SPARE, "spare.example.com", "requested"))
            self._list()
            self.wanted[PAIR[0]].requests.add(SPARE)
            yield Change("ask for a spare one", {})
            self._listed = ["access"]
            self._drop("spare")
            self._list()
            self.wanted[PAIR[0]].requests.remove(SPARE)
            yield Change("no spare one", {SPARE: ""})

    def _ask(self, renew_with: str) -> None:
        """Declare that the certificate is to be replaced."""
        self._asked_at = _BEGAN + next(self._minutes) * _MINUTE
        path = self.site.root / "certificates/access.yaml"
        kept = [each for each in path.read_text().splitlines() if not each.startswith(("issued_after:", "renew_with:"))]
        added = [f"issued_after: {self._asked_at:%Y-%m-%dT%H:%M:%SZ}", f"renew_with: {renew_with}"]
        path.write_text("\n".join([*kept, *added]) + "\n")
        self.wanted[PAIR[0]].requests.add(ACCESS)

    def _answer(self) -> Leaving:
        """Have the CA answer, and commit that."""
        self.site.commit(self._authority, not_before=self._asked_at)
        assert self.site.leaf
        self.signed[self.site.leaf.fingerprint] = self.site.leaf.public_key
        self.wanted[PAIR[0]].requests.discard(ACCESS)
        answer = self.site.leaf.fingerprint
        return {**self._have(PAIR, ACCESS, answer), ACCESS: answer}

    # The one that stands alone

    def _of_lone(self) -> Iterator[Change]:
        while True:
            first = self._make_kiosk()
            yield Change("a self-signed one", {})
            self._make_kiosk()
            yield Change("another self-signed one", {first: ""})
            yield Change("a committed key of its own", self._provide("base", BASE, EXPECTED[LONE]))
            self._list_alone("base")
            self._drop("kiosk")
            yield Change("no self-signed one", {self._forget((LONE,), KIOSK): ""})

    def _make_kiosk(self) -> str:
        name = f"{KIOSK} {next(self._kiosks)}"
        host = f"{name.lower().replace(' ', '-')}.example.com"
        self.site.declare(_described("kiosk", name, host, "self_signed"))
        self._list_alone("base", "kiosk")
        self.wanted[LONE].leaves[KIOSK] = name
        return name

    # Of both

    def _provide(self, name: str, common_name: str, *names: str) -> Leaving:
        """Commit a new certificate with a new key."""
        begins = _BEGAN + next(self._minutes) * _MINUTE
        issued = ISSUING.issue(names, common_name=common_name, not_before=begins, not_after=begins + 90 * DAY)
        provide(self.site, name, issued)
        return self._have((LONE,) if name == "base" else PAIR, common_name, issued.certificate.fingerprint)

    def _have(self, members: tuple[str, ...], common_name: str, fingerprint: str) -> Leaving:
        leaves = [self.wanted[name].leaves for name in members]
        before = {each[common_name] for each in leaves if common_name in each}
        for each in leaves:
            each[common_name] = fingerprint
        if common_name == BASE:
            self.wanted[LONE].default = BASE
        elif common_name == ACCESS and self._default == "access":
            for name in members:
                self.wanted[name].default = ACCESS
        return dict.fromkeys(before, fingerprint)

    def _forget(self, members: tuple[str, ...], common_name: str) -> str:
        (gone,) = {self.wanted[name].leaves.pop(common_name) for name in members}
        return gone

    def _drop(self, name: str) -> None:
        (self.site.root / f"certificates/{name}.yaml").unlink()

    def _list(self) -> None:
        """Declare what the pair is to hold."""
        for name in PAIR:
            self.wanted[name].default = {"access": ACCESS, "shop": SHOP}[self._default]
        lines = (
            f"hostname: {SITE}\ntopology: failover\nprimary: east-1\nbackup: west-1\nprotected_names: [{HELP}]",
            f"certificates: [{', '.join(self._listed)}]\ndefault: {self._default}\nclient_software:",
            f"  - {{installed_at: 2025-02-01T09:00:00Z, trusts: [../{_BELIEVED}]}}",
        )
        self.site.declare({"sites/access.yaml": "\n".join(lines) + "\n"})

    def _list_alone(self, *names: str) -> None:
        """Declare what the one that stands alone is to hold."""
        lines = f"client_software: none\nundeclared: remove\ncertificates: [{', '.join(names)}]\ndefault: base\n"
        self.site.declare(appliance(LONE, lines))


def _described(name: str, common_name: str, host: str, kind: str) -> dict[str, str]:
    """The file of a certificate that an appliance makes or asks for."""
    lines = (
        f"subject: {{common_name: {common_name}}}",
        f"subject_alternative_names: [{host}]",
        "key: ec-p256",
        f"source: {{kind: {kind}{', valid_for: 365d' if kind == 'self_signed' else ''}}}",
    )
    return {f"certificates/{name}.yaml": "\n".join(lines) + "\n"}
