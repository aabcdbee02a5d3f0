"""The check before an action runs that it harms no protected name, on the store as it was just observed.

It asks the same question as the planner and shares nothing with it but auto-selection: what covers, what is valid, what
chains to what and what clients trust is worked out here once more, in another way. So a fault in one is caught by the
other. It knows nothing of why an action was planned, and it would rather refuse than guess.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, assert_never

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from reconciler.pki.names import NameType, parse_name
from reconciler.pki.selection import may_serve
from reconciler.plan.model import (
    Action,
    CreateRequest,
    CreateSelfSigned,
    Import,
    Remove,
    RemoveRequest,
    SetDefault,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from reconciler.desired.state import Build, Clients
    from reconciler.live.store import LiveStore
    from reconciler.pki.certificate import Certificate
    from reconciler.pki.names import SubjectAlternativeName


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the store, as it is or as it would be."""

    ref: str
    common_name: str
    subject_alternative_names: tuple[SubjectAlternativeName, ...]
    has_key: bool
    certificate: Certificate | None
    """None for a self-signed certificate that is about to be made: valid from now on, and trusted by no build."""


@dataclass(frozen=True, slots=True)
class _Shelf:
    """All rows and which of them is the default."""

    rows: tuple[_Row, ...]
    default: str | None
    keys: frozenset[str]
    """SHA-256 of the public keys whose private keys are there, with a certificate or with a pending request."""

    def served(self, name: str | None, store: LiveStore) -> tuple[_Row, ...]:
        standard = next((row for row in self.rows if row.ref == self.default), None)
        return may_serve(self.rows, standard, name, store.rule)


@dataclass(frozen=True, slots=True)
class Guard:
    """Watches over the protected names of one appliance.

    Attributes:
        names: What must never lose its certificate; the name that clients have in mind who send none comes first.
        clients: The software that clients may be running.
    """

    names: tuple[str, ...]
    clients: Clients

    def objection(
        self, action: Action, store: LiveStore, arriving: Certificate | None, bound: Mapping[str, str], now: dt.datetime
    ) -> str:
        """Why an action may not run now, in one sentence, or an empty string.

        Beside all clients, those of each software build in the field are asked by themselves: where one does not trust
        what serves the others, these must not lose it for that.

        Args:
            action: The action.
            store: The store, just observed.
            arriving: The certificate that an import uploads.
            bound: Fingerprints of what came into being in this apply, by what the plan calls it.
            now: The present instant.
        """
        before = _shelf(store)
        after = _changed(before, action, arriving, bound)
        if after is None:
            return "what would be imported is not the certificate that was planned"
        running = self._builds(now)
        groups = [running, *((each,) for each in running)]
        for asked, builds in product((None, *self.names), groups):
            meant = asked or self.names[0]
            old = before.served(asked, store)
            sound = {row.ref for row in old if _serves(row, meant, before, builds, now)}
            if not sound:
                continue
            then = after.served(asked, store)
            bad = [row for row in then if not _serves(row, meant, after, builds, now)]
            who = f"clients of {asked}" if asked else "clients that send no server name"
            if len(bad) == len(then):
                return f"{who} would be left without a good certificate"
            if {row.ref for row in bad} - ({row.ref for row in old} - sound):
                return f"{who} might be served a certificate that is not good"
            if bad and not sound <= {row.ref for row in then}:
                # Whichever of several is served first, and that is not known, this may be the next one.
                return f"{who} might be served a certificate that is not good in the place of one that is"
        return ""

    def _builds(self, now: dt.datetime) -> Sequence[Build]:
        """Every build that a client may still be running, the newest first until one has settled."""
        there = [each for each in self.clients.builds if each.installed_at <= now] or self.clients.builds[:1]
        running = []
        for build in reversed(there):
            running.append(build)
            if now - build.installed_at >= self.clients.settle:
                break
        return running


def _serves(row: _Row, name: str, shelf: _Shelf, builds: Sequence[Build], now: dt.datetime) -> bool:
    """Whether a row is good for a name and for the clients of some builds; without any, every root is trusted."""
    if not row.has_key or not _names(row.subject_alternative_names, name):
        return False
    if row.certificate is None:
        return not builds
    ladder = _Ladder.above(row.certificate, [each.certificate for each in shelf.rows if each.certificate])
    return ladder.stands(now) and all(ladder.leads(each, now) for each in builds)


def _shelf(store: LiveStore) -> _Shelf:
    rows = (
        _Row(row.fingerprint, row.common_name, row.subject_alternative_names, row.has_key, row.certificate)
        for row in store.certificates
    )
    keyed = {row.certificate.public_key for row in store.certificates if row.has_key}
    return _Shelf(tuple(rows), store.default, frozenset(keyed | {each.public_key for each in store.requests}))


def _found(ref: str, bound: Mapping[str, str]) -> str:
    return bound.get(ref, ref)


