"""The loop: it waits until something happened that matters, and has those appliances looked at that it matters to.

What happens: a newer desired state, an instant at which time changes what is due, a retry, and the resync of all. Each
group of appliances that belong together takes its turns by itself, so that one that hangs delays no other. Nothing that
is remembered is needed to converge: whatever instant it is ended at, the next loop begins with looking at everything.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from reconciler.apply.history import interrupted, read_history
from reconciler.apply.turns import Stop
from reconciler.base.errors import ReconcilerError
from reconciler.engine.run import check_rules
from reconciler.watch.concerned import concerned, errors_of, together
from reconciler.watch.ledger import Ledger
from reconciler.watch.reading import Reading, Trouble
from reconciler.watch.schedule import LONGEST_SLEEP, next_instant, resync_at, retry_at
from reconciler.watch.seen import instants
from reconciler.watch.turn import InForce, Turn, restated

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from anyio.abc import TaskGroup

    from reconciler.base.clock import Clock
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings
    from reconciler.watch.memory import Memory
    from reconciler.watch.model import Teller
    from reconciler.watch.reading import DesiredSource
    from reconciler.watch.schedule import Chance, Timer
    from reconciler.watch.seen import Seen


@dataclass(frozen=True)
class Surroundings:
    """What the loop works with.

    Attributes:
        source: Where the desired state comes from.
        settings: Operator settings.
        clock: The time.
        timer: How it waits.
        memory: What is kept across restarts.
        journals: The folder of the journals.
        tell: Tells of events.
        chance: Random numbers.
    """

    source: DesiredSource
    settings: OperatorSettings
    clock: Clock
    timer: Timer
    memory: Memory
    journals: Path
    tell: Teller = lambda event: None  # noqa: ARG005 - the name says what it is told
    chance: Chance = field(default=random.SystemRandom().random)


class Loop:
    """The loop over one desired state.

    Attributes:
        board: What it knows, for whoever looks.
        busy: The appliances that take their turn now.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._ledger = Ledger(around.source.place, around.clock, around.memory, around.tell)
        self.board = self._ledger.board
        self.busy: set[str] = set()
        self._force: InForce | None = None
        # When something is due on an appliance before the next resync.
        self._due: dict[str, dt.datetime] = {}
        self._resync = around.clock()
        # Those that something concerns that came while they took their turn.
        self._again: set[str] = set()
        # Those to which an apply was interrupted before the loop was started.
        self._interrupted: frozenset[str] = frozenset()
        self._stops: set[Stop] = set()
        self._woken = anyio.Event()
        lanes = around.settings.concurrency
        self._steady, self._troubled = anyio.CapacityLimiter(lanes), anyio.CapacityLimiter(lanes)

    async def run(self, stop: Stop) -> None:
        """Go on until somebody asks to stop: then looks end at once, and applies after the action in hand."""
        stop.then(lambda: self._end(stop.why))
        async with anyio.create_task_group() as turns, anyio.create_task_group() as following:
            following.start_soon(self._follow)
            while not stop.why:
                self._woken = anyio.Event()
                await self._begin_turns(turns)
                if not stop.why:
                    await self._around.timer.sleep_until(self._next(), self._woken)
            following.cancel_scope.cancel()
        self._ledger.keep()

    def _end(self, why: str) -> None:
        for each in tuple(self._stops):
            each.request(why)
        self._woken.set()

    # The desired state

    async def _follow(self) -> None:
        """Take in what the source offers, whenever there may be something newer."""
        source, before = self._around.source, self._ledger.source.revision
        await self._take_in(await self._asked(source.read))
        if self._force is None and before:
            # The last good one stays in force, also where the loop was ended meanwhile.
            earlier = await self._asked(lambda: source.earlier(before))
            if earlier.state:
                await self._enforce(earlier.state)
        while True:
            await self._newer()
            await self._take_in(await self._asked(source.read))

    async def _asked(self, ask: Callable[[], Awaitable[Reading]]) -> Reading:
        try:
            return await ask()
        except ReconcilerError as error:
            return Reading.refusal(Trouble.UNREACHABLE, str(error))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, what is in force stays
            self._ledger.unexpected(f"while {self._around.source.place} was read")
            return Reading.refusal(Trouble.UNREACHABLE, f"unexpected {type(error).__name__}")

    async def _newer(self) -> None:
        """Wait for something newer; where that cannot be done it is read again in a minute."""
        try:
            await self._around.source.wait()
        except Exception:  # noqa: BLE001 - the same
            self._ledger.unexpected(f"while {self._around.source.place} was waited for")
            await anyio.sleep(LONGEST_SLEEP.total_seconds())

    async def _take_in(self, reading: Reading) -> None:
        """Put what was read in force, or keep what is; and say so."""
        self._ledger.read(reading)
        if reading.state is not None:
            await self._enforce(reading.state)

    async def _enforce(self, state: DesiredState) -> None:
        """Put a desired state in force, and mark whom it concerns."""
        old = self._force
        if old is not None and old.state.digest == state.digest:
            # The same files under another commit: what is applied from now on is told to come from that.
            self._force = replace(old, state=state)
            return
        self._force = force = await self._checked(state)
        declared = state.appliances.keys()
        if old is None:
            self._resync = resync_at(self._around.clock(), self._around.settings.watch.resync, self._around.chance)
            self._interrupted = _interrupted(self._around.journals, state)
        names = declared if old is None else (concerned(old.state, state) | restated(old, force)) & declared
        self._ledger.unseen |= declared - (old.state.appliances.keys() if old else set())
        self._ledger.enforce(force, self._around.settings.watch)
        self._due = {name: at for name, at in self._due.items() if name in declared}
        self._mark(names)

    async def _checked(self, state: DesiredState) -> InForce:
        """A desired state with what the rules say of it now. Other tasks go on meanwhile."""
        checked = await to_thread.run_sync(check_rules, state, self._around.clock())
        return InForce(state, checked, errors_of(state, checked.accepted), together(state))

    # Turns

    def _mark(self, names: Iterable[str]) -> None:
        """Have some appliances looked at as soon as may be; those that take their turn now, once more after it."""
        for name in names:
            self._due[name] = self._around.clock()
            if name in self.busy:
                self._again.add(name)
        self._woken.set()

    def _free(self, force: InForce) -> list[frozenset[str]]:
        """The groups that could take their turn."""
        return [each for each in force.groups if each.isdisjoint(self.busy)]

    def _next(self) -> dt.datetime:
        """The next instant at which something is due."""
        if self._force is None:
            return self._around.clock() + LONGEST_SLEEP
        due = (self._due[name] for group in self._free(self._force) for name in group if name in self._due)
        return min((self._resync, *due))

    async def _begin_turns(self, turns: TaskGroup) -> None:
        """Begin the turns that are due."""
        now, force = self._around.clock(), self._force
        self.board.alive_at = now
        if force is None:
            return
        interval = self._around.settings.watch.resync
        set_back = self._resync > now + interval  # somebody has set the clock, so no instant means what it did
        if now >= self._resync or set_back:
            self._resync = resync_at(now, interval, self._around.chance)
            # What fails is tried again in its own time.
            self._mark(name for name in force.state.appliances if set_back or not self._ledger[name].failures)
        due = {name for name, at in self._due.items() if at <= now}
        groups = [each for each in self._free(force) if not each.isdisjoint(due)]
        if not groups:
            return
        if force.checked.at != now:
            fresh = await self._checked(force.state)
            if self._force is not force:
                return  # a newer one has come meanwhile, and has woken the loop
            self._force = force = fresh
        for group in groups:
            stop = Stop()
            self._stops.add(stop)
            self.busy |= group
            turns.start_soon(self._turn, force, group, stop)

    async def _turn(self, force: InForce, group: frozenset[str], stop: Stop) -> None:
        """Have a group take its turn. Whatever goes wrong with it stays with it."""
        around, ledger, began = self._around, self._ledger, anyio.current_time()
        turn = Turn(
            force=force,
            group=group,
            settings=around.settings,
            clock=around.clock,
            journals=around.journals,
            stop=stop,
            interrupted=lambda: bool(self._interrupted) and self._interrupted <= group,
            looked=ledger.looked,
            removals=ledger.removals,
            removing=ledger.removing,
        )
        seen: Mapping[str, Seen] | None = None
        try:
            # Those that failed last may hang until somebody's patience ends: they wait for each other only.
            async with self._troubled if ledger.failing(group) else self._steady:
                seen = await turn.take()
            self._conclude(force, group, seen)
        except Exception:  # noqa: BLE001 - one group's turn must not end the loop, whatever is wrong with it
            ledger.unexpected(f"in a turn of {', '.join(sorted(group))}")
            seen = None
            self._conclude(force, group, seen)
        finally:
            self._stops.discard(stop)
            self.busy -= group
        if seen or seen is None:
            ledger.turned(anyio.current_time() - began, seen)
        self._mark(self._again & group & self._declared)
        self._again -= group
        if self.busy:
            ledger.keep_sometimes()
        else:
            ledger.keep()
        self._woken.set()

    @property
    def _declared(self) -> AbstractSet[str]:
        """The appliances that are declared now; not those whose own file is broken."""
        return self._force.state.appliances.keys() if self._force else frozenset()

    def _conclude(self, force: InForce, group: frozenset[str], seen: Mapping[str, Seen] | None) -> None:
        """Enter what was seen, and see when each is looked at next.

        Args:
            force: The desired state by which the turn was taken.
            group: Who took it.
            seen: What was seen; empty where the turn was ended, None where it went wrong unexpectedly.
        """
        ledger, now = self._ledger, self._around.clock()
        for name in sorted(group & self._declared):
            at = self._due.pop(name, None)
            if seen is None:
                at = retry_at(now, ledger.stumbled(name).failures, self._around.chance)
            elif seen:
                record = ledger.judge(name, seen[name])
                at = next_instant(force.checked.at, instants(record, seen[name]))
                if record.failures:
                    at = retry_at(now, record.failures, self._around.chance)
            if at is not None:
                self._due[name] = at
            ledger.look_next(name, min(each for each in (at, self._resync) if each))
        if seen and not any(each.failure or each.has_work for each in seen.values()):
            self._interrupted -= group


def _interrupted(journals: Path, state: DesiredState) -> frozenset[str]:
    """The appliances to which the last apply of a desired state was interrupted, where it was."""
    last = interrupted(read_history(journals), state.root)
    return (
        frozenset(each.appliance for each in last.actions.values()) & state.appliances.keys() if last else frozenset()
    )
