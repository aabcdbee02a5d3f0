from __future__ import annotations

import base64
import hashlib
import re
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import pytest
from lxml import html
from markupsafe import escape

from reconciler.base.text import printable
from reconciler.plan.model import PlanModel
from reconciler.watch.glance import glance
from reconciler.watch.model import Condition, LastApply, Source, Upcoming, Watched, WatchedAppliance, WatchedCertificate
from reconciler.watch.page import policy, relative, status_page
from tests.watch import sample
from tests.watch.sample import DAY, HOSTILE, HOUR, MINUTE, NOW

if TYPE_CHECKING:
    import datetime as dt

T = TypeVar("T", bound=PlanModel)

INKS = ("ink", "faint", "link", "good", "bad", "changed", "held")
FLEETS = (sample.watched(source=Source(place="fleet")), sample.all_well(), sample.troubled(), sample.many(200))


def page(known: Watched, now: dt.datetime = NOW) -> html.HtmlElement:
    return html.document_fromstring(status_page(glance(known, now)))


def text(element: html.HtmlElement | None) -> str:
    """What it says; what stands in elements of its own is set apart."""
    assert element is not None
    return re.sub(r" (?=[,.])", "", " ".join(" ".join(element.itertext()).split()))


def section(known: Watched, name: str) -> html.HtmlElement:
    return page(known).get_element_by_id(name)


_TEXTS: dict[type[PlanModel], tuple[str, ...]] = {
    WatchedAppliance: ("name", "site", "suspended"),
    WatchedCertificate: ("label", "certificate"),
    Condition: ("message",),
    Upcoming: ("what",),
    LastApply: ("journal", "outcome", "message"),
    Source: ("place", "revision", "left", "refused", "problem"),
}


def hostile() -> Watched:
    """The troubled fleet, in which every text that may say anything says what nobody should."""
    known = sample.troubled()
    appliances = tuple(
        _poisoned(each).model_copy(
            update={
                "conditions": tuple(map(_poisoned, each.conditions)),
                "errors": tuple(HOSTILE for _ in each.errors),
                "todo": (HOSTILE,),
                "certificates": tuple(map(_poisoned, each.certificates)),
                "upcoming": tuple(map(_poisoned, each.upcoming)),
                "last_apply": each.last_apply and _poisoned(each.last_apply),
            }
        )
        for each in known.appliances
    )
    source = _poisoned(known.source).model_copy(update={"signed_by": (HOSTILE,)})
    return known.model_copy(update={"appliances": appliances, "source": source, "warnings": (HOSTILE,)})


def _poisoned(value: T) -> T:
    return value.model_copy(update={name: HOSTILE for name in _TEXTS[type(value)] if getattr(value, name)})


def test_it_says_what_is_to_be_read_from_across_the_room() -> None:
    well, ill = page(sample.all_well()), page(sample.troubled())
    assert text(well.find(".//h1")) == "All 7 in step"
    assert text(ill.find(".//h1")) == "3 need you"
    assert ill.findtext(".//title") == f"3 need you \N{EN DASH} certificates of {sample.source().place}"
    counts = [text(each) for each in ill.cssselect(".counts div")]
    assert counts == [
        "= In step 1", "~ On its way 1", "Not looked at 0", "! Suspended 1", "+ To apply 1",
        "\N{MULTIPLICATION SIGN} Need you 3",
    ]  # fmt: skip
    # Whoever cannot see is told when it changes, and not each time that the minutes do.
    live = ill.cssselect("[aria-live]")
    assert [each.get("id") for each in live] == ["headline"]
    assert not live[0].cssselect("time")
    icons = [each.get_element_by_id("icon").get("href") for each in (well, ill, page(FLEETS[0]))]
    assert len(set(icons)) == 3


def test_it_says_what_needs_somebody_and_what_to_do() -> None:
    needs = text(section(sample.troubled(), "needs"))
    assert "a newer state is not in force 9c3e1f5582a7 since 2026-11-28 11:40:00 UTC, 20 min ago" in needs
    assert "nobody who is allowed to has signed it - sign it, or revert it" in needs
    assert "the fleet is held to 4f2a9c71d05b." in needs
    assert "east-1 cannot be observed since 2026-11-28 09:00:00 UTC, 3 h ago" in needs
    assert "reconciler doctor --revision 4f2a9c71d05b --appliance east-1" in needs
    drift = text(section(sample.troubled(), "drift"))
    assert "node-2 to apply since 2026-11-28 10:30:00 UTC, 1 h ago 1 to import, 1 default to set" in drift
    assert "trial-1 suspended moved to another rack, until 2026-12-01" in text(section(sample.troubled(), "suspended"))
    assert "--operator FILE" in text(section(sample.troubled(), "hint"))
    for part in ("needs", "drift", "hint", "suspended", "warnings"):
        assert not text(section(sample.all_well(), part))


