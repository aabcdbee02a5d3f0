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
from typing import TYPE_CHECKING, TypeVar

import anyio
from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.apply.history import read_history
from reconciler.apply.turns import Stop
from reconciler.engine.load import load_desired
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.unattended import Unattended
from reconciler.live.directory import create_store
from reconciler.live.directory.operations import DirectoryStore
from reconciler.live.driver import driver_types
from reconciler.watch.loop import Loop, Surroundings
from reconciler.watch.memory import held
from reconciler.watch.reading import Reading
from tests.end_to_end.years import TurnedClock
from tests.support.authority import DAY, NOW, Authority, Issued
from tests.watch.waiting import Commits, Sandglass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path
    from typing import Self

    import pytest

    from reconciler.base.references import StoreConfiguration
    from reconciler.live.driver import Driver, DriverType, OpenContext
    from reconciler.watch.memory import Memory
    from reconciler.watch.model import Event, WatchedAppliance
    from tests.watch.waiting import Source

PASSPHRASE = "correct horse battery staple"  # noqa: S105 - of keys that live as long as a test
VARIABLE = "TEST_ACCESS_KEY"
NAMES = ("access.example.com", "east-1.example.com", "west-1.example.com")
ALL = ("east-1", "lab", "west-1")
HOUR = dt.timedelta(hours=1)
RESYNC = DAY
_PATIENCE = 60.0
"""Seconds after which a loop hangs that has neither come to rest nor ended."""
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


@dataclass
class Fleet:
    """The fleet, its desired state, and what is seen of the loop.

    Attributes:
        folder: Holds everything.
        source: The source of the desired state.
        watch: What the loop may do.
        clock: The clock.
        chance: What every throw of the dice yields.
        concurrency: How many turns are taken at once; as many again by those who failed last.
        told: Every event.
        names: What commits are called in the diary, by id, where that is not their id.
        diary: What happened, in lines; looks of a resync that found nothing are in `resyncs` instead, in days.
        resyncs: The instants of those.
        meanwhile: What is done before a call of a driver, by appliance and name of the call.
        calls: The calls of drivers, by appliance and name.
    """

    folder: Path
    source: Source
    watch: Unattended = field(default_factory=lambda: Unattended(mode="apply", resync=RESYNC))
    clock: TurnedClock = field(default_factory=TurnedClock)
    chance: float = 0.0
    concurrency: int = 16
    told: list[Event] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    diary: list[str] = field(default_factory=list)
    resyncs: list[float] = field(default_factory=list)
    meanwhile: dict[tuple[str, str], Callable[[], Awaitable[object]]] = field(default_factory=dict)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.root = self.folder / "desired-state"
        self.begin = self.clock.now
        self.stop = Stop()
        self.timer = Sandglass()
        self.authority = Authority.root("Example Root").intermediate("Example Issuing CA")
        self._seen: dict[str, int] = {}
        self._applies: set[str] = set()
        self._told = 0

    # The desired state and the stores

    def make(self) -> Self:
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

    def hold_up(self, appliance: str, call: str) -> tuple[anyio.Event, anyio.Event]:
        """Have a call of a driver wait: the first event is set when it comes, and it goes on when the second is set."""
        come, go_on = anyio.Event(), anyio.Event()

        async def wait() -> None:
            come.set()
            await go_on.wait()

        self.meanwhile[appliance, call] = wait
        return come, go_on

    # The loop

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that the secrets are in."""
        return {VARIABLE: PASSPHRASE}

    @property
    def drivers(self) -> Mapping[str, DriverType]:
        """The drivers, by name."""
        return driver_types()

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
        with anyio.fail_after(_PATIENCE):
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
        self.diary += [self._line(each) for each in events]
        done = []
        for journal in journals:
            kinds = Counter((each.appliance, each.kind) for each in journal.actions.values())
            listed = ", ".join(f"{name} {kind} x{n}" for (name, kind), n in sorted(kinds.items()))
            left = "" if journal.ended and not journal.left else ", not all of it"
            done.append(f"  applied {self._name(journal.revision or 'the folder')}: {listed or 'nothing'}{left}")
        self.diary += sorted(done)

    def _line(self, event: Event) -> str:
        before, after = self._name(event.before or "-"), self._name(event.after)
        return f"  {event.kind} {event.appliance or ''}: {before} -> {after}"

    def _name(self, revision: str) -> str:
        return self.names.get(revision, revision)


@dataclass
class World(Fleet):
    """A fleet whose desired state comes from commits that the test makes."""

    source: Commits = field(default_factory=Commits)

    def commit(self, revision: str) -> None:
        """Make what lies in the folder the newest commit."""
        self.source.offer(Reading.of(replace(load_desired(self.root), revision=revision)), revision)


F = TypeVar("F", bound=Fleet)


@asynccontextmanager
async def running(world: F) -> AsyncIterator[F]:
    """Have a loop run over a world; it is stopped at the end, as a signal would stop it."""
    with held(world.folder / "state") as memory:
        loop, world.stop, ended = world.loop_over(memory), Stop(), anyio.Event()

        async def run() -> None:
            await loop.run(world.stop)
            ended.set()

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            try:
                yield world
            finally:
                world.stop.request("the test is over")
                with anyio.fail_after(_PATIENCE):
                    await ended.wait()


def install(monkeypatch: pytest.MonkeyPatch, world: Fleet) -> None:
    """Let the drivers note their calls, and let the test do something before each."""
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)

    @asynccontextmanager
    async def opened(configuration: StoreConfiguration, context: OpenContext) -> AsyncIterator[Driver]:
        world.calls[context.appliance, "open to change" if context.changes else "open to look"] += 1
        async with world.drivers[configuration.driver].open(configuration, context) as driver:
            yield _Noted(world, context.appliance, driver)  # type: ignore[misc]  # it has whatever the driver has

    types = {name: replace(each, open=opened) for name, each in world.drivers.items()}
    monkeypatch.setattr("reconciler.engine.stores.driver_types", lambda: types)


class _Noted:
    """A driver whose calls are noted."""

    def __init__(self, world: Fleet, appliance: str, driver: Driver) -> None:
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


__all__ = ["ALL", "DAY", "HOUR", "NOW", "RESYNC", "Fleet", "World", "install", "running"]
