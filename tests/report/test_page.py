from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.base.text import printable
from reconciler.report.page import Cell, Ink, Medium, Page, Span, width_of


def written(medium: Medium, *body: str | Span, indent: int = 0, head: str | Span = "", column: int = 0) -> str:
    page = Page(medium)
    page.write(*body, indent=indent, head=head, column=column)
    return page.text()


def test_a_pipe_gets_whole_lines() -> None:
    assert written(Medium(), "word " * 50, "end") == "word " * 50 + "end\n"


def test_a_long_line_is_wrapped_beneath_its_body() -> None:
    text = written(Medium(20), "one two three four five", indent=2, head="head", column=6)
    assert text == "  head  one two\n        three four\n        five\n"


def test_a_head_that_is_too_long_gets_a_line_of_its_own() -> None:
    assert written(Medium(), "body", head="a long head", column=6) == "a long head\n      body\n"
    assert written(Medium(), "body", head="a long head") == "a long head\n  body\n"


def test_a_word_is_never_broken() -> None:
    assert written(Medium(10), "a", " ", "x" * 30, " b") == f"a\n{'x' * 30}\nb\n"


def test_colours_surround_words_and_nothing_else() -> None:
    text = written(Medium(9, colour=True), Span("red one", Ink.BAD), " ", Span("plain", Ink.PLAIN))
    assert text == "\x1b[31mred\x1b[0m \x1b[31mone\x1b[0m\nplain\n"


def test_wide_characters_take_two_columns() -> None:
    assert width_of("证书") == 4
    assert written(Medium(9), "证书 证书 证书") == "证书 证书\n证书\n"


def test_a_table_is_written_only_where_it_fits() -> None:
    rows: list[list[Cell]] = [[["Name"], ["Default"]], [[Span("证书", Ink.STRONG), "!"], ["Yes"]]]
    page = Page(Medium(13))
    assert page.table(rows)
    assert page.text() == "Name  Default\n证书  Yes\n!\n"
    assert not Page(Medium(12)).table(rows)


def test_empty_lines_stand_only_between_others() -> None:
    page = Page(Medium())
    page.blank()
    page.write("a")
    page.blank()
    page.blank()
    page.write("b")
    page.blank()
    assert page.text() == "a\n\nb\n"
    assert not Page(Medium()).text()


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.text(max_size=30), st.sampled_from(Ink))),
    st.text(max_size=12),
    st.none() | st.integers(1, 60),
)
def test_whatever_is_written_steers_no_terminal_and_stays_within_its_width(
    pieces: list[tuple[str, Ink]], head: str, width: int | None
) -> None:
    text = written(Medium(width), *(Span(*piece) for piece in pieces), indent=2, head=head, column=8)
    for line in text.splitlines():
        assert line.isprintable()
        begins = line.startswith(f"  {printable(head)[:1]}")
        assert width is None or width_of(line) <= width or len(line.split()) <= 2 or begins


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text("ab \x1b\u202e\n", max_size=20)), st.integers(4, 40))
def test_wrapping_loses_no_word(pieces: list[str], width: int) -> None:
    whole, narrow = written(Medium(), *pieces), written(Medium(width), *pieces)
    assert whole.split() == narrow.split()
