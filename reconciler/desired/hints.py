"""Did you mean: near misses among the names that exist."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_MOST_SEARCHES = 100
_MOST_COMPARED = 2_000


def nearest(word: str, known: Collection[str]) -> str:
    """The known word that looks most like another, or an empty string."""
    # Only words of like length that share an end are compared: a search stays cheap among thousands.
    like = [each for each in known if abs(len(each) - len(word)) <= 3 and _share_an_end(each, word)]  # noqa: PLR2004
    folded = word.casefold()
    same = next((each for each in like if each.casefold() == folded), "")
    return same or next(iter(difflib.get_close_matches(word, like[:_MOST_COMPARED], 1, 0.7)), "")


def _share_an_end(one: str, other: str) -> bool:
    return one[:1].casefold() == other[:1].casefold() or one[-1:].casefold() == other[-1:].casefold()


class Hints:
    """Near misses for one run. After a good many searches no more are made: the first ones tell what went wrong."""

    def __init__(self) -> None:
        self._searches = 0

    def did_you_mean(self, word: str, known: Collection[str], otherwise: str) -> str:
        """A remedy: the near miss if there is one, or else what is given."""
        self._searches += 1
        match = nearest(word, known) if self._searches <= _MOST_SEARCHES else ""
        return f"did you mean `{match}`?" if match else otherwise
