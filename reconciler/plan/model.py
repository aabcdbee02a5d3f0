"""The plan as a document: what is shown, saved, reviewed and carried out. It holds no key and no passphrase.

`schemas/plan.schema.json` is generated from these models. Actions are a closed union, told apart by `kind`.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from reconciler.base.findings import Finding
from reconciler.base.references import Duration

FORMAT_VERSION = "1.1"


class PlanModel(BaseModel):
    """Base of everything in a plan: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class State(StrEnum):
    """Whether an action can run now."""

    READY = "ready"
    HELD = "held"
    """Not yet; `hold` says until when and what releases it."""
    WAITING = "waiting"
    """For a CA's answer, or for an appliance that may hold the key and cannot be reached."""
    BY_HAND = "by_hand"
    """The interface in front of us does not offer it."""


class Reason(PlanModel):
    """Why something is planned or held."""

    code: str
    """Kebab-case, for programs."""
    sentence: str
    """For people."""


class Hold(PlanModel):
    """What keeps an action from running."""

    reason: Reason
    """Why it is held."""
    until: dt.datetime | None = None
    """The instant at which it ends, where that is known."""


class Expectation(PlanModel):
    """What an action expects of the store at the moment it runs. Certificates are named by SHA-256 or `new:...`."""

    present: tuple[str, ...] = ()
    """Certificates that must be there with their key."""
    absent: tuple[str, ...] = ()
    """Certificates that must not be there."""
    default: str | None = None
    """The default certificate as it must be before; None where it does not matter."""
    keys: tuple[str, ...] = ()
    """SHA-256 of public keys whose private keys must be there, with a certificate or with a pending request."""
    requests: tuple[str, ...] = ()
    """SHA-256 of pending requests that must be there."""


class BaseAction(PlanModel):
    """What every action has."""

    id: str
    """Unique in the plan."""
    appliance: str
    """The appliance whose store it changes."""
    state: State = State.READY
    """Whether it can run now."""
    certificate: str | None = None
    """Name of the declared certificate that it serves."""
    label: str
    """The certificate as people know it: its friendly name or who it was issued to."""
    reason: Reason
    """Why it is planned."""
    hold: Hold | None = None
    """What holds it."""
    source: str | None = None
    """`file:line` of what declares it."""
    depends_on: tuple[str, ...] = ()
    """Ids of the actions that must have succeeded before."""
    expects: Expectation = Expectation()
    """What the store must look like when it runs."""


class CreateSelfSigned(BaseAction):
    """Create a self-signed certificate on the appliance."""

    kind: Literal["create_self_signed"] = "create_self_signed"
    new: str
    """What the certificate is called until it exists: `new:<certificate>@<appliance>`."""
    friendly_name: str
    """Its friendly name."""
    subject: tuple[tuple[str, str], ...]
    """Its subject as pairs of attribute and value."""
    subject_alternative_names: tuple[str, ...]
    """Its names, in order."""
    key: str
    """The kind of key."""
    valid_for: Duration
    """Its lifetime, where the interface can set it."""


class CreateRequest(BaseAction):
    """Create a certificate request on the appliance, to be sent to a CA."""

    kind: Literal["create_request"] = "create_request"
    friendly_name: str
    """What the certificate is to be called."""
    subject: tuple[tuple[str, str], ...]
    """The subject that is asked for, as pairs of attribute and value."""
    subject_alternative_names: tuple[str, ...]
    """The names that are asked for, in order."""
    key: str
    """The kind of key."""
    public_key: str | None
    """SHA-256 of the public key where the certificate keeps its key; None where a new key is made."""


class KeySource(StrEnum):
    """Where the private key of an imported certificate comes from."""

    NONE = "none"
    """It has none: it belongs to a chain."""
    COMMITTED = "committed"
    """It is committed, encrypted, and uploaded with the certificate."""
    STORE = "store"
    """It is in the store already, with a pending request or another certificate."""
    PEER = "peer"
    """It is exported from another appliance, and uploaded with the certificate."""


class Loan(PlanModel):
    """The appliance from which a key is copied."""

    appliance: str
    """The appliance that holds the key."""
    certificate: str
    """The certificate that is exported there with its key: SHA-256 or `new:...`."""


class Import(BaseAction):
    """Import a certificate: a leaf, or a certificate of its chain."""

    kind: Literal["import"] = "import"
    role: Literal["leaf", "chain"]
    """A leaf has its key afterwards; a chain certificate has none."""
    fingerprint: str
    """SHA-256 of the certificate, `new:...` where a peer is still to make it, or `answer:...` where a CA is."""
    public_key: str | None
    """SHA-256 of its public key; None where the certificate does not exist yet."""
    friendly_name: str
    """Its friendly name, where the interface lets one choose."""
    key_source: KeySource
    """Where its private key comes from."""
    loan: Loan | None = None
    """The appliance from which its key is copied, where `key_source` is `peer`."""


class SetDefault(BaseAction):
    """Make a certificate the default."""

    kind: Literal["set_default"] = "set_default"
    target: str
    """The new default: SHA-256 or `new:...`."""
    replaces: str | None
    """SHA-256 of the default before, or None where there was none."""


