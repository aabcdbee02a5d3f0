"""Lab appliances for tests of the web driver, and the configuration and context with which it is opened on one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from reconciler.base.references import EnvironmentSecret
from reconciler.lab.appliance import LabAppliance
from reconciler.lab.server import serve
from reconciler.live.driver import OpenContext
from reconciler.live.network import Network
from reconciler.live.web import Trust, WebConfiguration
from reconciler.live.web.opening import open_driver
from reconciler.live.web.transport import Limits
from tests.support.authority import NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from reconciler.live.web.driver import WebDriver

USERNAME, PASSWORD = "TEST_LAB_USERNAME", "TEST_LAB_PASSWORD"
HOST = "east-1.example.com"
QUICK = Limits(patience=5.0, pause=0.01)


@asynccontextmanager
async def lab(folder: Path, variant: str = "guide", *, platform: str = "virtual") -> AsyncIterator[LabAppliance]:
    """One appliance fresh from the factory, being served."""
    appliance = LabAppliance("east-1", folder / "east-1", platform=platform, variant=variant, clock=lambda: NOW)
    await appliance.call(appliance.make_store)
    async with serve(appliance):
        yield appliance


def configuration(*, trust: Trust | None = None) -> WebConfiguration:
    return WebConfiguration(
        driver="web",
        url=f"https://{HOST}/appliance",
        username=EnvironmentSecret(env=USERNAME),
        password=EnvironmentSecret(env=PASSWORD),
        trust=trust or Trust(),
    )


async def trusted(appliance: LabAppliance) -> Trust:
    """Trust in whatever an appliance presents now."""
    presented = appliance.selection.select(HOST)
    assert presented
    return Trust(sha256=(presented.fingerprint,))


def context(appliance: LabAppliance, folder: Path, *, capture: Path | None = None) -> OpenContext:
    network = Network(
        frozenset({f"{HOST}:443"}),
        {f"{HOST}:443": f"127.0.0.1:{appliance.port}"},
        known_appliances=folder / "known-appliances",
        capture=capture,
    )
    return OpenContext("east-1", folder, lambda: NOW, network=network)


def opened(
    appliance: LabAppliance, folder: Path, trust: Trust, limits: Limits = QUICK
) -> AbstractAsyncContextManager[WebDriver]:
    return open_driver(configuration(trust=trust), context(appliance, folder), limits)
