"""Whatever people, other administrators, time and faults do, in any order: no apply harms or loses, all converges.

Random histories of a failover pair, on appliances in memory and on certificate directories. Somebody looks at every
store after every call of a driver.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from reconciler.live.store import Origin
from reconciler.plan.model import State
from tests.apply.stage import Stage
from tests.plan.scenarios import AT_ONCE, EXPIRED, NARROW, NEW, OLD, OTHER, TITLED, WILDCARD
from tests.plan.scenes import NO_CLIENTS, OWN, Requested, Scene, builds, one, provided, requested, two
from tests.plan.watching import Watch, carry_out, plan
from tests.support.authority import DAY, NOW, Issued
from tests.support.memory import Fault, MemoryStore
from tests.support.on_disk import OnDisk

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.plan.model import Plan
    from tests.plan.scenes import Provided
    from tests.plan.watching import Appliance

MEMBERS = ("east", "west")
PROVIDED = {"old": OLD, "new": NEW, "other": OTHER, "expired": EXPIRED, "narrow": NARROW, "titled": TITLED}
CLIENTS = [
    NO_CLIENTS,
    builds((-400, [one()])),
    builds((-400, [one(), two()])),
    builds((-400, [one()]), (1, [one(), two()])),
    builds((-400, [one()]), (-1, [two()])),
]
CALLS = ["observe", "import", "set_default", "remove", "create_request", "create_self_signed", "export", "open"]
FAULTS = [Fault.REFUSE, Fault.LOST_BEFORE, Fault.LOST_AFTER, Fault.UNREACHABLE, Fault.CRASH, Fault.CRASH_AFTER]
members = st.sampled_from(MEMBERS)


class Fleet(RuleBasedStateMachine):
    """A failover pair, what is declared for it, and what happens to it."""

    applies = 0
    looks = 0

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        chain = [*one().chain, one().certificate]
        self.stores = {name: self.make(name) for name in MEMBERS}
        for each in self.stores.values():
            each.put(*chain).put(OLD, default=True)
        self.access: Provided | Requested = provided(OLD)
        self.more: dict[str, Provided | str] = {}
        self.scene = Scene({}, default="access", policy=AT_ONCE, west="")
        self.retired: set[str] = set()

    def make(self, _: str) -> Appliance:
        """An appliance as it comes from the factory."""
        return MemoryStore()

    # What people commit.

    @rule(choice=st.sampled_from(sorted(PROVIDED)))
    def declare(self, choice: str) -> None:
        self.access = provided(PROVIDED[choice])

    @rule(more=st.sampled_from(["", "renew_with: new_key\n"]))
    def ask_a_ca(self, more: str) -> None:
        self.access = requested(more=more)

    @rule(member=members, issuer=st.sampled_from([one(), two()]), more=st.sampled_from(["", "renew_with: new_key\n"]))
    def commit_an_answer(self, member: str, issuer: object, more: str) -> None:
        authority = one() if issuer is one() else two()
        for pending in self.stores[member].live.requests:
            request = x509.load_pem_x509_csr(pending.request_data.encode())
            leaf = authority.sign(request, not_before=self.now - DAY / 24, not_after=self.now + 90 * DAY)
            chain = (authority.certificate, *authority.chain)
            self.access = requested(Issued(leaf, OLD.key, chain), more=more)
            return

    @rule(spare=st.booleans(), own=st.booleans())
    def declare_more(self, *, spare: bool, own: bool) -> None:
        self.more = {**({"spare": provided(WILDCARD)} if spare else {}), **({"own": OWN} if own else {})}

    @rule(default=st.sampled_from(["access", "spare", "own", None]), clients=st.sampled_from(CLIENTS))
    def change_the_site(self, default: str | None, clients: str) -> None:
        self.scene = replace(self.scene, default=default, clients=clients)

    @rule(keep=st.booleans(), kept=st.sampled_from([AT_ONCE, "keep_previous: 7d"]))
    def change_what_stays(self, *, keep: bool, kept: str) -> None:
        undeclared = f"undeclared: {'keep' if keep else 'remove'}\n"
        self.scene = replace(self.scene, east=undeclared, west=undeclared, policy=kept)

    @rule(member=members, number=st.integers(0, 9))
    def retire(self, member: str, number: int) -> None:
        rows = [each for each in self.stores[member].live.certificates if each.origin is not Origin.FACTORY]
        if rows:
            self.retired = {rows[number % len(rows)].fingerprint}

    # What else happens.

    @rule(hours=st.sampled_from([1, 25, 49, 24 * 8, 24 * 40]))
    def time_passes(self, hours: int) -> None:
        self.now += dt.timedelta(hours=hours)
        for each in self.stores.values():
            each.now = self.now

    @rule(member=members, what=st.sampled_from(["put", "remove", "default"]), number=st.integers(0, 20))
    def an_administrator_is_at_work(self, member: str, what: str, number: int) -> None:
        self.meddle(member, what, number)

    def meddle(self, member: str, what: str, number: int) -> None:
        """Change a store as a person may."""
        store = self.stores[member]
        rows = [each for each in store.live.certificates if each.origin is not Origin.FACTORY]
        chosen = rows[number % len(rows)] if rows else None
        if what == "put":
            issued = [*PROVIDED.values(), WILDCARD]
            store.put(issued[number % len(issued)])
        elif chosen and what == "default" and chosen.has_key:
            store.default = chosen.fingerprint
        elif chosen and what == "remove" and chosen.fingerprint != store.default:
            store.drop(chosen.fingerprint)

    # Applies, undisturbed and disturbed.

    @rule()
    def apply(self) -> None:
        self.carry_out(self.plan())

    @rule(member=members, call=st.sampled_from(CALLS), number=st.integers(1, 3), fault=st.sampled_from(FAULTS))
    def apply_while_a_fault_strikes(self, member: str, call: str, number: int, fault: Fault) -> None:
        store = self.stores[member]
        store.faults[call, Counter(store.calls)[call] + number] = fault
        self.carry_out(self.plan())
        store.faults.clear()

    @rule(member=members, call=st.sampled_from(CALLS), number=st.integers(1, 3))
    def apply_and_be_killed(self, member: str, call: str, number: int) -> None:
        store = self.stores[member]
        place = call, Counter(store.calls)[call] + number

        def begun(scope: object) -> None:
            store.meanwhile[place] = scope.cancel  # type: ignore[attr-defined]

        self.carry_out(self.plan(), begun)
        store.meanwhile.clear()

    @rule(
        member=members,
        call=st.sampled_from(CALLS),
        number=st.integers(1, 3),
        what=st.sampled_from(["put", "remove", "default"]),
        which=st.integers(0, 20),
    )
    def apply_while_an_administrator_is_at_work(
        self, member: str, call: str, number: int, what: str, which: int
    ) -> None:
        store, watch = self.stores[member], self.watch()

        def meanwhile() -> None:
            watch.look()
            self.meddle(member, what, which)
            watch.begin()

        store.meanwhile[call, Counter(store.calls)[call] + number] = meanwhile
        self.carry_out(self.plan(), watch=watch)
        store.meanwhile.clear()

    @rule()
    def converge(self) -> None:
        for _ in range(3):
            made = self.plan()
            if all(each.state is not State.READY for each in made.actions):
                return
            self.carry_out(made)
        left = [each.id for each in self.plan().actions if each.state is State.READY]
        assert not left, f"it does not come to an end: {left}"

    def teardown(self) -> None:
        self.converge()

    def scene_now(self) -> Scene:
        """What is declared by now."""
        certificates = {"access": self.access, **self.more}
        default = self.scene.default if self.scene.default in certificates else "access"
        listed = ", ".join(f"{{sha256: '{each}', reason: told to}}" for each in sorted(self.retired))
        retired = f"retired: [{listed}]\n"
        east, west = f"{self.scene.east}{retired}", f"{self.scene.west}{retired}"
        return replace(self.scene, certificates=certificates, default=default, east=east, west=west)

    def watch(self) -> Watch:
        """Somebody who looks at everything."""
        return Watch(Stage(self.scene_now(), {}).state, self.stores, lambda: self.now)

    def plan(self) -> Plan:
        """Plan as of now."""
        return plan(Stage(self.scene_now(), {}).state, self.stores, self.now)

    def carry_out(
        self, made: Plan, begun: Callable[[object], None] = lambda _: None, watch: Watch | None = None
    ) -> None:
        """Carry a plan out; nobody is harmed and nothing is lost."""
        watching = watch or self.watch()
        asked = {each.public_key for store in self.stores.values() for each in store.live.requests}
        carry_out(made, watching, begun=begun)
        Fleet.applies += 1
        Fleet.looks += watching.looks
        assert not watching.harmed
        # What nobody waits for any more may be withdrawn.
        loose = set[str]() if isinstance(self.access, Requested) else asked
        assert not set(watching.lost) - self.retired_keys() - loose

    def retired_keys(self) -> set[str]:
        """The keys of what is told to go."""
        known = {each.certificate.fingerprint: each.certificate.public_key for each in (*PROVIDED.values(), WILDCARD)}
        return {known[each] for each in self.retired if each in known}


class FleetOnDisk(Fleet):
    """The same on certificate directories."""

    def make(self, name: str) -> Appliance:
        if not hasattr(self, "folder"):
            self.folder = tempfile.TemporaryDirectory()
        return OnDisk(Path(self.folder.name, name))

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.folder.cleanup()


def run_at_random(machine: type[Fleet], examples: int) -> None:
    """Try histories."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.prove
@pytest.mark.parametrize(("machine", "examples"), [(Fleet, 100), (FleetOnDisk, 30)])
def test_no_history_harms_or_loses_anything(
    machine: type[Fleet], examples: int, record_property: Callable[[str, object], None]
) -> None:
    before = Fleet.looks
    run_at_random(machine, examples)
    record_property("cases", Fleet.looks - before)
