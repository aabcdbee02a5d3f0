"""SSL certificate auto-selection: which certificates an appliance may serve for a name.

The guide (chapter "SSL Certificate Auto-Selection") makes every certificate in the store a candidate and leaves the
choice among several open, so the answer is a set. Planner and run-time checker share this module and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, TypeVar

from reconciler.pki.names import NameType, SubjectAlternativeName, normalize_dns, pattern_covers

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class CandidateRule:
    """How a driver's TLS front end matches a server name indication, as far as it is known.

    Attributes:
        common_name: Whether the common name is matched too.
        deep_wildcards: Whether a wildcard may match more than one label.
        certain: Whether the rule is known exactly. Where it is not, the default may be served for every name that no
            certificate covers strictly, besides whatever might match.
    """

    common_name: bool = True
    deep_wildcards: bool = True
    certain: bool = False


LIBERAL = CandidateRule()
"""The rule of a front end that nothing is known about: whatever might match."""


class Selectable(Protocol):
    """What auto-selection looks at."""

    @property
    def has_key(self) -> bool:
        """Whether the store holds the certificate's key: without it nothing can be served."""

    @property
    def common_name(self) -> str:
        """The subject's common name."""

    @property
    def subject_alternative_names(self) -> tuple[SubjectAlternativeName, ...]:
        """All subject alternative names."""


S = TypeVar("S", bound=Selectable)


@lru_cache(maxsize=65536)
def _comparable(name: str) -> str:
    """A name or pattern as it is compared; empty, which nothing equals, where it is no host name."""
    try:
        return normalize_dns(name)
    except ValueError:
        return ""


def is_candidate(certificate: Selectable, name: str, rule: CandidateRule) -> bool:
    """Whether a certificate might be chosen for a server name, by the driver's own rule."""
    asked = _comparable(name)
    if not asked:
        return False
    for each in certificate.subject_alternative_names:
        if each.type is NameType.DNS and _might_match(each.value, asked, rule):
            return True
    return rule.common_name and _might_match(certificate.common_name, asked, rule)


def _might_match(pattern: str, name: str, rule: CandidateRule) -> bool:
    normal = _comparable(pattern)
    if not normal.startswith("*."):
        # One that is not ASCII or ends in a dot should not be in a certificate, and matches nothing.
        return normal == name and pattern.isascii() and not pattern.endswith(".")
    suffix = normal[1:]
    head = name.removesuffix(suffix)
    return head != name and bool(head) and (rule.deep_wildcards or "." not in head)


def may_serve(certificates: Iterable[S], default: S | None, name: str | None, rule: CandidateRule) -> tuple[S, ...]:
    """The certificates that may be served, in the order given, the default last where only it remains or may join.

    Args:
        certificates: Everything in the store.
        default: The default certificate, if there is one.
        name: The server name a client sends, or None for a client that sends none.
        rule: The driver's rule.
    """
    fallback = (default,) if default is not None and default.has_key else ()
    if name is None:
        return fallback
    matching = tuple(each for each in certificates if each.has_key and is_candidate(each, name, rule))
    if not matching:
        return fallback
    certain = rule.certain or any(
        any(san.type is NameType.DNS and pattern_covers(san.value, name) for san in each.subject_alternative_names)
        for each in matching
    )
    return matching if certain or not fallback or fallback[0] in matching else (*matching, *fallback)
