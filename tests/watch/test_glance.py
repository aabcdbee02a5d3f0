from __future__ import annotations

import pytest

from reconciler.watch.glance import Matter, command, glance
from reconciler.watch.model import ConditionType, Health, Source, Sync, Truth, Upcoming, Watched, WatchedAppliance
from reconciler.watch.standing import Standing, standing
from tests.watch import sample
from tests.watch.sample import DAY, HOUR, MINUTE, NOW


def texts(known: Watched) -> tuple[str, str, str]:
    told = glance(known, NOW).headline
    return told.text, told.rest, told.ink


@pytest.mark.parametrize(
    ("known", "how"),
    [
        (sample.appliance("a"), Standing.IN_STEP),
        (sample.needing("a"), Standing.NEEDS_YOU),
        (sample.failing("a"), Standing.NEEDS_YOU),
        (sample.broken("a"), Standing.NEEDS_YOU),
        (sample.waiting("a"), Standing.ON_ITS_WAY),
        (sample.reported("a"), Standing.TO_APPLY),
        (sample.suspended("a"), Standing.SUSPENDED),
        (sample.unseen("a"), Standing.NOT_SEEN),
    ],
)
def test_an_appliance_stands_in_one_way(known: WatchedAppliance, how: Standing) -> None:
    assert standing(known) is how


def test_no_two_standings_share_a_symbol() -> None:
    assert len({each.symbol for each in Standing}) == len(Standing)


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (sample.watched(source=Source(place="x")), ("Starting", "The desired state is being read.", "held")),
        (
            sample.watched(source=Source(place="x", problem="the remote cannot be reached")),
            ("Nothing is in force", "No appliance is looked at until the source is mended.", "bad"),
        ),
        (
            sample.watched(source=sample.source(problem="the remote cannot be reached")),
            ("The source needs you", "", "bad"),
        ),
        (
            sample.watched(sample.needing("a"), sample.appliance("b"), source=sample.source(digest="", problem="x")),
            ("Nothing is in force", "No appliance is looked at until the source is mended.", "bad"),
        ),
        (
            sample.watched(sample.appliance("b"), source=sample.source(digest="")),
            ("Starting", "The desired state is being read.", "held"),
        ),
        (sample.watched(), ("No appliances", "The desired state declares none.", "changed")),
        (
            sample.watched(*(sample.appliance(name, upcoming=()) for name in ("a", "b"))),
            ("All 2 in step", "", "good"),
        ),
        (
            sample.watched(sample.appliance("a", upcoming=(Upcoming(at=NOW + DAY, what="access is due"),))),
            ("In step", "Next, on 2026-11-29: access is due.", "good"),
        ),
        (
            sample.watched(sample.unseen("a"), sample.unseen("b")),
            ("Looking at 2 appliances", "Nothing is known of them yet.", "held"),
        ),
        (
            sample.watched(sample.unseen("a"), sample.appliance("b")),
            ("1 of 2 in step", "1 not looked at.", "held"),
        ),
        (
            sample.watched(sample.waiting("a"), sample.waiting("b"), sample.appliance("c")),
            ("1 of 3 in step", "2 on their way.", "held"),
        ),
        (
            sample.watched(sample.suspended("a"), sample.appliance("b")),
            ("1 of 2 in step", "1 suspended.", "changed"),
        ),
        (sample.watched(sample.reported("a")), ("1 to apply", "", "changed")),
        (
            sample.watched(sample.reported("a"), sample.waiting("b"), sample.appliance("c")),
            ("1 to apply", "1 of 3 in step, 1 on its way.", "changed"),
        ),
        (
            sample.watched(sample.appliance("a"), source=sample.source(problem="it is not signed.")),
            ("The source needs you", "1 of 1 in step.", "bad"),
        ),
        (
            sample.watched(sample.appliance("a"), sample.reported("b"), warnings=("it is odd",)),
            ("The settings need you", "1 of 2 in step, 1 to apply.", "changed"),
        ),
        (
            sample.watched(sample.needing("a"), sample.failing("b"), sample.appliance("c")),
            ("2 need you", "1 of 3 in step.", "bad"),
        ),
        (
            sample.watched(sample.needing("a"), sample.appliance("b"), source=sample.source(problem="not signed")),
            ("1 needs you", "The source needs you as well.", "bad"),
        ),
    ],
)
def test_the_headline_says_what_comes_first(known: Watched, told: tuple[str, str, str]) -> None:
    assert texts(known) == told


