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
from reconciler.watch.concerned import concerned
from reconciler.watch.force import in_force, restated
from reconciler.watch.ledger import Ledger
from reconciler.watch.reading import Reading, Trouble
from reconciler.watch.schedule import LONGEST_SLEEP, next_instant, resync_at, retry_at
from reconciler.watch.seen import instants
from reconciler.watch.turn import Turn

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from anyio.abc import TaskGroup

    from reconciler.base.clock import Clock
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings
    from reconciler.watch.force import InForce
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
        # When something is due on an appliance before the next resync. One that takes its turn is due again where
        # something has come meanwhile that concerns it.
        self._due: dict[str, dt.datetime] = {}
        self._resync = around.clock()
        # Those to which an apply was interrupted before the loop was started.
        self._interrupted: frozenset[str] = frozenset()
        self._stop = Stop()
        self._woken = anyio.Event()
        lanes = around.settings.concurrency
        self._steady, self._troubled = anyio.CapacityLimiter(lanes), anyio.CapacityLimiter(lanes)

    async def run(self, stop: Stop) -> None:
        """Go on until somebody asks to stop: then looks end at once, and applies after the action in hand."""
        self._stop = stop
        with stop.then(lambda: self._woken.set()):  # noqa: PLW0108 - of the event that there is then
            async with anyio.create_task_group() as turns, anyio.create_task_group() as following:
                following.start_soon(self._follow)
                while not stop.why:
                    self._woken = anyio.Event()
                    await self._begin_turns(turns)
                    if not stop.why:
                        await self._around.timer.sleep_until(self._next(), self._woken)
                following.cancel_scope.cancel()
        self._ledger.keep()

    # The desired state

    async def _follow(self) -> None:
        """Take in what the source offers, whenever there may be something newer."""
        source, before = self._around.source, self._ledger.last_good
        reading, force = await self._asked(source.read)
        if force is None:
            earlier = (await self._asked(lambda: source.earlier(before)))[1] if before else None
            if earlier:
                # The last good one stays in force, also where the loop was ended meanwhile.
                self._enforce(earlier)
            else:
                self._ledger.out_of_force()
        while True:
            try:
                self._take_in(reading, force)
            except Exception:  # noqa: BLE001 - the same
                self._ledger.unexpected(f"while what {source.place} gave was taken in")
            await self._newer()
            reading, force = await self._asked(source.read)

    async def _asked(self, ask: Callable[[], Awaitable[Reading]]) -> tuple[Reading, InForce | None]:
        """What the source answers, and what may be put in force of it."""
        try:
            reading = await ask()
        except ReconcilerError as error:
            return Reading.refusal(Trouble.UNREACHABLE, str(error)), None
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, what is in force stays
            self._ledger.unexpected(f"while {self._around.source.place} was read")
            return Reading.refusal(Trouble.UNREACHABLE, f"unexpected {type(error).__name__}"), None
        state, old = reading.state, self._force
        if state is None:
            return reading, None
        if old is not None and old.state.digest == state.digest:
            # The same files, maybe under another commit: what is applied from now on is told to come from that.
            return reading, old if state is old.state else replace(old, state=state)
        try:
            return reading, await self._checked(state)
        except Exception as error:  # noqa: BLE001 - the same
            self._ledger.unexpected("while the rules were checked")
            problem = f"unexpected {type(error).__name__} while the rules were checked"
            return Reading.refusal(Trouble.BROKEN, problem, state.revision or state.digest), None

    async def _newer(self) -> None:
        """Wait for something newer; where that cannot be done it is read again in a minute."""
        try:
            await self._around.source.wait()
        except Exception:  # noqa: BLE001 - the same
            self._ledger.unexpected(f"while {self._around.source.place} was waited for")
            await anyio.sleep(LONGEST_SLEEP.total_seconds())

    def _take_in(self, reading: Reading, force: InForce | None) -> None:
        """Put what was read in force, or keep what is; and say so."""
        old = self._force
        if old is not None and reading.trouble is Trouble.NOT_SIGNED and reading.refused == old.state.revision:
            # Whoever signed what is in force may not do so any more.
            self._force, self._due = None, {}
            self._ledger.out_of_force()
        self._ledger.read(reading)
        if force is not None:
            self._enforce(force)

    def _enforce(self, force: InForce) -> None:
        """Put a desired state in force, and mark whom it concerns."""
        old, self._force = self._force, force
        if old is not None and old.state.digest == force.state.digest:
            return
        declared = force.state.appliances.keys()
        if old is None:
            self._resync = resync_at(self._around.clock(), self._around.settings.watch.resync, self._around.chance)
            self._interrupted = _interrupted(self._around.journals, force.state)
        names = declared if old is None else (concerned(old.state, force.state) | restated(old, force)) & declared
        self._interrupted &= declared
        self._ledger.enforce(force)
        self._due = {name: at for name, at in self._due.items() if name in declared}
        self._mark(names, force.checked.at)

    async def _checked(self, state: DesiredState) -> InForce:
        """A desired state with what the rules say of it now. Other tasks go on meanwhile."""
        checked = await to_thread.run_sync(check_rules, state, self._around.clock(), self._around.settings)
        return in_force(state, checked, self._around.settings.watch)

    # Turns

    def _mark(self, names: Iterable[str], now: dt.datetime) -> None:
        """Have some appliances looked at as soon as may be; those that take their turn now, once more after it."""
        self._due.update(dict.fromkeys(names, now))
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
        # Where somebody has set the clock no instant means what it did.
        set_back = self.board.alive_at - now > LONGEST_SLEEP
        self.board.alive_at = now
        if force is None:
            return
        if now >= self._resync or set_back:
            self._resync = resync_at(now, self._around.settings.watch.resync, self._around.chance)
            # What fails is tried again in its own time.
            resting = force.state.appliances.keys() - self.busy
            self._mark((name for name in resting if set_back or not self._ledger[name].failures), now)
        due = {name: at for name, at in self._due.items() if at <= now}
        groups = [each for each in self._free(force) if not each.isdisjoint(due)]
        if not groups:
            return
        # What the rules said may serve for a moment, unless something is due since then.
        if max(due.values()) > force.checked.at or now - force.checked.at > LONGEST_SLEEP:
            fresh = await self._checked_anew(force, due)
            if fresh is None or self._force is not force or self._stop.why:
                return  # where another one has come meanwhile, the next round is about that
            self._force = force = fresh
            self._ledger.warn(fresh.warnings)
        for group in groups:
            self.busy |= group
            for name in group:
                self._due.pop(name, None)
            turns.start_soon(self._turn, force, group)

    async def _checked_anew(self, force: InForce, due: Mapping[str, dt.datetime]) -> InForce | None:
        """What is in force, with what rules say of it now; None where they cannot, and those due wait for a while."""
        try:
            return await self._checked(force.state)
        except Exception:  # noqa: BLE001 - whatever is wrong with them, the loop has to go on
            self._ledger.unexpected("while the rules were checked")
            later = self._around.clock() + LONGEST_SLEEP
            self._due.update({name: later for name, at in due.items() if self._due.get(name) == at})
            return None

    async def _turn(self, force: InForce, group: frozenset[str]) -> None:
        """Have a group take its turn. Whatever goes wrong with it stays with it."""
        around, ledger, began = self._around, self._ledger, anyio.current_time()
        turn = Turn(
            force=force,
            group=group,
            ledger=ledger,
            settings=around.settings,
            clock=around.clock,
            journals=around.journals,
            stop=self._stop,
            overtaken=lambda: not (group <= self._declared and group.isdisjoint(self._due)),
            ends_journal=lambda: not self._interrupted.isdisjoint(group),
        )
        seen: Mapping[str, Seen] = {}
        try:
            # Those that failed last may hang until somebody's patience ends: they wait for each other only.
            async with self._troubled if ledger.failing(group) else self._steady:
                seen = await turn.take()
            self._conclude(force, group, seen)
        except Exception as error:  # noqa: BLE001 - one group's turn must not end the loop, whatever is wrong with it
            ledger.unexpected(f"in a turn of {', '.join(sorted(group))}")
            seen = turn.broken(error)
            self._conclude_broken(force, group, seen)
        finally:
            self.busy -= group
        if seen:
            ledger.turned(anyio.current_time() - began, seen)
        # Nobody has looked at those again, or they are not declared any more.
        ledger.applied({name: each for name, each in turn.applied.items() if not seen or name not in self._declared})
        if self.busy:
            ledger.keep_sometimes()
        else:
            ledger.keep()
        self._woken.set()

    @property
    def _declared(self) -> AbstractSet[str]:
        """The appliances that are declared now; not those whose own file is broken."""
        return self._force.state.appliances.keys() if self._force else frozenset()

    def _conclude(self, force: InForce, group: frozenset[str], seen: Mapping[str, Seen]) -> None:
        """Enter what was seen, and see when each is looked at next.

        Args:
            force: The desired state by which the turn was taken.
            group: Who took it.
            seen: What was seen; empty where the turn was ended or overtaken: they take another one at once.
        """
        ledger, now = self._ledger, self._around.clock()
        for name in sorted(group & self._declared):
            at: dt.datetime | None = now
            if seen:
                record = ledger.judge(name, seen[name])
                at = next_instant(force.checked.at, instants(seen[name]))
                if record.failures:
                    at = retry_at(now, record.failures, self._around.chance)
            # It may be due already, for what has come meanwhile.
            sooner = [each for each in (at, self._due.get(name)) if each]
            if sooner:
                self._due[name] = min(sooner)
            # The resync passes over those that fail.
            ledger.look_next(name, min(sooner if ledger[name].failures else (*sooner, self._resync)))
        if seen and not any(each.failure or each.has_work for each in seen.values()):
            self._interrupted -= group

    def _conclude_broken(self, force: InForce, group: frozenset[str], seen: Mapping[str, Seen]) -> None:
        """Enter that a turn went wrong. If even that cannot be done its appliances are looked at in a minute."""
        try:
            self._conclude(force, group, seen)
        except Exception:  # noqa: BLE001 - the loop has to go on
            self._ledger.unexpected(f"while it was entered that a turn of {', '.join(sorted(group))} went wrong")
            self._due.update(dict.fromkeys(group & self._declared, self._around.clock() + LONGEST_SLEEP))


def _interrupted(journals: Path, state: DesiredState) -> frozenset[str]:
    """The appliances to which an apply of a desired state was interrupted, and nothing was applied since."""
    found = interrupted(read_history(journals), state.root)
    return frozenset(name for each in found for name in each.touched) & state.appliances.keys()
