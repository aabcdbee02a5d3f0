"""One action on one store: which operation of the driver it is, and what it is called while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from anyio import to_thread

from reconciler.live.driver import CertificateForm, ExistingKey, NewKey
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.names import parse_name
from reconciler.plan.model import (
    Action,
    CreateRequest,
    CreateSelfSigned,
    Import,
    Remove,
    RemoveRequest,
    SetDefault,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.apply.loans import Lent
    from reconciler.apply.uploads import Uploads
    from reconciler.live.driver import Driver


async def perform(
    action: Action, driver: Driver, uploads: Uploads, lent: Lent | None, bound: Mapping[str, str]
) -> None:
    """Carry one action out.

    Args:
        action: The action.
        driver: The store.
        uploads: Makes what an import uploads.
        lent: What a peer has lent for it, if anything.
        bound: Fingerprints of what came into being in this apply, by what the plan calls it.

    Raises:
        ReconcilerError: It was refused, or what came of it is not known.
    """
    match action:
        case CreateSelfSigned():
            await driver.create_self_signed(_form(action, NewKey(action.key)), action.valid_for)
        case CreateRequest():
            key = ExistingKey(action.public_key) if action.public_key else NewKey(action.key)
            await driver.create_request(_form(action, key))
        case RemoveRequest():
            await driver.remove_request(action.fingerprint)
        case Import():
            await driver.import_(await to_thread.run_sync(uploads.upload, action, lent))
        case SetDefault():
            await driver.set_default(bound.get(action.target, action.target))
        case Remove():
            await driver.remove(action.fingerprint)
        case _:
            assert_never(action)


def _form(action: CreateSelfSigned | CreateRequest, key: NewKey | ExistingKey) -> CertificateForm:
    names = tuple(parse_name(each) for each in action.subject_alternative_names)
    return CertificateForm(action.friendly_name, key, distinguished_name(list(action.subject)), names)


def describe(action: Action) -> str:
    """An action in a few words, for progress."""
    match action:
        case CreateSelfSigned():
            return f"create {action.label}"
        case CreateRequest():
            return f"request {action.label}"
        case RemoveRequest():
            return f"withdraw the request for {action.label}"
        case Import():
            return f"import {action.label}"
        case SetDefault():
            return f"make {action.label} the default"
        case Remove():
            return f"remove {action.label}"
        case _:
            assert_never(action)
