"""What a person should know of the live state: what nobody declared, what is waited for, where members differ."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, Rule, Severity, found
from reconciler.base.text import printable
from reconciler.plan import rules
from reconciler.plan.matching import CertificateClass, Classified
from reconciler.plan.requests import RequestClass
from reconciler.plan.world import live_entry
from reconciler.rules.material import SIGNED_MISMATCH, differences
from reconciler.rules.validity import renewal_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeAlias

    from reconciler.base.position import Position
    from reconciler.live.store import PendingRequest
    from reconciler.plan.scene import Scene
    from reconciler.plan.supply import Supply
    from reconciler.plan.world import World

    _Tell: TypeAlias = Callable[..., Finding]

_OVERDUE = dt.timedelta(days=20)
"""What an appliance renews by itself it renews 30 days before it expires; this close to its end that has failed."""


def live_findings(scene: Scene) -> list[Finding]:
    """Everything of this appliance, and of the certificates for which it speaks."""
    findings = [finding for each in scene.classes.values() for finding in _certificate(scene, each)]
    findings += [finding for each in scene.store.requests for finding in _request(scene, each)]
    findings += [finding for supply in scene.tells for finding in _supply(scene, supply)]
    known = {*scene.world.entries, *scene.standings}
    findings += [
        found(
            rules.RETIRED_ABSENT,
            f"{fingerprint[:16]} is retired and not in the store",
            "take the line out",
            position=scene.declared.position("retired", index),
            about=scene.declared.about,
            appliance=scene.name,
        )
        for fingerprint, index in scene.retired.items()
        if fingerprint not in known
    ]
    if scene.store.unfinished:
        remedy = "apply finishes it, even where nothing else is to be done"
        position = scene.declared.position("store")
        findings.append(_here(scene, rules.UNFINISHED, scene.store.unfinished, remedy, position))
    return findings


def served_findings(scene: Scene, after: World) -> list[Finding]:
    """Names for which clients may be served what they refuse, once everything ready has run.

    What does not cover the name is left to the served-names table: until there is a first certificate, the factory's is
    all there is.
    """
    if not scene.judge.clients.builds:
        return []
    reasons: dict[tuple[str, str], list[str]] = {}
    for sent, name in scene.protected.asked:
        for entry in after.candidates(sent):
            why = scene.judge.why_not_good(entry, name, after)
            if why and why.code != "does-not-cover":
                reasons.setdefault((entry.label, why.sentence), []).append(sent or "no server name")
    site = scene.state.site_of(scene.name) or scene.declared
    return [
        found(
            rules.SERVED_NOT_GOOD,
            f"clients that ask for {', '.join(names)} may be served {label}, which is not good: {why}",
            "serve a certificate that they accept, or declare the software builds as they are",
            position=site.position("client_software"),
            about=site.about,
            appliance=scene.name,
        )
        for (label, why), names in reasons.items()
    ]


def _here(
    scene: Scene,
    rule: Rule,
    problem: str,
    remedy: str,
    position: Position | None = None,
    severity: Severity | None = None,
) -> Finding:
    return found(
        rule,
        problem,
        remedy,
        position=position or scene.declared.position(),
        about=scene.declared.about,
        appliance=scene.name,
        severity=severity,
    )


def _certificate(scene: Scene, each: Classified) -> Iterator[Finding]:
    if each.kind is CertificateClass.APPLIANCE_MANAGED:
        yield from _managed(scene, each)
    if each.kind is not CertificateClass.UNDECLARED:
        return
    live = each.live.certificate
    label = scene.world.entries[live.fingerprint].label
    short, retire = live.fingerprint[:16], _retire(live.fingerprint)
    margin = scene.state.policy.renew_before
    if each.newer:
        problem = f"{label} [{short}] is newer than the declared {each.certificate}"
        yield _here(scene, rules.NEWER_THAN_DECLARED, problem, f"commit it as {each.certificate}, or {retire}")
    elif each.certificate or not scene.keeps_undeclared:
        return  # it is declared, and about to get its key; or the plan removes it, and says so
    elif each.live.has_key and renewal_instant(live.not_before, live.not_after, margin) <= scene.judge.now:
        ends = "expired" if live.not_after < scene.judge.now else "expires"
        problem = f"nothing declares {label}, which {ends} on {live.not_after:%Y-%m-%d} ({short})"
        yield _here(scene, rules.EXPIRING_UNDECLARED, problem, f"declare its successor, or {retire}")
    else:
        yield _here(scene, rules.UNDECLARED, f"nothing declares {label} ({short})", f"declare it, or {retire}")


def _managed(scene: Scene, each: Classified) -> Iterator[Finding]:
    """A certificate of the appliance's own: it matters where it may be served, and where it was not renewed."""
    entry, now = scene.world.entries[each.live.fingerprint], scene.judge.now
    if entry.not_after - _OVERDUE <= now:
        problem = f"the appliance renews {entry.label} by itself and has not: it expires on {entry.not_after:%Y-%m-%d}"
        remedy = "look at the appliance's section Let's Encrypt Certificates"
        yield _here(scene, rules.APPLIANCE_MANAGED, problem, remedy, severity=Severity.WARNING)
    served = next((name for name in scene.protected.names if entry in scene.world.candidates(name)), None)
    if served:
        problem = f"{entry.label}, which the appliance renews by itself, may be served for {served}"
        remedy = "it is left alone; request it for other names if that is not meant"
        yield _here(scene, rules.APPLIANCE_MANAGED, problem, remedy)


