"""The four kinds of file as pydantic models. Their docstrings are what the JSON Schemas and editors show.

A model says what one file may contain. Whatever needs a second file, committed material, live state or the time is a
rule in `reconciler.rules`.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic.config import JsonDict  # noqa: TC002 - pydantic evaluates what stands beside its models

from reconciler.base.references import (
    Duration,
    Fingerprint,
    MaterialPath,
    Model,
    SecretReference,
    StoreConfiguration,
    refused,
    told_pattern,
)
from reconciler.pki.certificate import DistinguishedName, distinguished_name
from reconciler.pki.keys import KeyKind
from reconciler.pki.names import normalize_dns, parse_name

NAME_PATTERN = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"
NAME = re.compile(NAME_PATTERN)
"""What a file may be called so that its stem can name an object."""


_LABEL = r"[^\s.:/\\*@,;#?]+"
_HOST_PATTERN = rf"{_LABEL}(?:\.{_LABEL})*\.?"
"""What editors mark as no host name; what they let pass is looked at more closely by the model."""
_ADDRESS_PATTERN = r"\[?[0-9a-fA-F:.]*:[0-9a-fA-F:.]*\]?"
_ENDPOINT = r"(?:[^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})"
_LAST_PORT = 65535


def _hostname(value: str) -> str:
    remedy = "write a host name such as access.example.com"
    if value.startswith("*."):
        raise refused("a wildcard is not a host name", remedy)
    try:
        return normalize_dns(value)
    except ValueError as error:
        raise refused("this is not a host name", remedy) from error


def _host(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value.removeprefix("[").removesuffix("]")))
    except ValueError:
        return _hostname(value)


def _host_and_port(value: str) -> str:
    if value.count(":") == 1 or "]:" in value:
        host, _, port = _endpoint(value.lower()).rpartition(":")
        checked = _host(host)
        return f"[{checked}]:{port}" if ":" in checked else f"{checked}:{port}"
    return _host(value)


def _name(value: str) -> str:
    try:
        return parse_name(value).value
    except ValueError as error:
        remedy = "write a DNS name such as access.example.com or *.example.com"
        raise refused("this is neither a DNS name nor an IP address", remedy) from error


def _object_name(value: str) -> str:
    if not NAME.fullmatch(value):
        remedy = "write the file's name without folder and `.yaml`"
        raise refused("this cannot be the name of a declared object", remedy)
    return value


def _endpoint(value: str) -> str:
    match = re.fullmatch(_ENDPOINT, value)
    if not match or not 0 < int(match[1]) <= _LAST_PORT:
        raise refused("this is not an endpoint", "write host and port, like east-1.example.com:443")
    return value


def _instant(value: object) -> dt.datetime:
    if isinstance(value, str) and re.search(r"[zZ]|[+-][0-9]{2}:?[0-9]{2}$", value):
        try:
            return dt.datetime.fromisoformat(value).astimezone(dt.UTC)
        except (ValueError, OverflowError):
            pass
    if isinstance(value, dt.datetime) and value.tzinfo:
        return value.astimezone(dt.UTC)
    raise refused("this is not an instant with a time zone", "write it like 2026-11-20T10:00:00Z")


def _date(value: object) -> dt.date:
    if isinstance(value, str):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            pass
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    raise refused("this is not a date", "write it like 2026-01-31")


def _moment(value: object) -> object:
    for read in (_date, _instant):
        try:
            found = read(value)
        except ValueError:
            continue
        return found if isinstance(found, dt.datetime) else dt.datetime.combine(found, dt.time(), dt.UTC)
    remedy = "write it like 2026-01-31 or 2026-01-31T09:00:00Z"
    raise refused("this is neither a date nor an instant with a time zone", remedy)


Hostname: TypeAlias = Annotated[
    str,
    AfterValidator(_hostname),
    Field(
        examples=["access.example.com"],
        json_schema_extra=told_pattern(f"^{_HOST_PATTERN}$", "Write a host name such as access.example.com."),
    ),
]
HostAndPort: TypeAlias = Annotated[
    str,
    AfterValidator(_host_and_port),
    Field(
        examples=["east-1.example.com", "east-1.example.com:8443"],
        json_schema_extra=told_pattern(
            f"^(?:{_HOST_PATTERN}|{_ADDRESS_PATTERN})(?::[0-9]{{1,5}})?$", "Write a host, or host:port."
        ),
    ),
]
AlternativeName: TypeAlias = Annotated[
    str,
    AfterValidator(_name),
    Field(
        examples=["access.example.com", "*.example.com"],
        json_schema_extra=told_pattern(
            rf"^(?:(?:\*\.)?{_HOST_PATTERN}|{_ADDRESS_PATTERN})$",
            "Write a DNS name such as access.example.com or *.example.com.",
        ),
    ),
]
ObjectReference: TypeAlias = Annotated[
    str,
    AfterValidator(_object_name),
    Field(json_schema_extra=told_pattern(NAME_PATTERN, "Write the file's name without folder and .yaml.")),
]
Endpoint: TypeAlias = Annotated[
    str,
    AfterValidator(_endpoint),
    WithJsonSchema(
        {
            "type": "string",
            **told_pattern(f"^{_ENDPOINT}$", "Write host and port, like east-1.example.com:443."),
            "examples": ["east-1.example.com:443"],
        }
    ),
]
_DATE_PATTERN = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_INSTANT_PATTERN = (
    f"{_DATE_PATTERN}[Tt ][0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\\.[0-9]+)?)?(?:[zZ]|[+-][0-9]{{2}}:?[0-9]{{2}})"
)
Instant: TypeAlias = Annotated[
    dt.datetime,
    BeforeValidator(_instant),
    WithJsonSchema(
        {
            "type": "string",
            **told_pattern(f"^{_INSTANT_PATTERN}$", "Write an instant with a time zone, like 2026-11-20T10:00:00Z."),
            "examples": ["2026-11-20T10:00:00Z"],
        }
    ),
]
Date: TypeAlias = Annotated[
    dt.date,
    BeforeValidator(_date),
    WithJsonSchema(
        {
            "type": "string",
            **told_pattern(f"^{_DATE_PATTERN}$", "Write a date like 2026-01-31."),
            "examples": ["2027-01-31"],
        }
    ),
]


Moment: TypeAlias = Annotated[
    dt.datetime,
    BeforeValidator(_moment),
    WithJsonSchema(
        {
            "type": "string",
            **told_pattern(
                f"^(?:{_DATE_PATTERN}|{_INSTANT_PATTERN})$", "Write it like 2026-01-31 or 2026-01-31T09:00:00Z."
            ),
            "examples": ["2027-01-31", "2027-01-31T09:00:00Z"],
        }
    ),
]
"""A date, which means its first instant in UTC, or an instant."""


class Policy(Model):
    """Policy for everything."""

    keys: Annotated[tuple[KeyKind, ...], Field(min_length=1)] = (
        "rsa-2048",
        "rsa-3072",
        "rsa-4096",
        "ec-p256",
        "ec-p384",
    )
    """Kinds of key that certificates may have; all that appliances can make, unless fewer are listed."""
    renew_before: Duration = dt.timedelta(days=30)
    """How long before its expiration a certificate is renewed; a third of its lifetime where that is shorter."""
    keep_previous: Duration = dt.timedelta(days=7)
    """How long a replaced certificate stays beside its successor."""
    removals_at_most: Annotated[int, Field(ge=0)] = 2
    """Certificates with a key, and requests, that one plan may remove from one appliance.

    A certificate that has been replaced and expires within a day does not count.
    """


class Fleet(Model):
    """`fleet.yaml`: what holds for all sites and appliances."""

    policy: Policy = Policy()
    """Policy for everything."""


class Acknowledgement(Model):
    """Silences one rule on this object until a date."""

    rule: Annotated[str, Field(examples=["ip-san", "self-signed-temporary"])]
    """Id of the rule, as `validate --list-rules` shows it."""
    reason: Annotated[str, Field(min_length=1, examples=["agreed with support, case 123"])]
    """Why the finding is accepted, for whoever reads it later."""
    until: Date
    """Last day on which it is silent."""


class ClientSoftwareBuild(Model):
    """One software build that BeyondTrust Technical Support made for the site."""

    installed_at: Instant
    """When the build was installed on the site: clients take `settle` from then on to follow."""
    trusts: Annotated[tuple[MaterialPath, ...], Field(min_length=1)]
    """The root (or self-signed) certificates that are built into it."""


def _client_software(value: object) -> object:
    if value == "none" or (isinstance(value, tuple) and value):
        return value
    raise refused(
        "this is neither `none` nor a list of software builds",
        "write `none` where no clients exist yet, or list the software builds, oldest first",
    )


def _client_software_tag(value: object) -> str:
    return "{none}" if isinstance(value, str) else "{builds}"


ClientSoftware: TypeAlias = Annotated[
    Annotated[Literal["none"], Tag("{none}")]
    | Annotated[tuple[ClientSoftwareBuild, ...], Tag("{builds}"), Field(min_length=1)],
    Discriminator(_client_software_tag),
    BeforeValidator(_client_software),
]
"""Which software builds clients may be running: `none`, or the builds that were made."""


def _needs(topology: str, key: str) -> JsonDict:
    """For editors: what a topology asks for. Between files and for people it is a rule of its own."""
    return {
        "if": {"required": ["topology"], "properties": {"topology": {"const": topology}}},
        "then": {"required": [key]},
    }


class Site(Model):
    """A BeyondTrust site: one hostname, one or more appliances."""

    model_config = ConfigDict(
        json_schema_extra={"allOf": [_needs("failover", "backup"), _needs("atlas", "traffic_nodes")]}
    )

    hostname: Hostname
    """The hostname that clients use; it also stands for clients that send no server name."""
    topology: Literal["single", "failover", "atlas"] = "single"
    """How its appliances work together: one alone, primary and backup, or a primary with traffic nodes."""
    primary: ObjectReference
    """The appliance on which keys are made: the name of its file in `appliances/`."""
    backup: ObjectReference | None = None
    """failover: the other appliance."""
    traffic_nodes: tuple[ObjectReference, ...] = ()
    """atlas: the traffic nodes."""
    certificates: tuple[ObjectReference, ...] = ()
    """Certificates on every member, identical: the names of their files in `certificates/`."""
    default: ObjectReference | None = None
    """The certificate for clients that send no server name, or one that nothing matches."""
    client_software: ClientSoftware
    """`none` where no clients exist yet, or the builds that BeyondTrust Technical Support made, oldest first."""
    settle: Duration = dt.timedelta(hours=48)
    """How long clients take to update to a new build; the guide says 24 to 48 hours."""
    protected_names: tuple[Hostname, ...] = ()
    """Further names that must never lose their certificate."""
    acknowledge: tuple[Acknowledgement, ...] = ()
    """Findings that are accepted here."""


class Retired(Model):
    """One certificate that must go."""

    sha256: Fingerprint
    """Its SHA-256 fingerprint."""
    reason: Annotated[str, Field(min_length=1)]
    """Why it must go."""


class Appliance(Model):
    """One appliance and its certificate store."""

    hostname: Hostname
    """The appliance's own host name."""
    endpoint: Endpoint | None = None
    """`host:port` where its TLS answers; the host name and port 443 for web stores, nothing for directories."""
    platform: Literal["hardware", "virtual", "cloud"] = "virtual"
    """What kind of appliance it is. Cloud appliances cannot create self-signed certificates."""
    # The loader narrows this to the options of the installed drivers; see `reconciler.desired.load`.
    store: StoreConfiguration
    """Where its certificates are, and by which driver they are reached."""
    certificates: tuple[ObjectReference, ...] = ()
    """Certificates in addition to the site's."""
    default: ObjectReference | None = None
    """Overrides the site's default."""
    undeclared: Literal["keep", "remove"] = "keep"
    """What happens to certificates that nothing declares: they are left alone, or removed."""
    retired: tuple[Retired, ...] = ()
    """Certificates to remove now."""
    client_software: ClientSoftware | None = None
    """For an appliance outside any site; see the site's."""
    settle: Duration | None = None
    """For an appliance outside any site; see the site's."""
    acknowledge: tuple[Acknowledgement, ...] = ()
    """Findings that are accepted here."""


