"""The judge of the small world: what is served, what is good, what harms, and what an apply may and must lead to.

It is written from the design and reads only the table of certificates in `small_world`: no certificate is parsed, no
chain is built, and nothing of the planner, of the check before each action or of auto-selection is used.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from reconciler.pki.selection import LIBERAL
from tests.plan.scenes import SITE
from tests.plan.small_world import AUTHORITIES, COMMON, DEEP, FIELDS, HOSTS, LEAVES, NAMES, REQUESTS, Shelf, catalogue

if TYPE_CHECKING:
    from tests.plan.small_world import World

State: TypeAlias = tuple[Shelf, ...]

KEEP_PREVIOUS = 7
RENEW_BEFORE = 30
_COVERED = {"every": set(HOSTS), "site": {SITE}, "own": {SITE}, "wild": set(HOSTS) - {DEEP}, "title": set[str]()}
_FACTORY = catalogue().bits["factory"]


def _where(which: set[str]) -> int:
    return catalogue().mask(which)


_VALID = _where({name for name, (_, _, start, end) in LEAVES.items() if start <= 0 <= end})
_BY_CA = {ca: _where({name for name, each in LEAVES.items() if each[1] == ca}) for ca in ("A", "B", "self")}
_CHAIN = {"A": _where({"issuer-a", "root-a"}), "B": _where({"issuer-b", "root-b"})}
_COVERS = {host: _where({name for name, each in LEAVES.items() if host in _COVERED[each[0]]}) for host in HOSTS}
_TITLED = _where({name for name, each in LEAVES.items() if each[0] == "title"})
_WILD = _where({name for name, each in LEAVES.items() if each[0] == "wild"})
_ANSWERS = _where({name for name in LEAVES if name.startswith("s-")})
_ANSWERS_REQUEST = 1 << REQUESTS.index("r-s")
_OWN = {catalogue().bits[name]: LEAVES[name][2] for name in LEAVES if name.startswith("own-")}
_NAME = {catalogue().bits[name]: name for name in [*LEAVES, *AUTHORITIES, "factory"]}


class Served(NamedTuple):
    """For one thing that a client may ask, and one group of clients: what may be served, and what of it is good."""

    candidates: int
    good: int


class Judge:
    """Judges the shelves of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        trusts = FIELDS[world.field][1]
        self._groups = (trusts, *((each,) for each in trusts if len(trusts) > 1))
        self._asked = [
            [(None, SITE), *((host, host) for host in (SITE, f"{member}.example.com", DEEP))]
            for member in world.members
        ]
        self._seen: dict[tuple[int, Shelf], tuple[Served, ...]] = {}
        self._harm: dict[tuple[int, Shelf, Shelf], str] = {}

    def served(self, member: int, shelf: Shelf) -> tuple[Served, ...]:
        """Everything that a member's clients may be served."""
        key = (member, shelf)
        if key not in self._seen:
            asked = [(self._candidates(shelf, sent), meant) for sent, meant in self._asked[member]]
            self._seen[key] = tuple(
                Served(candidates, candidates & sound & _COVERS[meant])
                for sound in (self._sound(shelf, group) for group in self._groups)
                for candidates, meant in asked
            )
        return self._seen[key]

    def _candidates(self, shelf: Shelf, sent: str | None) -> int:
        default = shelf.default & shelf.keyed
        if sent is None:
            return default
        liberal = self.world.rule == LIBERAL
        match = _COVERS[sent] | (_TITLED if sent == SITE else 0) | (_WILD if sent == DEEP and liberal else 0)
        matching = shelf.keyed & match
        doubtful = liberal and not matching & _COVERS[sent]
        return matching | default if doubtful or not matching else matching

    def _sound(self, shelf: Shelf, trusts: tuple[str, ...]) -> int:
        chained = 0 if trusts else _BY_CA["self"]
        for ca, chain in _CHAIN.items():
            if shelf.rows & chain == chain and all(ca in each for each in trusts):
                chained |= _BY_CA[ca]
        return shelf.keyed & _VALID & chained

    def harm(self, member: int, before: Shelf, after: Shelf) -> str:
        """Why a step breaks promise 1, or an empty string."""
        key = (member, before, after)
        if key not in self._harm:
            pairs = zip(self.served(member, before), self.served(member, after), strict=True)
            self._harm[key] = next((said for then, now in pairs if (said := harm_of(then, now))), "")
        return self._harm[key]

    # What a plan is for.

    @cached_property
    def _declared(self) -> int:
        return catalogue().bits[self.world.declared] if self.world.declared else 0

    def target(self, state: State) -> int:
        """The certificate that counts as the declared one, 0 where there is none yet."""
        if self.world.kind != "self_signed":
            return self._declared
        held = [bit for bit in _OWN if any(bit & shelf.keyed for shelf in state)]
        return max(held, key=lambda bit: _OWN[bit], default=0)

    def is_due(self, target: int) -> bool:
        """Whether what is made on an appliance has to be made anew."""
        return LEAVES[_NAME[target]][3] < RENEW_BEFORE

    def may(self, member: int, state: State, after: Shelf) -> str:
        """Why a step is none that anybody asked for, or an empty string."""
        before, target = state[member], self.target(state)
        gained, lost = after.rows & ~before.rows, before.rows & ~after.rows
        keys = after.keyed & ~before.keyed
        wanted = target | (_CHAIN["A"] if self.world.kind != "self_signed" else catalogue().bits["own-made"])
        if (gained | keys) & ~wanted:
            return f"brings {catalogue().named((gained | keys) & ~wanted)}"
        if lost and not self.may_leave(before, lost, target):
            return f"removes {catalogue().named(lost)}"
        if after.default != before.default and (after.default != target or not self.world.has_default):
            return f"makes {catalogue().named(after.default)} the default"
        if before.requests & ~after.requests & ~(_ANSWERS_REQUEST if keys & _ANSWERS else 0):
            return "loses a request"
        if after.requests & ~before.requests and not self._asks(state, again=True):
            return "asks a CA for nothing"
        return ""

    def may_leave(self, shelf: Shelf, row: int, target: int) -> bool:
        """Whether a row is one that should leave, apart from the names that need it."""
        if row in {shelf.default, _FACTORY, target}:
            return False
        removes = self.world.undeclared == "remove"
        if row not in _NAME or _NAME[row] in AUTHORITIES:
            return removes and not self._is_needed(shelf, row)
        if not self._share(row):
            return removes
        _, _, start, end = LEAVES[_NAME[row]]
        if target and LEAVES[_NAME[target]][2] < start:
            return False
        if not shelf.keyed & row:
            return removes
        sound = target & self._sound(shelf, self._groups[0])
        return bool(sound) and min(LEAVES[_NAME[target]][2] + KEEP_PREVIOUS, end - 1) <= 0

    def _is_needed(self, shelf: Shelf, row: int) -> bool:
        """Whether an authority is declared, or above something that is there."""
        name = _NAME[row]
        ca = name[-1].upper()
        below = _BY_CA[ca] if name.startswith("issuer") else catalogue().bits[f"issuer-{name[-1]}"]
        return bool(row & _CHAIN["A"] and self.world.kind != "self_signed") or bool(shelf.rows & below)

    def _share(self, row: int) -> bool:
        """Whether a leaf shares common name or set of names with what is declared."""
        names = LEAVES[_NAME[row]][0]
        wanted = "own" if self.world.kind == "self_signed" else LEAVES.get(self.world.declared, ("every",))[0]
        return NAMES[names] == NAMES[wanted] or COMMON[names] == COMMON[wanted]

    def alike(self, state: State) -> State:
        """A state without what may be one way or another: any member that holds a key may ask with it again."""
        if self.world.kind != "requested" or self.world.renew_with == "new_key":
            return state
        return tuple(shelf._replace(requests=shelf.requests & ~_ANSWERS_REQUEST) for shelf in state)

    def lacks(self, state: State) -> str:
        """What an apply that ended here has left undone without need, or an empty string."""
        target = self.target(state)
        if self.world.kind == "self_signed" and (not target or self.is_due(target)):
            made = catalogue().bits["own-made"]
            return "" if self.harm(0, state[0], _with(state[0], made)) else "nothing is made"
        if self.world.kind == "requested" and self._asks(state):
            return "nobody asks a CA"
        for member, shelf in enumerate(state):
            if said := self._member_lacks(member, state, shelf, target):
                return f"{self.world.members[member]} {said}"
        return ""

    def _member_lacks(self, member: int, state: State, shelf: Shelf, target: int) -> str:
        if self.world.kind != "self_signed" and shelf.rows & _CHAIN["A"] != _CHAIN["A"] and target:
            return "lacks the chain"
        if target and not shelf.keyed & target and self._can_come(member, state, target):
            return "lacks what is declared"
        settable = self.world.has_default and target & shelf.keyed and shelf.default != target
        sharing = [bit for bit in _NAME if bit & shelf.keyed and _NAME[bit] in LEAVES and self._share(bit)]
        before = [bit for bit in sharing if bit != target]
        settable = settable and not self.harm(member, shelf, shelf._replace(default=target))
        if settable and not self._waits(member, state, target, before):
            return "has another default"
        for row in (1 << index for index in range(shelf.rows.bit_length()) if shelf.rows >> index & 1):
            if not self.may_leave(shelf, row, target) or self.harm(member, shelf, _without(shelf, row)):
                continue
            shared = _NAME[row] in LEAVES and self._share(row)
            if not shared or not self._waits(member, state, target, [row]):
                return f"keeps {_NAME[row]}"
        return ""

    def _can_come(self, member: int, state: State, target: int) -> bool:
        """Whether the declared certificate finds its key and harms nobody."""
        if self.harm(member, state[member], _with(state[member], target)):
            return False
        if self.world.kind == "provided" or any(shelf.keyed & self._same_key(target) for shelf in state):
            return True
        asks = [each for each, shelf in enumerate(state) if shelf.requests & _ANSWERS_REQUEST]
        return any(not self.harm(each, state[each], _with(state[each], target)) for each in asks)

    def _same_key(self, target: int) -> int:
        return _ANSWERS if target & _ANSWERS else target

    def has_key(self, state: State) -> bool:
        """Whether the key of the committed answer, if there is one, is on some member."""
        return bool(self._declared & _ANSWERS) and any(
            shelf.keyed & _ANSWERS or shelf.requests & _ANSWERS_REQUEST for shelf in state
        )

    def _asks(self, state: State, *, again: bool = False) -> bool:
        """Whether a CA should be asked, and nobody does, or (`again`) only by what is used up when the answer comes."""
        if self.world.kind != "requested":
            return False
        pending = 0
        for shelf in state:
            pending |= shelf.requests
        if not self._declared:
            return not pending
        if not self.has_key(state) or not self.is_due(self._declared):
            return False
        if self.world.renew_with == "new_key":
            return not pending & ~_ANSWERS_REQUEST
        live = [shelf for shelf in state if shelf.keyed & self._declared]
        if again:
            return not any(shelf.requests & _ANSWERS_REQUEST for shelf in live or state)
        return bool(live) and not pending & _ANSWERS_REQUEST

    def _waits(self, member: int, state: State, target: int, before: list[int]) -> bool:
        """Whether a change of roots waits for the rest of the site."""
        others = [shelf for index, shelf in enumerate(state) if index != member]
        before = [bit for bit in before if LEAVES[_NAME[bit]][3] > 0]
        if all(shelf.keyed & target for shelf in others) or not before:
            return False
        ca = LEAVES[_NAME[target]][1]
        same = any(bit & _BY_CA[ca] for bit in before) and ca != "self"
        return not same and min(LEAVES[_NAME[bit]][3] for bit in before) > 1


def harm_of(then: Served, now: Served) -> str:
    """What one step does to one name: no tie-break is known, so whatever may be served counts.

    Where a good one was among others, nothing joins that is not good, and no good one leaves while such a one stays:
    whatever the order of preference, what comes to be served after a good one is good.
    """
    if not then.good:
        return ""
    bad = now.candidates & ~now.good
    if not now.good:
        return "loses its last good certificate"
    if bad & ~(then.candidates & ~then.good):
        return "gets a candidate that is not good"
    return "leaves a name to a candidate that is not good" if bad and then.good & ~now.candidates else ""


def _with(shelf: Shelf, row: int) -> Shelf:
    return shelf._replace(rows=shelf.rows | row, keyed=shelf.keyed | row)


def _without(shelf: Shelf, row: int) -> Shelf:
    return shelf._replace(rows=shelf.rows & ~row, keyed=shelf.keyed & ~row)
