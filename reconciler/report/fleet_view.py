"""The fleet beneath a plan as people look at it: how each appliance stands, and what it holds beside its site's others.

Where `view` tells what a plan does, this tells what it is done to: every appliance at a glance, the certificates of a
site with its members side by side, and until when each certificate lasts. It rests on the status document, which knows
what a live certificate is to us. Like the view it holds text as it was found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, assert_never

from reconciler.base.findings import Kind, Severity
from reconciler.desired.state import members
from reconciler.plan.holds import NOT_OFFERED
from reconciler.plan.matching import CertificateClass
from reconciler.plan.model import (
    CreateRequest,
    CreateSelfSigned,
    Import,
    Progress,
    Remove,
    RemoveRequest,
    SetDefault,
    State,
)
from reconciler.report import words
from reconciler.report.status import status_of
from reconciler.rules.validity import next_due

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.base.errors import StoreError
    from reconciler.base.findings import Finding
    from reconciler.desired.state import DesiredState
    from reconciler.live.store import LiveStore
    from reconciler.pki.certificate import Certificate
    from reconciler.plan.matching import Classified
    from reconciler.plan.model import Action, AppliancePlan, Plan
    from reconciler.plan.requests import Standing
    from reconciler.report.status import ApplianceStatus, RequestRow, Row

_NOTABLE = frozenset({CertificateClass.DECLARED, CertificateClass.PREVIOUS, CertificateClass.RETIRED, None})
"""What is shown of a store even where nothing happens to it. Chains and the rest are counted then."""


class Condition(StrEnum):
    """How an appliance stands, the worst first."""

    UNREACHABLE = "unreachable"
    ERRORS = "errors"
    CHANGES = "changes"
    HELD = "held"
    WAITING = "waiting"
    BY_HAND = "by_hand"
    IN_STEP = "in_step"


_LATER = {State.HELD: Condition.HELD, State.WAITING: Condition.WAITING, State.BY_HAND: Condition.BY_HAND}


@dataclass(frozen=True, slots=True)
class Glance:
    """One appliance in one row.

    Attributes:
        name: The appliance.
        conditions: How it stands, and of how many: errors, actions. Never empty, the worst first.
        problem: Why it could not be observed or planned, and what to do; empty where it was.
        expires: The next expiration among its certificates that are declared or may be served, or None.
        expiring: Friendly name of the certificate that expires then.
        default: Friendly name of its default certificate; empty where there is none or it is not known.
        default_next: What becomes the default by this plan; empty where that stays.
    """

    name: str
    conditions: tuple[tuple[Condition, int], ...]
    problem: str
    expires: dt.datetime | None
    expiring: str
    default: str
    default_next: str


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to a certificate on one member.

    Attributes:
        kind: What is done, by the kinds of the plan.
        state: Whether it can run now.
        until: When its hold ends, where that is known.
    """

    kind: str
    state: State
    until: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Cell:
    """A certificate on one member.

    Attributes:
        there: Whether it is there now.
        default: Whether it is the default now.
        steps: What happens to it, in the plan's order.
    """

    there: bool
    default: bool
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate, or a certificate request, across the members of a site.

    Attributes:
        label: Its friendly name, else whom it was issued to.
        identity: Its SHA-256 in brief, or `new`.
        issued_to: Issued To; empty where the label says it, or it is not known.
        issued_by: Issued By; empty where it is not known.
        expiration: Expiration, or None where it does not have one yet.
        names: Alternative Name(s).
        rows: Its rows of the members' tables, one for each thing that it is to us; none for what is still to come.
        pending: Whether it is a request.
        cells: By member, in their order.
    """

    label: str
    identity: str
    issued_to: str
    issued_by: str
    expiration: dt.datetime | None
    names: tuple[str, ...]
    rows: tuple[Row, ...]
    pending: bool
    cells: tuple[Cell, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with it by itself, on any member, now."""
        return tuple(dict.fromkeys(warning for row in self.rows for warning in row.warnings))


@dataclass(frozen=True, slots=True)
class SiteFleet:
    """A site, or the appliances outside any.

    Attributes:
        name: The site, or None.
        hostname: Its hostname; empty outside any site.
        topology: `single`, `failover` or `atlas`; empty outside any site.
        members: Its appliances, the primary first.
        holdings: Their certificates and requests: what changes, is declared, served, replaced, retired or amiss.
        steady: What else is there and stays.
    """

    name: str | None
    hostname: str
    topology: str
    members: tuple[Glance, ...]
    holdings: tuple[Held, ...]
    steady: tuple[Held, ...]

    @property
    def conditions(self) -> tuple[tuple[Condition, int], ...]:
        """How its members stand together: of each condition, the sum over the members."""
        return _ordered(pair for member in self.members for pair in member.conditions)


