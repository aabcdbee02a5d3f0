"""Everything that planning one appliance looks at, gathered once."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.plan.model import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.base.position import Position
    from reconciler.desired.models import Appliance
    from reconciler.desired.state import Declared, DesiredState
    from reconciler.live.store import LiveStore
    from reconciler.pki.certificate import Certificate
    from reconciler.plan.goodness import Judge
    from reconciler.plan.matching import Classified, Target
    from reconciler.plan.requests import Standing
    from reconciler.plan.safety import ProtectedNames
    from reconciler.plan.supply import Supply
    from reconciler.plan.world import Entry, World


_URGENT = dt.timedelta(days=1)
"""What ends within this time waits for nobody."""


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
        removals_at_most: Certificates and requests with a key that this plan may remove.
        supplies: How the targets come to all appliances that should hold them, by certificate.
        standings: What each pending request is to us, by fingerprint.
        neighbours: The observed stores of the site's members, by name.
        left_out: The reachable members of the site that are not part of this plan.
        tells: The supplies of which this appliance tells what a person should know.
        elsewhere: Ids of the actions of other appliances that are ready.
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
    supplies: Mapping[str, Supply]
    standings: Mapping[str, Standing]
    neighbours: Mapping[str, LiveStore]
    left_out: frozenset[str]
    tells: tuple[Supply, ...]
    elsewhere: frozenset[str] = frozenset()

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

    def why_missing(self, target: Target) -> Reason:
        """Why a declared certificate that is not there has to come."""
        leaf = target.material.leaf
        if leaf and leaf.fingerprint in self.world.entries:
            return reason("key-missing", "it is there without its key")
        replaced = [each for each in self.world.entries.values() if each.has_key and target.shares_a_name_with(each)]
        if replaced:
            return reason("replaces", f"it takes the place of {replaced[0].label}")
        return reason("missing", "it is declared and not in the store")

    def target(self, certificate: str) -> Target:
        """A declared certificate of this appliance, by name."""
        return next(each for each in self.targets if each.name == certificate)

    def peers_first(self, target: Target, successor: Entry, replaced: Iterable[Entry]) -> tuple[str, ...]:
        """Ids of the actions that bring a certificate to the rest of the site, where those have to come first.

        They have to where its root is not that of what it replaces: then nobody goes on before all of the site that can
        be reached have it, unless what it replaces is about to end.

        Args:
            target: The declared certificate.
            successor: The certificate that counts as it.
            replaced: What it takes the place of, as far as it is here.
        """
        # What else is declared, and its chain, may be on its way too: the answer is the same before and after. What has
        # ended is trusted by nobody any more.
        others = {each.instance for each in self.targets if each.name != target.name}
        before = [
            each for each in replaced if each.ref not in {successor.ref, *others} and each.not_after > self.judge.now
        ]
        chains = frozenset(each for one in self.targets for each in one.material.chain if each.is_authority)
        authorities = self.world.authorities | chains
        roots = self._roots(successor, authorities)
        if not before or any(roots & self._roots(each, authorities) for each in before):
            return ()
        if min(each.not_after for each in before) <= self.judge.now + _URGENT:
            return ()
        site = self.state.members_with(self.name)
        arrivals = self.supplies[target.name].arrivals
        return tuple(
            arrivals[each]
            for each in site
            if each in arrivals and each != self.name and not self._retires(each, target)
        )

    def _retires(self, appliance: str, target: Target) -> bool:
        """Whether an appliance retires what counts as a declared certificate: then it never arrives there."""
        return any(each.sha256 == target.instance for each in self.state.appliances[appliance].model.retired)

    def _roots(self, entry: Entry, authorities: frozenset[Certificate]) -> frozenset[tuple[bytes, str]]:
        return self.judge.roots(entry.certificate, authorities) if entry.certificate else frozenset()

    def lacking_elsewhere(self, target: Target) -> tuple[str, ...]:
        """Ids of the actions that would bring a certificate to members of the site which this plan leaves out.

        Without them an action here would make the members differ, which may not be.
        """
        arrivals = self.supplies[target.name].arrivals
        return tuple(arrivals[each] for each in sorted(self.left_out) if each in arrivals)

    def new_ref(self, certificate: str) -> str:
        """What a certificate is called until it exists."""
        return f"new:{certificate}@{self.name}"

    def action_id(self, kind: str, what: str) -> str:
        """The id of an action on this appliance; a fingerprint is shortened."""
        return action_id(self.name, kind, what)

    def where_listed(self, certificate: str) -> Position:
        """Where this appliance, or else its site, lists a certificate."""
        return where_listed(self.state, self.name, certificate)


def action_id(appliance: str, kind: str, what: str) -> str:
    """The id of an action; a fingerprint is shortened."""
    return f"{appliance}/{kind}/{what[:16] if len(what) == 64 else what}"  # noqa: PLR2004 - SHA-256 in hex


def appliance_of(action: str) -> str:
    """The appliance of an action, by the action's id."""
    return action.partition("/")[0]


def where_listed(state: DesiredState, appliance: str, certificate: str) -> Position:
    """Where an appliance, or else its site, lists a certificate."""
    declared, site = state.appliances[appliance], state.site_of(appliance)
    own = declared.model.certificates
    if certificate in own:
        return declared.position("certificates", own.index(certificate))
    if site and certificate in site.model.certificates:
        return site.position("certificates", site.model.certificates.index(certificate))
    return declared.position()


def source(position: Position) -> str:
    """`file:line`, as actions carry it."""
    return f"{position.file}:{position.line}"


def reason(code: str, sentence: str) -> Reason:
    """A reason in code and words."""
    return Reason(code=code, sentence=sentence)
