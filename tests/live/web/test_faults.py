"""The fault matrix: each kind of fault at each distinct request of each kind of action, on a real interface of the lab.

Whatever goes wrong, the run ends with a clear result, running again converges, nothing is created twice, and nothing is
lost that the action does not take away.
"""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.base.errors import StoreError
from reconciler.lab.appliance import LabAppliance
from reconciler.lab.faults import Fault, FaultKind
from reconciler.lab.release import COMPLETE, variants
from reconciler.lab.server import serve
from tests.apply.stage import PASSPHRASE
from tests.live.contract import form
from tests.live.web.conftest import ACCOUNT
from tests.live.web.rehearsal import (
    DRIVERS,
    HOST,
    LIMITS,
    Rehearsal,
    Stand,
    Told,
    fingerprint_of,
    rehearsals,
    requested,
)
from tests.plan.scenes import BOTH
from tests.support.authority import DAY, NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from reconciler.engine.run import Planned
    from reconciler.lab.faults import Act
    from reconciler.live.store import LiveStore

pytestmark = pytest.mark.anyio
_LATE = LIMITS.patience + 0.05
_WHILE = 0.05


def _acts(rehearsal: Rehearsal) -> dict[str, Act]:
    """What somebody else may do meanwhile."""

    async def sets_another_default(appliance: LabAppliance) -> None:
        store = appliance.store
        await appliance.call(store.set_default, fingerprint_of(store.observe(), "Kept"))

    async def takes_it_away(appliance: LabAppliance) -> None:
        store = appliance.store.observe()
        with suppress(StoreError):
            for each in requested(store, rehearsal.about):
                await appliance.call(appliance.store.remove_request, each)
            fingerprint = fingerprint_of(store, rehearsal.about)
            if fingerprint:
                await appliance.call(appliance.store.remove, fingerprint)

    async def makes_one_like_it(appliance: LabAppliance) -> None:
        wanted = form(rehearsal.about, *BOTH)
        if "request" in rehearsal.name:
            await appliance.call(appliance.store.create_request, wanted)
        else:
            await appliance.call(appliance.store.create_self_signed, wanted, 300 * DAY)

    return {each.__name__: each for each in (sets_another_default, takes_it_away, makes_one_like_it)}


def faults_for(rehearsal: Rehearsal) -> dict[str, Fault]:
    """All faults, by name."""
    seconds = {FaultKind.LATENCY: _LATE, FaultKind.REFUSED: _WHILE}
    found = {kind.value: Fault(kind, seconds.get(kind, 0.0)) for kind in FaultKind}
    return found | {name: Fault(FaultKind.CONCURRENT, act=act) for name, act in _acts(rehearsal).items()}


FAULTS = tuple(faults_for(rehearsals()["export"]))


@dataclass(frozen=True)
class Course:
    """How an action goes when nothing disturbs it.

    Attributes:
        prepared: A store that is prepared for it.
        planned: The plan.
        requests: What is asked of the interface while it is carried out.
        effect: Number of the request that has the effect, from 1; 0 where there is none.
    """

    prepared: Path
    planned: Planned
    requests: tuple[str, ...]
    effect: int

    @property
    def distinct(self) -> tuple[int, ...]:
        """The first of all like requests before the effect, the effect, the first of all like ones after it."""
        first: dict[tuple[str, int], int] = {}
        for number, request in enumerate(self.requests, 1):
            when = (number > self.effect) - (number < self.effect)
            first.setdefault((request.partition("?")[0], when), number)
        return tuple(sorted(first.values()))


@dataclass
class Courses:
    """The courses of all actions, each found once."""

    folder: Path
    _known: dict[tuple[str, str], Course] = field(default_factory=dict)

    async def of(self, rehearsal: Rehearsal, variant: str) -> Course:
        known = self._known.get((rehearsal.name, variant))
        if known is None:
            known = self._known[rehearsal.name, variant] = await self._find(rehearsal, variant)
        return known

    async def _find(self, rehearsal: Rehearsal, variant: str) -> Course:
        prepared = self.folder / f"{rehearsal.name}-{variant}"
        fresh = LabAppliance("east", prepared, clock=lambda: NOW)
        fresh.make_store()
        rehearsal.prepare(fresh.store)
        digests: list[str] = []

        async def note(appliance: LabAppliance) -> None:
            digests.append(appliance.store.observe().digest)

        async with standing(prepared, self.folder / f"{rehearsal.name}-{variant}-course", variant) as stand:
            planned = await rehearsal.plan(stand)
            begin = len(stand.appliance.requests)
            stand.appliance.faults.switch(Fault(FaultKind.CONCURRENT, act=note))
            assert await rehearsal.run(stand, planned) == Told(done=True)
            assert await rehearsal.is_settled(stand)
            effect = next((number for number, each in enumerate(digests) if each != digests[0]), 0)
            return Course(prepared, planned, tuple(stand.appliance.requests[begin:]), effect)