class Remove(BaseAction):
    """Remove a certificate, and its key with it."""

    kind: Literal["remove"] = "remove"
    fingerprint: str
    """SHA-256 of the certificate."""
    has_key: bool
    """Whether a key goes with it."""


class RemoveRequest(BaseAction):
    """Withdraw a pending certificate request, and its key with it."""

    kind: Literal["remove_request"] = "remove_request"
    fingerprint: str
    """SHA-256 of the request."""


Action: TypeAlias = Annotated[
    CreateSelfSigned | CreateRequest | Import | SetDefault | Remove | RemoveRequest, Field(discriminator="kind")
]


class Candidate(PlanModel):
    """A certificate that may be served for a name."""

    certificate: str
    """SHA-256 or `new:...`."""
    label: str
    """As people know it."""
    good: bool
    """Whether it is good for the name."""
    why_not: str = ""
    """What is wrong with it for this name, if it is not good."""


class Flag(StrEnum):
    """What a reviewer should look at in a row of served names."""

    CHANGED = "changed"
    NOT_ALL_GOOD = "not-all-good"
    """Not every candidate afterwards is good."""
    DEFAULT_ONLY = "default-only"
    """No certificate matches the name afterwards: only the default is left."""
    UNSERVED = "unserved"
    """Nothing at all is served afterwards."""


class ServedName(PlanModel):
    """One row of the served-names table."""

    name: str | None
    """The protected name; None for a client that sends no server name."""
    before: tuple[Candidate, ...]
    """What may be served now."""
    after: tuple[Candidate, ...]
    """What may be served once every ready action has run."""
    flags: tuple[Flag, ...] = ()
    """What to look at."""


class Progress(StrEnum):
    """How far planning came with an appliance."""

    PLANNED = "planned"
    STOPPED = "stopped"
    """An error of form keeps its whole site from being planned."""
    UNREACHABLE = "unreachable"
    """Its store could not be observed."""


class AppliancePlan(PlanModel):
    """What happens on one appliance."""

    name: str
    """The appliance."""
    site: str | None = None
    """The site that it belongs to."""
    store: str = ""
    """The store that is meant: `directory` and its path, `web` and its address."""
    progress: Progress = Progress.PLANNED
    """Whether it could be planned."""
    follows: tuple[str, ...] = ()
    """Appliances whose actions come first, whether or not they succeed."""
    actions: tuple[Action, ...] = ()
    """In the order in which they run; held ones last."""
    serving: tuple[ServedName, ...] = ()
    """Which certificates may be served for each protected name."""
    findings: tuple[Finding, ...] = ()
    """What concerns this appliance's live state."""


class ByHand(PlanModel):
    """Something left for a person to do."""

    code: str
    """Kebab-case, for programs."""
    what: str
    """What to do, in one sentence."""
    where: str
    """The site or appliance."""


class Basis(PlanModel):
    """What the plan was made from."""

    revision: str | None = None
    """The git commit, or None for a work tree."""
    desired_digest: str
    """SHA-256 over the desired state's files."""
    live_digests: dict[str, str] = {}
    """SHA-256 over each observed store."""
    only: tuple[str, ...] | None = None
    """The appliances that were asked for; None for all."""
    allow_removals: int | None = None
    """The ceiling on removals that was allowed in place of the policy's."""
    replaced: tuple[str, ...] = ()
    """The appliances in whose place the operator settings put another store: a rehearsal."""


class Summary(PlanModel):
    """Counts of actions: ready ones by kind, then those that are not ready."""

    create: int = 0
    """Self-signed certificates and certificate requests to create."""
    import_: Annotated[int, Field(alias="import")] = 0
    """Certificates to import."""
    set_default: int = 0
    """Defaults to set."""
    remove: int = 0
    """Certificates to remove and requests to withdraw."""
    held: int = 0
    """Actions that are held, or by hand."""
    waiting: int = 0
    """Actions that wait for a CA's answer, or for an appliance that cannot be reached."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_by_name=True)

    @property
    def ready(self) -> int:
        """How many actions can run now."""
        return self.create + self.import_ + self.set_default + self.remove


class Plan(PlanModel):
    """Everything that would be done, and why."""

    format_version: str = FORMAT_VERSION
    """Version of this format: a new minor one adds, a new major one breaks."""
    made_at: dt.datetime
    """When it was made, UTC."""
    as_of: dt.datetime | None = None
    """The instant that it was planned for with `--at`; such a plan cannot be applied."""
    digest: str
    """SHA-256 over actions, preconditions and served names: what was reviewed."""
    basis: Basis
    """What it was made from."""
    appliances: tuple[AppliancePlan, ...]
    """By name."""
    findings: tuple[Finding, ...] = ()
    """What concerns the desired state, or no appliance in particular."""
    by_hand: tuple[ByHand, ...] = ()
    """What is left to do by hand."""
    summary: Summary
    """Counts."""
    checksum: str = ""
    """SHA-256 over the rest of a saved plan, as canonical JSON; empty where it was not saved."""

    @property
    def actions(self) -> tuple[Action, ...]:
        """All actions of all appliances."""
        return tuple(action for each in self.appliances for action in each.actions)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """All findings, of the desired state and of every appliance."""
        return (*self.findings, *(finding for each in self.appliances for finding in each.findings))