class Subject(Model):
    """The Subject Name of a certificate."""

    country: str | None = None
    """Two letters, ISO 3166: `US`, `GB`."""
    state: str | None = None
    """State or province, its full name: `Mississippi`, not `MS`."""
    locality: str | None = None
    """City."""
    organization: str | None = None
    """Name of the company."""
    organizational_unit: str | None = None
    """Group or department that manages the certificate."""
    common_name: Annotated[str, Field(min_length=1, max_length=64)]
    """A human-readable title, unique among your certificates; not the DNS name unless your CA wants that."""

    @property
    def distinguished_name(self) -> DistinguishedName:
        """The subject as a name, in the guide's order."""
        pairs = {
            "CN": self.common_name,
            "OU": self.organizational_unit,
            "O": self.organization,
            "L": self.locality,
            "ST": self.state,
            "C": self.country,
        }
        return distinguished_name([(key, value) for key, value in pairs.items() if value])


class Requested(Model):
    """Key and request are made on the primary, the request goes to a CA, its answer is committed."""

    kind: Literal["requested"]
    """Where the certificate comes from."""
    signed: MaterialPath | None = None
    """The CA's answer, in any format that the appliance imports. Leave it out until there is one."""
    chain: tuple[MaterialPath, ...] = ()
    """Intermediate and root certificates, from the issuer up: what the CA's file does not bring along."""


