"""Text from elsewhere in GitHub-flavoured Markdown. It knows what Markdown and GitHub read into text, and no plans.

A backslash keeps GitHub neither from mentioning people nor from linking what looks like an address, an issue or a
commit: it looks for these in the text as it is rendered, everywhere but in code. So whatever is more than a plain word
stands as code. https://github.github.com/gfm/
"""

from __future__ import annotations

import html
import re
from itertools import groupby
from typing import TYPE_CHECKING

from reconciler.base.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TOKEN = re.compile(r"\(?`[^`]+`[,;:.)]*|[^ ]+")
_QUOTED = re.compile(r"(\(?)`([^`]+)`([,;:.)]*)")
# A number with a full stop or a parenthesis may begin a list.
_PLAIN = re.compile(r"\(?(?:[A-Za-z]+(?:['-][A-Za-z]+)*[,;:.)]*|[0-9]+[,;:]?)")
_AROUND = re.compile(r"^(\(?)(.*?)([,;:.)]*)$")
_AFTER_COMMA = re.compile(r"(?<=,) ")
_BACKTICKS = re.compile("`+")
_FENCE = 3


def code(text: str) -> str:
    """The text as a code span; control and format characters as escapes."""
    shown = printable(text)
    fence = "`" * (_longest_run(shown) + 1)
    pad = " " if not shown or shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def prose(text: str) -> str:
    """A sentence: plain words as they are, and the rest as code: names, dates, and whatever might mean something."""
    return " ".join(_run(kind, list(tokens)) for kind, tokens in groupby(_TOKEN.findall(printable(text)), key=_kind))


def _kind(token: str) -> str:
    if _QUOTED.fullmatch(token):
        return "quoted"
    return "plain" if _PLAIN.fullmatch(token) else "other"


def _run(kind: str, tokens: Sequence[str]) -> str:
    if kind == "plain":
        return " ".join(tokens)
    if kind == "quoted":
        return " ".join(_QUOTED.sub(lambda found: found[1] + code(found[2]) + found[3], each) for each in tokens)
    return " ".join(_AROUND.sub(_code_within, part) for part in _AFTER_COMMA.split(" ".join(tokens)))


def _code_within(found: re.Match[str]) -> str:
    """What is between an opening parenthesis and final punctuation as code; all of it, where nothing is between."""
    before, within, after = found.groups()
    return f"{before}{code(within)}{after}" if within else code(before + after)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already, made by `in_cell`."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def in_cell(text: str) -> str:
    r"""Text for a cell, before it becomes code or prose: a `|` ends a cell, whatever it is in. It becomes `\x7c`."""
    return text.replace("|", r"\x7c")


def fenced(lines: Iterable[str], language: str) -> str:
    """Lines as a block of code. A fence is longer than whatever is within."""
    content = "\n".join(map(printable, lines))
    fence = "`" * max(_FENCE, _longest_run(content) + 1)
    return f"{fence}{language}\n{content}\n{fence}"


def folded(summary: str, content: str, *, opened: bool = False) -> str:
    """Content beneath a line that opens it. GitHub reads the line as HTML."""
    return f"<details{' open' if opened else ''}>\n<summary>{summary}</summary>\n\n{content}\n\n</details>"


def html_code(text: str) -> str:
    """The text as code within HTML."""
    return f"<code>{html.escape(printable(text))}</code>"


def _longest_run(text: str) -> int:
    return max(map(len, _BACKTICKS.findall(text)), default=0)