def test_a_source_that_cannot_be_followed_is_told_without_a_commit() -> None:
    lost = sample.source(problem="the remote cannot be reached", revision=None)
    told = text(section(sample.watched(sample.appliance("a"), source=lost), "needs"))
    assert "main cannot be followed" in told
    assert "held to the files as they were before" in told
    never = Source(place="fleet", problem="there is no such folder")
    assert text(section(sample.watched(source=never), "needs")).endswith("there is no such folder")


def test_the_fleet_is_told_by_site_in_the_words_of_gitops_as_well() -> None:
    fleet = section(sample.troubled(), "fleet")
    rows = {
        text(row.find("th[@scope='row']")): [text(cell) for cell in row.findall("td")]
        for row in fleet.cssselect("tbody tr")
    }
    assert rows["east-1"] == [
        "\N{MULTIPLICATION SIGN} needs you Unknown, Degraded", "apply", "3 h ago 4 failures",
        rows["west-1"][3],
    ]  # fmt: skip
    assert rows["node-2"][:2] == ["+ to apply OutOfSync, Healthy", "plan"]
    assert rows["trial-1"][3] == "in 2 days the suspension ends"
    sites = [(text(each), each.get("rowspan")) for each in fleet.cssselect("th[scope=rowgroup]")]
    assert sites == [("access", "2"), ("portal", "4"), ("Outside any site", "1")]
    assert [text(each) for each in fleet.cssselect("tbody:nth-of-type(1) th[scope=row]")] == ["east-1", "west-1"]
    unseen = section(sample.watched(sample.unseen("a")), "fleet")
    assert [text(cell) for cell in unseen.cssselect("td")][2:] == ["never", "\N{EN DASH}"]


def test_the_page_tells_of_a_state_in_which_nothing_is_looked_at() -> None:
    nothing = sample.troubled().model_copy(update={"source": Source(place="/srv/fleet", problem="it is broken")})
    shown = page(nothing)
    assert text(shown.find(".//h1")) == "Nothing is in force"
    assert text(shown.get_element_by_id("needs")) == "Needs you /srv/fleet cannot be followed it is broken"
    assert len(shown.cssselect("#fleet tr.faint")) == 7
    assert shown.cssselect("h1.long")
    assert not page(sample.all_well()).cssselect("h1.long")


def test_what_is_typed_is_told_from_what_is_said_and_each_sentence_once() -> None:
    problem = "appliances/a.yaml is <odd> - close it with `]`, or run `git commit -S`"
    shown = page(sample.watched(sample.appliance("a"), source=sample.source(problem=problem)))
    assert [each.text for each in shown.cssselect("#needs p:nth-of-type(2) code")] == ["]", "git commit -S"]
    assert text(shown).count("appliances/a.yaml is <odd>") == 1
    alone = page(sample.watched(sample.appliance("a"), source=sample.source(problem="one ` alone")))
    assert "one ` alone" in text(alone.get_element_by_id("needs"))


def test_a_card_says_what_somebody_would_do_and_the_command_with_its_folder() -> None:
    known = sample.reported("a").model_copy(update={"todo": ("make `x` the default",), "ready": 2})
    shown = page(sample.watched(known, source=Source(place="/srv/fleet", digest="x")))
    drift = shown.get_element_by_id("drift")
    assert [text(each) for each in drift.cssselect(".details li")] == ["make x the default", "and 1 more"]
    assert drift.cssselect(".remedy code")[0].text == "reconciler apply --appliance a /srv/fleet"
    assert "clone" not in text(shown.get_element_by_id("hint"))


def test_what_is_overdue_is_marked_in_its_row() -> None:
    late = page(sample.watched(sample.appliance("a", next_look=NOW - HOUR))).cssselect("#fleet td small.bad")
    assert [(text(each), each.get("title")) for each in late] == [("overdue", "since 2026-11-28 11:00:00 UTC")]


