"""What was reviewed, as one number: SHA-256 over canonical JSON of stores, actions, preconditions and served names.

Commit ids, times, line numbers and sentences are left out, so that a merge or squash of the reviewed tree keeps the
digest, and so does looking again a minute later.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.plan.model import Action, AppliancePlan, Candidate

_VOLATILE = {"reason", "hold", "source", "label"}


def digest(appliances: Iterable[AppliancePlan]) -> str:
    """The digest of the appliances' parts of a plan, lower-case hex."""
    content = [
        {
            "name": each.name,
            "store": each.store,
            "progress": each.progress.value,
            "follows": each.follows,
            "actions": [substance(action) for action in each.actions],
            "serving": [[row.name, _served(row.before), _served(row.after)] for row in each.serving],
        }
        for each in appliances
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def substance(action: Action) -> dict[str, object]:
    """What of an action was reviewed: everything but its sentences and where it is declared."""
    return action.model_dump(mode="json", exclude=_VOLATILE)


def _served(candidates: tuple[Candidate, ...]) -> list[tuple[str, bool]]:
    return [(each.certificate, each.good) for each in candidates]
