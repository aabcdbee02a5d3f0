from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from lxml import html

from reconciler.base.text import printable
from reconciler.plan.model import AppliancePlan, Basis, ByHand, Plan, Progress, Summary
from reconciler.report import plan_html as page_module
from reconciler.report.fleet_view import Condition, Life, fleet_view
from reconciler.report.plan_html import plan_html
from reconciler.report.plan_text import _VERBS as TEXT_VERBS
from reconciler.report.view import plan_view
from tests.report import sample
from tests.report.goldens import check_golden
from tests.support.authority import DAY, NOW

if TYPE_CHECKING:
    from lxml.html import HtmlElement

VIEW = plan_view(sample.PLAN, sample.STORES, sample.MATERIAL, sample.CLASSES)
FLEET = fleet_view(sample.STATE, sample.PLAN, sample.STORES, sample.FAILURES, sample.CLASSES, {})
PAGE = plan_html(VIEW, FLEET)
STYLE = html.fromstring(PAGE).findtext(".//style") or ""

GROUNDS = ("ground",)
INKS = ("ink", "faint", "link", "good", "bad", "changed", "held")


def _plan(**changes: object) -> Plan:
    plan = Plan(made_at=NOW, digest="d", basis=Basis(desired_digest="0"), appliances=(), summary=Summary())
    return plan.model_copy(update=changes)


def _page(plan: Plan) -> HtmlElement:
    view = plan_view(plan, sample.STORES, sample.MATERIAL, {})
    return html.fromstring(plan_html(view, fleet_view(sample.STATE, plan, sample.STORES, {}, {}, {})))


def _text(element: HtmlElement, path: str = ".") -> str:
    """The text of the first element that a path finds, as a reader sees it."""
    return " ".join(str(element.xpath(path)[0].text_content()).split())


def test_the_whole_page_reads_as_it_was_looked_at() -> None:
    check_golden("plan.html", PAGE)


def test_nothing_on_the_page_acts_or_is_fetched() -> None:
    page = html.document_fromstring(PAGE)
    elements = list(page.iter(tag=None))
    assert not {"script", "img", "iframe", "object", "embed", "link", "form", "base", "audio", "video"} & {
        each.tag for each in elements
    }
    for each in elements:
        names = set(each.attrib)
        assert not [name for name in names if name.startswith("on")]
        assert not names & {"style", "src", "srcset", "action", "formaction", "xlink:href"}
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    addresses = [str(each) for each in page.xpath("//@href")]
    places = [str(each) for each in page.xpath("//@id")]
    assert {each[1:] for each in addresses} <= set(places)
    assert all(each.startswith("#") for each in addresses)
    assert len(places) == len(set(places))