def _request(scene: Scene, request: PendingRequest) -> Iterator[Finding]:
    standing = scene.standings[request.fingerprint]
    what = f"the pending request for {printable(request.subject.display)} ({request.fingerprint[:16]})"
    withdraw = f"withdraw it with `- {{sha256: {request.fingerprint}, reason: ...}}` beneath `retired`"
    match standing.kind:
        case RequestClass.UNDECLARED if scene.keeps_undeclared:
            yield _here(scene, rules.REQUEST_ORPHANED, f"nothing declares {what}", f"declare it, or {withdraw}")
        case RequestClass.ANSWERED if scene.name in scene.supplies[standing.certificate or ""].live:
            problem = f"{what} is answered: {standing.certificate} is in the store"
            yield _here(scene, rules.REQUEST_ORPHANED, problem, withdraw)
        case RequestClass.SPARE:
            problem = f"{standing.certificate} does not wait for {what}, which would fit it"
            remedy = f"commit the CA's answer to it as `signed` to use it, or {withdraw}"
            yield _here(scene, rules.REQUEST_ORPHANED, problem, remedy)
        case _:
            return


def _retire(fingerprint: str) -> str:
    return f"retire it with `- {{sha256: {fingerprint}, reason: ...}}` beneath `retired`"


def _supply(scene: Scene, supply: Supply) -> Iterator[Finding]:
    target = supply.target
    key = "signed" if target.is_requested and target.material.leaf else "kind"
    position = target.declared.position("source", key)

    def tell(rule: Rule, problem: str, remedy: str, severity: Severity | None = None) -> Finding:
        return found(
            rule,
            problem,
            remedy,
            position=position,
            about=target.declared.about,
            appliance=scene.name,
            severity=severity,
        )

    leaf = target.material.leaf
    if supply.differs and leaf:
        how = ", ".join(differences(target.declared, leaf))
        problem = f"the committed answer is on no appliance and differs from what is declared: {how}"
        remedy = "have the same request signed again as it is, or declare what this answer contains"
        yield tell(SIGNED_MISMATCH, problem, remedy, Severity.ERROR)
    if supply.key_missing:
        yield _key_missing(supply, tell)
    if supply.maker_unreachable:
        maker, what = supply.holders[0], "request" if target.is_requested else "certificate"
        due = f" is due, since {target.due.sentence}, and its" if target.due else "'s"
        problem = f"{target.name}{due} {what} is made on {maker}, which cannot be reached"
        remedy = f"bring {maker} back, or name another appliance as `primary`"
        yield tell(rules.PRIMARY_UNREACHABLE, problem, remedy)
    if supply.awaited:
        request = supply.awaited.request.fingerprint
        since = f" ({target.due.sentence})" if target.due else ""
        problem = f"{target.name} waits for the CA's answer to the request {request[:16]} on {supply.awaited.appliance}"
        remedy = "send the request, which `reconciler requests --out` writes, and commit the answer as `signed`"
        yield tell(rules.REQUEST_PENDING, f"{problem}{since}", remedy)
    if supply.making and target.due and target.is_requested:
        remedy = f"apply makes the request on {supply.making.appliance}; send it to the CA and commit the answer"
        yield tell(rules.RENEWAL_DUE, f"{target.name} is to be renewed: {target.due.sentence}", remedy)
    yield from (_diverged(scene, supply, each) for each in _differing(scene, supply))
    yield from _chain_diverged(scene, supply)


