"""Chains: who issued whom, every way up to a root, and what is missing.

Building is a matter of names, key identifiers, BasicConstraints and signatures. Whether the links of a chain are inside
their validity, and whether anybody trusts its root, is asked of the chain afterwards, since both depend on the instant.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cryptography import x509

    from reconciler.pki.certificate import Certificate, DistinguishedName

# Cross-signs multiply paths. Real chains are short and few; beyond these bounds a store is hostile or broken.
_LONGEST = 8
_MOST = 32


def may_have_issued(issuer: Certificate, child: Certificate) -> bool:
    """Whether names and key identifiers allow that one certificate issued another; no signature is checked."""
    if issuer.subject.der != child.issuer.der or issuer == child:
        return False
    wanted, given = child.authority_key_identifier, issuer.subject_key_identifier
    return wanted is None or given is None or wanted == given


@lru_cache(maxsize=131072)
def has_issued(issuer: Certificate, child: Certificate) -> bool:
    """Whether one certificate issued another: an authority by name, whose key verifies the signature.

    A certificate has issued itself when it is self-issued and its own key verifies it, authority or not.
    """
    if issuer == child:
        if not child.is_self_issued:
            return False
    elif not issuer.is_authority or not may_have_issued(issuer, child):
        return False
    try:
        _verify(child.to_x509(), issuer.to_x509())
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _verify(child: x509.Certificate, issuer: x509.Certificate) -> None:
    """Check a signature, outdated hashes included: many a trusted root signed itself with SHA-1, long ago.

    `verify_directly_issued_by` refuses those unseen. Who issued whom is one question, whether the hash is still good
    enough another.
    """
    outdated = child.signature_hash_algorithm
    if not isinstance(outdated, hashes.SHA1 | hashes.MD5):
        child.verify_directly_issued_by(issuer)
        return
    key = issuer.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidSignature
    key.verify(child.signature, child.tbs_certificate_bytes, padding.PKCS1v15(), outdated)


@dataclass(frozen=True, slots=True)
class Chain:
    """One way up from a certificate.

    Attributes:
        certificates: The certificate itself, then each issuer.
        complete: Whether the last one is a root: self-issued and verified by its own key.
    """

    certificates: tuple[Certificate, ...]
    complete: bool

    @property
    def top(self) -> Certificate:
        """The last certificate: the root of a complete chain."""
        return self.certificates[-1]

    @property
    def missing(self) -> DistinguishedName | None:
        """The issuer that is not there, or None where the chain is complete."""
        return None if self.complete else self.top.issuer

    def is_valid_at(self, instant: datetime) -> bool:
        """Whether every certificate of the chain is inside its validity."""
        return all(each.is_valid_at(instant) for each in self.certificates)


class ChainBuilder:
    """Builds chains over one set of certificates, in one pass over it."""

    def __init__(self, certificates: Iterable[Certificate]) -> None:
        self._by_subject: dict[bytes, list[Certificate]] = defaultdict(list)
        for each in dict.fromkeys(certificates):
            self._by_subject[each.subject.der].append(each)
        self._chains: dict[Certificate, tuple[Chain, ...]] = {}

    def issuers(self, certificate: Certificate) -> tuple[Certificate, ...]:
        """The certificates of the set that issued this one, itself excluded."""
        named = self._by_subject.get(certificate.issuer.der, ())
        return tuple(each for each in named if each != certificate and has_issued(each, certificate))

    def chains(self, certificate: Certificate) -> tuple[Chain, ...]:
        """Every way up from a certificate, which need not be in the set; complete ones first, shorter ones first."""
        known = self._chains.get(certificate)
        if known is None:
            found: list[Chain] = []
            self._climb((certificate,), found)
            known = tuple(sorted(found, key=_preference))
            self._chains[certificate] = known
        return known

    def _climb(self, path: tuple[Certificate, ...], found: list[Chain]) -> None:
        if len(found) >= _MOST:
            return
        top = path[-1]
        if has_issued(top, top):
            found.append(Chain(path, complete=True))
            return
        seen = {(each.subject.der, each.public_key) for each in path}
        onward = [each for each in self.issuers(top) if (each.subject.der, each.public_key) not in seen]
        if not onward or len(path) >= _LONGEST:
            found.append(Chain(path, complete=False))
            return
        for issuer in onward:
            self._climb((*path, issuer), found)


def _preference(chain: Chain) -> tuple[bool, int, tuple[str, ...]]:
    return (not chain.complete, len(chain.certificates), tuple(each.fingerprint for each in chain.certificates))


def needed_issuers(kept: Iterable[Certificate], store: Iterable[Certificate]) -> frozenset[Certificate]:
    """Everything in a store that may be an issuer, at any height, of something that is kept.

    Liberal on purpose: what only might be needed is not thrown away.
    """
    by_subject: dict[bytes, list[Certificate]] = defaultdict(list)
    for each in store:
        by_subject[each.subject.der].append(each)
    needed: set[Certificate] = set()
    open_ends = list(kept)
    while open_ends:
        child = open_ends.pop()
        for issuer in by_subject.get(child.issuer.der, ()):
            if issuer not in needed and may_have_issued(issuer, child):
                needed.add(issuer)
                open_ends.append(issuer)
    return frozenset(needed)
