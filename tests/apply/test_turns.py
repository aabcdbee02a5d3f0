"""Waiting for each other: who can go on goes on, and where nobody can nobody waits for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.apply.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable


class Tasks:
    """Tasks that wait for each other; each says when it goes on."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.running: set[str] = set()
        self.went_on: list[str] = []
        self.done: set[str] = set()

    async def task(self, name: str, is_over: Callable[[], bool]) -> None:
        await self.turns.wait(is_over, lambda: len(self.running))
        self.went_on.append(name)
        self.done.add(name)
        self.running.discard(name)
        self.turns.call()

    async def run(self, **conditions: Callable[[], bool]) -> list[str]:
        self.running = set(conditions)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                for name, is_over in conditions.items():
                    group.start_soon(self.task, name, is_over)
        return self.went_on


@pytest.mark.anyio
async def test_who_waits_for_nothing_goes_on_at_once() -> None:
    assert await Tasks().run(east=lambda: True) == ["east"]


@pytest.mark.anyio
async def test_who_waits_goes_on_when_what_it_waits_for_has_happened() -> None:
    it = Tasks()
    went_on = await it.run(
        east=lambda: {"west", "north"} <= it.done, west=lambda: "north" in it.done, north=lambda: True
    )
    assert went_on == ["north", "west", "east"]


@pytest.mark.anyio
async def test_where_everybody_waits_for_each_other_all_go_on() -> None:
    it = Tasks()
    assert sorted(await it.run(east=lambda: "west" in it.done, west=lambda: "east" in it.done)) == ["east", "west"]


@pytest.mark.anyio
async def test_where_one_waits_for_what_never_comes_it_goes_on_after_the_others() -> None:
    it = Tasks()
    assert await it.run(east=lambda: False, west=lambda: "north" in it.done, north=lambda: True) == [
        "north",
        "west",
        "east",
    ]


@pytest.mark.anyio
async def test_nobody_is_taken_to_wait_who_can_go_on_already() -> None:
    """What lets one go on may have happened since it began to wait: then nothing is stuck yet."""
    it, over = Tasks(), set[str]()

    async def working() -> None:
        await anyio.lowlevel.checkpoint()
        over.add("east")
        it.running.discard("working")
        it.turns.call()

    it.running = {"east", "west", "working"}
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(it.task, "west", lambda: "east" in it.done)
            group.start_soon(it.task, "east", lambda: "east" in over)
            group.start_soon(working)
    assert it.went_on == ["east", "west"]
