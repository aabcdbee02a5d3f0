"""Real handshakes after an apply: is each protected name served as the plan foretold?

A front end may need a moment until it serves what its store holds, so what differs is looked at again for a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import anyio

from reconciler.live.presented import Unseen, presented

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.plan.model import ServedName

LOOK_WITHIN = 5.0
"""How long one handshake may take, in seconds."""
PATIENCE = 5.0
"""How long a front end may take until it serves what its store holds, in seconds."""
_AGAIN_AFTER = 0.25
_AT_ONCE = 8
_SHORT = 12


class Served(StrEnum):
    """What a client that asks for a name gets."""

    AS_EXPECTED = "as expected"
    PREVIOUS = "the previous certificate"
    """One that might be served before and should not be any more."""
    ANOTHER = "another certificate"
    """One that should not have been served before nor after."""
    NO_CERTIFICATE = "no certificate"
    NOT_RESOLVING = "name not resolving"
    REFUSED = "refused"
    TIMED_OUT = "timed out"


_UNSEEN = {
    Unseen.UNRESOLVED: Served.NOT_RESOLVING,
    Unseen.UNREACHABLE: Served.REFUSED,
    Unseen.REFUSED: Served.REFUSED,
    Unseen.TIMED_OUT: Served.TIMED_OUT,
    Unseen.CLOSED: Served.NO_CERTIFICATE,
    Unseen.NO_TLS: Served.NO_CERTIFICATE,
    Unseen.NOT_UNDERSTOOD: Served.NO_CERTIFICATE,
}


@dataclass(frozen=True, slots=True)
class Verified:
    """What was seen for one name.

    Attributes:
        name: The server name; None for a client that sends none.
        served: What a client gets.
        fingerprint: SHA-256 of the certificate that was presented, or empty.
    """

    name: str | None
    served: Served
    fingerprint: str = ""

    @property
    def sentence(self) -> str:
        """What is wrong, for people; empty where all is as expected."""
        who = f"clients of {self.name}" if self.name else "clients that send no server name"
        match self.served:
            case Served.AS_EXPECTED:
                return ""
            case Served.PREVIOUS | Served.ANOTHER:
                return f"{who} are shown {self.served.value} ({self.fingerprint[:_SHORT]})"
            case _:
                return f"{who} are not answered: {self.served.value}"


async def verify(
    rows: Sequence[ServedName],
    bound: Mapping[str, str],
    address: tuple[str, int],
    *,
    patience: float = PATIENCE,
    within: float = LOOK_WITHIN,
) -> tuple[Verified, ...]:
    """Look at what is served for each name.

    Args:
        rows: The served names of the plan: what may be served before and after it.
        bound: Fingerprints of what came into being, by what the plan calls it.
        address: Where the appliance's TLS answers.
        patience: How long to look again at what is not as expected, in seconds.
        within: How long one handshake may take, in seconds.
    """
    until = anyio.current_time() + patience
    found: dict[int, Verified] = {}
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def look(index: int) -> None:
        async with limiter:
            found[index] = await _look(rows[index], bound, address, within)

    left = list(range(len(rows)))
    while left:
        async with anyio.create_task_group() as group:
            for index in left:
                group.start_soon(look, index)
        left = [index for index in left if found[index].served is not Served.AS_EXPECTED]
        if anyio.current_time() >= until:
            break
        if left:
            await anyio.sleep(_AGAIN_AFTER)
    return tuple(found[index] for index in range(len(rows)))


async def _look(row: ServedName, bound: Mapping[str, str], address: tuple[str, int], within: float) -> Verified:
    seen = await presented(address, row.name, within)
    after = {bound.get(each.certificate, each.certificate) for each in row.after}
    if isinstance(seen, Unseen):
        served = _UNSEEN[seen]
        # Nothing was to be served, and nothing is.
        is_foretold = served is Served.NO_CERTIFICATE and not after
        return Verified(row.name, Served.AS_EXPECTED if is_foretold else served)
    if seen.fingerprint in after:
        return Verified(row.name, Served.AS_EXPECTED, seen.fingerprint)
    before = {each.certificate for each in row.before}
    served = Served.PREVIOUS if seen.fingerprint in before else Served.ANOTHER
    return Verified(row.name, served, seen.fingerprint)
