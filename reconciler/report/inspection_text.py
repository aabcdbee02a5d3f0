"""Certificate files as text, for a person who wonders what they were sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.report import words
from reconciler.report.inspection import Validity
from reconciler.report.page import Ink, Page, Span

if TYPE_CHECKING:
    from reconciler.report.inspection import CertificateView, ChainView, FileView, Inspection
    from reconciler.report.page import Medium, Piece

_LABELS = 21


def inspection_text(document: Inspection, medium: Medium) -> str:
    """Every file, one block per certificate, request and key."""
    page = Page(medium)
    for file in document.files:
        page.blank()
        if file.problem is not None:
            reason = f"{file.problem} - {file.remedy}" if file.remedy else file.problem
            page.write(Span(file.file, Ink.STRONG), ": ", Span(reason, Ink.BAD))
        else:
            _write_file(page, file)
    return page.text()


def _write_file(page: Page, file: FileView) -> None:
    named = f', "{file.friendly_name}"' if file.friendly_name is not None else ""
    page.write(Span(file.file, Ink.STRONG), f": {file.format}{named}")
    for note in file.notes:
        page.write(Span(f"! {note}", Ink.CHANGED), indent=2)
    for certificate in file.certificates:
        _write_certificate(page, certificate)
    for request in file.requests:
        page.write(Span("certificate request", Ink.STRONG), indent=2)
        _write(page, "Subject", request.subject)
        _write_names(page, request.alternative_names)
        _write(page, "Key", _key(request.key, private=request.private_key))
        _write(page, "Fingerprint", request.fingerprint)
    for key in file.keys:
        page.write(Span("private key", Ink.STRONG), indent=2)
        belongs = "" if key.belongs else ", of no certificate or request in these files"
        _write(page, "Key", f"{key.key}{belongs}")
        _write(page, "Public key", key.public_key)
    if file.keys_not_opened:
        count = words.counted(file.keys_not_opened, "private key")
        page.write(Span(f"{count}, not opened since no passphrase was given", Ink.HELD), indent=2)


def _write_certificate(page: Page, certificate: CertificateView) -> None:
    page.write(Span(certificate.role.value, Ink.STRONG), indent=2)
    _write(page, "Subject", certificate.subject or "-")
    _write(page, "Issuer", certificate.issuer or "-")
    _write_names(page, certificate.alternative_names)
    ink = Ink.GOOD if certificate.validity is Validity.VALID else Ink.BAD
    validity = f"{words.utc(certificate.not_before)} to {words.utc(certificate.not_after)}, "
    _write(page, "Validity", validity, Span(certificate.validity.value, ink))
    key = _key(certificate.key, private=certificate.private_key)
    _write(page, "Key", f"{key}; signature {certificate.signature_hash}")
    _write(page, "Fingerprint", certificate.fingerprint)
    _write_chain(page, certificate.chain)
    for each in certificate.coverage:
        verdict = Span("covered", Ink.GOOD) if each.covered else Span("not covered", Ink.BAD)
        _write(page, "Name", f"{each.name}: ", verdict)
    for objection in certificate.strict:
        _write(page, "Strict clients", Span(objection, Ink.CHANGED))


def _write_chain(page: Page, chain: ChainView) -> None:
    path = " < ".join(chain.certificates)
    if chain.complete:
        _write(page, "Chain", f"{path}, ", Span("complete", Ink.GOOD))
    else:
        _write(page, "Chain", f"{path}, ", Span(f"incomplete: {chain.missing or 'its issuer'} is missing", Ink.BAD))
    for each in chain.outside_validity:
        _write(page, "", Span(f"{each} is expired or not yet valid", Ink.BAD))


def _write_names(page: Page, names: tuple[str, ...]) -> None:
    for index, name in enumerate(names or ("No Supported Names",)):
        _write(page, "" if index else "Alternative Name(s)", name)


def _key(kind: str, *, private: bool) -> str:
    return f"{kind}, private key in these files" if private else kind


def _write(page: Page, label: str, *body: Piece) -> None:
    page.write(*body, indent=4, head=Span(label, Ink.FAINT), column=_LABELS)
