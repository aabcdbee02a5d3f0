"""What protects the keys in a file: how dear it is to open, how many keys it shows, whether any is in clear.

Committed files come by pull request, so nothing here trusts them: four thousand million iterations are refused before
they are tried.
"""

from __future__ import annotations

import binascii

from cryptography.hazmat.primitives.serialization import pkcs12

from reconciler.base.errors import FormatError
from reconciler.pki import pem
from reconciler.pki.asn1 import (
    CLEAR_KEYS,
    OBJECT_IDENTIFIER,
    Kind,
    Malformed,
    kind_of,
    walk,
)
from reconciler.pki.library import understanding

_MOST_ITERATIONS = 5_000_000
"""Some seconds of PBKDF2, eight times what is recommended today."""
_MOST_MEMORY = 256 * 1024 * 1024
_MOST_PARALLEL = 16
_SCRYPT_NUMBERS = 3
_HEADER = 64
_OPENSSH = b"openssh-key-v1\0"
_OPENSSH_NO_CIPHER = b"\0\0\0\x04none"

# The tails of 1.2.840.113549.1.12.10.1.1 (keyBag) and .2 (pkcs8ShroudedKeyBag), RFC 7292, section 4.2.
_KEY_BAG = bytes.fromhex("2a864886f70d010c0a0101")
_SHROUDED_KEY_BAG = bytes.fromhex("2a864886f70d010c0a0102")


def is_text(passphrase: bytes) -> bool:
    """Whether a passphrase is what PKCS#12 demands: UTF-8 without a NUL (RFC 7292, appendix B.1)."""
    try:
        return "\0" not in passphrase.decode()
    except UnicodeDecodeError:
        return False


class TooDear(FormatError):
    """Opening the file would take too long, or too much memory."""


def check_cost(data: bytes) -> None:
    """Refuse a PKCS#8 or PKCS#12 file that would take too long, or too much memory, to open.

    Raises:
        TooDear: It would.
        FormatError: It is damaged.
    """
    try:
        dear = any(_is_dear(node.numbers_after_octets) for node in walk(data))
    except Malformed as error:
        raise FormatError(f"the file is damaged: {error}", "get the file again") from error
    if dear:
        raise TooDear(
            "the file asks for an unreasonable number of iterations to be opened",
            f"protect it anew, with no more than {_MOST_ITERATIONS:,} iterations",
        )


def _is_dear(numbers: tuple[int, ...]) -> bool:
    """PBES1, PBKDF2 and the integrity of PKCS#12 give iterations first; scrypt gives N, r and p (RFC 7914)."""
    if len(numbers) >= _SCRYPT_NUMBERS:
        cost, block_size, parallel = numbers[:_SCRYPT_NUMBERS]
        return 128 * cost * block_size > _MOST_MEMORY or parallel > _MOST_PARALLEL
    return bool(numbers) and numbers[0] > _MOST_ITERATIONS


def key_bags(data: bytes) -> int:
    """How many private keys a PKCS#12 file shows without being opened. Those inside encrypted parts do not show.

    Raises:
        Malformed: It is no ASN.1.
    """
    return sum(each in {_KEY_BAG, _SHROUDED_KEY_BAG} for each in _object_identifiers(data))


def _object_identifiers(data: bytes) -> list[bytes]:
    return [bytes(node.element.content) for node in walk(data) if node.element.tag == OBJECT_IDENTIFIER]


def holds_clear_key(content: bytes) -> bool:
    """Whether a file holds a private key that anyone can read.

    Knows PKCS#8, traditional and OpenSSH keys in PEM (indented or amid other text, too), PKCS#8 and traditional keys in
    DER and in base64 without BEGIN and END, and PKCS#12 that opens without a passphrase or shows a key that is not
    encrypted. In doubt the answer is yes: a damaged block that calls itself a private key may be mended. Of a file with
    none of these it costs one search.
    """
    if content.startswith(b"0") and _is_clear(content):
        return True
    if content.startswith(b"MI") and _is_clear(_decoded(content)):
        return True
    return any(_is_clear_block(part) for part in content.split(pem.BEGIN)[1:])


def _is_clear_block(block: bytes) -> bool:
    """Judge what follows `-----BEGIN `, up to its END or the end of the file."""
    label, _, rest = block.partition(b"-----")
    text = rest.partition(b"-----")[0]
    if b"PRIVATE KEY" not in label:
        return _is_clear(_decoded(text))
    if b"ENCRYPTED" in label or b"ENCRYPTED" in text[:_HEADER]:
        return _outline(_decoded(text)) in CLEAR_KEYS
    data = _decoded(text)
    if data.startswith(_OPENSSH):
        return data.startswith(_OPENSSH + _OPENSSH_NO_CIPHER)
    return _outline(data) is not Kind.ENCRYPTED_PKCS8


def _is_clear(data: bytes) -> bool:
    match _outline(data):
        case Kind.PKCS8 | Kind.TRADITIONAL:
            return True
        case Kind.PKCS12:
            return _is_clear_pkcs12(data)
        case _:
            return False


def _is_clear_pkcs12(data: bytes) -> bool:
    try:
        check_cost(data)
        if _KEY_BAG in _object_identifiers(data):
            return True
        with understanding("not readable without a passphrase"):
            return pkcs12.load_pkcs12(data, None).key is not None
    except TooDear:
        return True
    except FormatError:
        return False


def _outline(data: bytes) -> Kind | None:
    try:
        return kind_of(data)
    except Malformed:
        return None


def _decoded(text: bytes) -> bytes:
    """What base64 says, with the line breaks of PEM, of YAML and (escaped) of JSON; nothing where it is none."""
    try:
        return binascii.a2b_base64(b"".join(text.replace(b"\\n", b"").split()), strict_mode=True)
    except binascii.Error:
        return b""
