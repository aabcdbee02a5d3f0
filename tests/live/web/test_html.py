from __future__ import annotations

import time

import pytest

from reconciler.base.errors import StoreUnrecognised
from reconciler.live.web.html import read_page
from reconciler.live.web.page import Control, Link, Page, Run

URL = "https://east-1.example.com/appliance/page?of=1"


def page(markup: str) -> Page:
    return read_page(markup.encode(), URL)


def lines(markup: str) -> list[str]:
    return list(page(markup).lines())


def control(markup: str) -> Control:
    (found,) = (each for each in page(markup).items if isinstance(each, Control))
    return found


@pytest.mark.parametrize(
    ("markup", "seen"),
    [
        ("<p>one</p><p>two</p>", ["one", "two"]),
        ("<p>on<b>e</b> t<i>w</i>o</p>", ["one two"]),
        ("one<br>two", ["one", "two"]),
        ("<p> a\n\t b \u00a0 c</p>", ["a b c"]),
        ("<p>a<!-- no -->b</p>", ["ab"]),
        ("<p>a<script>no</script><style>no</style><template>no</template><svg><text>no</text></svg>b</p>", ["ab"]),
        ("<p hidden>no</p>a<p style='color:red; DISPLAY : none'>no</p><p style='visibility:hidden'>no</p>", ["a"]),
        ("<dialog>no</dialog><dialog open>yes</dialog>", ["yes"]),
        ("<p>a<img alt='picture'>b<img></p>", ["a picture b"]),
        ("<div>a<div>b</div>c</div>", ["a", "b", "c"]),
        ("<p>&lt;b&gt; &amp;amp; &#x202e;</p>", ["<b> &amp; \u202e"]),
        ("<p>a\0b</p>", ["a\ufffdb"]),
        ("\ufeff<p>a</p>", ["a"]),
        ("<p>a<a>b</a>c</p>", ["abc"]),
        ("just words", ["just words"]),
        ("<title>no</title><nav>no body is begun</nav>", ["no body is begun"]),
        ("", []),
        ("   ", []),
        ("<!-- nothing -->", []),
        ("<", ["<"]),
        ("</p></table></form></fieldset>a", ["a"]),
        ("<td>a</td><tr>b</tr>", ["a", "b"]),
        ("<!DOCTYPE x [<!ENTITY a 'no'>]><p>&a;</p>", ["]>", "&a;"]),
        ("<?php no ?><p>a", ["a"]),
    ],
)
def test_what_a_person_sees(markup: str, seen: list[str]) -> None:
    assert lines(markup) == seen


@pytest.mark.parametrize(
    ("charset", "content", "seen"),
    [
        ("utf-8", b"caf\xc3\xa9", "caf\u00e9"),
        ("iso-8859-1", b"caf\xe9", "caf\u00e9"),
        ("utf-8", b"caf\xe9", "caf\ufffd"),
        ("no-such-charset", b"caf\xc3\xa9", "caf\u00e9"),
        ("a\0b", b"caf\xc3\xa9", "caf\u00e9"),
        # Codecs of Python that no page is written in: they raise, run programs' escapes, or take for ever.
        ("idna", b"caf\xc3\xa9", "caf\u00e9"),
        ("undefined", b"caf\xc3\xa9", "caf\u00e9"),
        ("unicode_escape", b"\\x41", "\\x41"),
        ("zip", b"a", "a"),
        ("utf-16", "caf\u00e9".encode("utf-16"), "caf\u00e9"),
    ],
)
def test_charsets(charset: str, content: bytes, seen: str) -> None:
    assert list(read_page(content, URL, charset).lines()) == [seen]


def test_the_title_is_no_part_of_what_is_seen() -> None:
    found = page("<html><head><title> A  title </title></head><body>b</body></html>")
    assert (found.title, found.items, found.url) == ("A title", (Run("b"),), URL)


def test_links_lead_from_the_page() -> None:
    found = page("<a href='x?y'>one</a><a href=' /z '><b>t</b>wo</a><a href='https://other.example.com/'>3</a>")
    assert list(found.links()) == [
        Link("one", "https://east-1.example.com/appliance/x?y"),
        Link("two", "https://east-1.example.com/z"),
        Link("3", "https://other.example.com/"),
    ]