@dataclass(frozen=True, slots=True)
class Life:
    """How long a certificate of a site lasts that is declared, comes, or may be served.

    Attributes:
        site: The site, or None.
        label: Its friendly name, else whom it was issued to.
        identity: Its SHA-256 in brief, or `new`.
        issued_by: Issued By; empty where it is not known.
        start: When it becomes valid; of what is held until then, when that hold ends.
        end: Its expiration.
        renewal: When it is due for renewal, and why then; None where that is not declared.
        holds: When holds end, and what they hold, by the kinds of the plan.
        comes: Whether it is still to come.
        open: Whether it is still to come, and nobody knows when.
        goes: Whether it is removed by this plan.
    """

    site: str | None
    label: str
    identity: str
    issued_by: str
    start: dt.datetime
    end: dt.datetime
    renewal: tuple[dt.datetime, str] | None
    holds: tuple[tuple[dt.datetime, str], ...]
    comes: bool
    open: bool
    goes: bool


@dataclass(frozen=True, slots=True)
class FleetView:
    """The fleet for people.

    Attributes:
        now: The instant that the plan was made for.
        counts: Ready actions by what they do, then what is not ready, what else is left to people, and errors.
        sites: By name, appliances outside any site last.
        lives: The distinct certificates of each site, the soonest expiration first.
    """

    now: dt.datetime
    counts: tuple[tuple[str, int], ...]
    sites: tuple[SiteFleet, ...]
    lives: tuple[Life, ...]


def fleet_view(
    state: DesiredState,
    plan: Plan,
    stores: Mapping[str, LiveStore],
    failures: Mapping[str, StoreError],
    classes: Mapping[str, Mapping[str, Classified]],
    requests: Mapping[str, Mapping[str, Standing]],
) -> FleetView:
    """Arrange the fleet for people.

    Args:
        state: The desired state.
        plan: The plan made of it.
        stores: The observed stores by appliance.
        failures: Why the others could not be observed.
        classes: What each live certificate is, by appliance and fingerprint; none for appliances that were not planned.
        requests: What each pending request is, likewise.
    """
    status = status_of(state, plan, stores, failures, classes, requests)
    statuses = {each.name: each for each in status.appliances}
    parts: dict[str | None, dict[str, AppliancePlan]] = defaultdict(dict)
    for each in plan.appliances:
        parts[each.site][each.name] = each
    known = _known(state, stores)
    errors = _errors(state, plan)
    sites: list[SiteFleet] = []
    lives: list[Life] = []
    for name, own in sorted(parts.items(), key=lambda pair: (pair[0] is None, pair[0] or "")):
        model = state.sites[name].model if name is not None and name in state.sites else None
        order = [*(each for each in members(model) if each in own)] if model else sorted(own)
        scene = _Scene(state, known, [own[each] for each in order], [statuses[each] for each in order], plan.made_at)
        holdings, steady = scene.holdings()
        glances = tuple(scene.glance(index, errors[each]) for index, each in enumerate(order))
        hostname, topology = (model.hostname, model.topology) if model else ("", "")
        sites.append(SiteFleet(name, hostname, topology, glances, holdings, steady))
        lives += scene.lives(name)
    return FleetView(
        now=plan.made_at,
        counts=_counts(plan),
        sites=tuple(sites),
        lives=tuple(sorted(lives, key=lambda each: (each.end, each.label, each.identity, each.site or ""))),
    )


def _counts(plan: Plan) -> tuple[tuple[str, int], ...]:
    counts = plan.summary
    by_hand = sum(action.state is State.BY_HAND for action in plan.actions)
    besides = sum(each.code != NOT_OFFERED for each in plan.by_hand)
    errors = sum(finding.severity is Severity.ERROR for finding in plan.all_findings)
    return (
        ("Create", counts.create),
        ("Import", counts.import_),
        ("Default", counts.set_default),
        ("Remove", counts.remove),
        ("Held", counts.held - by_hand),
        ("Waiting", counts.waiting),
        ("By hand", by_hand + besides),
        ("Errors", errors),
    )


def _known(state: DesiredState, stores: Mapping[str, LiveStore]) -> Mapping[str, Certificate]:
    """Every certificate that is live or committed, by fingerprint."""
    committed = [
        certificate
        for each in state.material.values()
        for certificate in (*((each.leaf,) if each.leaf else ()), *each.chain)
    ]
    live = [each.certificate for store in stores.values() for each in store.certificates]
    return {each.fingerprint: each for each in (*committed, *live)}


def _errors(state: DesiredState, plan: Plan) -> Counter[str]:
    """How many errors concern each appliance."""
    return Counter(
        name
        for finding in plan.all_findings
        if finding.severity is Severity.ERROR
        for name in dict.fromkeys(_concerned(state, finding))
    )