def test_a_loop_that_stands_still_comes_before_everything() -> None:
    told = glance(sample.troubled(), NOW, NOW - HOUR).headline
    assert (told.text, told.ink) == ("The loop stands still", "bad")
    assert "2026-11-28 11:00:00 UTC" in told.rest


def needs(*known: WatchedAppliance) -> tuple[Matter, ...]:
    return glance(sample.watched(*known), NOW).needs


def test_what_is_wrong_says_since_when_and_what_to_do() -> None:
    east, west = needs(sample.failing("west-1"), sample.needing("east-1"))
    assert (east.names, east.what, east.since) == (("east-1",), "cannot be observed", NOW - 3 * HOUR)
    assert (east.remedy, east.command) == ("Find out where it fails:", ("doctor",))
    # That it is out of step as well says nothing new.
    assert (west.names, west.what, west.since) == (("west-1",), "apply failed", NOW - 40 * MINUTE)
    assert west.command == ("history", "--show", "20261128T112000Z-4f2a")


def test_each_error_is_told_once_for_all_that_have_it_and_since_the_first() -> None:
    one, two = sample.broken("hub-1"), sample.broken("node-1")
    older = sample.conditions(valid=(Truth.FALSE, "x", 4 * DAY))
    two = two.model_copy(update={"conditions": older, "errors": (*two.errors, "another")})
    first, second = sorted(needs(one, two), key=lambda each: len(each.names))
    assert (first.names, first.message, first.command) == (("node-1",), "another", ())
    assert (second.names, second.message, second.since) == (("hub-1", "node-1"), one.errors[0], NOW - 4 * DAY)


def test_an_error_in_the_files_of_others_is_told_by_its_condition() -> None:
    stopped = sample.conditions(valid=(Truth.FALSE, "errors in files of others", HOUR))
    (only,) = needs(sample.appliance("a", health=Health.DEGRADED, conditions=stopped))
    assert only.message == "errors in files of others"


def test_what_is_not_served_well_is_looked_at_by_its_status_and_so_is_a_failed_apply_without_a_journal() -> None:
    wrong = sample.conditions(served=(Truth.FALSE, "x is served nothing", HOUR), applied=(Truth.FALSE, "no", HOUR))
    both = needs(sample.appliance("it's", health=Health.DEGRADED, conditions=wrong))
    assert {each.what for each in both} == {"not served well", "apply failed"}
    assert {each.command for each in both} == {("status",)}


def test_what_is_left_to_do_by_hand_needs_somebody() -> None:
    by_hand = sample.conditions(in_sync=(Truth.FALSE, "1 by hand", HOUR))
    known = sample.appliance("a", sync=Sync.OUT_OF_SYNC, health=Health.DEGRADED, conditions=by_hand)
    assert needs(known) == (
        Matter(
            ("a",),
            "out of step",
            "bad",
            "1 by hand",
            "The plan says what is left to do by hand:",
            ("plan",),
            NOW - HOUR,
        ),
    )
    # Of one that is only said to be degraded, that is all there is to tell; it comes last.
    unclear = sample.appliance("b", health=Health.DEGRADED)
    *_, last = needs(unclear, known)
    assert (last.names, last.message, last.since) == (("b",), "", None)


def test_what_is_out_of_step_says_what_becomes_of_it() -> None:
    held = sample.waiting("held").model_copy(update={"waiting": 0})
    applied = sample.waiting("applied").model_copy(update={"waiting": 0, "ready": 1})
    bare = applied.model_copy(update={"name": "bare", "conditions": ()})
    told_only = held.model_copy(update={"name": "told", "mode": "observe"})
    shown = glance(
        sample.watched(
            sample.reported("a"), sample.waiting("b"), held, told_only, applied, bare, sample.suspended("c")
        ),
        NOW,
    )
    told = {each.names: (each.what, each.ink, each.remedy, each.command) for each in shown.drift}
    by_you = "Its mode is plan, so it is not applied from here. Look at it and apply it:"
    later = "Nothing to do yet: its mode is observe, so what is held will then be yours to apply."
    assert told == {
        ("a",): ("to apply", "changed", by_you, ("apply",)),
        ("b",): ("on its way", "held", "A request waits for the CA's answer. See which:", ("requests",)),
        ("held",): ("on its way", "held", "Nothing to do: what is held goes on by itself.", ()),
        ("told",): ("on its way", "held", later, ()),
        ("applied",): ("on its way", "held", "Nothing to do: it is being applied.", ()),
        ("bare",): ("on its way", "held", "Nothing to do: it is being applied.", ()),
    }
    assert not shown.needs
    # A change that was interrupted is none of the actions that are ready.
    (unfinished,) = glance(sample.watched(sample.reported("a").model_copy(update={"ready": 0})), NOW).drift
    assert (unfinished.remedy, unfinished.command) == (by_you, ("apply",))


