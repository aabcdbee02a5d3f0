"""Rules about the subject alternative names themselves, whoever may need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Severity, Stops, found, rule
from reconciler.pki.names import NameType, normalize_dns
from reconciler.rules.facts import declared_names, leaf_position, quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.rules.facts import Facts

IP_SAN = rule(
    "ip-san",
    Severity.WARNING,
    "Create the Certificate Signing Request",
    "IP addresses as subject alternative names are agreed with BeyondTrust Technical Support first.",
)
WILDCARD_FORM = rule(
    "wildcard-form",
    Severity.ERROR,
    "RFC 9525, section 6.3",
    "A wildcard is the whole left-most label, above at least two more labels; any other covers nothing.",
    Stops.SITE,
)


def ip_san(facts: Facts) -> Iterator[Finding]:
    """Each declared IP address, where it is declared."""
    for certificate in facts.state.certificates.values():
        for index, name in enumerate(declared_names(certificate)):
            if name.type is NameType.IP:
                yield found(
                    IP_SAN,
                    f"{name.value} is an IP address",
                    "contact BeyondTrust Technical Support first and acknowledge this, or use a DNS name",
                    position=certificate.position("subject_alternative_names", index),
                    about=certificate.about,
                )


def wildcard_form(facts: Facts) -> Iterator[Finding]:
    """Each wildcard that covers nothing: an error where it is declared, a warning in a certificate made elsewhere."""
    for certificate in facts.state.certificates.values():
        for index, name in enumerate(declared_names(certificate)):
            if name.type is NameType.DNS and _covers_nothing(name.value):
                yield found(
                    WILDCARD_FORM,
                    f"the wildcard {quote(name.value)} covers nothing: clients accept one only above a whole domain",
                    "write it as *.example.com, or list the host names",
                    position=certificate.position("subject_alternative_names", index),
                    about=certificate.about,
                )
    for certificate, leaf in facts.with_leaf:
        declared = frozenset(declared_names(certificate))
        for name in leaf.subject_alternative_names:
            if name.type is NameType.DNS and name not in declared and _covers_nothing(name.value):
                yield found(
                    WILDCARD_FORM,
                    f"the committed certificate contains the wildcard {quote(name.value)}, which covers nothing",
                    "ask for a certificate whose wildcards read like *.example.com",
                    position=leaf_position(certificate),
                    about=certificate.about,
                    severity=Severity.WARNING,
                )


def _covers_nothing(name: str) -> bool:
    if "*" not in name:
        return False
    try:
        parent = normalize_dns(name).removeprefix("*.").split(".")
    except ValueError:
        return True
    return len(parent) < 2 or parent[-1].isdigit()  # noqa: PLR2004 - a domain has two labels at least
