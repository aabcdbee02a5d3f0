"""A picture of an appliance's Status > Basics, where its store has pages of which one can be taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.errors import UsageError
from reconciler.engine.stores import Stores
from reconciler.live.driver import driver_types

if TYPE_CHECKING:
    from reconciler.base.clock import Clock
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings


async def take_picture(state: DesiredState, settings: OperatorSettings, clock: Clock, appliance: str) -> bytes:
    """A picture of Status > Basics as PNG.

    Raises:
        UsageError: The store has no such page, or what takes pictures is not installed.
        StoreError: The page cannot be reached or shown.
    """
    stores = Stores(state, settings, clock)
    configuration = stores.configuration(appliance)
    picture = driver_types()[configuration.driver].picture
    if picture is None:
        raise UsageError(
            f"the store of {appliance} has no web interface that a screenshot could be taken of",
            "take it in a browser, and give it with --screenshot FILE",
        )
    return await picture(configuration, stores.context(appliance))
