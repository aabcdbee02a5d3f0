from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.lab.release import variants
from tests.browser.fleet import Fleet, playing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=variants())
async def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Fleet]:
    """The example fleet fresh from the factory, in each variant."""
    async with playing(tmp_path, request.param) as served:
        yield served
