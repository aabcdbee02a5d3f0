"""`reconciler watch` as a process that is ended at random instants and started again, while clients come all along."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from reconciler.apply.history import read_history
from reconciler.apply.result import Outcome
from reconciler.cli.exits import Exit
from reconciler.engine.load import load_desired
from tests.cli.terminal import PROGRAM
from tests.end_to_end.keeping import default
from tests.end_to_end.killed_sites import starts
from tests.end_to_end.needles import keys_below
from tests.support.signing import git
from tests.support.tls import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.apply.history import Entry
    from tests.end_to_end.changing import Change, Changing
    from tests.end_to_end.hammering import Tally
    from tests.end_to_end.keeping import Keeper
    from tests.end_to_end.killed_sites import Site

Death: TypeAlias = tuple[signal.Signals, float]
"""A signal, and when it is sent: 0 is where an apply begins, 1 where it ends, and -1 to 0 is before it begins."""
TERM, KILL = signal.SIGTERM, signal.SIGKILL
SECONDS = 20.0
"""How long it may take to end when it is asked to."""
PATIENCE = 120.0
"""How long anything else may take, in seconds: what fails is tried again after a minute or so."""
TEMPORARY = ".reconciler-new-*"
SLOW_DISK = """
import os, sys, time

done = os.open(os.environ["OPERATIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def rest(event, arguments):
    in_store = event in {"os.rename", "os.remove", "os.symlink"} and "/.stores/" in str(arguments[0])
    if in_store or event == "subprocess.Popen":
        os.write(done, b".")
        time.sleep(0.02)

sys.addaudithook(rest)
"""
"""Has a process count file operations on stores and reloads, and rest before each, so that signals fall there, too."""


def seed() -> str:
    """What random numbers start from: always the same in CI, always another one elsewhere."""
    return "SIGTERM and SIGKILL" if os.environ.get("CI") == "true" else secrets.token_hex(4)


class Loop:
    """The process. What it says goes to files, one pair for each start.

    Attributes:
        folder: Where these files lie.
        temporary: Where the process is to put temporary files.
    """

    def __init__(self, site: Site, folder: Path) -> None:
        self.folder, self.temporary = folder / "said", folder / "temporary"
        self.folder.mkdir()
        self.temporary.mkdir()
        (folder / "slow").mkdir()
        (folder / "slow/sitecustomize.py").write_text(SLOW_DISK)
        self._operations = folder / "slow/operations"
        path = os.pathsep.join(filter(None, (str(folder / "slow"), os.environ.get("PYTHONPATH"))))
        self._environ = {"TMPDIR": str(self.temporary), "PYTHONPATH": path, "OPERATIONS": str(self._operations)}
        self._site = site
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        self._starts += 1
        out, self._err = (self.folder / f"{self._starts}.{name}" for name in ("out", "err"))
        environ = {**os.environ, **self._site.environ, **self._environ}
        command: list[str | Path] = [PROGRAM, "watch", self._site.root, "--no-endpoints", "--log", "json"]
        with out.open("wb") as said, self._err.open("wb") as told:
            self._process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=said, stderr=told)
        self._started = out.stat().st_ctime_ns

    @property
    def operations(self) -> int:
        """How many file operations and reloads it has come to, counted from the first start."""
        return self._operations.stat().st_size if self._operations.exists() else 0

    @property
    def watches(self) -> bool:
        """Whether it has begun to."""
        return b"watching" in self._err.read_bytes()

    @property
    def remembers(self) -> bool:
        """Whether it has written down what it knows since it was started."""
        try:
            return (self._site.journals / "watch.json").stat().st_mtime_ns > self._started
        except FileNotFoundError:
            return False

    def goes_on(self) -> None:
        """See that it has not ended by itself."""
        assert self._process
        assert self._process.poll() is None, self._err.read_text()

    def end(self, number: signal.Signals) -> float:
        """Send it a signal, and see that it ends as it should; how long that took, in seconds."""
        assert self._process
        self.goes_on()
        watched, began = self.watches, time.monotonic()
        self._process.send_signal(number)
        code = self._process.wait(PATIENCE)
        took = time.monotonic() - began
        # While it is being started it ends as any program does, and has done nothing yet.
        right = {-KILL} if number is KILL else {0} if watched else {0, -TERM}
        assert code in right, f"{number.name} ends it with {code}: {self._err.read_text()}"
        return took

    def close(self) -> None:
        """End it, whatever it does."""
        if self._process:
            self._process.kill()
            self._process.wait()


@dataclass
class Memory:
    """Somebody who reads what the loop knows all the time."""

    file: Path
    reads: int = 0
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def read(self) -> Iterator[None]:
        """Read until the block ends. Once it is there it is there for good, and whole."""
        ended, there = threading.Event(), False

        def look() -> None:
            nonlocal there
            while not ended.wait(0.02):
                try:
                    json.loads(self.file.read_bytes())
                except FileNotFoundError:
                    if there:
                        self.problems.append("it is gone")
                except ValueError as error:
                    self.problems.append(str(error))
                else:
                    there, self.reads = True, self.reads + 1

        reader = threading.Thread(target=look)
        reader.start()
        try:
            yield
        finally:
            ended.set()
            reader.join()


@dataclass(frozen=True)
class Pace:
    """How an undisturbed reconcile goes.

    Attributes:
        lead: Seconds from the change of what is declared, or the start of the loop, to the beginning of the apply.
        length: Seconds from there to its end.
        steps: How many lines it leaves in journals, and how many file operations and reloads it consists of.
    """

    lead: float
    length: float
    steps: int


_GUESS = Pace(lead=0.7, length=1.0, steps=20)
"""Of what was not measured."""


class Reconciles:
    """Reconciles that are disturbed, and what came of them.

    Attributes:
        counts: How many reconciles there were, signals by name, and signals in the middle of an apply by name.
        keys: Every private key that was seen in a store.
    """

    def __init__(
        self,
        changing: Changing,
        keeper: Keeper,
        loop: Loop,
        tally: Tally,
        *,
        has_front_end: bool,
        follows: bool = False,
    ) -> None:
        self.counts = Counter[str]()
        self.keys: list[object] = []
        self._changing, self._keeper, self._loop, self._tally = changing, keeper, loop, tally
        self._site = changing.site
        self._has_front_end, self._follows = has_front_end, follows
        self._paces: dict[str, Pace] = {}
        self._known_to_start: set[int] = set()
        self._seed = seed()
        self._chance = random.Random(self._seed)  # noqa: S311 - no secret
        self._story: list[str] = []
        # The journals and file operations that there were when the loop was started or what is declared was changed.
        self._earlier: set[Path] = set()
        self._operations = 0
        self._is_fresh = False
        # What a change that was broken off had left when the loop was started.
        self._left: set[str] = set()

    def kinds(self) -> set[str]:
        """The kinds of action that were carried out."""
        return {
            action.kind
            for entry in read_history(self._site.journals)
            for name, action in entry.actions.items()
            if entry.outcomes.get(name) is Outcome.APPLIED
        }

    # One that is left alone

    def measure(self, number: int) -> None:
        """See how some reconciles go that nobody disturbs; every other one begins with a start of the loop."""
        for each in range(number):
            running = each % 2 == 0 and not self._follows
            change = self._begin(running=running)
            began = self._until(lambda: self._steps() > 0)
            length = self._until(lambda: not self._is_at_work())
            assert self._steps()
            self._paces[_pair(change)] = Pace(began, length, self._steps())
            self._comes_to_rest(change)

    def _until(self, is_over: Callable[[], bool]) -> float:
        """Wait until something holds, or patience is at an end; how long that took, in seconds."""
        began = time.monotonic()
        while not is_over() and time.monotonic() - began < PATIENCE:
            time.sleep(0.005)
        return time.monotonic() - began

    # One that is disturbed

    def disturb(self, *deaths: Death, running: bool | None = None) -> None:
        """Change what is declared, end the loop and start it again, perhaps more than once, and see it come to rest.

        Args:
            deaths: How it is ended; drawn where nothing is said.
            running: Whether the loop is at work when what is declared changes; drawn where it is None.
        """
        self._story = []
        if running is None:
            running = not self._follows and self._chance.random() < 0.8
        try:
            change = self._begin(running=running)
            for number, when in deaths or self._deaths():
                self._die(change, number, when)
                self._start()
            self._comes_to_rest(change)
        except AssertionError as error:
            error.add_note(f"seed {self._seed!r}, reconcile {self.counts['reconciles'] + 1}: {'; '.join(self._story)}")
            raise
        self.counts["reconciles"] += 1

    def _begin(self, *, running: bool) -> Change:
        """Change what is declared, while the loop is at work or before it is started."""
        if not running:
            self._loop.end(TERM)
        self._mark(is_fresh=False)
        change = self._changing.next()
        self._story.append(f"{change.name}, the loop {'is at work' if running else 'is started then'}")
        if self._follows:
            save(self._site)
        if not running:
            self._start()
        return change

    def _start(self) -> None:
        self._mark(is_fresh=True)
        self._left = set(self._half_done())
        self._loop.start()

    def _mark(self, *, is_fresh: bool) -> None:
        """Count steps from here on."""
        self._earlier, self._operations, self._is_fresh = set(self._journals()), self._loop.operations, is_fresh

    def _deaths(self) -> list[Death]:
        """One, or two or three in a row: most of them in an apply, some before it, in its last action, or after it."""
        number = self._chance.choices((1, 2, 3), (6, 3, 2))[0]
        spans = self._chance.choices(((-1.0, 0.0), (0.0, 1.0), (0.9, 1.0), (1.0, 1.3)), (2, 7, 2, 1), k=number)
        return [(self._chance.choice((TERM, KILL)), self._chance.uniform(*each)) for each in spans]

    def _die(self, change: Change, number: signal.Signals, when: float) -> None:
        delay = self._wait(self._paces.get(_pair(change), _GUESS), when)
        at_work = {each.id for each in self._latest() if each.running}
        self._story.append(f"{number.name} after {delay:.3f} s{', while it applies' if at_work else ''}")
        took = self._loop.end(number)
        self._site.settle()
        self._look(change)
        broken = [each.id for each in self._latest() if each.id in at_work and each.interrupted]
        if number is TERM:
            assert took < SECONDS
            assert not broken
            assert set(self._half_done()) <= self._left, "an action that was in hand is not finished"
        for each in self._site.stores.iterdir() if self._has_front_end else ():
            starts(each, self._known_to_start)
        self.counts[number.name] += 1
        self.counts[f"{number.name} in an apply"] += bool(at_work if number is TERM else broken)

    def _wait(self, pace: Pace, when: float) -> float:
        """Wait for a random instant; how long that was, in seconds.

        In an apply that is a moment after so many steps: how fast it goes depends on what else this machine has to do.
        """
        began, goal = time.monotonic(), max(1, round(pace.steps * when))
        if when < 0:
            time.sleep(pace.lead * (1 + when))
        else:
            self._until(lambda: self._steps() >= goal or self._is_over())
            time.sleep(pace.length / pace.steps * self._chance.random())
        return time.monotonic() - began

    def _is_over(self) -> bool:
        """Whether nothing more is to come of what is declared, also where all was done before the loop was started."""
        begun = self._steps() or (self._is_fresh and self._loop.remembers)
        return bool(begun) and not self._is_at_work()

    # What must hold

    def _comes_to_rest(self, change: Change) -> None:
        """Wait until the loop has nothing left to do, and see that everything is as it is declared."""
        deadline, digest = time.monotonic() + PATIENCE, load_desired(self._site.root).digest
        while missing := self._missing(digest):
            self._loop.goes_on()
            assert time.monotonic() < deadline, missing
            time.sleep(0.03)
        self._look(change)
        self._keeper.rest()
        for name, port in self._site.ports.items():
            assert served(port, None) == default(self._site.stores / name), name
        assert not self._tally.problems, self._tally.problems[:3]

    def _look(self, change: Change) -> None:
        self._keeper.look(change.leaving)
        self.keys += keys_below(self._site.stores)

    def _missing(self, digest: str) -> str:
        """What keeps it from being at rest; empty where nothing does."""
        if not (self._loop.watches and self._loop.remembers):
            return "the loop has not looked"
        known = json.loads((self._site.journals / "watch.json").read_bytes())
        if known["source"]["digest"] != digest:
            return "the loop has another desired state"
        if any(each["ready"] or each["failures"] for each in known["appliances"]):
            return "the loop has something to do"
        if self._is_at_work() or next(read_history(self._site.journals)).interrupted:
            return "an apply has no end"
        if left := self._half_done():
            return f"a change is not finished: {left}"
        planned = self._site.start("plan", "--detailed-exitcode")
        return "" if planned.code in {Exit.DONE, Exit.HELD} else planned.out + planned.err

    def _journals(self) -> Iterator[Path]:
        return self._site.journals.glob("*.jsonl")

    def _steps(self) -> int:
        """How many steps the loop has taken since it was started or what is declared was changed; see `Pace`."""
        lines = sum(each.read_bytes().count(b"\n") for each in self._journals() if each not in self._earlier)
        return lines + self._loop.operations - self._operations

    def _is_at_work(self) -> bool:
        """Whether an apply is."""
        return any(each.running for each in self._latest())

    def _latest(self) -> list[Entry]:
        """The latest applies: of the pair, and of the one that stands alone."""
        return list(islice(read_history(self._site.journals), 2))

    def _half_done(self) -> list[str]:
        """What a change that was broken off has left in stores."""
        stores = self._site.stores
        return [
            str(each)
            for name in ("*/.store/reload-due", f"*/{TEMPORARY}", f"*/.store/**/{TEMPORARY}")
            for each in stores.glob(name)
        ]


def _pair(change: Change) -> str:
    return change.name.partition(",")[0]


def save(site: Site) -> None:
    """Commit and push what is declared."""
    folder = site.root.parent
    git(folder, "add", "--all", site.root.name)
    git(folder, "commit", "--quiet", "--message", "Declare")
    git(folder, "push", "--quiet", "origin", "main")