@asynccontextmanager
async def standing(prepared: Path, folder: Path, variant: str) -> AsyncIterator[Stand]:
    """An appliance on a copy of a store, being served, trusted as it is."""
    shutil.copytree(prepared, folder / "east", symlinks=True)
    appliance = LabAppliance("east", folder / "east", account=ACCOUNT, variant=variant, clock=lambda: NOW)
    async with serve(appliance):
        yield Stand(appliance, folder, [presented(appliance)])


def presented(appliance: LabAppliance) -> str:
    """Fingerprint of what an appliance's interface presents now."""
    certificate = appliance.selection.select(HOST)
    assert certificate
    return certificate.fingerprint


@pytest.fixture(scope="session")
def courses(tmp_path_factory: pytest.TempPathFactory) -> Courses:
    return Courses(tmp_path_factory.mktemp("courses"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.engine.stores.driver_types", lambda: DRIVERS)
    monkeypatch.setenv("PASSPHRASE", PASSPHRASE)


Inventory = frozenset[tuple[str, str]]


def inventory(store: LiveStore) -> Inventory:
    """Everything that could be lost."""
    held = {("certificate", each.fingerprint) for each in store.certificates}
    held |= {("key", each.fingerprint) for each in store.certificates if each.has_key}
    return frozenset(held | {("request", each.fingerprint) for each in store.requests})


@dataclass
class Trial:
    """One fault at one request."""

    rehearsal: Rehearsal
    course: Course
    fault: Fault
    number: int
    stand: Stand
    may_go: set[tuple[str, str]] = field(default_factory=set)
    others: int = 0

    async def run(self) -> bool:
        """The trial; whether the first run did what was to be done."""
        store, faults = self.stand.appliance.store, self.stand.appliance.faults
        self.held = inventory(store.observe())
        if self.rehearsal.takes:
            self._may_go(store.observe())
        faults.clear()
        faults.at(self.number, self._watched())
        told = await self.rehearsal.run(self.stand, self.course.planned)
        faults.clear()
        if self.fault.kind in {FaultKind.LATENCY, FaultKind.REFUSED}:
            await anyio.sleep(self.fault.seconds)  # it has its effect late, or is to be reached again
        self._holds(told)
        as_before = self.number < self.course.effect or presented(self.stand.appliance) in self.stand.trusted
        if told.done and as_before and await self.rehearsal.is_settled(self.stand):
            return True  # the second run would look, and find nothing to do
        await self._run_again(told)
        return told.done

    async def _run_again(self, told: Told) -> None:
        """The second run, which does what is left to do."""
        again = await self.rehearsal.run(self.stand)
        if not again.done and self._is_untrusted(again):
            others = self.fault.kind is FaultKind.CONCURRENT
            assert not told.done or others, "what was made under our eyes is remembered"
            self.stand.trusted.append(presented(self.stand.appliance))
            again = await self.rehearsal.run(self.stand)
        assert again.done or self.fault.kind is FaultKind.CONCURRENT, again
        self._holds(again)
        if not again.done:
            assert (await self.rehearsal.run(self.stand)).done
        assert await self.rehearsal.is_settled(self.stand)

    def _watched(self) -> Fault:
        """The fault; what somebody else takes away in it is not lost."""
        act = self.fault.act
        if act is None:
            return self.fault

        async def watched(appliance: LabAppliance) -> None:
            before = inventory(appliance.store.observe())
            await act(appliance)
            after = inventory(appliance.store.observe())
            self.may_go |= before - after
            self.others += act.__name__ == "makes_one_like_it"

        return Fault(self.fault.kind, self.fault.seconds, watched)

    def _may_go(self, store: LiveStore) -> None:
        about = fingerprint_of(store, self.rehearsal.about)
        self.may_go |= {("certificate", about), ("key", about)}
        self.may_go |= {("request", each) for each in requested(store, self.rehearsal.about)}

    def _holds(self, told: Told) -> None:
        """What must hold after every run."""
        assert told.done or told.problems, "what has not been done is explained"
        assert all(message and remedy for message, remedy in told.problems), told
        store = self.stand.appliance.store.observe()
        assert self.held - inventory(store) <= self.may_go, "nothing is lost"
        default = store.by_fingerprint.get(store.default or "")
        assert default is not None
        assert default.has_key
        made = [each for each in store.certificates if each.common_name == self.rehearsal.about and each.has_key]
        assert len(made) <= 1 + self.others, "nothing is created twice"
        assert len(requested(store, self.rehearsal.about)) <= 1 + self.others, "nothing is created twice"

    def _is_untrusted(self, told: Told) -> bool:
        """Whether it is said that the interface presents what nobody has seen come into being, and what to do then."""
        now = presented(self.stand.appliance)
        ((message, remedy),) = told.problems
        if "not trusted" not in message:
            return False
        assert f"SHA-256 {now}" in message
        assert f'trust: {{sha256: ["{now}"]}}' in remedy
        assert now not in self.stand.trusted
        assert self.rehearsal.name == "create_self_signed" or self.fault.kind is FaultKind.CONCURRENT
        return True


async def each_at(
    courses: Courses,
    folder: Path,
    case: tuple[str, str, str],
    numbers: Callable[[Course], tuple[int, ...]],
) -> dict[int, bool]:
    """Try a fault at some requests of an action; for each whether the first run did what was to be done."""
    name, fault, variant = case
    rehearsal = rehearsals()[name]
    course = await courses.of(rehearsal, variant)
    done = {}
    for number in numbers(course):
        async with standing(course.prepared, folder / str(number), variant) as stand:
            trial = Trial(rehearsal, course, faults_for(rehearsal)[fault], number, stand)
            try:
                done[number] = await trial.run()
            except Exception as error:
                error.add_note(f"{fault} at request {number}, {course.requests[number - 1]}; effect {course.effect}")
                raise
    return done


@pytest.mark.prove
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", rehearsals())
async def test_each_fault_at_each_distinct_request(
    courses: Courses, tmp_path: Path, name: str, fault: str, record_property: Callable[[str, object], None]
) -> None:
    # What else somebody may do meanwhile is tried at every second one.
    step = 1 if fault in set(FaultKind) else 2
    done = await each_at(courses, tmp_path, (name, fault, COMPLETE), lambda course: course.distinct[::step])
    record_property("cases", len(done))


_BY_HAND = {("other", "remove_request")}
"""What a release does not offer."""


@pytest.mark.prove
@pytest.mark.parametrize(
    ("variant", "name"),
    [
        (variant, name)
        for variant in variants()
        for name in rehearsals()
        if variant != COMPLETE and (variant, name) not in _BY_HAND
    ],
)
async def test_faults_in_other_releases(
    courses: Courses, tmp_path: Path, variant: str, name: str, record_property: Callable[[str, object], None]
) -> None:
    """Each fault once: every second one where the effect is, the others at requests that differ."""
    cases = 0
    for index, fault in enumerate(FAULTS):

        def some(course: Course, index: int = index) -> tuple[int, ...]:
            return ((course.effect or 1) if index % 2 else course.distinct[index * 7 % len(course.distinct)],)

        cases += len(await each_at(courses, tmp_path / fault, (name, fault, variant), some))
    record_property("cases", cases)


_AT_THE_EFFECT = (FaultKind.RESET_AFTER, FaultKind.SESSION_EXPIRED_AFTER, FaultKind.GARBLED)


@pytest.mark.parametrize("name", rehearsals())
async def test_faults_where_the_effect_is(courses: Courses, tmp_path: Path, name: str) -> None:
    for fault in _AT_THE_EFFECT:
        done = await each_at(courses, tmp_path / fault, (name, fault, COMPLETE), lambda course: (course.effect or 1,))
        assert len(done) == 1
