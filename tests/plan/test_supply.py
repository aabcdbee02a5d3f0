"""Requested and self-signed certificates over the appliances of a site: the decision table, row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import StoreUnreachable
from reconciler.base.findings import Severity
from reconciler.live.store import Operation
from reconciler.plan.model import CreateRequest, CreateSelfSigned, Import, KeySource, Loan, Plan
from reconciler.plan.planner import Fleet, make_plan
from reconciler.rules import Stopped
from tests.plan.scenes import (
    ALL,
    EVERYTHING,
    NO_CLIENTS,
    OWN,
    SITE,
    Scene,
    builds,
    by_hand,
    chain_of,
    found,
    held,
    imported,
    keyed,
    keyless,
    leaf,
    message,
    one,
    own,
    part,
    pending,
    requested,
    say,
    steps,
    store,
    told,
    two,
    waiting,
)
from tests.plan.simulate import afterwards, carry_out
from tests.support.authority import DAY, NOW
from tests.support.desired import desired

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.base.errors import StoreError
    from reconciler.live.store import LiveStore, PendingRequest
    from tests.support.authority import Issued

LOST = StoreUnreachable("nobody answers", "check the cable")
CHAIN = chain_of(one())
ISSUED = leaf(one(), start=-10, names=ALL)
KEY = ISSUED.certificate.public_key
AGING = leaf(one(), start=-340, end=20, names=ALL)
"""Due for renewal."""
UNASKED = Scene({"access": requested()}, default="access", west="")
ANSWERED = replace(UNASKED, certificates={"access": requested(ISSUED)})
DUE = replace(UNASKED, certificates={"access": requested(AGING)})
DUE_NEW = replace(UNASKED, certificates={"access": requested(AGING, more="renew_with: new_key\n")})
THREE = replace(ANSWERED, north="")
EMPTY = store()
WITH_NOTHING_ELSE = ["import Root One", "import Issuer One"]


def renewed(before: Issued, *, start: float = -1, end: float = 364) -> Issued:
    """Its successor with the same key."""
    return one().issue(ALL, not_before=NOW + start * DAY, not_after=NOW + end * DAY, key=before.key)


def settled(
    issued: Issued,
    *,
    label: str = "access",
    offers: frozenset[Operation] = EVERYTHING,
    requests: Sequence[PendingRequest] = (),
) -> LiveStore:
    """A store in which a certificate is in place."""
    return store(keyed(issued, label), CHAIN, default=issued, offers=offers, requests=requests)


def again(scene: Scene, stores: Mapping[str, LiveStore], *, stopped: Stopped | None = None) -> Plan:
    """The plan after a plan that was carried out."""
    first = scene.over(stores, stopped=stopped)
    after = afterwards(stores, carry_out(scene.state, stores, first))
    return scene.over(after, stopped=stopped)


def nothing_is_ready(plan: Plan) -> bool:
    return plan.summary.ready == 0


def request(plan: Plan, name: str = "east") -> CreateRequest:
    [action] = [each for each in part(plan, name).actions if isinstance(each, CreateRequest)]
    return action


class TestNothingCommitted:
    def test_the_request_is_made_on_the_primary_and_nowhere_else(self) -> None:
        plan = UNASKED.planning(EMPTY, EMPTY).plan
        assert (steps(plan), steps(plan, "west")) == (["request access"], [])
        made = request(plan)
        assert made.public_key is None
        assert made.subject == (("CN", "Example remote access"), ("O", "Example Company"), ("C", "US"))
        assert made.subject_alternative_names == ALL
        assert made.key == "ec-p256"
        assert made.reason.code == "missing"
        [what] = told(plan, "send-request")
        assert what == (
            "east: Once apply has made it, send the request of access to the CA"
            " (`reconciler requests --out` writes it), and commit the answer as `signed`."
        )

    def test_and_not_again(self) -> None:
        plan = again(UNASKED, {"east": EMPTY, "west": EMPTY})
        assert nothing_is_ready(plan)
        assert (waiting(plan), waiting(plan, "west")) == ({"import access": "answer-awaited"}, {})
        assert plan.summary.waiting == 1
        assert found(plan) == ["request-pending"]
        assert told(plan, "send-request")[0].startswith("east: Send the request of access to the CA")

    def test_what_is_waited_for_names_the_request(self) -> None:
        asked = pending("first")
        plan = UNASKED.planning(store(requests=[asked]), EMPTY).plan
        [action] = part(plan).actions
        assert isinstance(action, Import)
        assert (action.fingerprint, action.public_key) == ("answer:access@east", asked.public_key)
        assert action.expects.requests == (asked.fingerprint,)
        assert asked.fingerprint[:16] in message(plan, "request-pending")

    def test_one_that_is_pending_on_the_backup_is_waited_for_there(self) -> None:
        plan = UNASKED.planning(EMPTY, store(requests=[pending("first")])).plan
        assert nothing_is_ready(plan)
        assert (waiting(plan), waiting(plan, "west")) == ({}, {"import access": "answer-awaited"})
        assert told(plan, "send-request")[0].startswith("west: Send")
        assert "on west" in message(plan, "request-pending")

    @pytest.mark.parametrize("where", ["east", "west", "north"])
    def test_whichever_of_three_has_it(self, where: str) -> None:
        stores = {
            name: store(requests=[pending("first")] if name == where else []) for name in ("east", "west", "north")
        }
        plan = replace(UNASKED, north="").over(stores)
        assert nothing_is_ready(plan)
        assert [name for name in stores if waiting(plan, name)] == [where]

    @pytest.mark.parametrize(
        "other",
        [
            pending("first", names=[SITE]),
            pending("first", key_kind="ec-p384"),
            pending("first", common_name="Else"),
            pending("first", organization="Else"),
        ],
        ids=["names", "key", "common name", "subject"],
    )
    def test_a_request_for_something_else_is_not_waited_for(self, other: PendingRequest) -> None:
        plan = UNASKED.planning(store(requests=[other]), EMPTY).plan
        assert steps(plan) == ["request access"]
        assert found(plan) == ["request-orphaned"]

    def test_a_request_that_another_committed_answer_uses_up_is_not_waited_for(self) -> None:
        scene = replace(UNASKED, certificates={"access": requested(), "twin": requested(ISSUED)})
        stores = {"east": store(requests=[pending(ISSUED)]), "west": EMPTY}
        assert "request access" in steps(scene.over(stores))
        assert nothing_is_ready(again(scene, stores))

    def test_the_order_of_the_names_does_not_matter(self) -> None:
        plan = UNASKED.planning(store(requests=[pending("first", names=ALL[::-1])]), EMPTY).plan
        assert nothing_is_ready(plan)

    def test_the_chain_comes_at_once(self) -> None:
        scene = replace(UNASKED, certificates={"access": requested(chain=ISSUED.chain)})
        plan = scene.planning(EMPTY, EMPTY).plan
        assert steps(plan) == [*WITH_NOTHING_ELSE, "request access"]
        assert steps(plan, "west") == WITH_NOTHING_ELSE

    def test_an_unreachable_primary_is_said_and_nobody_else_makes_it(self) -> None:
        plan = UNASKED.planning(west=EMPTY, failures={"east": LOST}).plan
        assert steps(plan, "west") == []
        assert found(plan) == ["unreachable", "primary-unreachable"]
        assert message(plan, "primary-unreachable") == (
            "access's request is made on east, which cannot be reached"
            " - bring east back, or name another appliance as `primary`"
        )

    def test_an_unreachable_primary_does_not_matter_where_another_waits_already(self) -> None:
        plan = UNASKED.planning(west=store(requests=[pending("first")]), failures={"east": LOST}).plan
        assert waiting(plan, "west") == {"import access": "answer-awaited"}
        assert found(plan) == ["unreachable", "request-pending"]

    def test_with_another_primary_it_is_made_there(self) -> None:
        plan = replace(UNASKED, primary="west").planning(west=EMPTY, failures={"east": LOST}).plan
        assert steps(plan, "west") == ["request access"]

    def test_an_interface_that_makes_no_requests_leaves_it_to_a_person(self) -> None:
        plan = UNASKED.planning(store(offers=EVERYTHING - {Operation.CREATE_REQUEST}), EMPTY).plan
        assert (steps(plan), by_hand(plan)) == ([], ["request access"])
        assert told(plan, "not-offered") == ["east: Create a certificate request for access."]


class TestAnswered:
    def test_it_is_imported_where_its_key_is_pending_and_copied_from_there(self) -> None:
        plan = ANSWERED.planning(store(requests=[pending(ISSUED)]), EMPTY).plan
        whole = [*WITH_NOTHING_ELSE, "import access", "default access"]
        assert (steps(plan), steps(plan, "west")) == (whole, whole)
        first, copy = imported(plan, "east", "access"), imported(plan, "west", "access")
        assert (first.key_source, first.loan, first.expects.keys) == (KeySource.STORE, None, (KEY,))
        assert copy.key_source is KeySource.PEER
        assert copy.loan == Loan(appliance="east", certificate=ISSUED.certificate.fingerprint)
        assert first.id in copy.depends_on
        assert copy.expects.keys == ()
        assert copy.reason.sentence.endswith("its key is copied from east")
        assert nothing_is_ready(again(ANSWERED, {"east": store(requests=[pending(ISSUED)]), "west": EMPTY}))

    def test_it_is_imported_on_the_backup_where_its_key_is_pending_there(self) -> None:
        stores = {"east": EMPTY, "west": store(requests=[pending(ISSUED)])}
        plan = ANSWERED.over(stores)
        first, copy = imported(plan, "west", "access"), imported(plan, "east", "access")
        assert (first.key_source, copy.key_source) == (KeySource.STORE, KeySource.PEER)
        assert copy.loan
        assert copy.loan.appliance == "west"
        assert first.id in copy.depends_on
        after = again(ANSWERED, stores)
        assert nothing_is_ready(after)
        assert found(after) == []

    @pytest.mark.parametrize("where", ["east", "west", "north"])
    def test_the_other_two_of_three_borrow_it(self, where: str) -> None:
        stores = {
            name: store(requests=[pending(ISSUED)] if name == where else []) for name in ("east", "west", "north")
        }
        plan = THREE.over(stores)
        sources = {name: imported(plan, name, "access").key_source.value for name in stores}
        assert sources == {name: "store" if name == where else "peer" for name in stores}
        lenders = {loan.appliance for name in stores if (loan := imported(plan, name, "access").loan)}
        assert lenders == {where}
        assert nothing_is_ready(again(THREE, stores))

    def test_it_goes_where_it_can_while_another_member_cannot_be_reached(self) -> None:
        plan = THREE.planning(store(requests=[pending(ISSUED)]), EMPTY, failures={"north": LOST}).plan
        assert "import access" in steps(plan)
        assert "import access" in steps(plan, "west")
        assert found(plan) == ["unreachable"]

    def test_a_key_that_every_member_holds_already_is_copied_to_nobody(self) -> None:
        following = renewed(AGING)
        scene = replace(ANSWERED, certificates={"access": requested(following)})
        stores = {"east": settled(AGING, label="old"), "west": settled(AGING, label="old")}
        plan = scene.over(stores)
        for name in stores:
            action = imported(plan, name, "access")
            assert (action.key_source, action.loan, action.depends_on) == (KeySource.STORE, None, ())
            assert steps(plan, name)[:2] == ["import access", "default access"]
        assert nothing_is_ready(again(scene, stores))

    def test_a_key_that_one_member_holds_with_another_certificate_is_copied_at_once(self) -> None:
        following = renewed(AGING)
        scene = replace(ANSWERED, certificates={"access": requested(following)})
        stores = {"east": store(CHAIN), "west": settled(AGING, label="old")}
        plan = scene.over(stores)
        assert imported(plan, "west", "access").key_source is KeySource.STORE
        copy = imported(plan, "east", "access")
        assert copy.loan == Loan(appliance="west", certificate=AGING.certificate.fingerprint)
        assert copy.depends_on == ()
        assert nothing_is_ready(again(scene, stores))

    @pytest.mark.parametrize("where", ["east", "west", "north"])
    def test_what_is_live_on_one_member_is_copied_from_it(self, where: str) -> None:
        stores = {name: settled(ISSUED) if name == where else EMPTY for name in ("east", "west", "north")}
        plan = THREE.over(stores)
        for name in {*stores} - {where}:
            loan = imported(plan, name, "access").loan
            assert loan == Loan(appliance=where, certificate=ISSUED.certificate.fingerprint)
        assert steps(plan, where) == []
        assert {each.appliance for each in part(plan, where).findings} <= {None, *stores}
        assert found(plan) == ["peer-diverged"] * 2
        assert nothing_is_ready(again(THREE, stores))

    def test_what_is_live_under_the_very_fingerprint_is_preferred_to_another_certificate_with_the_key(self) -> None:
        other = renewed(ISSUED)
        stores = {"east": settled(other, label="other"), "west": settled(ISSUED), "north": EMPTY}
        loan = imported(THREE.over(stores), "north", "access").loan
        assert loan == Loan(appliance="west", certificate=ISSUED.certificate.fingerprint)

    def test_who_exports_is_preferred_to_who_does_not(self) -> None:
        mute = settled(ISSUED, offers=EVERYTHING - {Operation.EXPORT})
        plan = THREE.planning(mute, settled(ISSUED), EMPTY).plan
        loan = imported(plan, "north", "access").loan
        assert loan
        assert loan.appliance == "west"
        assert by_hand(plan, "north") == []

    def test_where_nobody_exports_a_person_copies_it(self) -> None:
        plan = ANSWERED.planning(settled(ISSUED, offers=EVERYTHING - {Operation.EXPORT}), EMPTY).plan
        assert steps(plan, "west") == WITH_NOTHING_ELSE
        assert by_hand(plan, "west") == ["import access"]
        assert told(plan, "not-offered") == ["west: Export access with its key on east, and import it."]
        assert held(plan, "west") == {"default access": ("follows", None)}

    def test_what_is_there_without_its_key_gets_it(self) -> None:
        stores = {"east": settled(ISSUED), "west": store(keyless(ISSUED, "bare"), CHAIN)}
        plan = ANSWERED.over(stores)
        action = imported(plan, "west", "access")
        assert (action.key_source, action.expects.absent) == (KeySource.PEER, ())
        assert "without its key" in message(plan, "peer-diverged")
        assert nothing_is_ready(again(ANSWERED, stores))

    def test_an_answer_that_is_retired_on_a_member_is_not_imported_there(self) -> None:
        retired = f"retired:\n  - {{sha256: '{ISSUED.certificate.fingerprint}', reason: exposed}}\n"
        plan = replace(ANSWERED, west=retired).planning(store(requests=[pending(ISSUED)]), EMPTY).plan
        assert "import access" in steps(plan)
        assert "import access" not in steps(plan, "west")
        assert "retired-needed" in found(plan)

    @pytest.mark.parametrize("default", ["access", None])
    def test_nobody_waits_in_a_circle(self, default: str | None) -> None:
        scene = replace(ANSWERED, default=default)
        plan = scene.planning(store(requests=[pending(ISSUED)]), EMPTY).plan
        assert part(plan).follows == ()
        plan = scene.planning(EMPTY, store(requests=[pending(ISSUED)])).plan
        assert part(plan).follows == ("west",)


class TestTheKeyIsGone:
    def test_where_every_member_was_observed_it_is_an_error_at_signed(self) -> None:
        plan = ANSWERED.planning(EMPTY, EMPTY).plan
        assert found(plan) == ["key-gone"]
        [finding] = plan.all_findings
        assert finding.severity is Severity.ERROR
        assert finding.about
        assert (finding.about.name, str(finding.position).rpartition(":")[0]) == (
            "access",
            "certificates/access.yaml:5",
        )
        assert finding.message == (
            "the committed answer of access fits no key, neither a pending request's nor a certificate's"
        )
        assert "delete `signed`" in (finding.remedy or "")
        assert (steps(plan), waiting(plan), held(plan)) == (WITH_NOTHING_ELSE, {}, {})

    def test_nothing_new_is_asked_for(self) -> None:
        plan = DUE.planning(EMPTY, EMPTY).plan
        assert "request access" not in steps(plan)
        assert found(plan) == ["key-gone"]

    def test_another_request_that_fits_does_not_hide_it(self) -> None:
        plan = ANSWERED.planning(store(requests=[pending("another")]), EMPTY).plan
        assert set(found(plan)) == {"key-gone", "request-orphaned"}

    def test_where_a_member_cannot_be_reached_it_is_waited_for(self) -> None:
        plan = THREE.planning(EMPTY, EMPTY, failures={"north": LOST}).plan
        [finding] = [each for each in plan.all_findings if each.rule == "key-gone"]
        assert finding.severity is Severity.WARNING
        assert finding.message == "the key of access is on no appliance that can be reached; it may be on north"
        assert finding.remedy == (
            "bring north back; if it is lost, name another `primary` and delete `signed` to start over"
        )
        assert waiting(plan) == {"import access": "key-unreachable"}
        assert (waiting(plan, "west"), plan.summary.waiting) == ({}, 1)
        [action] = [each for each in part(plan).actions if each.state.value == "waiting"]
        assert action.hold
        assert action.hold.reason.sentence == "its key may be on north, which cannot be reached"

    def test_and_for_all_of_them(self) -> None:
        plan = THREE.planning(west=EMPTY, failures={"north": LOST, "east": LOST}).plan
        assert waiting(plan, "west") == {"import access": "key-unreachable"}
        assert "it may be on east, north" in message(plan, "key-gone")

    def test_that_the_certificate_is_there_without_its_key_does_not_help(self) -> None:
        plan = ANSWERED.planning(store(keyless(ISSUED, "bare"), CHAIN), EMPTY).plan
        assert "key-gone" in found(plan)
        assert "import access" not in steps(plan)


class TestTheAnswerDiffers:
    SCENE = replace(ANSWERED, certificates={"access": requested(ISSUED, names=[*ALL, "more.example.com"])})

    def test_what_is_on_no_appliance_is_an_error_once(self) -> None:
        plan = replace(self.SCENE, north="").planning(store(requests=[pending(ISSUED)]), EMPTY, EMPTY).plan
        assert found(plan) == ["signed-mismatch"]
        [finding] = plan.all_findings
        assert finding.severity is Severity.ERROR
        assert str(finding.position).startswith("certificates/access.yaml:5:")
        assert all("import access" not in steps(plan, name) for name in ("east", "west", "north"))
        assert all("request access" not in steps(plan, name) for name in ("east", "west", "north"))

    def test_so_it_is_where_it_is_due_as_well(self) -> None:
        scene = replace(DUE, certificates={"access": requested(AGING, names=[*ALL, "more.example.com"])})
        plan = scene.planning(store(requests=[pending(AGING)]), EMPTY).plan
        assert found(plan) == ["signed-mismatch"]
        assert (steps(plan), steps(plan, "west")) == (WITH_NOTHING_ELSE, WITH_NOTHING_ELSE)

    def test_what_is_live_stays_and_a_new_request_is_made(self) -> None:
        stores = {"east": settled(ISSUED), "west": settled(ISSUED)}
        plan = self.SCENE.over(stores)
        assert (steps(plan), steps(plan, "west")) == (["request access"], [])
        made = request(plan)
        assert (made.public_key, made.reason.code) == (KEY, "declared-anew")
        assert made.subject_alternative_names == (*ALL, "more.example.com")
        assert found(plan) == ["renewal-due"]
        assert nothing_is_ready(again(self.SCENE, stores))

    def test_what_is_live_on_one_member_is_still_copied(self) -> None:
        stores = {"east": settled(ISSUED), "west": EMPTY}
        plan = self.SCENE.over(stores)
        assert "import access" in steps(plan, "west")
        assert nothing_is_ready(again(self.SCENE, stores))

    def test_another_kind_of_key_means_a_new_key(self) -> None:
        scene = replace(ANSWERED, certificates={"access": requested(ISSUED, key="ec-p384")})
        made = request(scene.planning(settled(ISSUED), settled(ISSUED)).plan)
        assert (made.public_key, made.key) == (None, "ec-p384")


class TestDue:
    def test_nothing_is_done_before(self) -> None:
        plan = ANSWERED.planning(settled(ISSUED), settled(ISSUED)).plan
        assert plan.actions == ()
        assert found(plan) == []

    def test_the_same_key_is_used_again_where_it_lies(self) -> None:
        stores = {"east": settled(AGING), "west": settled(AGING)}
        plan = DUE.over(stores)
        assert (steps(plan), steps(plan, "west")) == (["request access"], [])
        made = request(plan)
        assert made.public_key == AGING.certificate.public_key
        assert made.expects.present == (AGING.certificate.fingerprint,)
        assert made.reason.code == "renewal-due"
        assert found(plan) == ["renewal-due"]
        assert "apply makes the request on east" in message(plan, "renewal-due")

    def test_and_not_asked_for_again(self) -> None:
        plan = again(DUE, {"east": settled(AGING), "west": settled(AGING)})
        assert nothing_is_ready(plan)
        assert waiting(plan) == {"import access": "answer-awaited"}
        assert found(plan) == ["request-pending"]
        assert "(it expires on 2026-12-13)" in message(plan, "request-pending")

    def test_the_same_key_is_used_on_a_member_while_the_primary_cannot_be_reached(self) -> None:
        plan = DUE.planning(west=settled(AGING), failures={"east": LOST}).plan
        assert steps(plan, "west") == ["request access"]
        assert found(plan) == ["unreachable", "renewal-due"]

    def test_a_new_key_is_made_on_the_primary(self) -> None:
        stores = {"east": settled(AGING), "west": settled(AGING)}
        plan = DUE_NEW.over(stores)
        assert (steps(plan), steps(plan, "west")) == (["request access"], [])
        made = request(plan)
        assert (made.public_key, made.expects.present) == (None, ())
        after = again(DUE_NEW, stores)
        assert nothing_is_ready(after)
        assert waiting(after) == {"import access": "answer-awaited"}

    def test_a_new_key_is_made_nowhere_while_the_primary_cannot_be_reached(self) -> None:
        plan = DUE_NEW.planning(west=settled(AGING), failures={"east": LOST}).plan
        assert steps(plan, "west") == []
        assert message(plan, "primary-unreachable").startswith(
            "access is due, since it expires on 2026-12-13, and its request is made on east, which cannot be reached"
        )

    @pytest.mark.parametrize(("scene", "waits"), [(DUE, True), (DUE_NEW, False)], ids=["same", "new"])
    def test_a_pending_request_with_the_key_counts_only_where_the_key_is_kept(
        self, scene: Scene, *, waits: bool
    ) -> None:
        plan = scene.planning(settled(AGING, requests=[pending(AGING)]), settled(AGING)).plan
        assert nothing_is_ready(plan) is waits
        assert set(found(plan)) == ({"request-pending"} if waits else {"renewal-due", "request-orphaned"})

    @pytest.mark.parametrize(("scene", "waits"), [(DUE, False), (DUE_NEW, True)], ids=["same", "new"])
    def test_a_pending_request_with_another_key_counts_only_where_the_key_changes(
        self, scene: Scene, *, waits: bool
    ) -> None:
        plan = scene.planning(settled(AGING), settled(AGING, requests=[pending("another")])).plan
        assert nothing_is_ready(plan) is waits
        assert set(found(plan)) == ({"request-pending"} if waits else {"renewal-due", "request-orphaned"})

    def test_what_was_issued_before_a_day_is_asked_for_anew_from_that_day_on(self) -> None:
        def scene(day: str) -> Scene:
            return replace(ANSWERED, certificates={"access": requested(ISSUED, more=f"issued_after: {day}\n")})

        live = settled(ISSUED)
        plan = scene("2026-11-20").planning(live, live).plan
        assert request(plan).reason.code == "issued-after"
        assert scene("2026-11-01").planning(live, live).plan.actions == ()
        assert scene("2026-12-01").planning(live, live).plan.actions == ()

    def test_what_has_expired_is_asked_for_although_its_rule_stops_it(self) -> None:
        expired = leaf(one(), start=-400, end=-1, names=ALL)
        scene = replace(DUE, certificates={"access": requested(expired)})
        stopped = Stopped(certificates=frozenset({"access"}))
        stores = {"east": settled(expired), "west": EMPTY}
        plan = scene.over(stores, stopped=stopped)
        assert (steps(plan), steps(plan, "west")) == (["request access"], [])
        after = again(scene, stores, stopped=stopped)
        assert nothing_is_ready(after)
        assert waiting(after) == {"import access": "answer-awaited"}

    def test_what_has_expired_before_it_was_imported_waits_for_another_answer(self) -> None:
        expired = leaf(one(), start=-400, end=-1, names=ALL)
        scene = replace(DUE, certificates={"access": requested(expired)})
        stores = {"east": store(requests=[pending(expired)]), "west": EMPTY}
        plan = scene.over(stores, stopped=Stopped(certificates=frozenset({"access"})))
        assert nothing_is_ready(plan)
        assert (waiting(plan), held(plan)) == ({"import access": "answer-awaited"}, {})

    def test_a_new_key_is_asked_for_once_where_the_old_one_waits_in_a_request_that_does_not_fit(self) -> None:
        expired = leaf(one(), start=-400, end=-1, names=ALL)
        scene = replace(DUE, certificates={"access": requested(expired)})
        stores = {"east": EMPTY, "west": store(requests=[pending(expired, names=[SITE])])}
        stopped = Stopped(certificates=frozenset({"access"}))
        assert request(scene.over(stores, stopped=stopped)).public_key is None
        after = again(scene, stores, stopped=stopped)
        assert nothing_is_ready(after)
        assert waiting(after) == {"import access": "answer-awaited"}

    def test_what_was_not_observed_is_not_asked_for_again_from_the_others(self) -> None:
        plan = DUE.planning(west=settled(AGING, requests=[pending(AGING)]), failures={"east": LOST}).plan
        assert nothing_is_ready(plan)
        assert waiting(plan, "west") == {"import access": "answer-awaited"}


class TestAnAnswerThatIsDueAlready:
    @pytest.mark.parametrize("where", ["east", "west"])
    def test_import_and_request_come_in_one_plan(self, where: str) -> None:
        stores = {name: store(requests=[pending(AGING)] if name == where else []) for name in ("east", "west")}
        plan = DUE.over(stores)
        assert "import access" in steps(plan)
        assert "import access" in steps(plan, "west")
        made = request(plan, where)
        assert made.depends_on == (imported(plan, where, "access").id,)
        assert made.public_key == AGING.certificate.public_key
        after = again(DUE, stores)
        assert nothing_is_ready(after)
        assert waiting(after, where) == {"import access": "answer-awaited"}

    def test_where_it_is_retired_its_request_is_waited_for(self) -> None:
        west = f"retired: [{{sha256: '{AGING.certificate.fingerprint}', reason: told to}}]\n"
        scene = replace(DUE, west=west)
        stores = {"east": settled(AGING), "west": store(requests=[pending(AGING)])}
        plan = scene.over(stores)
        assert nothing_is_ready(plan)
        assert waiting(plan, "west") == {"import access": "answer-awaited"}

    def test_the_request_is_made_where_the_interface_offers_it(self) -> None:
        offers = EVERYTHING - {Operation.CREATE_REQUEST}
        stores = {"east": EMPTY, "west": store(requests=[pending(AGING)], offers=offers)}
        made = request(DUE.over(stores))
        assert {*made.depends_on} == {"west/import/access", "east/import/access"}
        assert nothing_is_ready(again(DUE, stores))

    def test_with_a_new_key_the_request_waits_for_nothing(self) -> None:
        stores = {"east": EMPTY, "west": store(requests=[pending(AGING)])}
        plan = DUE_NEW.over(stores)
        assert request(plan).depends_on == ()
        assert nothing_is_ready(again(DUE_NEW, stores))

    def test_a_second_request_with_its_key_elsewhere_is_used_up_as_well(self) -> None:
        stores = {name: store(requests=[pending(AGING)]) for name in ("east", "west")}
        assert request(DUE.over(stores)).depends_on
        assert nothing_is_ready(again(DUE, stores))

    def test_a_copy_does_not_lose_the_request_that_is_waited_for(self) -> None:
        stores = {"east": settled(AGING, requests=[pending(AGING)]), "west": EMPTY}
        plan = DUE.over(stores)
        assert waiting(plan) == {"import access": "answer-awaited"}
        assert "import access" in steps(plan, "west")
        after = again(DUE, stores)
        assert nothing_is_ready(after)
        assert waiting(after) == {"import access": "answer-awaited"}


class TestSelfSigned:
    SCENE = Scene({"own": OWN}, default="own", west="", policy="keep_previous: 1m")

    def test_it_is_made_once_and_copied(self) -> None:
        stores = {"east": EMPTY, "west": EMPTY}
        plan = self.SCENE.over(stores)
        assert steps(plan) == ["create own", "default own"]
        assert steps(plan, "west") == ["import own", "default own"]
        [made] = [each for each in plan.actions if isinstance(each, CreateSelfSigned)]
        copy = imported(plan, "west", "own")
        assert (made.new, copy.fingerprint) == ("new:own@east", "new:own@east")
        assert copy.loan == Loan(appliance="east", certificate="new:own@east")
        assert (copy.key_source, copy.public_key, copy.depends_on) == (KeySource.PEER, None, (made.id,))
        assert part(plan).follows == ()
        after = again(self.SCENE, stores)
        assert after.actions == ()
        assert found(after) == []

    def test_it_is_renewed_on_the_primary_and_copied(self) -> None:
        aging = own(start=-340, end=25)
        stores = {name: store(keyed(aging, "aging"), default=aging) for name in ("east", "west")}
        plan = self.SCENE.over(stores)
        assert steps(plan)[:1] == ["create own"]
        assert steps(plan, "west")[:1] == ["import own"]
        assert nothing_is_ready(again(self.SCENE, stores))

    def test_it_is_not_made_again_where_a_member_has_it(self) -> None:
        fresh = own(start=-3)
        stores = {"east": EMPTY, "west": store(keyed(fresh, "fresh"), default=fresh)}
        plan = self.SCENE.over(stores)
        assert steps(plan) == ["import own", "default own"]
        assert imported(plan, "east", "own").loan == Loan(appliance="west", certificate=fresh.fingerprint)
        assert again(self.SCENE, stores).actions == ()

    def test_its_key_is_copied_where_that_is_there_already(self) -> None:
        """What is made on an appliance is not committed: it cannot be uploaded without its key."""
        fresh = own(start=-3)
        with_key = replace(pending("its own"), public_key=fresh.public_key)
        stores = {"east": store(requests=[with_key]), "west": store(keyed(fresh, "fresh"), default=fresh)}
        assert imported(self.SCENE.over(stores), "east", "own").key_source is KeySource.PEER

    def test_without_the_primary_none_is_made(self) -> None:
        plan = self.SCENE.planning(west=EMPTY, failures={"east": LOST}).plan
        assert steps(plan, "west") == []
        assert message(plan, "primary-unreachable").startswith("own's certificate is made on east, which cannot be")
        aging = own(start=-340, end=25)
        plan = self.SCENE.planning(west=store(keyed(aging, "aging"), default=aging), failures={"east": LOST}).plan
        assert "request" not in message(plan, "primary-unreachable")
        assert steps(plan, "west") == []

    def test_without_the_primary_what_there_is_is_copied(self) -> None:
        fresh = own(start=-3)
        scene = replace(self.SCENE, north="")
        plan = scene.planning(west=store(keyed(fresh, "f"), default=fresh), north=EMPTY, failures={"east": LOST}).plan
        assert steps(plan, "north") == ["import own", "default own"]

    def test_where_the_primary_does_not_export_a_person_copies_it(self) -> None:
        stores = {"east": store(offers=EVERYTHING - {Operation.EXPORT}), "west": EMPTY}
        plan = self.SCENE.over(stores)
        assert steps(plan) == ["create own", "default own"]
        assert by_hand(plan, "west") == ["import own"]
        assert told(plan, "not-offered") == ["west: Export own with its key on east, and import it."]

    def test_where_the_primary_makes_none_nobody_waits_for_a_copy_as_if_it_came(self) -> None:
        stores = {"east": store(offers=EVERYTHING - {Operation.CREATE_SELF_SIGNED}), "west": EMPTY}
        plan = self.SCENE.over(stores)
        assert by_hand(plan) == ["create own"]
        assert held(plan, "west") == {"import own": ("follows", None), "default own": ("follows", None)}


class TestTwoSites:
    """A requested certificate that appliances of two sites list is asked for once."""

    @staticmethod
    def plan(
        answer: Issued | None, stores: Mapping[str, LiveStore], failures: Mapping[str, StoreError] | None = None
    ) -> Plan:
        names = ", ".join(ALL)
        signed = "signed: access.pem, " if answer else ""
        files = {
            "certificates/access.yaml": "friendly_name: access\nsubject: {country: US, organization: Example Company,"
            f" common_name: Example remote access}}\nsubject_alternative_names: [{names}]\nkey: ec-p256\n"
            f"source: {{kind: requested, {signed}chain: [chain.pem]}}\n",
        }
        for site, appliance in (("access", "east"), ("portal", "west")):
            files[f"sites/{site}.yaml"] = (
                f"hostname: {site}.example.com\nprimary: {appliance}\ncertificates: [access]\n{NO_CLIENTS}"
            )
            files[f"appliances/{appliance}.yaml"] = f"hostname: {appliance}.example.com\nstore: {{driver: directory}}\n"
        committed = {"certificates/chain.pem": ISSUED.chain}
        if answer:
            committed["certificates/access.pem"] = (answer.certificate,)
        return make_plan(Fleet(desired(files, committed), stores, failures or {}, (), Stopped()), NOW).plan

    def test_the_first_sites_primary_makes_the_request(self) -> None:
        plan = self.plan(None, {"east": EMPTY, "west": EMPTY})
        assert [say(each) for each in plan.actions if isinstance(each, CreateRequest)] == ["request access"]
        assert "request access" in steps(plan, "east")

    def test_the_answer_goes_to_both(self) -> None:
        plan = self.plan(ISSUED, {"east": EMPTY, "west": store(CHAIN, requests=[pending(ISSUED)])})
        assert imported(plan, "west", "access").key_source is KeySource.STORE
        loan = imported(plan, "east", "access").loan
        assert loan
        assert loan.appliance == "west"

    def test_what_concerns_it_is_said_once(self) -> None:
        plan = self.plan(None, {"east": EMPTY, "west": store(CHAIN, requests=[pending("first")])})
        assert found(plan) == ["request-pending"]
        assert [each.where for each in plan.by_hand] == ["west"]

    def test_another_site_that_lacks_it_is_no_divergence(self) -> None:
        plan = self.plan(ISSUED, {"east": settled(ISSUED), "west": EMPTY})
        assert "peer-diverged" not in found(plan)
        assert "import access" in steps(plan, "west")


class TestARenewalFromOneEndToTheOther:
    def test_request_answer_and_removal_each_come_once(self) -> None:
        scene = replace(DUE, policy="keep_previous: 1m")
        stores: Mapping[str, LiveStore] = {"east": settled(AGING), "west": settled(AGING)}
        first = scene.over(stores)
        stores = afterwards(stores, carry_out(scene.state, stores, first))
        scene = replace(scene, certificates={"access": requested(renewed(AGING))})
        second = scene.over(stores)
        for name in stores:
            assert steps(second, name) == ["import access", "default access", "remove access"]
        stores = afterwards(stores, carry_out(scene.state, stores, second))
        last = scene.over(stores)
        assert last.actions == ()
        assert found(last) == []
        assert all(each.requests == () for each in stores.values())

    def test_with_clients_that_trust_its_root(self) -> None:
        scene = replace(ANSWERED, clients=builds((-400, [one()])))
        stores = {"east": settled(AGING, requests=[pending(ISSUED)]), "west": settled(AGING)}
        plan = scene.over(stores)
        assert steps(plan)[:2] == ["import access", "default access"]
        assert nothing_is_ready(again(scene, stores))

    def test_from_another_ca_it_is_held_on_every_member(self) -> None:
        other = leaf(two(), start=-10, names=ALL)
        scene = replace(ANSWERED, certificates={"access": requested(other)}, clients=builds((-400, [one()])))
        stores = {"east": settled(AGING, requests=[pending(other)]), "west": settled(AGING)}
        plan = scene.over(stores)
        assert held(plan)["import access"] == ("untrusted-by-clients", None)
        assert held(plan, "west")["import access"] == ("follows", None)
        assert len(told(plan, "client-software")) == 1
