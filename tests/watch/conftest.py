from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.watch.world import World, install

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A fleet as it comes from the factory, with a desired state for it."""
    made = World(tmp_path).make()
    install(monkeypatch, made)
    return made
