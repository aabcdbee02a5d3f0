"""A generated fleet, large and like a real one: sites of one to four members, in step but for some.

Every appliance keeps 20 certificates in a directory store: its factory certificate; eight declared by its site, shared
by all members; at every third site predecessors of two of them; two intermediates and two roots that the whole fleet
shares; and some of its own that nothing declares. Stores are written as the directory driver lays them out, but without
its flushing to the disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TYPE_CHECKING, TypedDict

from reconciler.live.directory.servable import ServableFile
from reconciler.live.directory.snapshot import CERTIFICATES, DEFAULT, METADATA, REQUESTS, Metadata
from reconciler.pki.writing import write_pem
from tests.support.authority import DAY, Authority, Issued, self_signed

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.pki.certificate import Certificate

CERTIFICATES_EACH = 20
_SIZES = (4, 4, 4, 4, 4, 4, 3, 2, 1)
_SERVICES = ("", "help.", "api.", "files.", "login.", "jump.", "vault.", "status.")
_RENEWED = ("", "help.")
"""Certificates that have just been renewed at every third site."""
_PASSPHRASE = b"only a measurement"
_FLEET = "policy: {keys: [ec-p256]}\n"
_SITE = """\
hostname: {hostname}
topology: {topology}
primary: {primary}
{others}certificates: [{certificates}]
default: {default}
client_software:
  - {{installed_at: 2025-01-05T09:00:00Z, trusts: [../certificates/root-0.pem, ../certificates/root-1.pem]}}
settle: 48h
protected_names: [{protected}]
"""
_APPLIANCE = """\
hostname: {name}.{hostname}
platform: virtual
store: {{driver: directory, path: ../../stores/{name}}}
"""
_CERTIFICATE = """\
friendly_name: {title}
subject: {{country: US, organization: Example Company, common_name: {title}}}
subject_alternative_names: [{names}]
key: ec-p256
renew_before: 30d
renew_with: same_key
source:
  kind: provided
  certificate: {name}/leaf.pem
  chain: [issuing-{branch}.pem, root-{branch}.pem]
  key: {name}/key.pem
  passphrase: {{env: BENCH_PASSPHRASE}}
