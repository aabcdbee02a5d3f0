"""What appliances do when a plan is carried out; written from the guide, not from the planner or the executor.

`carry_out` takes the actions in an order that the plan allows, and asserts on the way what every plan must keep: that
somebody can always go on, that what is lent is there to be lent, and that what is imported finds its key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.live.store import LiveCertificate, LiveStore, PendingRequest
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.issuing import self_signed
from reconciler.pki.keys import create_key
from reconciler.pki.names import parse_name
from reconciler.plan.model import (
    Action,
    CreateRequest,
    CreateSelfSigned,
    Import,
    KeySource,
    Plan,
    Remove,
    RemoveRequest,
    SetDefault,
    State,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from reconciler.desired.state import DesiredState
    from reconciler.pki.certificate import Certificate


@dataclass(frozen=True)
class Step:
    """One action, and the store of its appliance before and after it."""

    action: Action
    before: LiveStore
    after: LiveStore


def carry_out(state: DesiredState, stores: Mapping[str, LiveStore], plan: Plan) -> tuple[Step, ...]:
    """Carry out the ready actions of a plan; the steps in the order in which they were taken."""
    return tuple(_Apply(state, stores, plan).steps)


def afterwards(stores: Mapping[str, LiveStore], steps: tuple[Step, ...]) -> dict[str, LiveStore]:
    """The stores after these steps."""
    return {**stores, **{each.action.appliance: each.after for each in steps}}


class _Apply:
    def __init__(self, state: DesiredState, stores: Mapping[str, LiveStore], plan: Plan) -> None:
        self.now: dt.datetime = plan.made_at
        self.stores = dict(stores)
        self.known: dict[str, Certificate] = {
            **{row.fingerprint: row.certificate for each in stores.values() for row in each.certificates},
            **{leaf.fingerprint: leaf for each in state.material.values() if (leaf := each.leaf)},
            **{one.fingerprint: one for each in state.material.values() for one in each.chain},
        }
        self.made: dict[str, str] = {}
        self.steps: list[Step] = []
        left = {part.name: [each for each in part.actions if each.state is State.READY] for part in plan.appliances}
        follows = {part.name: part.follows for part in plan.appliances}
        brought = [each for actions in left.values() for each in actions]
        self.brought = {
            (each.appliance, each.new if isinstance(each, CreateSelfSigned) else each.fingerprint): each.id
            for each in brought
            if isinstance(each, CreateSelfSigned | Import)
        }
        self._lend_at_once(brought)
        done = set[str]()
        while any(left.values()):
            free = [
                name
                for name, actions in left.items()
                if actions
                and done.issuperset(actions[0].depends_on)
                and not any(left.get(each) for each in follows[name])
            ]
            assert free, f"everybody waits: {[each[0].id for each in left.values() if each]}"
            action = left[free[0]].pop(0)
            before = self.stores[action.appliance]
            after = self.stores[action.appliance] = self._perform(action, before)
            self.steps.append(Step(action, before, after))
            done.add(action.id)

    def _lend_at_once(self, actions: list[Action]) -> None:
        """What no action of the plan brings is exported before anything changes."""
        for action in actions:
            if isinstance(action, Import) and action.loan:
                place = (action.loan.appliance, action.loan.certificate)
                if place in self.brought:
                    assert self.brought[place] in action.depends_on, f"{action.id} does not wait for what it borrows"
                else:
                    row = self.stores[place[0]].by_fingerprint[place[1]]
                    assert row.has_key, f"{place} has no key to lend"
                    assert row.certificate.public_key == action.public_key

    def _perform(self, action: Action, store: LiveStore) -> LiveStore:
        rows = {each.fingerprint: each for each in store.certificates}
        requests = {each.fingerprint: each for each in store.requests}
        default = store.default
        match action:
            case Import():
                self._import(action, rows, requests)
            case CreateSelfSigned():
                row = self._create(action)
                rows[row.fingerprint] = row
            case CreateRequest():
                made = _request(action, store)
                requests[made.fingerprint] = made
            case SetDefault():
                default = self.made.get(action.target, action.target)
                assert rows[default].has_key
            case Remove():
                assert rows.pop(action.fingerprint).fingerprint != default
            case RemoveRequest():
                del requests[action.fingerprint]
        certificates = tuple(rows[each] for each in sorted(rows))
        pending = tuple(requests[each] for each in sorted(requests))
        return replace(store, certificates=certificates, requests=pending, default=default)

    def _import(self, action: Import, rows: dict[str, LiveCertificate], requests: dict[str, PendingRequest]) -> None:
        certificate = self.known[self.made.get(action.fingerprint, action.fingerprint)]
        stored = {row.certificate.public_key for row in rows.values() if row.has_key}
        stored |= {each.public_key for each in requests.values()}
        brings = action.key_source in {KeySource.COMMITTED, KeySource.PEER}
        if action.key_source is KeySource.STORE:
            assert certificate.public_key in stored, f"{action.id} finds no key"
        has_key = brings or certificate.public_key in stored
        rows[certificate.fingerprint] = LiveCertificate(certificate, action.label, has_key)
        for each in [each for each in requests.values() if each.public_key == certificate.public_key]:
            del requests[each.fingerprint]

    def _create(self, action: CreateSelfSigned) -> LiveCertificate:
        names = [parse_name(each) for each in action.subject_alternative_names]
        subject = distinguished_name(list(action.subject))
        made = self_signed(create_key("ec-p256"), subject, names, self.now, action.valid_for)
        self.made[action.new] = made.fingerprint
        self.known[made.fingerprint] = made
        return LiveCertificate(made, action.friendly_name, has_key=True)


def _request(action: CreateRequest, store: LiveStore) -> PendingRequest:
    if action.public_key:
        assert action.public_key in {each.certificate.public_key for each in store.certificates if each.has_key}
    key = action.public_key or hashlib.sha256(f"a new key for {action.id}".encode()).hexdigest()
    names = tuple(map(parse_name, action.subject_alternative_names))
    identity = hashlib.sha256(f"{key} {names} {action.subject}".encode()).hexdigest()
    return PendingRequest(identity, key, action.key, distinguished_name(list(action.subject)), names, request_data="")
