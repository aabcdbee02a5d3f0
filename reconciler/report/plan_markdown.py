"""A plan as GitHub-flavoured Markdown: the one comment on a pull request from which people decide.

It fits a comment whatever the fleet is. Where not everything fits, detail goes first, then the rest of long lists, and
errors and what clients will notice go last; it always says what was left out and where that is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING
from urllib.parse import quote

from reconciler.base.findings import Severity
from reconciler.base.text import printable
from reconciler.plan.model import Progress, State
from reconciler.report import words
from reconciler.report.later import later_of
from reconciler.report.markdown import code, fenced, folded, html_code, in_cell, prose, table
from reconciler.report.remedies import by_remedy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.report.changes import Change
    from reconciler.report.later import Later
    from reconciler.report.view import ActionView, CandidateView, Group, PlanView, ServedView, SiteView

LIMIT = 65_000
"""Bytes of UTF-8, which are at least as many as GitHub's characters. A comment has 65,535 of those at most."""

_MARKER = "pra-certificate-reconciler: plan"
_VERBS = {
    "import": ("+", "import"),
    "create_self_signed": ("+", "create"),
    "create_request": ("+", "request"),
    "set_default": ("!", "make default"),
    "remove": ("-", "remove"),
    "remove_request": ("-", "withdraw"),
}
_LATER = {State.HELD: "Held", State.WAITING: "Waiting", State.BY_HAND: "By hand"}
_UNPLANNED = {
    Progress.UNREACHABLE: "could not be observed",
    Progress.STOPPED: "see the errors",
}
_NAMED = 5
_LABELS = 21


class _Sites(IntEnum):
    """How much is told of what happens on each site. The values order them."""

    COUNTED = 0
    """Alike numbers of actions together, wherever they happen."""
    LINES = 1
    """One line for each site's alike appliances."""
    ACTIONS = 2
    """Each action in one line."""
    WHOLE = 3
    """With all that changes, and what is served before and after."""


_LEFT_OUT = {
    _Sites.ACTIONS: "how each certificate differs, and what may be served for each name",
    _Sites.LINES: "the actions one by one, and what may be served for each name",
    _Sites.COUNTED: "which appliance gets what, and what may be served for each name",
}


@dataclass(frozen=True, slots=True)
class _Detail:
    """How much is told; None stands for no limit.

    Attributes:
        sites: How much of what happens on each site.
        listed: How many items of a list, at most.
        urgent: How many errors, and how many things that clients notice, at most.
        longest: Characters of an item, at most; a longer one is left out as a whole.
        named: How many of the appliances to which the same happens are named, at most.
    """

    sites: _Sites
    listed: int | None = None
    urgent: int | None = None
    longest: int | None = None
    named: int = _NAMED


_LEVELS = (
    _Detail(_Sites.WHOLE),
    _Detail(_Sites.ACTIONS),
    _Detail(_Sites.LINES, named=2_000),
    _Detail(_Sites.LINES, named=100),
    _Detail(_Sites.LINES),
    _Detail(_Sites.COUNTED),
    _Detail(_Sites.COUNTED, 50),
    _Detail(_Sites.COUNTED, 10),
    _Detail(_Sites.COUNTED, 10, 100),
    _Detail(_Sites.COUNTED, 10, 30, 1_000),
    _Detail(_Sites.COUNTED, 3, 10, 500),
    _Detail(_Sites.COUNTED, 0, 0),
)
"""From all that there is to what always fits."""


def marker(key: str = "") -> str:
    """The first line of the comment, by which it is found again.

    Args:
        key: Tells the comments of one pull request apart, where it has several: the folder of the desired state.
    """
    told = quote(printable(key), safe="/.").replace("--", "%2D%2D")
    return f"<!-- {' '.join(filter(None, (_MARKER, told)))} -->"


def plan_markdown(view: PlanView, key: str = "", report_url: str = "") -> str:
    """The plan as a comment of at most `LIMIT` bytes.

    Args:
        view: The plan.
        key: Goes into the marker.
        report_url: Where the whole plan can be read; it was chosen by whoever runs the program.
    """
    comment = _Comment(view, marker(key), report_url)
    fitting = (text for text in map(comment.written, _LEVELS) if len(text.encode()) <= LIMIT)
    return next(fitting, comment.written(_LEVELS[-1]))


