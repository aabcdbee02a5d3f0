"""Did you mean: near misses among the names that exist."""

from __future__ import annotations

import difflib
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_ALIKE = 0.76
"""Ratio of matching characters beyond which one word may be meant for another. `rsa-1024` does not mean `rsa-3072`."""
_LONGER_AT_MOST = 3
_MOST_SEARCHES = 100
_MOST_COMPARED = 2_000


def nearest(word: str, known: Collection[str]) -> str:
    """The known word that looks most like another, or an empty string."""
    word = word.casefold()
    matcher = difflib.SequenceMatcher(None, "", word, autojunk=False)
    best, nearest_yet = (_ALIKE, False), ""
    # Only words of like length that share an end are compared: a search stays cheap among thousands.
    for each in itertools.islice((each for each in known if _may_be_alike(each.casefold(), word)), _MOST_COMPARED):
        matcher.set_seq1(each.casefold())
        score = (matcher.ratio(), each[:1].casefold() == word[:1])
        if score > best:
            best, nearest_yet = score, each
    return nearest_yet


def _may_be_alike(one: str, other: str) -> bool:
    return abs(len(one) - len(other)) <= _LONGER_AT_MOST and (one[:1] == other[:1] or one[-1:] == other[-1:])


class Hints:
    """Near misses for one run. After a good many searches no more are made: the first ones tell what went wrong."""

    def __init__(self) -> None:
        self._searches = 0

    def did_you_mean(self, word: str, known: Collection[str], otherwise: str) -> str:
        """A remedy: the near miss if there is one, or else what is given."""
        self._searches += 1
        match = nearest(word, known) if self._searches <= _MOST_SEARCHES else ""
        return f"did you mean `{match}`?" if match else otherwise
