"""Properties of every plan, over the small universe: promises 1 and 2, and that nothing needed is ever removed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from hypothesis import HealthCheck, given, note, settings

from reconciler.live.store import Origin
from reconciler.pki.chain import ChainBuilder
from reconciler.pki.names import covers
from reconciler.pki.selection import may_serve
from reconciler.plan.matching import CertificateClass
from reconciler.plan.model import State
from reconciler.plan.requests import RequestClass
from tests.plan.simulate import afterwards, carry_out
from tests.plan.universe import fleets, plan
from tests.support.authority import NOW

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.desired.state import Build, DesiredState
    from reconciler.live.store import LiveCertificate, LiveStore
    from reconciler.plan.model import Action
    from reconciler.plan.planner import Fleet

slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
thorough = settings(max_examples=400, deadline=None, suppress_health_check=slow)


def ready(actions: tuple[Action, ...]) -> list[Action]:
    return [each for each in actions if each.state is State.READY]


def walk(fleet: Fleet, name: str) -> Iterator[tuple[Action | None, LiveStore]]:
    """The store of an appliance before an apply and after each of its actions."""
    yield None, fleet.stores[name]
    for step in carry_out(fleet.state, fleet.stores, plan(fleet).plan):
        if step.action.appliance == name:
            yield step.action, step.after


def applied(fleet: Fleet) -> Fleet:
    steps = carry_out(fleet.state, fleet.stores, plan(fleet).plan)
    return replace(fleet, stores=afterwards(fleet.stores, steps))


def field(state: DesiredState, appliance: str, now: dt.datetime = NOW) -> list[Build]:
    """The software builds that clients may be running: the newest that has settled, and every later one."""
    clients = state.clients(appliance)
    there = [each for each in clients.builds if each.installed_at <= now] or [*clients.builds[:1]]
    settled = [each for each in there if each.installed_at + clients.settle <= now]
    return [each for each in there if each not in settled[:-1]]


def is_good(
    builds: Sequence[Build], store: LiveStore, live: LiveCertificate, name: str, now: dt.datetime = NOW
) -> bool:
    """Whether a certificate is good for these builds, said a second time and otherwise than the planner says it."""
    certificate = live.certificate
    if not (live.has_key and covers(certificate.subject_alternative_names, name) and certificate.is_valid_at(now)):
        return False
    builder = ChainBuilder(each.certificate for each in store.certificates)
    complete = [each for each in builder.chains(certificate) if each.complete]
    if not any(each.is_valid_at(now) for each in complete):
        return False

    def trusted(path: tuple[object, ...], trusts: frozenset[tuple[bytes, str]]) -> bool:
        head, *rest = path
        if (head.subject.der, head.public_key) in trusts:  # type: ignore[attr-defined]
            return True
        return bool(rest) and head.is_valid_at(now) and trusted(tuple(rest), trusts)  # type: ignore[attr-defined]

    return all(trusted(chain.certificates, build.trusts) for build in builds for chain in complete)


def served(store: LiveStore, sent: str | None) -> tuple[LiveCertificate, ...]:
    default = store.by_fingerprint.get(store.default or "")
    return may_serve(store.certificates, default, sent, store.rule)


@given(fleets())
@thorough
def test_no_prefix_of_a_plan_harms_a_name_that_was_served_by_a_good_certificate(fleet: Fleet) -> None:
    state = fleet.state
    for name in fleet.stores:
        # What is good for the clients of one build is all that these have, whatever others trust.
        every = field(state, name)
        clients = [every, *([each] for each in every if len(every) > 1)]
        asked = [(each, each) for each in state.protected_names(name)] + [(None, state.hostname_without_sni(name))]
        steps = list(walk(fleet, name))
        for (_, before), (action, after) in pairwise(steps):
            note(f"{action}")
            for (sent, wanted), those in product(asked, clients):
                then = served(before, sent)
                good = [each for each in then if is_good(those, before, each, wanted)]
                if not good:
                    continue
                later = served(after, sent)
                bad = [each for each in later if not is_good(those, after, each, wanted)]
                assert len(bad) < len(later), f"{sent} loses its last good certificate"
                was_bad = {each.fingerprint for each in then} - {each.fingerprint for each in good}
                assert {each.fingerprint for each in bad} <= was_bad, f"{sent} gets a candidate that is not good"
                stays = {each.fingerprint for each in good} <= {each.fingerprint for each in later}
                assert stays or not bad, f"{sent} loses a good candidate beside one that is not"


@given(fleets())
@thorough
def test_a_second_plan_has_no_ready_action_and_holds_what_was_held(fleet: Fleet) -> None:
    first = plan(fleet).plan
    second = plan(applied(fleet)).plan
    assert [each.id for each in second.actions if each.state is State.READY] == []
    held = {each.id for each in first.actions if each.state is not State.READY}
    # What was asked for is waited for from now on.
    held |= {each.id.replace("/request/", "/answer/") for each in ready(first.actions) if each.kind == "create_request"}
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


def keys(stores: Mapping[str, LiveStore]) -> frozenset[str]:
    """The keys that some appliance holds, with a certificate or with a pending request."""
    with_rows = {row.certificate.public_key for each in stores.values() for row in each.certificates if row.has_key}
    return frozenset(with_rows | {request.public_key for each in stores.values() for request in each.requests})


def told_to_go(fleet: Fleet) -> frozenset[str]:
    """The keys of what is retired itself: a committed answer, or a request."""
    retired = {each.sha256 for appliance in fleet.state.appliances.values() for each in appliance.model.retired}
    leaves = [each.leaf for each in fleet.state.material.values() if each.leaf]
    requests = [request for each in fleet.stores.values() for request in each.requests]
    listed = {each.public_key for each in leaves if each.fingerprint in retired}
    return frozenset(listed | {each.public_key for each in requests if each.fingerprint in retired})


@given(fleets())
@thorough
def test_no_key_is_lost_that_a_committed_answer_or_an_awaited_request_needs(fleet: Fleet) -> None:
    planning = plan(fleet)
    declared = [fleet.state.material[name].leaf for name in fleet.state.certificates]
    needed = {each.public_key for each in declared if each}
    needed |= {
        request.public_key
        for name, store in fleet.stores.items()
        for request in store.requests
        if planning.requests[name][request.fingerprint].kind is RequestClass.AWAITED
    }
    needed &= keys(fleet.stores) - told_to_go(fleet)
    stores = dict(fleet.stores)
    for step in carry_out(fleet.state, fleet.stores, planning.plan):
        stores[step.action.appliance] = step.after
        assert needed <= keys(stores), f"{step.action.id} loses a key"


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
    for part in (each for each in made.appliances if each.name in fleet.stores):
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
                    assert each.good == is_good(field(fleet.state, part.name), final, live, wanted)


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
    test_no_key_is_lost_that_a_committed_answer_or_an_awaited_request_needs,
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