def test_links_lead_from_the_base_and_empty_actions_to_the_page() -> None:
    found = page("<base href='/other/'><a href=x>x</a><form></form><form action=y method=post></form>")
    assert [each.url for each in found.links()] == ["https://east-1.example.com/other/x"]
    assert [(each.url, each.method) for each in found.forms] == [
        (URL, "GET"),
        ("https://east-1.example.com/other/y", "POST"),
    ]
    assert found.url == URL


@pytest.mark.parametrize("href", ["http://[", "x" * 5000, "x/" * 200])
def test_addresses_that_are_none_lead_nowhere(href: str) -> None:
    assert [each.url for each in page(f"<a href='{href}'>x</a>").links()] == [""]
    based = page(f"<base href='{href}'><a href=y>x</a>")
    assert [each.url for each in based.links()] == ["https://east-1.example.com/appliance/y"]


@pytest.mark.parametrize(
    ("markup", "kind"),
    [
        ("<input>", "text"),
        ("<input type=email>", "text"),
        ("<input type=no-such-type>", "text"),
        ("<input type=PASSWORD>", "password"),
        ("<input type=file>", "file"),
        ("<input type=checkbox>", "checkbox"),
        ("<input type=radio>", "radio"),
        ("<input type=submit>", "submit"),
        ("<input type=image>", "submit"),
        ("<input type=button>", "script"),
        ("<input type=reset>", "script"),
        ("<input type=hidden>", "hidden"),
        ("<textarea></textarea>", "text"),
        ("<select></select>", "choice"),
        ("<button></button>", "submit"),
        ("<button type=button></button>", "script"),
        ("<button type=reset></button>", "script"),
    ],
)
def test_kinds_of_controls(markup: str, kind: str) -> None:
    assert control(markup).kind == kind


@pytest.mark.parametrize(
    ("markup", "names"),
    [
        ("<label for=a>Name:</label><input id=a>", ("Name:",)),
        ("<input id=a><label for=a>Name</label><label for=a>Other</label>", ("Name",)),
        ("<label>Name <input></label>", ("Name",)),
        ("<label>Key <select><option>no</select></label>", ("Key",)),
        ("<label><img alt=Name><div>first</div><span hidden>no</span><input></label>", ("Name first",)),
        ("<label>Outer <label>Inner <input></label></label>", ("Inner",)),
        ("<input aria-label=' The  name ' title=Title>", ("The name", "Title")),
        ("<label for=b>Name</label><input id=a>", ()),
        ("<label for=a hidden>Name</label><input id=a>", ()),
    ],
)
def test_what_its_own_markup_calls_a_control(markup: str, names: tuple[str, ...]) -> None:
    assert control(markup).labels == names


@pytest.mark.parametrize(
    ("markup", "form"),
    [
        ("<form></form><form><input></form>", 1),
        ("<form></form><input>", None),
        ("<form id=a></form><input form=a>", 0),
        ("<form></form><form id=a></form><form id=a></form><input form=a>", 1),
        ("<form><input form=no-such></form>", None),
        ("<form><input form=''></form>", None),
        ("<form></form><form hidden><input></form>", 1),
        ("<form data-number-of-form=7><input></form>", 0),
    ],
)
def test_the_form_of_a_control(markup: str, form: int | None) -> None:
    assert control(markup).form == form


def test_what_controls_hold_and_say() -> None:
    assert control("<textarea>a\nb</textarea>").value == "a\nb"
    assert control("<input type=checkbox checked>").value == "on"
    assert control("<input type=checkbox checked>").checked
    assert control("<input type=submit value=' Sign  In '>").text == "Sign In"
    assert control("<input type=image alt=Go>").text == "Go"
    assert control("<button value=v><b>Sign</b> In</button>").text == "Sign In"
    assert control("<button formaction=x>Go</button>").action == "https://east-1.example.com/appliance/x"
    assert control("<input value=Name>").text == ""


def test_what_is_out_of_use_is_no_control() -> None:
    found = page(
        "<input disabled><fieldset disabled><input></fieldset><fieldset><input name=a></fieldset><input name=b>"
    )
    assert [each.name for each in found.controls()] == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ("<option>a<option>b", ["a"]),
        ("<option>a<option selected>b", ["b"]),
        ("<option selected>a<option selected>b", ["b"]),
        ("<option disabled>a<option>b", ["b"]),
        ("<option disabled selected>a<option>b", []),
        ("<option value=1>a<option value='' selected>b", [""]),
        ("", []),
    ],
)
def test_the_choice_that_a_drop_down_begins_with(options: str, chosen: list[str]) -> None:
    found = control(f"<select>{options}</select>")
    assert [each.value for each in found.options if each.selected] == chosen


