"""What a store holds exactly: each certificate through the Export page without its key, each request by its data."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.base.errors import ActionRefused, FormatError, StoreUnrecognised
from reconciler.live.driver import ExportedFile, ExportOptions, Format
from reconciler.live.store import LiveCertificate, LiveStore, Operation, Origin, PendingRequest
from reconciler.live.web import labels
from reconciler.live.web.finding import NotUnderstood
from reconciler.live.web.forms import Filling
from reconciler.live.web.installation import read_export, read_request_data
from reconciler.live.web.listing import WHERE
from reconciler.live.web.trouble import cut, not_recognised, said
from reconciler.pki.asn1 import CLEAR_KEYS, Kind, Malformed, kind_of
from reconciler.pki.certificate import Certificate, parse_certificate
from reconciler.pki.request import Request, parse_request

if TYPE_CHECKING:
    from reconciler.live.web.forms import Submission
    from reconciler.live.web.installation import CreatePage, ExportPage, ImportPage
    from reconciler.live.web.listing import Interface, Listing
    from reconciler.live.web.page import Control, Option, Page
    from reconciler.live.web.pages import Actions, CertificateRow, CertificatesPage, RequestRow

_FORMATS: dict[Kind | None, Format] = {
    Kind.CERTIFICATE: Format.DER,
    Kind.PKCS7: Format.PKCS7,
    Kind.PKCS12: Format.PKCS12,
    Kind.PKCS8: Format.PKCS8,
    Kind.ENCRYPTED_PKCS8: Format.PKCS8,
}
_LONGEST_NAME = 200
_LOOKS = 3


class _Moved(StoreUnrecognised):
    """The store is no longer as it was listed."""

    def __init__(self) -> None:
        super().__init__(
            f"what {WHERE} lists does not stay as it is while it is read", "run again when nobody is at work on it"
        )


@dataclass(frozen=True)
class Seen:
    """A store as it was read, with the rows that things were read from.

    Attributes:
        listing: The listing.
        certificates: The certificate of each row.
        requests: The request of each row.
    """

    listing: Listing
    certificates: tuple[tuple[CertificatesPage, CertificateRow, Certificate], ...]
    requests: tuple[tuple[CertificatesPage, RequestRow, Request], ...]


async def look(interface: Interface) -> Seen:
    """Read everything; once more where somebody changes the store meanwhile.

    Raises:
        StoreError: It cannot be read.
    """
    for _ in range(_LOOKS):
        listing = await interface.listing()
        try:
            certificates = [(page, row, await certificate_of(interface, page, row)) for page, row in listing.rows]
            requests = [(page, row, await request_of(interface, row)) for page, row in listing.requests]
        except _Moved:
            continue
        except (StoreUnrecognised, ActionRefused):
            # What was listed may be gone by now; if it is still there, it is not understood.
            if (await interface.listing()).shown == listing.shown:
                raise
            continue
        if (await interface.listing()).shown == listing.shown:
            return Seen(listing, tuple(certificates), tuple(requests))
    raise _Moved


async def certificate_of(interface: Interface, page: CertificatesPage, row: CertificateRow) -> Certificate:
    """The certificate of a row, by export without its key.

    Raises:
        _Moved: It is not what the row shows.
        StoreError: It cannot be exported.
    """
    file = await export(interface, page, row, ExportOptions())
    try:
        certificate = parse_certificate(file.content)
    except FormatError as error:
        raise StoreUnrecognised(
            f"the export of {cut(row.issued_to)!r} is {error.message}", "see what the interface exports in a browser"
        ) from error
    if row.expiration not in {None, certificate.not_after}:
        raise _Moved
    return certificate


async def request_of(interface: Interface, row: RequestRow) -> Request:
    """The request of a row.

    Raises:
        StoreUnrecognised: Its data is not understood.
    """
    page = await interface.session.page(row.details.url)
    try:
        return parse_request(binascii.a2b_base64(read_request_data(page)))
    except NotUnderstood as missing:
        raise not_recognised("the page of a certificate request", missing.wanted, page) from None
    except (ValueError, FormatError) as error:
        raise StoreUnrecognised(
            f"the request data of {cut(row.subject)!r} is not understood", "look at it in a browser"
        ) from error


async def export(
    interface: Interface, page: CertificatesPage, row: CertificateRow, options: ExportOptions
) -> ExportedFile:
    """Export what a row shows. Everything that the options do not ask for is left out, boxes that are unknown included.

    Raises:
        ActionRefused: The interface has no such thing to export.
        StoreError: It is not understood.
    """
    reply = await interface.session.read(ask_export(page, row))
    if reply.page is None:
        raise StoreUnrecognised("a file comes where the page Export was asked for", "see how it works in a browser")
    try:
        found = read_export(reply.page)
        filling = _fill(found, row, options)
    except NotUnderstood as missing:
        raise not_recognised(f"the page {WHERE} > Export", missing.wanted, reply.page) from None
    sent = await interface.session.read(filling.press(found.export))
    if sent.page is not None:
        raise ActionRefused(_refusal("the certificate is not exported", reply.page, sent.page), "choose other options")
    kind = outline(sent.content)
    if kind in CLEAR_KEYS and options.passphrase is not None:
        raise StoreUnrecognised("the key comes without its passphrase", "do not export keys from this interface")
    if kind not in _FORMATS:
        raise StoreUnrecognised("what is exported is of no known format", "see what the interface exports in a browser")
    return ExportedFile(_FORMATS[kind], sent.content)


def outline(content: bytes) -> Kind | None:
    """What a file looks like; None where it looks like nothing that is known."""
    try:
        return kind_of(content)
    except Malformed:
        return None


def ask_export(page: CertificatesPage, row: CertificateRow) -> Submission:
    """What leads from a row to the page Export.

    Raises:
        StoreUnrecognised: Nothing does.
    """
    actions = page.actions_of(row)
    option = actions.option(labels.EXPORT_ACTION) if actions else None
    if actions is None or option is None or row.tick is None:
        wanted = f"'{labels.SELECT_ACTION}' with '{labels.EXPORT_ACTION}' and a box in each row"
        raise not_recognised(f"the page {WHERE}", wanted, page.page)
    return ticked(page, row.tick, actions, option)


def ticked(page: CertificatesPage, tick: Control, actions: Actions, option: Option) -> Submission:
    """Choose an action for one row alone, and press Apply."""
    filling = Filling(page.page, actions.choice.form)
    for each in page.page.controls():
        if each.kind == "checkbox" and each.form == tick.form:
            filling.tick(each, on=each.place == tick.place)
    filling.choose(actions.choice, option)
    return filling.press(actions.apply)


def _fill(found: ExportPage, row: CertificateRow, options: ExportOptions) -> Filling:
    filling = Filling(found.page, found.certificate.form)
    boxes = (
        (found.certificate, options.certificate, labels.INCLUDE_CERTIFICATE),
        (found.private_key, options.private_key, labels.INCLUDE_PRIVATE_KEY),
        (found.chain, options.chain, labels.INCLUDE_CHAIN),
    )
    for box, wanted, label in boxes:
        if box is not None:
            filling.tick(box, on=wanted)
        elif wanted:
            raise NotUnderstood(f"'{label}'")
    if row.has_key and found.private_key is None:
        # What leaves the key out must be known, lest it comes along unasked.
        raise NotUnderstood(f"'{labels.INCLUDE_PRIVATE_KEY}'")
    for box in found.others:
        filling.tick(box, on=False)
    if options.passphrase is not None and options.private_key:
        if found.passphrase is None:
            raise NotUnderstood(f"'{labels.PASSPHRASE}'")
        filling.enter(found.passphrase, options.passphrase.decode())
    return filling


def _refusal(what: str, before: Page, after: Page) -> str:
    words = said(before.lines(), after.lines())
    return f"{what}: the interface says '{words}'" if words else f"{what}, and the interface does not say why"


# What was read, as the rest of the program knows it


def live_store(seen: Seen, create: CreatePage | None, import_: ImportPage | None) -> LiveStore:
    """What was read, as a store.

    Args:
        seen: What was read.
        create: The page on which certificates and requests are made, if it is there.
        import_: The page for imports, if it is there.
    """
    keyed_last = sorted(seen.certificates, key=lambda each: each[1].has_key)
    certificates = {each.fingerprint: _live(row, each) for _, row, each in keyed_last}
    requests = {each.fingerprint: pending(each) for _, _, each in seen.requests}
    default = next((each.fingerprint for _, row, each in seen.certificates if row.is_default), None)
    return LiveStore(
        certificates=tuple(certificates[each] for each in sorted(certificates)),
        requests=tuple(requests[each] for each in sorted(requests)),
        default=default,
        offers=_offers(seen.listing, create, import_),
        presents_itself=True,
    )


def is_factory(certificate: Certificate) -> bool:
    """Whether a certificate is the one that ships with every appliance."""
    return certificate.is_self_issued and certificate.common_name in labels.FACTORY_NAMES


def _live(row: CertificateRow, certificate: Certificate) -> LiveCertificate:
    origin = Origin.APPLIANCE if row.managed else Origin.ADMINISTRATOR
    if is_factory(certificate) and row.has_key:
        origin = Origin.FACTORY
    name = row.friendly_name[:_LONGEST_NAME] or certificate.subject.display
    return LiveCertificate(certificate, name, row.has_key, origin)


def pending(request: Request) -> PendingRequest:
    """A request as it waits for its answer."""
    return PendingRequest(
        request.fingerprint,
        request.public_key,
        request.key_kind,
        request.subject,
        request.subject_alternative_names,
        request.pem,
    )


def _offers(listing: Listing, create: CreatePage | None, import_: ImportPage | None) -> frozenset[Operation]:
    first = listing.first
    own, requests = first.actions[False], first.request_actions
    offered = {
        Operation.CREATE_SELF_SIGNED: create is not None and create.self_signed is not None,
        # Where pending requests are not shown, nobody could tell whether one has come into being.
        Operation.CREATE_REQUEST: create is not None and create.request is not None and first.shows_requests,
        Operation.IMPORT: import_ is not None,
        Operation.SET_DEFAULT: any(page.save_default for page, _ in listing.rows),
        Operation.REMOVE: own is not None and own.option(labels.REMOVE_ACTION) is not None,
        # The drop-down may be away while there is nothing that it could act on.
        Operation.REMOVE_REQUEST: requests is not None and requests.option(labels.REMOVE_REQUEST_ACTION) is not None
        if listing.requests
        else first.shows_requests,
        Operation.EXPORT: own is not None and own.option(labels.EXPORT_ACTION) is not None,
    }
    return frozenset(operation for operation, there in offered.items() if there)