def test_where_the_loop_may_not_apply_it_says_what_somebody_would_do() -> None:
    todo = ("make x the default", "import y")
    told = "1 to import, 1 default to set: make x the default; import y"
    differs = {"todo": todo, "conditions": sample.conditions(in_sync=(Truth.FALSE, told, HOUR))}
    (drift,) = glance(sample.watched(sample.reported("a").model_copy(update=differs)), NOW).drift
    assert (drift.message, drift.details) == ("1 to import, 1 default to set", todo)
    (being_applied,) = glance(
        sample.watched(sample.waiting("a").model_copy(update={**differs, "waiting": 0, "ready": 2})), NOW
    ).drift
    assert (being_applied.message, being_applied.details) == (told, ())
    bad = sample.conditions(served=(Truth.FALSE, "x is served nothing", HOUR), in_sync=(Truth.FALSE, "", HOUR))
    served = {"health": Health.DEGRADED, "conditions": bad, "todo": todo, "ready": 5}
    (only,) = needs(sample.reported("a").model_copy(update=served))
    assert (only.what, only.message, only.command) == ("not served well", "x is served nothing", ("apply",))
    assert "mode is plan" in only.remedy
    assert only.details == (*todo, "and 3 more")
    # Where the loop applies it itself, somebody looks at what is served.
    (own,) = needs(sample.reported("a").model_copy(update={**served, "mode": "apply"}))
    assert (own.command, own.details) == (("status",), ())
    # What has something else to do is another matter.
    other = sample.reported("b").model_copy(update={**served, "todo": ("import z",)})
    assert len(needs(sample.reported("a").model_copy(update=served), other)) == 2


def test_what_is_suspended_says_what_is_wrong_meanwhile() -> None:
    bad = sample.conditions(served=(Truth.FALSE, "x is served nothing", HOUR), in_sync=(Truth.FALSE, "", HOUR))
    ill = sample.suspended("ill").model_copy(update={"conditions": bad})
    well, too = sample.suspended("well"), sample.suspended("too")
    shown = glance(sample.watched(ill, well, too), NOW)
    told = {each.names: (each.message, each.details) for each in shown.suspended}
    assert told == {
        ("ill",): (ill.suspended, ("meanwhile not served well: x is served nothing",)),
        ("well", "too"): (well.suspended, ()),
    }


def test_what_should_have_been_looked_at_long_ago_needs_somebody() -> None:
    late = sample.appliance("late", next_look=NOW - 16 * MINUTE)
    soon = sample.appliance("soon", next_look=NOW - 14 * MINUTE)
    known = sample.watched(late, soon, sample.suspended("off").model_copy(update={"next_look": NOW - HOUR}))
    shown = glance(known, NOW)
    (only,) = shown.needs
    assert (only.names, only.what, only.since) == (("late",), "overdue", NOW - 16 * MINUTE)
    assert shown.headline.text == "1 needs you"
    (suspended,) = shown.suspended
    assert suspended.details[0].startswith("meanwhile overdue")
    # A loop that was only started then has had no time yet; and where nothing is in force nothing is due.
    assert not glance(known.model_copy(update={"started_at": NOW - MINUTE}), NOW).needs
    assert not glance(known.model_copy(update={"source": sample.source(digest="")}), NOW).needs


def test_while_nothing_is_in_force_nobody_counts_as_looked_at() -> None:
    shown = glance(sample.troubled().model_copy(update={"source": Source(place="x", problem="broken")}), NOW)
    assert dict(shown.counts)[Standing.NOT_SEEN] == 7
    assert (shown.needs, shown.drift, shown.suspended) == ((), (), ())


