"""What the loop knows of the fleet, in the vocabulary of GitOps: sync, health and conditions. Kept across restarts.

It is one document: the loop writes it, the endpoints show it, `reconciler status` reads it. It holds no key.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TypeAlias

from pydantic import AwareDatetime

from reconciler.engine.unattended import Mode
from reconciler.plan.model import PlanModel

FORMAT_VERSION = "1.1"


class Sync(StrEnum):
    """Whether an appliance holds what is declared."""

    SYNCED = "Synced"
    """Nothing is to be done, now or later."""
    OUT_OF_SYNC = "OutOfSync"
    """Something is to be done, or is held, waits for a CA, or is left to do by hand."""
    UNKNOWN = "Unknown"
    """It could not be observed, or errors keep it from being planned, or nobody has looked yet."""


class Health(StrEnum):
    """How an appliance fares; the worst of these that fits, in the order Suspended, Degraded, Progressing, Healthy."""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    """On the way: actions are ready and will be applied, or what is held or waits has a way to go on."""
    DEGRADED = "Degraded"
    """Somebody has to look: an error, a failed apply, an unreachable appliance, a name that is not served well."""
    SUSPENDED = "Suspended"
    """The operator has suspended it: it is observed, and nothing is applied to it."""


class ConditionType(StrEnum):
    """What a condition is about."""

    OBSERVED = "Observed"
    """Its store could be observed at the last look."""
    VALID = "Valid"
    """Nothing that is declared for it, or found on it, breaks a rule of severity error."""
    IN_SYNC = "InSync"
    """It holds what is declared."""
    APPLIED = "Applied"
    """What was last to be applied to it is done, and was verified."""
    SERVED = "Served"
    """Every protected name is served by good certificates alone."""
    RENEWED = "Renewed"
    """No certificate that is committed with its key, so that only a person can renew it, is due for renewal."""


class Truth(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(PlanModel):
    """One thing that holds or does not."""

    type: ConditionType
    """What it is about."""
    status: Truth
    """Whether it holds."""
    reason: str
    """Why, in one CamelCase word, for programs."""
    message: str = ""
    """Why, in one sentence, for people."""
    since: AwareDatetime
    """Since when its status has been this, UTC."""


class WatchedCertificate(PlanModel):
    """A certificate with its key on an appliance, the factory certificate apart."""

    label: str
    """As people know it: Friendly Name, or Issued To."""
    certificate: str | None = None
    """Name of the declared certificate that it is or was."""
    fingerprint: str
    """SHA-256."""
    expiration: AwareDatetime
    """Expiration, UTC."""
    renewal: AwareDatetime | None = None
    """When it is due for renewal, UTC; None where it is not a declared one."""
    default: bool = False
    """Default."""


class Upcoming(PlanModel):
    """Something that time will bring."""

    at: AwareDatetime
    """When, UTC."""
    what: str
    """What, for people."""


class LastApply(PlanModel):
    """The last apply that did something on an appliance."""

    at: AwareDatetime
    """When it ended, UTC."""
    journal: str
    """What `reconciler history --show` calls it."""
    outcome: str
    """How it ended on this appliance."""
    done: int
    """How many actions ran and were read back."""
    did: tuple[str, ...] = ()
    """What these did, for people, in order; of many the first ones."""
    message: str = ""
    """What went wrong, in one sentence, or empty."""


class WatchedAppliance(PlanModel):
    """One appliance."""

    name: str
    """Its name."""
    site: str | None = None
    """The site that it belongs to."""
    mode: Mode
    """What the loop may do with it."""
    suspended: str = ""
    """Why and until when it is suspended, for people; empty where it is not."""
    sync: Sync = Sync.UNKNOWN
    """Whether it holds what is declared."""
    health: Health = Health.PROGRESSING
    """How it fares."""
    conditions: tuple[Condition, ...] = ()
    """In the order of their types."""
    observed_at: AwareDatetime | None = None
    """When its store was last observed, UTC."""
    looked_at: AwareDatetime | None = None
    """When it was last tried to, UTC."""
    next_look: AwareDatetime | None = None
    """When it is looked at next, unless something happens before, UTC."""
    failures: int = 0
    """How many looks or applies in a row have failed."""
    ready: int = 0
    """How many actions could run now."""
    held: int = 0
    """How many are held."""
    waiting: int = 0
    """How many wait for a CA."""
    todo: tuple[str, ...] = ()
    """What could run now, for people, in order; of many the first ones."""
    errors: tuple[str, ...] = ()
    """Errors found, each with its place and what to do."""
    certificates: tuple[WatchedCertificate, ...] = ()
    """What it holds with a key, the soonest to expire first."""
    upcoming: tuple[Upcoming, ...] = ()
    """What time will bring, the soonest first."""
    last_apply: LastApply | None = None
    """The last apply that did something on it."""
    removals: tuple[AwareDatetime, ...] = ()
    """When the loop set out to remove certificates with a key from it in the last 24 hours: its ceiling counts them."""


class Removal(PlanModel):
    """A certificate or request that was about to be taken from a store with its key: a ceiling counts it for a while.

    It stays with the store, whatever the appliance is called and whether or not it is declared.
    """

    store: str
    """What tells the store from others: its driver and place."""
    fingerprint: str
    """SHA-256 of the certificate or request."""
    at: AwareDatetime
    """When, UTC."""


class Source(PlanModel):
    """Where the desired state comes from."""

    place: str
    """The folder, or remote and branch, as people name it."""
    revision: str | None = None
    """The commit in force; None for a folder."""
    digest: str = ""
    """SHA-256 of the tree in force; empty before there is one."""
    since: AwareDatetime | None = None
    """Since when it has been in force, UTC."""
    signed_by: tuple[str, ...] = ()
    """Who signed it, where that is demanded."""
    left: str | None = None
    """The commit that the branch was at before, if that is no ancestor of the one in force; None where it is."""
    refused: str | None = None
    """A newer commit, or digest of a folder, that is not in force since it is broken or not signed; None for none."""
    trouble: str = ""
    """Why it is not, or why the source gives nothing, in one CamelCase word; empty where all is well."""
    problem: str = ""
    """The same in one sentence, for people."""
    problem_since: AwareDatetime | None = None
    """Since when, UTC."""


class Watched(PlanModel):
    """The fleet as the loop knows it."""

    format_version: str = FORMAT_VERSION
    """Version of this format: a new minor one adds, a new major one breaks."""
    started_at: AwareDatetime
    """When the loop was started, UTC."""
    at: AwareDatetime
    """When this was last changed, UTC."""
    source: Source
    """Where the desired state comes from."""
    appliances: tuple[WatchedAppliance, ...] = ()
    """By name."""
    last_good: str | None = None
    """The commit that was in force last, also where nothing is now."""
    warnings: tuple[str, ...] = ()
    """What is odd about the operator settings beside the desired state, a sentence each."""
    removals: tuple[Removal, ...] = ()
    """What was removed with its key in the last 24 hours."""


def shown(known: Watched) -> Watched:
    """What may be said of the fleet: where nothing is in force nobody looks, and nothing is known of how it stands."""
    if known.source.digest:
        return known
    appliances = (
        each.model_copy(
            update={
                "sync": Sync.UNKNOWN,
                "health": Health.PROGRESSING,
                "suspended": "",
                "conditions": (),
                "looked_at": None,
                "next_look": None,
                "failures": 0,
                "ready": 0,
                "held": 0,
                "waiting": 0,
                "todo": (),
                "errors": (),
                "upcoming": (),
            }
        )
        for each in known.appliances
    )
    return known.model_copy(update={"appliances": tuple(appliances)})


class EventKind(StrEnum):
    """What an event is about."""

    SYNC = "sync"
    HEALTH = "health"
    CONDITION = "condition"
    SOURCE = "source"
    APPLY = "apply"


class Event(PlanModel):
    """One change of state, told once."""

    at: AwareDatetime
    """When, UTC."""
    kind: EventKind
    """What it is about."""
    appliance: str | None = None
    """The appliance; None for the source."""
    before: str = ""
    """What it was."""
    after: str
    """What it is now."""
    message: str = ""
    """Why, in one sentence."""


Teller: TypeAlias = Callable[[Event], None]
"""Tells somebody of an event. It returns at once, and raises nothing."""
