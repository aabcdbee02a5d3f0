"""The pending certificate requests as text: one block each, since two SHA-256 and a subject fit into no table."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from reconciler.plan.requests import RequestClass
from reconciler.report import words
from reconciler.report.findings import write_findings
from reconciler.report.page import Ink, Page, Span

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.report.page import Medium
    from reconciler.report.requests import Request, Requests

_LABELS = 21
_LONGEST = 300


def requests_text(requests: Requests, medium: Medium, folder: Path | None = None) -> str:
    """All requests, the appliances without any in one line, and all findings last.

    Args:
        requests: The document.
        medium: Where it is written.
        folder: Where the files of requests are put, if they are.
    """
    page = Page(medium)
    page.write(Span("Certificate Requests", Ink.STRONG), f" {words.utc(requests.at)}")
    without = []
    for appliance in requests.appliances:
        if not appliance.requests and not appliance.problem:
            without.append(appliance.name)
            continue
        page.blank()
        page.write(Span(appliance.name, Ink.STRONG), f", site {appliance.site}" if appliance.site is not None else "")
        if appliance.problem:
            page.write(Span("could not be observed", Ink.BAD), indent=2)
        for each in appliance.requests:
            _write_request(page, each, folder)
    if without:
        page.blank()
        page.write(f"{words.several(without)}: no pending requests")
    write_findings(page, (*requests.findings, *(each for one in requests.appliances for each in one.findings)))
    return page.text()


def _write_request(page: Page, request: Request, folder: Path | None) -> None:
    page.write(_standing(request), indent=2)
    names = request.alternative_names or ("No Supported Names",)
    for label, lines in (
        ("Subject", (request.subject,)),
        ("Alternative Name(s)", names),
        ("Public Key", (request.key,)),
        ("Public Key SHA-256", (request.public_key,)),
        ("Fingerprint SHA-256", (request.fingerprint,)),
        ("File", (str(folder / request.file) if folder else request.file,) if request.file else ()),
    ):
        head = Span(label, Ink.FAINT)
        for line in lines:
            page.write(_cut(line), indent=4, head=head, column=_LABELS)
            head = Span("", Ink.PLAIN)


def _cut(text: str) -> str:
    """What a request asks for may be of any length; the document has all of it."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _standing(request: Request) -> Span:
    name = request.certificate
    match request.standing:
        case RequestClass.AWAITED:
            return Span(f"for {name}: the CA's answer is awaited", Ink.HELD)
        case RequestClass.ANSWERED:
            return Span(f"for {name}: answered, what is committed has its key", Ink.GOOD)
        case RequestClass.SPARE:
            return Span(f"for none: it would fit {name}, which does not wait for it", Ink.CHANGED)
        case RequestClass.RETIRED:
            return Span("for none: it is retired", Ink.BAD)
        case RequestClass.UNDECLARED:
            return Span("for none: nothing that is declared fits it", Ink.CHANGED)
        case None:
            return Span("for what is unknown, see the errors", Ink.FAINT)
        case other:
            assert_never(other)
