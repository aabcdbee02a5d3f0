"""Look whether appliances can be reached and understood, and at what they present to clients. Changes nothing.

It says nothing of what should change: that is the plan's business. A driver that knows more than observing tells
examines its store itself.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import anyio

from reconciler.base.errors import ReconcilerError
from reconciler.engine.stores import Stores
from reconciler.live.driver import Check, CheckOutcome, driver_types
from reconciler.live.network import endpoint
from reconciler.live.presented import presented
from reconciler.live.store import IN_WORDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from reconciler.base.clock import Clock
    from reconciler.base.references import StoreConfiguration
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings
    from reconciler.engine.run import Notify
    from reconciler.live.driver import DriverType, OpenContext
    from reconciler.live.presented import Unseen
    from reconciler.live.store import LiveStore
    from reconciler.pki.certificate import Certificate

LOOK_WITHIN = 10.0
"""Seconds that a look at what is presented for one name may take."""
_LOOKS_AT_ONCE = 4
_log = logging.getLogger(__name__)


# Not shown in full: when an event loop ends, asyncio asks for the text of what its task returned.
@dataclass(frozen=True, repr=False)
class Examination:
    """What was found out about one appliance.

    Attributes:
        checks: What was looked at, in order.
        presented: What its endpoint presents for each protected name, and for none; empty where it was not asked.
    """

    checks: tuple[Check, ...]
    presented: Mapping[str | None, Certificate | Unseen] = field(default_factory=dict)


async def examine_fleet(
    state: DesiredState,
    settings: OperatorSettings,
    clock: Clock,
    *,
    only: frozenset[str] | None = None,
    notify: Notify | None = None,
    capture: Path | None = None,
) -> Mapping[str, Examination]:
    """Examine appliances side by side; what one of them cannot do is its own failure.

    Args:
        state: The desired state.
        settings: Operator settings.
        clock: The time.
        only: Names of the appliances; None for all.
        notify: Told of progress.
        capture: Folder in which a driver keeps the pages that it meets; None for none.

    Returns:
        What was found out, by appliance.
    """
    examiner = _Examiner(state, settings, Stores(state, settings, clock), capture)
    limiter = anyio.CapacityLimiter(settings.concurrency)
    found: dict[str, Examination] = {}

    async def examine_one(name: str) -> None:
        async with limiter:
            if notify:
                notify(name, "examining")
            found[name] = await examiner.examine(name)

    names = sorted(state.appliances if only is None else only)
    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(examine_one, name)
    return {name: found[name] for name in names}


@dataclass(frozen=True)
class _Examiner:
    """Examines one appliance at a time."""

    state: DesiredState
    settings: OperatorSettings
    stores: Stores
    capture: Path | None

    async def examine(self, name: str) -> Examination:
        store = await _guarded(name, "store", self._store)
        served = await _guarded(name, "endpoint", self._endpoint)
        return Examination(store.checks + served.checks, served.presented)

    async def _store(self, name: str) -> Examination:
        configuration, context = self.stores.configuration(name), self.stores.context(name)
        context = replace(context, network=replace(context.network, capture=self.capture))
        driver = driver_types()[configuration.driver]
        examine = driver.examine or partial(_observe, driver)
        return Examination(await examine(configuration, context))

    async def _endpoint(self, name: str) -> Examination:
        """Whether it is known where clients connect to; if so, what they are shown there."""
        place = self.stores.endpoint(name)
        if place is None:
            file = self.state.appliances[name].position().file
            message = "where clients connect to is not known, so what they are shown was not looked at"
            remedy = f"write `endpoint: host:port` in {file}, if it can be reached from here"
            return Examination((Check("endpoint", CheckOutcome.WARNING, message, remedy),))
        address = self.settings.network.address(*place)
        known, reached = endpoint(*place), endpoint(*address)
        told = known if known == reached else f"{known}, reached at {reached}"
        seen = await _looks(address, (None, *self.state.protected_names(name)))
        return Examination((Check("endpoint", CheckOutcome.OK, told),), seen)


async def _looks(
    address: tuple[str, int], server_names: Sequence[str | None]
) -> Mapping[str | None, Certificate | Unseen]:
    """What is presented for each name, a few at once."""
    limiter = anyio.CapacityLimiter(_LOOKS_AT_ONCE)
    seen: dict[str | None, Certificate | Unseen] = {}

    async def look(server_name: str | None) -> None:
        async with limiter:
            seen[server_name] = await presented(address, server_name, LOOK_WITHIN)

    async with anyio.create_task_group() as group:
        for each in server_names:
            group.start_soon(look, each)
    return {each: seen[each] for each in server_names}


async def _guarded(appliance: str, subject: str, look: Callable[[str], Awaitable[Examination]]) -> Examination:
    """What a look brings; whatever is raised instead becomes a failed check."""
    try:
        return await look(appliance)
    except ReconcilerError as error:
        return Examination((_failed(subject, error),))
    except Exception as error:  # noqa: BLE001 - a driver may be anyone's; its fault stays on its appliance
        _log.debug("unexpected error on %s", appliance, exc_info=True)
        remedy = "run again with --debug and report what it shows"
        return Examination((Check(subject, CheckOutcome.FAILED, f"unexpected {type(error).__name__}", remedy),))


def _failed(subject: str, error: ReconcilerError) -> Check:
    return Check(subject, CheckOutcome.FAILED, error.message, error.remedy)


async def _observe(driver: DriverType, configuration: StoreConfiguration, context: OpenContext) -> tuple[Check, ...]:
    """What observing a store tells, for a driver that has no examination of its own."""
    try:
        async with driver.open(configuration, context) as opened:
            store = await opened.observe()
    except ReconcilerError as error:
        return (_failed("readable", error),)
    return _checks(store)


def _checks(store: LiveStore) -> tuple[Check, ...]:
    certificates, requests = len(store.certificates), len(store.requests)
    counts = f"certificates: {certificates}; certificate requests: {requests}"
    checks = [Check("readable", CheckOutcome.OK, counts)]
    if store.unfinished:
        remedy = "`reconciler apply` finishes it"
        checks.append(Check("unfinished work", CheckOutcome.WARNING, store.unfinished, remedy))
    for operation, words in IN_WORDS.items():
        if operation not in store.offers:
            checks.append(Check(words, CheckOutcome.BY_HAND, "its interface does not offer it"))
    return tuple(checks)
