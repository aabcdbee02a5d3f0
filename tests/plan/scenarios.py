"""Fleets in which a planner that is wrong does harm: a few of each kind, over simulated appliances.

Every scenario stands at `NOW`, and its site is served by a good certificate.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.apply.stage import Stage
from tests.plan.scenes import ALL, OWN, Scene, builds, leaf, one, own, provided, requested, two
from tests.support.authority import DAY, NOW, Authority, Issued
from tests.support.memory import Fault, MemoryStore, Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.desired.state import DesiredState
    from reconciler.pki.certificate import Certificate

Stores: TypeAlias = dict[str, MemoryStore]

AT_ONCE = "keep_previous: 1m, removals_at_most: 9"


@dataclass(frozen=True)
class Scenario:
    """A declared fleet and how to make its appliances anew.

    Attributes:
        scene: What is declared.
        make: Makes the appliances.
        together: Whether no member may go over to the new certificate before every member has it.
    """

    scene: Scene
    make: Callable[[], Stores]
    together: bool = False

    @cached_property
    def state(self) -> DesiredState:
        """The desired state, with its committed keys."""
        return Stage(self.scene, {}).state

    @cached_property
    def _made(self) -> Stores:
        return self.make()

    def stores(self) -> Stores:
        """The appliances as they are at first; every time the same, to be changed at will."""
        return {name: _copy(each) for name, each in self._made.items()}


def _copy(store: MemoryStore) -> MemoryStore:
    made = copy(store)
    made.rows, made.keys, made.requests = dict(store.rows), dict(store.keys), dict(store.requests)
    made.calls, made.meter = [], Meter()
    return made


OLD = leaf(one(), names=ALL, start=-300, end=60)
NEW = leaf(one(), names=ALL, start=-1, end=300)
OTHER = leaf(two(), names=ALL, start=-1, end=300)
EXPIRED = leaf(one(), names=ALL, start=-20, end=-1)
LATER = leaf(one(), names=ALL, start=2, end=300)
NARROW = leaf(one(), names=["access.example.com"], start=-1, end=300)
TITLED = leaf(two(), names=["else.example.com"], common_name="access.example.com", start=-1)
ELSEWHERE = leaf(one(), names=["else.example.com"], common_name="Elsewhere", start=-2)
WILDCARD = leaf(one(), names=["*.example.com"], common_name="Wildcard", start=-40)
LAPSED = (
    Authority.root("Root Lapsed").intermediate("Issuer Lapsed", not_after=NOW - DAY).issue(ALL, not_before=NOW - DAY)
)
SPARE = leaf(one(), names=ALL, common_name="Spare", start=-400, end=-1)
OWN_OLD = own(start=-345, end=20)

ONE_ROOT = builds((-400, [one()]))
BOTH_ROOTS = builds((-400, [one(), two()]))
SETTLING = builds((-400, [one()]), (-1, [one(), two()]))
DIVIDED = builds((-400, [one()]), (-1, [two()]))


def _members(*names: str, held: tuple[Issued | Certificate, ...] = (), default: Issued = OLD) -> Callable[[], Stores]:
    """Appliances that hold the same, chains included; the default comes last."""
    chain = [each for issued in (*held, default) if isinstance(issued, Issued) for each in issued.chain]
    return lambda: {name: MemoryStore().put(*chain, *held).put(default, default=True) for name in names}


def _stored(pick: Callable[[Stores], object], *names: str, **more: Any) -> Callable[[], Stores]:  # noqa: ANN401
    """The same, changed a little."""

    def make() -> Stores:
        stores = _members(*names, **more)()
        pick(stores)
        return stores

    return make


def _by_name_only(*names: str) -> Callable[[], Stores]:
    """Appliances whose default is still the factory's."""
    return lambda: {name: MemoryStore().put(*OLD.chain, OLD) for name in names}


def _scene(answer: Issued, **more: Any) -> Scene:  # noqa: ANN401
    chosen = {"default": "access", "west": "", "policy": AT_ONCE, **more}
    return Scene({"access": provided(answer)}, **chosen)


def _refuses_on_west(stores: Stores) -> None:
    stores["west"].faults["import", 1] = Fault.REFUSE


ALONE = Scene({"access": provided(NEW)}, default="access", policy=AT_ONCE)
PAIR = ("east", "west")

