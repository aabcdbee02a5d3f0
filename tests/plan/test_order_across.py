"""Who waits for whom between the members of a site, and what an order of their own leaves to do by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import StoreUnreachable
from reconciler.rules import Stopped
from tests.plan.scenes import (
    ALL,
    OWN,
    Scene,
    builds,
    chain_of,
    found,
    held,
    keyed,
    keyless,
    leaf,
    message,
    one,
    part,
    pending,
    provided,
    requested,
    steps,
    store,
    told,
    two,
)
from tests.plan.simulate import afterwards, carry_out
from tests.support.authority import Authority

if TYPE_CHECKING:
    from reconciler.live.store import LiveStore
    from reconciler.plan.model import Plan

LOST = StoreUnreachable("nobody answers", "check the cable")
OLD = leaf(one(), start=-340, end=25, names=ALL)
NEW = leaf(two(), start=-10, names=ALL)
RENEWED = leaf(one(), start=-10, names=ALL)
NOW_OLD = store(keyed(OLD, "old"), chain_of(one()), default=OLD)
CHANGE = Scene({"new": provided(NEW)}, default="new", west="")
RENEWAL = Scene({"new": provided(RENEWED)}, default="new", west="")
IMPORT, DEFAULT, REMOVE = "import new", "default new", "remove old"


def depends(plan: Plan, name: str, kind: str) -> set[str]:
    """Which other appliances an action waits for, by the actions' kind."""
    [action] = [each for each in part(plan, name).actions if each.kind == kind]
    return {each.partition("/")[0] for each in action.depends_on} - {name}


