"""Sites whose applies are killed, on certificate directories and on simulated appliances, and what must hold each time.

`Killing` is one apply that is killed at one place after the other, each time from the same stores.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.apply.history import Entry, read_history
from reconciler.base.clock import system_clock
from reconciler.cli.exits import Exit
from reconciler.engine.operator import VARIABLE
from reconciler.lab.example import PASSPHRASE
from reconciler.lab.example import VARIABLE as SECRET
from reconciler.live.directory import create_store
from reconciler.live.directory.operations import DirectoryStore
from reconciler.plan.model import Import, Remove, RemoveRequest
from reconciler.report.results import Applied
from tests.end_to_end.lifecycle import Lifecycle, appliance
from tests.support.haproxy import check
from tests.support.playing import playing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.live.store import LiveStore
    from tests.end_to_end.killing import Program, Ran


@dataclass
class Site(Lifecycle):
    """A site whose applies are killed.

    Attributes:
        program: The program.
        stores: The folder of the stores.
        names: The appliances.
        journals: Where journals lie.
        reloaded: Where the reload commands leave what a front end has loaded; None where appliances are simulated.
        beside: What else an apply changes.
    """

    program: Program = field(kw_only=True)
    stores: Path = field(kw_only=True)
    names: tuple[str, ...] = field(kw_only=True)
    journals: Path = field(kw_only=True)
    reloaded: Path | None = None
    beside: tuple[Path, ...] = ()

    @property
    def places(self) -> tuple[Path, ...]:
        """Where everything lies that an apply changes, but for journals."""
        return (self.stores, *((self.reloaded,) if self.reloaded else ()), *self.beside)

    def start(self, command: str, *options: str | Path, what: str = "", at: int = 0) -> Ran:
        """Run the program, whatever comes of it."""
        return self.program.run(command, self.root, *options, environ=self.environ, what=what, at=at)

    def run(self, command: str, *options: str | Path, exits: Exit = Exit.DONE) -> str:
        """Run the program; what it says on stdout."""
        ran = self.start(command, *options)
        assert ran.code == exits, ran.out + ran.err
        return ran.out

    def observe(self) -> dict[str, LiveStore]:
        """What the stores hold."""
        return {name: DirectoryStore(self.stores / name, system_clock).observe() for name in self.names}

    def without_reload(self) -> None:
        """Have no front end."""
        (self.root.parent / "operator.yaml").write_text("concurrency: 1\n")
        self.reloaded = None

    def settle(self) -> None:
        """Wait until appliances have carried out what they were asked for, whoever is gone."""
        before = None
        while self.reloaded is None and before != (now := sorted(self.stores.rglob("*"))):
            before = now
            time.sleep(0.03)

    def trust(self, told: str) -> bool:
        """Do what is told where an appliance shows a certificate that it has just made; whether that was told."""
        advice = re.search(r'trust: {sha256: \[\\"([0-9a-f]{64})\\"\]}', told)
        if advice is None:
            return False
        assert any(advice[1] in each.by_fingerprint for each in self.observe().values())
        _, operator = self.beside
        line = f"    driver: web\n    trust: {{sha256: [{advice[1]}]}}\n"
        operator.write_text(operator.read_text().replace("    driver: web\n", line))
        return True

    def last(self) -> Entry | None:
        """The last apply, as its journal tells it."""
        return next(read_history(self.journals), None)


def directory_site(program: Program, folder: Path, files: Mapping[str, str], *names: str) -> Site:
    """A site on certificate directories, each with a reload command that keeps what it has loaded."""
    stores, reloaded = folder / ".stores", folder / "reloaded"
    reloaded.mkdir()
    script = 'rm -rf "$1" && cp -RL "$0" "$1"'
    reload = {name: ["sh", "-c", script, str(stores / name), str(reloaded / name)] for name in names}
    operator = folder / "operator.yaml"
    operator.write_text(json.dumps({"reload": reload, "concurrency": 1}))
    environ = {VARIABLE: str(operator), "XDG_STATE_HOME": str(folder / "state"), SECRET: PASSPHRASE.decode()}
    site = Site(
        folder / "desired-state",
        environ,
        {},
        program=program,
        stores=stores,
        names=names,
        journals=folder / "state/reconciler/journal",
        reloaded=reloaded,
    )
    site.declare({**files, **{path: text for name in names for path, text in appliance(name).items()}})
    for name in names:
        create_store(stores / name, system_clock)
        shutil.copytree(stores / name, reloaded / name)
    return site


@contextmanager
def played_site(
    program: Program, folder: Path, files: Mapping[str, str], *names: str, options: Sequence[str] = ()
) -> Iterator[Site]:
    """A site on simulated appliances, worked on one after the other; `options` are those of the lab."""
    root, lab = folder / "desired-state", folder / "lab"
    operator = lab / "operator.yaml"
    site = Site(
        root,
        {},
        {},
        program=program,
        stores=lab / "stores",
        names=names,
        journals=lab / "journal",
        beside=(lab / "known-appliances", operator),
    )
    site.declare({**files, **{path: text for name in names for path, text in appliance(name).items()}})
    with playing(root, lab, *options) as played:
        site.ports = {name: played.port(f"{name}.example.com:443") for name in names}
        site.environ = {**played.environ, SECRET: PASSPHRASE.decode()}
        operator.write_text(operator.read_text() + "concurrency: 1\n")
        yield site


def served(directory: Path) -> dict[str, bytes]:
    """What a front end would load."""
    return {each.name: each.read_bytes() for each in directory.glob("*.pem") if not each.name.startswith(".")}


def starts(directory: Path, known: set[int]) -> None:
    """See that HAProxy starts on a directory; each content is asked about once."""
    content = hash(frozenset(served(directory).items()))
    if content not in known:
        assert not check(directory)
        known.add(content)


@dataclass
class Killing:
    """An apply that is killed again and again.

    Attributes:
        site: The site.
        what: At what it is killed.
        places: Where everything lies that an apply changes.
        saved: Where it is kept as it was before.
        left: What a plan says in the end: nothing to do, or that something waits.
        known: Contents on which HAProxy has been seen to start.
        endings: What journals told: how many actions were done, and how many begun without a known end.
        strangers: How often an appliance showed a certificate that it had made for a program that died of it.
    """

    site: Site
    what: str
    places: Sequence[Path]
    saved: Path
    left: Exit
    known: set[int] = field(default_factory=set)
    endings: set[tuple[int, int]] = field(default_factory=set)
    strangers: int = 0

    def __post_init__(self) -> None:
        self.saved.mkdir()
        for each in self.places:
            copy_over(each, self.saved / each.name)
        self.before = self.site.observe()
        self.plan = Applied.model_validate_json(self._apply().out).plan
        self.after = self.site.observe()
        self.comes_to_the_same_end()

    def begin(self) -> None:
        """Put everything back to where it was before."""
        for each in self.places:
            copy_over(self.saved / each.name, each)
        shutil.rmtree(self.site.journals, ignore_errors=True)

    def at(self, number: int) -> bool:
        """Kill it once, and apply again; whether it came to that."""
        self.begin()
        ran = self.site.start("apply", "--yes", what=self.what, at=number)
        assert ran.code in {0, -signal.SIGKILL}, ran.out + ran.err
        if ran.code == 0:
            self.comes_to_the_same_end()
            return False
        self.site.settle()
        self.lost_nothing()
        self._goes_on()
        self.comes_to_the_same_end()
        return True

    def _apply(self) -> Ran:
        ran = self.site.start("apply", "--yes", "--format", "json")
        if ran.code == Exit.COULD_NOT and self.site.trust(ran.out):
            self.strangers += 1
            ran = replace(self.site.start("apply", "--yes", "--format", "json"), err=ran.err)
        assert ran.code == 0, ran.out + ran.err
        return ran

    def lost_nothing(self) -> None:
        """See that every certificate, key and request is there that is to stay, and that HAProxy could start."""
        gone = {each.fingerprint for each in self.plan.actions if isinstance(each, Remove | RemoveRequest)}
        for name, now in self.site.observe().items():
            before, after = self.before[name], self.after[name]
            assert certificates(now) >= {each for each in certificates(before) if each[0] not in gone}
            assert keys(now) >= keys(before, gone)
            assert now.default
            assert now.by_fingerprint[now.default].has_key
            assert self._called(now.default) in {before.default, self._called(after.default)}
            starts(self.site.stores / name, self.known)

    def _goes_on(self) -> None:
        """Apply again; both the journal and the apply tell that the one before was interrupted."""
        entry = self.site.last()
        again = self._apply()
        if entry is None or entry.ended:  # it had not begun, or it had come to its end a moment before
            assert entry is None or not entry.left
            assert not again.err
            return
        told = again.err.splitlines()
        done = len(entry.actions) - len(entry.left)
        unknown = [each for each in entry.left if each in entry.outcomes]
        assert entry.interrupted
        assert told[0].startswith("reconciler: the apply of ")
        assert f" after {done} of {len(self.plan.actions)} action" in told[0]
        assert any("not known" in line for line in told) is bool(unknown)
        assert not self.site.reloaded or not self.site.start("plan").err  # that one has ended, and is no news
        self.endings.add((done, len(unknown)))

    def comes_to_the_same_end(self) -> None:
        """See that stores hold what they held after the apply that was not killed, and that nothing is left to do."""
        now = self.site.observe()
        assert {name: self._told(each) for name, each in now.items()} == {
            name: self._told(each) for name, each in self.after.items()
        }
        self.site.run("plan", "--detailed-exitcode", exits=self.left)
        for name in self.site.names if self.site.reloaded else ():
            assert self.site.reloaded
            assert served(self.site.reloaded / name) == served(self.site.stores / name)

    def _told(self, store: LiveStore) -> tuple[object, ...]:
        """What a store holds; what the appliance made is not the same each time, but for its name."""
        assert not store.unfinished
        listed = [(self._called(each[0]), *each[1:]) for each in certificates(store)]
        requests = [(self._called(each.fingerprint), each.subject.display) for each in store.requests]
        return self._called(store.default), sorted(listed), sorted(requests)

    def _called(self, fingerprint: str | None) -> str:
        imported = {each.fingerprint for each in self.plan.actions if isinstance(each, Import)}
        there = {one for each in self.before.values() for one in (*each.by_fingerprint, *requested(each))}
        return fingerprint if fingerprint in imported | there else "made"


def certificates(store: LiveStore) -> set[tuple[str, str, bool]]:
    return {(each.fingerprint, each.friendly_name, each.has_key) for each in store.certificates}


def requested(store: LiveStore) -> set[str]:
    return {each.fingerprint for each in store.requests}


def keys(store: LiveStore, without: Collection[str] = ()) -> set[str]:
    """The keys that a store holds, those of requests as well."""
    held = [(each.fingerprint, each.certificate.public_key) for each in store.certificates if each.has_key]
    held += [(each.fingerprint, each.public_key) for each in store.requests]
    return {key for fingerprint, key in held if fingerprint not in without}


def copy_over(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)
