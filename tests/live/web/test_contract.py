from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from reconciler.lab.release import variants
from reconciler.live.web.driver import WebDriver
from tests.live.contract import DriverContract, Harness, signature_differences
from tests.live.web.interface import lab, opened, trusted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from reconciler.lab.appliance import LabAppliance
    from reconciler.live.driver import Driver
    from reconciler.live.web import Trust


@dataclass
class WebHarness:
    appliance: LabAppliance
    folder: Path
    trust: Trust
    sets_lifetime: bool = False

    def open(self) -> AbstractAsyncContextManager[Driver]:
        return opened(self.appliance, self.folder, self.trust)


@pytest.mark.parametrize("variant", variants())
class TestWebContract(DriverContract):
    @pytest.fixture
    async def harness(self, tmp_path: Path, variant: str) -> AsyncIterator[Harness]:
        async with lab(tmp_path, variant) as appliance:
            yield WebHarness(appliance, tmp_path, await trusted(appliance))


def test_methods_match_the_protocol() -> None:
    assert not signature_differences(WebDriver)
