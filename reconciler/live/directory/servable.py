"""The PEM files that a TLS front end loads: leaf, chain and key in one file. Reading one exactly, and writing one.

Unlike `reconciler.pki.reading`, which takes whatever people upload, this module judges a file as HAProxy does: the
first certificate is the leaf, the first key must be its key and unencrypted, and a file that breaks off is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from reconciler.base.errors import FormatError
from reconciler.pki.certificate import parse_certificate, public_key_identity
from reconciler.pki.pem import blocks
from reconciler.pki.request import parse_request
from reconciler.pki.writing import write_pem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from reconciler.pki.certificate import Certificate
    from reconciler.pki.pem import Block
    from reconciler.pki.request import Request

_BLOCK = re.compile(
    rb"^-----BEGIN [^-\n]+-----[ \t]*\r?\n(?:[A-Za-z0-9+/]{1,250}={0,2}[ \t]*\r?\n)+-----END [^-\n]+-----[ \t]*\r?$",
    re.MULTILINE,
)
_CERTIFICATE = ("CERTIFICATE", "X509 CERTIFICATE")
_KEY = "PRIVATE KEY"
_ENCRYPTED = "the private key is encrypted"


@dataclass(frozen=True, slots=True)
class ServableFile:
    """What a front end reads from one file.

    Attributes:
        leaf: The certificate that is served.
        chain: What is sent after it.
        key: The leaf's key, PEM.
        rest: Everything else in it (DH parameters, say), kept when the file is written anew.
    """

    leaf: Certificate
    chain: tuple[Certificate, ...]
    key: bytes = field(repr=False)
    rest: tuple[bytes, ...] = field(default=(), repr=False)

    def render(self, chain: Iterable[Certificate]) -> bytes:
        """The file's bytes with another chain."""
        return b"".join((write_pem((self.leaf, *chain)), self.key, *self.rest))


def read_servable(content: bytes, key_beside: bytes | None = None) -> ServableFile:
    """Read a file that a front end is to load.

    Args:
        content: The file.
        key_beside: The content of `NAME.key`, where HAProxy looks for the key of a file that holds none.

    Raises:
        FormatError: A front end would refuse it.
    """
    found = _strict_blocks(content)
    certificates = [parse_certificate(each.decode()) for each in found if each.label in _CERTIFICATE]
    if not certificates:
        raise FormatError("it holds no certificate")
    keys = [each for each in found if each.label.endswith(_KEY)]
    rest = tuple(each.armoured() for each in found if each.label not in _CERTIFICATE and each not in keys)
    if not keys and key_beside is not None:
        keys = [each for each in _strict_blocks(key_beside) if each.label.endswith(_KEY)]
    if not keys:
        raise FormatError("it holds no private key")
    leaf, *chain = certificates
    key = keys[0].armoured()
    if public_key_identity(load_key(key).public_key()) != leaf.public_key:
        raise FormatError("the private key is not that of the first certificate")
    return ServableFile(leaf, tuple(chain), key, rest)


def read_request(content: bytes) -> tuple[Request, bytes]:
    """Read a request that is kept with its key; the key as PEM.

    Raises:
        FormatError: It is not that.
    """
    found = _strict_blocks(content)
    if [each.label for each in found] != ["CERTIFICATE REQUEST", _KEY]:
        raise FormatError("it is not a request with its key")
    request, key = parse_request(found[0].decode()), found[1].armoured()
    if public_key_identity(load_key(key).public_key()) != request.public_key:
        raise FormatError("the private key is not that of the request")
    return request, key


def read_certificate(content: bytes) -> Certificate:
    """Read a certificate that is kept without a key.

    Raises:
        FormatError: It is not that.
    """
    found = _strict_blocks(content)
    if [each.label for each in found] != ["CERTIFICATE"]:
        raise FormatError("it is not one certificate")
    return parse_certificate(found[0].decode())


def _strict_blocks(content: bytes) -> list[Block]:
    """The blocks of a file, none of which OpenSSL would read in another way: it minds lines more than others do."""
    found = list(blocks(content))
    if len(_BLOCK.findall(content)) != len(found):
        for each in found:
            if each.is_encrypted_by_header:
                raise FormatError(_ENCRYPTED)
            each.decode()
        raise FormatError("a PEM object in it is not laid out in lines as OpenSSL wants it")
    return found


def load_key(pem: bytes) -> PrivateKeyTypes:
    """Read an unencrypted private key. RSA primes are not tested again: the store's own keys are not hostile.

    Raises:
        FormatError: It is encrypted, damaged, or of an unknown kind.
    """
    # The exceptions' own text is left out and the cause cut off: nothing of a key may travel in a message.
    try:
        return load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise FormatError(_ENCRYPTED) from None
    except (ValueError, UnsupportedAlgorithm):
        raise FormatError("the private key cannot be read") from None