def _concerned(state: DesiredState, finding: Finding) -> Sequence[str]:
    if finding.appliance:
        return (finding.appliance,)
    match finding.about.kind if finding.about else None, finding.about.name if finding.about else "":
        case Kind.APPLIANCE, name:
            return (name,)
        case Kind.SITE, name if name in state.sites:
            return members(state.sites[name].model)
        case Kind.CERTIFICATE, name:
            return state.holders_of(name)
        case _:
            return ()


def _ordered(pairs: Iterable[tuple[Condition, int]]) -> tuple[tuple[Condition, int], ...]:
    """Conditions once each, the worst first; in step only where it is all that there is to say."""
    counts: Counter[Condition] = Counter()
    for condition, number in pairs:
        counts[condition] += number
    found = tuple((each, counts[each]) for each in Condition if counts[each])
    return tuple(pair for pair in found if pair[0] is not Condition.IN_STEP) or found


def _subject(action: Action) -> str:
    """What an action is about: the SHA-256 of a certificate or request, or what it is called until it exists."""
    match action:
        case CreateSelfSigned():
            return action.new
        case CreateRequest():
            return f"new:{action.id}"
        case SetDefault():
            return action.target
        case Import() | Remove() | RemoveRequest():
            return action.fingerprint
        case _:
            assert_never(action)


def _brings_a_leaf(action: Action) -> bool:
    return isinstance(action, CreateSelfSigned) or (isinstance(action, Import) and action.role == "leaf")


@dataclass(frozen=True, slots=True)
class _Span:
    """From when to when a certificate is valid, and who issued it."""

    start: dt.datetime
    end: dt.datetime
    issued_by: str


