"""A simulated appliance of the lab for random histories: the web driver, over HTTPS, to a certificate directory.

It is seen in two ways. The driver asks the interface, and may meet faults there, at any request or at any call; who
judges looks at the directory behind it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from reconciler.base.references import FileSecret
from reconciler.lab.appliance import LabAppliance
from reconciler.lab.release import COMPLETE
from reconciler.lab.server import serve
from reconciler.live.driver import OpenContext
from reconciler.live.network import Network
from reconciler.live.web import Trust, WebConfiguration
from reconciler.live.web.opening import open_driver
from reconciler.live.web.transport import Limits
from tests.support.on_disk import OnDisk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from reconciler.live.driver import Driver
    from reconciler.live.store import LiveStore

PATIENT = Limits(patience=20.0, pause=0.001)
"""Nobody loses patience because the machine is busy."""
IMPATIENT = Limits(patience=0.4, pause=0.001)


class InLab(OnDisk):
    """An appliance of the lab.

    Attributes:
        appliance: How the lab plays it, with its own faults. It can be reached while `hosting`.
        limits: How patient the driver is.
    """

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(folder / name)
        self._folder = folder
        self.limits = PATIENT
        self.appliance = LabAppliance(name, folder / name, variant=COMPLETE, clock=lambda: self.now)
        account = self.appliance.account
        (folder / "username").write_text(account.username)
        (folder / "password").write_text(account.password)

    def restart(self) -> None:
        """Forget who is signed in, reset every connection, and accept none for a moment."""
        self.appliance.sessions.drop()
        if self.appliance.listener:
            self.appliance.listener.refuse(0.01)

    async def observe(self) -> LiveStore:
        """What the driver observes."""
        async with self._open() as driver:
            return await driver.observe()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Driver]:
        host = self.appliance.hostname
        secrets = {what: FileSecret(file=str(self._folder / what)) for what in ("username", "password")}
        # The operator trusts what is there; what comes meanwhile only where we have brought it.
        trust = Trust(sha256=tuple(each.fingerprint for each in self.live.certificates if each.has_key))
        configuration = WebConfiguration(driver="web", url=f"https://{host}/appliance", trust=trust, **secrets)
        place = f"{host}:443"
        network = Network(
            frozenset({place}),
            {place: f"127.0.0.1:{self.appliance.port}"},
            known_appliances=self._folder / "known-appliances",
        )
        context = OpenContext(self.appliance.name, self._folder, lambda: self.now, network=network, changes=True)
        async with open_driver(configuration, context, self.limits) as driver:
            yield driver


@asynccontextmanager
async def hosting(stores: Iterable[InLab]) -> AsyncIterator[None]:
    """Let appliances be reached; each request that has come in is finished, whoever has gone away meanwhile."""
    appliances = [each.appliance for each in stores]
    async with serve(*appliances):
        try:
            yield
        finally:
            with anyio.move_on_after(5):
                while any(_is_busy(each) for each in appliances):  # noqa: ASYNC110 - it tells nobody when it is done
                    await anyio.sleep(0.001)


def _is_busy(appliance: LabAppliance) -> bool:
    listener = appliance.listener
    return listener is not None and bool(listener._state.tasks)  # noqa: SLF001 - nothing else tells
