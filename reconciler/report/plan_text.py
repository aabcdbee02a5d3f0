"""A plan as text, for a terminal, a pipe or a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.plan.model import Flag, Progress, State
from reconciler.report import words
from reconciler.report.changes import FINGERPRINT
from reconciler.report.findings import write_findings
from reconciler.report.page import Ink, Page, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.report.changes import Change
    from reconciler.report.page import Medium, Piece
    from reconciler.report.view import ActionView, CandidateView, Group, PlanView, ServedView, SiteView

_VERBS = {
    "import": ("+", "import", Ink.GOOD),
    "create_self_signed": ("+", "create", Ink.GOOD),
    "create_request": ("+", "request", Ink.GOOD),
    "set_default": ("*", "default", Ink.CHANGED),
    "remove": ("-", "remove", Ink.BAD),
    "remove_request": ("-", "withdraw", Ink.BAD),
}
_LATER = {
    State.HELD: ("~", Ink.HELD, "Held"),
    State.WAITING: ("?", Ink.HELD, "Waiting"),
    State.BY_HAND: ("!", Ink.CHANGED, "By hand"),
}
_FLAGS = {Flag.NOT_ALL_GOOD: Ink.BAD, Flag.DEFAULT_ONLY: Ink.CHANGED}
_INDENT = 4
_COLUMN = 11
_LABELS = 21
_NAMES = 30


def plan_text(view: PlanView, medium: Medium) -> str:
    """The whole plan, its summary last."""
    page = Page(medium)
    when = f"as of {words.utc(view.as_of)}, so it cannot be applied" if view.as_of else words.utc(view.made_at)
    page.write(Span("Plan", Ink.STRONG), f" {when}", f", revision {view.revision}" if view.revision else "")
    if view.replaced:
        names = words.several(view.replaced)
        page.write(Span("Rehearsal", Ink.CHANGED), f": the operator settings put other stores in place of {names}")
    for site in view.sites:
        _write_site(page, site)
    _write_noticed(page, view)
    _write_served(page, view)
    if view.by_hand:
        page.blank()
        page.write(Span("Left to do by hand", Ink.STRONG))
        for each in view.by_hand:
            page.write(Span(each.where, Ink.STRONG), f": {each.what}", indent=2)
    write_findings(page, view.findings)
    page.blank()
    page.write(f"Digest {view.digest}")
    page.write(Span(view.summary, Ink.STRONG))
    return page.text()


def _write_site(page: Page, site: SiteView) -> None:
    heading = f"site {site.name}" if site.name is not None else "appliances outside any site"
    quiet = all(not group.actions and group.progress is Progress.PLANNED for group in site.groups)
    if quiet:
        names = ", ".join(member.name for group in site.groups for member in group.members)
        page.write(f"{names}: ", Span("no changes", Ink.FAINT), head=Span(heading, Ink.STRONG), column=_NAMES)
        return
    page.blank()
    page.write(Span(heading, Ink.STRONG))
    for group in site.groups:
        _write_group(page, group)
    page.blank()


def _write_group(page: Page, group: Group) -> None:
    names = ", ".join(
        f"{member.name} (after {', '.join(member.follows)})" if member.follows else member.name
        for member in group.members
    )
    if group.progress is not Progress.PLANNED:
        page.write(f"{names}: ", Span(words.UNPLANNED[group.progress], Ink.BAD), indent=2)
    elif not group.actions:
        page.write(f"{names}: ", Span("no changes", Ink.FAINT), indent=2)
    else:
        page.write(Span(names, Ink.STRONG), indent=2)
        for action in group.actions:
            _write_action(page, action)


def _write_action(page: Page, action: ActionView) -> None:
    symbol, verb, ink = _VERBS[action.kind]
    state = ""
    if action.state is not State.READY:
        symbol, ink, state = _LATER[action.state]
    page.write(
        Span(action.title, Ink.STRONG),
        Span(f" [{action.identity}]", Ink.FAINT),
        f" {action.role}" if action.role else "",
        indent=_INDENT,
        head=Span(f"{symbol} {verb}", ink),
        column=_COLUMN,
    )
    facts: list[tuple[str, tuple[Piece, ...]]] = [(each.label, (each.value,)) for each in action.telling]
    if action.instead_of:
        facts.append(("Instead of", (action.instead_of,)))
    # The title and the line before tell fingerprints in brief; whole ones fit no line of 80 columns.
    told = (change for change in action.changes if change.label != FINGERPRINT)
    facts += [line for change in told for line in _change(change)]
    source = Span(f" ({action.source})", Ink.FAINT) if action.source else ""
    facts.append(("Why", (action.why, source)))
    if state:
        until = f"until {words.utc(action.held_until)}: " if action.held_until else ""
        facts.append((state, (until, action.held_because)))
    for label, value in facts:
        page.write(*value, indent=_INDENT + 2, head=Span(label, Ink.FAINT), column=_LABELS)


def _change(change: Change) -> Iterator[tuple[str, tuple[Piece, ...]]]:
    """What is dropped and added, each on a line of its own, beneath one label."""
    lines: list[tuple[Piece, ...]] = [(Span(f"- {each}", Ink.BAD),) for each in change.dropped]
    lines += [(Span(f"+ {each}", Ink.GOOD),) for each in change.added]
    lines += [(Span(f"  {change.kept} as before", Ink.FAINT),)] if change.kept else []
    return ((change.label if number == 0 else "", line) for number, line in enumerate(lines))


def _write_noticed(page: Page, view: PlanView) -> None:
    if not any(site.noticed for site in view.sites):
        return  # the served names say so, in a line
    page.blank()
    page.write(Span("What clients will notice", Ink.STRONG))
    for sentence in view.noticed:
        page.write(f"{sentence}.", indent=2)


def _write_served(page: Page, view: PlanView) -> None:
    steady = sum(site.steady for site in view.sites)
    rows = any(site.served for site in view.sites)
    if not (rows or steady):
        return
    page.blank()
    if not rows:
        page.write(Span("Served names", Ink.STRONG), f": all {steady} as now, by good certificates")
        return
    page.write(Span("Served names", Ink.STRONG), ": what may be served now -> once this plan is applied")
    for site in view.sites:
        if site.served:
            page.write(f"site {site.name}" if site.name is not None else "appliances outside any site", indent=2)
        for row in site.served:
            _write_row(page, row)
    if steady:
        page.write(
            f"and {words.counted(steady, 'name')} of unchanged appliances, as now, by good certificates", indent=2
        )


def _write_row(page: Page, row: ServedView) -> None:
    name = row.name or "no SNI"
    where = f" on {', '.join(row.appliances)}" if row.appliances else ""
    head = Span(name + where, Ink.STRONG)
    after = _candidates(row.after)
    if row.before != row.after:
        before, arrow = _candidates(row.before), Span("-> ", Ink.CHANGED)
        if page.fits([*before, " ", arrow, *after], _INDENT + _NAMES):
            after = [*before, " ", arrow, *after]
        else:
            page.write(*before, indent=_INDENT, head=head, column=_NAMES)
            head, after = Span("", Ink.PLAIN), [arrow, *after]
    page.write(*after, indent=_INDENT, head=head, column=_NAMES)

    for flag, text in row.notes:
        page.write(Span(text, _FLAGS[flag]), indent=_INDENT + _NAMES)


def _candidates(candidates: tuple[CandidateView, ...]) -> list[Piece]:
    if not candidates:
        return [Span("nothing", Ink.BAD)]
    pieces: list[Piece] = []
    for each in candidates:
        pieces += [" or " if pieces else "", each.label]
        if each.identity:
            pieces.append(Span(f" [{each.identity}]", Ink.FAINT))
        if each.why_not:
            pieces.append(Span(f" (not good: {each.why_not})", Ink.BAD))
    return pieces
