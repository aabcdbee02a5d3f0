"""Promises 1 and 2 over every state of a small world, and at random over a larger one.

A case is a triple: a desired state, what the appliances hold, and how much of the plan has run. What they hold is
closed under being cut off: every state that some plan passes through is planned itself. For each case it is proved

- that no step so far has harmed a protected name (promise 1). The judge looks at everything that may be served, so it
  knows no tie-break: under any, who was served a good certificate is served a good one from then on; for all clients,
  and for those of each build;
- that each step is one that somebody asked for, finds its key, and has no objection from the check before it;
- that cut off here and run again it ends as if it had not been, at a state that leaves nothing undone without need;
- that planning this end again gives nothing to do (promise 2).

The universe, each line a product of its dimensions. The default is any certificate with a key that is held, the factory
certificate among them, or none (where keys are made on a member: there is one):

======================  ==========================================================================================
one appliance,          declared: six certificates (all names, all and fresh, wildcard, one name, expired, to come);
certificates provided   clients: six fields of builds over two roots; undeclared: keep, remove; held: up to two of
                        six others (valid and expired, of either root, wildcards, one that matches by its title), the
                        declared one with its key, without, or not; either chain or not
a known selection       the same with the first four of the declared, and a front end whose selection is known
no default declared     the same with one of them
two members, provided   the six fields; undeclared: keep, remove; each member holds one of eight sets, chains or not
two members, requested  answer: none, valid, due, expired; renewed with the same key or a new one; four fields; each
                        member holds the answer or not, an older one with its key or another; no request, one with the
                        answer's key, or another one
two members, self-made  clients or none; undeclared: keep, remove; each member holds up to two of three, or another
======================  ==========================================================================================

That is 176 desired states, some 166,000 pairs of these and what is held, 263,000 with those in which an apply is cut
off, and 1,160,000 cases.

Symmetries: a site whose members hold the same is as one appliance; members may change places where their certificates
are provided; roots may change names, so that what is declared is always of root A; labels and keys do not matter.
"""

from __future__ import annotations

import random
from itertools import combinations_with_replacement, permutations, product
from typing import TYPE_CHECKING

import pytest

from reconciler.pki.selection import LIBERAL
from tests.plan.scenes import CERTAIN
from tests.plan.small_judge import Served, harm_of
from tests.plan.small_run import Run
from tests.plan.small_world import AUTHORITIES, FIELDS, LEAVES, REQUESTS, Shelf, World, catalogue, shelves, subsets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.plan.small_judge import State
    from tests.plan.small_run import Report

ALONE, BOTH = ("east",), ("east", "west")
DECLARED = ("new", "new-fresh", "new-wild", "new-site", "new-expired", "new-to-come")
OTHERS = ("old-a", "old-b", "old-expired", "wild-a", "wild-expired", "title-a")
ANSWERS = ("", "s-good", "s-due", "s-expired")
UNDECLARED = ("keep", "remove")


def alone(world: World) -> list[State]:
    """Whatever one appliance may hold."""
    others, chains = subsets(OTHERS, 2), ("", "a", "b", "ab")
    whole = shelves([*others, *(each | {world.declared} for each in others)], [()], chains)
    return [(shelf,) for shelf in [*whole, *shelves(others, [[world.declared]], chains)]]


def provided(world: World) -> list[State]:
    """Two members, either way round; a chain of the second root is where one of its leaves is."""
    sets = ["", "old-a", "old-b", "old-expired", "old-ending", "old-a wild-b", "", "old-b"]
    leaves = [*(each.split() for each in sets[:6]), *([*each.split(), world.declared] for each in sets[6:])]
    second = catalogue().mask(["old-b", "wild-b"])
    found = shelves(leaves, [()], ("", "a", "b", "ab"))
    root = catalogue().bits["root-b"]
    fitting = [shelf for shelf in found if bool(shelf.rows & second) == bool(shelf.rows & root)]
    return list(combinations_with_replacement(fitting, 2))


def requested(world: World) -> list[State]:
    """Two members, of which the first makes keys."""
    leaves: list[tuple[str, ...]] = [(), ("s-twin",), ("old-b",)]
    leaves += [(world.declared,)] if world.declared else []
    held = shelves(leaves, [()], ["ab"], [(), ("r-s",), ("r-other",)])
    return list(product([shelf for shelf in held if shelf.default], repeat=2))


def self_made(world: World) -> list[State]:
    """Two members, of which the first makes certificates."""
    del world
    leaves = [*subsets(("own-fresh", "own-aging", "own-gone"), 2), frozenset({"old-a"})]
    return list(product([shelf for shelf in shelves(leaves, [()], ["a"]) if shelf.default], repeat=2))


