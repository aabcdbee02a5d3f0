"""Security :: Certificates :: Import and :: Export: files that go in and out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from reconciler.base.errors import ActionRefused, FormatError
from reconciler.lab.pages.visit import Visit, sentences
from reconciler.live.driver import ExportOptions, Format, Upload
from reconciler.pki.chain import ChainBuilder
from reconciler.pki.reading import read

if TYPE_CHECKING:
    from reconciler.live.store import LiveCertificate, LiveStore

_ACTIVE = "certificates"
_NO_FILE = "Choose a file that is not empty."
_FILES = {
    Format.DER: (".cer", "application/pkix-cert"),
    Format.PKCS8: (".p8", "application/pkcs8"),
    Format.PKCS7: (".p7b", "application/x-pkcs7-certificates"),
    Format.PKCS12: (".p12", "application/x-pkcs12"),
}


async def import_certificate(visit: Visit) -> Response:
    """The form, and what is uploaded with it."""
    parked, visit.session.parked = visit.session.parked, None
    if visit.request.method != "POST":
        return visit.page("import.html", _ACTIVE, found=None)
    if not visit.sent("confirm"):
        return await _upload(visit)
    if parked is None:
        return visit.page("import.html", _ACTIVE, refusal="Upload the file again.", found=None)
    return await _take(visit, *parked)


async def _upload(visit: Visit) -> Response:
    content, passphrase = await visit.file("file"), visit.secret("passphrase")
    if not content:
        return visit.page("import.html", _ACTIVE, refusal=_NO_FILE, found=None)
    if not visit.appliance.release.traits.upload_is_confirmed:
        return await _take(visit, content, passphrase)
    try:
        contents = await visit.appliance.call(read, content, passphrase)
    except FormatError as error:
        return visit.page("import.html", _ACTIVE, refusal=sentences(error), found=None)
    visit.session.parked = (content, passphrase)
    found = [each.subject.display for each in contents.certificates]
    return visit.page("import.html", _ACTIVE, found=found, keys=len(contents.keys), format=contents.format)


async def _take(visit: Visit, content: bytes, passphrase: bytes | None) -> Response:
    try:
        await visit.appliance.call(visit.appliance.store.import_, Upload(content, passphrase))
    except ActionRefused as error:
        return visit.page("import.html", _ACTIVE, refusal=sentences(error), found=None)
    return visit.leave_for(_ACTIVE, done="The file was imported.")


async def export_certificate(visit: Visit) -> Response:
    """The form, or the file."""
    live = await visit.live()
    handle = visit.text("id") if visit.request.method == "POST" else visit.asked("id")
    identity = visit.naming.resolve(handle, (each.fingerprint for each in live.certificates))
    if identity is None:
        return visit.leave_for(_ACTIVE, refused="What was selected is no longer there. Look at the list again.")
    row = live.by_fingerprint[identity]
    if visit.request.method != "POST":
        return _form(visit, live, row)
    options = ExportOptions(
        certificate=visit.sent("with_certificate"),
        private_key=visit.sent("with_key"),
        chain=visit.sent("with_chain"),
        passphrase=visit.secret("passphrase") if visit.sent("with_key") else None,
    )
    try:
        file = await visit.appliance.call(visit.appliance.store.export, identity, options)
    except ActionRefused as error:
        return _form(visit, live, row, sentences(error))
    extension, media_type = _FILES[file.format]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", row.common_name).strip("._") or "certificate"
    headers = {"content-disposition": f'attachment; filename="{quote(name[:64])}{extension}"'}
    return Response(file.content, media_type=media_type, headers=headers)


def _form(visit: Visit, live: LiveStore, row: LiveCertificate, refusal: str = "") -> Response:
    builder = ChainBuilder(each.certificate for each in live.certificates)
    chain = builder.chains(row.certificate)[0].certificates[1:]
    return visit.page(
        "export.html",
        _ACTIVE,
        refusal=refusal,
        handle=visit.naming.handle(row.fingerprint),
        issued_to=row.certificate.subject.display,
        has_key=row.has_key,
        chain=[str(each.subject) for each in chain],
    )