"""


class _Life(TypedDict):
    not_before: dt.datetime
    not_after: dt.datetime


@dataclass
class Size:
    """What was generated."""

    sites: int = 0
    appliances: int = 0
    changed: int = 0
    store_files: int = 0
    desired_files: int = 0
    certificates: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return (
            f"{self.appliances} appliances at {self.sites} sites, {CERTIFICATES_EACH} certificates each, "
            f"{self.changed} appliances with changes\n"
            f"{len(self.certificates)} distinct certificates, {self.store_files} files in stores, "
            f"{self.desired_files} in the desired state"
        )


def make_fleet(folder: Path, appliances: int, now: dt.datetime, *, stores: bool = True) -> Size:
    """Write `desired-state/`, and `stores/` if they are wanted, into a folder."""
    return _Generator(folder, now, stores=stores).make(appliances)


class _Generator:
    def __init__(self, folder: Path, now: dt.datetime, *, stores: bool) -> None:
        self._desired, self._stores = folder / "desired-state", folder / "stores"
        self._with_stores = stores
        self._now = now
        self._size = Size()
        self._life: _Life = {"not_before": now - 2000 * DAY, "not_after": now + 3000 * DAY}
        roots = [Authority.root(f"Example Root {branch}", **self._life) for branch in (0, 1)]
        self._issuing = [
            root.intermediate(f"Example Issuing {branch}", **self._life) for branch, root in enumerate(roots)
        ]
        self._shared = [each.certificate for each in (*roots, *self._issuing)]

    def make(self, appliances: int) -> Size:
        for name in ("sites", "appliances", "certificates"):
            (self._desired / name).mkdir(parents=True)
        self._declare("fleet.yaml", _FLEET.encode())
        for branch, issuing in enumerate(self._issuing):
            self._declare(f"certificates/issuing-{branch}.pem", write_pem([issuing.certificate]))
            self._declare(f"certificates/root-{branch}.pem", write_pem(issuing.chain))
        for index, size in enumerate(_sizes(appliances)):
            self._site(index, size)
        return self._size

    def _site(self, index: int, size: int) -> None:
        hostname, branch = f"site-{index:04}.example.com", index % 2
        members = [f"s{index:04}-{number}" for number in range(1, size + 1)]
        renewed = _RENEWED if index % 3 == 0 else ()
        issued = {name: self._issue(f"{name}{hostname}", branch, renewed=name in renewed) for name in _SERVICES}
        declared = {service: f"{service}site-{index:04}" for service in _SERVICES}
        others = {1: "", 2: f"backup: {members[-1]}\n"}.get(size, f"traffic_nodes: [{', '.join(members[1:])}]\n")
        text = _SITE.format(
            hostname=hostname,
            topology={1: "single", 2: "failover"}.get(size, "atlas"),
            primary=members[0],
            others=others,
            certificates=", ".join(declared.values()),
            default=declared[""],
            protected=", ".join(f"{service}{hostname}" for service in _SERVICES if service),
        )
        self._declare(f"sites/site-{index:04}.yaml", text.encode())
        for service, name in declared.items():
            current = issued[service][0]
            names = ", ".join(f'"{each.value}"' for each in current.certificate.subject_alternative_names)
            title = current.certificate.common_name
            text = _CERTIFICATE.format(title=title, names=names, name=name, branch=branch)
            self._declare(f"certificates/{name}.yaml", text.encode())
            self._declare(f"certificates/{name}/leaf.pem", current.pem())
            self._declare(f"certificates/{name}/key.pem", current.key_pem(_PASSPHRASE))
        self._size.sites += 1
        for member in members:
            self._declare(f"appliances/{member}.yaml", _APPLIANCE.format(name=member, hostname=hostname).encode())
            if self._with_stores:
                self._store(member, hostname, issued)

    def _issue(self, hostname: str, branch: int, *, renewed: bool) -> list[Issued]:
        """The declared certificate and, where it was renewed, the one before it, which has the same key."""
        names = [hostname, f"*.{hostname}"] if hostname.startswith("site-") else [hostname]
        found: list[Issued] = []
        for age in (5, 340) if renewed else (90,):
            found.append(
                self._issuing[branch].issue(
                    names,
                    common_name=f"Access {hostname}",
                    not_before=self._now - age * DAY,
                    not_after=self._now + (365 - age) * DAY,
                    key=found[0].key if found else None,
                )
            )
        return found

    def _store(self, member: str, hostname: str, issued: dict[str, list[Issued]]) -> None:
        """One store. Of twenty appliances one lacks its default, one a certificate, and one has the wrong default."""
        factory = self_signed([], common_name="BeyondTrust Appliance", **self._life)
        keyed = [each for chosen in issued.values() for each in chosen]
        default = issued[""][0]
        turn = self._size.appliances % 20
        if turn == 0:
            keyed.remove(default)
            default = issued[""][-1] if len(issued[""]) > 1 else factory
        elif turn == 7:
            keyed.remove(issued[_SERVICES[1]][0])
        elif turn == 13:
            default = factory
        self._size.changed += turn in {0, 7, 13}
        keyed.append(factory)
        for number in range(CERTIFICATES_EACH - len(keyed) - len(self._shared)):
            names = [f"old-{number}.{member}.{hostname}"]
            keyed.append(self._issuing[number % 2].issue(names, common_name=names[0], **self._life))
        self._write(self._stores / member, keyed, default, factory)
        self._size.appliances += 1

    def _write(self, store: Path, keyed: list[Issued], default: Issued, factory: Issued) -> None:
        for name in (CERTIFICATES, REQUESTS):
            (store / name).mkdir(parents=True)
        friendly_names = {each.certificate.fingerprint: each.certificate.common_name for each in keyed}
        metadata = Metadata(factory=factory.certificate.fingerprint, friendly_names=friendly_names)
        (store / METADATA).write_text(metadata.model_dump_json(indent=2))
        for each in keyed:
            file = ServableFile(each.certificate, (), each.key_pem())
            (store / f"{each.certificate.fingerprint}.pem").write_bytes(file.render(each.chain[:-1]))
        for certificate in self._shared:
            (store / CERTIFICATES / f"{certificate.fingerprint}.pem").write_bytes(write_pem([certificate]))
        (store / DEFAULT).symlink_to(f"{default.certificate.fingerprint}.pem")
        held: list[Certificate] = [*(each.certificate for each in keyed), *self._shared]
        self._size.certificates.update(each.fingerprint for each in held)
        self._size.store_files += len(held) + 2

    def _declare(self, path: str, content: bytes) -> None:
        file = self._desired / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        self._size.desired_files += 1


def _sizes(appliances: int) -> Iterator[int]:
    """Sizes of sites that add up."""
    left = appliances
    for size in islice(cycle(_SIZES), appliances):
        if left:
            yield min(size, left)
        left -= min(size, left)
