"""Opening the stores of a fleet: each by the driver that its appliance names, with what the operator settings add."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from reconciler.base.errors import ReconcilerError, StoreError, StoreUnreachable, StoreUnrecognised, UnreadableInput
from reconciler.live.driver import OpenContext, driver_types
from reconciler.live.network import HTTPS, split_endpoint
from reconciler.pki.names import parse_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from contextlib import AbstractAsyncContextManager

    from reconciler.base.clock import Clock
    from reconciler.base.references import StoreConfiguration
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings
    from reconciler.live.driver import Driver
    from reconciler.live.store import LiveStore

_log = logging.getLogger(__name__)
PATIENCE = 300.0
"""Seconds that a look at one store may take, however many answers it consists of."""


def _operators_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UnreadableInput(f"{path} cannot be read: {error.strerror}", "check the operator settings") from error


def _normal(host: str) -> str:
    """A host as the operator's settings spell it."""
    try:
        return parse_name(host).value
    except ValueError:
        return host.lower()


class Stores:
    """Opens stores, and observes many at once."""

    def __init__(self, state: DesiredState, settings: OperatorSettings, clock: Clock) -> None:
        self._state = state
        self._settings = settings
        self._clock = clock
        self._root = Path(state.root)

    def configuration(self, appliance: str) -> StoreConfiguration:
        """The options of an appliance's store: the declared ones, unless the operator puts another in their place."""
        return self._settings.stores.get(appliance, self._state.appliances[appliance].model.store)

    def context(self, appliance: str, *, changes: bool = False, given_up: Callable[[], bool] = bool) -> OpenContext:
        """What the driver of an appliance is opened with; see `open`."""
        state, settings = self._state, self._settings
        declared = state.appliances[appliance]
        leaves = (state.material[name].leaf for name in state.certificates_of(appliance) if name in state.material)
        folder = (self._root / declared.document.path).parent
        return OpenContext(
            appliance,
            self._root,
            self._clock,
            settings.reload.get(appliance, ()),
            folder=(settings.folder or folder) if appliance in settings.stores else folder,
            network=settings.network,
            declared=frozenset(leaf.fingerprint for leaf in leaves if leaf),
            retired=frozenset(each.sha256 for each in declared.model.retired),
            # What the operator's own file names lies where the operator says, not in what somebody proposes.
            read=_operators_file if appliance in settings.stores else state.tree.read,
            changes=changes,
            given_up=given_up,
        )

    def open(
        self, appliance: str, *, changes: bool = False, given_up: Callable[[], bool] = bool
    ) -> AbstractAsyncContextManager[Driver]:
        """Open the store of an appliance.

        Args:
            appliance: Its name.
            changes: Whether it will be changed: then whoever changes it now is waited for.
            given_up: Whether nobody waits any longer.
        """
        configuration = self.configuration(appliance)
        context = self.context(appliance, changes=changes, given_up=given_up)
        return driver_types()[configuration.driver].open(configuration, context)

    def endpoint(self, appliance: str) -> tuple[str, int] | None:
        """Host and port where clients connect to an appliance; None where they are not known."""
        model = self._state.appliances[appliance].model
        if model.endpoint is not None:
            host, port = split_endpoint(model.endpoint)
            return _normal(host), port
        driver = driver_types()[self.configuration(appliance).driver]
        return (model.hostname, HTTPS) if driver.endpoint == "hostname" else None

    def create(self, appliance: str) -> bool:
        """Make the store of an appliance where its driver makes stores and there is none yet; whether it did.

        Raises:
            StoreError: It cannot be made.
        """
        configuration = self.configuration(appliance)
        create = driver_types()[configuration.driver].create
        return create is not None and create(configuration, self.context(appliance))

    async def observe(
        self, appliances: Collection[str], notify: Callable[[str, str], None]
    ) -> tuple[Mapping[str, LiveStore], Mapping[str, StoreError]]:
        """Observe stores side by side; what one of them cannot do is its own failure."""
        stores: dict[str, LiveStore] = {}
        failures: dict[str, StoreError] = {}
        limiter = anyio.CapacityLimiter(self._settings.concurrency)

        async def observe_one(name: str) -> None:
            async with limiter:
                notify(name, "observing")
                try:
                    with anyio.fail_after(PATIENCE):
                        async with self.open(name) as driver:
                            stores[name] = await driver.observe()
                except TimeoutError:
                    problem = f"the look at it has not come to an end in {PATIENCE / 60:.0f} minutes"
                    failures[name] = StoreUnreachable(problem, "see whether it answers at all")
                except StoreError as error:
                    failures[name] = error
                except ReconcilerError as error:
                    failures[name] = StoreUnrecognised(error.message, error.remedy)
                except Exception as error:  # noqa: BLE001 - a driver may be anyone's; its fault stays on its appliance
                    _log.debug("unexpected error on %s", name, exc_info=True)
                    remedy = "run again with --debug and report what it shows"
                    failures[name] = StoreUnrecognised(f"unexpected {type(error).__name__}", remedy)

        async with anyio.create_task_group() as group:
            for name in appliances:
                group.start_soon(observe_one, name)
        return stores, failures