def test_the_page_allows_itself_its_own_style_and_nothing_else() -> None:
    policy = html.fromstring(PAGE).xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    assert policy == [f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"]


def test_hostile_names_are_shown_as_what_they_are() -> None:
    assert all(line.isprintable() for line in PAGE.splitlines())
    page = html.fromstring(PAGE)
    names = [str(each.text_content()) for each in page.find_class("name")]
    assert printable(sample.HOSTILE) in names
    assert not [each for each in page.iter("b") if each.text == "&"]


def test_the_page_can_be_read_without_seeing_it() -> None:
    page = html.document_fromstring(PAGE)
    assert page.get("lang") == "en"
    assert _text(page, "//title") == "Certificate plan 2026-11-23 12:00:00 UTC"
    assert all(each.get("scope") in {"col", "row", "rowgroup"} for each in page.iter("th"))
    levels = [int(str(each.tag)[1]) for each in page.iter("h1", "h2", "h3", "h4", "h5")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(each.get("aria-hidden") or each.xpath("ancestor::*[@aria-hidden]") for each in page.iter("svg"))


def _colours(style: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style))


def _luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_computed_as_it_is_defined() -> None:
    assert _contrast("#ffffff", "#000000") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_every_colour_of_text_stands_out_from_its_ground(scheme: str) -> None:
    light, dark, paper = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    colours = _colours({"light": light, "dark": dark, "print": paper}[scheme])
    assert (_luminance(colours["ground"]) < 0.02) is (scheme == "dark")
    for ink in INKS:
        assert _contrast(colours[ink], colours["ground"]) >= 4.5, ink
    assert _contrast(colours["bar"], colours["ground"]) >= 3
    # No other colour is written anywhere, so these are all there are.
    assert not re.search(r"#[0-9a-f]{3,8}\b|rgb|hsl", re.sub(r":root \{.*?\}", "", STYLE, flags=re.DOTALL))
    assert set(re.findall(r"color: var\(--(\w+)\)", STYLE)) <= set(INKS) | {"bar", "line"}
    assert set(re.findall(r"background: var\(--(\w+)\)", STYLE)) == {"ground"}


def test_actions_are_called_as_in_a_terminal() -> None:
    verbs = {kind: verb for kind, (_, verb, _) in page_module._VERBS.items()}  # noqa: SLF001 - they belong together
    assert verbs == {kind: verb for kind, (_, verb, _) in TEXT_VERBS.items()}


def test_the_headline_is_what_the_plan_comes_to_and_the_rest_stands_beneath() -> None:
    page = html.fromstring(PAGE)
    assert _text(page, "//h1") == "4 to import, 2 defaults to set, 2 to remove"
    assert _text(page, "//p[@class='rest']").startswith("2 held, 1 waiting, 1 by hand; 1 appliance could not")
    counts = [f"{_text(each, 'dt')} {_text(each, 'dd')}" for each in page.xpath("//dl[@class='counts']/div")]
    assert counts[:4] == ["Create 0", "Import 4", "Default 2", "Remove 2"]
    assert counts[4:] == ["Held 2", "Waiting 1", "By hand 2", "Errors 2"]


def test_an_empty_plan_is_a_page_too() -> None:
    page = _page(_plan())
    assert _text(page, "//h1") == "No changes"
    assert "none: a work tree" in _text(page)
    assert "Nothing that is declared or may be served has an expiration yet." in _text(page)
    assert not page.xpath("//p[@class='rest']")
    assert not page.xpath("//table")


def test_a_plan_that_cannot_be_applied_says_so_before_anything_else() -> None:
    page = _page(_plan(as_of=NOW, basis=Basis(desired_digest="0", replaced=("east-1",))))
    banners = [_text(each) for each in page.find_class("banner")]
    assert banners == [
        "As of another time. Planned for 2026-11-23 12:00:00 UTC, so it cannot be applied.",
        "Rehearsal. The operator settings put other stores in place of east-1.",
    ]


def test_what_does_not_run_now_is_listed_once_with_what_releases_it() -> None:
    later = html.fromstring(PAGE).get_element_by_id("later")
    assert [_text(each) for each in later.iter("h3")] == ["Held 2", "Waiting 1", "By hand 1"]
    assert [_text(each) for each in later.iter("li")] == [
        (
            "~ remove access.example.com cba06b5736fa on east-1, west-1 "
            "until 2026-11-30 12:00:00 UTC: access has been good for less than 7d"
        ),
        "? create lab new on node-2 the other member answers first",
        "! default lab new on node-2 the interface does not offer it",
    ]


def test_what_stands_between_backticks_is_code_and_whatever_else_it_holds_is_text() -> None:
    hand = ByHand(code="x", what="run `a <b>` & `", where="s")
    (item,) = _page(_plan(by_hand=(hand,))).xpath("//section[@id='by-hand']//li")
    assert [each.text for each in item.iter("code")] == ["a <b>"]
    assert _text(item) == "s run a <b> & `"
    assert [each.tag for each in item] == ["b", "code"]


def test_the_page_says_whether_it_is_safe_to_merge() -> None:
    assert _text(html.fromstring(PAGE), "//p[@class='verdict bad']").startswith("Look before you merge: 2 errors; ")
    safe = _page(_plan()).xpath("//p[@class='verdict good']")
    assert [_text(each) for each in safe] == ["Safe to merge: nothing is to be done, and clients notice nothing."]


def test_members_stand_side_by_side() -> None:
    (table, *_) = html.fromstring(PAGE).find_class("holdings")
    assert [_text(each) for each in table.xpath("thead//th")] == ["Certificate", "east-1", "west-1"]
    rows = {
        _text(row, ".//code"): [" ".join(str(cell.text_content()).split()) for cell in row.iter("td")]
        for row in table.xpath("tbody/tr")
    }
    assert rows["06c8aaa93d80"] == ["● there * default now"] * 2
    assert rows["9f91161f4343"] == ["+ import * default"] * 2
    assert rows["cba06b5736fa"] == ["● there ~ remove held until 2026-11-30"] * 2
    assert rows["88f6811ab5d8"] == ["● there", "\N{EN DASH}"]


def test_a_comparison_that_stands_above_is_not_repeated() -> None:
    (site, *_) = [each for each in VIEW.sites if each.name == "access"]
    (group,) = site.groups
    brought, default = group.actions[1], replace(group.actions[2], changes=group.actions[1].changes)
    again = replace(site, groups=(replace(group, actions=(brought, default)),))
    view = replace(VIEW, sites=tuple(again if each is site else each for each in VIEW.sites))
    told = [_text(each) for each in html.fromstring(plan_html(view, FLEET)).find_class("action")[:2]]
    assert "Fingerprint" in told[0]
    assert "Fingerprint" not in told[1]
    assert "compared above" in told[1]


def test_sites_in_step_are_folded_and_those_with_changes_are_open() -> None:
    page = html.fromstring(PAGE)
    shown = {_text(each, "summary/h3"): "open" in each.attrib for each in page.find_class("site")}
    assert shown == {"access": True, "stopped": True, "traffic": True, "Outside any site": True, "quiet": False}
    (fold,) = page.find_class("quiet")
    assert _text(fold, "summary") == "1 site in step"
    assert "open" not in fold.attrib


def _many(number: int) -> Plan:
    """So many lone sites like `access`, and findings to match."""
    first = sample.PLAN.appliances[0]
    parts = tuple(
        first.model_copy(update={"name": f"a-{index:03}", "site": f"s-{index:03}"}) for index in range(number)
    )
    notice = first.findings[0]
    told = tuple(replace(notice, message=f"notice {index}", appliance=None) for index in range(600))
    return sample.PLAN.model_copy(update={"appliances": parts, "findings": told})


def test_a_large_fleet_is_folded() -> None:
    plan = _many(60)
    stores = {each.name: sample.STORES["east-1"] for each in plan.appliances}
    classes = {each.name: sample.CLASSES["east-1"] for each in plan.appliances}
    fleet = fleet_view(sample.STATE, plan, stores, {}, classes, {})
    view = replace(
        plan_view(plan, stores, sample.MATERIAL, classes),
        noticed=tuple(f"sentence {index}" for index in range(20)),
    )
    page = html.fromstring(plan_html(view, fleet))
    folds = [_text(each, "summary") for each in page.xpath("//section[not(@id='sites')]//details")]
    assert folds == [
        "and 8 more",  # of what clients will notice
        "and 598 more",  # notices: 600 and one that all appliances share
        "and 48 more",  # held
        "and 20 more sites",
        "and 150 more, as a table",
    ]
    assert not [each for each in page.find_class("site") if "open" in each.attrib]
    assert "The other 98 are in the plan as text and as JSON." in _text(page)


def _life(**changes: object) -> Life:
    life = Life(
        "s", "name", "0123", "CA", NOW - 10 * DAY, NOW + 30 * DAY, None, (), comes=False, goes=False, open=False
    )
    return replace(life, **changes)  # type: ignore[arg-type]


def _tracks(*lives: Life) -> HtmlElement:
    (found,) = html.fromstring(plan_html(VIEW, replace(FLEET, lives=lives))).find_class("timeline")
    return found


def test_the_time_line_puts_everything_where_it_belongs() -> None:
    renewal = (NOW + 10 * DAY, "why")
    life = _life(renewal=renewal, holds=((NOW + 400 * DAY, "remove"), (NOW + 500 * DAY, "import")))
    tracks = _tracks(life)
    (bar,) = tracks.find_class("bar")
    # It shows 31 days of the past and 400 of what comes.
    assert float(bar.get("x", "").rstrip("%")) == pytest.approx(21 / 431 * 100, abs=0.01)
    assert float(bar.get("width", "").rstrip("%")) == pytest.approx(40 / 431 * 100, abs=0.01)
    (now,) = tracks.find_class("now")
    assert float(now.get("x1", "").rstrip("%")) == pytest.approx(31 / 431 * 100, abs=0.01)
    assert tracks.xpath(".//*[@class='renewal']/../@x") == ["9.51%"]
    assert [each.get("cx") for each in tracks.find_class("hold")] == ["100.00%"]
    assert _text(tracks.find_class("when")[0]) == (
        "2026-12-23 in 30 days renewal 2026-12-03 remove held until 2027-12-28 import held until 2028-04-06"
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "name 0123"),
        ({"comes": True}, "name 0123 comes"),
        ({"goes": True}, "name 0123 goes"),
        ({"comes": True, "open": True}, "name 0123 held"),
    ],
)
def test_the_time_line_says_in_words_what_happens(changes: dict[str, object], told: str) -> None:
    assert _text(_tracks(_life(**changes)).find_class("label")[0]) == told


