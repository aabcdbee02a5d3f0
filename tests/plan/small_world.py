"""The small world: every certificate in it, what an appliance may hold of them, and what may be declared.

Certificates are made once, and all that is known of them is written in the table below: the judge of this world
(`small_judge`) reads the table and never a certificate. What an appliance holds is a `Shelf`, four small integers, so
that millions of them can be compared; `live` is the same as the planner sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

from reconciler.apply.safety import Guard
from reconciler.live.store import LiveCertificate, LiveStore, Origin, PendingRequest
from reconciler.pki.selection import LIBERAL, CandidateRule
from tests.plan.scenes import (
    CERTAIN,
    NO_CLIENTS,
    OWN,
    SITE,
    Provided,
    Requested,
    Scene,
    builds,
    factory,
    one,
    own,
    pending,
    two,
)
from tests.support.authority import DAY, NOW, Issued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconciler.desired.state import DesiredState
    from reconciler.pki.certificate import Certificate

MEMBERS = ("east", "west")
DEEP = "deep.access.example.com"
"""A name that a wildcard does not cover and that a front end may yet serve with it."""
HOSTS = (SITE, "east.example.com", "west.example.com", DEEP)
NAMES: Mapping[str, tuple[str, ...]] = {
    "every": HOSTS,
    "site": (SITE,),
    "wild": ("*.example.com",),
    "title": ("else.example.com",),
    "own": (SITE,),
}
"""Subject alternative names. `title` covers nothing and has the site's hostname for its common name."""
COMMON = {
    "every": "Example remote access",
    "site": "Example remote access",
    "wild": "Wildcard",
    "title": SITE,
    "own": "Made here",
}

# Names, CA, start and end of validity in days from now. The `s-...` have one key, that of the answers of a CA.
LEAVES: Mapping[str, tuple[str, str, float, float]] = {
    "new": ("every", "A", -30, 335),
    "new-fresh": ("every", "A", -1, 364),
    "new-wild": ("wild", "A", -31, 335),
    "new-site": ("site", "A", -32, 335),
    "new-expired": ("every", "A", -33, -2),
    "new-to-come": ("every", "A", 3, 365),
    "old-a": ("every", "A", -340, 25),
    "old-b": ("every", "B", -341, 24),
    "old-expired": ("every", "A", -400, -10),
    "old-ending": ("every", "A", -364, 0.5),
    "wild-a": ("wild", "A", -200, 100),
    "wild-b": ("wild", "B", -201, 100),
    "wild-expired": ("wild", "A", -401, -11),
    "site-a": ("site", "A", -100, 200),
    "title-a": ("title", "A", -150, 150),
    "later-a": ("every", "A", -0.5, 300),
    "s-good": ("every", "A", -34, 330),
    "s-due": ("every", "A", -342, 20),
    "s-expired": ("every", "A", -402, -12),
    "s-twin": ("every", "A", -500, 15),
    "own-fresh": ("own", "self", -10, 355),
    "own-aging": ("own", "self", -343, 22),
    "own-gone": ("own", "self", -403, -13),
    "own-made": ("own", "self", 0, 365),
}
AUTHORITIES = ("issuer-a", "root-a", "issuer-b", "root-b")
REQUESTS = ("r-s", "r-other", "r-made")
"""Pending requests: with the key of the answers, with a key of its own, and what a plan has made with a new one."""


class Shelf(NamedTuple):
    """What an appliance holds: masks of certificates, of those with their key and of requests; and the default."""

    rows: int
    keyed: int
    requests: int
    default: int


@dataclass(frozen=True)
class Catalogue:
    """Every certificate and request, made once.

    Attributes:
        certificates: By name; a certificate's place in it is its bit.
        requests: By name, likewise.
        issued: The leaves of a CA with what they were issued with.
    """

    certificates: Mapping[str, Certificate]
    requests: Mapping[str, PendingRequest]
    issued: Mapping[str, Issued]

    @cached_property
    def bits(self) -> Mapping[str, int]:
        """The bit of each certificate by name, and by how a plan calls it."""
        found: dict[str, int] = {}
        for index, (name, each) in enumerate(self.certificates.items()):
            found[name] = found[each.fingerprint] = 1 << index
        return found | {f"new:access@{member}": found["own-made"] for member in MEMBERS}

    @cached_property
    def by_bit(self) -> Mapping[int, Certificate]:
        """The certificate of each bit."""
        return {self.bits[name]: each for name, each in self.certificates.items()}

    @cached_property
    def rows(self) -> tuple[tuple[int, LiveCertificate, LiveCertificate], ...]:
        """Bit, row with key and row without, in the order of a store."""
        made = []
        for name, each in self.certificates.items():
            origin = Origin.FACTORY if name == "factory" else Origin.ADMINISTRATOR
            pair = (LiveCertificate(each, name, True, origin), LiveCertificate(each, name, False, origin))  # noqa: FBT003
            made.append((self.bits[name], *pair))
        return tuple(sorted(made, key=lambda each: each[1].fingerprint))

    def mask(self, names: Iterable[str]) -> int:
        """The bits of several certificates."""
        return sum(self.bits[each] for each in names)

    def named(self, mask: int) -> list[str]:
        """The certificates of a mask."""
        return [name for name in self.certificates if self.bits[name] & mask]