SCENARIOS: Mapping[str, Scenario] = {
    "renewal": Scenario(_scene(NEW), _members(*PAIR)),
    "renewal on one appliance": Scenario(ALONE, _members("east")),
    "renewal of what is not the default": Scenario(replace(ALONE, default=None), _by_name_only("east")),
    "another CA, whose chain is new": Scenario(
        _scene(OTHER, clients=BOTH_ROOTS, east="undeclared: remove\n", west="undeclared: remove\n"), _members(*PAIR)
    ),
    "another CA, and a member that refuses": Scenario(
        _scene(OTHER, clients=BOTH_ROOTS), _stored(_refuses_on_west, *PAIR), together=True
    ),
    "another CA, not settled": Scenario(_scene(OTHER, clients=SETTLING), _members(*PAIR)),
    "another CA, known to some only": Scenario(_scene(OTHER, clients=DIVIDED), _members(*PAIR)),
    "another CA, unknown to clients": Scenario(_scene(OTHER, clients=ONE_ROOT), _members(*PAIR)),
    "expired before it came": Scenario(_scene(EXPIRED), _members(*PAIR)),
    "not valid yet": Scenario(_scene(LATER), _members(*PAIR)),
    "its issuer has expired": Scenario(_scene(LAPSED), _members(*PAIR)),
    "no chain for it": Scenario(
        replace(_scene(OTHER), certificates={"access": provided(OTHER, chain=())}), _members(*PAIR)
    ),
    "covers less": Scenario(_scene(NARROW), _members(*PAIR)),
    "covers less, and the old one is retired": Scenario(
        _scene(NARROW, east=f"retired: [{{sha256: '{OLD.certificate.fingerprint}', reason: told to}}]\n"),
        _members(*PAIR),
    ),
    "the default is retired": Scenario(
        replace(
            ALONE,
            default=None,
            certificates={},
            east=f"retired: [{{sha256: '{OLD.certificate.fingerprint}', reason: told to}}]\n",
        ),
        _members("east", held=(WILDCARD,)),
    ),
    "a further name is protected": Scenario(
        _scene(NEW, site="protected_names: [shop.example.com]\n", east="undeclared: remove\n"),
        _members(*PAIR, held=(WILDCARD,)),
    ),
    "chosen by its common name": Scenario(_scene(TITLED), _members(*PAIR)),
    "a default for nobody": Scenario(
        replace(ALONE, certificates={"access": provided(OLD), "else": provided(ELSEWHERE)}, default="else"),
        _members("east"),
    ),
    "an expired one beside a good one": Scenario(
        replace(ALONE, certificates={"access": provided(OLD), "spare": provided(SPARE)}), _members("east")
    ),
    "the default serves where nothing matches": Scenario(
        replace(ALONE, certificates={"else": provided(TITLED)}, default=None), _members("east")
    ),
    "there without its key": Scenario(
        _scene(NEW), _stored(lambda stores: [each.put(NEW.certificate) for each in stores.values()], *PAIR)
    ),
    "an answer to a request": Scenario(
        replace(_scene(NEW), certificates={"access": requested(NEW)}),
        _stored(lambda stores: stores["east"].ask(NEW), *PAIR),
    ),
    "an answer whose certificate is there without its key": Scenario(
        replace(_scene(NEW), certificates={"access": requested(NEW)}),
        _stored(lambda stores: (stores["east"].ask(NEW), stores["west"].put(NEW.certificate)), *PAIR),
    ),
    "a copy, where one member lacks the key": Scenario(
        Scene({"access": requested(NEW)}, default="access", policy=AT_ONCE, west="", north=""),
        _stored(
            lambda stores: (stores["east"].put(NEW.certificate), stores["north"].put(NEW)), "east", "west", "north"
        ),
    ),
    "waiting for an answer": Scenario(
        Scene({"access": requested()}, default="access", policy=AT_ONCE, east="undeclared: remove\n"),
        _stored(lambda stores: stores["east"].ask(NEW), "east"),
    ),
    "self-signed, due": Scenario(
        Scene({"own": OWN}, default="own", policy=AT_ONCE),
        _stored(lambda stores: stores["east"].put(OWN_OLD), "east"),
    ),
    "only what is declared": Scenario(
        replace(ALONE, certificates={"access": provided(OLD)}, east="undeclared: remove\n"),
        _members("east", held=(ELSEWHERE, OTHER)),
    ),
    "nothing to do": Scenario(replace(ALONE, certificates={"access": provided(OLD)}), _members("east")),
}
"""By what happens in it."""
