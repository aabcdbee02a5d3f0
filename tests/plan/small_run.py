"""Runs through the small world: plans, carries plans out, and asks the judge after every step."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, assert_never

from reconciler.plan.model import CreateRequest, CreateSelfSigned, Import, KeySource, Remove, RemoveRequest, SetDefault
from reconciler.plan.model import State as ActionState
from reconciler.plan.planner import Fleet, make_plan
from reconciler.rules import Stopped
from tests.plan.small_judge import Judge, State
from tests.plan.small_world import MEMBERS, Shelf, World, catalogue, live
from tests.support.authority import NOW

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.plan.model import Action

_ASKED = {each.fingerprint: 1 << index for index, each in enumerate(catalogue().requests.values())}
_SAME_KEY = {
    bit: catalogue().mask(n for n, each in catalogue().certificates.items() if each.public_key == one.public_key)
    for bit, one in catalogue().by_bit.items()
}
_ASKED_WITH = {
    bit: sum(_ASKED[each.fingerprint] for each in catalogue().requests.values() if each.public_key == one.public_key)
    for bit, one in catalogue().by_bit.items()
}
_MADE = {f"new:access@{member}": catalogue().certificates["own-made"].fingerprint for member in MEMBERS}


class Path(NamedTuple):
    """A plan that was carried out: the state before, after each action, and what was wrong with each of these."""

    states: tuple[State, ...]
    wrong: tuple[str, ...]


@dataclass
class Report:
    """What a run has seen."""

    plans: int = 0
    cases: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[State, int, str]] = field(default_factory=list)


class Run:
    """Runs through one desired state."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.judge = Judge(world)
        self.paths: dict[State, Path] = {}
        self.actions: Counter[str] = Counter()
        self._objections: dict[tuple[int, Shelf, str, int, str], str] = {}

    def explore(self, starts: Iterable[State]) -> Report:
        """Plan every state, every state in which an apply may be cut off, and so on, and check them all."""
        open_ends = list(starts)
        while open_ends:
            state = open_ends.pop()
            if state not in self.paths:
                path = self.paths[state] = self.carry_out(state)
                open_ends += path.states[1:]
        report = Report(len(self.paths), actions=self.actions)
        lacks = {state: self.judge.lacks(state) for state, path in self.paths.items() if len(path.states) == 1}
        for path in self.paths.values():
            report.cases += len(path.states)
            end = path.states[-1]
            for index, state in enumerate(path.states):
                said = path.wrong[index] or self._wrong_end(state, end, lacks)
                if said:
                    report.failures.append((path.states[0], index, said))
        return report

    def _wrong_end(self, state: State, end: State, lacks: dict[State, str]) -> str:
        if end not in lacks:
            return "a second plan has ready actions"
        if self.judge.alike(self.paths[state].states[-1]) != self.judge.alike(end):
            return "cut off here and run again, it ends elsewhere"
        return lacks[end]

    def carry_out(self, state: State) -> Path:
        """Plan a state and carry the plan out, one action after another, in an order that the plan allows."""
        world = self.world
        stores = {name: live(shelf, world.rule) for name, shelf in zip(world.members, state, strict=True)}
        plan = make_plan(Fleet(world.state, stores, {}, (), Stopped()), NOW).plan
        left = {
            part.name: [each for each in part.actions if each.state is ActionState.READY] for part in plan.appliances
        }
        follows = {part.name: part.follows for part in plan.appliances}
        states, wrong, done = [state], [""], set[str]()
        while any(left.values()):
            free = (
                name
                for name, actions in left.items()
                if actions
                and done.issuperset(actions[0].depends_on)
                and not any(left.get(each) for each in follows[name])
            )
            name = next(free, None)
            if name is None:
                wrong[-1] = "everybody waits"
                break
            action = left[name].pop(0)
            done.add(action.id)
            self.actions[action.kind] += 1
            after, said = self._step(action, world.members.index(name), states)
            states.append(after)
            wrong.append(said)
        return Path(tuple(states), tuple(wrong))

    def _step(self, action: Action, member: int, states: list[State]) -> tuple[State, str]:
        state = states[-1]
        before = state[member]
        after, said = self._after(action, before, states)
        new = (*state[:member], after, *state[member + 1 :])
        said = said or self.judge.harm(member, before, after) or self._objection(action, member, before)
        said = said or self.judge.may(member, state, after)
        if not said and self.judge.has_key(state) and not self.judge.has_key(new):
            said = "loses the key of the committed answer"
        return new, f"{action.id}: {said}" if said else ""

    def _objection(self, action: Action, member: int, before: Shelf) -> str:
        """What the check before each action says against it."""
        if isinstance(action, CreateRequest | RemoveRequest):
            return ""
        row, how = _row(action), action.role if isinstance(action, Import) else ""
        key = (member, before, action.kind, row, how)
        if key not in self._objections:
            arriving = catalogue().by_bit[row] if isinstance(action, Import) else None
            store = live(before, self.world.rule)
            said = self.world.guards[member].objection(action, store, arriving, _MADE, NOW)
            self._objections[key] = f"the run-time check objects: {said}" if said else ""
        return self._objections[key]

    def _after(self, action: Action, shelf: Shelf, states: list[State]) -> tuple[Shelf, str]:
        """What an appliance makes of an action, and what keeps it from that."""
        rows, keyed, requests, default = shelf
        match action:
            case CreateRequest():
                bit = _ASKED[catalogue().requests["r-s" if action.public_key else "r-made"].fingerprint]
                said = "asks twice" if requests & bit else ""
                after = shelf._replace(requests=requests | bit)
            case RemoveRequest():
                said, after = "", shelf._replace(requests=requests & ~_ASKED[action.fingerprint])
            case SetDefault():
                said = "" if _row(action) & keyed else "the default has no key"
                after = shelf._replace(default=_row(action))
            case Remove():
                row = _row(action)
                said = "" if row & rows and row != default else "what is removed is not there, or is the default"
                after = shelf._replace(rows=rows & ~row, keyed=keyed & ~row)
            case CreateSelfSigned():
                said, after = "", shelf._replace(rows=rows | _row(action), keyed=keyed | _row(action))
            case Import(role="chain"):
                said, after = "", shelf._replace(rows=rows | _row(action))
            case Import():
                row = _row(action)
                said = "" if self._finds_key(action, shelf, states) else "finds no key"
                after = Shelf(rows | row, keyed | row, requests & ~_ASKED_WITH[row], default)
            case _:
                assert_never(action)
        return after, said

    def _finds_key(self, action: Import, shelf: Shelf, states: list[State]) -> bool:
        """Whether a leaf brings its key along, finds it, or is lent it; what was there at first is lent at once."""
        row = _row(action)
        if action.loan:
            lender, lent = self.world.members.index(action.loan.appliance), catalogue().bits[action.loan.certificate]
            return any(each[lender].keyed & lent & _SAME_KEY[row] for each in (states[0], states[-1]))
        here = shelf.keyed & _SAME_KEY[row] or shelf.requests & _ASKED_WITH[row]
        return action.key_source is KeySource.COMMITTED or bool(here)


def _row(action: Import | CreateSelfSigned | SetDefault | Remove) -> int:
    bits = catalogue().bits
    match action:
        case CreateSelfSigned():
            return bits[action.new]
        case SetDefault():
            return bits[action.target]
        case _:
            return bits[action.fingerprint]
