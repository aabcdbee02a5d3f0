"""The files of a bundle: what each is called, and certificates in the formats of the appliance's Export page.

DER for each certificate alone (`.crt`), PKCS#7 for each chain (`.p7b`): what the guide calls safe to send. File names
come from whom a certificate was issued to, so nothing of them is trusted.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.base.text import printable
from reconciler.pki.writing import write_der, write_pkcs7

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from reconciler.pki.certificate import Certificate

_LONGEST_NAME = 48
_LONGEST_READ = 240
_LONGEST_SHOWN = 60
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?![a-z0-9])")


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of a bundle.

    Attributes:
        name: Its name; safe on every system.
        content: What it holds.
        about: What it is, in a few words.
    """

    name: str
    content: bytes = field(repr=False)
    about: str


def certificate_files(named: Mapping[Certificate, str], roots: AbstractSet[Certificate]) -> tuple[BundleFile, ...]:
    """A file for each certificate.

    Args:
        named: The name of each file.
        roots: Those that clients have to trust.
    """
    return tuple(BundleFile(name, write_der(each), _about(each, roots)) for each, name in named.items())


def chain_file(name: str, issued_to: str, certificates: Sequence[Certificate]) -> BundleFile:
    """A declared certificate with its whole chain in one file.

    Args:
        name: Its name, which begins like that of no certificate's file.
        issued_to: Whom it was issued to, for people.
        certificates: The certificate and everything above it.
    """
    return BundleFile(f"{slug(name)}.p7b", write_pkcs7(certificates), f"the whole chain of '{issued_to}' in one file")


def _about(certificate: Certificate, roots: AbstractSet[Certificate]) -> str:
    if certificate in roots:
        return "root certificate" if certificate.is_authority else "self-signed certificate"
    return "intermediate certificate" if certificate.is_authority else "server certificate"


def file_names(certificates: Iterable[Certificate]) -> dict[Certificate, str]:
    """A file name for each certificate, from whom it was issued to; no two alike."""
    named: dict[Certificate, str] = {}
    for each in certificates:
        if each not in named:
            named[each] = unused(slug(each.subject.display), "crt", set(named.values()))
    return named


def unused(stem: str, extension: str, taken: AbstractSet[str]) -> str:
    """A file name that is not taken, numbered where it has to be."""
    name, number = f"{stem}.{extension}", 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}.{extension}"
    return name


def slug(text: str) -> str:
    """Text as the stem of a file name on every system: lower-case letters, digits and dashes, no Windows device."""
    plain = unicodedata.normalize("NFKD", text[:_LONGEST_READ]).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_NAME].rstrip("-")
    return f"certificate-{stem}".rstrip("-") if not stem or _DEVICES.match(stem) else stem


def shown(text: str) -> str:
    """A name from elsewhere as it may stand in the message: on one line, and not too long."""
    plain = printable(text)
    return plain if len(plain) <= _LONGEST_SHOWN else plain[: _LONGEST_SHOWN - 1] + "…"
