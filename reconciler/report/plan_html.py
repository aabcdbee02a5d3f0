"""A plan as one HTML page to send round: no script, no request, nothing but text and the style that is in it.

Whatever is written out passes `printable` and then Jinja's escaping, both by the environment and not by the templates,
so that none of them can forget it. The page forbids itself everything but its own style sheet, which it names by hash.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from reconciler.base.findings import Severity
from reconciler.base.text import printable
from reconciler.plan.model import Flag, State
from reconciler.report import words
from reconciler.report.fleet_view import Condition
from reconciler.report.later import later_of
from reconciler.report.remedies import by_remedy
from reconciler.report.status_text import class_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.report.fleet_view import FleetView, Held, Life, SiteFleet
    from reconciler.report.later import Cause, Later
    from reconciler.report.remedies import Mended
    from reconciler.report.view import ActionView, Fact, Group, PlanView, SiteView

T = TypeVar("T")

_TEMPLATES = Path(__file__).parent / "templates"
_VERBS = {
    "import": ("+", "import", "good"),
    "create_self_signed": ("+", "create", "good"),
    "create_request": ("+", "request", "good"),
    "set_default": ("*", "default", "changed"),
    "remove": ("\N{MINUS SIGN}", "remove", "bad"),
    "remove_request": ("\N{MINUS SIGN}", "withdraw", "bad"),
}
_LATER = {
    State.HELD: ("~", "held", "held"),
    State.WAITING: ("?", "waiting", "held"),
    State.BY_HAND: ("!", "by hand", "changed"),
}
_CONDITIONS = {
    Condition.UNREACHABLE: ("\N{MULTIPLICATION SIGN}", "could not be observed", "bad"),
    Condition.ERRORS: ("\N{MULTIPLICATION SIGN}", "error", "bad"),
    Condition.CHANGES: ("+", "change", "good"),
    Condition.HELD: ("~", "held", "held"),
    Condition.WAITING: ("?", "waiting", "held"),
    Condition.BY_HAND: ("!", "by hand", "changed"),
    Condition.IN_STEP: ("=", "in step", "faint"),
}
_FLAGS = {Flag.NOT_ALL_GOOD: "bad", Flag.DEFAULT_ONLY: "changed"}
_QUOTED = re.compile("`([^`]+)`")
_SEVERITIES = {Severity.ERROR: "Errors", Severity.WARNING: "Warnings", Severity.NOTICE: "Notices"}

_OPEN_SITES = 8
"""So many sites with changes are shown open; where there are more, a reader opens what is of interest."""
_FEW = 12
"""So many alike things are listed; the rest is folded."""
_MANY = 500
"""So many are written at all of what is long and of little weight: notices, and expirations in a table."""
_SITES = 40
"""So many sites that need a look are shown at a glance; the rest is folded."""
_TRACKS = 30
"""So many certificates are drawn on the time line; the table beneath has more."""
_PAST, _AHEAD = dt.timedelta(days=31), dt.timedelta(days=400)
"""What the time line shows around now. No publicly trusted certificate lasts longer than 398 days."""
_LABELLED = 93.0
"""How far, in per cent, months are named: there has to be room for a name before the page ends."""
_NEAR = 100
"""Days from which on it is said how many are left."""


def plan_html(view: PlanView, fleet: FleetView) -> str:
    """The whole plan, its summary first.

    Args:
        view: What is planned.
        fleet: The fleet that it is planned for, made of the same plan.
    """
    style = (_TEMPLATES / "plan.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    sites = _sites(view, fleet)
    headline, _, rest = view.summary.removeprefix("Plan: ").removesuffix(".").partition("; ")
    page = _environment().get_template("plan.html")
    return page.render(
        view=view,
        headline=headline,
        rest=rest,
        fleet=fleet,
        style=Markup(style),  # noqa: S704 - a file of this package
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        severities=_severities(view),
        later=_later(view, sites),
        busy=[site for site in sites if not site.quiet],
        quiet=[site for site in sites if site.quiet],
        timeline=_timeline(fleet),
    )


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
    )
    made.filters["told"] = _told
    made.globals.update(
        verbs=_VERBS,
        states=_LATER,
        flags=_FLAGS,
        unplanned=words.UNPLANNED,
        few=_FEW,
        many=_MANY,
        many_sites=_SITES,
        limits={Severity.WARNING: _FEW, Severity.NOTICE: 3},
        cut=_cut,
        counted=words.counted,
        instant=words.utc,
        short=words.short,
        badge=_badge,
        left=_left,
        to_us=_to_us,
        steady=_steady,
        untold=_untold,
        repeats=_repeats,
    )
    return made


def _plain(value: object) -> object:
    """Text in which everything is visible; what templates have made of it passes, as does what is missing."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value