def test_a_command_can_be_pasted() -> None:
    matter = Matter(("a", "it's"), "", "", "", command=("doctor",))
    folder = Source(place="/srv/my state")
    assert command(matter, folder) == """reconciler doctor --appliance a --appliance 'it'"'"'s' '/srv/my state'"""
    assert command(matter, sample.source()).startswith("reconciler doctor --revision 4f2a9c71d05b --appliance a ")
    assert command(matter, sample.source()).endswith("it'\"'\"'s'")
    signed = sample.source(place="/srv/state")
    assert command(Matter(("a",), "", "", "", command=("plan",)), signed) == (
        "reconciler plan --revision 4f2a9c71d05b --appliance a /srv/state"
    )
    many = Matter(tuple("abcdefgh"), "", "", "", command=("apply",))
    assert command(many, folder).count("--appliance") == 5
    shown = Matter(("a",), "", "", "", command=("history", "--show", "one two"))
    assert command(shown, signed) == "reconciler history --show 'one two'"


def test_sites_that_concern_people_come_first_and_keep_their_key() -> None:
    calm = glance(sample.watched(sample.appliance("a", "alpha"), sample.appliance("z", "omega")), NOW).sites
    moved = glance(sample.watched(sample.appliance("a", "alpha"), sample.needing("z", "omega")), NOW).sites
    assert [each.name for each in calm] == ["alpha", "omega"]
    assert [each.name for each in moved] == ["omega", "alpha"]
    assert {each.name: each.key for each in calm} == {each.name: each.key for each in moved}
    outside = glance(sample.watched(sample.appliance("l", None), sample.appliance("a", "alpha")), NOW).sites
    assert [each.name for each in outside] == ["alpha", None]


def test_a_certificate_is_told_once_however_many_hold_it() -> None:
    held = sample.certificate("access.example.com", 40, name="access")
    was = held.model_copy(update={"renewal": None})
    soon = sample.certificate("soon.example.com", 2)
    known = (
        sample.appliance("a", certificates=(was,)),
        sample.appliance("b", certificates=(held, held)),
        sample.appliance("c", certificates=(soon,)),
        sample.appliance("d", certificates=(was,)),
    )
    first, second = glance(sample.watched(*known), NOW).lives
    assert (first.certificate, first.names, first.declared) == (soon, ("c",), False)
    assert (second.certificate, second.names, second.declared) == (held, ("a", "b", "d"), True)
    assert second.identity == held.fingerprint[:12]


def test_what_time_brings_is_told_by_instant_and_the_last_applies_from_the_latest() -> None:
    first, later = Upcoming(at=NOW + DAY, what="first"), Upcoming(at=NOW + 2 * DAY, what="later")
    shown = glance(
        sample.watched(sample.appliance("a", upcoming=(first, later)), sample.appliance("b", upcoming=(first,))), NOW
    )
    assert [(each.what, each.names) for each in shown.coming] == [("first", ("a", "b")), ("later", ("a",))]
    assert shown.sites[0].next == shown.coming[0]

    def applied(name: str, ago: int) -> WatchedAppliance:
        known = sample.failing(name)
        assert known.last_apply
        return known.model_copy(update={"last_apply": known.last_apply.model_copy(update={"at": NOW - ago * HOUR})})

    shown = glance(sample.watched(applied("a", 3), applied("b", 1), sample.appliance("c")), NOW)
    assert [each.name for each, _ in shown.applies] == ["b", "a"]


def test_the_numbers_count_every_appliance_once() -> None:
    shown = glance(sample.troubled(), NOW)
    assert dict(shown.counts) == {
        Standing.NEEDS_YOU: 3,
        Standing.TO_APPLY: 1,
        Standing.SUSPENDED: 1,
        Standing.NOT_SEEN: 0,
        Standing.ON_ITS_WAY: 1,
        Standing.IN_STEP: 1,
    }
    assert shown.total == 7
    assert {each for each, _ in shown.counts} == {*Standing}


def test_every_condition_has_words() -> None:
    every = {each.value.lower(): (Truth.FALSE, each.value, HOUR) for each in ConditionType}
    wrong = {"observed", "valid", "applied", "served"}
    said = {key: value for key, value in every.items() if key in wrong}
    told = needs(sample.appliance("a", health=Health.DEGRADED, conditions=sample.conditions(**said)))
    assert len({each.what for each in told}) == len(wrong)
