"""Pending certificate requests: which declared certificate each of them would bring, and what it is to us."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.live.store import PendingRequest
    from reconciler.plan.matching import Target


class RequestClass(StrEnum):
    """What a pending request is to us: the first of these that fits."""

    RETIRED = "retired"
    """Its fingerprint is listed under the appliance's `retired`."""
    AWAITED = "awaited"
    """A declared certificate waits for the CA's answer to it."""
    ANSWERED = "answered"
    """The committed answer of a declared certificate has its key."""
    SPARE = "spare"
    """It would fit a declared certificate, which does not wait for it."""
    UNDECLARED = "undeclared"
    """It fits nothing that is declared."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What one pending request is to us.

    Attributes:
        kind: Its class.
        certificate: Name of the declared certificate that it fits; None where it fits none.
    """

    kind: RequestClass
    certificate: str | None = None


def fits(request: PendingRequest, target: Target) -> bool:
    """Whether an answer to a request would be what is declared: subject, set of names and kind of key."""
    return (
        request.key_kind == target.model.key
        and frozenset(request.subject_alternative_names) == frozenset(target.names)
        and frozenset(request.subject.attributes) == frozenset(target.model.subject.distinguished_name.attributes)
    )


def standings(
    requests: Iterable[PendingRequest],
    targets: Collection[Target],
    awaited: Mapping[str, str],
    retired: Collection[str],
) -> Mapping[str, Standing]:
    """What each pending request of a store is to us, by its fingerprint.

    Args:
        requests: The pending requests.
        targets: The certificates that are declared anywhere on the site, since a request may have moved with a primary.
        awaited: Names of the declared certificates that wait for an answer, by the request's fingerprint.
        retired: Fingerprints that the appliance retires.
    """
    return {each.fingerprint: _standing(each, targets, awaited, retired) for each in requests}


def _standing(
    request: PendingRequest, targets: Collection[Target], awaited: Mapping[str, str], retired: Collection[str]
) -> Standing:
    if request.fingerprint in retired:
        return Standing(RequestClass.RETIRED)
    if request.fingerprint in awaited:
        return Standing(RequestClass.AWAITED, awaited[request.fingerprint])
    for target in targets:
        if target.material.leaf and target.material.leaf.public_key == request.public_key:
            return Standing(RequestClass.ANSWERED, target.name)
    for target in targets:
        if target.is_requested and fits(request, target):
            return Standing(RequestClass.SPARE, target.name)
    return Standing(RequestClass.UNDECLARED)