def _told(sentence: str) -> Markup:
    """A sentence with what it quotes between backticks as code; it is escaped before it is looked at."""
    return Markup(_QUOTED.sub(r"<code>\1</code>", str(escape(printable(sentence)))))  # noqa: S704 - it is escaped


def _cut(rows: Sequence[T], limit: int) -> tuple[Sequence[T], Sequence[T]]:
    """What is shown of a list and what is folded, which is nothing where that would hardly save room."""
    at = limit if len(rows) > limit * 5 // 4 else len(rows)
    return rows[:at], rows[at:]


@dataclass(frozen=True, slots=True)
class _Site:
    """A site on the page.

    Attributes:
        anchor: Where it stands on the page.
        view: What is planned.
        fleet: What it is planned for.
        opened: Whether it is shown open.
    """

    anchor: str
    view: SiteView
    fleet: SiteFleet
    opened: bool

    @property
    def title(self) -> str:
        return self.view.name if self.view.name is not None else "Outside any site"

    @property
    def quiet(self) -> bool:
        return _is_quiet(self.view, self.fleet)


def _is_quiet(view: SiteView, fleet: SiteFleet) -> bool:
    """Whether nothing about a site needs a look."""
    return not view.served and all(condition is Condition.IN_STEP for condition, _ in fleet.conditions)


def _sites(view: PlanView, fleet: FleetView) -> list[_Site]:
    pairs = list(zip(view.sites, fleet.sites, strict=True))
    few = sum(not _is_quiet(*pair) for pair in pairs) <= _OPEN_SITES
    return [
        _Site(f"site-{number}", own, its, few and not _is_quiet(own, its))
        for number, (own, its) in enumerate(pairs, start=1)
    ]


def _severities(view: PlanView) -> list[tuple[str, str, tuple[Mended, ...]]]:
    """Findings by severity: the severity, its heading, and what was found."""
    found = [
        (severity.value, heading, by_remedy(each for each in view.findings if each.severity is severity))
        for severity, heading in _SEVERITIES.items()
    ]
    return [each for each in found if each[2]]


