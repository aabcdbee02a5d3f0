"""A planner that is wrong in dozens of ways does no harm, and each way is noticed.

Every fault is seeded into the planner by itself, in every scenario in which it changes the plan. The plan is carried
out on simulated appliances, and after every call somebody looks whether a protected name was harmed or a key lost. What
caught the fault is counted: the run-time check, a precondition of an action, the appliance itself, or a look at what
has come of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.result import Outcome
from reconciler.plan.model import State
from tests.plan.faults import FAULTS
from tests.plan.scenarios import SCENARIOS
from tests.plan.watching import Watch, carry_out, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.apply.result import ApplianceResult
    from reconciler.plan.model import Plan
    from tests.plan.scenarios import Scenario, Stores

CHECK, PRECONDITION, APPLIANCE, DEPENDENCY = "run-time check", "precondition", "the appliance refuses", "waits in vain"


class Healthy:
    """What the planner makes of a scenario as it is, and what comes of that."""

    def __init__(self, scenario: Scenario) -> None:
        self.stores = scenario.stores()
        self.watch = Watch(scenario.state, self.stores)
        self.plan = plan(scenario.state, self.stores)
        self.results = carry_out(self.plan, self.watch, guarded=True)
        self.end = contents(self.stores)


@cache
def healthy(name: str) -> Healthy:
    return Healthy(SCENARIOS[name])


def contents(stores: Stores) -> Mapping[str, object]:
    """What appliances hold, told so that two appliances that made certificates of their own are alike."""
    return {
        name: (
            Counter((row.certificate.subject, row.certificate.not_before, row.has_key) for row in live.certificates),
            Counter(request.subject for request in live.requests),
            live.by_fingerprint[live.default or ""].certificate.subject,
            live.by_fingerprint[live.default or ""].certificate.not_before,
        )
        for name, live in ((name, each.live) for name, each in stores.items())
    }


def told(made: Plan) -> set[tuple[str, str, str]]:
    """What a plan says beside its ready actions: what is held and why, and what is found."""
    held = {(each.id, each.state, each.hold.reason.code if each.hold else "") for each in made.actions}
    return {each for each in held if each[1] != State.READY} | {
        (each.appliance or "", "finding", each.rule) for each in made.all_findings
    }


def stopped_by(results: Mapping[str, ApplianceResult], expected: Mapping[str, ApplianceResult]) -> Iterator[str]:
    """What kept the actions of a plan from running, beyond what keeps those of the right plan."""
    usual = {step.action for each in expected.values() for step in each.steps if step.outcome is not Outcome.APPLIED}
    for step in (step for each in results.values() for step in each.steps if step.action not in usual):
        match step.outcome:
            case Outcome.FAILED if step.message.startswith("it was not done, since"):
                yield CHECK
            case Outcome.FAILED:
                yield APPLIANCE
            case Outcome.STALE:
                yield PRECONDITION
            case Outcome.NOT_ATTEMPTED if step.message:
                yield DEPENDENCY
            case _:
                pass


def noticed(name: str, made: Plan, stores: Stores, watch: Watch) -> Iterator[str]:
    """What looking at the outcome says that is not as it should be."""
    scenario, right = SCENARIOS[name], healthy(name)
    if watch.lost:
        yield "a key is lost"
    if contents(stores) != right.end:
        yield "another end state"
    if any(each.state is State.READY for each in plan(scenario.state, stores).actions):
        yield "a second plan acts"
    if told(made) != told(right.plan):
        yield "other holds or findings"
    if {part.name: part.serving for part in made.appliances} != {p.name: p.serving for p in right.plan.appliances}:
        yield "other served names"


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_planner_as_it_is_is_stopped_by_nothing(name: str) -> None:
    right = healthy(name)
    assert not right.watch.harmed
    assert not right.watch.lost
    if not SCENARIOS[name].together:
        assert {each.outcome for each in right.results.values()} <= {Outcome.APPLIED, Outcome.UNCHANGED}
        assert not [e for e in plan(SCENARIOS[name].state, right.stores).actions if e.state is State.READY]


@dataclass
class Catch:
    """What a fault led to, over all scenarios.

    Attributes:
        by: What caught it, and in how many scenarios.
        harmful: In how many it would have done harm without the run-time check.
        looks: How often somebody looked at a store.
    """

    by: Counter[str] = field(default_factory=Counter)
    harmful: int = 0
    looks: int = 0

    def __str__(self) -> str:
        listed = ", ".join(f"{what} {number}" for what, number in self.by.most_common())
        return f"would do harm in {self.harmful} scenarios; caught by: {listed}"


def try_out(fault: str, name: str, catch: Catch) -> None:
    """Seed a fault in one scenario, carry the plan out, and see that it does no harm and is noticed."""
    scenario, right = SCENARIOS[name], healthy(name)
    stores = scenario.stores()
    with FAULTS[fault]():
        made = plan(scenario.state, stores)
    if made.appliances == right.plan.appliances:
        return
    unguarded = Watch(scenario.state, scenario.stores())
    carry_out(made, unguarded, guarded=False)
    watch = Watch(scenario.state, stores)
    results = carry_out(made, watch, guarded=True)
    assert not watch.harmed, f"{name}: {watch.harmed}"
    by = {*stopped_by(results, right.results), *noticed(name, made, stores, watch)}
    if unguarded.harmed:
        assert CHECK in by, f"{name}: {unguarded.harmed}, and nothing stops it"
        catch.harmful += 1
    catch.by.update(by)
    catch.looks += watch.looks


@pytest.mark.prove
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_planner_does_no_harm_and_is_noticed(
    fault: str, record_property: Callable[[str, object], None]
) -> None:
    catch = Catch()
    for name in SCENARIOS:
        try_out(fault, name, catch)
    assert catch.by, "nothing notices it"
    record_property("cases", catch.looks)
    record_property("caught", f"a planner that {fault} {catch}")


def test_without_the_run_time_check_a_fault_does_harm() -> None:
    """So who watches is not blind, and it is the check that stops it."""
    catch = Catch()
    for name in ("expired before it came", "covers less, and the old one is retired"):
        try_out("protects nothing", name, catch)
    assert catch.harmful == 2
    assert catch.by[CHECK] == 2
