"""The status page: one HTML page that a browser may leave open, with a small script that keeps it up to date.

The server makes all of it, and makes it again when something changes; the script only puts the new parts in the place
of the old ones. Without the script the page loads itself anew every minute. Whatever is written out passes `printable`
and then Jinja's escaping, both by the environment. Style and script are named by hash, and nothing else may run.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from reconciler import __version__
from reconciler.base.text import printable
from reconciler.report import words
from reconciler.watch.glance import command, is_folder
from reconciler.watch.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.watch.glance import Glance, Life, Member, Site

T = TypeVar("T")

_FEW, _SOME, _MANY = 6, 12, 200
"""So many alike things are listed openly: short lists, long ones; and so many at all."""
_OPEN = 30
"""So many rows of appliances fit a large screen; where there are more, those in step are folded, by site."""
_BRIEF = 24
"""So many folded sites say what is next; where there are more, they are to fit a screen."""
_LONG = 16
"""A headline of more characters is drawn smaller, so that it stays on one line."""
_AHEAD = dt.timedelta(days=400)
"""What the time line shows from now on. No publicly trusted certificate lasts longer than 398 days."""
_LABELLED = 95.0
"""How far, in per cent, months are named: there has to be room for a name before the line ends."""
_SOON = dt.timedelta(days=14)
"""An expiration nearer than this is marked."""
_YEAR = dt.timedelta(days=365.25)
_SPANS = (
    ("year", "years", _YEAR, 2),
    ("month", "months", _YEAR / 12, 3),
    ("day", "days", dt.timedelta(days=1), 1),
    ("h", "h", dt.timedelta(hours=1), 1),
    ("min", "min", dt.timedelta(minutes=1), 1),
)
"""Units of time: one, several, how long one is, and how many it takes to speak of it. The script has them too."""
_REFRESH = 60
"""Seconds after which the page loads itself anew where no script runs."""
_OUTCOMES = {"applied": ("=", "good"), "failed": ("\N{MULTIPLICATION SIGN}", "bad")}
_OTHER_OUTCOME = ("!", "changed")


def status_page(shown: Glance) -> str:
    """The whole page."""
    page = _environment().get_template("status.html")
    is_large = shown.total > _OPEN
    rows = [
        (site, each)
        for site in shown.sites
        for each in site.members
        if not (is_large and each.standing is Standing.IN_STEP)
    ]
    open_rows, more_rows = _cut(rows, _OPEN)
    return page.render(
        shown=shown,
        style=Markup(_style()),  # noqa: S704 - a file of this package
        script=Markup(_script()),  # noqa: S704 - a file of this package
        version=_build(),
        program=__version__,
        rows=_by_site(open_rows),
        more_rows=_by_site(more_rows[:_MANY]),
        more=len(more_rows),
        folded=shown.sites if is_large else (),
        tracks=[_track(life, shown.now) for life in shown.lives[:_MANY]],
        months=_months(shown.now),
    )


@cache
def policy() -> str:
    """The Content-Security-Policy of the page: its own style and script, and its own server to ask for news."""
    return (
        f"default-src 'none'; style-src {_hashed(_style())}; script-src {_hashed(_script())}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def _style() -> str:
    """The style of a plan's page, and what this one needs besides."""
    own = files("reconciler.watch") / "templates" / "status.css"
    return (files("reconciler.report") / "templates" / "plan.css").read_text("utf-8") + own.read_text("utf-8")


@cache
def _script() -> str:
    return (files("reconciler.watch") / "templates" / "status.js").read_text("utf-8")


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _build() -> str:
    """Tells the style and script of one release from those of another."""
    return hashlib.sha256((_style() + _script()).encode()).hexdigest()[:12]


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("reconciler.watch"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
        # An upgrade that replaces the files must not change the pages of the loop that still runs.
        auto_reload=False,
    )
    made.globals.update(
        few=_FEW,
        some=_SOME,
        brief=_BRIEF,
        many=_MANY,
        long=_LONG,
        refresh=_REFRESH,
        cut=_cut,
        command=command,
        is_folder=is_folder,
        prose=_prose,
        spans=[(one, several, length.total_seconds(), least) for one, several, length, least in _SPANS],
        counted=words.counted,
        instant=words.utc,
        short=words.short,
        several=words.several,
        relative=relative,
        badge=_badge,
        outcome=lambda word: _OUTCOMES.get(word, _OTHER_OUTCOME),
    )
    return made


