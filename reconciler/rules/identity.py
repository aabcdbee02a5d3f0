"""Rules about telling things apart: every live certificate must belong to one declared certificate at most."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Severity, found, rule
from reconciler.desired.models import Provided
from reconciler.rules.facts import declared_names, leaf_position, listed

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from reconciler.desired.models import Certificate
    from reconciler.desired.state import Declared
    from reconciler.rules.facts import Facts

SAME_IDENTITY = rule(
    "same-identity",
    Severity.ERROR,
    "Certificates in the store are told apart by fingerprint, or by subject, names and kind of key",
    "No two declared certificates could be taken for each other; an RSA and an EC one for the same names can not.",
)


def same_identity(facts: Facts) -> Iterator[Finding]:
    """Each of the certificates that could be taken for another: by what is committed, or by what would be created."""
    by_leaf: dict[Hashable, list[Declared[Certificate]]] = defaultdict(list)
    by_form: dict[Hashable, list[Declared[Certificate]]] = defaultdict(list)
    for certificate, leaf in facts.with_leaf:
        by_leaf[leaf.fingerprint].append(certificate)
    for certificate in facts.state.certificates.values():
        if not isinstance(certificate.model.source, Provided):
            by_form[_form(certificate)].append(certificate)
    for certificate, others in _not_alone(by_leaf):
        yield found(
            SAME_IDENTITY,
            f"the committed certificate is also that of {listed(others)}",
            "declare it once, and list it wherever it belongs",
            position=leaf_position(certificate),
            about=certificate.about,
        )
    for certificate, others in _not_alone(by_form):
        yield found(
            SAME_IDENTITY,
            f"source, subject, subject alternative names and key are those of {listed(others)} too",
            "declare it once, or give one of them another common name",
            position=certificate.position("subject"),
            about=certificate.about,
        )


def _form(certificate: Declared[Certificate]) -> Hashable:
    """What a certificate or request in the store is recognised by: its subject, SAN set and key kind."""
    model = certificate.model
    return (model.source.kind, model.subject.distinguished_name, frozenset(declared_names(certificate)), model.key)


def _not_alone(
    groups: Mapping[Hashable, list[Declared[Certificate]]],
) -> Iterator[tuple[Declared[Certificate], tuple[str, ...]]]:
    for group in groups.values():
        for certificate in group:
            others = tuple(sorted(other.name for other in group if other is not certificate))
            if others:
                yield certificate, others