def test_what_lasts_beyond_the_time_line_is_marked_so() -> None:
    (when,) = _tracks(_life(end=NOW + 401 * DAY, renewal=(NOW + 3000 * DAY, "why"))).find_class("when")
    assert _text(when) == "2027-12-29 → renewal 2035-02-09"
    (when,) = _tracks(_life(end=NOW + 400 * DAY)).find_class("when")
    assert _text(when) == "2027-12-28"


def test_an_expired_certificate_is_told_by_more_than_its_colour() -> None:
    tracks = _tracks(_life(end=NOW, goes=True))
    assert _text(tracks.find_class("when")[0]) == "2026-11-23 expired"
    assert _text(tracks.find_class("label")[0]) == "name 0123 goes"
    assert [each.get("class") for each in _tracks(_life(end=NOW)).find_class("bar")] == ["bar bad"]


def test_months_are_named_and_january_by_its_year() -> None:
    tracks = _tracks(_life())
    names = [str(each.text) for each in tracks.xpath(".//text")]
    assert names == ["Nov", "Dec", "2027", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov"]
    # The last one begins so late that its name would stand beyond the page.
    assert len(tracks.find_class("grid")) == len(names) + 1


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (-1, "expired"),
        (0, "expired"),
        (1, "in 1 day"),
        (100, "in 100 days"),
        (101, ""),
    ],
)
def test_how_long_is_left_is_said_while_it_is_not_long(left: int, told: str) -> None:
    member = replace(FLEET.sites[0].members[0], expires=NOW + dt.timedelta(days=left), expiring="name")
    sites = tuple(
        replace(each, members=(member,), holdings=()) if each is FLEET.sites[0] else each for each in FLEET.sites
    )
    (table, *_) = html.fromstring(plan_html(VIEW, replace(FLEET, sites=sites))).find_class("fleet")
    expiration = _text(table, ".//td[2]")
    assert expiration == " ".join(filter(None, [f"{member.expires:%Y-%m-%d}", told, "name"]))