class TestAChangeOfRoot:
    def test_nobody_goes_on_before_everybody_has_it(self) -> None:
        plan = CHANGE.planning(NOW_OLD, NOW_OLD).plan
        for name, other in (("east", "west"), ("west", "east")):
            assert steps(plan, name)[-3:] == [IMPORT, DEFAULT, REMOVE]
            assert depends(plan, name, "set_default") == {other}
            assert depends(plan, name, "remove") == {other}
        assert part(plan).follows == (), "the primary cannot come last where west waits for it"

    def test_the_order_in_time_is_imports_then_defaults_and_removals(self) -> None:
        stores = {"east": NOW_OLD, "west": NOW_OLD}
        taken = carry_out(CHANGE.state, stores, CHANGE.over(stores))
        kinds = [each.action.kind for each in taken]
        last_leaf = max(
            index for index, each in enumerate(taken) if each.action.label == "new" and kinds[index] == "import"
        )
        assert kinds.index("set_default") > last_leaf
        assert CHANGE.over(afterwards(stores, taken)).actions == ()

    def test_three_wait_for_both_others(self) -> None:
        plan = replace(CHANGE, north="").planning(NOW_OLD, NOW_OLD, NOW_OLD).plan
        for name in ("east", "west", "north"):
            assert depends(plan, name, "set_default") == {"east", "west", "north"} - {name}

    def test_who_cannot_be_reached_is_not_waited_for(self) -> None:
        plan = replace(CHANGE, north="").planning(NOW_OLD, NOW_OLD, failures={"north": LOST}).plan
        assert depends(plan, "east", "set_default") == {"west"}
        assert steps(plan)[-3:] == [IMPORT, DEFAULT, REMOVE]

    def test_who_has_it_already_is_not_waited_for(self) -> None:
        there = store(keyed(NEW, "new"), chain_of(two()), default=NEW)
        plan = CHANGE.planning(NOW_OLD, there).plan
        assert depends(plan, "east", "set_default") == set()

    def test_who_retires_it_is_not_waited_for(self) -> None:
        retired = f"retired:\n  - {{sha256: '{NEW.certificate.fingerprint}', reason: exposed}}\n"
        plan = replace(CHANGE, west=retired).planning(NOW_OLD, NOW_OLD).plan
        assert depends(plan, "east", "set_default") == set()
        assert DEFAULT in steps(plan)

    def test_nobody_waits_where_the_old_one_ends_within_a_day(self) -> None:
        def plan(end: float) -> Plan:
            ending = leaf(one(), start=-340, end=end, names=ALL)
            live = store(keyed(ending, "old"), chain_of(one()), default=ending)
            return CHANGE.planning(live, live).plan

        assert depends(plan(1), "east", "set_default") == set()
        assert depends(plan(1.01), "east", "set_default") == {"west"}

    def test_what_has_ended_already_hurries_nobody(self) -> None:
        ended = keyed(leaf(one(), start=-400, end=-1, names=ALL, common_name="Ended"), "ended")
        live = store(keyed(OLD, "old"), ended, chain_of(one()), default=OLD)
        assert depends(CHANGE.planning(live, NOW_OLD).plan, "east", "set_default") == {"west"}

    def test_everybody_is_held_where_one_is(self) -> None:
        # What west serves now its clients trust; the new one is held there, so nobody else goes on.
        bad = leaf(two(), start=-340, end=25, names=ALL)
        scene = replace(CHANGE, clients=builds((-400, [one()]), (-1, [one(), two()])))
        plan = scene.planning(NOW_OLD, store(keyed(bad, "bad"), chain_of(two()), default=bad)).plan
        assert IMPORT in held(plan)
        assert IMPORT in steps(plan, "west"), "nothing good is served there, so nothing is lost"
        assert held(plan)[DEFAULT] == ("follows", None)

    def test_one_that_cannot_import_holds_the_others(self) -> None:
        without_key = requested(NEW)
        scene = replace(CHANGE, certificates={"new": without_key})
        plan = scene.planning(
            replace(NOW_OLD, requests=(pending(NEW),)), replace(NOW_OLD, offers=frozenset()), failures={}
        ).plan
        assert IMPORT in steps(plan)
        assert held(plan)[DEFAULT] == ("follows", None)
        assert REMOVE not in steps(plan)

    @pytest.mark.parametrize("both", [True, False])
    def test_another_declared_certificate_on_its_way_changes_nothing(self, *, both: bool) -> None:
        """Whether somebody waits is the same before and after the other one has arrived."""
        sibling = leaf(two(), start=-20, names=ALL)
        scene = replace(CHANGE, certificates={"new": provided(NEW), "sibling": provided(sibling)})
        rows = [keyed(sibling, "sibling"), *chain_of(two())] if both else []
        live = store(keyed(OLD, "old"), chain_of(one()), rows, default=OLD)
        assert depends(scene.planning(live, NOW_OLD).plan, "east", "set_default") == {"west"}

    def test_a_cross_sign_that_comes_along_makes_the_root_the_same(self) -> None:
        root_one, root_two = Authority.root("Root A"), Authority.root("Root B")
        old = root_one.intermediate("Sub A").issue(ALL, not_before=OLD.certificate.not_before)
        new = root_two.issue(ALL)
        chain = [*new.chain, root_one.cross_sign(root_two), root_one.certificate]
        scene = Scene({"new": provided(new, chain=chain)}, default="new", west="")
        live = store(keyed(old, "old"), [keyless(each) for each in old.chain], default=old)
        assert depends(scene.planning(live, live).plan, "east", "set_default") == set()

    def test_and_so_does_one_that_comes_with_another_declared_certificate(self) -> None:
        root_one, root_two = Authority.root("Root A"), Authority.root("Root B")
        old, new = root_one.issue(ALL, not_before=OLD.certificate.not_before), root_two.issue(ALL)
        sibling = root_two.issue(["else.example.com"], common_name="Else")
        crossed = [*sibling.chain, root_one.cross_sign(root_two), root_one.certificate]
        certificates = {"new": provided(new), "sibling": provided(sibling, chain=crossed)}
        live = store(keyed(old, "old"), [keyless(each) for each in old.chain], default=old)
        plan = Scene(certificates, default="new", west="").planning(live, live).plan
        assert depends(plan, "east", "set_default") == set()

    def test_a_self_signed_renewal_changes_roots_too(self) -> None:
        aging = leaf(one(), start=-340, end=25, names=ALL, common_name="Made here")
        live = store(keyed(aging, "aging"), chain_of(one()), default=aging)
        scene = Scene({"own": OWN}, default="own", west="", policy="keep_previous: 1m")
        plan = scene.planning(live, live).plan
        assert depends(plan, "east", "set_default") == {"west"}
        assert part(plan).follows == ()
        stores = {"east": live, "west": live}
        assert scene.over(afterwards(stores, carry_out(scene.state, stores, plan))).summary.ready == 0


