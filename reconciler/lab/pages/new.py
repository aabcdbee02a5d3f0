"""Security :: Certificates :: New Certificate: a form that works without script and loses nothing of what was typed."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.base.errors import ActionRefused
from reconciler.lab.pages.visit import Visit, sentences
from reconciler.lab.views import NEW_KEYS, existing_keys
from reconciler.live.driver import CertificateForm, ExistingKey, NewKey
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.names import SubjectAlternativeName, parse_name

if TYPE_CHECKING:
    from starlette.responses import Response

    from reconciler.live.store import LiveStore

LIFETIME = dt.timedelta(days=365)
"""Of a self-signed certificate; the page has no field for it."""

_ACTIVE = "certificates"
_SUBJECT = {
    "country": "C",
    "state": "ST",
    "locality": "L",
    "organization": "O",
    "organizational_unit": "OU",
    "common_name": "CN",
}


@dataclass
class Typed:
    """What stands in the form.

    Attributes:
        text: The text fields, by their name in the guide's variant.
        key: The value of the chosen option of the *Key* dropdown.
        names: The list of subject alternative names.
        name: What is typed beside *Add*.
    """

    text: dict[str, str] = field(default_factory=lambda: dict.fromkeys(("friendly_name", *_SUBJECT), ""))
    key: str = ""
    names: list[str] = field(default_factory=list)
    name: str = ""


async def new_certificate(visit: Visit) -> Response:
    """The form, empty or as it was sent, or what one of its buttons asks for."""
    live = await visit.live()
    keys = _keys(visit, live)
    if visit.request.method != "POST":
        return _form(visit, Typed(key=next(iter(keys))), keys)
    typed = Typed(
        {name: visit.text(name) for name in ("friendly_name", *_SUBJECT)},
        visit.text("key"),
        visit.texts("names"),
        visit.text("name"),
    )
    if visit.sent("drop"):
        number = visit.text("drop")
        typed.names = [each for index, each in enumerate(typed.names) if str(index) != number]
        return _form(visit, typed, keys)
    if visit.sent("create_self_signed") or visit.sent("create_request"):
        return await _create(visit, typed, keys)
    return _add(visit, typed, keys)


def _keys(visit: Visit, live: LiveStore) -> dict[str, tuple[str, NewKey | ExistingKey]]:
    """The options of the *Key* dropdown by value: what is written, and what it means."""
    new = {visit.naming.handle(f"new:{kind}"): (text, NewKey(kind)) for kind, text in NEW_KEYS.items()}
    # One key may be offered under several names, and a value names one option.
    held = {
        visit.naming.handle(f"existing:{key}:{text}"): (text, ExistingKey(key)) for key, text in existing_keys(live)
    }
    return {**new, **held}


def _form(visit: Visit, typed: Typed, keys: dict[str, tuple[str, NewKey | ExistingKey]], refusal: str = "") -> Response:
    options = [(handle, text) for handle, (text, _) in keys.items()]
    self_signed = visit.appliance.platform != "cloud"
    return visit.page("new.html", _ACTIVE, refusal=refusal, typed=typed, keys=options, self_signed=self_signed)


def _add(visit: Visit, typed: Typed, keys: dict[str, tuple[str, NewKey | ExistingKey]]) -> Response:
    try:
        name = parse_name(typed.name).value
    except ValueError:
        told = f"“{typed.name}” is not a DNS name." if typed.name else "Type a subject alternative name first."
        return _form(visit, typed, keys, told)
    if name in typed.names:
        return _form(visit, typed, keys, f"“{name}” is in the list already.")
    typed.names.append(name)
    typed.name = ""
    return _form(visit, typed, keys)


async def _create(visit: Visit, typed: Typed, keys: dict[str, tuple[str, NewKey | ExistingKey]]) -> Response:
    self_signed = visit.sent("create_self_signed")
    if self_signed and visit.appliance.platform == "cloud":
        return _form(visit, typed, keys, "A cloud site cannot create self-signed certificates.")
    wrong = _mistakes(typed, keys)
    names = _parsed(typed.names)
    if wrong or names is None:
        return _form(visit, typed, keys, " ".join(wrong) or "The list holds what is not a DNS name.")
    subject = distinguished_name([(short, typed.text[name]) for name, short in _SUBJECT.items() if typed.text[name]])
    form = CertificateForm(typed.text["friendly_name"], keys[typed.key][1], subject, names)
    store = visit.appliance.store
    try:
        if self_signed:
            await visit.appliance.call(store.create_self_signed, form, LIFETIME)
        else:
            await visit.appliance.call(store.create_request, form)
    except ActionRefused as error:
        return _form(visit, typed, keys, sentences(error))
    what = "self-signed certificate" if self_signed else "certificate request"
    return visit.leave_for(_ACTIVE, done=f"The {what} was created.")


def _mistakes(typed: Typed, keys: dict[str, tuple[str, NewKey | ExistingKey]]) -> list[str]:
    told = []
    if not typed.text["friendly_name"]:
        told.append("Certificate Friendly Name is missing.")
    if not typed.text["common_name"]:
        told.append("Name (Common Name) is missing.")
    country = typed.text["country"]
    if country and not (len(country) == 2 and country.isascii() and country.isalpha()):  # noqa: PLR2004 - ISO 3166
        told.append("Country must be a code of two letters.")
    if typed.name:
        told.append(f"“{typed.name}” is not in the list of names yet: click Add, or clear the field.")
    if typed.key not in keys:
        told.append("The chosen key is no longer there: choose another one.")
    return told


def _parsed(names: list[str]) -> tuple[SubjectAlternativeName, ...] | None:
    try:
        return tuple(parse_name(each) for each in names)
    except ValueError:
        return None