class _Comment:
    """The parts of a comment, each put into words once, to be written with more or less detail."""

    def __init__(self, view: PlanView, first: str, report_url: str) -> None:
        self._view = view
        self._first = first
        self._report_url = report_url
        self._groups = [group for site in view.sites for group in site.groups]
        self._changing = [group for group in self._groups if _ready(group)]
        self._findings = {severity: _findings(view, severity) for severity in Severity}
        self._noticed = [f"- {prose(each)}." for each in view.noticed]
        self._later = [_held(each) for each in later_of(view.sites) if each.state is not State.BY_HAND]
        self._by_hand = [f"- [ ] {code(each.where)}: {prose(each.what)}" for each in view.by_hand]
        self._unplanned = [
            f"- {_names(group)}: {_UNPLANNED[group.progress]}"
            for group in self._groups
            if group.progress is not Progress.PLANNED
        ]

    def written(self, detail: _Detail) -> str:
        """All of it."""
        parts = [
            self._first,
            *self._beginning(detail),
            *_listing("What clients will notice", self._noticed, detail.urgent, detail),
            *_listing("Errors", self._findings[Severity.ERROR], detail.urgent, detail),
            *_listing("Not planned", self._unplanned, detail.listed, detail),
            *_listing("Left to do by hand", self._by_hand, detail.listed, detail),
            *_listing("Warnings", self._findings[Severity.WARNING], detail.listed, detail),
            *_listing("Held, or waiting", self._later, detail.listed, detail),
            *self._where(detail),
            *self._notices(detail),
            *self._end(),
        ]
        return "\n\n".join(parts) + "\n"

    def _beginning(self, detail: _Detail) -> Iterator[str]:
        yield f"## Certificates: {self._headline()}"
        verdict = self._view.verdict
        yield " ".join(
            [f"**{verdict.answer}:** {prose(verdict.why)}.", *(f"{prose(each)}." for each in verdict.further)]
        )
        planned = " This is what would be done; nothing has been changed yet." if self._changing else ""
        yield f"{prose(self._view.summary)}{planned}"
        if self._view.as_of:
            yield (
                f"> This is the plan as of {code(words.utc(self._view.as_of))}: it shows what falls due until then,"
                " and it cannot be applied."
            )
        if self._view.replaced:
            names = _named(self._view.replaced)
            yield f"> This is a rehearsal: the operator settings put other stores in place of {names}."
        if detail.sites in _LEFT_OUT:
            more = "" if detail.listed is None else " Long lists are cut short, and say how much is missing."
            yield (
                f"> **Shortened to fit a comment.** Left out: {_LEFT_OUT[detail.sites]}.{more}"
                f" All of it is in {self._whole_plan()}."
            )

    def _headline(self) -> str:
        total = sum(len(group.members) for group in self._groups)
        actions = sum(_ready(group) * len(group.members) for group in self._changing)
        appliances = sum(len(group.members) for group in self._changing)
        seen = any(group.progress is Progress.PLANNED for group in self._groups) or not total
        errors = sum(each.severity is Severity.ERROR for each in self._view.findings)
        parts = [
            f"{words.counted(actions, 'change')} on {appliances} of {words.counted(total, 'appliance')}"
            if actions
            else "no changes"
            if seen
            else "nothing is planned",
            *([words.counted(errors, "error")] if errors else []),
        ]
        return ", ".join(parts)

    def _whole_plan(self) -> str:
        link = f"[the report](<{self._report_url}>), and in " if self._report_url else ""
        return f"{link}what `reconciler plan` writes"

    def _where(self, detail: _Detail) -> Iterator[str]:
        changing = [site for site in self._view.sites if any(group.actions for group in site.groups)]
        if changing:
            yield "### What changes where"
        if detail.sites >= _Sites.ACTIONS:
            yield from (_site(site, detail, opened=len(changing) == 1) for site in changing)
        elif changing:
            by_site = detail.sites is _Sites.LINES
            parts = [(f"{_site_name(site)}: ", site.groups) for site in changing] if by_site else [("", self._groups)]
            lines = [line for begin, groups in parts for line in _counted(begin, groups, detail.named)]
            yield "\n".join(_shortened(lines, detail.listed, detail))
        quiet = [group for group in self._groups if not group.actions and group.progress is Progress.PLANNED]
        names = [member.name for group in quiet for member in group.members]
        if names:
            yield f"No changes on {words.counted(len(names), 'appliance')}: {_named(names)}."

    def _notices(self, detail: _Detail) -> Iterator[str]:
        notices = self._findings[Severity.NOTICE]
        if notices:
            lines = "\n".join(_shortened(notices, detail.listed, detail))
            yield folded(words.counted(len(notices), "notice"), lines)

    def _end(self) -> Iterator[str]:
        view = self._view
        revision = f"revision {code(view.revision)}" if view.revision else "the files as they lie there"
        yield "---"
        yield f"Planned {code(words.utc(view.made_at))} from {revision}. Digest {code(view.digest)}."
        if self._changing and not view.as_of:
            apply = code(f"reconciler apply --expect-digest {view.digest}")
            yield f"{apply} carries out just this plan, and nothing where anything has moved since."
        if self._report_url:
            yield f"[The report](<{self._report_url}>)"