class TestTheSameRoot:
    def test_nobody_waits(self) -> None:
        plan = RENEWAL.planning(NOW_OLD, NOW_OLD).plan
        for name in ("east", "west"):
            assert steps(plan, name) == [IMPORT, DEFAULT, REMOVE]
            assert depends(plan, name, "set_default") == set()
            assert depends(plan, name, "remove") == set()

    def test_the_primary_comes_last(self) -> None:
        plan = RENEWAL.planning(NOW_OLD, NOW_OLD).plan
        assert (part(plan).follows, part(plan, "west").follows) == (("west",), ())
        plan = replace(RENEWAL, primary="west").planning(NOW_OLD, NOW_OLD).plan
        assert (part(plan).follows, part(plan, "west").follows) == ((), ("east",))

    def test_of_three_it_follows_both(self) -> None:
        plan = replace(RENEWAL, north="").planning(NOW_OLD, NOW_OLD, NOW_OLD).plan
        assert part(plan).follows == ("west", "north")

    def test_a_first_certificate_waits_for_nobody(self) -> None:
        plan = RENEWAL.planning(store(), store()).plan
        assert depends(plan, "east", "set_default") == set()


class TestFollowing:
    """The primary comes after the others, but not after who waits for it."""

    SCENE = Scene({"access": requested(RENEWED)}, default="access", west="", north="")

    def test_who_borrows_from_the_primary_does_not_come_before_it(self) -> None:
        plan = self.SCENE.planning(store(requests=[pending(RENEWED)]), store(), store()).plan
        assert part(plan).follows == ()

    def test_it_follows_who_lends_to_it(self) -> None:
        plan = self.SCENE.planning(store(), store(requests=[pending(RENEWED)]), store()).plan
        assert part(plan).follows == ("west", "north")

    def test_who_waits_for_it_by_way_of_another_is_seen(self) -> None:
        """North borrows one key from west, which borrows another from the primary."""
        second = leaf(one(), start=-10, names=["second.example.com"], common_name="Example remote access")
        scene = replace(
            self.SCENE,
            certificates={"access": requested(RENEWED), "second": requested(second, names=["second.example.com"])},
        )
        asked = pending(second, names=["second.example.com"])
        plan = scene.planning(store(requests=[pending(RENEWED)]), store(requests=[asked]), store()).plan
        assert part(plan).follows == ()
        stores = {"east": store(requests=[pending(RENEWED)]), "west": store(requests=[asked]), "north": store()}
        after = afterwards(stores, carry_out(scene.state, stores, plan))
        assert scene.over(after).actions == ()

    def test_who_cannot_be_reached_is_not_followed(self) -> None:
        plan = self.SCENE.planning(store(), store(requests=[pending(RENEWED)]), failures={"north": LOST}).plan
        assert part(plan).follows == ("west",)


def test_what_was_ready_before_others_were_known_counts_for_nobody() -> None:
    """Alone, west could import the one without a chain, since nothing good is served; beside a copy it cannot."""
    bare = provided(RENEWED, chain=[])
    scene = Scene({"own": OWN, "bare": bare}, default="bare", west="")
    stores: dict[str, LiveStore] = {"east": store(), "west": store()}
    plan = scene.over(stores)
    assert steps(plan, "west") == ["import own"]
    assert set(held(plan, "west")) == {"import bare", "default bare"}
    assert len(carry_out(scene.state, stores, plan)) == 2


