"""The fleet with nothing made up but the time: its commits come from a remote, and its appliances may be the lab's.

    async with world.reachable():
        async with running(world):               # the loop is over the folder, in which somebody edits
            world.save("first")
            await world.pass_(DAY)
        world.follow()
        async with running(world):               # another loop, with the same state folder, follows the branch
            world.commit("second")
            world.push()
            await world.pass_(DAY)

The source is the one that production makes of the operator settings. It is asked whenever everything rests; so whoever
passes time sees as well that nothing comes of asking.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn

from reconciler.base.errors import StoreUnreachable
from reconciler.engine.load import load_desired
from reconciler.engine.operator import load_settings
from reconciler.engine.run import plan_fleet
from reconciler.engine.unattended import Follow
from reconciler.lab.faults import FaultKind
from reconciler.lab.fleet import PASSWORD, USERNAME, make_lab
from reconciler.lab.release import COMPLETE
from reconciler.lab.server import serve
from reconciler.lab.tls import TieBreak
from reconciler.live.store import Origin
from reconciler.live.web import WebConfiguration
from reconciler.live.web.opening import open_driver
from reconciler.report import words
from reconciler.watch.sources import source_of
from tests.support.in_lab import PATIENT
from tests.support.signing import git
from tests.watch.waiting import Source, Waits
from tests.watch.world import Fleet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping
    from pathlib import Path
    from typing import Self

    from reconciler.base.references import StoreConfiguration
    from reconciler.engine.operator import OperatorSettings
    from reconciler.lab.appliance import LabAppliance
    from reconciler.lab.server import Listener
    from reconciler.live.driver import Driver, DriverType, OpenContext
    from reconciler.watch.loop import Loop
    from reconciler.watch.memory import Memory
    from reconciler.watch.reading import DesiredSource, Reading

_LONG = 1e6
"""Seconds; longer than any test."""


class Asked(Waits):
    """A source of production in all but its waiting."""

    def __init__(self, source: DesiredSource) -> None:
        self._source = source
        self.place = source.place

    async def read(self) -> Reading:
        return await self._source.read()

    async def earlier(self, revision: str) -> Reading:
        return await self._source.earlier(revision)


@dataclass
class RealWorld(Fleet):
    """A fleet whose desired state lies in a clone of a remote.

    Attributes:
        played: The appliances that are simulated ones, reached over HTTPS; the others are certificate directories.
        lab: The simulated appliances, on the same directories.
        clone: The clone that the loop works with.
        root: Where people edit: in that very clone, until they do it elsewhere.
    """

    source: Source = field(init=False)
    played: Collection[str] = ()

    def make(self) -> Self:
        git(self.folder, "init", "-q", "--bare", "-b", "main", "remote.git")
        self.clone = self.root = self._cloned("desired-state")
        super().make()
        # That is how long the interface has them last, whatever one asks for.
        self.edit("certificates/lab.yaml", "valid_for: 29d", "valid_for: 365d")
        self.lab = make_lab(self.root, self.folder, variant=COMPLETE, tie_break=TieBreak.FIRST, clock=self.clock)
        return self

    def _cloned(self, name: str) -> Path:
        git(self.folder, "-c", "init.defaultBranch=main", "clone", "-q", f"file://{self.folder}/remote.git", name)
        return self.folder / name

    # The desired state

    def loop_over(self, memory: Memory) -> Loop:
        self.source = Asked(source_of(self.clone, self.settings))
        return super().loop_over(memory)

    async def rest(self) -> None:
        await super().rest()
        self.source.ask()
        await super().rest()

    def save(self, name: str) -> None:
        """Give what lies in the folder a name."""
        self.names[load_desired(self.root).digest] = name

    def follow(self) -> None:
        """Have the next loop follow the branch."""
        self.watch = self.watch.model_copy(update={"follow": Follow(branch="main")})

    def edit_elsewhere(self) -> None:
        """Have everybody edit in a clone of their own from now on."""
        self.root = self._cloned("elsewhere")

    def commit(self, name: str, *options: str) -> None:
        """Commit what lies where people edit."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", name, *options)
        self.names[self.git("rev-parse", "HEAD")] = name

    def push(self, *options: str) -> None:
        self.git("push", "-q", *options, "origin", "main")

    def git(self, *arguments: str) -> str:
        """Run git where people edit."""
        return git(self.root, *arguments)

    async def plan(self) -> str:
        """What a plan of the newest commit comes to, in one line."""
        state = load_desired(self.clone, self.git("rev-parse", "HEAD"))
        return words.summary((await plan_fleet(state, self.settings, self.clock)).plan)

    # The appliances

    @property
    def environment(self) -> Mapping[str, str]:
        account = self.lab.account
        return {**super().environment, USERNAME: account.username, PASSWORD: account.password}

    @property
    def settings(self) -> OperatorSettings:
        written = load_settings(self.folder / "operator.yaml", {}, self.root)
        stores = {name: each for name, each in written.stores.items() if name in self.played}
        ours = {"watch": self.watch, "concurrency": self.concurrency, "stores": stores}
        return written.model_copy(update=ours)

    @property
    def drivers(self) -> Mapping[str, DriverType]:
        types = super().drivers
        return {**types, "web": replace(types["web"], open=_open_web)}

    @asynccontextmanager
    async def reachable(self) -> AsyncIterator[None]:
        """Let the appliances be reached."""
        async with serve(*self.lab.appliances):
            self.lab.write_files()
            yield

    async def take_away(self, name: str) -> None:
        """Let nobody answer where an appliance is."""
        if name in self.played:
            self._listener(name).refuse(_LONG)
        else:
            self.store(name).rename(self.store("gone"))

    async def bring_back(self, name: str) -> None:
        if name in self.played:
            await self._listener(name).open()
        else:
            self.store("gone").rename(self.store(name))

    def disturb(self, name: str) -> None:
        """Let an appliance answer with nothing but errors."""

        async def fail() -> NoReturn:
            raise StoreUnreachable("it is disturbed", "wait")

        if name in self.played:
            self._appliance(name).faults.switch(FaultKind.SERVER_ERROR)
        else:
            self.meanwhile[name, "observe"] = fail

    def calm(self, name: str) -> None:
        self._appliance(name).faults.clear()
        self.meanwhile.clear()

    def set_factory(self, name: str) -> str:
        """Have somebody set the factory certificate of an appliance as its default; which one was it before."""
        live = self.directory(name).observe()
        assert live.default
        factory = next(each for each in live.certificates if each.origin is Origin.FACTORY)
        self.directory(name).set_default(factory.fingerprint)
        return live.default

    def _appliance(self, name: str) -> LabAppliance:
        return next(each for each in self.lab.appliances if each.name == name)

    def _listener(self, name: str) -> Listener:
        listener = self._appliance(name).listener
        assert listener
        return listener


@asynccontextmanager
async def _open_web(configuration: StoreConfiguration, context: OpenContext) -> AsyncIterator[Driver]:
    """Open a store as production does, but for the time between attempts."""
    assert isinstance(configuration, WebConfiguration)
    async with open_driver(configuration, context, PATIENT) as driver:
        yield driver
