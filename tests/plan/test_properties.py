"""Properties of every plan, over the small universe: promises 1 and 2, and that nothing needed is ever removed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from hypothesis import HealthCheck, given, note, settings

from reconciler.live.store import Origin
from reconciler.pki.chain import ChainBuilder
from reconciler.pki.names import covers
from reconciler.pki.selection import may_serve
from reconciler.plan.matching import CertificateClass
from reconciler.plan.model import State
from tests.plan.universe import fleets, perform, plan
from tests.support.authority import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.desired.state import DesiredState
    from reconciler.live.store import LiveCertificate, LiveStore
    from reconciler.plan.model import Action
    from reconciler.plan.planner import Fleet

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
thorough = settings(max_examples=400, deadline=None, suppress_health_check=slow)


def ready(actions: tuple[Action, ...]) -> list[Action]:
    return [each for each in actions if each.state is State.READY]


def walk(fleet: Fleet, name: str) -> Iterator[tuple[Action | None, LiveStore]]:
    """The store of an appliance before an apply and after each of its actions."""
    part = next(each for each in plan(fleet).plan.appliances if each.name == name)
    store, created = fleet.stores[name], dict[str, str]()
    yield None, store
    for action in ready(part.actions):
        store = perform(store, action, created)
        yield action, store


def applied(fleet: Fleet) -> Fleet:
    return replace(fleet, stores={name: list(walk(fleet, name))[-1][1] for name in fleet.stores})


def is_good(state: DesiredState, appliance: str, store: LiveStore, live: LiveCertificate, name: str) -> bool:
    """Whether a certificate is good, said a second time and otherwise than the planner says it."""
    certificate = live.certificate
    if not (live.has_key and covers(certificate.subject_alternative_names, name) and certificate.is_valid_at(NOW)):
        return False
    builder = ChainBuilder(each.certificate for each in store.certificates)
    complete = [each for each in builder.chains(certificate) if each.complete]
    if not any(each.is_valid_at(NOW) for each in complete):
        return False
    clients = state.clients(appliance)
    settled = [each for each in clients.builds if each.installed_at + clients.settle <= NOW]
    field = [each for each in clients.builds if each not in settled[:-1]]

    def trusted(path: tuple[object, ...], trusts: frozenset[tuple[bytes, str]]) -> bool:
        head, *rest = path
        if (head.subject.der, head.public_key) in trusts:  # type: ignore[attr-defined]
            return True
        return bool(rest) and head.is_valid_at(NOW) and trusted(tuple(rest), trusts)  # type: ignore[attr-defined]

    return all(trusted(chain.certificates, build.trusts) for build in field for chain in complete)


def served(store: LiveStore, sent: str | None) -> tuple[LiveCertificate, ...]:
    default = store.by_fingerprint.get(store.default or "")
    return may_serve(store.certificates, default, sent, store.rule)


@given(fleets())
@thorough
def test_no_prefix_of_a_plan_harms_a_name_that_was_served_by_a_good_certificate(fleet: Fleet) -> None:
    state = fleet.state
    for name in fleet.stores:
        asked = [(each, each) for each in state.protected_names(name)] + [(None, state.hostname_without_sni(name))]
        steps = list(walk(fleet, name))
        for (_, before), (action, after) in pairwise(steps):
            note(f"{action}")
            for sent, wanted in asked:
                then = served(before, sent)
                good = [each for each in then if is_good(state, name, before, each, wanted)]
                if not good:
                    continue
                later = served(after, sent)
                bad = [each for each in later if not is_good(state, name, after, each, wanted)]
                assert len(bad) < len(later), f"{sent} loses its last good certificate"
                was_bad = {each.fingerprint for each in then} - {each.fingerprint for each in good}
                assert {each.fingerprint for each in bad} <= was_bad, f"{sent} gets a candidate that is not good"


@given(fleets())
@thorough
def test_a_second_plan_has_no_ready_action_and_holds_what_was_held(fleet: Fleet) -> None:
    first = plan(fleet).plan
    second = plan(applied(fleet)).plan
    assert [each.id for each in second.actions if each.state is State.READY] == []
    held = {each.id for each in first.actions if each.state is not State.READY}
    assert {each.id for each in second.actions} == held


@given(fleets())
@thorough
def test_no_prefix_removes_the_default_the_factory_certificate_or_what_is_needed(fleet: Fleet) -> None:
    for name in fleet.stores:
        steps = list(walk(fleet, name))
        retired = {each.sha256 for each in fleet.state.appliances[name].model.retired}
        declared = {
            fleet.state.material[each].leaf.fingerprint  # type: ignore[union-attr]
            for each in fleet.state.certificates_of(name)
            if fleet.state.material[each].leaf and each not in fleet.stopped.certificates
        }
        chain = {c for each in fleet.state.certificates_of(name) for c in fleet.state.material[each].chain}
        for (_, before), (action, after) in pairwise(steps):
            if action is None or action.kind != "remove":
                continue
            gone = before.by_fingerprint[action.fingerprint]
            assert gone.fingerprint != before.default
            assert gone.origin is Origin.ADMINISTRATOR
            assert gone.fingerprint not in declared - retired
            if gone.certificate.is_authority:
                assert gone.certificate not in chain
                issued = [
                    each
                    for each in after.certificates
                    if gone.certificate in ChainBuilder([gone.certificate]).issuers(each.certificate)
                ]
                assert issued == []


@given(fleets())
@thorough
def test_every_live_certificate_has_exactly_one_class(fleet: Fleet) -> None:
    for name, classes in plan(fleet).classes.items():
        store = fleet.stores[name]
        assert set(classes) == set(store.by_fingerprint)
        for fingerprint, each in classes.items():
            live = store.by_fingerprint[fingerprint]
            assert (each.kind is CertificateClass.FACTORY) == (live.origin is Origin.FACTORY)
            assert (each.kind is CertificateClass.APPLIANCE_MANAGED) == (live.origin is Origin.APPLIANCE)
            assert each.live == live


@given(fleets())
@thorough
def test_the_plan_foretells_what_is_served(fleet: Fleet) -> None:
    made = plan(fleet).plan
    for part in made.appliances:
        final = list(walk(fleet, part.name))[-1][1]
        created = {each.fingerprint for each in final.certificates} - set(fleet.stores[part.name].by_fingerprint)
        for row in part.serving:
            now = {each.fingerprint for each in served(final, row.name)}
            foretold = {each.certificate for each in row.after}
            assert {each for each in foretold if not each.startswith("new:")} == {
                each for each in now if each in foretold or each not in created
            }
            assert len(now) == len(foretold)
            for each in row.after:
                if not each.certificate.startswith("new:"):
                    wanted = row.name or fleet.state.hostname_without_sni(part.name)
                    live = final.by_fingerprint[each.certificate]
                    assert each.good == is_good(fleet.state, part.name, final, live, wanted)


@given(fleets())
@thorough
def test_planning_the_same_twice_gives_the_same_plan(fleet: Fleet) -> None:
    assert plan(fleet).plan == plan(fleet).plan


class Given(Protocol):
    """A test that hypothesis has wrapped."""

    hypothesis: Any


PROPERTIES = [
    test_no_prefix_of_a_plan_harms_a_name_that_was_served_by_a_good_certificate,
    test_a_second_plan_has_no_ready_action_and_holds_what_was_held,
    test_no_prefix_removes_the_default_the_factory_certificate_or_what_is_needed,
    test_the_plan_foretells_what_is_served,
]


@pytest.mark.prove
@pytest.mark.parametrize("examined", PROPERTIES, ids=lambda each: str(each.__name__).removeprefix("test_"))
def test_at_length(examined: Given) -> None:
    @settings(max_examples=3_000, deadline=None, suppress_health_check=slow)
    @given(fleets())
    def at_length(fleet: Fleet) -> None:
        examined.hypothesis.inner_test(fleet)

    at_length()
