"""Security > Certificates: the tables, what their dropdowns and buttons do, and a request's details."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from reconciler.base.errors import ActionRefused
from reconciler.lab.lets_encrypt import KEY_TYPES
from reconciler.lab.pages.visit import Visit, sentences
from reconciler.lab.views import certificate_rows, key_in_words, portion, request_rows, shown_names
from reconciler.pki.names import NameType, parse_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

    from reconciler.lab.pages.visit import Page
    from reconciler.live.store import LiveStore

_ACTIVE = "certificates"
_NOTHING = "Nothing is selected. Tick a row first."
_NO_ACTION = "Choose an action first."
_ONE = "Only one certificate can be exported at a time. Tick one row."
_GONE = "What was selected is no longer there. Look at the list again."
_NO_DEFAULT = "No certificate is selected in the Default column."


async def certificates(visit: Visit) -> Response:
    """The tables, or what one of their buttons asks for."""
    asked = next((page for button, page in _BUTTONS.items() if visit.sent(button)), _tables)
    return await asked(visit)


async def _tables(visit: Visit, refusal: str = "", hostname: str = "") -> Response:
    live = await visit.live()
    rows = certificate_rows(live, visit.naming, visit.appliance.clock())
    managed = await visit.appliance.call(visit.appliance.lets_encrypt.managed)
    own = {visit.naming.handle(each.fingerprint) for each in managed} if managed else set()
    size = visit.appliance.release.traits.page_size
    others = [each for each in rows if each.handle not in own]
    return visit.page(
        "certificates.html",
        _ACTIVE,
        refusal=refusal,
        managed=[each for each in rows if each.handle in own],
        certificates=portion(others, size, visit.asked("page")),
        requests=portion(request_rows(live, visit.naming), size, visit.asked("request_page")),
        key_types=tuple(KEY_TYPES),
        hostname=hostname,
    )


def _certificates(live: LiveStore) -> list[str]:
    return [each.fingerprint for each in live.certificates]


def _requests(live: LiveStore) -> list[str]:
    return [each.fingerprint for each in live.requests]


async def _chosen(visit: Visit, name: str, identities: Callable[[LiveStore], list[str]]) -> list[str] | None:
    """What was chosen, or None where something of it is no longer there."""
    known = identities(await visit.live())
    chosen = [visit.naming.resolve(each, known) for each in visit.texts(name)]
    there = [each for each in chosen if each is not None]
    return there if len(there) == len(chosen) else None


async def _save_default(visit: Visit) -> Response:
    chosen = await _chosen(visit, "default", _certificates)
    if not chosen:
        return await _tables(visit, _NO_DEFAULT if chosen is not None else _GONE)
    try:
        await visit.appliance.call(visit.appliance.store.set_default, chosen[0])
    except ActionRefused as error:
        return await _tables(visit, sentences(error))
    return visit.leave_for(_ACTIVE, done="The default certificate was saved.")


async def _act_on_certificates(visit: Visit) -> Response:
    values = visit.appliance.release.values
    action, chosen = visit.text("action"), await _chosen(visit, "row", _certificates)
    if action not in (values["export"], values["remove"]):
        return await _tables(visit, _NO_ACTION)
    if not chosen:
        return await _tables(visit, _NOTHING if chosen is not None else _GONE)
    if action == values["remove"]:
        return await _remove(visit, chosen, confirmed=not visit.appliance.release.traits.removal_is_confirmed)
    if len(chosen) > 1:
        return await _tables(visit, _ONE)
    query = f"?{visit.appliance.release.fields['id']}={quote(visit.naming.handle(chosen[0]))}"
    return visit.leave_for("export", query=query)


async def _remove(visit: Visit, chosen: list[str] | None, *, confirmed: bool = True) -> Response:
    if not chosen:
        return await _tables(visit, _GONE)
    live = await visit.live()
    if not confirmed:
        rows = certificate_rows(live, visit.naming, visit.appliance.clock())
        handles = {visit.naming.handle(each) for each in chosen}
        shown = [(each.handle, each.friendly_name) for each in rows if each.handle in handles]
        return visit.page(
            "confirm.html", _ACTIVE, chosen=shown, row="row", button="remove_confirmed", what="certificate"
        )
    try:
        for each in chosen:
            await visit.appliance.call(visit.appliance.store.remove, each)
    except ActionRefused as error:
        return await _tables(visit, sentences(error))
    return visit.leave_for(_ACTIVE, done=f"{_count(chosen, 'certificate')} removed.")


async def _remove_confirmed(visit: Visit) -> Response:
    return await _remove(visit, await _chosen(visit, "row", _certificates))


async def _act_on_requests(visit: Visit) -> Response:
    values, chosen = visit.appliance.release.values, await _chosen(visit, "request_row", _requests)
    if not visit.appliance.release.traits.removes_requests or visit.text("request_action") != values["remove_request"]:
        return await _tables(visit, _NO_ACTION)
    if not chosen:
        return await _tables(visit, _NOTHING if chosen is not None else _GONE)
    if visit.appliance.release.traits.removal_is_confirmed:
        rows = request_rows(await visit.live(), visit.naming)
        handles = {visit.naming.handle(each) for each in chosen}
        shown = [(each.handle, each.subject) for each in rows if each.handle in handles]
        return visit.page(
            "confirm.html",
            _ACTIVE,
            chosen=shown,
            row="request_row",
            button="request_remove_confirmed",
            what="certificate request",
        )
    return await _remove_requests(visit, chosen)


async def _remove_requests(visit: Visit, chosen: list[str] | None) -> Response:
    if not chosen or not visit.appliance.release.traits.removes_requests:
        return await _tables(visit, _GONE)
    try:
        for each in chosen:
            await visit.appliance.call(visit.appliance.store.remove_request, each)
    except ActionRefused as error:
        return await _tables(visit, sentences(error))
    return visit.leave_for(_ACTIVE, done=f"{_count(chosen, 'certificate request')} removed.")


async def _remove_requests_confirmed(visit: Visit) -> Response:
    return await _remove_requests(visit, await _chosen(visit, "request_row", _requests))


def _count(chosen: list[str], what: str) -> str:
    return f"1 {what} was" if len(chosen) == 1 else f"{len(chosen)} {what}s were"


async def _request_certificate(visit: Visit) -> Response:
    """Let's Encrypt: a certificate that the appliance gets and renews by itself."""
    hostname, key_kind = visit.text("hostname"), KEY_TYPES.get(visit.text("key_type"))
    if not visit.appliance.release.traits.lets_encrypt or key_kind is None:
        return await _tables(visit, "Choose a key type first.", hostname)
    try:
        name = parse_name(hostname)
    except ValueError:
        name = None
    if name is None or name.type is not NameType.DNS or name.value.startswith("*."):
        return await _tables(visit, "The hostname is not one that a certificate can be requested for.", hostname)
    try:
        await visit.appliance.call(visit.appliance.lets_encrypt.request, name.value, key_kind)
    except ActionRefused as error:
        return await _tables(visit, sentences(error), hostname)
    return visit.leave_for(_ACTIVE, done=f"A certificate for {name.value} was requested and installed.")


_BUTTONS: dict[str, Page] = {
    "save_default": _save_default,
    "apply": _act_on_certificates,
    "request_apply": _act_on_requests,
    "remove_confirmed": _remove_confirmed,
    "request_remove_confirmed": _remove_requests_confirmed,
    "request_certificate": _request_certificate,
}
"""What each button asks for."""


async def request_details(visit: Visit) -> Response:
    """A pending request with the data to send to a certificate authority."""
    live = await visit.live()
    wanted = visit.naming.resolve(visit.asked("id"), _requests(live))
    request = next((each for each in live.requests if each.fingerprint == wanted), None)
    if request is None:
        return visit.leave_for(_ACTIVE, refused=_GONE)
    return visit.page(
        "request.html",
        _ACTIVE,
        subject=[f"{key}={text}" for key, text in request.subject.attributes],
        public_key=key_in_words(request.key_kind),
        names=shown_names(request.subject_alternative_names),
        request_data=request.request_data,
    )