def _changed(shelf: _Shelf, action: Action, arriving: Certificate | None, bound: Mapping[str, str]) -> _Shelf | None:
    """What an action makes of a shelf; None where what it would put there is unknown."""
    match action:
        case CreateRequest() | RemoveRequest():
            return shelf
        case SetDefault(target=ref):
            return replace(shelf, default=_found(ref, bound))
        case Remove(fingerprint=ref):
            return replace(shelf, rows=tuple(row for row in shelf.rows if row.ref != ref))
        case CreateSelfSigned():
            common_name = next((value for key, value in action.subject if key == "CN"), "")
            names = _parsed(action.subject_alternative_names)
            row = _Row(action.new, common_name, names, has_key=True, certificate=None)
            return replace(shelf, rows=(*shelf.rows, row))
        case Import():
            if arriving is None or arriving.fingerprint != _found(action.fingerprint, bound):
                return None
            # Whatever a certificate is imported as, it finds its key where the store holds that.
            has_key = action.role == "leaf" or arriving.public_key in shelf.keys
            names = arriving.subject_alternative_names
            made = _Row(arriving.fingerprint, arriving.common_name, names, has_key, arriving)
            return replace(shelf, rows=(*(row for row in shelf.rows if row.ref != made.ref), made))
        case _:
            assert_never(action)


def _parsed(names: Sequence[str]) -> tuple[SubjectAlternativeName, ...]:
    return tuple(parse_name(each) for each in names)


def _names(names: Sequence[SubjectAlternativeName], host: str) -> bool:
    """RFC 9525: an equal dNSName, or a wildcard for the whole of the first label."""
    _, _, parent = host.partition(".")
    wanted = {host, f"*.{parent}"} if "." in parent else {host}
    return any(each.type is NameType.DNS and each.value in wanted for each in names)


@dataclass(frozen=True, slots=True)
class _Ladder:
    """Everything that a store has above a certificate. Asked rung by rung, never way by way: cross-signs multiply ways.

    Attributes:
        foot: The certificate.
        issuers: Who issued each certificate that can be reached; a root has none.
        complete: What leads up to a root.
    """

    foot: Certificate
    issuers: Mapping[Certificate, tuple[Certificate, ...]]
    complete: frozenset[Certificate]

    @classmethod
    def above(cls, foot: Certificate, store: Sequence[Certificate]) -> _Ladder:
        authorities = [each for each in store if each.is_authority]
        issuers: dict[Certificate, tuple[Certificate, ...]] = {}
        met = [foot]
        while met:
            child = met.pop()
            if child not in issuers:
                found = () if _is_root(child) else tuple(each for each in authorities if _signed(each, child))
                issuers[child] = found
                met += found
        complete = {each for each in issuers if _is_root(each)}
        while more := {each for each in issuers.keys() - complete if not complete.isdisjoint(issuers[each])}:
            complete |= more
        return cls(foot, issuers, frozenset(complete))

    def stands(self, now: dt.datetime) -> bool:
        """Whether there is a way to a root on which everything is inside its validity."""
        return any(_is_root(each) for each in self._climb(lambda each: _runs(each, now)))

    def leads(self, build: Build, now: dt.datetime) -> bool:
        """Whether on every way to a root a client meets, by what is valid, something that was built in."""

        def is_strange(certificate: Certificate) -> bool:
            known = (certificate.subject.der, certificate.public_key) in build.trusts
            return certificate in self.complete and not known

        return not any(_is_root(each) or not _runs(each, now) for each in self._climb(is_strange))

    def _climb(self, may_pass: Callable[[Certificate], bool]) -> Iterator[Certificate]:
        """The foot and what is above it, each once, only past what one may pass."""
        seen: set[Certificate] = set()
        met = [self.foot]
        while met:
            each = met.pop()
            if each not in seen and may_pass(each):
                seen.add(each)
                yield each
                met += self.issuers[each]


def _is_root(certificate: Certificate) -> bool:
    return certificate.subject.der == certificate.issuer.der and _signed(certificate, certificate)


def _signed(issuer: Certificate, child: Certificate) -> bool:
    """Whether one certificate issued another: by names, key identifiers and the signature, whatever its hash."""
    wanted, given = child.authority_key_identifier, issuer.subject_key_identifier
    if issuer.subject.der != child.issuer.der or (issuer != child and wanted and given and wanted != given):
        return False
    return _verifies(issuer, child)


@lru_cache(maxsize=4096)
def _verifies(issuer: Certificate, child: Certificate) -> bool:
    signed = child.to_x509()
    try:
        how = signed.signature_algorithm_parameters
        match issuer.to_x509().public_key():
            case rsa.RSAPublicKey() as key if not isinstance(how, ec.ECDSA) and how and signed.signature_hash_algorithm:
                key.verify(signed.signature, signed.tbs_certificate_bytes, how, signed.signature_hash_algorithm)
            case ec.EllipticCurvePublicKey() as key if isinstance(how, ec.ECDSA):
                key.verify(signed.signature, signed.tbs_certificate_bytes, how)
            case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey() as key:
                key.verify(signed.signature, signed.tbs_certificate_bytes)
            case _:
                return False
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _runs(certificate: Certificate, now: dt.datetime) -> bool:
    return certificate.not_before <= now <= certificate.not_after