@cache
def catalogue() -> Catalogue:
    """The certificates and requests of this world."""
    made: dict[str, Issued] = {}
    certificates: dict[str, Certificate] = {"factory": factory().certificate}
    for name, (names, ca, start, end) in LEAVES.items():
        if ca == "self":
            certificates[name] = own(start=start, end=end)
            continue
        authority = one() if ca == "A" else two()
        key = made["s-good"].key if name.startswith("s-") and name != "s-good" else None
        first, last = NOW + start * DAY, NOW + end * DAY
        made[name] = authority.issue(NAMES[names], common_name=COMMON[names], key=key, not_before=first, not_after=last)
        certificates[name] = made[name].certificate
    for authority, letter in ((one(), "a"), (two(), "b")):
        certificates[f"issuer-{letter}"], certificates[f"root-{letter}"] = authority.certificate, authority.chain[0]
    asked = {"r-s": pending(made["s-good"], names=HOSTS), "r-other": pending("other", names=HOSTS)}
    return Catalogue(certificates, asked | {"r-made": pending("made", names=HOSTS)}, made)


@cache
def live(shelf: Shelf, rule: CandidateRule) -> LiveStore:
    """A shelf as a store."""
    known = catalogue()
    rows = [keyed if bit & shelf.keyed else bare for bit, keyed, bare in known.rows if bit & shelf.rows]
    asked = [each for index, each in enumerate(known.requests.values()) if shelf.requests >> index & 1]
    default = known.by_bit[shelf.default].fingerprint if shelf.default else None
    return LiveStore(tuple(rows), tuple(sorted(asked, key=lambda each: each.fingerprint)), default, rule)


FIELDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "none": (NO_CLIENTS, ()),
    "A": (builds((-300, [one()])), ("A",)),
    "B": (builds((-300, [two()])), ("B",)),
    "AB": (builds((-300, [one()]), (-90, [one(), two()])), ("AB",)),
    "B, then AB": (builds((-300, [two()]), (-1, [one(), two()])), ("B", "AB")),
    "A, then B": (builds((-300, [one()]), (-1, [two()])), ("A", "B")),
}
"""`client_software`, and which roots each build trusts that clients may be running."""


@dataclass(frozen=True)
class World:
    """One desired state of the small world.

    Attributes:
        kind: `provided`, `requested` or `self_signed`.
        declared: The committed certificate; empty where nothing is committed, or nothing can be.
        members: The site's appliances, primary first.
        field: Which builds clients run, a key of `FIELDS`.
        undeclared: `keep` or `remove`.
        rule: How the front ends select.
        has_default: Whether the declared certificate is the default.
        renew_with: `same_key` or `new_key`.
    """

    kind: str
    declared: str
    members: tuple[str, ...]
    field: str
    undeclared: str = "keep"
    rule: CandidateRule = LIBERAL
    has_default: bool = True
    renew_with: str = "new_key"

    @property
    def title(self) -> str:
        """It, in a line."""
        rule = "certain" if self.rule == CERTAIN else "liberal"
        default = "default" if self.has_default else "no default"
        said = (self.kind, self.declared or "-", self.field, self.undeclared, rule, default, self.renew_with)
        return f"{'+'.join(self.members)}: {', '.join(said)}"

    @cached_property
    def state(self) -> DesiredState:
        """The same as the planner gets it."""
        return Scene(
            certificates={"access": self._certificate},
            default="access" if self.has_default else None,
            clients=FIELDS[self.field][0],
            site=f"protected_names: [{DEEP}]\n",
            policy="keep_previous: 7d, removals_at_most: 9",
            east=f"undeclared: {self.undeclared}\n",
            west=f"undeclared: {self.undeclared}\n" if len(self.members) > 1 else None,
        ).state

    @property
    def _certificate(self) -> Provided | Requested | str:
        if self.kind == "self_signed":
            return OWN
        chain = (one().certificate, *one().chain)
        answer = catalogue().issued.get(self.declared)
        if self.kind == "provided" and answer:
            return Provided(answer, chain)
        return Requested(answer, chain, HOSTS, "ec-p256", f"renew_with: {self.renew_with}\n")

    @cached_property
    def guards(self) -> tuple[Guard, ...]:
        """The run-time check of each member."""
        return tuple(Guard(self.state.protected_names(each), self.state.clients(each)) for each in self.members)


def subsets(names: Iterable[str], most: int) -> list[frozenset[str]]:
    """Every set of at most so many of these."""
    found = [frozenset[str]()]
    for name in names:
        found += [each | {name} for each in found if len(each) < most]
    return found


def shelves(
    leaves: Iterable[Iterable[str]],
    bare: Iterable[Iterable[str]],
    chains: Iterable[str],
    requests: Iterable[Iterable[str]] = ((),),
    fits: Callable[[int], bool] = lambda _: True,
) -> list[Shelf]:
    """Every shelf: some leaves with their key, some without, some chains, some requests, and any default.

    Args:
        leaves: Choices of leaves with their key.
        bare: Choices of leaves without.
        chains: Choices of chains, by letters: `ab`.
        requests: Choices of pending requests.
        fits: Which leaves may be together, by mask.
    """
    known, found = catalogue(), []
    choices = [sum(1 << REQUESTS.index(name) for name in each) for each in requests]
    factory_bit = known.bits["factory"]
    for with_key in map(known.mask, leaves):
        for without in map(known.mask, bare):
            if with_key & without or not fits(with_key):
                continue
            for letters in chains:
                above = known.mask(f"{kind}-{letter}" for letter in letters for kind in ("issuer", "root"))
                keyed = with_key | factory_bit
                defaults = [0, *(1 << index for index in range(keyed.bit_length()) if keyed >> index & 1)]
                found += [
                    Shelf(keyed | without | above, keyed, asked, default) for asked in choices for default in defaults
                ]
    return found
