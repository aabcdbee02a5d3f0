from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.lab.release import variants
from tests.lab.browser import Clock, make_appliance

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.lab.appliance import LabAppliance


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=variants())
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def appliance(tmp_path: Path, clock: Clock, variant: str) -> LabAppliance:
    """A simulated appliance in each variant, fresh from the factory."""
    return make_appliance(tmp_path, clock, variant)


@pytest.fixture
def guide(tmp_path: Path, clock: Clock) -> LabAppliance:
    """A simulated appliance as the guide shows it, fresh from the factory."""
    return make_appliance(tmp_path, clock, "guide")