@dataclass(frozen=True)
class _Scene:
    """The members of one site, and what is planned on each of them.

    Attributes:
        state: The desired state.
        known: Every certificate by fingerprint.
        parts: What is planned on each member.
        statuses: What each member holds.
        now: The instant that the plan was made for.
    """

    state: DesiredState
    known: Mapping[str, Certificate]
    parts: Sequence[AppliancePlan]
    statuses: Sequence[ApplianceStatus]
    now: dt.datetime

    def glance(self, index: int, errors: int) -> Glance:
        part, status = self.parts[index], self.statuses[index]
        counts: list[tuple[Condition, int]] = [(Condition.ERRORS, errors)]
        problem = ""
        if part.progress is Progress.UNREACHABLE:
            counts.append((Condition.UNREACHABLE, 1))
            problem = status.problem
        elif part.progress is Progress.STOPPED:
            counts.append((Condition.ERRORS, 0 if errors else 1))
            problem = "not planned: see the errors"
        counts += [(_LATER.get(each.state, Condition.CHANGES), 1) for each in part.actions]
        served = _served(part, after=False)
        soonest = min(
            (row for row in status.certificates if _lasting(row, served)), key=lambda row: row.expiration, default=None
        )
        default = next((row for row in status.certificates if row.default), None)
        next_default = (each for each in part.actions if isinstance(each, SetDefault) and each.state is State.READY)
        return Glance(
            part.name,
            _ordered((*counts, (Condition.IN_STEP, 1))),
            problem,
            soonest.expiration if soonest else None,
            _label(soonest) if soonest else "",
            _label(default) if default else "",
            next((each.label for each in next_default), ""),
        )

    def holdings(self) -> tuple[tuple[Held, ...], tuple[Held, ...]]:
        """What is worth a look, and what stays as it is."""
        served = {each for part in self.parts for each in _served(part, after=False)}
        notable: list[Held] = []
        steady: list[Held] = []
        for reference in self._references():
            held = self._held(reference)
            shown = (
                held.pending
                or reference in served
                or any(cell.steps or cell.default for cell in held.cells)
                or any(row.class_ in _NOTABLE or row.warnings for row in held.rows)
            )
            (notable if shown else steady).append(held)
        return tuple(sorted(notable, key=_rank)), tuple(sorted(steady, key=_rank))

    def _references(self) -> Iterator[str]:
        """Everything that is there or comes, each once."""
        live = (row.fingerprint for status in self.statuses for row in status.certificates)
        pending = (row.fingerprint for status in self.statuses for row in status.requests)
        planned = (_subject(action) for part in self.parts for action in part.actions)
        yield from dict.fromkeys((*live, *pending, *planned))

    def _held(self, reference: str) -> Held:
        rows = [each.get(reference) for each in self._rows]
        pending = [each.get(reference) for each in self._requests]
        steps = [[action for action in part.actions if _subject(action) == reference] for part in self.parts]
        row, request = next(filter(None, rows), None), next(filter(None, pending), None)
        action: Action | None = next((each for some in steps for each in some), None)
        certificate = self.known.get(reference)
        label = _label(row) if row else request.subject if request else action.label if action else ""
        names = certificate.subject_alternative_names if certificate else ()
        form = action if isinstance(action, CreateSelfSigned | CreateRequest) else None
        return Held(
            label=label,
            identity=words.short(reference),
            issued_to=certificate.subject.display if certificate and certificate.subject.display != label else "",
            issued_by=certificate.issuer.display if certificate else "",
            expiration=certificate.not_after if certificate else None,
            names=tuple(each.value for each in names)
            or (request.alternative_names if request else form.subject_alternative_names if form else ()),
            rows=tuple({(each.class_, each.certificate): each for each in rows if each}.values()),
            pending=request is not None or isinstance(form, CreateRequest),
            cells=tuple(
                Cell(
                    there=bool(live or asked),
                    default=bool(live and live.default),
                    steps=tuple(
                        Step(each.kind, each.state, each.hold.until if each.hold else None) for each in actions
                    ),
                )
                for live, asked, actions in zip(rows, pending, steps, strict=True)
            ),
        )

    @cached_property
    def _rows(self) -> Sequence[Mapping[str, Row]]:
        return [{row.fingerprint: row for row in status.certificates} for status in self.statuses]

    @cached_property
    def _requests(self) -> Sequence[Mapping[str, RequestRow]]:
        return [{row.fingerprint: row for row in status.requests} for status in self.statuses]

    def lives(self, site: str | None) -> Iterator[Life]:
        """The certificates whose end somebody should have in view, each once."""
        actions: dict[str, list[Action]] = defaultdict(list)
        for each in (action for part in self.parts for action in part.actions):
            actions[_subject(each)].append(each)
        served = {each for part in self.parts for each in _served(part, after=True)}
        rows = {row.fingerprint: row for each in self._rows for row in each.values() if _lasting(row, served)}
        for reference in dict.fromkeys((*rows, *actions)):
            row, planned = rows.get(reference), actions[reference]
            coming = next((each for each in planned if _brings_a_leaf(each)), None)
            span = self._span(reference, coming)
            if span is None or (row is None and coming is None):
                continue
            if row:
                label, declared = _label(row), row.certificate if row.class_ is CertificateClass.DECLARED else None
            else:
                label, declared = planned[0].label, planned[0].certificate
            holds = {(each.hold.until, each.kind) for each in planned if each.hold and each.hold.until}
            yield Life(
                site=site,
                label=label,
                identity=words.short(reference),
                issued_by=span.issued_by,
                start=max((span.start, *_ends(coming))),
                end=span.end,
                renewal=self._renewal(declared, span),
                holds=tuple(sorted(holds)),
                comes=row is None,
                open=row is None and coming is not None and coming.state is not State.READY and not _ends(coming),
                goes=any(isinstance(each, Remove) and each.state is State.READY for each in planned),
            )

    def _span(self, reference: str, coming: Action | None) -> _Span | None:
        """From when to when a certificate is valid; None where nobody knows yet."""
        certificate = self.known.get(reference)
        if certificate:
            return _Span(certificate.not_before, certificate.not_after, certificate.issuer.display)
        if isinstance(coming, CreateSelfSigned):
            return _Span(self.now, self.now + coming.valid_for, "")
        return None

    def _renewal(self, name: str | None, span: _Span) -> tuple[dt.datetime, str] | None:
        declared = self.state.certificates.get(name or "")
        if declared is None:
            return None
        margin = declared.model.renew_before or self.state.policy.renew_before
        return next_due(span.start, span.end, margin, declared.model.issued_after)


def _served(part: AppliancePlan, *, after: bool) -> frozenset[str]:
    """What may be served on an appliance now, and, where that is asked for, after the plan."""
    return frozenset(each.certificate for row in part.serving for each in (*row.before, *(row.after if after else ())))


def _ends(action: Action | None) -> tuple[dt.datetime, ...]:
    """When the hold of an action ends; empty for no action, no hold and no known end."""
    return (action.hold.until,) if action and action.hold and action.hold.until else ()


def _lasting(row: Row, served: frozenset[str] | set[str]) -> bool:
    """Whether somebody should have the end of a live certificate in view."""
    ours = row.class_ in {CertificateClass.DECLARED, CertificateClass.PREVIOUS}
    return row.private_key and row.class_ is not CertificateClass.FACTORY and (ours or row.fingerprint in served)


def _label(row: Row) -> str:
    return row.friendly_name or row.issued_to


def _rank(held: Held) -> tuple[bool, bool, str, str]:
    """The default first, requests last, else by label."""
    return held.pending, not any(cell.default for cell in held.cells), held.label.casefold(), held.identity