@dataclass(frozen=True, slots=True)
class _Later:
    """An action that does not run now, where, and the site's place on the page."""

    action: ActionView
    places: str
    anchor: str


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What does not run now in one state.

    Attributes:
        heading: The state.
        number: How many actions.
        causes: What keeps them, each with the actions that it keeps.
    """

    heading: str
    number: int
    causes: tuple[tuple[Cause, tuple[_Later, ...]], ...]


def _later(view: PlanView, sites: Iterable[_Site]) -> list[_Waiting]:
    anchors = {site.view.name: site.anchor for site in sites}
    headings = {State.HELD: "Held", State.WAITING: "Waiting", State.BY_HAND: "By hand"}
    found: dict[State, list[Later]] = {each: [] for each in headings}
    for each in later_of(view.sites):
        found[each.state].append(each)
    return [
        _Waiting(
            headings[state],
            sum(len(action.appliances) for each in some for action in each.actions),
            tuple(
                (
                    each.cause,
                    tuple(_Later(row.action, words.several(row.appliances), anchors[row.site]) for row in each.actions),
                )
                for each in some
            ),
        )
        for state, some in found.items()
        if some
    ]


def _untold(action: ActionView) -> list[Fact]:
    """The facts of an action that its changes do not tell."""
    told = {change.label for change in action.changes}
    return [fact for fact in action.facts if fact.label not in told]


def _repeats(action: ActionView, group: Group) -> bool:
    """Whether an action changes just what an earlier one does, as a default does of what was imported for it."""
    earlier = group.actions[: group.actions.index(action)]
    return bool(action.changes) and any(each.changes == action.changes for each in earlier)


def _badge(condition: Condition, number: int) -> tuple[str, str, str]:
    """Symbol, words and ink of how an appliance or a site stands."""
    symbol, text, ink = _CONDITIONS[condition]
    if condition in {Condition.ERRORS, Condition.CHANGES}:
        text = words.counted(number, text)
    elif condition not in {Condition.IN_STEP, Condition.UNREACHABLE} or number > 1:
        text = f"{number} {text}"
    return symbol, text, ink


def _left(until: dt.datetime, now: dt.datetime) -> str:
    """How long it is until an expiration, where that is not long."""
    if until <= now:
        return "expired"
    days = (until - now).days
    return f"in {words.counted(days, 'day')}" if days <= _NEAR else ""


def _to_us(held: Held) -> str:
    """What a certificate is to us, in the words of the status."""
    if held.pending:
        return "certificate request"
    return ", ".join(dict.fromkeys(class_words(row) for row in held.rows))


def _steady(held: Sequence[Held]) -> str:
    """What stays in the stores of a site, in one sentence."""
    kinds: dict[str, dict[str, None]] = {}
    for each in held:
        kinds.setdefault(_to_us(each), {})[each.label] = None
    parts = [f"{words.several([*labels])} ({kind})" for kind, labels in kinds.items()]
    return f"{words.counted(len(held), 'more certificate')} that nothing happens to: {'; '.join(parts)}"


@dataclass(frozen=True, slots=True)
class _Track:
    """A certificate on the time line; positions are per cent of its width.

    Attributes:
        life: The certificate.
        left: Where its bar begins.
        width: How wide the bar is.
        beyond: Whether it ends beyond what is shown.
        renewal: Where it falls due for renewal, if that is shown.
        holds: Where holds end, as far as that is shown.
        word: What happens to it, in a word; empty for nothing.
        ink: How it is drawn.
    """

    life: Life
    left: str
    width: str
    beyond: bool
    renewal: str
    holds: tuple[str, ...]
    word: str
    ink: str


@dataclass(frozen=True, slots=True)
class _Timeline:
    """The certificates whose end is near, drawn by site, and all of them.

    Attributes:
        now: Where now is, in per cent.
        months: Where the months begin, and what they are called; empty where there is no room for that.
        sites: Site names and their tracks, the site with the soonest expiration first.
        drawn: How many certificates are drawn.
        lives: All certificates.
    """

    now: str
    months: tuple[tuple[str, str], ...]
    sites: tuple[tuple[str, tuple[_Track, ...]], ...]
    drawn: int
    lives: tuple[Life, ...]


def _timeline(fleet: FleetView) -> _Timeline:
    drawn = fleet.lives[:_TRACKS]
    sites: dict[str, list[_Track]] = {}
    for life in drawn:
        name = f"site {life.site}" if life.site is not None else "outside any site"
        sites.setdefault(name, []).append(_track(life, fleet.now))
    return _Timeline(
        now=_per_cent(fleet.now, fleet.now),
        months=tuple((_per_cent(each, fleet.now), _month(each, fleet.now)) for each in _months(fleet.now)),
        sites=tuple((name, tuple(tracks)) for name, tracks in sites.items()),
        drawn=len(drawn),
        lives=fleet.lives,
    )


def _track(life: Life, now: dt.datetime) -> _Track:
    left, right = _position(life.start, now), _position(life.end, now)
    word = "comes" if life.comes else "goes" if life.goes else ""
    ink = "good" if life.comes else "bad" if life.goes or life.end <= now else "plain"
    if life.open:
        word, ink = "held", "open"
    renewal = life.renewal[0] if life.renewal else None
    return _Track(
        life,
        f"{left:.2f}%",
        f"{max(right - left, 0.4):.2f}%",
        life.end > now + _AHEAD,
        _per_cent(renewal, now) if renewal and _is_shown(renewal, now) else "",
        tuple(_per_cent(at, now) for at, _ in life.holds if _is_shown(at, now)),
        word,
        ink,
    )


def _position(at: dt.datetime, now: dt.datetime) -> float:
    share = (at - now + _PAST) / (_PAST + _AHEAD) * 100
    return min(max(share, 0.0), 100.0)


def _per_cent(at: dt.datetime, now: dt.datetime) -> str:
    return f"{_position(at, now):.2f}%"


def _is_shown(at: dt.datetime, now: dt.datetime) -> bool:
    return now - _PAST <= at <= now + _AHEAD


def _months(now: dt.datetime) -> list[dt.datetime]:
    """The first instants of the months that the time line shows."""
    found = []
    at = (now - _PAST).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while at <= now + _AHEAD:
        at = (at + dt.timedelta(days=32)).replace(day=1)
        if _is_shown(at, now):
            found.append(at)
    return found


def _month(at: dt.datetime, now: dt.datetime) -> str:
    """What the begin of a month is called, in English whatever the locale; January by its year. Empty for no room."""
    if _position(at, now) > _LABELLED:
        return ""
    return (str(at.year), "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[at.month - 1]
