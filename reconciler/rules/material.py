"""Rules about committed certificates: whether they are what was declared, and whether clients can verify them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Severity, Stops, found, rule
from reconciler.desired.models import Provided
from reconciler.rules.facts import chain_position, declared_names, leaf_position, listed, quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.base.position import Position
    from reconciler.desired.models import Certificate
    from reconciler.desired.state import Declared
    from reconciler.pki import certificate as pki
    from reconciler.pki.chain import Chain
    from reconciler.rules.facts import Facts

_IMPORT = "Import the Certificate"

CHAIN_INCOMPLETE = rule(
    "chain-incomplete",
    Severity.ERROR,
    _IMPORT,
    "A committed certificate comes with every intermediate certificate of its chain.",
)
ROOT_MISSING = rule(
    "root-missing",
    Severity.ERROR,
    _IMPORT,
    "A committed certificate comes with the root of its chain, which CAs often leave out.",
)
SIGNED_MISMATCH = rule(
    "signed-mismatch",
    Severity.WARNING,
    _IMPORT,
    "A committed certificate has the names and the kind of key that are declared.",
    Stops.CERTIFICATE,
)
WEAK_SIGNATURE = rule(
    "weak-signature",
    Severity.ERROR,
    "RFC 9155 and RFC 6194",
    "No certificate below the root is signed with MD5, SHA-1 or an older hash, which clients refuse.",
    acknowledgeable=True,
)

_WEAK_HASHES = {
    "md5": "MD5",
    "sha1": "SHA-1",
    # cryptography knows no name for these: md2WithRSAEncryption and md4WithRSAEncryption.
    "1.2.840.113549.1.1.2": "MD2",
    "1.2.840.113549.1.1.3": "MD4",
}


def chain_incomplete(facts: Facts) -> Iterator[Finding]:
    """No way up from the committed certificate, although a root is there or nothing at all."""
    for certificate, chain in _broken_chains(facts):
        if not _lacks_root_only(facts, certificate, chain):
            yield found(
                CHAIN_INCOMPLETE,
                f"the chain breaks at {quote(chain.top.subject.display)}: its issuer {_issuer(chain)} is not committed",
                "add every intermediate certificate and the root to `chain`",
                position=chain_position(certificate),
                about=certificate.about,
            )


def root_missing(facts: Facts) -> Iterator[Finding]:
    """Intermediate certificates lead up, but no root is there."""
    for certificate, chain in _broken_chains(facts):
        if _lacks_root_only(facts, certificate, chain):
            yield found(
                ROOT_MISSING,
                f"the chain ends at {quote(chain.top.subject.display)} without its root {_issuer(chain)}",
                "get the root from the CA's repository and add it to `chain`",
                position=chain_position(certificate),
                about=certificate.about,
            )


def signed_mismatch(facts: Facts) -> Iterator[Finding]:
    """A committed certificate that differs from what is declared.

    For a requested one that is how a change begins, so it is a warning: a new request is on its way. Nobody will issue
    a provided one again: there it is an error, since what reviewers read is not what would be served.
    """
    for certificate, leaf in facts.with_leaf:
        differing = differences(certificate, leaf)
        if not differing:
            continue
        provided = isinstance(certificate.model.source, Provided)
        yield found(
            SIGNED_MISMATCH,
            f"the committed certificate differs from what is declared: {', '.join(differing)}",
            "declare what it contains, or commit another certificate"
            if provided
            else "if it is a new answer, have the request signed again as it is; if it is in use, a new one is made",
            position=leaf_position(certificate),
            about=certificate.about,
            severity=Severity.ERROR if provided else None,
        )


def differences(certificate: Declared[Certificate], leaf: pki.Certificate) -> tuple[str, ...]:
    """How a committed certificate differs from what is declared, a few words each."""
    declared, given = frozenset(declared_names(certificate)), leaf.san_set
    lacks = tuple(sorted(quote(each.value) for each in declared - given))
    adds = tuple(sorted(quote(each.value) for each in given - declared))
    kind = f"its key is {leaf.key_kind}, not {certificate.model.key}" if leaf.key_kind != certificate.model.key else ""
    parts = (f"it lacks {listed(lacks)}" if lacks else "", f"it adds {listed(adds)}" if adds else "", kind)
    return tuple(filter(None, parts))


def weak_signature(facts: Facts) -> Iterator[Finding]:
    """The committed certificate and the authorities above it. Nobody checks a root's own signature."""
    for certificate, leaf in facts.with_leaf:
        best = facts.chains[certificate.name][0]
        for each in best.certificates[:-1] if best.complete else best.certificates:
            if each.signature_hash in _WEAK_HASHES:
                yield _weak(
                    certificate, each, leaf_position(certificate) if each == leaf else chain_position(certificate)
                )


def _weak(certificate: Declared[Certificate], weak: pki.Certificate, position: Position) -> Finding:
    return found(
        WEAK_SIGNATURE,
        f"{quote(weak.subject.display)} is signed with {_WEAK_HASHES[weak.signature_hash]}, which clients refuse",
        "ask the CA to issue it again with SHA-256 or better",
        position=position,
        about=certificate.about,
    )


def _broken_chains(facts: Facts) -> Iterator[tuple[Declared[Certificate], Chain]]:
    for certificate, _ in facts.with_leaf:
        best = facts.chains[certificate.name][0]
        if not best.complete:
            # Of several broken ways up the longest is the one that was meant.
            yield certificate, max(facts.chains[certificate.name], key=lambda chain: len(chain.certificates))


def _lacks_root_only(facts: Facts, certificate: Declared[Certificate], chain: Chain) -> bool:
    committed = facts.state.material[certificate.name].chain
    return len(chain.certificates) > 1 and not any(each.is_self_issued for each in committed)


def _issuer(chain: Chain) -> str:
    return quote(chain.top.issuer.display)