def test_what_is_odd_about_the_operator_settings_is_told() -> None:
    odd = tuple(f"there is no `site-{number}`" for number in range(14))
    told = section(sample.watched(warnings=odd), "warnings")
    assert text(told).startswith("Operator settings there is no site-0 there")
    assert text(told).endswith("and 2 more in /api/status")


def test_expirations_come_soonest_first_with_what_is_odd_about_them() -> None:
    told = [text(row) for row in section(sample.troubled(), "expirations").cssselect("li")]
    by_hand, old, portal, trial = told[:4]
    assert by_hand.startswith("by-hand.example.com expired")
    assert "2 days ago" in by_hand
    assert old.startswith("old.example.com replaced")
    assert portal.startswith("portal.example.com due")
    assert "in 9 days 2026-12-07" in portal
    assert "renewal 2027-02-02" in trial
    lone = sample.watched(
        sample.appliance("a", certificates=(sample.certificate("x", 5), sample.certificate("y", 500, name="y")))
    )
    undeclared, beyond = section(lone, "expirations").cssselect("li")
    assert "undeclared" in text(undeclared)
    assert "in 16 months \N{RIGHTWARDS ARROW}" in text(beyond)
    assert not beyond.cssselect(".renewal")
    soon = sample.watched(sample.appliance("a", certificates=(sample.certificate("z", 13, name="z", renew=5),)))
    assert section(soon, "expirations").cssselect(".when b.bad")


def test_a_bar_is_as_long_as_its_certificate_lives() -> None:
    held = tuple(sample.certificate(f"c{days}", days, name="c") for days in (-5, 1, 40, 200, 400, 900))
    bars = section(sample.watched(sample.appliance("a", certificates=held)), "expirations").cssselect("rect")
    widths = [float(bar.get("width", "").removesuffix("%")) for bar in bars]
    assert widths == [0.6, 0.25, 10.0, 50.0, 100.0, 100.0]


def test_a_large_fleet_folds_what_is_in_step() -> None:
    well = section(sample.many(200), "fleet")
    assert len(well.cssselect("details")) == 67
    assert text(well.cssselect("summary")[0]) == "region-00 = 3 in step"
    ids = [each.get("id") for each in well.cssselect("details")]
    assert ids == [f"site-{number}" for number in range(1, 68)]
    some = section(sample.many(60), "fleet")
    assert "region-00.example.com is due for renewal" in text(some.cssselect("summary")[0])
    busy = section(sample.many(200, sample.needing("edge-1", "edge")), "fleet")
    assert [text(each) for each in busy.cssselect("#fleet-table th[scope=row]")] == ["edge-1"]
    assert text(busy.cssselect("summary")[0]) == "edge \N{MULTIPLICATION SIGN} 1 needs you"
    # As many as fit a wall are listed.
    all_of_them = section(sample.many(30), "fleet")
    assert len(all_of_them.cssselect("#fleet-table th[scope=row]")) == 30
    assert not all_of_them.cssselect("details")


def test_many_troubles_are_folded_and_too_many_are_counted() -> None:
    ill = tuple(sample.needing(f"edge-{number}", f"site-{number}") for number in range(230))
    shown = page(sample.watched(*ill))
    needs = shown.get_element_by_id("needs")
    assert len(needs.cssselect("section > .matters > li")) == 6
    assert text(needs.find(".//summary")) == "and 224 more"
    assert "and 24 more in /api/status" in text(needs)
    assert text(shown.get_element_by_id("more-fleet").find("summary")) == "and 200 more"
    assert "The 200 of 230 that expire first" in text(shown.get_element_by_id("expirations"))
    assert "more in" not in text(section(sample.watched(*ill[:20]), "needs"))


def test_last_applies_lead_to_their_history() -> None:
    told = text(section(sample.troubled(), "applies"))
    assert told.startswith("Last applies 2026-11-28 40 min ago \N{MULTIPLICATION SIGN} failed west-1, 2 actions done")
    assert "reconciler history --show 20261128T112000Z-4f2a" in told
    # Where no journal could be begun there is nothing to show.
    stale = LastApply(at=NOW - DAY, journal="", outcome="stale", done=1, did=("import x",))
    told = text(section(sample.watched(sample.appliance("a", last_apply=stale)), "applies"))
    assert told.endswith("! stale a, 1 action done: import x")