def worlds() -> Iterator[tuple[World, Callable[[World], list[State]]]]:
    """Every desired state of the small world, and how to list what the appliances may hold."""
    for field, declared, undeclared in product(FIELDS, DECLARED, UNDECLARED):
        yield World("provided", declared, ALONE, field, undeclared), alone
    for field, declared, undeclared in product(FIELDS, DECLARED[:4], UNDECLARED):
        yield World("provided", declared, ALONE, field, undeclared, CERTAIN), alone
    for field, undeclared in product(FIELDS, UNDECLARED):
        yield World("provided", "new", ALONE, field, undeclared, has_default=False), alone
        yield World("provided", "new", BOTH, field, undeclared), provided
    for declared, field, renew_with in product(ANSWERS, ("none", "A", "B", "B, then AB"), ("same_key", "new_key")):
        if declared or renew_with == "new_key":
            yield World("requested", declared, BOTH, field, renew_with=renew_with), requested
    for field, undeclared in product(("none", "A"), UNDECLARED):
        yield World("self_signed", "", BOTH, field, undeclared), self_made


def in_words(state: State) -> str:
    """What the members hold."""
    return "; ".join(_in_words(shelf) for shelf in state)


def _in_words(shelf: Shelf) -> str:
    known = catalogue()
    rows = [name if known.bits[name] & shelf.keyed else f"{name} without key" for name in known.named(shelf.rows)]
    asked = [name for index, name in enumerate(REQUESTS) if shelf.requests >> index & 1]
    return f"{', '.join([*rows, *asked])}, default {', '.join(known.named(shelf.default)) or 'none'}"


def judged(world: World, report: Report) -> None:
    """Fail with the smallest case that fails."""
    if report.failures:
        state, step, said = min(report.failures, key=lambda each: (len(in_words(each[0])), each[1]))
        pytest.fail(f"{len(report.failures)} of {report.cases} cases; {world.title}; {in_words(state)}; {step}: {said}")


def test_the_judge_agrees_with_every_tie_break() -> None:
    everything = range(16)
    orders = list(permutations((1, 2, 4, 8)))
    some = [Served(candidates, good) for candidates, good in product(everything, everything) if not good & ~candidates]
    first = {each: [next((one for one in order if one & each.candidates), 0) for order in orders] for each in some}
    for then, now in product(some, some):
        if now.good & then.candidates & ~then.good or then.good & now.candidates & ~now.good:
            continue  # a step moves certificates; what one is worth changes with its chain, which is asked elsewhere
        pairs = zip(first[then], first[now], strict=True)
        kept = all(after & now.good for before, after in pairs if before & then.good)
        assert kept == (not harm_of(then, now))


def test_a_request_is_not_made_again_beside_one_that_a_held_import_would_use_up() -> None:
    world = World("requested", "s-due", BOTH, "B", renew_with="same_key")
    (served,) = (
        each
        for each in shelves([["old-b", "s-twin"]], [()], ["ab"], [["r-s"]])
        if each.default == catalogue().bits["old-b"]
    )
    report = Run(world).explore([(served, served)])
    judged(world, report)
    assert not report.actions


@pytest.mark.prove
@pytest.mark.parametrize(("world", "states"), [pytest.param(*each, id=each[0].title) for each in worlds()])
def test_every_case_of_the_small_world_keeps_its_names_and_ends_right(
    world: World, states: Callable[[World], list[State]], record_property: Callable[[str, object], None]
) -> None:
    starts = states(world)
    report = Run(world).explore(starts)
    record_property("cases", report.cases)
    record_property("universe", f"{len(starts)} states, {report.plans} with those in which an apply is cut off")
    judged(world, report)


def any_world(chance: random.Random) -> World:
    """A desired state of the larger world: every combination of what the small one has."""
    kind = chance.choice(["provided", "provided", "requested", "self_signed"])
    declared = {
        "provided": [*DECLARED, "old-a", "old-ending", "wild-a", "site-a"],
        "requested": ANSWERS,
        "self_signed": [""],
    }[kind]
    return World(
        kind,
        chance.choice(declared),
        BOTH,
        # Where there are clients, a site with a self-signed certificate is refused before it is planned.
        "none" if kind == "self_signed" else chance.choice([*FIELDS]),
        chance.choice(UNDECLARED) if kind != "requested" else "keep",
        chance.choice([LIBERAL, CERTAIN]),
        has_default=chance.random() < 0.8,
        renew_with=chance.choice(["same_key", "new_key"]),
    )


def any_shelf(chance: random.Random, world: World) -> Shelf:
    """What an appliance may hold: anything, chains in pieces among it."""
    known = catalogue()
    leaves = [each for each in LEAVES if each != "own-made"]
    with_key = known.mask(chance.sample(leaves, chance.randint(0, 5))) | known.bits["factory"]
    without = known.mask(chance.sample(leaves, chance.randint(0, 2)))
    above = known.mask(each for each in AUTHORITIES if chance.random() < 0.8)
    asked = chance.randint(0, 3) if world.kind == "requested" else 0
    defaults = [0, *(1 << index for index in range(with_key.bit_length()) if with_key >> index & 1)]
    return Shelf(with_key | without | above, with_key, asked, chance.choice(defaults))


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(8))
def test_cases_of_a_larger_world_do_too(seed: int, record_property: Callable[[str, object], None]) -> None:
    chance, cases = random.Random(seed), 0  # noqa: S311 - reproducible on purpose
    for _ in range(40):
        world = any_world(chance)
        report = Run(world).explore([(any_shelf(chance, world), any_shelf(chance, world)) for _ in range(6)])
        cases += report.cases
        judged(world, report)
    record_property("cases", cases)
