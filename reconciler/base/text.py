"""Text from elsewhere on its way to people.

Names in certificates are chosen by whoever made them, so nothing that steers a terminal, hides or reorders characters
may pass. This is not quoting for Markdown, HTML or JSON: renderers do that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt


def printable(text: str) -> str:
    r"""The text with everything that is not plainly visible written as an escape: `\x1b`, `\u202e`, `\n`.

    Control and format characters, separators other than the space, unassigned and private code points and lone
    surrogates are escaped, so that the result can be encoded and stays on one line.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def instant(value: dt.datetime) -> str:
    """An instant in a sentence: `2026-11-23 12:00 UTC`."""
    return f"{value:%Y-%m-%d %H:%M} UTC"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
