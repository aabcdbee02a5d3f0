"""What a look means: sync, health and conditions, since when, and which changes are told."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.result import ApplianceResult, Outcome, StepResult
from reconciler.base.errors import StoreUnreachable
from reconciler.base.findings import Finding as AnyFinding
from reconciler.base.findings import Kind, ObjectName, Severity, Stops
from reconciler.engine.unattended import Suspension
from reconciler.live.store import Operation
from reconciler.plan.model import Progress
from reconciler.watch.changes import events, source_events
from reconciler.watch.judgement import judge
from reconciler.watch.model import ConditionType, Health, Source, Sync, Truth, WatchedAppliance
from reconciler.watch.seen import Applied, Seen, instants, recent
from tests.plan.scenes import (
    EVERYTHING,
    Scene,
    chain_of,
    keyed,
    leaf,
    one,
    own,
    part,
    pending,
    provided,
    requested,
    store,
)
from tests.support.authority import DAY, NOW

if TYPE_CHECKING:
    from reconciler.engine.unattended import Mode
    from reconciler.live.store import LiveStore
    from reconciler.watch.model import Condition

GOOD = leaf(one(), start=-100)
NEW = leaf(one(), start=-1, end=300)
FRESH = WatchedAppliance(name="east", mode="apply")
UNREACHABLE = StoreUnreachable("nobody answers", "check the cable")
ERROR = AnyFinding("unknown-key", Severity.ERROR, "the key is not known", "take it out")
HOUR = DAY / 24
ACCESS = ObjectName(Kind.CERTIFICATE, "access")


def live(*more: object, **changed: object) -> LiveStore:
    """A store that holds what `in_sync` declares."""
    made = store(keyed(GOOD, "good"), chain_of(one()), *more, default=keyed(GOOD, "good"))  # type: ignore[arg-type]
    return replace(made, **changed)  # type: ignore[arg-type]


IN_SYNC = Scene({"good": provided(GOOD)}, default="good")
RENEWED = Scene({"good": provided(NEW)}, default="good")


def seen(scene: Scene, east: LiveStore | None, *, mode: Mode = "apply", **more: object) -> Seen:
    failures = {} if east else {"east": UNREACHABLE}
    planning = scene.planning(east, failures=failures)
    made = Seen(
        at=NOW,
        state=scene.state,
        mode=mode,
        part=part(planning.plan),
        store=east,
        failure=failures.get("east"),
        classes=planning.classes.get("east", {}),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def applied(outcome: Outcome, *steps: StepResult, message: str = "", remedy: str = "") -> Applied:
    return Applied(ApplianceResult("east", outcome, steps, message, remedy), "20261123T120000Z-01")


def condition(appliance: WatchedAppliance, about: ConditionType) -> Condition:
    return next(each for each in appliance.conditions if each.type is about)


def states(appliance: WatchedAppliance) -> tuple[Sync, Health]:
    return appliance.sync, appliance.health


OUT = Sync.OUT_OF_SYNC
AS_IT_IS = {
    "in sync": (seen(IN_SYNC, live()), Sync.SYNCED, Health.HEALTHY, "Synced"),
    "due": (seen(RENEWED, live()), OUT, Health.PROGRESSING, "Ready"),
    "due, to be told only": (seen(RENEWED, live(), mode="plan"), OUT, Health.HEALTHY, "Ready"),
    "due, to be told in brief": (seen(RENEWED, live(), mode="observe"), OUT, Health.HEALTHY, "OutOfSync"),
    "held": (
        seen(RENEWED, live(keyed(NEW, "new"), default=NEW.certificate.fingerprint), mode="plan"),
        OUT,
        Health.PROGRESSING,
        "Held",
    ),
    "waiting": (
        seen(Scene({"good": provided(GOOD), "more": requested()}, default="good"), live(requests=(pending("a"),))),
        OUT,
        Health.PROGRESSING,
        "Waiting",
    ),
    "by hand": (
        seen(RENEWED, live(offers=EVERYTHING - {Operation.IMPORT}), mode="plan"),
        OUT,
        Health.DEGRADED,
        "Held",
    ),
    "unfinished": (seen(IN_SYNC, live(unfinished="a reload is due")), OUT, Health.PROGRESSING, "Unfinished"),
    "unreachable": (seen(IN_SYNC, None), Sync.UNKNOWN, Health.DEGRADED, "NotObserved"),
    "stopped": (
        replace(
            seen(IN_SYNC, live(), stopped=True, errors=(ERROR,)),
            part=part(IN_SYNC.planning(live()).plan).model_copy(update={"progress": Progress.STOPPED, "serving": ()}),
        ),
        Sync.UNKNOWN,
        Health.DEGRADED,
        "Errors",
    ),
    "a certificate stopped": (seen(IN_SYNC, live(), stopped=True), Sync.UNKNOWN, Health.DEGRADED, "Errors"),
    "broken": (
        Seen(at=NOW, state=IN_SYNC.state, mode="apply", errors=(ERROR,), stopped=True),
        Sync.UNKNOWN,
        Health.DEGRADED,
        "Errors",
    ),
    "badly served": (seen(IN_SYNC, store()), OUT, Health.DEGRADED, "Ready"),
    "suspended": (
        seen(RENEWED, live(), suspension=Suspension(reason="no", until=NOW + DAY)),
        OUT,
        Health.SUSPENDED,
        "Ready",
    ),
}


@pytest.mark.parametrize("what", AS_IT_IS)
def test_sync_and_health_are_those_of_what_was_seen(what: str) -> None:
    look, sync, health, reason = AS_IT_IS[what]
    judged = judge(FRESH, look)
    assert states(judged) == (sync, health)
    assert condition(judged, ConditionType.IN_SYNC).reason == reason
    assert [each.type for each in judged.conditions] == list(ConditionType)
    assert not judge(judged, look).failures or look.failure


def test_what_is_wrong_is_told_in_a_sentence() -> None:
    unreachable = judge(FRESH, seen(IN_SYNC, None))
    observed = condition(unreachable, ConditionType.OBSERVED)
    assert (observed.reason, observed.message) == ("StoreUnreachable", "nobody answers - check the cable")
    assert condition(unreachable, ConditionType.VALID).status is Truth.UNKNOWN
    assert unreachable.errors == ()

    bad = condition(judge(FRESH, seen(IN_SYNC, store())), ConditionType.SERVED)
    assert bad.message.startswith("access.example.com may be served factory, which is not good: ")

    nothing = seen(IN_SYNC, live())
    assert nothing.part is not None
    rows = tuple(each.model_copy(update={"before": (), "name": None}) for each in nothing.part.serving)
    unserved = judge(FRESH, replace(nothing, part=nothing.part.model_copy(update={"serving": rows})))
    assert condition(unserved, ConditionType.SERVED).message == "clients that send no server name is served nothing"

    stopped = seen(IN_SYNC, live(), stopped=True, errors=(ERROR, replace(ERROR, message="nor is this")))
    valid = condition(judge(FRESH, stopped), ConditionType.VALID)
    assert (valid.reason, valid.message) == ("UnknownKey", f"{ERROR} (and 1 more)")


def test_since_changes_with_the_status_and_with_nothing_else() -> None:
    first = judge(FRESH, seen(IN_SYNC, None))
    again = judge(first, seen(IN_SYNC, None, at=NOW + HOUR, failure=StoreUnreachable("it is silent")))
    observed = condition(again, ConditionType.OBSERVED)
    assert (observed.message, observed.since) == ("it is silent", NOW)
    back = judge(again, seen(IN_SYNC, live(), at=NOW + 2 * HOUR))
    assert condition(back, ConditionType.OBSERVED).since == NOW + 2 * HOUR
    assert condition(back, ConditionType.APPLIED).since == NOW
    assert (first.failures, again.failures, back.failures) == (1, 2, 0)
    assert (again.observed_at, again.looked_at, back.observed_at) == (None, NOW + HOUR, NOW + 2 * HOUR)


def test_what_an_appliance_held_stays_known_while_it_is_away() -> None:
    before = judge(FRESH, seen(RENEWED, live(keyed(NEW, "new"), default=NEW.certificate.fingerprint)))
    assert [(each.label, each.certificate, each.default) for each in before.certificates] == [
        ("new", "good", True),
        ("good", "good", False),
    ]
    assert before.certificates[0].renewal
    assert before.certificates[1].renewal is None
    ends = [each for each in before.upcoming if each.what.startswith("the hold ends")]
    assert len(ends) == 1
    away = judge(before, seen(RENEWED, None, at=ends[0].at))
    assert away.certificates == before.certificates
    assert set(before.upcoming) - set(away.upcoming) == set(ends)


def test_time_changes_something_when_a_hold_ends_or_a_certificate_falls_due_or_expires() -> None:
    future = leaf(one(), start=10)
    look = seen(
        RENEWED,
        live(keyed(NEW, "new"), keyed(future, "later"), default=NEW.certificate.fingerprint),
        suspension=Suspension(reason="no", until=NOW + 3 * DAY),
    )
    record = judge(FRESH, look)
    coming = sorted(each for each in instants(look) if each > NOW)
    assert {each.at for each in record.upcoming if "hold" in each.what} < set(coming)
    assert NOW + 3 * DAY in coming
    assert future.certificate.not_before in coming
    assert NEW.certificate.not_after not in coming  # the last instant at which it is valid
    second = HOUR / 3600
    assert {GOOD.certificate.not_after + second, NEW.certificate.not_after + second} < set(coming)
    assert {each.renewal for each in record.certificates} - {None} < set(coming)
    assert list(instants(seen(RENEWED, None))) == []
    assert list(instants(replace(look, part=None, store=None, suspension=None))) == []


class TestApplied:
    def test_an_outcome_is_kept_until_the_next(self) -> None:
        done = StepResult("a", Outcome.APPLIED)
        first = judge(FRESH, seen(IN_SYNC, live(), applied=applied(Outcome.APPLIED, done)))
        later = judge(first, seen(IN_SYNC, live(), at=NOW + HOUR))
        for each in (first, later):
            assert condition(each, ConditionType.APPLIED).status is Truth.TRUE
            assert each.last_apply is not None
            assert (each.last_apply.at, each.last_apply.done) == (NOW, 1)
            assert each.last_apply.journal == "20261123T120000Z-01"

    @pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.STALE, Outcome.NOT_ATTEMPTED])
    def test_what_failed_stays_failed_until_nothing_of_it_is_left(self, outcome: Outcome) -> None:
        wrong = StepResult("b", outcome, "it said no", "ask why")
        look = seen(RENEWED, live(), applied=applied(outcome, StepResult("a", Outcome.APPLIED), wrong))
        failed = judge(FRESH, look)
        told = condition(failed, ConditionType.APPLIED)
        assert (told.status, told.message) == (Truth.FALSE, "it said no - ask why")
        assert (failed.health, failed.failures) == (Health.DEGRADED, 1)
        waiting = judge(failed, seen(RENEWED, live(), at=NOW + HOUR))
        assert condition(waiting, ConditionType.APPLIED) == told
        away = judge(waiting, seen(RENEWED, None, at=NOW + HOUR))
        assert condition(away, ConditionType.APPLIED) == told
        done = judge(away, seen(IN_SYNC, live(), at=NOW + 2 * HOUR))
        assert condition(done, ConditionType.APPLIED).reason == "NothingLeft"
        assert states(done) == (Sync.SYNCED, Health.HEALTHY)

    def test_what_was_unchanged_is_no_apply(self) -> None:
        judged = judge(FRESH, seen(IN_SYNC, live(), applied=applied(Outcome.UNCHANGED)))
        assert judged.last_apply is None
        assert condition(judged, ConditionType.APPLIED).reason == "NothingYet"

    def test_what_failed_as_a_whole_says_so(self) -> None:
        silent = applied(Outcome.NOT_ATTEMPTED, StepResult("a", Outcome.NOT_ATTEMPTED))
        whole = applied(Outcome.FAILED, message="it is locked", remedy="wait")
        terse = applied(Outcome.FAILED, StepResult("a", Outcome.FAILED, "no"))
        for each, message in ((silent, ""), (whole, "it is locked - wait"), (terse, "no")):
            judged = judge(FRESH, seen(RENEWED, live(), applied=each))
            assert condition(judged, ConditionType.APPLIED).message == message


class TestEvents:
    def told(self, before: WatchedAppliance, after: WatchedAppliance) -> list[str]:
        return [f"{each.kind} {each.before} -> {each.after}: {each.message}" for each in events(before, after, NOW)]

    def test_what_is_well_from_the_start_is_not_told(self) -> None:
        assert self.told(FRESH, judge(FRESH, seen(IN_SYNC, live()))) == []

    def test_what_is_not_is(self) -> None:
        assert self.told(FRESH, judge(FRESH, seen(IN_SYNC, None))) == [
            "health Progressing -> Degraded: nobody answers - check the cable",
            "condition Observed=Unknown -> Observed=False: nobody answers - check the cable",
        ]

    def test_why_somebody_has_to_look_is_told_and_not_that_it_is_out_of_sync(self) -> None:
        served = keyed(own(), "own")
        told = self.told(FRESH, judge(FRESH, seen(IN_SYNC, store(served, default=served), mode="plan")))
        sync, health, *_ = told
        assert sync.startswith("sync Unknown -> OutOfSync: 3 to import")
        assert health.startswith("health Progressing -> Degraded: ")
        assert health.split(": ", 1)[1] != sync.split(": ", 1)[1]
        assert "which is not good" in health

    def test_an_error_that_repeats_is_told_once(self) -> None:
        first = judge(FRESH, seen(IN_SYNC, None))
        assert self.told(first, judge(first, seen(IN_SYNC, None, failure=StoreUnreachable("other words")))) == []

    def test_what_is_well_again_is_told(self) -> None:
        away = judge(judge(FRESH, seen(IN_SYNC, live())), seen(IN_SYNC, None))
        assert self.told(away, judge(away, seen(IN_SYNC, live()))) == [
            "sync Unknown -> Synced: ",
            "health Degraded -> Healthy: ",
            "condition Observed=False -> Observed=True: ",
        ]

    def test_a_suspension_says_why(self) -> None:
        pause = Suspension(reason="moving house", until=NOW + DAY)
        before = judge(FRESH, seen(IN_SYNC, live()))
        assert self.told(before, judge(before, seen(IN_SYNC, live(), suspension=pause))) == [
            "health Healthy -> Suspended: moving house, until 2026-11-24 12:00:00 UTC"
        ]

    def test_an_apply_is_told_each_time_that_it_has_done_something_or_fails_otherwise(self) -> None:
        no = applied(Outcome.FAILED, StepResult("a", Outcome.FAILED, "no"))
        first = judge(FRESH, seen(RENEWED, live(), applied=no))
        assert [each for each in self.told(FRESH, first) if "apply" in each] == ["apply  -> failed: no"]
        again = judge(first, seen(RENEWED, live(), at=NOW + HOUR, applied=no))
        assert self.told(first, again) == []
        other = judge(again, seen(RENEWED, live(), applied=applied(Outcome.FAILED, message="never")))
        assert self.told(again, other) == ["apply failed -> failed: never"]
        for before in (other, judge(other, seen(IN_SYNC, live()))):
            yes = applied(Outcome.APPLIED, StepResult("a", Outcome.APPLIED))
            after = judge(before, seen(IN_SYNC, live(), at=NOW + HOUR, applied=yes))
            told = [each for each in self.told(before, after) if "apply" in each]
            assert told == ["apply failed -> applied: done: a; see 20261123T120000Z-01"]

    def test_of_a_source_it_is_told_what_is_in_force_and_what_is_not(self) -> None:
        none = Source(place="main")
        one_in_force = Source(place="main", revision="c1", digest="d1", signed_by=("Ada", "Bob"))
        broken = {"trouble": "Broken", "refused": "c2", "problem": "it is broken"}

        def said(before: Source, after: Source) -> list[str]:
            return [f"{each.before} -> {each.after}: {each.message}" for each in source_events(before, after, NOW)]

        assert said(none, one_in_force) == [" -> c1: main is in force as of c1, signed by Ada, Bob"]
        after = one_in_force.model_copy(update=broken)
        assert said(one_in_force, after) == [" -> Broken: c2 is not put in force: it is broken; c1 stays in force"]
        assert said(after, after.model_copy(update={"problem": "otherwise broken"})) == []
        assert said(none, none.model_copy(update=broken)) == [
            " -> Broken: c2 is not put in force: it is broken; nothing is in force"
        ]
        assert said(after, after.model_copy(update={"refused": "c3"})) == [
            "Broken -> Broken: c3 is not put in force: it is broken; c1 stays in force"
        ]
        assert said(after, one_in_force) == ["Broken -> c1: main is as it should be again"]
        folder = Source(place="folder", digest="d9")
        assert said(none, folder) == [" -> d9: folder is in force as of d9"]


def test_the_ceiling_tells_what_it_counts() -> None:
    finding = AnyFinding("removal-ceiling", Severity.ERROR, "too many", "look at them", stops=Stops.NOTHING)
    look = seen(IN_SYNC, live())
    assert look.part is not None
    look = replace(look, part=look.part.model_copy(update={"findings": (finding,)}), removals=(NOW - 23 * HOUR,))
    judged = judge(FRESH, look)
    assert judged.errors == ("removal-ceiling too many - look at them; 1 removal of the last 24 hours counted",)
    assert judged.removals == (NOW - 23 * HOUR,)
    assert NOW + HOUR in set(instants(look))


def test_a_certificate_without_an_end_and_one_removal_far_ahead_bring_no_instant() -> None:
    never = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
    endless = one().issue(["access.example.com"], not_before=NOW - DAY, not_after=never)
    coming = set(instants(seen(RENEWED, live(keyed(endless, "endless")))))
    assert never not in coming
    assert recent((NOW - 25 * HOUR, NOW - 23 * HOUR, never), NOW) == (NOW - 23 * HOUR, never)


def test_a_certificate_that_only_a_person_can_renew_is_told_as_it_falls_due() -> None:
    finding = AnyFinding("expires-soon", Severity.WARNING, "access expires soon", "renew it", about=ACCESS)
    look = seen(IN_SYNC, live())
    before = judge(FRESH, look)
    after = judge(before, replace(look, due=(finding,)))
    assert after.health is Health.DEGRADED
    assert [each.after for each in events(before, after, NOW)] == ["Degraded", "Renewed=False"]
    assert condition(judge(before, seen(IN_SYNC, None)), ConditionType.RENEWED).status is Truth.UNKNOWN


def test_a_self_signed_certificate_is_due_at_a_third_of_its_life() -> None:
    made = keyed(own(start=-10, end=20), "own")
    text = "subject: {common_name: Example remote access}\nsubject_alternative_names: [access.example.com]\n"
    scene = Scene({"own": f"{text}key: ec-p256\nsource: {{kind: self_signed}}\n"}, default="own")
    judged = judge(FRESH, seen(scene, store(made, default=made)))
    assert all(each.renewal is None or each.renewal < each.expiration for each in judged.certificates)
