"""What the loop knows, in one place: shown on the board, told as events, counted, and kept on the disk.

The loop decides what is looked at and when; whatever comes of that is entered here.
"""

from __future__ import annotations

import logging
from collections import Counter
from math import inf
from typing import TYPE_CHECKING

import anyio

from reconciler.apply.result import Outcome
from reconciler.base.errors import ReconcilerError
from reconciler.watch.board import Board
from reconciler.watch.changes import events, not_declared, source_events
from reconciler.watch.judgement import judge, last_apply
from reconciler.watch.model import Removal, Source, Watched, WatchedAppliance, shown
from reconciler.watch.seen import recent

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    from reconciler.base.clock import Clock
    from reconciler.engine.run import Observation
    from reconciler.watch.force import InForce
    from reconciler.watch.memory import Memory
    from reconciler.watch.model import Event, Teller
    from reconciler.watch.reading import Reading
    from reconciler.watch.seen import Applied, Seen

_log = logging.getLogger(__name__)

BUCKETS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, inf)
"""Upper bounds, in seconds, by which the durations of turns are counted."""
_KEPT_EVERY = 10
"""While turns are being taken, what is known is written down about this often, in seconds; and whenever all rest."""


class Ledger:
    """The records of the appliances and of the source. What is remembered from before counts if it is of this source.

    What was removed from a store counts whatever the source, and whatever the appliance is called.

    Attributes:
        board: Where all of it is shown.
    """

    def __init__(self, place: str, clock: Clock, memory: Memory, tell: Teller) -> None:
        self._clock, self._memory, self._teller = clock, memory, tell
        remembered = memory.recall()
        known = remembered if remembered and remembered.source.place == place else None
        source = known.source if known else Source(place=place)
        self._records = {each.name: each for each in known.appliances} if known else {}
        now, appliances = clock(), tuple(self._records.values())
        self._removals = {(each.store, each.fingerprint): each for each in remembered.removals} if remembered else {}
        self._watched = Watched(
            started_at=now,
            at=now,
            source=source,
            appliances=appliances,
            last_good=known.last_good or source.revision if known else None,
            removals=tuple(self._removals.values()),
        )
        self.board = Board(shown(self._watched))
        # Those that somebody has looked at since the loop was started.
        self._looked_at: set[str] = set()
        # Those that are declared; None where nothing is in force.
        self._declared: frozenset[str] | None = None
        self._kept_at = -inf
        self._not_kept = ""

    def __getitem__(self, name: str) -> WatchedAppliance:
        return self._records[name]

    @property
    def source(self) -> Source:
        """What is known of the source."""
        return self._watched.source

    @property
    def last_good(self) -> str | None:
        """The commit that was in force last, also before the loop was started."""
        return self._watched.last_good

    def failing(self, names: Iterable[str]) -> bool:
        """Whether one of some appliances failed last."""
        return any(self._records[name].failures for name in names if name in self._records)

    # What comes of what the loop does

    def read(self, reading: Reading) -> None:
        """Enter what the source offered, which is in force from now on, or why it is not."""
        now, before, state = self._clock(), self.source, reading.state
        if state is None:
            same = (before.trouble, before.refused) == (reading.trouble, reading.refused)
            changed = {
                "refused": reading.refused,
                "trouble": reading.trouble,
                "problem": reading.message,
                "problem_since": before.problem_since if same else now,
            }
            source = before.model_copy(update=changed)
        else:
            moved = (state.revision, state.digest) != (before.revision, before.digest)
            source = Source(
                place=before.place,
                revision=state.revision,
                digest=state.digest,
                since=now if moved else before.since,
                signed_by=reading.signed_by,
                left=reading.left if moved else before.left,
            )
        self.show(source=source, last_good=source.revision or self.last_good)
        self._tell(source_events(before, source, now))

    def enforce(self, force: InForce) -> None:
        """Have a record of each appliance that is declared now, those whose own file is broken included."""
        now, records = self._clock(), {}
        for name in sorted(force.names):
            record = self._records.get(name) or WatchedAppliance(name=name, mode=force.watch.mode)
            site = force.site_of(name) or record.site
            records[name] = record.model_copy(update={"site": site, "mode": force.watch.mode_of(name, site)})
        gone = (record for name, record in self._records.items() if name not in records)
        self._tell(not_declared(record, now) for record in gone)
        self._records = records
        declared = force.state.appliances.keys()
        self._looked_at &= declared
        for name in sorted(force.names - declared):
            self.judge(name, force.undeclared(name, now, records[name].mode))
            self.look_next(name, None)
        self._declared = frozenset(declared)
        self.warn(force.warnings)

    def warn(self, warnings: tuple[str, ...]) -> None:
        """Enter what is odd about the operator settings, and say what was not so before."""
        for each in warnings:
            if each not in self._watched.warnings:
                _log.warning("%s", each)
        self.show(warnings=warnings)

    def out_of_force(self) -> None:
        """Enter that nothing is in force any more, or not yet, so that nobody looks at the appliances.

        Records stay as they are: what has become of them meanwhile is told when somebody looks again.
        """
        self._declared, self._looked_at = None, set()
        nothing = {"revision": None, "digest": "", "since": None, "signed_by": (), "left": None}
        self.show(source=self.source.model_copy(update=nothing))

    def judge(self, name: str, seen: Seen) -> WatchedAppliance:
        """Enter what was seen of an appliance, and tell what has changed."""
        before = self._records[name]
        after = self._records[name] = judge(before, seen)
        self._looked_at.add(name)
        self._tell(events(before, after, seen.at))
        return after

    def applied(self, applied: Mapping[str, Applied]) -> None:
        """Enter what was applied in a turn that was ended before anybody could look again."""
        now = self._clock()
        for name, each in applied.items():
            before = self._records.get(name)
            if before:
                self._records[name] = before.model_copy(update={"last_apply": last_apply(before, each, now)})
                self._tell(events(before, self._records[name], now))
        self.show()

    def look_next(self, name: str, at: dt.datetime | None) -> None:
        """Enter when an appliance is looked at next."""
        self._records[name] = self._records[name].model_copy(update={"next_look": at})

    def removals(self, store: str) -> tuple[Removal, ...]:
        """What the loop set out to take from a store with its key."""
        return tuple(each for each in self._removals.values() if each.store == store)

    def removing(self, store: str, fingerprint: str) -> None:
        """Count a removal before it happens, first on the disk: who is killed then has counted it all the same.

        One that is tried again is counted once.

        Raises:
            ReconcilerError: It cannot be written down, so that it should not happen.
        """
        now = self._clock()
        counted = {key: each for key, each in self._removals.items() if recent((each.at,), now)}
        counted[store, fingerprint] = Removal(store=store, fingerprint=fingerprint, at=now)
        removals = tuple(counted.values())
        self._memory.keep(self._watched.model_copy(update={"removals": removals}))
        self._removals = counted
        self.show(removals=removals)

    # What it counts

    def looked(self, observation: Observation) -> None:
        """Count a look at some appliances."""
        told = Counter({"observed": len(observation.stores), "unreachable": len(observation.failures)})
        self.count(looks=dict(Counter(self.board.figures.looks) + told))

    def turned(self, seconds: float, seen: Mapping[str, Seen]) -> None:
        """Count a turn: how long it took, and what was seen."""
        figures, results = self.board.figures, [each.applied.result for each in seen.values() if each.applied]
        changed = Counter(each.outcome.value for each in results if each.outcome is not Outcome.UNCHANGED)
        well = not any(each.failed for each in seen.values())
        self.count(
            turns=figures.turns + 1,
            applies=dict(Counter(figures.applies) + changed),
            durations={bound: figures.durations.get(bound, 0) + (seconds <= bound) for bound in BUCKETS},
            total_seconds=figures.total_seconds + seconds,
            last_success=self._clock() if well else figures.last_success,
        )

    def unexpected(self, when: str) -> None:
        """Note an error that is being handled and should not have happened."""
        _log.exception("unexpected error %s", when)
        self.count(errors=self.board.figures.errors + 1)

    # What it shows, tells and keeps

    def show(self, **changed: object) -> None:
        """Put up what is known now."""
        declared = self._declared
        self.board.ready = declared is not None and declared <= self._looked_at
        known = {"at": self._clock(), "appliances": tuple(self._records.values()), **changed}
        self._watched = self._watched.model_copy(update=known)
        self.board.show(shown(self._watched))

    def count(self, **counted: object) -> None:
        """Put up what is known now, and figures that have changed."""
        self.board.count(**counted)
        self.show()

    def _tell(self, told: Iterable[Event]) -> None:
        for each in told:
            try:
                self._teller(each)
            except Exception:  # noqa: BLE001 - what cannot be told must not keep anything from being done
                self.unexpected("while something was told")

    def keep_sometimes(self) -> None:
        """Write down what is known, unless that was done a moment ago."""
        if anyio.current_time() - self._kept_at >= _KEPT_EVERY:
            self.keep()

    def keep(self) -> None:
        """Write down what is known. Where that cannot be done the loop goes on, and says so once."""
        self._kept_at = anyio.current_time()
        try:
            self._memory.keep(self._watched)
        except ReconcilerError as error:
            if str(error) != self._not_kept:
                _log.warning("what the loop knows is not kept: %s", error)
            self._not_kept = str(error)
        else:
            self._not_kept = ""