def _listing(heading: str, items: Sequence[str], most: int | None, detail: _Detail) -> Iterator[str]:
    if items:
        yield f"### {heading}"
        yield "\n".join(_shortened(items, most, detail))


def _shortened(items: Sequence[str], most: int | None, detail: _Detail) -> list[str]:
    """The first items, none of them in part, and how many more there are."""
    shown = [each for each in items if detail.longest is None or len(each) <= detail.longest][:most]
    missing = len(items) - len(shown)
    return [*shown, f"- and {missing} more" if shown else f"- {missing}, not shown here"] if missing else shown


def _named(names: Sequence[str], most: int = _NAMED) -> str:
    """Names in one line, the first of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(code, names[:most])) + more


def _names(group: Group) -> str:
    return _named([member.name for member in group.members])


def _ready(group: Group) -> int:
    return sum(action.state is State.READY for action in group.actions)


def _loses(group: Group) -> bool:
    return any(action.state is State.READY and action.kind in {"remove", "remove_request"} for action in group.actions)


def _tally(group: Group) -> str:
    return words.tally(Counter((action.kind, action.state) for action in group.actions))


def _findings(view: PlanView, severity: Severity) -> list[str]:
    return [
        f"- {prose(each.place)} ({', '.join(map(code, each.rules))}): {prose(each.message)}"
        + (f"\n  *What to do:* {prose(each.remedy)}" if each.remedy else "")
        for each in by_remedy(each for each in view.findings if each.severity is severity)
    ]


def _held(later: Later) -> str:
    """What is held or waits, with what holds it."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for each in later.actions:
        what = f"{code(each.action.title)} {code(each.action.identity)}"
        found[_VERBS[each.action.kind][1]][what] += each.appliances
    doings = "; ".join(f"{verb} {_certificates(what)}" for verb, what in found.items())
    ends = f", held until {code(words.utc(later.cause.until))}" if later.cause.until else ""
    return f"- {_capital(doings)}{ends}: {prose(later.cause.because)}"


def _certificates(what: Mapping[str, Sequence[str]]) -> str:
    more = f" and {len(what) - _NAMED} more" if len(what) > _NAMED else ""
    return ", ".join(f"{each} on {_named(names)}" for each, names in list(what.items())[:_NAMED]) + more


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _site_name(site: SiteView) -> str:
    return f"site {code(site.name)}" if site.name is not None else "outside any site"


def _counted(begin: str, groups: Iterable[Group], most: int) -> list[str]:
    """The appliances that have the same numbers of actions in one line, those that lose something first, then most."""
    names: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for group in groups:
        if group.actions:
            names[not _loses(group), _tally(group)] += [member.name for member in group.members]
    ordered = sorted(names.items(), key=lambda pair: (pair[0][0], -len(pair[1]), pair[0][1]))
    return [f"- {begin}{_who(some, most, f'{tally} each' if len(some) > 1 else tally)}" for (_, tally), some in ordered]