def test_one_appliance_that_nobody_could_observe_says_why() -> None:
    page = _page(_plan(appliances=(AppliancePlan(name="lone", progress=Progress.UNREACHABLE),)))
    assert "could not be observed" in _text(page.find_class("fleet")[0])


def test_what_nothing_happens_to_is_told_in_one_sentence() -> None:
    (held, *_) = FLEET.sites[0].holdings
    again = replace(held, identity="0123")
    site = replace(FLEET.sites[0], steady=(held, again, replace(held, label="Example Root", identity="4567")))
    page = html.fromstring(plan_html(VIEW, replace(FLEET, sites=(site, *FLEET.sites[1:]))))
    assert "3 more certificates that nothing happens to: BeyondTrust Appliance, Example Root (factory)." in _text(page)


@pytest.mark.parametrize(("number", "fold"), [(12, None), (15, None), (16, "and 4 more")])
def test_a_fold_has_to_be_worth_it(number: int, fold: str | None) -> None:
    noticed = tuple(f"sentence {index}" for index in range(number))
    clients = html.fromstring(plan_html(replace(VIEW, noticed=noticed), FLEET)).get_element_by_id("clients")
    assert [_text(each) for each in clients.iter("summary")] == ([fold] if fold else [])
    assert [_text(each) for each in clients.iter("li")] == [f"sentence {index}." for index in range(number)]


@pytest.mark.parametrize(
    ("condition", "number", "told"),
    [
        (Condition.IN_STEP, 1, "= in step"),
        (Condition.IN_STEP, 2, "= 2 in step"),
        (Condition.UNREACHABLE, 1, "\N{MULTIPLICATION SIGN} could not be observed"),
        (Condition.UNREACHABLE, 2, "\N{MULTIPLICATION SIGN} 2 could not be observed"),
        (Condition.ERRORS, 1, "\N{MULTIPLICATION SIGN} 1 error"),
        (Condition.CHANGES, 2, "+ 2 changes"),
        (Condition.HELD, 1, "~ 1 held"),
        (Condition.WAITING, 1, "? 1 waiting"),
        (Condition.BY_HAND, 1, "! 1 by hand"),
    ],
)
def test_how_an_appliance_stands_is_said_in_words_beside_its_sign(condition: Condition, number: int, told: str) -> None:
    member = replace(FLEET.sites[0].members[0], conditions=((condition, number),))
    site = replace(FLEET.sites[0], members=(member,), holdings=())
    page = html.fromstring(plan_html(VIEW, replace(FLEET, sites=(site, *FLEET.sites[1:]))))
    assert _text(page.find_class("fleet")[0], ".//td") == told