def _plain(value: object) -> object:
    """Text in which everything is visible; what templates have made of it passes, as does what is missing."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value


def _prose(text: str) -> Markup:
    """A sentence, in which whatever stands between backticks is something to type."""
    return Markup(_TYPED.sub(r"<code>\1</code>", str(escape(printable(text)))))  # noqa: S704 - it is escaped


_TYPED = re.compile(r"`([^`]+)`")


def _by_site(rows: Iterable[tuple[Site, Member]]) -> list[tuple[Site, list[Member]]]:
    """Rows by site; those of a site stand together."""
    grouped = (list(found) for _, found in groupby(rows, key=lambda row: row[0].key))
    return [(found[0][0], [each for _, each in found]) for found in grouped]


def _cut(rows: Sequence[T], limit: int) -> tuple[Sequence[T], Sequence[T]]:
    """What is shown of a list and what is folded, which is nothing where that would hardly save room."""
    at = limit if len(rows) > limit * 5 // 4 else len(rows)
    return rows[:at], rows[at:]


def _badge(standing: Standing, number: int = 0) -> tuple[str, str, str]:
    """Symbol, words and ink of how an appliance stands, or of how many of a site do."""
    told = f"{number} {standing.words(number)}" if number else standing.words()
    return standing.symbol, told, standing.ink


def relative(at: dt.datetime, now: dt.datetime) -> str:
    """How long ago or ahead an instant is, in its largest unit: `3 min ago`, `in 12 days`, `now`."""
    away = abs(at - now)
    for one, several, length, least in _SPANS:
        number = away // length
        if number >= least:
            told = f"{number} {one if number == 1 else several}"
            return f"in {told}" if at > now else f"{told} ago"
    return "now"


@dataclass(frozen=True, slots=True)
class _Track:
    """A certificate on the time line; positions are per cent of its width.

    Attributes:
        life: The certificate.
        width: How wide its bar is.
        beyond: Whether it ends beyond what is shown.
        renewal: Where it falls due for renewal; empty where that is not ahead, or not shown.
        word: What is to be said of it in a word; empty for nothing.
        ink: How it is drawn.
    """

    life: Life
    width: str
    beyond: bool
    renewal: str
    word: str
    ink: str


def _track(life: Life, now: dt.datetime) -> _Track:
    end, due = life.certificate.expiration, life.certificate.renewal
    word, ink = "", "plain"
    if not life.declared:
        word, ink = ("replaced" if life.certificate.certificate else "undeclared"), "faint"
    elif due is not None and due <= now:
        word, ink = "due", "changed"
    if end <= now:
        word, ink = "expired", "bad"
    elif life.declared and end - now <= _SOON:
        ink = "bad"
    return _Track(
        life,
        _per_cent(max(end, now), now) if end > now else "0.60%",
        end > now + _AHEAD,
        _per_cent(due, now) if due is not None and now < due <= now + _AHEAD else "",
        word,
        ink,
    )


def _position(at: dt.datetime, now: dt.datetime) -> float:
    return min((at - now) / _AHEAD * 100, 100.0)


def _per_cent(at: dt.datetime, now: dt.datetime) -> str:
    return f"{_position(at, now):.2f}%"


def _months(now: dt.datetime) -> list[tuple[str, str]]:
    """Where the months of the time line begin and what they are called, in English; January by its year."""
    found = []
    at = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while (at := (at + dt.timedelta(days=32)).replace(day=1)) <= now + _AHEAD:
        names = (str(at.year), "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
        found.append((_per_cent(at, now), names[at.month - 1] if _position(at, now) <= _LABELLED else ""))
    return found
