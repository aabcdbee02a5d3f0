"""What is held: what would harm a protected name that a good certificate may serve now, until when, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.live.store import Operation
from reconciler.plan.model import State
from reconciler.rules import check
from tests.plan.scenes import (
    ALL,
    CERTAIN,
    EVERYTHING,
    NO_CLIENTS,
    OWN,
    SITE,
    Scene,
    builds,
    chain_of,
    found,
    held,
    keyed,
    leaf,
    message,
    one,
    own,
    part,
    provided,
    say,
    steps,
    store,
    two,
)
from tests.support.authority import DAY, NOW, Authority

if TYPE_CHECKING:
    from reconciler.plan.model import Plan

OLD, NEW = leaf(one(), start=-340, end=25), leaf(two(), start=-1)
LIVE = store(keyed(OLD, "old"), chain_of(one()), default=OLD)
CHANGE = Scene({"new": provided(NEW)}, default="new")
SETTLING = builds((-400, [one()]), (-1, [one(), two()]))


def _sentences(plan: Plan) -> dict[str, str]:
    return {say(each): each.hold.reason.sentence for each in plan.actions if each.hold}


class TestANewCertificationAuthority:
    def test_is_held_to_the_instant_at_which_the_build_has_settled(self) -> None:
        plan = replace(CHANGE, clients=SETTLING).plan(LIVE)
        assert steps(plan) == ["import Root Two", "import Issuer Two"]
        assert held(plan) == {
            "import new": ("untrusted-by-clients", NOW + DAY),
            "default new": ("follows", None),
        }
        assert found(plan) == ["client-settling"]
        assert "from 2026-11-24 12:00 UTC" in message(plan, "client-settling")

    def test_goes_at_that_instant_and_not_a_second_before(self) -> None:
        scene = replace(CHANGE, clients=SETTLING)
        last = NOW + DAY
        assert "import new" in held(scene.plan(LIVE, now=last - DAY / 86400))
        assert steps(scene.plan(LIVE, now=last))[-2:] == ["import new", "default new"]

    def test_settle_is_the_sites_own(self) -> None:
        plan = replace(CHANGE, clients=SETTLING, site="settle: 26h\n").plan(LIVE)
        assert held(plan)["import new"] == ("untrusted-by-clients", NOW + DAY / 12)

    def test_without_a_build_it_is_held_without_an_end_and_a_person_is_told_what_to_do(self) -> None:
        plan = replace(CHANGE, clients=builds((-400, [one()]))).plan(LIVE)
        assert held(plan)["import new"] == ("untrusted-by-clients", None)
        assert found(plan) == ["ca-change-unprepared"]
        [hand] = plan.by_hand
        assert (hand.code, hand.where) == ("client-software", "access")
        assert "new" in hand.what
        assert _sentences(plan) == {
            "import new": "clients of access.example.com would get a certificate that is not good: the software build"
            " of 2025-10-19 12:00 UTC does not trust Root Two; a declared build that trusts it releases it",
            "default new": "it waits for the import of new on east",
        }

    def test_what_is_told_stands_where_the_desired_state_alone_tells_it_and_with_the_same_remedy(self) -> None:
        scene = replace(CHANGE, clients=builds((-500, [one()]), (-400, [one()])))
        [alone] = [each for each in check(scene.state, NOW) if each.rule == "build-trusts-root"]
        [told] = [each for each in scene.plan(LIVE).all_findings if each.rule == "ca-change-unprepared"]
        assert told.message == "new is held until a declared software build trusts its root"
        assert (told.position, told.remedy) == (alone.position, alone.remedy)

    def test_with_a_build_to_come_it_is_held_to_the_instant_at_which_that_will_have_settled(self) -> None:
        plan = replace(CHANGE, clients=builds((-400, [one()]), (+3, [one(), two()]))).plan(LIVE)
        assert held(plan)["import new"] == ("untrusted-by-clients", NOW + 5 * DAY)

    def test_a_build_that_leaves_the_old_root_out_takes_nothing_from_those_who_have_not_updated_yet(self) -> None:
        # While it settles, half of the clients know only Root One and half only Root Two: nothing is good for both. Who
        # has the new build lacks a certificate by what was declared; who has not must be able to come and fetch it.
        dropping = replace(CHANGE, clients=builds((-400, [one()]), (-1, [two()])))
        assert held(dropping.plan(LIVE))["import new"] == ("untrusted-by-clients", NOW + DAY)
        settled = replace(CHANGE, clients=builds((-400, [one()]), (-2, [two()])))
        assert steps(settled.plan(LIVE))[-2:] == ["import new", "default new"]

    def test_where_no_clients_exist_yet_it_simply_goes(self) -> None:
        plan = CHANGE.plan(LIVE)
        assert steps(plan) == ["import Root Two", "import Issuer Two", "import new", "default new"]
        assert found(plan) == []

    def test_where_nothing_good_is_served_there_is_nothing_to_lose(self) -> None:
        lapsed = leaf(one(), start=-400, end=-1)
        plan = replace(CHANGE, clients=SETTLING).plan(store(keyed(lapsed, "lapsed"), chain_of(one()), default=lapsed))
        assert steps(plan)[-2:] == ["import new", "default new"]

    def test_a_renewal_from_the_same_authority_is_not_held(self) -> None:
        renewal = Scene({"new": provided(leaf(one(), start=-1))}, default="new", clients=builds((-400, [one()])))
        assert steps(renewal.plan(LIVE)) == ["import new", "default new"]


class TestAHoldThatOutlives:
    def test_the_certificate_that_serves_now_is_an_error_as_soon_as_it_can_be_foreseen(self) -> None:
        ending = leaf(one(), start=-364, end=1)
        live = store(keyed(ending, "ending"), chain_of(one()), default=ending)
        plan = replace(CHANGE, clients=SETTLING).plan(live)
        assert held(plan)["import new"] == ("untrusted-by-clients", NOW + DAY)
        assert found(plan) == ["hold-outlives-certificate"]
        assert "expires on 2026-11-24 12:00 UTC" in message(plan, "hold-outlives-certificate")

    def test_a_moment_more_is_enough(self) -> None:
        ending = leaf(one(), start=-364, end=1.01)
        live = store(keyed(ending, "ending"), chain_of(one()), default=ending)
        assert found(replace(CHANGE, clients=SETTLING).plan(live)) == ["client-settling"]

    @pytest.mark.parametrize(("end", "rule"), [(2, "hold-outlives-certificate"), (2.01, "ca-change-unprepared")])
    def test_a_hold_without_an_end_counts_as_ending_settle_from_now(self, end: float, rule: str) -> None:
        ending = leaf(one(), start=-364, end=end)
        live = store(keyed(ending, "ending"), chain_of(one()), default=ending)
        plan = replace(CHANGE, clients=builds((-400, [one()]))).plan(live)
        assert found(plan) == [rule]
        assert [each.code for each in plan.by_hand] == ["client-software"]

    def test_the_last_good_certificate_for_a_name_counts(self) -> None:
        ending = leaf(one(), start=-364, end=0.5)
        live = store(keyed(ending, "ending"), keyed(OLD, "old"), chain_of(one()), default=OLD)
        assert found(replace(CHANGE, clients=SETTLING).plan(live)) == ["client-settling"]

    def test_the_name_that_is_lost_first_counts(self) -> None:
        long, short = leaf(one(), names=[SITE]), leaf(one(), names=["east.example.com"], end=0.5)
        live = store(keyed(long, "long"), keyed(short, "short"), chain_of(one()), default=long)
        plan = replace(CHANGE, clients=SETTLING).plan(live)
        assert found(plan) == ["hold-outlives-certificate"]
        assert "east.example.com" in message(plan, "hold-outlives-certificate")


class TestWhatIsNotGood:
    def test_a_certificate_that_is_not_valid_yet_is_held_until_it_is(self) -> None:
        coming = leaf(one(), start=5)
        plan = Scene({"new": provided(coming)}, default="new").plan(LIVE)
        assert held(plan)["import new"] == ("not-yet-valid", NOW + 5 * DAY)
        assert steps(Scene({"new": provided(coming)}, default="new").plan(LIVE, now=NOW + 5 * DAY))[:1] == [
            "import new"
        ]

    def test_one_that_has_expired_is_held_without_an_end(self) -> None:
        plan = Scene({"new": provided(leaf(one(), start=-90, end=-1))}, default="new").plan(LIVE)
        assert held(plan)["import new"] == ("expired", None)
        assert found(plan) == ["served-name-lost"]

    def test_one_whose_chain_is_incomplete_is_held(self) -> None:
        plan = Scene({"new": provided(NEW, chain=[two().certificate])}, default="new").plan(LIVE)
        assert steps(plan) == ["import Issuer Two"]
        assert held(plan)["import new"] == ("chain-incomplete", None)
        assert "lacks Root Two" in message(plan, "served-name-lost")

    def test_one_that_covers_other_names_is_no_ones_business(self) -> None:
        other = leaf(two(), names=["else.example.org"], start=-90, end=-1, common_name="Else")
        assert steps(Scene({"other": provided(other)}).plan(LIVE))[-1:] == ["import other"]

    def test_one_that_might_be_chosen_by_its_common_name_is_held(self) -> None:
        titled = leaf(one(), names=["else.example.org"], common_name=SITE)
        plan = Scene({"titled": provided(titled)}).plan(
            store(keyed(OLD, "old"), chain_of(one()), default=OLD, rule=CERTAIN)
        )
        assert held(plan)["import titled"] == ("does-not-cover", None)

    def test_one_that_might_be_chosen_by_a_deep_wildcard_is_held_where_nothing_is_known_of_the_rule(self) -> None:
        deep = leaf(one(), names=["*.com"], common_name="Deep")
        scene = Scene({"deep": provided(deep)})
        live = store(keyed(OLD, "old"), chain_of(one()), default=OLD)
        assert held(scene.plan(live))["import deep"] == ("does-not-cover", None)
        assert held(scene.plan(replace(live, rule=CERTAIN))) == {}

    def test_a_key_that_makes_a_bad_certificate_servable_is_held(self) -> None:
        lapsed = leaf(one(), start=-90, end=-1)
        from_chain = replace(keyed(lapsed, "bare"), has_key=False)
        live = store(keyed(OLD, "old"), from_chain, chain_of(one()), default=OLD)
        assert held(Scene({"new": provided(lapsed)}).plan(live))["import new"] == ("expired", None)


class TestAGoodOneBesideOneThatIsNot:
    """Which of several is served first is not known: the one that goes may have stood before the bad one."""

    STRAY = leaf(two(), start=-200, common_name="Stray", names=(SITE,))
    NEXT = leaf(one(), start=-20)
    SCENE = Scene({"next": provided(NEXT)}, default="next")

    def test_stays_though_another_good_one_does(self) -> None:
        live = store(
            keyed(OLD, "old"), keyed(self.NEXT, "next"), keyed(self.STRAY, "stray"), chain_of(one()), default=self.NEXT
        )
        plan = replace(self.SCENE, clients=builds((-400, [one()]))).plan(live)
        assert held(plan) == {"remove old": ("served-not-good", None)}
        assert set(found(plan)) == {"undeclared", "served-not-good"}
        [action] = [each for each in part(plan).actions if each.hold]
        assert action.hold is not None
        assert "might be served stray, which is not good" in action.hold.reason.sentence

    def test_goes_after_it_where_that_may_go_too(self) -> None:
        live = store(
            keyed(OLD, "old"), keyed(self.NEXT, "next"), keyed(self.STRAY, "stray"), chain_of(one()), default=self.NEXT
        )
        scene = replace(self.SCENE, clients=builds((-400, [one()])), east="undeclared: remove\n")
        plan = scene.plan(live)
        assert steps(plan) == ["remove stray", "remove old"]

    def test_goes_from_the_instant_at_which_that_has_become_good(self) -> None:
        live = store(
            keyed(OLD, "old"),
            keyed(self.NEXT, "next"),
            keyed(self.STRAY, "stray"),
            chain_of(one()),
            chain_of(two()),
            default=self.NEXT,
        )
        plan = replace(self.SCENE, clients=SETTLING).plan(live)
        assert held(plan) == {"remove old": ("served-not-good", NOW + DAY)}


class TestTheDefault:
    def test_is_held_where_it_would_not_cover_the_sites_hostname(self) -> None:
        other = leaf(one(), names=["else.example.org"], common_name="Else")
        plan = Scene({"other": provided(other)}, default="other").plan(LIVE)
        assert steps(plan) == ["import other"]
        assert held(plan)["default other"] == ("does-not-cover", None)
        assert "clients that send no server name" in message(plan, "served-name-lost")

    def test_is_held_with_its_certificate(self) -> None:
        plan = replace(CHANGE, clients=builds((-400, [one()]))).plan(LIVE)
        [import_, default] = [each for each in part(plan).actions if each.state is State.HELD]
        assert (say(import_), say(default)) == ("import new", "default new")
        assert default.depends_on == (import_.id,)
        assert default.hold
        assert default.hold.reason.sentence == "it waits for the import of new on east"


def test_chains_that_appear_are_judged_like_certificates_that_do() -> None:
    old, new = Authority.root("Old"), Authority.root("New")
    serving, coming = leaf(new, start=-300, end=60), leaf(new, start=-1)
    cross = old.cross_sign(new)  # clients know only Old, and meet it by way of the cross-sign
    live = store(
        keyed(serving, "serving"),
        replace(keyed(serving, "cross"), certificate=cross, has_key=False),
        replace(keyed(serving, "old"), certificate=old.certificate, has_key=False),
        default=serving,
    )
    scene = Scene(
        {"new": provided(coming, chain=[new.certificate])}, default="new", clients=builds((-400, [old])), trusts=[old]
    )
    plan = scene.plan(live)
    # With the root New itself in the store the appliance might stop there, and nobody trusts it.
    assert steps(plan) == []
    assert held(plan) == {
        "import New": ("untrusted-by-clients", None),
        "import new": ("follows", None),
        "default new": ("follows", None),
    }


class TestSelfSigned:
    def test_one_that_clients_cannot_trust_is_held(self) -> None:
        plan = Scene({"own": OWN}, clients=builds((-400, [one()]))).plan(LIVE)
        assert held(plan)["create own"] == ("untrusted-by-clients", None)

    def test_a_renewal_where_there_are_no_clients_goes(self) -> None:
        aging = keyed(own(start=-340, end=25), "aging")
        plan = Scene({"own": OWN}, default="own", clients=NO_CLIENTS).plan(store(aging, default=aging))
        assert steps(plan) == ["create own", "default own"]


class TestByHand:
    def test_what_the_interface_does_not_offer_is_left_to_a_person_and_what_needs_it_waits(self) -> None:
        live = replace(LIVE, offers=EVERYTHING - {Operation.IMPORT})
        plan = Scene({"new": provided(leaf(one(), start=-1))}, default="new").plan(live)
        assert [(say(each), each.state) for each in plan.actions] == [
            ("import new", State.BY_HAND),
            ("default new", State.HELD),
        ]
        assert [(each.code, each.what, each.where) for each in plan.by_hand] == [("not-offered", "Import new.", "east")]
        assert (plan.summary.ready, plan.summary.held) == (0, 2)

    @pytest.mark.parametrize(
        ("operation", "what"),
        [
            (Operation.SET_DEFAULT, "Make the default: new."),
            (Operation.REMOVE, "Remove gone."),
            (Operation.CREATE_SELF_SIGNED, "Create a self-signed certificate for own."),
        ],
    )
    def test_each_operation_is_said_in_words(self, operation: Operation, what: str) -> None:
        gone = keyed(leaf(two(), names=["else.example.org"], common_name="Gone"), "gone")
        scene = Scene({"new": provided(leaf(one(), start=-1)), "own": OWN}, default="new", east="undeclared: remove\n")
        live = store(keyed(OLD, "old"), gone, chain_of(one()), default=OLD, offers=EVERYTHING - {operation})
        assert [each.what for each in scene.plan(live).by_hand] == [what]

    def test_what_an_interface_makes_for_itself_and_presents_is_to_be_trusted(self) -> None:
        scene = Scene({"own": OWN}, default="own", clients=NO_CLIENTS)
        live = store()
        assert not scene.plan(live).by_hand
        [hand] = scene.plan(replace(live, presents_itself=True)).by_hand
        assert (hand.code, hand.where) == ("trust-new", "east")
        assert "`trust: {sha256: [...]}` of east" in hand.what

    def test_nobody_is_told_to_do_by_hand_what_would_harm(self) -> None:
        live = replace(LIVE, offers=EVERYTHING - {Operation.IMPORT})
        staged = replace(live, certificates=(*live.certificates, *chain_of(two())))
        plan = replace(CHANGE, clients=builds((-400, [one()]))).plan(staged)
        assert held(plan)["import new"] == ("untrusted-by-clients", None)
        assert [each.code for each in plan.by_hand] == ["client-software"]

    def test_nor_to_remove_the_default(self) -> None:
        live = replace(LIVE, offers=EVERYTHING - {Operation.REMOVE})
        plan = Scene({}, east=f"retired: [{{sha256: '{OLD.certificate.fingerprint}', reason: exposed}}]\n").plan(live)
        assert plan.by_hand == ()
        assert held(plan) == {"remove old": ("is-default", None)}


def test_the_appliances_own_name_and_further_names_are_protected_too() -> None:
    live = store(keyed(leaf(one(), names=ALL), "all"), chain_of(one()))
    bad = leaf(two(), names=["west.example.com"], start=-90, end=-1, common_name="West")
    scene = Scene({"bad": provided(bad)})
    assert "import bad" in steps(scene.plan(live))
    protected = replace(scene, site="protected_names: [west.example.com]\n")
    assert held(protected.plan(live))["import bad"] == ("expired", None)
