"""What is good: sound in itself, in this store, for these clients, at this instant; and covering the name.

A certificate is *sound* when it is inside its validity, has its key in the store, its chain is complete to a root in
the store, and that root is trusted by every software build that clients may be running. It is *good* for a name when
it is sound and covers it (RFC 9525).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from reconciler.base.text import instant
from reconciler.pki.chain import ChainBuilder
from reconciler.pki.names import covers
from reconciler.plan.model import Reason

if TYPE_CHECKING:
    import datetime as dt

    from reconciler.desired.state import Build, Clients
    from reconciler.pki.certificate import Certificate
    from reconciler.pki.chain import Chain
    from reconciler.plan.world import Entry, World


class Chains:
    """Chains of certificates over the stores of a fleet: equal sets of authorities are climbed once."""

    def __init__(self) -> None:
        self._builders: dict[frozenset[Certificate], ChainBuilder] = {}

    def of(self, certificate: Certificate, authorities: frozenset[Certificate]) -> tuple[Chain, ...]:
        """Every way up from a certificate, complete ones first."""
        builder = self._builders.get(authorities)
        if builder is None:
            builder = self._builders[authorities] = ChainBuilder(sorted(authorities, key=lambda each: each.fingerprint))
        return builder.chains(certificate)


class Judge:
    """Says what is good for one appliance's clients at one instant."""

    def __init__(
        self, clients: Clients, now: dt.datetime, chains: Chains, builds: tuple[Build, ...] | None = None
    ) -> None:
        self.clients = clients
        self.now = now
        self._chains = chains
        self._builds = clients.in_field(now) if builds is None else builds
        self._known: dict[tuple[str, bool, frozenset[Certificate]], Reason | None] = {}

    def at(self, instant: dt.datetime) -> Judge:
        """The same clients at another instant."""
        return Judge(self.clients, instant, self._chains)

    @cached_property
    def by_build(self) -> tuple[Judge, ...]:
        """Judges that each know the clients of one software build in the field; the same one where there is no choice.

        What is good for some clients only is not good, and is still all that these have.
        """
        if len(self._builds) < 2:  # noqa: PLR2004 - one has no choice
            return (self,)
        return tuple(Judge(self.clients, self.now, self._chains, (build,)) for build in self._builds)

    def roots(self, certificate: Certificate, authorities: frozenset[Certificate]) -> frozenset[tuple[bytes, str]]:
        """Subject (DER) and public key of the root of every complete way up from a certificate."""
        complete = (chain for chain in self._chains.of(certificate, authorities) if chain.complete)
        return frozenset((chain.top.subject.der, chain.top.public_key) for chain in complete)

    def why_unsound(self, entry: Entry, world: World) -> Reason | None:
        """What is wrong with a certificate whatever the name, or None if it is sound."""
        key = (entry.ref, entry.has_key, world.authorities)
        if key not in self._known:
            self._known[key] = self._soundness(entry, world)
        return self._known[key]

    def why_not_good(self, entry: Entry, name: str, world: World) -> Reason | None:
        """What is wrong with a certificate for a name, or None if it is good."""
        if not covers(entry.subject_alternative_names, name):
            return Reason(code="does-not-cover", sentence=f"does not cover {name}")
        return self.why_unsound(entry, world)

    def is_good(self, entry: Entry, name: str, world: World) -> bool:
        """Whether a certificate is good for a name."""
        return self.why_not_good(entry, name, world) is None

    def _soundness(self, entry: Entry, world: World) -> Reason | None:
        if not entry.has_key:
            return Reason(code="no-key", sentence="its key is not in the store")
        if self.now < entry.not_before:
            return Reason(code="not-yet-valid", sentence=f"not valid before {instant(entry.not_before)}")
        if self.now > entry.not_after:
            return Reason(code="expired", sentence=f"expired on {instant(entry.not_after)}")
        if entry.certificate is None:
            return _untrusted(self._builds[0], entry.label) if self._builds else None
        return self._chain_problem(self._chains.of(entry.certificate, world.authorities))

    def _chain_problem(self, chains: tuple[Chain, ...]) -> Reason | None:
        complete = [chain for chain in chains if chain.complete]
        if not complete:
            missing = chains[0].missing
            name = missing.display if missing else "its issuer"
            return Reason(code="chain-incomplete", sentence=f"its chain lacks {name}")
        if not any(chain.is_valid_at(self.now) for chain in complete):
            return Reason(code="chain-expired", sentence="a certificate of its chain is outside its validity")
        for build in self._builds:
            for chain in complete:
                if not self._meets(chain, build):
                    return _untrusted(build, chain.top.subject.display)
        return None

    def _meets(self, chain: Chain, build: Build) -> bool:
        """Whether a build finds a root that it contains in a chain, by subject and public key, over valid links.

        The met certificate itself may be outside its validity: the client uses the copy that was built in.
        """
        for certificate in chain.certificates:
            if (certificate.subject.der, certificate.public_key) in build.trusts:
                return True
            if not certificate.is_valid_at(self.now):
                return False
        return False


def _untrusted(build: Build, root: str) -> Reason:
    sentence = f"the software build of {instant(build.installed_at)} does not trust {root}"
    return Reason(code="untrusted-by-clients", sentence=sentence)
