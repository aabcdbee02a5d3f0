"""Rules about the files of a chain: what does not belong to it, and what is not listed from the issuer up to the root.

An appliance takes certificates in any order, so neither keeps anything from working; both are how a mix-up of files
shows. Where a chain has a gap nobody can say what would belong above it: `reconciler.rules.material` tells of the gap.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Severity, found, rule
from reconciler.desired.models import Requested
from reconciler.pki.chain import ChainBuilder
from reconciler.rules.facts import leaf_position, listed, quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.base.position import Position
    from reconciler.desired.models import Certificate
    from reconciler.desired.state import CertificateFile, Declared, Material
    from reconciler.pki import certificate as pki
    from reconciler.pki.chain import Chain
    from reconciler.rules.facts import Facts

_IMPORT = "Import the Certificate"

CHAIN_STRANGER = rule(
    "chain-stranger",
    Severity.WARNING,
    _IMPORT,
    "Every certificate that comes with a committed one is among its issuers, cross-signs included.",
)
CHAIN_ORDER = rule(
    "chain-order",
    Severity.NOTICE,
    _IMPORT,
    "A chain is listed from the issuer of the certificate up to the root.",
)


def chain_stranger(facts: Facts) -> Iterator[Finding]:
    """A certificate that issued neither the committed one nor, at any height, an issuer of it.

    Before there is an answer, one that is not linked with the rest of the chain.
    """
    for certificate in facts.state.certificates.values():
        material = facts.state.material.get(certificate.name)
        if material is None or not material.chain:
            continue
        if material.leaf is not None:
            strangers = _no_issuers(material, material.leaf, facts.chains[certificate.name])
            why = f"which issued neither {quote(material.leaf.subject.display)} nor an issuer of it"
            remedy = "take it out, or see whether the files of two certificates were mixed up"
        elif isinstance(certificate.model.source, Requested) and certificate.model.source.signed is None:
            strangers = _unlinked(material.chain)
            why = "which is not linked with the rest of the chain"
            remedy = "take it out, or add the certificates between them"
        else:
            continue
        for file in material.files if strangers else ():
            names = tuple(quote(each.subject.display) for each in file.certificates if each in strangers)
            if names:
                yield found(
                    CHAIN_STRANGER,
                    f"the file holds {listed(names)}, {why}",
                    remedy,
                    position=_position(certificate, file),
                    about=certificate.about,
                )


def chain_order(facts: Facts) -> Iterator[Finding]:
    """The first certificate that stands before one beneath it, in a file or in the list of files."""
    for certificate, _ in facts.with_leaf:
        chains = facts.chains[certificate.name]
        early = _early(facts.state.material[certificate.name], chains) if chains[0].complete else None
        if early is not None:
            file, upper, lower = early
            yield found(
                CHAIN_ORDER,
                f"{quote(upper.subject.display)} stands before {quote(lower.subject.display)}, which is beneath it",
                "list the issuer first and the root last; any order works, but see that no files were mixed up",
                position=_position(certificate, file),
                about=certificate.about,
            )


def _no_issuers(material: Material, leaf: pki.Certificate, chains: tuple[Chain, ...]) -> frozenset[pki.Certificate]:
    """What is in a chain without leading up from the leaf; nothing where a gap leaves that open."""
    strangers = set(material.chain).difference(*(chain.certificates for chain in chains))
    if not strangers or not chains[0].complete:
        return frozenset()
    # A way up ends at the first root; that root may be cross-signed by another.
    builder, reached, open_ends = ChainBuilder(material.chain), {leaf}, [leaf]
    while open_ends:
        onward = set(builder.issuers(open_ends.pop())) - reached
        reached |= onward
        open_ends.extend(onward)
    return frozenset(strangers - reached)


def _unlinked(chain: tuple[pki.Certificate, ...]) -> frozenset[pki.Certificate]:
    """What has no part in the largest group whose members issued each other; of two as large, the first counts."""
    builder = ChainBuilder(chain)
    authorities: dict[tuple[bytes, str], pki.Certificate] = {}
    groups: list[set[pki.Certificate]] = []
    for each in chain:
        # Two cross-signs of one authority are linked, whoever signed them.
        linked = {each, authorities.setdefault((each.subject.der, each.public_key), each), *builder.issuers(each)}
        apart = [group for group in groups if group.isdisjoint(linked)]
        groups = [set.union(linked, *(group for group in groups if group not in apart)), *apart]
    largest = max(groups, key=lambda group: (len(group), -min(map(chain.index, group))))
    return frozenset(chain) - largest


def _early(
    material: Material, chains: tuple[Chain, ...]
) -> tuple[CertificateFile, pki.Certificate, pki.Certificate] | None:
    """The first certificate that stands too early, its file, and one that should stand before it."""
    ups = {(lower, upper) for chain in chains for lower, upper in combinations(chain.certificates, 2)}
    known = {each for chain in chains for each in chain.certificates}
    places: dict[pki.Certificate, CertificateFile] = {}
    for file in material.files:
        for each in file.certificates:
            if each in known:
                places.setdefault(each, file)
    for (first, here), (second, there) in combinations(places.items(), 2):
        if (second, first) in ups and (here.ordered if here is there else here.index is not None):
            return here, first, second
    return None


def _position(certificate: Declared[Certificate], file: CertificateFile) -> Position:
    if file.index is None:
        return leaf_position(certificate)
    return certificate.position("source", "chain", file.index)
