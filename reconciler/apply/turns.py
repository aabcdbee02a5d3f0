"""Waiting for each other: who waits goes on when something has happened that lets it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Stop:
    """A request to end after the action in hand.

    Attributes:
        why: Why, in a few words; empty as long as nobody asked.
    """

    def __init__(self) -> None:
        self.why = ""
        self._listeners: list[Callable[[], None]] = []

    @contextmanager
    def then(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call somebody when it is asked for while the block runs; before it does, where that has happened already."""
        self._listeners.append(listener)
        try:
            if self.why:
                listener()
            yield
        finally:
            self._listeners.remove(listener)

    def request(self, why: str) -> None:
        """Ask for it."""
        self.why = why
        for listener in tuple(self._listeners):
            listener()


class Turns:
    """Where tasks wait for what other tasks do."""

    def __init__(self) -> None:
        self._called = anyio.Event()
        self._waiting: list[Callable[[], bool]] = []

    def call(self) -> None:
        """Say that something has happened."""
        called, self._called = self._called, anyio.Event()
        called.set()

    async def wait(self, is_over: Callable[[], bool], running: Callable[[], int]) -> bool:
        """Wait until a condition holds, or until everybody waits for what nobody is left to bring about.

        Args:
            is_over: The condition.
            running: How many tasks there are that have not ended.

        Returns:
            Whether it holds. Where everybody waits one is told that it never will, and what that one does may help the
            others.
        """
        self._waiting.append(is_over)
        try:
            while not is_over():
                if len(self._waiting) == running() and not any(each() for each in self._waiting):
                    return False
                await self._called.wait()
            return True
        finally:
            self._waiting.remove(is_over)
