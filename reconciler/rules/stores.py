"""Rules about the stores behind appliances: each has one of its own."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Severity, found, rule
from reconciler.rules.facts import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    from reconciler.base.references import StoreConfiguration
    from reconciler.desired.models import Appliance
    from reconciler.desired.state import Declared, DesiredState
    from reconciler.rules.facts import Facts

SAME_STORE = rule(
    "same-store",
    Severity.ERROR,
    "Certificate Installation: every appliance has a store of its own",
    "No two appliances name the same store, since one would remove what is declared for another.",
)


def same_store(facts: Facts) -> Iterator[Finding]:
    """Each of the appliances whose declared store is that of another, as far as paths and addresses tell."""
    declared = {name: each.model.store for name, each in facts.state.appliances.items()}
    yield from shared_stores(facts.state, declared, posixpath.normpath)


def shared_stores(
    state: DesiredState,
    stores: Mapping[str, StoreConfiguration],
    resolve: Callable[[str], Hashable],
    how: str = "",
) -> Iterator[Finding]:
    """Each of the appliances that have their store in common with another.

    Args:
        state: The desired state.
        stores: The options of each appliance's store, by appliance.
        resolve: Makes one value of all paths that lead to the same place.
        how: By what they have it in common, where that cannot be seen.
    """
    by_location: dict[Hashable, list[Declared[Appliance]]] = defaultdict(list)
    for name, store in stores.items():
        location = store.located(state.root, resolve)
        if location is not None:
            by_location[location].append(state.appliances[name])
    for group in by_location.values():
        if len(group) == 1:
            continue
        named = tuple(f"{each.name} ({each.position('store')})" for each in group)
        for index, appliance in enumerate(group):
            others = listed(named[:index] + named[index + 1 :])
            yield found(
                SAME_STORE,
                f"its store is that of {others} too{how}, so one would remove what is declared for another",
                "give each appliance a store of its own, or declare the appliance once",
                position=appliance.position("store"),
                about=appliance.about,
            )
