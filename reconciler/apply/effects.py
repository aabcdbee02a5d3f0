"""What an action expects of a store before it runs, and what shows afterwards that it has had its effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

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
    from collections.abc import Iterator, Mapping

    from reconciler.live.store import LiveStore

NEW = "new:"


def why_stale(action: Action, store: LiveStore, bound: Mapping[str, str]) -> str:
    """What moved since the plan was made, in one sentence, or an empty string.

    Args:
        action: The action that is about to run.
        store: The store as it is now.
        bound: The certificates that came into being in this apply, by what the plan calls them.
    """
    return next(_moved(action, store, bound), "")


def _moved(action: Action, store: LiveStore, bound: Mapping[str, str]) -> Iterator[str]:
    expects = action.expects
    for ref in expects.present:
        if not _keyed(store, ref, bound):
            yield f"{_short(ref)} is not in the store with its key"
    yield from (f"{_short(ref)} is in the store already" for ref in expects.absent if ref in store.by_fingerprint)
    for key in expects.keys:
        if not _holds_key(store, key):
            yield f"no certificate and no request in the store has the key {key[:16]}"
    pending = {each.fingerprint for each in store.requests}
    yield from (f"the request {each[:16]} is not pending" for each in expects.requests if each not in pending)
    if expects.default is not None and store.default != bound.get(expects.default, expects.default):
        yield f"the default is no longer {_short(expects.default)}"
    if isinstance(action, Remove) and action.fingerprint not in store.by_fingerprint:
        yield f"{_short(action.fingerprint)} is gone already"


def _keyed(store: LiveStore, ref: str, bound: Mapping[str, str]) -> bool:
    live = store.by_fingerprint.get(bound.get(ref, ref))
    return live is not None and live.has_key


def _holds_key(store: LiveStore, public_key: str) -> bool:
    certificates = (each.certificate.public_key for each in store.certificates if each.has_key)
    return public_key in {*certificates, *(each.public_key for each in store.requests)}


def has_happened(action: Action, before: LiveStore, after: LiveStore, bound: Mapping[str, str]) -> bool:
    """Whether the store shows the effect of an action."""
    match action:
        case Import():
            live = after.by_fingerprint.get(bound.get(action.fingerprint, action.fingerprint))
            return live is not None and (live.has_key or action.role == "chain")
        case SetDefault():
            return after.default == bound.get(action.target, action.target)
        case Remove():
            return action.fingerprint not in after.by_fingerprint
        case CreateSelfSigned():
            return len(created(action, before, after)) == 1
        case CreateRequest():
            return len(requested(action, before, after)) == 1
        case RemoveRequest():
            return all(each.fingerprint != action.fingerprint for each in after.requests)
        case _:
            assert_never(action)


def created(action: CreateSelfSigned, before: LiveStore, after: LiveStore) -> tuple[str, ...]:
    """Fingerprints of what appeared and is what the action asked for; exactly one where all went well."""
    return tuple(
        live.fingerprint
        for live in after.certificates
        if live.fingerprint not in before.by_fingerprint
        and live.has_key
        and live.certificate.is_self_issued
        and live.certificate.key_kind == action.key
        and {each.value for each in live.subject_alternative_names} == set(action.subject_alternative_names)
        and set(live.certificate.subject.attributes) == set(action.subject)
    )


def requested(action: CreateRequest, before: LiveStore, after: LiveStore) -> tuple[str, ...]:
    """Fingerprints of the requests that appeared and ask for what the action asked for."""
    known = {each.fingerprint for each in before.requests}
    return tuple(
        each.fingerprint
        for each in after.requests
        if each.fingerprint not in known
        and each.key_kind == action.key
        and action.public_key in {None, each.public_key}
        and {name.value for name in each.subject_alternative_names} == set(action.subject_alternative_names)
        and set(each.subject.attributes) == set(action.subject)
    )


def _short(ref: str) -> str:
    return ref if ref.startswith(NEW) else f"the certificate {ref[:16]}"
