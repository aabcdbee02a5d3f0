"""Private keys: the kinds that the policy knows, making one, and telling whose it is. Nothing here shows one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from reconciler.pki.certificate import key_kind_of, public_key_identity

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from reconciler.pki.certificate import Certificate
    from reconciler.pki.request import Request

KeyKind: TypeAlias = Literal["rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384"]
"""The kinds of key that a policy may allow."""

_PUBLIC_EXPONENT = 65537


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key. Equal when its public half is; its secret half is never part of a text.

    Attributes:
        public_key: Identity: SHA-256 of the SubjectPublicKeyInfo, lower-case hex, as certificates have it.
        key_kind: In the words of the policy: `rsa-2048`, `ec-p256`, ...
        key: The key itself.
    """

    public_key: str
    key_kind: str = field(compare=False)
    key: PrivateKeyTypes = field(repr=False, compare=False)


def private_key(key: PrivateKeyTypes) -> PrivateKey:
    """A key of cryptography's as a value."""
    public = key.public_key()
    return PrivateKey(public_key_identity(public), key_kind_of(public), key)


def key_matches(key: PrivateKey, holder: Certificate | Request) -> bool:
    """Whether a certificate or request was made for this key."""
    return key.public_key == holder.public_key


def create_key(kind: KeyKind) -> PrivateKey:
    """A new key. RSA takes up to a second, EC about a tenth of a millisecond."""
    match kind:
        case "rsa-2048" | "rsa-3072" | "rsa-4096":
            return private_key(rsa.generate_private_key(_PUBLIC_EXPONENT, int(kind.removeprefix("rsa-"))))
        case "ec-p256":
            return private_key(ec.generate_private_key(ec.SECP256R1()))
        case "ec-p384":
            return private_key(ec.generate_private_key(ec.SECP384R1()))
        case _:
            assert_never(kind)
