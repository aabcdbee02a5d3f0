"""The live stores as text: the appliance's own table where it fits, one block per certificate where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.plan.matching import CertificateClass
from reconciler.report import words
from reconciler.report.findings import write_findings
from reconciler.report.page import Cell, Ink, Page, Span

if TYPE_CHECKING:
    import datetime as dt

    from reconciler.report.page import Medium, Piece
    from reconciler.report.status import ApplianceStatus, LoopStatus, Reconciliation, RequestRow, Row, ServedNow, Status

_HEADINGS = (
    "Friendly Name",
    "Issued To",
    "Issued By",
    "Expiration",
    "Alternative Name(s)",
    "Private Key?",
    "Default",
    "Class",
)
_HEADER: list[Cell] = [[Span(heading, Ink.FAINT)] for heading in _HEADINGS]
_CLASS_INKS = {
    CertificateClass.DECLARED: Ink.GOOD,
    CertificateClass.RETIRED: Ink.BAD,
    CertificateClass.UNDECLARED: Ink.CHANGED,
}
_HEALTH_INKS = {"Healthy": Ink.GOOD, "Degraded": Ink.BAD, "Suspended": Ink.HELD}
_WATCH = Span("watch", Ink.FAINT)
_AT_WORK = {
    True: Span("a loop is at work", Ink.PLAIN),
    False: Span("no loop is at work", Ink.HELD),
    None: Span("it cannot be told whether a loop is at work", Ink.HELD),
}
_LABELS = 21
_NAMES = 30
_SOON = 5


def status_text(status: Status, medium: Medium) -> str:
    """The whole status, what falls due next and all findings last."""
    page = Page(medium)
    page.write(Span("Status", Ink.STRONG), f" {words.utc(status.at)}")
    if status.loop:
        _write_loop(page, status.loop)
    for appliance in status.appliances:
        page.blank()
        page.write(Span(appliance.name, Ink.STRONG), f", site {appliance.site}" if appliance.site is not None else "")
        if appliance.reconciliation:
            _write_reconciliation(page, appliance.reconciliation, status.loop)
        if appliance.problem:
            page.write(Span("could not be observed", Ink.BAD), indent=2)
        else:
            _write_appliance(page, appliance)
    _write_due(page, status)
    write_findings(page, (*status.findings, *(each for one in status.appliances for each in one.findings)))
    return page.text()


def _write_loop(page: Page, loop: LoopStatus) -> None:
    """Whether it is at work, and what is wrong with it or its source."""
    told: list[Piece] = [_AT_WORK[loop.at_work]]
    if loop.knew_at and not loop.at_work:
        told.append(f"; what the last one knew is of {words.utc(loop.knew_at)}")
    if loop.problem:
        told += ["; what it knew cannot be told: ", Span(loop.problem, Ink.BAD)]
    page.write(*told, head=_WATCH, column=8)
    if loop.source_problem:
        since = f", since {words.utc(loop.source_problem_since)}" if loop.source_problem_since else ""
        page.write(Span(loop.source_problem, Ink.BAD), since, head=Span("source", Ink.FAINT), column=8)


def _write_reconciliation(page: Page, known: Reconciliation, loop: LoopStatus | None) -> None:
    was = "" if loop is None or loop.at_work else "was "
    health = Span(known.health, _HEALTH_INKS.get(known.health, Ink.PLAIN))
    suspended = f" ({known.suspended})" if known.suspended else ""
    when = f"looked at {words.utc(known.looked_at)}" if known.looked_at else "not looked at yet"
    mode = f"{suspended}; mode {known.mode}, {when}"
    page.write(f"{was}{known.sync}, ", health, mode, indent=2, head=_WATCH, column=8)


def _write_appliance(page: Page, appliance: ApplianceStatus) -> None:
    rows = [_cells(row) for row in appliance.certificates]
    if not rows:
        page.write("no certificates", indent=2)
    elif not page.table([_HEADER, *rows], indent=2) and not page.table(_narrowed([_HEADER, *rows]), indent=2):
        for row, cells in zip(appliance.certificates, rows, strict=True):
            _write_block(page, row, cells)
    for request in appliance.requests:
        _write_request(page, request)
    if appliance.serving:
        page.blank()
        page.write(Span("Served now", Ink.FAINT), indent=2)
        for served in appliance.serving:
            _write_served(page, served)


def _cells(row: Row) -> list[Cell]:
    """The cells of a row in the order of the headings; warnings stand beneath the name, as on the appliance."""
    warnings = [Span(f"! {each}", Ink.BAD) for each in row.warnings]
    return [
        [Span(row.friendly_name or "-", Ink.STRONG), *warnings],
        [row.issued_to],
        [row.issued_by],
        [words.utc(row.expiration)],
        row.alternative_names or ["No Supported Names"],
        ["Yes" if row.private_key else "No"],
        [Span("Yes", Ink.GOOD) if row.default else "No"],
        [Span(class_words(row), _CLASS_INKS.get(row.class_, Ink.PLAIN) if row.class_ else Ink.FAINT)],
    ]


def _narrowed(table: list[list[Cell]]) -> list[list[Cell]]:
    """The table with every cell of one line and several words on two, but for the friendly names."""
    return [[row[0], *(_halved(cell) for cell in row[1:])] for row in table]


def _halved(cell: Cell) -> Cell:
    """The only line of a cell as two, parted at the space that is nearest to its middle."""
    text, ink = (cell[0].text, cell[0].ink) if isinstance(cell[0], Span) else (cell[0], Ink.PLAIN)
    spaces = [index for index, character in enumerate(text) if character == " "]
    if len(cell) > 1 or not spaces:
        return cell
    middle = min(spaces, key=lambda index: abs(2 * index - len(text)))
    return [Span(text[:middle], ink), Span(text[middle + 1 :], ink)]


def class_words(row: Row) -> str:
    """What a live certificate is to us."""
    match row.class_:
        case CertificateClass.DECLARED:
            return f"declared as {row.certificate}"
        case CertificateClass.PREVIOUS:
            return f"previous {row.certificate}"
        case CertificateClass.UNDECLARED if row.newer:
            return f"undeclared, newer than {row.certificate}"
        case None:
            return "unknown, see the errors"
        case other:
            return other.value


def _write_block(page: Page, row: Row, cells: list[Cell]) -> None:
    """One certificate on lines of its own, for a page that the table does not fit."""
    page.write(cells[0][0], Span(f" [{words.short(row.fingerprint)}]", Ink.FAINT), indent=2)
    for warning in cells[0][1:]:
        page.write(warning, indent=4)
    for heading, cell in zip(_HEADINGS[1:], cells[1:], strict=True):
        head = Span(heading, Ink.FAINT)
        for line in cell:
            page.write(line, indent=4, head=head, column=_LABELS)
            head = Span("", Ink.PLAIN)


def _write_request(page: Page, request: RequestRow) -> None:
    names = "; ".join(request.alternative_names)
    page.write(
        Span(f"for {request.certificate}: ", Ink.STRONG) if request.certificate else "",
        f"{request.subject}; {names}",
        Span(f" [{words.short(request.fingerprint)}]", Ink.FAINT),
        indent=2,
        head=Span("pending request", Ink.HELD),
        column=17,
    )


def _write_served(page: Page, served: ServedNow) -> None:
    pieces: list[Piece] = []
    for each in served.candidates:
        pieces += [" or " if pieces else "", each.label, Span(f" [{words.short(each.certificate)}]", Ink.FAINT)]
        if not each.good:
            pieces.append(Span(f" (not good: {each.why_not})", Ink.BAD))
    head = Span(served.name if served.name is not None else "no SNI", Ink.STRONG)
    page.write(*(pieces or [Span("nothing", Ink.BAD)]), indent=4, head=head, column=_NAMES)


def _write_due(page: Page, status: Status) -> None:
    """The soonest of the whole fleet; the document has all of them."""
    where: dict[tuple[dt.datetime, str], list[str]] = {}
    for appliance in status.appliances:
        for each in appliance.due:
            where.setdefault((each.at, each.what), []).append(appliance.name)
    if not where:
        return
    page.blank()
    page.write(Span("Falls due next", Ink.STRONG))
    due = sorted(where.items())
    for (at, what), names in due[:_SOON]:
        ink = Ink.BAD if at <= status.at else Ink.PLAIN
        page.write(f"{words.several(names)}: {what}", indent=2, head=Span(words.utc(at), ink), column=25)
    if len(due) > _SOON:
        page.write(Span(f"and {len(due) - _SOON} more", Ink.FAINT), indent=2)
