"""What another administrator may do to a store at any time. A number chooses what it is done to."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from reconciler.live.store import Origin
from tests.plan.scenarios import EXPIRED, NARROW, NEW, OLD, OTHER, TITLED, WILDCARD
from tests.plan.scenes import ALL, leaf
from tests.support.authority import Authority

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from reconciler.live.store import LiveCertificate
    from tests.plan.watching import Appliance

    Meddling: TypeAlias = Callable[[Appliance, int], None]

STRANGE = leaf(Authority.root("Root of nobody"), names=ALL)
"""Trusted by no client."""
HELD = (OLD, NEW, OTHER, EXPIRED, NARROW, TITLED, WILDCARD)


def rows(store: Appliance) -> list[LiveCertificate]:
    """What a person may remove or choose, the newest first."""
    found = [each for each in store.live.certificates if each.origin is not Origin.FACTORY]
    return sorted(found, key=_age, reverse=True)


def _age(row: LiveCertificate) -> tuple[dt.datetime, str]:
    return row.certificate.not_before, row.certificate.subject.display


def put(store: Appliance, number: int) -> None:
    """Import any certificate with its key."""
    store.put(HELD[number % len(HELD)])


def put_a_bad_one(store: Appliance, number: int) -> None:
    """Import one that serves the same names, and has expired or is trusted by nobody."""
    store.put((EXPIRED, STRANGE)[number % 2])


def remove(store: Appliance, number: int) -> None:
    """Remove any certificate."""
    _drop(store, rows(store), number)


def remove_from_a_chain(store: Appliance, number: int) -> None:
    """Remove a root or an issuer."""
    _drop(store, [each for each in rows(store) if each.certificate.is_authority], number)


def remove_the_newest(store: Appliance, _: int) -> None:
    """Remove what has just been brought."""
    _drop(store, [each for each in rows(store) if each.has_key][:1], 0)


def choose_a_default(store: Appliance, number: int) -> None:
    """Make any certificate the default, be it the factory's."""
    factory = [each for each in store.live.certificates if each.origin is Origin.FACTORY]
    _choose(store, [*factory, *rows(store)], number)


def choose_the_oldest(store: Appliance, _: int) -> None:
    """Make the default what is about to go."""
    _choose(store, rows(store), -1)


def _choose(store: Appliance, found: Sequence[LiveCertificate], number: int) -> None:
    keyed = [each.fingerprint for each in found if each.has_key and each.fingerprint != store.default]
    if keyed:
        store.default = keyed[number % len(keyed)]


def _drop(store: Appliance, found: list[LiveCertificate], number: int) -> None:
    # As on the appliance, the default stays.
    free = [each.fingerprint for each in found if each.fingerprint != store.default]
    if free:
        store.drop(free[number % len(free)])


MEDDLING: tuple[Meddling, ...] = (
    put,
    put_a_bad_one,
    remove,
    remove_from_a_chain,
    remove_the_newest,
    choose_a_default,
    choose_the_oldest,
)
