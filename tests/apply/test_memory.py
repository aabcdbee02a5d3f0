"""The simulator that the executor is tested with keeps the contract that every driver keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.live.contract import DriverContract, Harness, signature_differences
from tests.support.memory import MemoryDriver, MemoryStore, open_memory

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from reconciler.live.driver import Driver


@dataclass
class MemoryHarness:
    store: MemoryStore = field(default_factory=MemoryStore)
    sets_lifetime: bool = True

    def open(self) -> AbstractAsyncContextManager[Driver]:
        return open_memory(self.store)


class TestMemoryContract(DriverContract):
    @pytest.fixture
    def harness(self) -> Harness:
        return MemoryHarness()


def test_methods_match_the_protocol() -> None:
    assert not signature_differences(MemoryDriver)
