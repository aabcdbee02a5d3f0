"""How a declared certificate comes to the appliances that should hold it, where its key is made on one of them.

This is the design's table of requested certificates, and its counterpart for self-signed ones: asked once for all
appliances that hold the same certificate, since the key lies on some of them and the others get a copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.desired.models import Provided, SelfSigned
from reconciler.live.store import Operation
from reconciler.plan.model import Loan, Reason
from reconciler.plan.requests import fits
from reconciler.plan.scene import action_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.live.store import LiveCertificate, LiveStore, PendingRequest
    from reconciler.pki.certificate import Certificate
    from reconciler.plan.matching import Target


@dataclass(frozen=True, slots=True)
class Copy:
    """How one appliance gets a certificate that it lacks.

    Attributes:
        ref: SHA-256 of the certificate, or `new:...` where another appliance is still to make it.
        certificate: The certificate, or None where it does not exist yet.
        loan: Where its key is copied from; None where it is in the appliance's own store.
        after: Id of the action on the lender that must have run before; None where the key can be copied now.
        by_hand: Whether the lender's interface does not export, so that a person has to.
    """

    ref: str
    certificate: Certificate | None
    loan: Loan | None = None
    after: str | None = None
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Making:
    """What one appliance is to make: a self-signed certificate, or a request.

    Attributes:
        appliance: Where.
        why: Why, or None where there has been none so far.
        public_key: Identity of the key that a request uses again; None for a new key.
        after: Ids of the actions that bring that key, or use up a request that has it already.
        unless: That request, where it is on the same appliance: if nothing uses it up, its answer is waited for.
    """

    appliance: str
    why: Reason | None = None
    public_key: str | None = None
    after: tuple[str, ...] = ()
    unless: PendingRequest | None = None


@dataclass(frozen=True, slots=True)
class Awaited:
    """A request that a declared certificate waits for the answer to.

    Attributes:
        appliance: Where it is pending.
        request: The request.
        why: Why the certificate is renewed, or None where there has been none so far.
    """

    appliance: str
    request: PendingRequest
    why: Reason | None = None


@dataclass(frozen=True)
class Supply:
    """What is to happen with one declared certificate, over all appliances that should hold it.

    Attributes:
        target: The certificate.
        holders: The appliances that should hold it; where its key is made, if anywhere, comes first.
        unreachable: Those of them that could not be observed.
        live: Those of them that hold it with its key.
        copies: How those that lack it get it.
        making: What is to be made, and where.
        awaited: The request whose answer it waits for.
        key_missing: Whether the key of the committed answer is on no appliance that could be observed.
        differs: Whether the committed answer is on no appliance, and is not what is declared.
        maker_unreachable: Whether something should be made on the first of the holders, which could not be observed.
    """

    target: Target
    holders: tuple[str, ...]
    unreachable: tuple[str, ...] = ()
    live: tuple[str, ...] = ()
    copies: Mapping[str, Copy] = field(default_factory=dict)
    making: Making | None = None
    awaited: Awaited | None = None
    key_missing: bool = False
    differs: bool = False
    maker_unreachable: bool = False

    @property
    def lacking(self) -> tuple[str, ...]:
        """The reachable appliances on which it is missing."""
        return tuple(each for each in self.holders if each not in self.live and each not in self.unreachable)

    @property
    def arrivals(self) -> Mapping[str, str]:
        """The actions by which it arrives where it is to arrive, by appliance."""
        name = self.target.name
        provided = isinstance(self.target.model.source, Provided)
        found = {each: action_id(each, "import", name) for each in (self.lacking if provided else self.copies)}
        if self.making and isinstance(self.target.model.source, SelfSigned):
            found[self.making.appliance] = action_id(self.making.appliance, "create", name)
        return found


def supply_of(
    target: Target,
    holders: tuple[str, ...],
    stores: Mapping[str, LiveStore],
    *,
    stopped: bool = False,
    unfit: Collection[str] = (),
    retiring: Collection[str] = (),
) -> Supply:
    """Decide about one certificate.

    Args:
        target: The certificate.
        holders: The appliances that should hold it; where its key is made, if anywhere, comes first.
        stores: The observed stores; those of other appliances are passed over.
        stopped: Whether an error keeps the committed answer from being imported.
        unfit: Fingerprints of requests whose answer it does not wait for.
        retiring: The appliances that retire the committed answer: it is not imported there.
    """
    seen = {name: stores[name] for name in holders if name in stores}
    live = tuple(name for name, store in seen.items() if _row(store, target.instance))
    found = Supply(target, holders, tuple(name for name in holders if name not in stores), live)
    match target.model.source:
        case SelfSigned():
            return _self_signed(found, seen)
        case Provided():
            return found
        case _:
            pending = [each for each in _pending(seen) if each[1].fingerprint not in unfit and fits(each[1], target)]
            return _requested(found, seen, pending, stopped=stopped, retiring=retiring)


def _self_signed(found: Supply, seen: Mapping[str, LiveStore]) -> Supply:
    target, maker = found.target, found.holders[0]
    if target.instance and not target.due:
        row = next(row for store in seen.values() if (row := _row(store, target.instance)))
        return replace(found, copies=_copies(found, row.certificate, seen))
    if maker not in seen:
        return replace(found, maker_unreachable=True)
    new, after = f"new:{target.name}@{maker}", action_id(maker, "create", target.name)
    loan, by_hand = Loan(appliance=maker, certificate=new), Operation.EXPORT not in seen[maker].offers
    copies = {name: Copy(new, None, loan, after, by_hand) for name in seen if name != maker}
    return replace(found, copies=copies, making=Making(maker, target.due))


def _requested(
    found: Supply,
    seen: Mapping[str, LiveStore],
    pending: list[tuple[str, PendingRequest]],
    *,
    stopped: bool,
    retiring: Collection[str],
) -> Supply:
    target, leaf = found.target, found.target.material.leaf
    if leaf is None:
        return _asked(found, seen, pending)
    if not found.live and target.differs:
        return replace(found, differs=True)
    copies = _copies(found, leaf, seen)
    if not found.live and not copies:
        return replace(found, key_missing=True)
    coming = {name: each for name, each in copies.items() if not stopped and not _is_barred(name, each, retiring)}
    found = replace(found, copies=coming)
    if not target.due:
        return found
    renewed = _with_the_same_key(found, leaf, seen, pending) if target.keeps_key else None
    return renewed or _asked(found, seen, [each for each in pending if each[1].public_key != leaf.public_key])


def _asked(found: Supply, seen: Mapping[str, LiveStore], fitting: list[tuple[str, PendingRequest]]) -> Supply:
    """Wait for the answer to a request that fits, or have one made for a new key."""
    if fitting:
        return replace(found, awaited=Awaited(*fitting[0], found.target.due))
    maker = found.holders[0]
    if maker not in seen:
        return replace(found, maker_unreachable=True)
    return replace(found, making=Making(maker, found.target.due))


def _with_the_same_key(
    found: Supply, leaf: Certificate, seen: Mapping[str, LiveStore], pending: list[tuple[str, PendingRequest]]
) -> Supply | None:
    """Wait or ask with the key of the committed answer; None where it only waits in a request that does not fit."""
    due, key = found.target.due, leaf.public_key
    asking = [(name, request) for name, request in pending if request.public_key == key]
    holders = [name for name, store in seen.items() if _with_key(store, key)]
    for name, request in asking:
        # Where a person has to import the answer, nobody knows when that will use the request up.
        by_hand = name in holders and Operation.IMPORT not in seen[name].offers
        if by_hand or name not in found.copies:
            return replace(found, awaited=Awaited(name, request, due))
    with_own = [name for name, each in found.copies.items() if each.loan is None]
    askers = [name for name, _ in asking]
    first = askers or holders or with_own

    def preference(name: str) -> tuple[bool, bool]:
        """Where it can be made at all, at best at once; and where it cannot, at a place that stays the same."""
        offered = Operation.CREATE_REQUEST in seen[name].offers
        return not offered, offered and name not in first

    maker = min((name for name in seen if name in holders or name in found.copies), key=preference, default=None)
    if maker is None:
        return None
    # Importing the answer uses a request up that has its key, and only then is another made; where the import is held,
    # the request is still there, and another one would be one too many.
    importers = [maker] if maker in askers else [*askers[:1], *([] if maker in holders else [maker])]
    after = tuple(action_id(each, "import", found.target.name) for each in importers)
    unless = next((request for name, request in asking if name == maker), None)
    return replace(found, making=Making(maker, due, key, after, unless))


def _copies(found: Supply, certificate: Certificate, seen: Mapping[str, LiveStore]) -> dict[str, Copy]:
    """How each appliance that lacks a certificate gets it; those that cannot are left out."""
    key, name = certificate.public_key, found.target.name
    ref = certificate.fingerprint
    with_key = [each for each in found.lacking if _with_key(seen[each], key) or _asks_with(seen[each], key)]
    own = with_key if found.target.is_requested else []  # only what is committed can be uploaded without its key
    copies = {each: Copy(ref, certificate) for each in own}
    lenders: list[tuple[str, str, str | None]] = [
        (each, row.fingerprint, None) for each in found.holders if each in seen and (row := _with_key(seen[each], key))
    ]
    lenders += [(each, ref, action_id(each, "import", name)) for each in own]
    # One that holds the very certificate is asked first, then one whose interface exports at all.
    lenders.sort(key=lambda each: (each[2] is not None, each[1] != ref, Operation.EXPORT not in seen[each[0]].offers))
    if not lenders:
        return copies
    lender, exported, after = lenders[0]
    loan, by_hand = Loan(appliance=lender, certificate=exported), Operation.EXPORT not in seen[lender].offers
    borrowing = (each for each in found.lacking if each not in own)
    return copies | {each: Copy(ref, certificate, loan, after, by_hand) for each in borrowing}


def _is_barred(appliance: str, copy: Copy, retiring: Collection[str]) -> bool:
    """Whether it is retired there, or where it would have to come first."""
    return appliance in retiring or bool(copy.after and copy.loan and copy.loan.appliance in retiring)


def _row(store: LiveStore, fingerprint: str | None) -> LiveCertificate | None:
    """The row of a certificate that is there with its key."""
    row = store.by_fingerprint.get(fingerprint or "")
    return row if row and row.has_key else None


def _with_key(store: LiveStore, public_key: str) -> LiveCertificate | None:
    """A row whose key is the one asked for."""
    return next((row for row in store.certificates if row.has_key and row.certificate.public_key == public_key), None)


def _asks_with(store: LiveStore, public_key: str) -> bool:
    return any(each.public_key == public_key for each in store.requests)


def _pending(seen: Mapping[str, LiveStore]) -> Iterable[tuple[str, PendingRequest]]:
    return ((name, request) for name, store in seen.items() for request in store.requests)
