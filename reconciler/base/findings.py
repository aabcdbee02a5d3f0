"""Findings, and the registry of the rules that they come from.

A rule is declared once, as a module-level constant made by `rule(...)`, in the room that checks it. Importing that room
registers it; `validate --list-rules` lists the registry.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reconciler.base.position import Position  # noqa: TC001 - the plan's models read findings at run time


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


class Stops(StrEnum):
    """What an error of a rule keeps from being planned."""

    SITE = "site"
    """An error of form: everything on the site (or the lone appliance) that the object belongs to."""
    CERTIFICATE = "certificate"
    """An error about time or live state: the certificate's own actions and what depends on them."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: Kebab-case identity, for `acknowledge` and for reports.
        severity: Severity of its findings unless a finding says otherwise.
        section: The chapter of the vendor's guide, the RFC, or the part of this project that it rests on.
        summary: What it demands, in one sentence.
        stops: What an error of this rule keeps from being planned.
        acknowledgeable: Whether an error of this rule may be acknowledged; warnings and notices always may.
    """

    id: str
    severity: Severity
    section: str
    summary: str
    stops: Stops = Stops.SITE
    acknowledgeable: bool = False


class Kind(StrEnum):
    """The kinds of object that administrators declare."""

    FLEET = "fleet"
    SITE = "site"
    APPLIANCE = "appliance"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True, order=True)
class ObjectName:
    """Names one declared object.

    Attributes:
        kind: Which kind of object.
        name: The stem of its file.
    """

    kind: Kind
    name: str

    def __str__(self) -> str:
        return self.kind.value if self.kind is Kind.FLEET else f"{self.kind.value} {self.name}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know.

    Attributes:
        rule: Id of the rule.
        severity: How bad it is.
        message: What is wrong, in one sentence without a final full stop.
        remedy: What to do.
        position: Where it was written; None where it concerns live state that nothing declares.
        about: The declared object that it concerns, if any.
        appliance: The appliance whose live store it concerns, if any.
        stops: What it keeps from being planned, if it is an error.
    """

    rule: str
    severity: Severity
    message: str
    remedy: str
    position: Position | None = None
    about: ObjectName | None = None
    appliance: str | None = None
    stops: Stops = Stops.SITE

    def __str__(self) -> str:
        place = f"{self.position} " if self.position else f"{self.appliance} " if self.appliance else ""
        return f"{place}{self.rule} {self.message} - {self.remedy}"


_registry: dict[str, Rule] = {}


def rule(
    identity: str,
    severity: Severity,
    section: str,
    summary: str,
    stops: Stops | None = None,
    *,
    acknowledgeable: bool = False,
) -> Rule:
    """Declare a rule and register it.

    Raises:
        ValueError: A rule of that id exists already.
    """
    if identity in _registry:
        raise ValueError(f"the rule {identity} is declared twice")
    default = Stops.SITE if severity is Severity.ERROR else Stops.NOTHING
    _registry[identity] = Rule(identity, severity, section, summary, stops or default, acknowledgeable)
    return _registry[identity]


def rules() -> tuple[Rule, ...]:
    """All rules declared by the rooms that are imported, by id."""
    return tuple(_registry[identity] for identity in sorted(_registry))


def found(
    source: Rule,
    message: str,
    remedy: str,
    *,
    position: Position | None = None,
    about: ObjectName | None = None,
    appliance: str | None = None,
    severity: Severity | None = None,
) -> Finding:
    """A finding of a rule, with the rule's severity unless another is given."""
    chosen = severity or source.severity
    return Finding(source.id, chosen, message, remedy, position, about, appliance, source.stops)


def sort_key(finding: Finding) -> tuple[str, int, int, str, str]:
    """Orders findings for people: by file, line and column, then rule, then message."""
    place = finding.position
    if place is None:
        return (f"~{finding.appliance or ''}", 0, 0, finding.rule, finding.message)
    return (place.file, place.line, place.column, finding.rule, finding.message)
