"""The example fleet on certificate directories of its own: planned and applied like production does, step by step.

The command line reads the real clock and real clients check validity, so everything here happens at the present.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from reconciler.apply.executor import Executor
from reconciler.apply.result import Outcome
from reconciler.apply.uploads import Uploads
from reconciler.base.clock import system_clock
from reconciler.engine.load import load_desired
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.run import observe_fleet, plan_fleet
from reconciler.engine.stores import Stores
from reconciler.plan.model import CreateSelfSigned
from tests.cli.terminal import PROGRAM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path

    from reconciler.apply.result import ApplianceResult
    from reconciler.desired.state import DesiredState
    from reconciler.engine.run import Planned
    from reconciler.live.driver import CertificateForm, Driver, ExportedFile, ExportOptions, Upload
    from reconciler.live.store import LiveStore
    from reconciler.plan.model import Plan

APPLIANCES = ("east-1", "hub-1", "node-1", "node-2", "node-3", "trial-1", "west-1")


def reconciler(
    *arguments: str | Path, cwd: Path | None = None, environ: Mapping[str, str | None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program as people do: a process of its own. A variable that is None is not set."""
    chosen = {**os.environ, **(environ or {})}
    environment = {name: value for name, value in chosen.items() if value is not None}
    command = [PROGRAM, *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@dataclass(frozen=True)
class Example:
    """A fleet: its desired state, and its stores beside it.

    Attributes:
        root: Folder of the desired state.
        settings: Operator settings.
    """

    root: Path
    settings: OperatorSettings = field(default_factory=OperatorSettings)

    def directory(self, appliance: str) -> Path:
        """Where an appliance's store lies."""
        return self.root.parent / ".stores" / appliance

    @property
    def directories(self) -> dict[str, Path]:
        """All of them, by appliance."""
        return {name: self.directory(name) for name in APPLIANCES}

    def append(self, path: str, text: str) -> None:
        """Add lines to a declared file."""
        with (self.root / path).open("a") as file:
            file.write(text)

    def observe(self) -> Mapping[str, LiveStore]:
        """What every store holds; one that cannot be observed fails the test."""
        seen = anyio.run(observe_fleet, load_desired(self.root), self.settings, system_clock)
        assert not seen.failures
        return seen.stores

    def observe_one(self, state: DesiredState, appliance: str) -> LiveStore:
        """What one store holds, without reading the desired state anew."""

        async def look() -> LiveStore:
            async with Stores(state, self.settings, system_clock).open(appliance) as driver:
                return await driver.observe()

        return anyio.run(look)

    def change(self, appliance: str, act: Callable[[Driver], Awaitable[None]]) -> None:
        """Do something by hand to a store."""

        async def by_hand() -> None:
            stores = Stores(load_desired(self.root), self.settings, system_clock)
            async with stores.open(appliance) as driver:
                await act(driver)

        anyio.run(by_hand)

    def plan(self) -> Planned:
        """Plan the fleet."""
        return anyio.run(plan_fleet, load_desired(self.root), self.settings, system_clock)

    def apply(self, planned: Planned, after_each: Callable[[str, str], None]) -> Iterable[ApplianceResult]:
        """Carry a plan out, one appliance after the other; every action must succeed.

        Args:
            planned: The plan.
            after_each: Told of every call that may have changed a store, as soon as it is over: appliance and call.
        """
        stores = Stores(planned.state, self.settings, system_clock)

        @asynccontextmanager
        async def opening(appliance: str) -> AsyncIterator[Driver]:
            async with stores.open(appliance) as driver:
                yield Watched(driver, lambda call: after_each(appliance, call))

        uploads = Uploads(planned.state, os.environ, self.root)
        results = anyio.run(Executor(planned.plan, opening, uploads, concurrency=1).run)
        assert {each.outcome for each in results} <= {Outcome.APPLIED, Outcome.UNCHANGED}, results
        return results


@dataclass(frozen=True)
class Watched:
    """A driver that tells of every call that may change the store, once it is over."""

    driver: Driver
    tell: Callable[[str], None]

    async def observe(self) -> LiveStore:
        return await self.driver.observe()

    async def create_self_signed(self, form: CertificateForm, valid_for: timedelta) -> None:
        await self.driver.create_self_signed(form, valid_for)
        await self._over("create_self_signed")

    async def create_request(self, form: CertificateForm) -> None:
        await self.driver.create_request(form)
        await self._over("create_request")

    async def import_(self, upload: Upload) -> None:
        await self.driver.import_(upload)
        await self._over("import")

    async def set_default(self, fingerprint: str) -> None:
        await self.driver.set_default(fingerprint)
        await self._over("set_default")

    async def remove(self, fingerprint: str) -> None:
        await self.driver.remove(fingerprint)
        await self._over("remove")

    async def remove_request(self, fingerprint: str) -> None:
        await self.driver.remove_request(fingerprint)
        await self._over("remove_request")

    async def export(self, fingerprint: str, options: ExportOptions) -> ExportedFile:
        return await self.driver.export(fingerprint, options)

    async def recover(self) -> None:
        await self.driver.recover()
        await self._over("recover")

    async def _over(self, call: str) -> None:
        # In a thread, since what is told may observe the fleet once more, in an event loop of its own.
        await anyio.to_thread.run_sync(self.tell, call)


def bound(plan: Plan, before: Mapping[str, LiveStore], after: Mapping[str, LiveStore]) -> dict[str, str]:
    """What came into being, by what the plan calls it, as the stores show it afterwards."""
    found = {}
    for action in plan.actions:
        if isinstance(action, CreateSelfSigned):
            known = before[action.appliance].by_fingerprint
            new = [
                each.fingerprint
                for each in after[action.appliance].certificates
                if each.fingerprint not in known and each.has_key and each.friendly_name == action.friendly_name
            ]
            assert len(new) == 1, (action.new, new)
            found[action.new] = new[0]
    return found
