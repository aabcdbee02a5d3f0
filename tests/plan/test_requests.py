"""Pending requests: what each is to us, which of them are withdrawn, and which never."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.live.store import Operation
from reconciler.plan.model import RemoveRequest
from reconciler.plan.requests import RequestClass
from reconciler.rules import Stopped
from tests.plan.scenes import (
    ALL,
    EVERYTHING,
    Scene,
    by_hand,
    chain_of,
    found,
    held,
    keyed,
    leaf,
    message,
    one,
    own,
    part,
    pending,
    provided,
    requested,
    steps,
    store,
    told,
    waiting,
)
from tests.support.authority import NOW

if TYPE_CHECKING:
    from reconciler.live.store import PendingRequest

ISSUED = leaf(one(), start=-10, names=ALL)
SETTLED = (keyed(ISSUED, "access"), *chain_of(one()))
SCENE = Scene({"access": requested(ISSUED)}, default="access")
PRUNING = replace(SCENE, east="undeclared: remove\n")
STRANGER = pending("stranger", names=["else.example.com"], common_name="Stranger")
SPARE = pending("spare")
ANSWERED = pending(ISSUED)


def retire(fingerprint: str) -> str:
    return f"retired:\n  - {{sha256: '{fingerprint}', reason: sent by mistake}}\n"


def kinds(scene: Scene, *requests: PendingRequest, settled: bool = True) -> set[RequestClass]:
    live = store(SETTLED if settled else [], requests=requests, default=ISSUED if settled else None)
    return {each.kind for each in scene.planning(live).requests["east"].values()}


class TestClasses:
    @pytest.mark.parametrize("request_", [STRANGER, SPARE, ANSWERED])
    def test_retired_comes_first(self, request_: PendingRequest) -> None:
        scene = replace(SCENE, east=retire(request_.fingerprint))
        assert kinds(scene, request_) == {RequestClass.RETIRED}

    def test_awaited_is_what_a_declared_certificate_waits_for(self) -> None:
        assert kinds(Scene({"access": requested()}), SPARE, settled=False) == {RequestClass.AWAITED}

    def test_of_two_that_fit_one_is_awaited_and_the_other_is_spare(self) -> None:
        both = [SPARE, pending("first")]
        assert kinds(Scene({"access": requested()}), *both, settled=False) == {RequestClass.AWAITED, RequestClass.SPARE}

    def test_answered_has_the_key_of_the_committed_answer(self) -> None:
        assert kinds(SCENE, ANSWERED) == {RequestClass.ANSWERED}
        assert kinds(SCENE, ANSWERED, settled=False) == {RequestClass.ANSWERED}

    def test_spare_would_fit_and_is_not_waited_for(self) -> None:
        assert kinds(SCENE, SPARE) == {RequestClass.SPARE}

    def test_what_would_fit_a_certificate_that_no_ca_is_asked_for_is_undeclared(self) -> None:
        assert kinds(Scene({"access": provided(ISSUED)}, default="access"), SPARE) == {RequestClass.UNDECLARED}

    def test_a_request_that_a_member_holds_for_the_site_is_known_there_too(self) -> None:
        scene = Scene({"access": requested()}, west="")
        planning = scene.planning(store(requests=[SPARE]), store(requests=[pending("first")]))
        assert {each.kind for each in planning.requests["west"].values()} == {RequestClass.SPARE}


class TestWithdrawing:
    def test_what_nothing_declares_is_kept_and_reported_with_the_line_that_withdraws_it(self) -> None:
        plan = SCENE.plan(store(SETTLED, requests=[STRANGER], default=ISSUED))
        assert plan.actions == ()
        assert found(plan) == ["request-orphaned"]
        text = message(plan, "request-orphaned")
        assert text.startswith("nothing declares the pending request for ")
        assert f"- {{sha256: {STRANGER.fingerprint}, reason: ...}}" in text

    def test_it_is_withdrawn_where_the_appliance_holds_only_what_is_declared(self) -> None:
        plan = PRUNING.plan(store(SETTLED, requests=[STRANGER], default=ISSUED))
        [action] = part(plan).actions
        assert isinstance(action, RemoveRequest)
        assert (action.fingerprint, action.expects.requests) == (STRANGER.fingerprint, (STRANGER.fingerprint,))
        assert action.reason.code == "undeclared"
        assert (plan.summary.remove, found(plan)) == (1, [])

    @pytest.mark.parametrize("kept", [SPARE, ANSWERED], ids=["spare", "answered"])
    def test_what_fits_or_is_answered_is_never_withdrawn_by_itself(self, kept: PendingRequest) -> None:
        plan = PRUNING.plan(store(SETTLED, requests=[kept], default=ISSUED))
        assert plan.actions == ()
        assert found(plan) == ["request-orphaned"]

    def test_what_is_waited_for_is_never_withdrawn_by_itself(self) -> None:
        scene = Scene({"access": requested()}, east="undeclared: remove\n")
        plan = scene.plan(store(requests=[SPARE]))
        assert (steps(plan), waiting(plan)) == ([], {"import access": "answer-awaited"})

    def test_what_waits_for_its_import_is_neither_withdrawn_nor_reported(self) -> None:
        plan = PRUNING.plan(store(requests=[ANSWERED]))
        assert "import access" in steps(plan)
        assert not any(isinstance(each, RemoveRequest) for each in plan.actions)
        assert found(plan) == []

    def test_an_answered_one_says_what_answers_it(self) -> None:
        plan = SCENE.plan(store(SETTLED, requests=[ANSWERED], default=ISSUED))
        assert "is answered: access is in the store - withdraw it with" in message(plan, "request-orphaned")

    def test_a_spare_one_says_how_to_use_it(self) -> None:
        plan = SCENE.plan(store(SETTLED, requests=[SPARE], default=ISSUED))
        text = message(plan, "request-orphaned")
        assert text.startswith("access does not wait for the pending request for")
        assert "commit the CA's answer to it as `signed` to use it, or withdraw it with" in text

    @pytest.mark.parametrize("one_", [STRANGER, SPARE, ANSWERED], ids=["stranger", "spare", "answered"])
    def test_a_retired_one_is_withdrawn_whatever_it_is(self, one_: PendingRequest) -> None:
        scene = replace(SCENE, east=retire(one_.fingerprint))
        plan = scene.plan(store(SETTLED, requests=[one_], default=ISSUED))
        [action] = part(plan).actions
        assert isinstance(action, RemoveRequest)
        assert action.reason.sentence == "it is retired: sent by mistake"
        assert action.source
        assert action.source.startswith("appliances/east.yaml:")
        assert found(plan) == []

    def test_a_retired_one_that_would_be_waited_for_is_withdrawn_and_another_is_made(self) -> None:
        scene = Scene({"access": requested()}, east=retire(SPARE.fingerprint))
        plan = scene.plan(store(requests=[SPARE]))
        assert waiting(plan) == {}
        assert steps(plan) == ["withdraw Example remote access", "request access"]

    def test_a_retired_one_whose_answer_is_to_be_imported_is_not_withdrawn_before_it(self) -> None:
        scene = replace(SCENE, east=retire(ANSWERED.fingerprint))
        plan = scene.plan(store(requests=[ANSWERED]))
        assert "import access" in steps(plan)
        assert not any(isinstance(each, RemoveRequest) and each.state.value == "ready" for each in plan.actions)

    def test_a_retired_one_whose_answer_cannot_be_imported_stays_and_is_said(self) -> None:
        scene = replace(SCENE, east=retire(ANSWERED.fingerprint))
        plan = scene.plan(store(chain_of(one()), requests=[ANSWERED], offers=EVERYTHING - {Operation.IMPORT}))
        assert not any(isinstance(each, RemoveRequest) for each in plan.actions)
        assert found(plan) == ["retired-needed"]
        assert "is retired, and its key is that of a committed certificate" in message(plan, "retired-needed")

    def test_a_retired_one_that_is_gone_may_be_taken_off_the_list(self) -> None:
        plan = replace(SCENE, east=retire(SPARE.fingerprint)).plan(store(SETTLED, default=ISSUED))
        assert found(plan) == ["retired-absent"]

    def test_an_interface_that_withdraws_nothing_leaves_it_to_a_person(self) -> None:
        live = store(SETTLED, requests=[STRANGER], default=ISSUED, offers=EVERYTHING - {Operation.REMOVE_REQUEST})
        plan = PRUNING.plan(live)
        assert (steps(plan), by_hand(plan)) == ([], ["withdraw Stranger"])
        assert told(plan, "not-offered")[0].startswith("east: Withdraw the certificate request for ")


class TestCeiling:
    @staticmethod
    def strangers(number: int) -> list[PendingRequest]:
        return [pending(f"stranger {index}", names=["else.example.com"]) for index in range(number)]

    def test_requests_count_against_it(self) -> None:
        live = store(SETTLED, requests=self.strangers(3), default=ISSUED)
        plan = PRUNING.plan(live)
        assert steps(plan) == []
        assert {code for code, _ in held(plan).values()} == {"removal-ceiling"}
        assert len([each for each in part(plan).actions if each.hold]) == 3
        assert "--allow-removals 3" in message(plan, "removal-ceiling")
        assert PRUNING.plan(live, allow_removals=3).summary.remove == 3
        assert PRUNING.plan(store(SETTLED, requests=self.strangers(2), default=ISSUED)).summary.remove == 2

    def test_requests_and_certificates_count_together(self) -> None:
        rows = [keyed(leaf(one(), names=["x.example.com"], common_name="X"), "x")]
        live = store(SETTLED, rows, requests=self.strangers(2), default=ISSUED)
        plan = PRUNING.plan(live)
        assert plan.summary.ready == 0
        assert len(held(plan)) == 2
        assert "3 certificates with a key would go at once" in message(plan, "removal-ceiling")


class TestTheKeyOfAnAnswer:
    """A previous certificate whose key a committed answer needs stays until that is in the store."""

    BEFORE = leaf(one(), start=-340, end=0.5, names=ALL)
    FOLLOWING = one().issue(ALL, not_before=NOW, not_after=NOW.replace(year=2027), key=BEFORE.key)
    SCENE = Scene({"access": requested(FOLLOWING)}, default="access", policy="keep_previous: 1m")

    def test_it_leaves_after_the_import(self) -> None:
        plan = self.SCENE.plan(store(keyed(self.BEFORE, "before"), chain_of(one()), default=self.BEFORE))
        assert steps(plan) == ["import access", "default access", "remove before"]

    @pytest.mark.parametrize("east", ["", "undeclared: remove\n"])
    def test_it_stays_while_the_import_is_not_possible(self, east: str) -> None:
        rows = (keyed(self.BEFORE, "before"), keyed(ISSUED, "now"), *chain_of(one()))
        plan = replace(self.SCENE, east=east).plan(store(rows, offers=EVERYTHING - {Operation.IMPORT}, default=ISSUED))
        assert by_hand(plan) == ["import access"]
        assert not any(each.kind == "remove" and each.label == "before" for each in plan.actions)

    def test_a_retired_one_stays_as_well_and_is_said(self) -> None:
        fingerprint = self.BEFORE.certificate.fingerprint
        scene = replace(self.SCENE, east=f"retired:\n  - {{sha256: '{fingerprint}', reason: exposed}}\n")
        live = store(keyed(self.BEFORE, "before"), chain_of(one()), offers=EVERYTHING - {Operation.IMPORT})
        plan = scene.plan(live)
        assert steps(plan) == []
        assert found(plan) == ["retired-needed"]
        assert "is retired, and its key is that of a committed certificate" in message(plan, "retired-needed")
        assert "remove before" in steps(scene.plan(replace(live, offers=EVERYTHING)))

    def test_one_that_was_brought_along_is_wanted_as_well(self) -> None:
        """What stops it may be that its committed key cannot be read."""
        scene = Scene({"access": provided(self.FOLLOWING)}, east=retire(self.BEFORE.certificate.fingerprint))
        live = store(keyed(self.BEFORE, "before"), keyed(ISSUED, "now"), chain_of(one()), default=ISSUED)
        plan = scene.planning(live, stopped=Stopped(certificates=frozenset({"access"}))).plan
        assert steps(plan) == []
        assert found(plan) == ["retired-needed"]
        assert "remove before" in steps(scene.plan(live))


class TestTheSameKeyAgain:
    """The answer that is due has a key that is there already, with another certificate."""

    OLD = leaf(one(), start=-340, end=20, names=ALL)
    LATER = one().issue(ALL, not_before=NOW, not_after=NOW.replace(year=2027), key=OLD.key)
    ASKED = requested(OLD, chain=[], more="renew_with: same_key\n")
    GOOD = keyed(own(names=ALL), "good")
    LIVE = store(chain_of(one())[0], keyed(LATER, "later"), GOOD, default=GOOD)

    def test_a_ca_is_asked_when_all_that_uses_a_request_up_is_there(self) -> None:
        # The other one brings the root, and only then is what has no chain of its own good.
        plan = Scene({"access": self.ASKED, "other": provided(ISSUED)}).plan(self.LIVE)
        assert steps(plan) == ["import Root One", "import access", "import other", "request access"]

    def test_a_request_that_nothing_uses_up_is_waited_for(self) -> None:
        scene = Scene({"access": self.ASKED})
        first = scene.plan(self.LIVE)
        assert (steps(first), set(held(first))) == (["request access"], {"import access"})
        assert "Once apply has made it" in told(first, "send-request")[0]
        asked = replace(self.LIVE, requests=(pending(self.OLD),))
        again = scene.planning(asked)
        assert (steps(again.plan), set(held(again.plan))) == ([], {"import access"})
        assert waiting(again.plan) == {"import access": "answer-awaited"}
        assert told(again.plan, "send-request")[0].startswith("east: Send the request of access")
        assert "request-pending" in found(again.plan)
        assert "renewal-due" not in found(again.plan)
        assert {each.kind for each in again.requests["east"].values()} == {RequestClass.AWAITED}

    def test_one_that_an_import_uses_up_is_not_waited_for_where_a_person_has_to_make_the_next(self) -> None:
        scene = Scene({"access": requested(self.OLD, more="renew_with: same_key\n")})
        live = store(requests=[pending(self.OLD)], offers=EVERYTHING - {Operation.CREATE_REQUEST})
        plan = scene.plan(live)
        assert "import access" in steps(plan)
        assert (waiting(plan), by_hand(plan)) == ({}, ["request access"])

    def test_it_is_made_where_the_key_is_and_not_where_it_is_copied_to(self) -> None:
        scene = Scene({"access": requested(self.OLD, more="renew_with: same_key\n")}, west="")
        unfit = pending(self.OLD, organization="Another Company")
        plan = scene.planning(store(), store(requests=[unfit])).plan
        assert "request access" in steps(plan, "west")
        assert "request access" not in {*steps(plan), *held(plan)}

    def test_where_two_ask_with_the_key_one_of_them_asks_again(self) -> None:
        scene = Scene({"access": requested(self.OLD, more="renew_with: same_key\n")}, west="")
        asks = store(requests=[pending(self.OLD)])
        plan = scene.planning(replace(asks, offers=EVERYTHING - {Operation.CREATE_REQUEST}), asks).plan
        assert "request access" in steps(plan, "west")
        assert waiting(plan, "west") == {}
