"""Names in certificates, and which certificate names cover a host name.

Two questions are kept apart. *Covering* decides what is good and is strict (RFC 9525: subject alternative names only, a
wildcard only as the whole left-most label and for one label). *Candidacy* decides what an appliance might serve and is
liberal, by the rule of the driver; it lives in `reconciler.pki.selection`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import idna

_LABEL = "(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


class NameType(StrEnum):
    """Kinds of subject alternative name, by the names of RFC 5280, section 4.2.1.6."""

    DNS = "dNSName"
    IP = "iPAddress"
    OTHER = "other"


@dataclass(frozen=True, slots=True, order=True)
class SubjectAlternativeName:
    """One subject alternative name.

    Attributes:
        type: Which kind.
        value: Normalised where that is possible: lower-case A-labels without a trailing dot, or the canonical address.
    """

    type: NameType
    value: str

    def __str__(self) -> str:
        return f"{self.type.value} - {self.value}"


@lru_cache(maxsize=65536)
def normalize_dns(name: str) -> str:
    """A host name or wildcard as it is compared: A-labels, lower case, no trailing dot.

    Raises:
        ValueError: It is not a name that DNS could hold (RFC 1035, section 2.3.4; RFC 5890, section 2.3.2.1), or it
            is a host that ends in a number, which no top-level domain does: a mistyped address (RFC 1123, section 2.1).
    """
    text = name.removesuffix(".")
    wildcard, host = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii").removesuffix(".")
        except idna.IDNAError as error:
            raise ValueError(f"{name!r} is not a host name: {error}") from error
    host = host.lower()
    if len(wildcard + host) > 253 or not _HOST.fullmatch(host):  # noqa: PLR2004 - RFC 1035
        raise ValueError(f"{name!r} is not a host name")
    if host.rpartition(".")[2].isdigit() and not wildcard:
        raise ValueError(f"{name!r} is neither a host name nor an IP address")
    return wildcard + host


def parse_name(text: str) -> SubjectAlternativeName:
    """Read what an administrator writes: a DNS name, a wildcard or an IP address (without a zone, which is local).

    Raises:
        ValueError: It is none of these.
    """
    try:
        return SubjectAlternativeName(NameType.IP, str(ipaddress.ip_address(text.replace("%", "/"))))
    except ValueError:
        return SubjectAlternativeName(NameType.DNS, normalize_dns(text))


@lru_cache(maxsize=65536)
def pattern_covers(pattern: str, host: str) -> bool:
    """Whether a dNSName covers a host name, strictly.

    A wildcard counts only as the whole left-most label, for exactly one label (RFC 9525, section 6.3), and only beneath
    at least two labels, since no client accepts `*.com`. A dNSName that ends in a dot or is not ASCII covers nothing:
    it should not be in a certificate (RFC 5280, section 4.2.1.6), and clients refuse it.

    Args:
        pattern: A dNSName in any case.
        host: The name that a client asks for, in any case, with or without a final dot.
    """
    if pattern.endswith(".") or not pattern.isascii():
        return False
    try:
        pattern, host = normalize_dns(pattern), normalize_dns(host)
    except ValueError:
        return False
    if host.startswith("*."):
        return pattern == host
    if not pattern.startswith("*."):
        return pattern == host
    suffix = pattern[2:]
    _, dot, parent = host.partition(".")
    return bool(dot) and parent == suffix and "." in suffix


@lru_cache(maxsize=65536)
def _address(name: str) -> str:
    """The canonical form of an IP address; empty where the name is none."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return ""


def covers(names: tuple[SubjectAlternativeName, ...], name: str) -> bool:
    """Whether a certificate with these subject alternative names covers a host name or IP address.

    The common name never counts (RFC 9525, section 6.1). An IP address is covered only by an equal iPAddress.

    Args:
        names: All subject alternative names of a certificate.
        name: A host name, a wildcard (covered only by itself), or an IP address.
    """
    address = _address(name)
    if not address:
        return any(each.type is NameType.DNS and pattern_covers(each.value, name) for each in names)
    return any(each.type is NameType.IP and each.value == address for each in names)
