"""Reading certificate files by their content, never by their extension: whatever the appliance imports, and keys.

DER and PEM certificates and requests, PKCS#7 in DER, PEM and BER, PKCS#12, PKCS#8 and traditional private keys. What a
file holds is decided by its outline (`reconciler.pki.asn1`) and confirmed by cryptography; PEM labels are only advice.
What cannot be read is refused whole, in one sentence: half a bundle is worse than none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, assert_never

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_private_key,
    load_pem_private_key,
    pkcs7,
    pkcs12,
)

from reconciler.base.errors import FormatError, WrongPassphrase
from reconciler.pki import pem
from reconciler.pki.asn1 import Kind, Malformed, Truncated, first_element, kind_of
from reconciler.pki.certificate import Certificate, parse_certificate
from reconciler.pki.keys import PrivateKey, key_matches, private_key
from reconciler.pki.library import understanding
from reconciler.pki.protection import check_cost, is_text, key_bags
from reconciler.pki.request import Request, parse_request
from reconciler.pki.unrelated import what_else

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

LARGEST = 4 * 1024 * 1024
"""Size in bytes beyond which a file is refused unread. The bundle of all public roots is a quarter of a megabyte."""

_PARAMETERS = ("EC PARAMETERS", "DH PARAMETERS", "DSA PARAMETERS")
_MESSAGE = "the PKCS#7 file is a message, not a bundle of certificates"
_ASK_AGAIN = "get the file again; it was damaged or cut short on its way"


class Keys(Enum):
    """What is done with private keys in a file."""

    CHECKED = auto()
    """Read, and validated as far as their algorithm allows: for keys that come from elsewhere."""
    UNCHECKED = auto()
    """Read without the arithmetic that proves an RSA key consistent, which takes a thousand times as long.

    Only for keys of a store, each of which is then compared with its certificate. That suffices for saying whose key it
    is; nothing is signed with it here, and the TLS front end that does sign has its own checks.
    """
    LEFT_ALONE = auto()
    """Not read but counted: certificates beside an encrypted key need no passphrase then. PKCS#12 still needs one."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What was read from one file.

    Attributes:
        format: The file's format in words, for people.
        certificates: In the order of the file, each once. PKCS#7 is a set: its order says nothing.
        requests: Certificate requests, in the order of the file.
        keys: Private keys, in the order of the file, each once.
        keys_left_alone: How many private keys were not read because of `Keys.LEFT_ALONE`.
        friendly_name: What a PKCS#12 file calls the certificate of its key, if it does.
        notes: What a person should know about the file, a sentence each.
    """

    format: str
    certificates: tuple[Certificate, ...] = ()
    requests: tuple[Request, ...] = ()
    keys: tuple[PrivateKey, ...] = ()
    keys_left_alone: int = 0
    friendly_name: str | None = None
    notes: tuple[str, ...] = ()

    def key_of(self, holder: Certificate | Request) -> PrivateKey | None:
        """The key in this file that a certificate or request was made for."""
        return next((each for each in self.keys if key_matches(each, holder)), None)


def read(content: bytes, passphrase: bytes | None = None, *, keys: Keys = Keys.CHECKED) -> Contents:
    """Read a certificate file.

    Args:
        content: The whole file.
        passphrase: What protects its keys, if anything does; an empty one is none.
        keys: What is done with private keys.

    Raises:
        WrongPassphrase: Something in it is encrypted, and the passphrase is missing or does not fit.
        FormatError: It is empty, too large, damaged, or of no format that holds certificates or their keys.
    """
    if not content:
        raise FormatError("the file is empty", "give a certificate, request or key file")
    if len(content) > LARGEST:
        raise FormatError(f"the file is larger than {LARGEST // 1024 // 1024} MiB", "give a certificate file")
    reader = _Reader(passphrase or None, keys)
    kind = _outline(content)
    if kind is not None:
        reader.take(kind, content)
        return reader.contents(kind.value if kind.value.startswith("PKCS") else f"DER {kind.value}")
    if pem.BEGIN not in content:
        raise what_else(content)
    kinds = [reader.take_block(block) for block in pem.blocks(content)]
    return reader.contents("PEM " + ", ".join(dict.fromkeys(kinds)))


def _outline(content: bytes) -> Kind | None:
    """What the file is if it is DER or BER as a whole; None where it may be text."""
    try:
        kind, size = kind_of(content), first_element(content)[1]
    except Truncated as error:
        if content.startswith(b"0\x82") and pem.BEGIN not in content:
            raise FormatError(f"the file is cut short: {error}", _ASK_AGAIN) from error
        return None
    except Malformed:
        return None
    if kind is not None and size != len(content):
        raise FormatError(f"the {kind} is followed by {len(content) - size} bytes of something else", _ASK_AGAIN)
    return kind


@dataclass(slots=True)
class _Reader:
    """Collects what the parts of one file hold."""

    passphrase: bytes | None = field(repr=False)
    mode: Keys
    certificates: dict[Certificate, None] = field(default_factory=dict)
    requests: dict[Request, None] = field(default_factory=dict)
    keys: dict[PrivateKey, None] = field(default_factory=dict)
    keys_left_alone: int = 0
    friendly_name: str | None = None
    notes: dict[str, None] = field(default_factory=dict)

    def contents(self, described: str) -> Contents:
        found = bool(self.certificates or self.requests or self.keys or self.keys_left_alone)
        if not found:
            raise FormatError(
                f"there is no certificate, request or private key in it, only {described}",
                "give a certificate, request or key file",
            )
        return Contents(
            described,
            tuple(self.certificates),
            tuple(self.requests),
            tuple(self.keys),
            self.keys_left_alone,
            self.friendly_name,
            tuple(self.notes),
        )

    def take_block(self, block: pem.Block) -> str:
        """Read one PEM block and say what it is."""
        if block.label.startswith("PGP ") or "OPENSSH" in block.label or "SSH2" in block.label:
            raise what_else(pem.BEGIN + block.label.encode())
        if block.label in _PARAMETERS:
            return "parameters"
        try:
            return self._take_labelled(block)
        except WrongPassphrase:
            raise
        except FormatError as error:
            raise FormatError(f"the {block.label} on line {block.line}: {error.message}", error.remedy) from error
        except Malformed as error:
            raise FormatError(f"the {block.label} on line {block.line} is damaged: {error}", _ASK_AGAIN) from error

    def _take_labelled(self, block: pem.Block) -> str:
        if block.is_encrypted_by_header:
            if not block.has_sound_encryption_header:
                raise FormatError("its DEK-Info header is damaged", _ASK_AGAIN)
            self._take_key(lambda passphrase, skip: _load_pem(block, passphrase, skip), encrypted=True)
            return "encrypted traditional private key"
        data = block.decode()
        kind = kind_of(data)
        if kind is None:
            raise FormatError("neither a certificate, a request nor a private key", "take it out of the file")
        if kind is Kind.CERTIFICATE and block.label.startswith("TRUSTED"):
            data = data[: first_element(data)[1]]  # OpenSSL appends what the certificate is trusted for
        self.take(kind, data)
        return kind.value

    def take(self, kind: Kind, data: bytes) -> None:
        """Read something whose outline is known."""
        match kind:
            case Kind.CERTIFICATE:
                self.certificates[parse_certificate(data)] = None
            case Kind.REQUEST:
                self._take_request(data)
            case Kind.PKCS7:
                self._take_pkcs7(data)
            case Kind.PKCS12:
                self._take_pkcs12(data)
            case Kind.PKCS8 | Kind.TRADITIONAL:
                self._take_key(lambda passphrase, skip: _load_der(data, passphrase, skip), encrypted=False)
            case Kind.ENCRYPTED_PKCS8:
                check_cost(data)
                self._take_key(lambda passphrase, skip: _load_der(data, passphrase, skip), encrypted=True)
            case Kind.REVOCATION_LIST | Kind.PUBLIC_KEY:
                self.notes[f"passed over a {kind}"] = None
            case _:
                assert_never(kind)

    def _take_request(self, data: bytes) -> None:
        request = parse_request(data)
        self.requests[request] = None
        if not request.is_signature_valid:
            self.notes["the signature of the certificate request does not verify; a CA will refuse it"] = None

    def _take_pkcs7(self, data: bytes) -> None:
        try:
            with understanding("not a PKCS#7 file that can be understood"):
                found = pkcs7.load_der_pkcs7_certificates(data)
        except FormatError as error:
            if isinstance(error.__cause__, UnsupportedAlgorithm):
                raise FormatError(_MESSAGE, "export the certificates without a message") from error
            raise
        self._take_parsed(found)

    def _take_pkcs12(self, data: bytes) -> None:
        check_cost(data)
        bundle = self._open_pkcs12(data)
        bags = key_bags(data)
        if bags > 1:
            self.notes[f"the PKCS#12 file holds {bags} private keys, of which only the first can be read"] = None
        if bundle.key is not None and self.mode is Keys.LEFT_ALONE:
            self.keys_left_alone += 1
        elif bundle.key is not None:
            with understanding("not a private key that can be read"):
                self.keys[private_key(bundle.key)] = None
        every = ([bundle.cert] if bundle.cert else []) + bundle.additional_certs
        self._take_parsed([each.certificate for each in every])
        if bundle.cert is not None and bundle.cert.friendly_name is not None:
            self.friendly_name = bundle.cert.friendly_name.decode("utf-8", "replace")

    def _open_pkcs12(self, data: bytes) -> pkcs12.PKCS12KeyAndCertificates:
        if self.passphrase is not None and not is_text(self.passphrase):  # cryptography would panic at a NUL
            raise WrongPassphrase(
                "the passphrase is not text in UTF-8, which PKCS#12 demands", "check where the passphrase comes from"
            )
        for passphrase in dict.fromkeys((self.passphrase, None)):
            try:
                with understanding("not a PKCS#12 file that can be understood"):
                    bundle = pkcs12.load_pkcs12(data, passphrase)
            except FormatError as error:
                if "password" not in str(error.__cause__):
                    raise
            else:
                if passphrase is None and bundle.key is not None:
                    self._note_clear_key()
                return bundle
        if self.passphrase is None:
            raise WrongPassphrase("the PKCS#12 file is protected and no passphrase was given", "give its passphrase")
        raise WrongPassphrase(
            "the passphrase does not fit the PKCS#12 file, or the file is damaged", "check the passphrase"
        )

    def _take_parsed(self, found: list[x509.Certificate]) -> None:
        for each in found:
            self.certificates[parse_certificate(each.public_bytes(Encoding.DER))] = None

    def _take_key(self, load: Callable[[bytes | None, bool], PrivateKeyTypes], *, encrypted: bool) -> None:
        if not encrypted:
            self._note_clear_key()
        if self.mode is Keys.LEFT_ALONE:
            self.keys_left_alone += 1
            return
        skip = self.mode is Keys.UNCHECKED
        if not encrypted:
            with understanding("not a private key that can be read"):
                self.keys[private_key(load(None, skip))] = None
            return
        if self.passphrase is None:
            raise WrongPassphrase("the private key is encrypted and no passphrase was given", "give its passphrase")
        try:
            with understanding("not an encrypted private key that can be read"):
                self.keys[private_key(load(self.passphrase, skip))] = None
        except FormatError as error:
            # A wrong passphrase that happens to leave valid padding shows as a key that makes no sense.
            if isinstance(error.__cause__, ValueError):
                raise WrongPassphrase(
                    "the passphrase does not fit the private key, or the file is damaged", "check the passphrase"
                ) from None
            raise

    def _note_clear_key(self) -> None:
        needless = "; the passphrase that was given was not needed" if self.passphrase is not None else ""
        self.notes[f"the private key is not encrypted{needless}"] = None


def _load_der(data: bytes, passphrase: bytes | None, skip: bool) -> PrivateKeyTypes:  # noqa: FBT001 - one of a pair
    return load_der_private_key(data, passphrase, unsafe_skip_rsa_key_validation=skip)


def _load_pem(block: pem.Block, passphrase: bytes | None, skip: bool) -> PrivateKeyTypes:  # noqa: FBT001 - see above
    return load_pem_private_key(block.armoured(), passphrase, unsafe_skip_rsa_key_validation=skip)
