"""The desired state as rules look at it, with what several of them ask. Rules are functions from `Facts` to findings.

Objects whose files are broken are absent from the state, and the loader has said so. Rules therefore pass over names
that lead nowhere, and over questions whose answer may lie in a broken file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, TypeAlias

from reconciler.base.findings import Finding, Kind, Severity
from reconciler.base.text import printable
from reconciler.desired.models import Appliance, Certificate, Provided, Requested, Site
from reconciler.desired.state import Declared, DesiredState, members
from reconciler.pki.chain import ChainBuilder
from reconciler.pki.names import covers, parse_name

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from reconciler.base.position import Position
    from reconciler.pki import certificate as pki
    from reconciler.pki.chain import Chain
    from reconciler.pki.names import SubjectAlternativeName

_LONGEST_QUOTE = 60

Place: TypeAlias = Declared[Site] | Declared[Appliance]
"""What lists certificates: a site, or an appliance with certificates of its own."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One certificate where a site or an appliance lists it.

    Attributes:
        place: What lists it.
        index: Its index in `certificates`.
        certificate: The certificate.
        appliances: The declared appliances that hold it because of this.
    """

    place: Place
    index: int
    certificate: Declared[Certificate]
    appliances: tuple[Declared[Appliance], ...]

    @property
    def position(self) -> Position:
        """Where it is listed."""
        return self.place.position("certificates", self.index)


@dataclass(frozen=True)
class Facts:
    """A desired state at an instant.

    Attributes:
        state: What is declared.
        now: The present instant, UTC.
    """

    state: DesiredState
    now: dt.datetime

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every site, then every appliance."""
        return (*self.state.sites.values(), *self.state.appliances.values())

    @cached_property
    def listings(self) -> tuple[Listing, ...]:
        """Every certificate wherever it is listed, each once per place."""
        return tuple(self._listings())

    def _listings(self) -> Iterator[Listing]:
        for place in self.places:
            names = members(place.model) if isinstance(place.model, Site) else (place.name,)
            appliances = tuple(self.state.appliances[name] for name in names if name in self.state.appliances)
            for index, name in enumerate(place.model.certificates):
                certificate = self.state.certificates.get(name)
                if certificate and name not in place.model.certificates[:index]:
                    yield Listing(place, index, certificate, appliances)

    @cached_property
    def site_is_broken(self) -> bool:
        """Whether the file of some site is broken, so that nobody knows which appliances belong to it."""
        return any(
            each.severity is Severity.ERROR
            and each.about is not None
            and each.about.kind is Kind.SITE
            and each.about.name not in self.state.sites
            for each in self.state.findings
        )

    def is_placed(self, appliance: Declared[Appliance]) -> bool:
        """Whether it is known which site an appliance belongs to, or that it belongs to none."""
        in_site = self.state.site_of(appliance.name) is not None
        return in_site or appliance.model.client_software is not None or not self.site_is_broken

    def is_settled(self, appliance: Declared[Appliance]) -> bool:
        """Whether it is known which certificates an appliance should hold, and all of them could be read."""
        return self.is_placed(appliance) and self.all_declared(self.state.certificates_of(appliance.name))

    def all_declared(self, certificates: tuple[str, ...]) -> bool:
        """Whether none of these certificates is missing or broken."""
        return all(name in self.state.certificates for name in certificates)

    def names(self, certificate: Declared[Certificate]) -> tuple[SubjectAlternativeName, ...]:
        """The names that clients will find in a certificate.

        For a provided one these are its own, since nobody will issue another. For a requested one these are the
        declared ones: where the committed answer differs, a new request is on its way.
        """
        leaf = self.leaf(certificate)
        if leaf and isinstance(certificate.model.source, Provided):
            return leaf.subject_alternative_names
        return declared_names(certificate)

    def covers(self, certificate: str, name: str) -> bool:
        """Whether a declared certificate will cover a host name; never where the certificate is absent."""
        declared = self.state.certificates.get(certificate)
        return declared is not None and covers(self.names(declared), name)

    def covered(self, certificates: tuple[str, ...], name: str) -> bool:
        """Whether one of these certificates will cover a host name."""
        return any(self.covers(each, name) for each in certificates)

    def leaf(self, certificate: Declared[Certificate]) -> pki.Certificate | None:
        """The committed certificate, where there is one that could be read."""
        material = self.state.material.get(certificate.name)
        return material.leaf if material else None

    @cached_property
    def with_leaf(self) -> tuple[tuple[Declared[Certificate], pki.Certificate], ...]:
        """Every declared certificate whose committed certificate is known, with it."""
        pairs = ((each, self.leaf(each)) for each in self.state.certificates.values())
        return tuple((each, leaf) for each, leaf in pairs if leaf)

    @cached_property
    def chains(self) -> Mapping[str, tuple[Chain, ...]]:
        """Every way up from each committed certificate through its declared chain, the best first, by name."""
        builders: dict[tuple[pki.Certificate, ...], ChainBuilder] = {}
        chains: dict[str, tuple[Chain, ...]] = {}
        for each, leaf in self.with_leaf:
            chain = self.state.material[each.name].chain
            if chain not in builders:
                builders[chain] = ChainBuilder(chain)
            chains[each.name] = builders[chain].chains(leaf)
        return chains


RuleFunction: TypeAlias = Callable[[Facts], Iterator[Finding]]


def declared_names(certificate: Declared[Certificate]) -> tuple[SubjectAlternativeName, ...]:
    """The declared subject alternative names, in their order."""
    return tuple(_parsed(each) for each in certificate.model.subject_alternative_names)


_parsed = lru_cache(maxsize=65536)(parse_name)


def leaf_position(certificate: Declared[Certificate]) -> Position:
    """Where the committed certificate is named."""
    key = "signed" if isinstance(certificate.model.source, Requested) else "certificate"
    return certificate.position("source", key)


def chain_position(certificate: Declared[Certificate]) -> Position:
    """Where the chain of the committed certificate is named, or the certificate itself where no chain is."""
    source = certificate.model.source
    if isinstance(source, Requested | Provided) and source.chain:
        return certificate.position("source", "chain")
    return leaf_position(certificate)


def quote(text: str) -> str:
    """Text that somebody else wrote, short enough for a sentence and without anything that is not plainly visible."""
    short = text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…"
    return f"'{printable(short)}'"


def listed(names: tuple[str, ...], most: int = 5) -> str:
    """Names as a sentence lists them: `a`, `a and b`, `a, b and c`; beyond `most`, how many more there are."""
    shown = names if len(names) <= most else (*names[: most - 1], f"{len(names) - most + 1} more")
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))
