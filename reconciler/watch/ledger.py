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
from reconciler.watch.changes import events, source_events
from reconciler.watch.judgement import judge
from reconciler.watch.model import Source, Watched, WatchedAppliance
from reconciler.watch.seen import recent

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    from reconciler.base.clock import Clock
    from reconciler.engine.run import Observation
    from reconciler.engine.unattended import Unattended
    from reconciler.watch.memory import Memory
    from reconciler.watch.model import Event, Teller
    from reconciler.watch.reading import Reading
    from reconciler.watch.seen import Seen
    from reconciler.watch.turn import InForce

_log = logging.getLogger(__name__)

BUCKETS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, inf)
"""Upper bounds, in seconds, by which the durations of turns are counted."""
_KEPT_EVERY = 10
"""While turns are being taken, what is known is written down about this often, in seconds; and whenever all rest."""


class Ledger:
    """The records of the appliances and of the source. What is remembered from before counts if it is of this source.

    Attributes:
        board: Where all of it is shown.
        unseen: The appliances that nobody has looked at since the loop was started.
    """

    def __init__(self, place: str, clock: Clock, memory: Memory, tell: Teller) -> None:
        self._clock, self._memory, self._teller = clock, memory, tell
        known = memory.recall()
        known = known if known and known.source.place == place else None
        source = known.source if known else Source(place=place)
        self._records = {each.name: each for each in known.appliances} if known else {}
        now, appliances = clock(), tuple(self._records.values())
        self.board = Board(Watched(started_at=now, at=now, source=source, appliances=appliances))
        self.unseen: set[str] = set()
        self._kept_at = -inf
        self._not_kept = ""

    def __getitem__(self, name: str) -> WatchedAppliance:
        return self._records[name]

    @property
    def source(self) -> Source:
        """What is known of the source."""
        return self.board.watched.source

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
            )
        self.show(source)
        self._tell(source_events(before, source, now))

    def enforce(self, force: InForce, unattended: Unattended) -> None:
        """Have a record of each appliance that is declared now, those whose own file is broken included."""
        records = {}
        for name in sorted(force.names):
            record = self._records.get(name) or WatchedAppliance(name=name, mode=unattended.mode)
            site = force.site_of(name) or record.site
            records[name] = record.model_copy(update={"site": site, "mode": unattended.mode_of(name, site)})
        self._records = records
        self.unseen &= force.state.appliances.keys()
        for name in sorted(force.names - force.state.appliances.keys()):
            self.judge(name, force.undeclared(name, self._clock(), records[name].mode))
            self.look_next(name, None)
        self.board.ready = not self.unseen
        self.show()

    def judge(self, name: str, seen: Seen) -> WatchedAppliance:
        """Enter what was seen of an appliance, and tell what has changed."""
        before = self._records[name]
        after = self._records[name] = judge(before, seen)
        self.unseen.discard(name)
        self.board.ready = not self.unseen
        self._tell(events(before, after, seen.at))
        return after

    def stumbled(self, name: str) -> WatchedAppliance:
        """Enter that a turn of an appliance went wrong in a way that nobody expected."""
        record = self._records[name]
        self._records[name] = record.model_copy(update={"failures": record.failures + 1})
        return self._records[name]

    def look_next(self, name: str, at: dt.datetime | None) -> None:
        """Enter when an appliance is looked at next."""
        self._records[name] = self._records[name].model_copy(update={"next_look": at})

    def removals(self, name: str) -> tuple[dt.datetime, ...]:
        """When certificates with a key were removed from an appliance of late."""
        return self._records[name].removals if name in self._records else ()

    def removing(self, name: str) -> None:
        """Count a removal before it happens, first on the disk: who is killed then has counted it all the same.

        Raises:
            ReconcilerError: It cannot be written down, so that it should not happen.
        """
        record = self._records.get(name)
        if record:
            now = self._clock()
            counted = record.model_copy(update={"removals": (*recent(record.removals, now), now)})
            records = self._records | {name: counted}
            self._memory.keep(self.board.watched.model_copy(update={"appliances": tuple(records.values())}))
            self._records[name] = counted
            self.show()

    # What it counts

    def looked(self, observation: Observation) -> None:
        """Count a look at some appliances."""
        told = Counter({"observed": len(observation.stores), "unreachable": len(observation.failures)})
        self.show(looks=dict(Counter(self.board.figures.looks) + told))

    def turned(self, seconds: float, seen: Mapping[str, Seen] | None) -> None:
        """Count a turn: how long it took, and what was seen; None where it went wrong unexpectedly."""
        figures, results = self.board.figures, [each.applied.result for each in (seen or {}).values() if each.applied]
        changed = Counter(each.outcome.value for each in results if each.outcome is not Outcome.UNCHANGED)
        well = seen is not None and not any(each.failed for each in seen.values())
        self.show(
            turns=figures.turns + 1,
            applies=dict(Counter(figures.applies) + changed),
            durations={bound: figures.durations.get(bound, 0) + (seconds <= bound) for bound in BUCKETS},
            total_seconds=figures.total_seconds + seconds,
            last_success=self._clock() if well else figures.last_success,
        )

    def unexpected(self, when: str) -> None:
        """Note an error that is being handled and should not have happened."""
        _log.exception("unexpected error %s", when)
        self.show(errors=self.board.figures.errors + 1)

    # What it shows, tells and keeps

    def show(self, source: Source | None = None, **counted: object) -> None:
        """Put up what is known now."""
        now, appliances = self._clock(), tuple(self._records.values())
        changed = {"at": now, "source": source or self.source, "appliances": appliances}
        self.board.show(self.board.watched.model_copy(update=changed), **counted)

    def _tell(self, told: Iterable[Event]) -> None:
        for each in told:
            self._teller(each)

    def keep_sometimes(self) -> None:
        """Write down what is known, unless that was done a moment ago."""
        if anyio.current_time() - self._kept_at >= _KEPT_EVERY:
            self.keep()

    def keep(self) -> None:
        """Write down what is known. Where that cannot be done the loop goes on, and says so once."""
        self._kept_at = anyio.current_time()
        try:
            self._memory.keep(self.board.watched)
        except ReconcilerError as error:
            if str(error) != self._not_kept:
                _log.warning("what the loop knows is not kept: %s", error)
            self._not_kept = str(error)
        else:
            self._not_kept = ""