class Provided(Model):
    """Made elsewhere and brought along with its key."""

    kind: Literal["provided"]
    """Where the certificate comes from."""
    certificate: MaterialPath
    """The certificate, in clear, so that everyone can review it."""
    chain: tuple[MaterialPath, ...] = ()
    """Intermediate and root certificates, from the issuer up: what the CA's file does not bring along."""
    key: MaterialPath
    """The encrypted private key, or a PKCS#12 file that holds it. Only `apply` reads it."""
    passphrase: SecretReference
    """Where the passphrase of the key is found."""


class SelfSigned(Model):
    """Made and signed on the appliance. Only where no clients exist yet."""

    kind: Literal["self_signed"]
    """Where the certificate comes from."""
    valid_for: Duration = dt.timedelta(days=365)
    """Its lifetime, where the interface can set it."""


Source: TypeAlias = Annotated[Requested | Provided | SelfSigned, Field(discriminator="kind")]


class Certificate(Model):
    """One certificate as it should be, wherever a site or appliance lists it."""

    friendly_name: Annotated[str, Field(min_length=1)] | None = None
    """What the appliance's page shows; the file's name if it is left out."""
    subject: Subject
    """The Subject Name."""
    subject_alternative_names: Annotated[tuple[AlternativeName, ...], Field(min_length=1)]
    """One name per DNS A-record of the appliances; wildcards cover one label."""
    key: KeyKind = "rsa-2048"
    """The kind of key; the policy of `fleet.yaml` says which are allowed."""
    renew_before: Duration | None = None
    """Overrides the policy's `renew_before`."""
    renew_with: Literal["same_key", "new_key"] = "same_key"
    """Whether a renewal keeps the key, so that every appliance has it already, or a new one is made."""
    issued_after: Moment | None = None
    """Anything issued earlier than this date or instant is replaced."""
    source: Source
    """Where the certificate comes from."""
    acknowledge: tuple[Acknowledgement, ...] = ()
    """Findings that are accepted here."""
