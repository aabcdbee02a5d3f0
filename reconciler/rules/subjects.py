"""Rules about subjects: what the guide asks of each field when a certificate is created.

A provided certificate was made elsewhere, so advice on how to fill in the form does not apply to it.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Severity, found, rule
from reconciler.desired.models import Provided, SelfSigned
from reconciler.pki.names import normalize_dns
from reconciler.rules.facts import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.desired.models import Certificate
    from reconciler.desired.state import Declared
    from reconciler.rules.facts import Facts

_GUIDE = "Create the Certificate Signing Request"

CN_FIRST_SAN = rule(
    "cn-first-san",
    Severity.WARNING,
    _GUIDE,
    "A common name that is a DNS name is the first subject alternative name too.",
)
CN_IS_HOSTNAME = rule(
    "cn-is-hostname",
    Severity.NOTICE,
    _GUIDE,
    "The common name is a title for people, not a DNS name, unless the CA asks for one.",
)
CN_UNIQUE = rule(
    "cn-unique",
    Severity.WARNING,
    _GUIDE,
    "The common name tells a certificate from all others.",
)
COUNTRY_CODE = rule(
    "country-code",
    Severity.ERROR,
    _GUIDE,
    "The country is a two-letter code of ISO 3166.",
)
STATE_ABBREVIATED = rule(
    "state-abbreviated",
    Severity.WARNING,
    _GUIDE,
    "The state or province is given by its full name, since some CAs refuse abbreviations.",
)

# Kosovo has no ISO 3166 code; this one of the user-assigned range is what everybody uses, CAs included.
_IN_USE_BESIDES_ISO = frozenset({"XK"})
_OFTEN_CONFUSED = {"UK": "GB", "EL": "GR"}
_LONGEST_ABBREVIATION = 3


def cn_first_san(facts: Facts) -> Iterator[Finding]:
    """A common name that is a DNS name must be entered again, as the first subject alternative name."""
    for certificate in _created(facts):
        model = certificate.model
        name = dns_name(model.subject.common_name)
        first = model.subject_alternative_names[0]
        if name and name != first:
            yield found(
                CN_FIRST_SAN,
                f"the first subject alternative name is {quote(first)}, not the common name {quote(name)}",
                f"put {name} first among the subject alternative names, or choose a title as common name",
                position=certificate.position("subject_alternative_names", 0),
                about=certificate.about,
            )


def cn_is_hostname(facts: Facts) -> Iterator[Finding]:
    """A DNS name as common name is advised against; only a CA can have a reason to want one."""
    for certificate in _created(facts):
        name = dns_name(certificate.model.subject.common_name)
        if name:
            own = isinstance(certificate.model.source, SelfSigned)
            yield found(
                CN_IS_HOSTNAME,
                f"the common name {quote(name)} is a DNS name",
                "choose a title for people instead" if own else "choose a title for people unless your CA wants this",
                position=certificate.position("subject", "common_name"),
                about=certificate.about,
                severity=Severity.WARNING if own else None,
            )


def cn_unique(facts: Facts) -> Iterator[Finding]:
    """No two certificates share a common name. The first of them by file name may keep it."""
    by_common_name: dict[str, list[Declared[Certificate]]] = defaultdict(list)
    for certificate in facts.state.certificates.values():
        by_common_name[" ".join(certificate.model.subject.common_name.casefold().split())].append(certificate)
    for same in by_common_name.values():
        first, *others = sorted(same, key=lambda each: each.name)
        for certificate in others:
            common_name = quote(certificate.model.subject.common_name)
            yield found(
                CN_UNIQUE,
                f"the common name {common_name} is also that of certificate {first.name}",
                "give each certificate a common name of its own",
                position=certificate.position("subject", "common_name"),
                about=certificate.about,
            )


def country_code(facts: Facts) -> Iterator[Finding]:
    """The country is one of the codes that ISO 3166 assigns, in capitals as X.509 wants them."""
    for certificate in facts.state.certificates.values():
        country = certificate.model.subject.country
        if country is None or country in _countries() or country in _IN_USE_BESIDES_ISO:
            continue
        meant = _country_meant(country)
        yield found(
            COUNTRY_CODE,
            f"{quote(country)} is not a country code of ISO 3166",
            f"write {meant}" if meant else "write the two capital letters that ISO 3166 assigns, such as US",
            position=certificate.position("subject", "country"),
            about=certificate.about,
        )


def state_abbreviated(facts: Facts) -> Iterator[Finding]:
    """The state is not abbreviated: no subdivision code of ISO 3166-2, no three capitals, no final full stop."""
    for certificate in facts.state.certificates.values():
        subject = certificate.model.subject
        if subject.state is None or not _is_abbreviation(subject.state, subject.country or ""):
            continue
        name = _subdivisions((subject.country or "").upper()).get(_letters(subject.state))
        yield found(
            STATE_ABBREVIATED,
            f"the state {quote(subject.state)} is abbreviated, which some CAs refuse",
            f"write {name}" if name else "write its full name",
            position=certificate.position("subject", "state"),
            about=certificate.about,
        )


def dns_name(common_name: str) -> str | None:
    """The common name as a normalised DNS name or wildcard, or None where it is a title."""
    try:
        name = normalize_dns(common_name)
    except ValueError:
        return None
    labels = name.split(".")
    return name if len(labels) > 1 and not labels[-1].isdigit() else None


def _created(facts: Facts) -> Iterator[Declared[Certificate]]:
    for certificate in facts.state.certificates.values():
        if not isinstance(certificate.model.source, Provided):
            yield certificate


@cache
def _countries() -> frozenset[str]:
    from pycountry import countries  # noqa: PLC0415 - its tables are read only where a certificate names a country

    return frozenset(each.alpha_2 for each in countries)


def _country_meant(text: str) -> str | None:
    from pycountry import countries  # noqa: PLC0415 - as above

    wanted = text.strip().upper()
    if wanted in _OFTEN_CONFUSED:
        return _OFTEN_CONFUSED[wanted]
    try:
        return str(countries.lookup(wanted).alpha_2)
    except LookupError:
        return None


def _is_abbreviation(state: str, country: str) -> bool:
    if state.endswith("."):
        return True
    if len(_letters(state)) > _LONGEST_ABBREVIATION:
        return False
    subdivisions = _subdivisions(country.upper())
    if any(state.casefold() == name.casefold() for name in subdivisions.values()):
        return False
    return state.isupper() or _letters(state) in subdivisions


def _letters(text: str) -> str:
    return "".join(character for character in text.upper() if character.isalnum())


@cache
def _subdivisions(country: str) -> dict[str, str]:
    """Names of a country's subdivisions by the last part of their ISO 3166-2 code."""
    from pycountry import subdivisions  # noqa: PLC0415 - a table of 5,000 rows, for the few states that look abbreviated

    return {each.code.partition("-")[2]: each.name for each in subdivisions if each.country_code == country}
