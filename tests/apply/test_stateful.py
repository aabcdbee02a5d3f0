"""Whatever people, other administrators, time and faults do, in any order: no apply harms or loses, all converges.

Random histories of a failover pair: on appliances in memory, on certificate directories, and on the lab's appliances
behind the web driver. Somebody looks at every store after every call of a driver. That these histories are worth
something is proved, too: without the run-time check they end in harm, and without the preconditions of actions in what
another administrator has chosen being undone.
"""

from __future__ import annotations

import datetime as dt
import re
import tempfile
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import pytest
from cryptography import x509
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from reconciler.apply.result import Outcome
from reconciler.lab.faults import Fault as LabFault
from reconciler.lab.faults import FaultKind
from reconciler.live.store import Origin
from reconciler.plan.model import Import, Remove, SetDefault, State
from tests.apply.meddling import MEDDLING
from tests.apply.stage import Stage
from tests.plan.scenarios import AT_ONCE, BOTH_ROOTS, EXPIRED, NARROW, NEW, OLD, OTHER, TITLED, WILDCARD
from tests.plan.scenes import ALL, NO_CLIENTS, OWN, Requested, Scene, builds, one, part, provided, requested, two
from tests.plan.watching import Watch, carry_out, plan_for
from tests.support.authority import DAY, NOW, Issued
from tests.support.in_lab import IMPATIENT, PATIENT, InLab, hosting
from tests.support.memory import Fault, MemoryStore
from tests.support.on_disk import OnDisk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from reconciler.apply.result import ApplianceResult
    from reconciler.desired.state import DesiredState
    from reconciler.lab.appliance import LabAppliance
    from reconciler.live.store import LiveStore
    from reconciler.plan.model import Action, Plan
    from tests.apply.meddling import Meddling
    from tests.plan.scenes import Provided
    from tests.plan.watching import Appliance
    from tests.support.authority import Authority

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
CHANGES = ["import", "set_default", "remove", "create_request", "create_self_signed", "export"]
KINDS = [each for each in FaultKind if each not in {FaultKind.LATENCY, FaultKind.CONCURRENT}]
FAULTS = [Fault.REFUSE, Fault.LOST_BEFORE, Fault.LOST_AFTER, Fault.UNREACHABLE, Fault.CRASH, Fault.CRASH_AFTER]
members = st.sampled_from(MEMBERS)
meddling = st.sampled_from(MEDDLING)
numbers = st.integers(0, 20)
issuers = st.builds(lambda number: (one(), two())[number], st.integers(0, 1))
requests = st.integers(1, 60)


def _shows(action: Action, store: LiveStore) -> bool | None:
    """Whether a store shows the effect of an action; None where that is not to be told by a fingerprint."""
    match action:
        case Import(role="leaf", fingerprint=ref) if len(ref) == _SHA256:
            return ref in store.by_fingerprint and store.by_fingerprint[ref].has_key
        case SetDefault(target=ref) if len(ref) == _SHA256:
            return store.default == ref
        case Remove(fingerprint=ref):
            return ref not in store.by_fingerprint
        case _:
            return None


_SHA256 = 64


