from __future__ import annotations

import dataclasses
import functools
import subprocess
from enum import Enum
from typing import TypeVar, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import html

from reconciler.base.findings import Severity
from reconciler.base.text import printable
from reconciler.plan.model import Action, AppliancePlan, Basis, ByHand, Plan, Progress, State, Summary
from reconciler.report.markdown import code, fenced, folded, html_code, in_cell, prose, table
from reconciler.report.plan_markdown import marker, plan_markdown
from reconciler.report.view import PlanView, plan_view
from tests.report import sample
from tests.report.goldens import check_golden
from tests.support.authority import NOW
from tests.support.programs import require_program

VIEW = plan_view(sample.PLAN, sample.STORES, sample.MATERIAL, sample.CLASSES)
T = TypeVar("T")
_COMMENT = 65_535
"""Characters of a comment on GitHub, at most."""
_EXTENSIONS = ("table", "autolink", "tagfilter", "strikethrough", "tasklist")

# What GitHub or Markdown reads something into.
_READ_INTO = r"""
    @user @org/team #12 GH-12 owner/repo#1 PROJ-7 3f2a91c0d www.evil.example http://evil.example/x ftp://evil.example
    me@evil.example <script>alert(1)</script> <img src=x> <a href=x>y</a> </code> </details> </summary> <!-- -->
    [x](http://y) ![x](y) [x]: [^1] | \| \ ` `` ``` ```` ~~~ ~~ * ** _ __ &lt; &#64; :x: :tada: $x$ 1. 1) - + > #
    --- === word it's (word), 7 7d
"""
_TRAPS = _READ_INTO.split()
_TRAP = st.sampled_from([*_TRAPS, " ", "\n", "\r", "\n\n", "\u202e", "\u2066", "\x1b", "\x00", "\ud800", "\u200b", "é"])
_HOSTILE = st.lists(_TRAP | st.text(max_size=3), max_size=12).map("".join) | st.lists(_TRAP, max_size=8).map(" ".join)


def _html(markdown: str) -> html.HtmlElement:
    """The comment as GitHub's own parser reads it."""
    extensions = [each for name in _EXTENSIONS for each in ("-e", name)]
    ran = subprocess.run(
        [require_program("cmark-gfm"), "--unsafe", "--hardbreaks", *extensions],
        input=markdown.encode(),
        capture_output=True,
        check=True,
    )
    return html.fragment_fromstring(ran.stdout.decode(), create_parent="body")


def _loose(tree: html.HtmlElement) -> str:
    """The text outside of code: there GitHub looks for people, issues, addresses and emoji."""
    pieces = tree.xpath(".//text()[not(ancestor::code) and not(ancestor::pre)]")
    return "\n".join(map(str, pieces))


def _skeleton(tree: html.HtmlElement) -> list[str]:
    """The elements in their order, but for code within sentences: each with what it is in."""
    within = {"code", "pre"}
    return [str(tree.getroottree().getpath(each)) for each in tree.iterdescendants("*") if each.tag not in within]


def _with_every_text(value: T, text: str) -> T:
    """A view in which everything that others chose is some text."""
    match value:
        case Enum():
            return value
        case str():
            return cast("T", text)
        case tuple():
            return cast("T", tuple(_with_every_text(each, text) for each in value))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [each.name for each in dataclasses.fields(value) if each.name != "kind"]
            changed = {name: _with_every_text(getattr(value, name), text) for name in names}
            return cast("T", dataclasses.replace(value, **changed))
        case _:
            return value


@functools.cache
def _harmless() -> list[str]:
    return _skeleton(_html(plan_markdown(_with_every_text(VIEW, "a"))))


def _plan(**changes: object) -> PlanView:
    plan = Plan(made_at=NOW, digest="d", basis=Basis(desired_digest="0"), appliances=(), summary=Summary())
    return plan_view(plan.model_copy(update=changes), {}, {}, {})


def test_the_whole_comment_reads_as_it_was_looked_at() -> None:
    check_golden("plan-comment.md", plan_markdown(VIEW, "desired-state"))


def test_the_comment_is_what_it_is_meant_to_be_for_the_parser_of_github() -> None:
    tree = _html(plan_markdown(VIEW))
    assert [each.text for each in tree.iter("h2")] == ["Certificates: 8 changes on 2 of 8 appliances, 2 errors"]
    assert [each.text for each in tree.iter("h3")] == [
        "What clients will notice",
        "Errors",
        "Not planned",
        "Left to do by hand",
        "Warnings",
        "Held, or waiting",
        "What changes where",
    ]
    assert len(tree.findall(".//details/summary")) == 3
    assert {len(row) for row in tree.iter("tr")} == {3}
    assert [each.get("type") for each in tree.iter("input")] == ["checkbox"]
    blocks = [each.text or "" for each in tree.iterfind(".//pre/code")]
    assert [each.get("class") for each in tree.iterfind(".//pre/code")] == ["language-diff"] * 2
    assert "\n-     Expiration           2026-12-13 12:00:00 UTC\n+     Expiration           2027-10-24" in blocks[0]


