"""A small fleet on certificate directories, a loop over it, and a clock that turns only while everything rests.

    async with running(World(tmp_path)) as world:
        await world.rest()                       # the loop has done whatever there is to do now
        world.commit("c2")                       # what lies in the folder becomes the newest commit
        await world.turn_to(world.begin + DAY)   # the clock goes from one instant that the loop waits for to the next
        world.diary                              # what was looked at, told and applied when

Everything but the source, the timer and the chance is what production uses; a store may be disturbed on request.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio
from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.apply.history import read_history
from reconciler.apply.turns import Stop
from reconciler.engine.load import load_desired
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.unattended import Unattended
from reconciler.live.directory import DRIVER, create_store
from reconciler.live.directory.operations import DirectoryStore
from reconciler.watch.loop import Loop, Surroundings
from reconciler.watch.memory import held
from reconciler.watch.reading import Reading
from tests.end_to_end.years import TurnedClock
from tests.support.authority import DAY, NOW, Authority, Issued

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    import pytest

    from reconciler.base.references import StoreConfiguration
    from reconciler.live.driver import Driver, OpenContext
    from reconciler.watch.memory import Memory
    from reconciler.watch.model import Event, WatchedAppliance

PASSPHRASE = "correct horse battery staple"  # noqa: S105 - of keys that live as long as a test
VARIABLE = "TEST_ACCESS_KEY"
NAMES = ("access.example.com", "east-1.example.com", "west-1.example.com")
ALL = ("east-1", "lab", "west-1")
HOUR = dt.timedelta(hours=1)
RESYNC = DAY
_SITE = """\
hostname: access.example.com
topology: failover
primary: east-1
backup: west-1
certificates: [access]
default: access
settle: 48h
client_software:
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
source: {kind: self_signed, valid_for: 29d}
"""


class Commits:
    """A source whose commits a test makes."""

    def __init__(self, place: str = "origin/main") -> None:
        self.place = place
        self.readings: dict[str, Reading] = {}
        self.newest = Reading()
        self.waiting = False
        self._newer = anyio.Event()

    def offer(self, reading: Reading, revision: str) -> None:
        self.readings[revision] = self.newest = reading
        self.waiting = False
        self._newer.set()

    async def read(self) -> Reading:
        return self.newest

    async def earlier(self, revision: str) -> Reading:
        return self.readings[revision]

    async def wait(self) -> None:
        self.waiting = not self._newer.is_set()
        await self._newer.wait()
        self._newer = anyio.Event()


class Sandglass:
    """A timer that sleeps until the test wakes it.

    Attributes:
        until: The instant that the sleeper waits for; None while nobody sleeps.
    """

    def __init__(self) -> None:
        self.until: dt.datetime | None = None
        self._woken = anyio.Event()

    async def sleep_until(self, instant: dt.datetime, woken: anyio.Event) -> None:
        self.until, self._woken = instant, woken
        await woken.wait()
        self.until = None

    @property
    def sleeping(self) -> bool:
        return self.until is not None and not self._woken.is_set()

    def wake(self) -> None:
        self._woken.set()


@dataclass
class World:
    """The fleet, its desired state, and what is seen of the loop.

    Attributes:
        folder: Holds everything.
        watch: What the loop may do.
        clock: The clock.
        chance: What every throw of the dice yields.
        concurrency: How many turns are taken at once; as many again by those who failed last.
        source: The source of the desired state.
        told: Every event.
        diary: What happened, in lines; looks of a resync that found nothing are in `resyncs` instead, in days.
        resyncs: The instants of those.
        meanwhile: What is done before a call of a driver, by appliance and name of the call.
        calls: The calls of drivers, by appliance and name.
    """

    folder: Path
    watch: Unattended = field(default_factory=lambda: Unattended(mode="apply", resync=RESYNC))
    clock: TurnedClock = field(default_factory=TurnedClock)
    chance: float = 0.0
    concurrency: int = 16
    source: Commits = field(default_factory=Commits)
    told: list[Event] = field(default_factory=list)
    diary: list[str] = field(default_factory=list)
    resyncs: list[float] = field(default_factory=list)
    meanwhile: dict[tuple[str, str], Callable[[], Awaitable[object]]] = field(default_factory=dict)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.begin = self.clock.now
        self.stop = Stop()
        self.timer = Sandglass()
        self.authority = Authority.root("Example Root").intermediate("Example Issuing CA")
        self._seen: dict[str, int] = {}
        self._applies: set[str] = set()
        self._told = 0

    # The desired state and the stores

    def make(self) -> World:
        """Write the desired state, and make the stores as they come from the factory."""
        for each in ("sites", "appliances", "certificates/access", "certificates/roots"):
            (self.root / each).mkdir(parents=True)
        (self.folder / "stores").mkdir()
        self.write("fleet.yaml", "policy: {}\n")
        self.write("certificates/access.yaml", _ACCESS)
        self.write("certificates/lab.yaml", _LAB)
        for name in ALL:
            store = f"store: {{driver: directory, path: ../../stores/{name}}}\n"
            own = "certificates: [lab]\ndefault: lab\nclient_software: none\n" if name == "lab" else ""
            self.write(f"appliances/{name}.yaml", f"hostname: {name}.example.com\n{store}{own}")
            create_store(self.store(name), self.clock)
        self.provide(self.issue())
        self.trust((self.clock.now - 400 * DAY, [self.authority]))
        return self

    @property
    def root(self) -> Path:
        return self.folder / "desired-state"

    def store(self, appliance: str) -> Path:
        return self.folder / "stores" / appliance

    def directory(self, appliance: str) -> DirectoryStore:
        return DirectoryStore(self.store(appliance), self.clock)

    def write(self, path: str, text: str) -> None:
        (self.root / path).write_text(text, "utf-8")

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text("utf-8")
        assert old in text
        self.write(path, text.replace(old, new))

    def issue(self, authority: Authority | None = None, *, days: int = 300) -> Issued:
        """A certificate for the site, valid from an hour ago."""
        end = self.clock.now + days * DAY
        return (authority or self.authority).issue(NAMES, not_before=self.clock.now - HOUR, not_after=end)

    def provide(self, issued: Issued) -> None:
        """Put a certificate, its chain and its encrypted key where `access` is declared."""
        folder = self.root / "certificates/access"
        (folder / "leaf.pem").write_bytes(issued.pem())
        (folder / "chain.pem").write_bytes(b"".join(each.to_x509().public_bytes(Encoding.PEM) for each in issued.chain))
        (folder / "key.pem").write_bytes(issued.key_pem(PASSPHRASE.encode()))

    def trust(self, *builds: tuple[dt.datetime, list[Authority]]) -> None:
        """Declare software builds, oldest first: when each was installed, and whose roots are in it."""
        lines = []
        for number, (installed, authorities) in enumerate(builds):
            paths = []
            for index, each in enumerate(authorities):
                path = f"certificates/roots/{number}-{index}.pem"
                (self.root / path).write_bytes(each.chain[-1].to_x509().public_bytes(Encoding.PEM))
                paths.append(f"../{path}")
            lines.append(f"  - {{installed_at: {installed:%Y-%m-%dT%H:%M:%SZ}, trusts: [{', '.join(paths)}]}}\n")
        self.write("sites/access.yaml", _SITE + "".join(lines))

    def commit(self, revision: str) -> None:
        """Make what lies in the folder the newest commit."""
        self.source.offer(Reading.of(replace(load_desired(self.root), revision=revision)), revision)

    # The loop

    @property
    def settings(self) -> OperatorSettings:
        return OperatorSettings(watch=self.watch, concurrency=self.concurrency)

    @property
    def journals(self) -> Path:
        return self.folder / "journals"

    def loop_over(self, memory: Memory) -> Loop:
        self.timer = Sandglass()
        self.loop = Loop(
            Surroundings(
                source=self.source,
                settings=self.settings,
                clock=self.clock,
                timer=self.timer,
                memory=memory,
                journals=self.journals,
                tell=self.told.append,
                chance=lambda: self.chance,
            )
        )
        self._seen = dict(self._looks())
        self.source.waiting = False
        return self.loop

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        with anyio.fail_after(20):
            while not is_so():  # noqa: ASYNC110 - threads are at work, and nobody tells what they have done
                await anyio.sleep(0.001)

    async def rest(self) -> None:
        """Wait until the loop has done what there is to do now, and note what that was."""
        await self.until(lambda: self.timer.sleeping and self.source.waiting and not self.loop.busy)
        self._note()

    async def turn_to(self, end: dt.datetime) -> None:
        """Turn the clock, from one instant that the loop waits for to the next."""
        await self.rest()
        while self.timer.until is not None and self.timer.until <= end:
            self.clock.now = max(self.timer.until, self.clock.now)
            self.timer.wake()
            await self.rest()
        self.clock.now = end

    async def pass_(self, span: dt.timedelta) -> None:
        await self.turn_to(self.clock.now + span)

    def chapter(self) -> list[str]:
        """What the diary says since it was asked last."""
        told, self.diary = self.diary, []
        return told

    def appliance(self, name: str) -> WatchedAppliance:
        return next(each for each in self.loop.board.watched.appliances if each.name == name)

    @property
    def elapsed(self) -> str:
        gone = self.clock.now - self.begin
        return f"{gone.days}d{gone.seconds // 3600:02}:{gone.seconds // 60 % 60:02}"

    def _looks(self) -> dict[str, int]:
        return {name: self.calls[name, "open to look"] for name in ALL}

    def _note(self) -> None:
        looks = self._looks()
        looked = [f"{name} x{n}" for name, count in looks.items() if (n := count - self._seen.get(name, 0))]
        self._seen = looks
        # Groups take their turns side by side.
        events = sorted(self.told[self._told :], key=lambda each: each.appliance or "")
        self._told = len(self.told)
        journals = [each for each in read_history(self.journals) if each.id not in self._applies]
        self._applies |= {each.id for each in journals}
        if not events and not journals and looked == [f"{name} x1" for name in ALL]:
            self.resyncs.append((self.clock.now - self.begin) / DAY)
            return
        if looked or events or journals:
            self.diary.append(f"{self.elapsed} looks: {', '.join(looked) or 'none'}")
        self.diary += [f"  {each.kind} {each.appliance or ''}: {each.before or '-'} -> {each.after}" for each in events]
        done = []
        for journal in journals:
            kinds = Counter((each.appliance, each.kind) for each in journal.actions.values())
            listed = ", ".join(f"{name} {kind} x{n}" for (name, kind), n in sorted(kinds.items()))
            left = "" if journal.ended and not journal.left else ", not all of it"
            done.append(f"  applied {journal.revision}: {listed or 'nothing'}{left}")
        self.diary += sorted(done)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    """Have a loop run over a world; it is stopped at the end, as a signal would stop it."""
    with held(world.folder / "state") as memory:
        loop, world.stop = world.loop_over(memory), Stop()
        async with anyio.create_task_group() as group:
            group.start_soon(loop.run, world.stop)
            try:
                yield world
            finally:
                world.stop.request("the test is over")


def install(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Let the directory driver note its calls, and let the test do something before each."""
    monkeypatch.setenv(VARIABLE, PASSPHRASE)

    @asynccontextmanager
    async def opened(configuration: StoreConfiguration, context: OpenContext) -> AsyncIterator[Driver]:
        world.calls[context.appliance, "open to change" if context.changes else "open to look"] += 1
        async with DRIVER.open(configuration, context) as driver:
            yield _Noted(world, context.appliance, driver)  # type: ignore[misc]  # it has whatever the driver has

    types: Mapping[str, object] = {"directory": replace(DRIVER, open=opened)}
    monkeypatch.setattr("reconciler.engine.stores.driver_types", lambda: types)


class _Noted:
    """A driver whose calls are noted."""

    def __init__(self, world: World, appliance: str, driver: Driver) -> None:
        self._world, self._appliance, self._driver = world, appliance, driver

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        async def call(*arguments: object) -> object:
            place = self._appliance, name.rstrip("_")
            self._world.calls[place] += 1
            if place in self._world.meanwhile:
                await self._world.meanwhile[place]()
            result: object = await getattr(self._driver, name)(*arguments)
            return result

        return call


__all__ = ["ALL", "DAY", "HOUR", "NOW", "RESYNC", "Commits", "World", "install", "running"]