class Fleet(RuleBasedStateMachine):
    """A failover pair, what is declared for it, and what happens to it."""

    guarded = True
    expecting = True
    looks: ClassVar = 0
    stopped: ClassVar = Counter[str]()
    wrong: ClassVar = list[str]()

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
        self.retired: dict[str, str] = {}

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
            answer = authority.sign(request, not_before=self.now - DAY / 24, not_after=self.now + 90 * DAY)
            chain = (authority.certificate, *authority.chain)
            self.access = requested(Issued(answer, OLD.key, chain), more=more)
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
            chosen = rows[number % len(rows)].certificate
            self.retired = {chosen.fingerprint: chosen.public_key}  # its key is told to go as well

    # What else happens.

    @rule(hours=st.sampled_from([1, 25, 49, 24 * 8, 24 * 40]))
    def time_passes(self, hours: int) -> None:
        self.now += dt.timedelta(hours=hours)
        for each in self.stores.values():
            each.now = self.now

    @rule(member=members, what=meddling, number=numbers)
    def an_administrator_is_at_work(self, member: str, what: Meddling, number: int) -> None:
        what(self.stores[member], number)

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
        self.carry_out(self.plan(), lambda scope: self.before(member, (call, number), scope.cancel))

    @rule(member=members, number=st.integers(1, 7), what=meddling, which=numbers)
    def apply_while_an_administrator_is_at_work(self, member: str, number: int, what: Meddling, which: int) -> None:
        """What is done before a look is seen before anything else is done."""
        self.carry_out(self.plan(), watch=self.meanwhile(member, ("observe", number), what, which))

    @rule(member=members, call=st.sampled_from(CHANGES), number=st.integers(1, 3), what=meddling, which=numbers)
    def apply_while_an_administrator_is_unseen(
        self, member: str, call: str, number: int, what: Meddling, which: int
    ) -> None:
        """What is done between a look and an act nobody can see, and it may turn the act harmful."""
        self.carry_out(self.plan(), watch=self.meanwhile(member, (call, number), what, which), seen=False)

    @rule(
        issuer=issuers,
        member=members,
        kind=st.sampled_from(["import", "set_default", "remove"]),
        visit=st.integers(1, 2),
        what=meddling,
        which=numbers,
    )
    def renew_while_an_administrator_is_at_work(
        self, issuer: Authority, member: str, kind: str, visit: int, what: Meddling, which: int
    ) -> None:
        """Everything is to come, perhaps a chain, too; somebody is at work before the look that leads to an action."""
        self.renew(issuer, 90 * DAY)
        made = self.plan()
        kinds = [each.kind for each in part(made, member).actions if each.state is State.READY]
        # The store is looked at before the first action, after each one, and whenever it is opened again.
        number = visit + (kinds.index(kind) if kind in kinds else 0)
        self.carry_out(made, watch=self.meanwhile(member, ("observe", number), what, which))

    @rule(
        issuer=issuers,
        member=members,
        call=st.sampled_from(["import", "set_default", "remove", "observe"]),
        number=st.integers(1, 3),
        fault=st.sampled_from(FAULTS),
        by_name=st.booleans(),
    )
    def renew_while_a_fault_strikes(
        self, issuer: Authority, member: str, call: str, number: int, fault: Fault, *, by_name: bool
    ) -> None:
        """Where another certificate is the default, no appliance keeps the old one from going too early."""
        self.renew(issuer, 90 * DAY)
        if by_name:
            self.scene = replace(self.scene, default=None)
            for each in self.stores.values():
                each.default = next(row.fingerprint for row in each.live.certificates if row.origin is Origin.FACTORY)
        self.apply_while_a_fault_strikes(member=member, call=call, number=number, fault=fault)

    @rule(issuer=issuers, hours=st.sampled_from([1, 30]))
    def renew_too_late(self, issuer: Authority, hours: int) -> None:
        """A plan is carried out when what it brings may have expired."""
        self.renew(issuer, DAY)
        made = self.plan()
        self.time_passes(hours=hours)
        self.carry_out(made)

    def renew(self, issuer: Authority, lifetime: dt.timedelta) -> None:
        """Declare a new certificate that is trusted by all clients and takes the place of every other at once."""
        hour = dt.timedelta(hours=1)
        self.access = provided(issuer.issue(ALL, not_before=self.now - hour, not_after=self.now + lifetime))
        self.scene = replace(self.scene, default="access", clients=BOTH_ROOTS, policy=AT_ONCE)

    def meanwhile(self, member: str, place: tuple[str, int], what: Meddling, which: int) -> Watch:
        """Let somebody be at work on a store just before a call of its driver, and somebody else look at everything."""
        store, watch = self.stores[member], self.watch()

        def act() -> None:
            watch.look()
            what(store, which)
            watch.begin()

        self.before(member, place, act)
        return watch

    def before(self, member: str, place: tuple[str, int], act: Callable[[], object]) -> None:
        """Let something happen before a call of a store's driver, which is counted from now on."""
        store, (call, number) = self.stores[member], place
        store.meanwhile[call, Counter(store.calls)[call] + number] = act

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
        default = self.scene.default if self.scene.default in {None, *certificates} else "access"
        listed = ", ".join(f"{{sha256: '{each}', reason: told to}}" for each in sorted(self.retired))
        retired = f"retired: [{listed}]\n"
        east, west = f"{self.scene.east}{retired}", f"{self.scene.west}{retired}"
        return replace(self.scene, certificates=certificates, default=default, east=east, west=west)

    def watch(self) -> Watch:
        """Somebody who looks at everything."""
        return Watch(self.state, self.stores, lambda: self.now)

    @property
    def state(self) -> DesiredState:
        """The desired state."""
        return Stage(self.scene_now(), {}).state

    def plan(self) -> Plan:
        """Plan as of now."""
        return plan_for(self.state, self.observed(), self.now)

    def observed(self) -> dict[str, LiveStore]:
        """What the drivers observe."""
        return {name: each.live for name, each in self.stores.items()}

    def hosting(self) -> AbstractAsyncContextManager[object]:
        """Where the appliances can be reached."""
        return nullcontext()

    def carry_out(
        self,
        made: Plan,
        begun: Callable[[anyio.CancelScope], object] = lambda _: None,
        *,
        watch: Watch | None = None,
        seen: bool = True,
    ) -> None:
        """Carry a plan out; nobody is harmed and nothing is lost.

        Args:
            made: The plan.
            begun: Told of the scope in which it is carried out.
            watch: Who looks at everything; without one, nobody changes anything meanwhile, and results are to be true.
            seen: Whether what others do meanwhile can be seen before the next act.
        """
        watching = watch or self.watch()
        asked = {each.public_key for store in self.stores.values() for each in store.live.requests}
        results = carry_out(
            made,
            watching,
            guarded=self.guarded,
            expecting=self.expecting,
            begun=begun,
            hosting=self.hosting(),
        )
        for each in self.stores.values():
            each.meanwhile.clear()
        self.note(watching, results)
        if seen:
            wrong = [*watching.harmed, *watching.undone]
            Fleet.wrong += wrong
            assert not wrong, wrong
        if watch is None:
            untrue = list(self.untrue(made, results))
            assert not untrue, untrue
        # What nobody waits for any more may be withdrawn.
        loose = set[str]() if isinstance(self.access, Requested) else asked
        assert not set(watching.lost) - set(self.retired.values()) - loose

    def untrue(self, made: Plan, results: Mapping[str, ApplianceResult]) -> Iterator[str]:
        """Results that tell of something else than what the stores show."""
        actions = {each.id: each for each in made.actions}
        for name, step in ((name, step) for name, each in results.items() for step in each.steps):
            shows = _shows(actions[step.action], self.stores[name].live)
            is_sure = not step.message.startswith("whether it had its effect is not known")
            if step.outcome is Outcome.APPLIED and shows is False:
                yield f"{step.action} is said to be applied"
            if step.outcome is Outcome.FAILED and is_sure and shows:
                yield f"{step.action} is said to have failed: {step.message}"

    def note(self, watch: Watch, results: Mapping[str, ApplianceResult]) -> None:
        """Count what happened."""
        Fleet.looks += watch.looks
        for step in (step for each in results.values() for step in each.steps):
            if step.message.startswith("it was not done, since"):
                Fleet.stopped["run-time check"] += 1
            elif step.outcome is Outcome.STALE:
                Fleet.stopped["precondition"] += 1