def _who(names: Sequence[str], most: int, happens: str) -> str:
    """What happens to whom; a long list of names is folded, so that it is there for those who look for theirs."""
    if len(names) <= _NAMED or most <= _NAMED:
        return f"{_named(names)}: {happens}"
    folded_names = f"<details><summary>which</summary>{_named(names, most)}</details>"
    return f"{words.counted(len(names), 'appliance')}: {happens} {folded_names}"


def _site(site: SiteView, detail: _Detail, *, opened: bool) -> str:
    """A site's actions, folded, beneath a line that says who they concern and how many there are."""
    changing = [group for group in site.groups if group.actions]
    names = [member.name for group in changing for member in group.members]
    counts: Counter[tuple[str, State]] = Counter()
    for group in changing:
        for action in group.actions:
            counts[action.kind, action.state] += len(group.members)
    who = ", ".join(map(html_code, names[:_NAMED])) + (
        f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    )
    heading = f"site {html_code(site.name)}" if site.name is not None else "appliances outside any site"
    parts = []
    for group in changing:
        members = ", ".join(
            code(member.name) + (f" (after {_named(member.follows)})" if member.follows else "")
            for member in group.members
        )
        parts += [members, fenced(_block(group.actions, detail), "diff")]
    if detail.sites is _Sites.WHOLE and site.served:
        parts += [
            "What may be served for each name:",
            table(("Name", "Now", "Once this is applied"), map(_row, site.served)),
        ]
    return folded(f"{heading} ({who}): {words.tally(counts)}", "\n\n".join(parts), opened=opened)


def _block(actions: Iterable[ActionView], detail: _Detail) -> Iterator[str]:
    """Actions as lines of a diff: the first character colours a line, and stands for nothing else."""
    for number, action in enumerate(actions):
        if number and detail.sites is _Sites.WHOLE:
            yield ""
        symbol, verb = _VERBS[action.kind]
        later = _LATER.get(action.state)
        role = f" ({action.role})" if action.role else ""
        instead = f" instead of {action.instead_of}" if action.instead_of else ""
        state = f"{later.lower()}: " if later else ""
        yield f"{'#' if later else symbol} {state}{verb} {action.title} [{action.identity}]{role}{instead}"
        if detail.sites is _Sites.WHOLE:
            yield from _facts(action, later)


def _facts(action: ActionView, later: str | None) -> Iterator[str]:
    for fact in action.telling:
        yield _fact(" ", fact.label, fact.value)
    for change in action.changes:
        yield from _change(change)
    yield _fact(" ", "Why", f"{action.why} ({action.source})" if action.source else action.why)
    if later:
        until = f"until {words.utc(action.held_until)}: " if action.held_until else ""
        yield _fact(" ", later, f"{until}{action.held_because}")


def _change(change: Change) -> Iterator[str]:
    for sign, values in (("-", change.dropped), ("+", change.added)):
        for value in values:
            yield _fact(sign, change.label, value)
    if change.kept:
        yield _fact(" ", change.label, f"{change.kept} as before")


def _fact(sign: str, label: str, value: str) -> str:
    return f"{sign}     {label:<{_LABELS}}{value}"


def _row(row: ServedView) -> tuple[str, str, str]:
    place = f" on {_named([in_cell(each) for each in row.appliances])}" if row.appliances else ""
    name = code(in_cell(row.name)) if row.name is not None else "*no server name sent*"
    flags = "".join(f"; **{text}**" for _, text in row.notes)
    before, after = _candidates(row.before), _candidates(row.after)
    return name + place, before, ("as now" if before == after else after) + flags


def _candidates(candidates: Iterable[CandidateView]) -> str:
    return " or ".join(_candidate(each) for each in candidates) or "**nothing**"


def _candidate(candidate: CandidateView) -> str:
    identity = f" {code(in_cell(candidate.identity))}" if candidate.identity else ""
    why_not = f" (not good: {prose(in_cell(candidate.why_not))})" if candidate.why_not else ""
    return code(in_cell(candidate.label)) + identity + why_not
