"""A fleet's plan: who comes first, who cannot be planned, what is counted."""

from __future__ import annotations

from dataclasses import replace

from reconciler.base.errors import StoreUnreachable
from reconciler.base.findings import Severity
from reconciler.plan.model import Plan, Progress
from reconciler.plan.planner import Fleet, make_plan
from reconciler.rules import Stopped
from tests.plan.scenes import (
    ALL,
    OWN,
    Scene,
    chain_of,
    found,
    held,
    keyed,
    leaf,
    message,
    one,
    part,
    provided,
    steps,
    store,
)
from tests.support.authority import NOW
from tests.support.desired import desired

CURRENT = leaf(one(), start=-10, names=ALL)
PAIR = Scene({"current": provided(CURRENT)}, default="current", west="")
ADDED = ["import Root One", "import Issuer One", "import current", "default current"]
SETTLED = store(keyed(CURRENT, "current"), chain_of(one()), default=CURRENT)


def test_the_primary_follows_the_other_members() -> None:
    plan = PAIR.planning(store(), store()).plan
    assert (steps(plan), steps(plan, "west")) == (ADDED, ADDED)
    assert (part(plan).follows, part(plan, "west").follows) == (("west",), ())
    assert [each.name for each in plan.appliances] == ["east", "west"]
    assert len({each.id for each in plan.actions}) == len(plan.actions)


class TestUnreachable:
    LOST = StoreUnreachable("the folder cannot be read", "look at its permissions")

    def plan(self) -> Plan:
        return PAIR.planning(store(), failures={"west": self.LOST}).plan

    def test_is_that_appliances_finding_and_the_others_go_on(self) -> None:
        plan = self.plan()
        assert part(plan, "west").progress is Progress.UNREACHABLE
        assert part(plan, "west").actions == ()
        [finding] = part(plan, "west").findings
        assert (finding.rule, finding.severity, finding.appliance) == ("unreachable", Severity.ERROR, "west")
        assert str(finding).endswith("the folder cannot be read - look at its permissions")
        assert steps(plan) == ADDED

    def test_nobody_waits_for_it(self) -> None:
        assert part(self.plan()).follows == ()
        assert set(self.plan().basis.live_digests) == {"east"}

    def test_an_error_without_remedy_still_says_what_to_do(self) -> None:
        plan = PAIR.planning(store(), failures={"west": StoreUnreachable("gone")}).plan
        assert message(plan, "unreachable") == "gone - make its store readable, then plan again"


def test_a_stopped_appliance_is_left_alone_and_its_certificates_are_still_told_apart() -> None:
    planning = PAIR.planning(store(), SETTLED, stopped=Stopped(appliances=frozenset({"west"})))
    assert part(planning.plan, "west").progress is Progress.STOPPED
    assert part(planning.plan, "west").actions == ()
    assert steps(planning.plan) == ADDED
    assert planning.classes["west"][CURRENT.certificate.fingerprint].certificate == "current"


def test_only_some_appliances_can_be_planned() -> None:
    plan = PAIR.planning(store(), store(), only=frozenset({"west"})).plan
    assert [each.name for each in plan.appliances] == ["west"]
    assert plan.basis.live_digests.keys() == {"west"}


def test_the_ready_actions_are_counted_by_kind_and_the_others_by_state() -> None:
    before = keyed(leaf(one(), start=-300), "before")
    scene = Scene({"current": provided(CURRENT), "own": OWN}, default="current", policy="keep_previous: 20d")
    summary = scene.plan(store(before, chain_of(one()), default=before)).summary
    assert (summary.create, summary.import_, summary.set_default, summary.remove) == (1, 1, 1, 0)
    assert (summary.held, summary.waiting, summary.ready) == (1, 0, 3)


def test_held_actions_come_last() -> None:
    before = keyed(leaf(one(), start=-300), "before")
    scene = Scene({"current": provided(CURRENT)}, default="current", policy="keep_previous: 20d")
    plan = scene.plan(store(before, chain_of(one()), default=before))
    assert [each.state.value for each in plan.actions] == ["ready", "ready", "held"]
    assert set(held(plan)) == {"remove before"}


def test_an_unfinished_change_is_a_warning() -> None:
    plan = replace(PAIR, west=None).plan(replace(SETTLED, unfinished="a reload is due"))
    assert found(plan) == ["unfinished-change"]
    assert message(plan, "unfinished-change").startswith("a reload is due - ")


def test_a_lone_appliance_is_its_own_primary_and_its_hostname_stands_for_no_server_name() -> None:
    files = {
        "appliances/alone.yaml": "hostname: alone.example.com\nstore: {driver: directory}\ncertificates: [own]\n"
        "default: own\nclient_software: none\n",
        "certificates/own.yaml": OWN.replace("access.example.com", "alone.example.com"),
    }
    plan = make_plan(Fleet(desired(files), {"alone": store()}, {}, (), Stopped()), NOW).plan
    assert steps(plan, "alone") == ["create own", "default own"]
    assert [each.name for each in part(plan, "alone").serving] == ["alone.example.com", None]
    assert all(each.good for row in part(plan, "alone").serving for each in row.after)
    assert (part(plan, "alone").site, part(plan, "alone").follows) == (None, ())


def test_a_plan_says_when_and_from_what_it_was_made() -> None:
    plan = replace(PAIR, west=None).plan(SETTLED)
    assert (plan.made_at, plan.as_of) == (NOW, None)
    assert plan.basis.live_digests == {"east": SETTLED.digest}


def test_a_plan_survives_being_saved_and_read() -> None:
    plan = PAIR.planning(store(), store()).plan
    assert Plan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan


def test_what_the_appliance_lists_itself_is_found_there() -> None:
    own = OWN.replace("source: {kind: self_signed, valid_for: 365d}", "source: {kind: requested}")
    files = {
        "appliances/alone.yaml": "hostname: alone.example.com\nstore: {driver: directory}\n"
        "certificates: [own]\nclient_software: none\n",
        "certificates/own.yaml": own,
    }
    plan = make_plan(Fleet(desired(files), {"alone": store()}, {}, (), Stopped()), NOW).plan
    [action] = part(plan, "alone").actions
    assert (action.kind, action.source) == ("create_request", "certificates/own.yaml:4")


def test_a_certificate_whose_file_is_broken_is_nobodys() -> None:
    files = {
        "appliances/alone.yaml": "hostname: alone.example.com\nstore: {driver: directory}\n"
        "certificates: [gone]\nclient_software: none\n",
    }
    stopped = Stopped(appliances=frozenset({"alone"}))
    live = store(keyed(CURRENT, "current"))
    planning = make_plan(Fleet(desired(files), {"alone": live}, {}, (), stopped), NOW)
    assert part(planning.plan, "alone").actions == ()
    assert planning.classes["alone"][CURRENT.certificate.fingerprint].certificate is None