def _key_missing(supply: Supply, tell: _Tell) -> Finding:
    name = supply.target.name
    if not supply.unreachable:
        problem = f"the committed answer of {name} fits no key, neither a pending request's nor a certificate's"
        remedy = "commit the answer to the request that is pending, or delete `signed` to start over with a new key"
        return tell(rules.KEY_GONE, problem, remedy)
    where = ", ".join(supply.unreachable)
    problem = f"the key of {name} is on no appliance that can be reached; it may be on {where}"
    remedy = f"bring {where} back; if it is lost, name another `primary` and delete `signed` to start over"
    return tell(rules.KEY_GONE, problem, remedy, Severity.WARNING)


def _differing(scene: Scene, supply: Supply) -> Iterable[str]:
    """Members of the same site that lack what another one holds."""
    site = set(scene.state.members_with(scene.name))
    holding = [each for each in supply.live if each in site]
    return [each for each in supply.lacking if each in site] if holding else []


def _diverged(scene: Scene, supply: Supply, member: str) -> Finding:
    """What one member lacks, and what it holds in its place."""
    target, store = supply.target, scene.neighbours[member]
    instance = target.instance or ""
    if instance in store.by_fingerprint:
        what = f"holds {target.name} ({instance[:16]}) without its key"
    else:
        own = [live_entry(row) for row in store.certificates if row.has_key]
        own = sorted((each for each in own if target.shares_a_name_with(each)), key=lambda each: each.not_before)
        last = f" and holds {own[-1].label} ({own[-1].ref[:16]}) in its place" if own else ""
        what = f"lacks {target.name} ({instance[:16]}){last}"
    copied = member in supply.arrivals
    return found(
        rules.PEER_DIVERGED,
        f"{member} {what}, unlike {', '.join(supply.live)}",
        "apply brings it there" if copied else "see what keeps it from being imported there",
        position=scene.where_listed(target.name),
        about=target.declared.about,
        appliance=member,
    )


def _chain_diverged(scene: Scene, supply: Supply) -> Iterator[Finding]:
    """Members that hold the certificate, and lack a part of its chain that another one holds."""
    target = supply.target
    live = {each: scene.neighbours[each].by_fingerprint for each in supply.live if each in scene.neighbours}
    for member, rows in live.items():
        lacks = [each for each in target.material.chain if each.fingerprint not in rows]
        lacks = [each for each in lacks if any(each.fingerprint in other for other in live.values())]
        if lacks:
            names = ", ".join(f"{printable(each.subject.display)} ({each.fingerprint[:16]})" for each in lacks)
            yield found(
                rules.PEER_DIVERGED,
                f"{member} lacks {names} of the chain of {target.name}, unlike other members of its site",
                "apply brings it there",
                position=scene.where_listed(target.name),
                about=target.declared.about,
                appliance=member,
            )