class FleetOnDisk(Fleet):
    """The same on certificate directories."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        super().__init__()

    def make(self, name: str) -> Appliance:
        return OnDisk(Path(self.folder.name, name))

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.folder.cleanup()


class FleetInLab(FleetOnDisk):
    """The same behind the web driver, with the lab's own faults."""

    def make(self, name: str) -> InLab:
        return InLab(name, Path(self.folder.name))

    @property
    def labs(self) -> Mapping[str, InLab]:
        """The appliances, as the lab has them."""
        return {name: each for name, each in self.stores.items() if isinstance(each, InLab)}

    def hosting(self) -> AbstractAsyncContextManager[object]:
        return hosting(self.labs.values())

    def observed(self) -> dict[str, LiveStore]:
        async def observe() -> dict[str, LiveStore]:
            async with self.hosting():
                return {name: await each.observe() for name, each in self.labs.items()}

        return anyio.run(observe)

    @rule(member=members, number=requests, kind=st.sampled_from(KINDS))
    def apply_while_the_interface_fails(self, member: str, number: int, kind: FaultKind) -> None:
        lab = self.labs[member]
        made = self.plan()
        lab.appliance.faults.at(number, LabFault(kind, seconds=0.01))
        self.carry_out(made)
        lab.appliance.faults.clear()

    @rule(member=members, number=requests)
    def apply_while_a_reply_is_late(self, member: str, number: int) -> None:
        """So late that it is not waited for, and the effect comes after the next look."""
        lab = self.labs[member]
        made = self.plan()
        lab.limits = IMPATIENT
        lab.appliance.faults.at(number, LabFault(FaultKind.LATENCY, seconds=IMPATIENT.patience * 1.2))
        self.carry_out(made, watch=self.watch())
        lab.appliance.faults.clear()
        lab.limits = PATIENT

    @rule(member=members, number=requests)
    def apply_while_an_appliance_restarts(self, member: str, number: int) -> None:
        async def act(_: LabAppliance) -> None:
            lab.restart()

        lab = self.labs[member]
        made = self.plan()
        lab.appliance.faults.at(number, LabFault(FaultKind.CONCURRENT, act=act))
        self.carry_out(made)
        lab.appliance.faults.clear()

    @rule(member=members, number=requests)
    def apply_and_be_killed_at_a_request(self, member: str, number: int) -> None:
        """The request has come in, and what it asks for happens though nobody waits for the reply."""
        lab = self.labs[member]

        def begun(scope: anyio.CancelScope) -> None:
            async def act(_: LabAppliance) -> None:
                scope.cancel()

            lab.appliance.faults.at(number, LabFault(FaultKind.CONCURRENT, act=act))

        self.carry_out(self.plan(), begun)
        lab.appliance.faults.clear()

    @rule(member=members, number=requests, what=meddling, which=numbers)
    def apply_while_an_administrator_is_at_work_at_a_request(
        self, member: str, number: int, what: Meddling, which: int
    ) -> None:
        """Whether it is seen in time depends on the request."""
        lab, made, watch = self.labs[member], self.plan(), self.watch()

        async def act(_: LabAppliance) -> None:
            watch.look()
            what(lab, which)
            watch.begin()

        lab.appliance.faults.at(number, LabFault(FaultKind.CONCURRENT, act=act))
        self.carry_out(made, watch=watch, seen=False)
        lab.appliance.faults.clear()


