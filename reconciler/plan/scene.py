"""Everything that planning one appliance looks at, gathered once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.plan.model import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.base.position import Position
    from reconciler.desired.models import Appliance
    from reconciler.desired.state import Declared, DesiredState
    from reconciler.live.store import LiveStore
    from reconciler.plan.goodness import Judge
    from reconciler.plan.matching import Classified, Target
    from reconciler.plan.safety import ProtectedNames
    from reconciler.plan.world import World


@dataclass(frozen=True)
class Scene:
    """One appliance, what is declared for it, what it holds, and when.

    Attributes:
        state: The desired state of the fleet.
        declared: The appliance as declared.
        store: What was observed.
        world: The same as an imagined store.
        targets: The certificates declared for it.
        stopped: Names of declared certificates that an error stops.
        classes: The class of each live certificate, by fingerprint.
        protected: What must stay served.
        judge: Says what is good.
        removals_at_most: Certificates with a key that this plan may remove.
    """

    state: DesiredState
    declared: Declared[Appliance]
    store: LiveStore
    world: World
    targets: tuple[Target, ...]
    stopped: frozenset[str]
    classes: Mapping[str, Classified]
    protected: ProtectedNames
    judge: Judge
    removals_at_most: int

    @property
    def name(self) -> str:
        """The appliance's name."""
        return self.declared.name

    @property
    def retired(self) -> Mapping[str, int]:
        """Fingerprints that are retired, with their index in the list."""
        return {each.sha256: index for index, each in enumerate(self.declared.model.retired)}

    @property
    def keeps_undeclared(self) -> bool:
        """Whether certificates that nothing declares are left alone."""
        return self.declared.model.undeclared == "keep"

    def new_ref(self, certificate: str) -> str:
        """What a certificate is called until it exists."""
        return f"new:{certificate}@{self.name}"

    def action_id(self, kind: str, what: str) -> str:
        """The id of an action on this appliance; a fingerprint is shortened."""
        return f"{self.name}/{kind}/{what[:16] if len(what) == 64 else what}"  # noqa: PLR2004 - SHA-256 in hex

    def where_listed(self, certificate: str) -> Position:
        """Where this appliance, or else its site, lists a certificate."""
        own = self.declared.model.certificates
        if certificate in own:
            return self.declared.position("certificates", own.index(certificate))
        site = self.state.site_of(self.name)
        if site and certificate in site.model.certificates:
            return site.position("certificates", site.model.certificates.index(certificate))
        return self.declared.position()


def source(position: Position) -> str:
    """`file:line`, as actions carry it."""
    return f"{position.file}:{position.line}"


def reason(code: str, sentence: str) -> Reason:
    """A reason in code and words."""
    return Reason(code=code, sentence=sentence)
