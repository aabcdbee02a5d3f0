from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.base.text import printable


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("access.example.com", "access.example.com"),
        ("Île-de-France 東京", "Île-de-France 東京"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("two\r\nlines\t", r"two\r\nlines\t"),
        ("moc.\u202eelpmaxe", r"moc.\u202eelpmaxe"),
        ("a\u200bb\u2028c\ufeff", r"a\u200bb\u2028c\ufeff"),
        ("\ud800", r"\ud800"),
        ("a\N{NO-BREAK SPACE}b", r"a\xa0b"),
        ("", ""),
    ],
)
def test_what_is_not_plainly_visible_is_escaped(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


@settings(deadline=None)
@given(st.text(st.characters(codec=None)))
def test_the_result_is_one_visible_line_that_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert printable(shown) == shown