def run_at_random(machine: type[Fleet], examples: int, *, steps: int = 15, **more: Any) -> None:  # noqa: ANN401
    """Try histories."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            **more,
        ),
    )


@pytest.mark.prove
@pytest.mark.parametrize(
    ("machine", "examples", "steps"), [(Fleet, 120, 20), (FleetOnDisk, 25, 15), (FleetInLab, 10, 12)]
)
def test_no_history_harms_or_loses_anything(
    machine: type[Fleet], examples: int, steps: int, record_property: Callable[[str, object], None]
) -> None:
    Fleet.looks, Fleet.stopped = 0, Counter()
    run_at_random(machine, examples, steps=steps)
    record_property("cases", Fleet.looks)
    record_property("stopped", dict(Fleet.stopped))


# What the histories are worth


class Unguarded(Fleet):
    """Without the run-time check."""

    guarded = False


class Careless(Fleet):
    """Without preconditions."""

    expecting = False


class Bold(Fleet):
    """With neither."""

    guarded = expecting = False


class UnguardedInLab(FleetInLab):
    """Without the run-time check, behind the web driver."""

    guarded = False


_HARM, _UNDONE = "not good|last good certificate", "has chosen another default"


@pytest.mark.parametrize(
    ("machine", "seen"),
    [
        (Unguarded, _HARM),
        (Careless, _UNDONE),
        (Bold, f"{_HARM}|{_UNDONE}"),
        pytest.param(UnguardedInLab, _HARM, marks=pytest.mark.prove),
    ],
)
def test_without_a_safeguard_some_history_does_harm(machine: type[Fleet], seen: str) -> None:
    """Each safeguard is needed, and who watches is not blind."""
    Fleet.wrong = []
    # Whether it happens the same way twice is not the question.
    with suppress(AssertionError, Flaky):
        the_same_every_time(machine, 300)
    assert re.search(seen, "\n".join(Fleet.wrong))


@pytest.mark.prove
def test_with_its_safeguards_no_history_does_harm() -> None:
    the_same_every_time(Fleet, 60)


def the_same_every_time(machine: type[Fleet], examples: int) -> None:
    """Try histories, always the same ones, up to the first that does harm."""
    run_at_random(
        machine, examples, derandomize=True, database=None, phases=[Phase.generate], report_multiple_bugs=False
    )