@settings(max_examples=25, deadline=None)
@given(_HOSTILE)
@example(" ".join(_TRAPS[:11]))
@example(" ".join(_TRAPS[11:22]))
@example(" ".join(_TRAPS[22:]))
@example("```\n````\n| x |")
def test_whatever_certificates_and_yaml_hold_the_comment_stays_the_same(text: str) -> None:
    tree = _html(plan_markdown(_with_every_text(VIEW, f"a{text}"), text))
    assert _skeleton(tree) == _harmless()
    assert not tree.xpath(".//a | .//img | .//script")
    assert not set("@#$<>[]*_~`|\\&\u202e\u2066\x1b") & set(_loose(tree))


@settings(max_examples=50, deadline=None)
@given(_HOSTILE)
@example("a | b\\")
@example("\\|")
@example("1. x")
@example("```")
@example("````")
@example("`a`b `c` (`d`), `e`.")
def test_text_is_shown_and_nothing_is_read_into_it(text: str) -> None:
    parts = [prose(text), f"- {prose(text)}", f"so {code(text)} it is"]
    parts += [table(("a", "b"), [(code(in_cell(text)), prose(in_cell(text)))] * 2)]
    parts += [fenced([text, f"+ {text}"], "diff"), folded(html_code(text), prose(text))]
    tree = _html("\n\n".join(parts))
    assert not tree.xpath(".//a | .//img | .//script | .//em | .//strong | .//del | .//h1 | .//ol | .//blockquote")
    assert [len(row) for row in tree.iter("tr")] == [2, 2, 2]
    shown = text.strip(" \n") and printable(text)
    if shown:
        assert [each.findtext("code", "").strip() for each in tree.findall("p") if each.text == "so "] == [
            shown.strip()
        ]
    assert str(tree.xpath("string(.//pre/code)")).split("\n")[1:] == [f"+ {printable(text)}", ""]
    assert "@" not in _loose(tree)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("it is declared, and not in the store", "it is declared, and not in the store"),
        ("Clients of access.example.com, a.b get", "Clients of `access.example.com`, `a.b` get"),
        ("from 2026-11-30 12:00:00 GMT (see a.b).", "from `2026-11-30 12:00:00` GMT (see `a.b`)."),
        ("send what `reconciler bundle x` makes", "send what `reconciler bundle x` makes"),
        ("1. x", "`1`. x"),
        ("7 days: :x:", "7 days: `:x`:"),
        ("what `@a`b @c", "what `@a` b `@c`"),
        ("...", "`...`"),
    ],
)
def test_only_plain_words_stand_as_they_are(text: str, shown: str) -> None:
    assert prose(text) == shown


def test_a_comment_is_found_again_by_its_first_line() -> None:
    assert plan_markdown(VIEW).splitlines()[0] == "<!-- pra-certificate-reconciler: plan -->"
    assert marker("infra/desired-state") == "<!-- pra-certificate-reconciler: plan infra/desired-state -->"
    assert marker("a--><b> c") == "<!-- pra-certificate-reconciler: plan a%2D%2D%3E%3Cb%3E%20c -->"
    assert marker("a") != marker("b")


def test_a_plan_without_changes_says_so() -> None:
    written = plan_markdown(_plan(appliances=(AppliancePlan(name="quiet-1"),)))
    assert "## Certificates: no changes\n" in written
    assert "\n\n**Safe to merge:** nothing is to be done, and clients notice nothing.\n\nNo changes.\n\n" in written
    assert "- Nothing that clients are served changes.\n" in written
    assert "No changes on 1 appliance: `quiet-1`.\n" in written
    assert "reconciler apply" not in written
    assert "This is what would be done" not in written
    assert "What changes where" not in written


def test_a_plan_of_appliances_that_nobody_could_observe_claims_nothing() -> None:
    written = plan_markdown(_plan(appliances=(AppliancePlan(name="a", progress=Progress.UNREACHABLE),)))
    assert "## Certificates: nothing is planned\n" in written
    assert "- Nothing that clients are served changes on the appliances that could be planned.\n" in written
    assert "- `a`: could not be observed\n" in written


def test_a_plan_for_another_instant_says_that_it_cannot_be_applied() -> None:
    written = plan_markdown(_plan(as_of=NOW, basis=Basis(desired_digest="0", replaced=("east-1",))))
    assert "> This is the plan as of `2026-11-23 12:00:00 UTC`: it shows what falls due until then, and it" in written
    assert "> This is a rehearsal: the operator settings put other stores in place of `east-1`.\n" in written
    assert "reconciler apply" not in written


