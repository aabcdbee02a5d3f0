"""A declared scene over simulated appliances: plan it, carry the plan out, look at what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from reconciler.apply.executor import Executor
from reconciler.apply.uploads import Uploads
from reconciler.plan.planner import Fleet, make_plan
from reconciler.rules import Stopped
from tests.plan.scenes import Provided, Scene
from tests.support.authority import NOW
from tests.support.memory import MemoryStore, open_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from reconciler.apply.result import ApplianceResult
    from reconciler.desired.state import DesiredState
    from reconciler.live.driver import Driver
    from reconciler.plan.model import Plan

PASSPHRASE = "correct horse battery staple"  # noqa: S105 - it protects what tests make


@dataclass(frozen=True)
class Files:
    """Committed files, by path."""

    content: Mapping[str, bytes]

    def read(self, path: str) -> bytes:
        """One of them."""
        return self.content[path]


@dataclass
class Stage:
    """A scene and its appliances.

    Attributes:
        declared: The desired state, or a scene of which one is made.
        stores: The appliances, by name.
        environment: What the passphrase of committed keys is looked up in.
        files: Committed keys that differ from what they should be.
        told: What progress was told, in order.
    """

    declared: DesiredState | Scene
    stores: dict[str, MemoryStore]
    environment: dict[str, str] = field(default_factory=lambda: {"PASSPHRASE": PASSPHRASE})
    files: dict[str, bytes] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)

    @property
    def state(self) -> DesiredState:
        """The desired state, with its committed keys."""
        if not isinstance(self.declared, Scene):
            return self.declared
        keys = {
            f"certificates/{name}.key": each.issued.key_pem(PASSPHRASE.encode())
            for name, each in self.declared.certificates.items()
            if isinstance(each, Provided)
        }
        return replace(self.declared.state, tree=Files({**keys, **self.files}))

    def plan(self) -> Plan:
        """Plan as of now."""
        live = {name: each.live for name, each in self.stores.items()}
        return make_plan(Fleet(self.state, live, {}, (), Stopped()), NOW).plan

    def apply(
        self,
        plan: Plan | None = None,
        *,
        concurrency: int = 16,
        meanwhile: Callable[[], object] | None = None,
        unfinished: tuple[str, ...] = (),
    ) -> dict[str, ApplianceResult]:
        """Carry out a plan, or plan and carry that out; `meanwhile` happens in between. Results by appliance."""
        chosen = plan or self.plan()
        if meanwhile:
            meanwhile()
        executor = Executor(
            chosen,
            self.open,
            Uploads(self.state, self.environment, Path("desired-state")),
            unfinished=unfinished,
            concurrency=concurrency,
            notify=lambda appliance, happening: self.told.append((appliance, happening)),
        )

        async def run() -> tuple[ApplianceResult, ...]:
            with anyio.fail_after(30):  # nobody waits for each other for ever
                return await executor.run()

        results = anyio.run(run)
        assert [each.appliance for each in results] == [each.name for each in chosen.appliances]
        return {each.appliance: each for each in results}

    def open(self, appliance: str) -> AbstractAsyncContextManager[Driver]:
        """Open a store as production does."""
        return open_memory(self.stores[appliance])


def outcomes(result: ApplianceResult) -> list[str]:
    """What came of the steps of an appliance, in order."""
    return [each.outcome.value for each in result.steps]
