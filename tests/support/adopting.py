"""Appliances on certificate directories that are to be adopted: made as found, adopted, and planned again.

found = Found(tmp_path)
found.store("east-1", issued)
found.adopt("east-1", hostname="east-1.example.com")
assert found.actions() == []
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from reconciler.base.findings import Severity
from reconciler.desired.writing import write_all
from reconciler.engine.adopt import adopt
from reconciler.engine.desk import Wish
from reconciler.engine.load import find_all, load_desired
from reconciler.engine.newcomer import Newcomer, selected, wish_for
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.run import plan_fleet
from reconciler.live.driver import Upload
from tests.live.directory.stores import bundle, new_store
from tests.support.authority import NOW, Issued

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.desired.adoption import Adoption
    from reconciler.engine.run import Planned
    from reconciler.live.directory.operations import DirectoryStore
    from reconciler.pki.certificate import Certificate


@dataclass
class Found:
    """A desired state that says nothing yet, and stores.

    Attributes:
        folder: Where everything lies.
        now: The instant at which everything happens.
    """

    folder: Path
    now: dt.datetime = NOW
    stores: dict[str, DirectoryStore] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root.mkdir()

    @property
    def root(self) -> Path:
        return self.folder / "desired-state"

    def file(self, path: str) -> Path:
        return self.root / path

    def write(self, path: str, text: str) -> None:
        self.file(path).parent.mkdir(parents=True, exist_ok=True)
        self.file(path).write_text(text, encoding="utf-8")

    def place(self, name: str) -> str:
        return f"store: {{driver: directory, path: ../../stores/{name}}}\n"

    def store(
        self,
        name: str,
        *held: Issued,
        default: Issued | None = None,
        chain: Sequence[Certificate] | None = None,
        friendly: str = "",
    ) -> DirectoryStore:
        """Make a store, or put more into it; `default` is one of those that it holds, the factory's unless told."""
        if name not in self.stores:
            (self.folder / "stores").mkdir(exist_ok=True)
            self.stores[name] = new_store(self.folder / "stores" / name)
        store = self.stores[name]
        for each in held:
            store.import_(Upload(bundle(each, chain), None, friendly))
        if default:
            store.set_default(default.certificate.fingerprint)
        return store

    def pair(self) -> None:
        """Declare a failover pair that lists nothing."""
        self.write(
            "sites/access.yaml",
            "hostname: access.example.com\ntopology: failover\nprimary: east-1\nbackup: west-1\n"
            "client_software: none\n",
        )
        for name in ("east-1", "west-1"):
            self.write(f"appliances/{name}.yaml", f"hostname: {name}.example.com\n{self.place(name)}")

    def look(self, *names: str, site: str | None = None, hostname: str = "", site_hostname: str = "") -> Adoption:
        """What adopting comes to; nothing is written."""
        if hostname:
            path = self.folder / "stores" / names[0]
            wish = wish_for(
                self.root, Newcomer(names[0], hostname, path=path, site=site, site_hostname=site_hostname or None)
            )
        else:
            wish = Wish(selected(load_desired(self.root), names, site))
        settings = OperatorSettings()

        async def ask() -> Adoption:
            return await adopt(self.root, wish, settings, lambda: self.now)

        return anyio.run(ask)

    def adopt(self, *names: str, site: str | None = None, hostname: str = "", site_hostname: str = "") -> Adoption:
        """Adopt and write."""
        adoption = self.look(*names, site=site, hostname=hostname, site_hostname=site_hostname)
        write_all(self.root, adoption.files)
        return adoption

    def plan(self) -> Planned:
        """The next plan."""
        state = load_desired(self.root)

        async def make() -> Planned:
            return await plan_fleet(state, OperatorSettings(), lambda: self.now)

        return anyio.run(make)

    def actions(self) -> list[tuple[str, str, str]]:
        """What the next plan does or waits for."""
        return [(each.id, each.kind, str(each.state)) for each in self.plan().plan.actions]

    def errors(self) -> list[str]:
        """What `validate` finds, errors only."""
        findings = find_all(load_desired(self.root), self.now)
        return [str(each) for each in findings if each.severity is Severity.ERROR]