def test_the_state_in_force_is_told_with_who_signed_it() -> None:
    told = text(section(sample.troubled(), "source"))
    assert "4f2a9c71d05be83a6c1d2f90b7e48a35c6d1f0e2 Since 2026-11-25 12:00:00 UTC, 3 days ago" in told
    assert "Signed by Ada Lovelace <ada@example.com> Refused 9c3e1f5582a7b0de" in told
    folder = text(section(sample.watched(source=Source(place="fleet", digest="x")), "source"))
    assert folder == "Desired state in force From fleet Commit none: the files of a folder"
    nothing = text(section(sample.watched(source=Source(place="fleet")), "source"))
    assert nothing == "Desired state From fleet Commit none is in force"
    gone = text(section(sample.watched(source=sample.source(left="5a1b")), "source"))
    assert "Before 5a1b, which is no ancestor of it" in gone


@pytest.mark.parametrize(
    ("away", "told"),
    [
        (0 * MINUTE, "now"),
        (MINUTE / 60 * 59, "now"),
        (MINUTE, "in 1 min"),
        (-59 * MINUTE, "59 min ago"),
        (-HOUR, "1 h ago"),
        (23 * HOUR, "in 23 h"),
        (DAY, "in 1 day"),
        (91 * DAY, "in 91 days"),
        (92 * DAY, "in 3 months"),
        (-400 * DAY, "13 months ago"),
        (730 * DAY, "in 23 months"),
        (6582 * DAY, "in 18 years"),
    ],
)
def test_how_far_away_an_instant_is_reads_in_its_largest_unit(away: dt.timedelta, told: str) -> None:
    assert relative(NOW + away, NOW) == told


def test_every_relative_time_says_the_absolute_one_and_is_made_anew_with_the_page() -> None:
    shown = page(sample.troubled())
    times = [each for each in shown.iter("time") if "ago" in text(each) or text(each).startswith("in ")]
    assert times
    assert all(each.get("title", "").endswith(" UTC") and each.get("datetime") for each in times)
    assert "4 h ago" in text(page(sample.troubled(), NOW + HOUR).get_element_by_id("fleet"))


@pytest.mark.parametrize("known", FLEETS)
def test_it_is_of_one_piece_and_runs_nothing_but_its_script(known: Watched) -> None:
    written = status_page(glance(known, NOW))
    shown = html.document_fromstring(written)
    ids = [each.get("id") for each in shown.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    for each in shown.iter():
        attributes = {str(name): value for name, value in each.items()}
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("href", "src"):
            assert re.match(r"#|/[a-z]|data:image/svg\+xml,", attributes.get(name, "#"))
    for kind in ("style", "script"):
        (only,) = re.findall(rf"<{kind}>(.*?)</{kind}>", written, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(only.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy()
    assert "unsafe" not in policy()
    # Headings leave no level out.
    levels = [int(str(each.tag)[1]) for each in shown.iter("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(each.get("aria-label") for each in shown.cssselect("[role=region]"))


def test_hostile_text_stays_text() -> None:
    known = hostile()
    written = status_page(glance(known, NOW))
    mark = str(escape(printable(HOSTILE)))
    assert written.count(mark) > 30
    assert "<script>alert" not in written
    assert "\u202e" not in written
    assert "\x1b" not in written
    assert ">49<" not in written
    shown = html.document_fromstring(written)
    assert len(shown.cssselect("script")) == len(shown.cssselect("style")) == 1
    told = shown.get_element_by_id("needs"), shown.get_element_by_id("drift"), shown.get_element_by_id("suspended")
    assert all(printable(HOSTILE) in "".join(each.itertext()) for each in told)


def test_it_says_that_the_loop_stands_still() -> None:
    shown = html.document_fromstring(status_page(glance(sample.all_well(), NOW, NOW - HOUR)))
    assert text(shown.find(".//h1")) == "The loop stands still"


def _luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_every_ink_can_be_read_in_light_and_dark() -> None:
    style = page(sample.all_well()).findtext(".//style") or ""
    light, dark = (dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", each)) for each in style.split(":root")[1:3])
    for scheme in (light, dark):
        assert all(_contrast(scheme[ink], scheme[ground]) >= 4.5 for ink in INKS for ground in ("ground", "raised"))
    # No other colour is used.
    own = style[style.index(".status {") :]
    assert not re.findall(r"#[0-9a-f]{3,8}\b|rgb|hsl|opacity", own)
