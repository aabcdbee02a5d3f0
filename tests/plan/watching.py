"""Somebody who stands beside an apply and looks at every store after every call of a driver.

It judges by itself, and neither by the planner nor by the run-time check: a name is harmed when it loses its last good
certificate, or may be served one that is not good and could not be before; and a key that was needed is not to be lost.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio

from reconciler.apply.executor import Executor
from reconciler.apply.safety import Guard
from reconciler.apply.uploads import Uploads
from reconciler.plan.model import Expectation
from reconciler.plan.planner import Fleet, make_plan
from reconciler.rules import Stopped
from tests.apply.stage import PASSPHRASE
from tests.plan.test_properties import field as in_the_field
from tests.plan.test_properties import is_good, served
from tests.support.authority import NOW
from tests.support.memory import MemoryStore, open_memory

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from reconciler.apply.result import ApplianceResult
    from reconciler.base.clock import Clock
    from reconciler.desired.state import DesiredState
    from reconciler.live.driver import Driver
    from reconciler.live.store import LiveStore
    from reconciler.plan.model import AppliancePlan, Plan
    from tests.support.on_disk import OnDisk

    Appliance: TypeAlias = MemoryStore | OnDisk


@dataclass
class Watch:
    """Looks at every store after every call of a driver.

    Attributes:
        state: The desired state.
        stores: The appliances.
        clock: The time.
        harmed: What happened to protected names that should not have.
        lost: Which keys are nowhere any more that were needed.
        undone: What another administrator had chosen, and it did not stay.
        looks: How often it has looked at a store.
    """

    state: DesiredState
    stores: Mapping[str, Appliance]
    clock: Clock = lambda: NOW
    harmed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    looks: int = 0
    _last: dict[str, LiveStore] = field(default_factory=dict)
    _chosen: dict[str, str | None] = field(default_factory=dict)
    _keys: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Take the stores as they are: what was done to them was done by somebody else."""
        there = {name: each.live for name, each in self.stores.items()}
        chosen = {
            name: each.default for name, each in there.items() if each.default != self._last.get(name, each).default
        }
        self._chosen |= chosen
        self._last = there
        self._keys = self._needed()

    def look(self) -> None:
        """Compare every store with how it was before."""
        for name, store in self.stores.items():
            self.looks += 1
            now = store.live
            if now != self._last[name]:
                self.harmed += harm(self.state, name, self._last[name], now, self.clock())
                if now.default != self._chosen.get(name, now.default):
                    self.undone.append(f"{name}: somebody else has chosen another default")
                self._last[name] = now
        held = {key for each in self.stores.values() for key in each.keys}
        self.lost += sorted(self._keys - held)
        self._keys &= held

    def _needed(self) -> frozenset[str]:
        """Keys that are nowhere else: of pending requests, and of committed answers."""
        asked = {each.public_key for store in self.stores.values() for each in store.live.requests}
        leaves = {each.leaf.public_key for each in self.state.material.values() if each.leaf}
        held = {key for each in self.stores.values() for key in each.keys}
        return frozenset((asked | leaves) & held)


def harm(state: DesiredState, name: str, before: LiveStore, after: LiveStore, now: dt.datetime) -> list[str]:
    """What a change did to the protected names of an appliance."""
    seen = []
    every = in_the_field(state, name, now)
    groups = [every, *([each] for each in every if len(every) > 1)]
    asked = [(each, each) for each in state.protected_names(name)] + [(None, state.hostname_without_sni(name))]
    for (sent, wanted), clients in product(asked, groups):
        then, later = served(before, sent), served(after, sent)
        good = {each.fingerprint for each in then if is_good(clients, before, each, wanted, now)}
        bad = {each.fingerprint for each in later if not is_good(clients, after, each, wanted, now)}
        if not good:
            continue
        if len(bad) == len(later):
            seen.append(f"{name}: {sent or 'no name'} has lost its last good certificate")
        elif bad - {each.fingerprint for each in then} or bad & good or (bad and good - {e.fingerprint for e in later}):
            seen.append(f"{name}: {sent or 'no name'} may be served a certificate that is not good")
    return seen


@dataclass(frozen=True)
class _Watched:
    """A driver that is looked at after every call."""

    driver: Driver
    watch: Watch

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - it is whatever the driver has
        called = getattr(self.driver, name)

        async def call(*arguments: object) -> object:
            try:
                return await called(*arguments)
            finally:
                self.watch.look()

        return call


def _open(store: Appliance) -> AbstractAsyncContextManager[Driver]:
    return open_memory(store) if isinstance(store, MemoryStore) else store.opened()


def plan(state: DesiredState, stores: Mapping[str, Appliance], now: dt.datetime = NOW) -> Plan:
    """Plan."""
    return plan_for(state, {name: each.live for name, each in stores.items()}, now)


def plan_for(state: DesiredState, observed: Mapping[str, LiveStore], now: dt.datetime) -> Plan:
    """Plan by what a driver has observed."""
    return make_plan(Fleet(state, observed, {}, (), Stopped()), now).plan


def _careless(made: Plan) -> Plan:
    """The same plan, whose actions expect nothing of the store."""

    def forget(part: AppliancePlan) -> AppliancePlan:
        actions = tuple(each.model_copy(update={"expects": Expectation()}) for each in part.actions)
        return part.model_copy(update={"actions": actions})

    return made.model_copy(update={"appliances": tuple(map(forget, made.appliances))})


def carry_out(
    made: Plan,
    watch: Watch,
    *,
    guarded: bool = True,
    expecting: bool = True,
    begun: Callable[[anyio.CancelScope], object] = lambda _: None,
    hosting: AbstractAsyncContextManager[object] = nullcontext(),  # noqa: B008 - it has no state
) -> dict[str, ApplianceResult]:
    """Carry a plan out while somebody watches.

    Args:
        made: The plan.
        watch: Who watches.
        guarded: Whether the run-time check is there.
        expecting: Whether actions have their preconditions.
        begun: Told of the scope in which it is carried out, which may be cancelled like a process that is killed.
        hosting: Where the appliances can be reached; it outlives who is killed.

    Returns:
        Results by appliance; none where it was cancelled.
    """
    state = watch.state

    @asynccontextmanager
    async def opening(appliance: str) -> AsyncIterator[Driver]:
        async with _open(watch.stores[appliance]) as driver:
            yield _Watched(driver, watch)

    guards = {name: Guard(state.protected_names(name), state.clients(name)) for name in state.appliances}
    uploads = Uploads(state, {"PASSPHRASE": PASSPHRASE}, Path("desired-state"))
    executor = Executor(
        made if expecting else _careless(made), opening, uploads, guards=guards if guarded else {}, clock=watch.clock
    )

    async def run() -> tuple[ApplianceResult, ...]:
        async with hosting:
            with anyio.fail_after(60), anyio.CancelScope() as scope:
                begun(scope)
                return await executor.run()
        return ()

    return {each.appliance: each for each in anyio.run(run)}