class TestOnlySome:
    """What waits for an appliance that is not planned is held."""

    def test_a_copy_of_what_another_would_import_first(self) -> None:
        scene = Scene({"access": requested(RENEWED)}, default="access", west="")
        plan = scene.planning(store(requests=[pending(RENEWED)]), store(), only=frozenset({"west"})).plan
        assert steps(plan, "west") == ["import Root One", "import Issuer One"]
        assert held(plan, "west") == {"import access": ("follows", None), "default access": ("follows", None)}
        [action] = [each for each in plan.actions if each.kind == "import" and each.hold]
        assert action.hold
        assert action.hold.reason.sentence == "it waits for the import of access on east"

    def test_a_copy_of_what_another_holds_already_is_not(self) -> None:
        scene = Scene({"access": requested(RENEWED)}, default="access", west="")
        east = store(keyed(RENEWED, "access"), chain_of(one()), default=RENEWED)
        plan = scene.planning(east, store(), only=frozenset({"west"})).plan
        assert "import access" in steps(plan, "west")

    def test_a_copy_of_what_another_would_make(self) -> None:
        scene = Scene({"own": OWN}, default="own", west="")
        plan = scene.planning(store(), store(), only=frozenset({"west"})).plan
        assert steps(plan, "west") == []
        assert set(held(plan, "west")) == {"import own", "default own"}

    def test_a_change_of_root(self) -> None:
        plan = CHANGE.planning(NOW_OLD, NOW_OLD, only=frozenset({"west"})).plan
        assert set(held(plan, "west")) >= {IMPORT, DEFAULT}
        assert not {IMPORT, DEFAULT, REMOVE} & {*steps(plan, "west")}

    def test_what_would_make_the_members_differ(self) -> None:
        plan = RENEWAL.planning(NOW_OLD, NOW_OLD, only=frozenset({"west"})).plan
        assert held(plan, "west") == {IMPORT: ("follows", None), DEFAULT: ("follows", None)}
        assert message(plan, "site-divided") == (
            "without east the members of the site would differ in new - plan the whole site with --site access"
        )

    def test_but_not_what_a_member_alone_lacks(self) -> None:
        there = store(keyed(RENEWED, "new"), chain_of(one()), default=RENEWED)
        plan = RENEWAL.planning(there, NOW_OLD, only=frozenset({"west"})).plan
        assert steps(plan, "west") == [IMPORT, DEFAULT, REMOVE]

    def test_nor_what_an_unreachable_member_lacks(self) -> None:
        plan = RENEWAL.planning(west=NOW_OLD, failures={"east": LOST}, only=frozenset({"west"})).plan
        assert steps(plan, "west") == [IMPORT, DEFAULT, REMOVE]

    def test_whom_a_broken_file_stops_lends_nothing_that_it_does_not_hold(self) -> None:
        scene = Scene({"access": requested(RENEWED)}, default="access", west="")
        stores: dict[str, LiveStore] = {"east": store(requests=[pending(RENEWED)]), "west": store()}
        plan = scene.over(stores, stopped=Stopped(appliances=frozenset({"east"})))
        assert "import access" in held(plan, "west")


class TestByHand:
    def test_a_new_root_is_asked_for_the_first_time_that_it_is_declared(self) -> None:
        scene = replace(CHANGE, clients=builds((-400, [one()])), certificates={"new": requested(chain=NEW.chain)})
        plan = scene.planning(NOW_OLD, NOW_OLD).plan
        [what] = told(plan, "client-software")
        assert what == (
            "access: Ask BeyondTrust Technical Support for a software build that trusts the root of new: send what"
            " `reconciler bundle access` makes, install the build that comes back, and add it to client_software."
        )

    def test_and_once_where_it_is_held_as_well(self) -> None:
        scene = replace(CHANGE, clients=builds((-400, [one()])), north="")
        plan = scene.planning(NOW_OLD, NOW_OLD, NOW_OLD).plan
        assert "ca-change-unprepared" in found(plan)
        assert len(told(plan, "client-software")) == 1

    def test_not_where_the_newest_build_trusts_it(self) -> None:
        scene = replace(CHANGE, clients=builds((-400, [one()]), (-1, [one(), two()])))
        assert told(scene.planning(NOW_OLD, NOW_OLD).plan, "client-software") == []

    def test_not_where_there_are_no_clients(self) -> None:
        assert told(CHANGE.planning(NOW_OLD, NOW_OLD).plan, "client-software") == []

    def test_a_request_is_sent_from_where_it_is(self) -> None:
        scene = Scene({"access": requested()}, west="")
        plan = scene.planning(store(), store(requests=[pending("first")])).plan
        assert [each.partition(":")[0] for each in told(plan, "send-request")] == ["west"]

    def test_a_certificate_that_the_interface_may_present_is_to_be_trusted(self) -> None:
        scene = Scene({"own": OWN}, default="own", west="")
        shown = replace(store(), presents_itself=True)
        plan = scene.planning(shown, store()).plan
        assert [each.partition(":")[0] for each in told(plan, "trust-new")] == ["east"]
        plan = scene.planning(store(), shown).plan
        assert [each.partition(":")[0] for each in told(plan, "trust-new")] == ["west"]
