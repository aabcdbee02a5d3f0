"""Whether stores lose keys: who judges reads the files that lie there, and asks nothing of the program."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from reconciler.pki.pem import blocks
from tests.end_to_end.changing import ACCESS, KIOSK, PAIR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from tests.end_to_end.changing import Changing


@dataclass(frozen=True)
class Kept:
    """A private key in a store, with the certificate or the request that it is kept for.

    Attributes:
        identity: SHA-256 of the certificate or the request.
        common_name: Its common name.
        public_key: SHA-256 of the public key.
        is_request: Whether it is a request.
    """

    identity: str
    common_name: str
    public_key: str
    is_request: bool

    @property
    def name(self) -> str:
        """What it is called where what is wanted is listed: what an appliance makes by its common name."""
        return self.common_name if self.is_request or self.common_name.startswith(KIOSK) else self.identity


def kept(store: Path) -> frozenset[Kept]:
    """Every private key of a store; each must be that of its certificate or request."""
    files = [each for each in store.glob("*.pem") if not each.name.startswith(".") and not each.is_symlink()]
    return frozenset(map(_read, (*files, *store.glob(".store/requests/[!.]*"))))


def default(store: Path) -> str:
    """SHA-256 of the certificate that is the default; it has its key."""
    link = store / "00-default.pem"
    assert link.exists(), f"{store.name} has no default"
    return _read(link).identity


def _read(path: Path) -> Kept:
    found = {each.label: each.armoured() for each in reversed([*blocks(path.read_bytes())])}  # the first of each label
    (key,) = (load_pem_private_key(each, None) for label, each in found.items() if label.endswith("PRIVATE KEY"))
    made: x509.Certificate | x509.CertificateSigningRequest
    if "CERTIFICATE REQUEST" in found:
        made = x509.load_pem_x509_csr(found["CERTIFICATE REQUEST"])
    else:
        made = x509.load_pem_x509_certificate(found["CERTIFICATE"])
    assert _digest(made.public_key()) == _digest(key.public_key()), path
    (name,) = made.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    identity = hashlib.sha256(made.public_bytes(Encoding.DER)).hexdigest()
    return Kept(identity, str(name.value), _digest(key.public_key()), isinstance(made, x509.CertificateSigningRequest))


def _digest(key: PublicKeyTypes) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


class Keeper:
    """Remembers what was in stores, and sees that nothing is lost.

    Attributes:
        stores: Each appliance's store.
    """

    def __init__(self, changing: Changing, stores: Mapping[str, Path]) -> None:
        self.stores = stores
        self._changing = changing
        # What was seen in each since it last was as it was declared.
        self._known = {name: kept(each) for name, each in stores.items()}
        self._factory = {name: _factory(each) for name, each in stores.items()}

    def look(self, leaving: Mapping[str, str]) -> None:
        """See that everything is there that is to stay, and that what may go has gone only when its successor had come.

        Args:
            leaving: What goes with what is declared by now; see `Change`.
        """
        for name, store in self.stores.items():
            now = kept(store)
            identities = {each.identity for each in now}
            for each in self._known[name] - now:
                assert each.name in leaving, f"{name} lost {each}"
                successor = leaving[each.name]
                assert not successor or successor in identities, f"{name} lost {each} before {successor} had come"
            assert default(store) in identities
            assert self._factory[name] in identities
            self._known[name] |= now
        answer = self._changing.wanted[PAIR[0]].leaves[ACCESS]
        keys = {each.public_key for name in PAIR for each in kept(self.stores[name])}
        assert self._changing.signed[answer] in keys, f"no member holds the key of the answer {answer}"

    def rest(self) -> None:
        """See that stores hold with a key what is declared and nothing else."""
        for name, store in self.stores.items():
            now, wanted = kept(store), self._changing.wanted[name]
            leaves = {each.name for each in now if not each.is_request and each.identity != self._factory[name]}
            assert leaves == set(wanted.leaves.values()), name
            assert sorted(each.name for each in now if each.is_request) == sorted(wanted.requests), name
            assert default(store) == wanted.leaves[wanted.default], name
            self._known[name] = now


def _factory(store: Path) -> str:
    return str(json.loads((store / ".store/store.json").read_text())["factory"])