def test_a_list_of_which_several_may_be_chosen_begins_with_none() -> None:
    assert not any(each.selected for each in control("<select multiple><option>a</select>").options)


def test_cells_of_tables() -> None:
    found = page("<table><tr><th>A<th colspan=2>B<tr><td><td>b<td>c</table>")
    (table,) = found.tables
    texts = [[" ".join(found.lines(cell)) for cell in row] for row in table.rows]
    assert texts == [["A", "B", "B"], ["", "b", "c"]]


@pytest.mark.parametrize(("span", "columns"), [("0", 1), ("-1", 1), ("x", 1), ("999999999", 50), ("\u0663", 3)])
def test_odd_spans(span: str, columns: int) -> None:
    assert len(page(f"<table><tr><td colspan='{span}'>a</table>").tables[0].rows[0]) == columns


def test_the_innermost_row_of_tables_within_tables() -> None:
    found = page("<table><tr><td>out<table><tr><td>in</td></tr></table>more</td></tr></table>after")
    places = {item.text: place for place, item in enumerate(found.items) if isinstance(item, Run)}
    rows = {text: found.row_around(place) for text, place in places.items()}
    assert [len(each.rows) for each in found.tables] == [1, 1]
    assert list(found.lines(rows["in"])) == ["in"]
    assert list(found.lines(rows["out"])) == list(found.lines(rows["more"])) == ["out", "in", "more"]
    assert rows["after"] is None


def test_what_a_form_sends_unseen_stays_in_it() -> None:
    found = page(
        "<form><div style='display:none'><input type=hidden name=token value=1><input name=trap>"
        "<input type=checkbox name=no><input type=checkbox name=yes checked><input type=submit name=go>"
        "<select name=choice><option>a<option selected>b</select><select name=none></select></div>"
        "<template><input name=template></template></form>"
    )
    unseen = [each for each in found.items if isinstance(each, Control)]
    assert [(each.name, each.value, each.kind, each.form) for each in unseen] == [
        ("token", "1", "hidden", 0),
        ("trap", "", "hidden", 0),
        ("yes", "on", "hidden", 0),
        ("choice", "b", "hidden", 0),
    ]
    assert not list(found.controls())


HUGE = {
    "elements within elements": "<div>" * 200_000,
    "tables within tables": "<table><tr><td>" * 50_000,
    "attributes of one element": "<div " + " ".join(f"a{number}" for number in range(300_000)) + ">",
    "attributes of many": "<p a=1 b=2>" * 400_000,
    "rows": "<table>" + "<tr><td>a<td>b</tr>" * 100_000 + "</table>",
    "labels": "<label>Key<input></label>" * 150_000,
    "choices": "<select>" + "<option>a" * 400_000,
}


@pytest.mark.parametrize("markup", HUGE.values(), ids=HUGE)
def test_pages_beyond_any_of_an_interface_are_refused_early(markup: str) -> None:
    begun = time.process_time()
    with pytest.raises(StoreUnrecognised, match="larger or deeper than any") as caught:
        page(markup)
    assert caught.value.remedy
    assert time.process_time() - begun < 5


def test_as_deep_as_real_pages_are() -> None:
    assert lines("<div>" * 100 + "deep") == ["deep"]


@pytest.mark.parametrize(
    "markup",
    [
        "<p>" + "x" * (5 << 20),
        "<p>" + "x " * (2 << 20),
        "<p>" + "&amp;" * 500_000,
        "<p>" + "&#x110000;&#0;&nosuch;" * 100_000,
        "<label>Key " * 150 + "Key " * 500_000 + "<input>" * 15_000,
        "<table>" + "<tr>" + "<td colspan=50>" * 15_000,
        "<base href='/" + "a/" * 90 + "'>" + "<a href=x>y</a>" * 15_000,
        "<p style='display" + " " * (2 << 20) + "'>",
    ],
    ids=["word", "words", "entities", "odd entities", "labels", "columns", "links", "style"],
)
def test_what_is_large_takes_time_in_proportion(markup: str) -> None:
    begun = time.process_time()
    page(markup)
    assert time.process_time() - begun < 15