def test_the_report_is_linked_where_one_says_where_it_is() -> None:
    whole = plan_markdown(VIEW, report_url="https://example.com/plan.html")
    assert _html(whole).xpath("string(.//a/@href)") == "https://example.com/plan.html"
    short = plan_markdown(plan_view(*sample.many(100)), report_url="https://example.com/plan.html")
    assert "All of it is in [the report](<https://example.com/plan.html>), and in what `reconciler plan` w" in short


@pytest.mark.parametrize(
    ("count", "told", "left_out"),
    [
        (5, "-     Expiration           2026-12-13 12:00:00 UTC\n", ""),
        (
            100,
            "+ import node-0099.example.com [",
            "how each certificate differs, and what may be",
        ),
        (
            1000,
            "1000 appliances: 1 to import, 1 default to set; 1 held each <details>",
            "the actions one by one, and what may",
        ),
        (3000, ", `node-1999` and 1000 more</details>\n", "the actions one by one, and what may"),
    ],
)
def test_detail_goes_until_it_fits_a_comment_and_the_comment_says_so(count: int, told: str, left_out: str) -> None:
    written = plan_markdown(plan_view(*sample.many(count)))
    assert _size(written) <= _COMMENT
    assert told in written
    assert f"## Certificates: {2 * count} changes on {count} of {count} appliances\n" in written
    assert (f"Left out: {left_out}" in written) if left_out else ("Shortened" not in written)
    assert _html(written).findall("p")[-1].text_content().endswith("nothing where anything has moved since.")


def _size(text: str) -> int:
    """Whatever a comment's characters are, there are no more of them."""
    return max(len(text.encode()), len(text.encode("utf-16-le")) // 2)


def _items(written: str, heading: str) -> list[str]:
    _, _, rest = written.partition(f"### {heading}\n\n")
    return rest.partition("\n\n")[0].splitlines() if rest else []


@pytest.mark.parametrize("count", [100, 1_000, 10_000])
@pytest.mark.parametrize("length", [3, 300, 3_000, 70_000])
def test_long_lists_are_cut_between_items_and_errors_go_last(count: int, length: int) -> None:
    if count * length > 10_000_000:
        return
    found = sample.PLAN.findings[1]
    errors = tuple(dataclasses.replace(found, message=f"e{number} {'é' * length}") for number in range(count))
    hands = tuple(ByHand(code="x", what=f"h{number} {'x' * length}", where="site a") for number in range(count))
    view = _plan(findings=errors, by_hand=hands)
    assert view.findings[0].severity is Severity.ERROR
    written = plan_markdown(view)
    assert _size(written) <= _COMMENT
    for heading, every in (
        ("Errors", {f"- certificate lab (`cn-unique`): {prose(each.message)}" for each in errors}),
        ("Left to do by hand", {f"- [ ] `site a`: {prose(each.what)}" for each in hands}),
    ):
        items = _items(written, heading)
        shown = [each for each in items if each in every]
        missing = count - len(shown)
        more = [f"- and {missing} more" if shown else f"- {missing}, not shown here"] if missing else []
        assert items == [*shown, *more]
    assert len(_items(written, "Errors")) >= len(_items(written, "Left to do by hand"))


def test_an_item_that_is_too_long_is_left_out_and_takes_no_other_with_it() -> None:
    found = sample.PLAN.findings[1]
    lengths = (3, 70_000, 4)
    view = _plan(findings=tuple(dataclasses.replace(found, message="e" * length) for length in lengths))
    assert _items(plan_markdown(view), "Errors") == [
        "- certificate lab (`cn-unique`): eee",
        "- certificate lab (`cn-unique`): eeee",
        "- and 1 more",
    ]


def test_many_sites_take_a_line_each() -> None:
    plan, stores, material, classes = sample.many(600)
    appliances = tuple(each.model_copy(update={"site": each.name}) for each in plan.appliances)
    plan = plan.model_copy(update={"appliances": appliances})
    written = plan_markdown(plan_view(plan, stores, material, classes))
    assert "- site `node-0599`: `node-0599`: 1 to import, 1 default to set; 1 held\n" in written
    assert len(_items(written, "What changes where")) == 600


def test_what_is_removed_is_not_hidden_behind_many_harmless_changes() -> None:
    actions = [action for part in sample.PLAN.appliances for action in part.actions]
    brought = next(each for each in actions if each.kind == "import")
    removed = next(each for each in actions if each.kind == "remove")
    many = [
        AppliancePlan(name=f"{number:03}" + "x" * 1_000, actions=(_ready(brought),) * (1 + number % 70))
        for number in range(140)
    ]
    last = AppliancePlan(name="zz", actions=(_ready(removed),))
    plan = sample.PLAN.model_copy(update={"appliances": (*many, last)})
    written = plan_markdown(plan_view(plan, sample.STORES, sample.MATERIAL, sample.CLASSES))
    assert "Long lists are cut short" in written
    assert _items(written, "What changes where")[0] == "- `zz`: 1 to remove"


def _ready(action: Action) -> Action:
    return action.model_copy(update={"state": State.READY, "hold": None})
