"""What becomes of steps that cannot go: held until when, released by what, and what is found on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias, assert_never

from reconciler.base.findings import Finding, Rule, found
from reconciler.base.text import instant
from reconciler.plan.by_hand import ask_for_build
from reconciler.plan.model import (
    Action,
    ByHand,
    CreateRequest,
    CreateSelfSigned,
    Hold,
    Import,
    Loan,
    Reason,
    Remove,
    RemoveRequest,
    SetDefault,
    State,
)
from reconciler.plan.rules import (
    CA_CHANGE_UNPREPARED,
    CLIENT_SETTLING,
    HOLD_OUTLIVES_CERTIFICATE,
    RETIRED_NEEDED,
    SERVED_NAME_LOST,
    SITE_DIVIDED,
)
from reconciler.plan.safety import safe_from
from reconciler.plan.scene import appliance_of
from reconciler.plan.steps import Blocked, change

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from reconciler.plan.safety import Harm
    from reconciler.plan.scene import Scene
    from reconciler.plan.world import Entry, World


NOT_OFFERED = "not-offered"
"""The code of what is left to a person since the interface does not offer it."""


@dataclass(frozen=True)
class Held:
    """Blocked steps as held actions.

    Attributes:
        actions: In the order given.
        findings: Why, where a person should know.
        by_hand: What a person can do about it.
    """

    actions: tuple[Action, ...]
    findings: tuple[Finding, ...]
    by_hand: tuple[ByHand, ...]


_Outcome: TypeAlias = tuple[Hold, Finding | None, ByHand | None]


def hold(scene: Scene, blocked: tuple[Blocked, ...], world: World, arrivals: Mapping[str, Entry]) -> Held:
    """Say of each blocked step what holds it.

    Args:
        scene: The appliance.
        blocked: Steps that cannot go, dependencies before what depends on them.
        world: The store after everything that can go.
        arrivals: What is imported or created, by ref.
    """
    actions, findings, by_hand = [], [], []
    for each in blocked:
        if each.action.state is State.BY_HAND and not each.harms and not each.waits_for:
            actions.append(each.action)
            by_hand.append(_not_offered(each.action))
            continue
        held, finding, hand = _hold_one(scene, each, world, arrivals)
        actions.append(each.action.model_copy(update={"state": State.HELD, "hold": held}))
        findings += [finding] if finding else []
        by_hand += [hand] if hand else []
    return Held(tuple(actions), tuple(dict.fromkeys(findings)), tuple(dict.fromkeys(by_hand)))


def _hold_one(scene: Scene, blocked: Blocked, world: World, arrivals: Mapping[str, Entry]) -> _Outcome:
    action = blocked.action
    if blocked.waits_for:
        return _because("follows", f"it waits for {_awaited(blocked, arrivals)}"), _left_out(scene, blocked), None
    if isinstance(action, Remove):
        return _removal(scene, action, blocked.harms, world)
    harm = blocked.harms[0]
    until = safe_from(scene.judge, world, lambda before: change(before, action, arrivals), scene.protected)
    outlived = _outlives(scene, action, blocked.harms, until)
    name = _clients_of(harm)
    if until:
        sentence = f"{name} would get a certificate that is not good yet: {_why(harm)}"
        held = Hold(reason=Reason(code=_code(harm), sentence=sentence), until=until)
        if harm.why is None or harm.why.code != "untrusted-by-clients":
            return held, outlived, None
        remedy = f"nothing; it goes on by itself from {instant(until)}"
        return held, outlived or _find(scene, CLIENT_SETTLING, action, sentence, remedy), None
    if harm.why and harm.why.code == "untrusted-by-clients":
        sentence = f"{name} would get a certificate that is not good: {_why(harm)}"
        hand = ask_for_build(scene, action.certificate or action.label)
        held = _because("untrusted-by-clients", f"{sentence}; a declared build that trusts it releases it")
        return held, outlived or _unprepared(scene, action, hand), hand
    harmed = f"get a certificate that is not good: {_why(harm)}" if harm.why else "lose their last good certificate"
    sentence = f"{name} would {harmed}"
    remedy = f"declare a certificate that is good for {harm.name}"
    return _because(_code(harm), sentence), _find(scene, SERVED_NAME_LOST, action, sentence, remedy), None


def _awaited(blocked: Blocked, arrivals: Mapping[str, Entry]) -> str:
    """What a step waits for, in words that its ids hold: `the import of access on east and west`."""
    where: dict[str, list[str]] = {}
    for each in sorted(blocked.waits_for):
        appliance, kind, what = each.split("/", 2)
        # A certificate of a chain has no name of its own: its id holds the first digits of its SHA-256.
        label = next((entry.label for ref, entry in arrivals.items() if ref[:16] == what), what)
        doing = "creation" if kind == "create" else kind
        where.setdefault(f"the {doing} of {label}", []).append(appliance)
    return " and ".join(f"{doing} on {' and '.join(names)}" for doing, names in where.items())


def _unprepared(scene: Scene, action: Action, hand: ByHand) -> Finding:
    """Stands where the rule `build-trusts-root` finds the same cause, and with its remedy: one deed mends both."""
    place = scene.state.site_of(scene.name) or scene.declared
    position = place.position("client_software", len(scene.judge.clients.builds) - 1, "trusts")
    sentence = f"{action.certificate or action.label} is held until a declared software build trusts its root"
    remedy = f"send what `reconciler bundle {hand.where}` makes, install the build that comes back and add it here"
    return replace(_find(scene, CA_CHANGE_UNPREPARED, action, sentence, remedy), position=position)


def _left_out(scene: Scene, blocked: Blocked) -> Finding | None:
    """Members of a site get the same certificate together, or the ones that are asked for do not get it either."""
    others = sorted({appliance_of(each) for each in blocked.waits_for} & scene.left_out)
    if not others:
        return None
    problem = f"without {', '.join(others)} the members of the site would differ in {blocked.action.label}"
    site = scene.state.site_of(scene.name)
    remedy = f"plan the whole site with --site {site.name}" if site else "plan all of the appliances"
    return _find(scene, SITE_DIVIDED, blocked.action, problem, remedy)


def _removal(scene: Scene, action: Remove, harmed: tuple[Harm, ...], world: World) -> _Outcome:
    if not harmed:
        held = _because("is-default", "it is the default certificate")
        if action.fingerprint not in scene.retired:
            return held, None, None
        sentence = f"{action.label} is retired, and it is the default certificate"
        return held, _find(scene, RETIRED_NEEDED, action, sentence, "declare another default"), None
    harm = next((each for each in harmed if each.lost), harmed[0])
    if not harm.lost and harm.offender:
        # The last good one stays, so nobody has lost anything. What may be served beside it is reported by itself.
        until = safe_from(scene.judge, world, lambda before: change(before, action, {}), scene.protected)
        beside = f"{harm.offender.label}, which is not good: {_why(harm)}"
        sentence = f"without {action.label}, {_clients_of(harm)} might be served {beside}; without that it goes"
        return Hold(reason=Reason(code="served-not-good", sentence=sentence), until=until), None, None
    sentence = f"without {action.label}, {_clients_of(harm)} would have no good certificate"
    remedy = f"declare another certificate that is good for {harm.name}"
    return _because("served-name-lost", sentence), _find(scene, SERVED_NAME_LOST, action, sentence, remedy), None


def _outlives(scene: Scene, action: Action, harmed: tuple[Harm, ...], until: dt.datetime | None) -> Finding | None:
    """A hold without an end that anyone declared counts as ending `settle` from now."""
    ends = until or scene.judge.now + scene.judge.clients.settle
    harm = min(harmed, key=lambda each: each.served_until)
    if ends < harm.served_until:
        return None
    sentence = (
        f"{action.label} is held until {instant(ends)} at the earliest,"
        f" and what serves {_clients_of(harm)} expires on {instant(harm.served_until)}"
    )
    return _find(
        scene,
        HOLD_OUTLIVES_CERTIFICATE,
        action,
        sentence,
        "renew the certificate that serves now from the CA that clients trust already",
    )


def _find(scene: Scene, rule: Rule, action: Action, sentence: str, remedy: str) -> Finding:
    declared = scene.state.certificates.get(action.certificate or "")
    if action.certificate and declared:
        position, about = scene.where_listed(action.certificate), declared.about
    else:
        position, about = scene.declared.position(), scene.declared.about
    return found(rule, sentence, remedy, position=position, about=about, appliance=scene.name)


def _because(code: str, sentence: str) -> Hold:
    return Hold(reason=Reason(code=code, sentence=sentence))


def _code(harm: Harm) -> str:
    return harm.why.code if harm.why else "served-name-lost"


def _why(harm: Harm) -> str:
    return harm.why.sentence if harm.why else "covers nothing"


def _clients_of(harm: Harm) -> str:
    return f"clients of {harm.sent}" if harm.sent else "clients that send no server name"


def _not_offered(action: Action) -> ByHand:
    match action:
        case Import(loan=Loan() as loan):
            what = f"Export {action.label} with its key on {loan.appliance}, and import it."
        case Import():
            what = f"Import {action.label}."
        case CreateSelfSigned():
            what = f"Create a self-signed certificate for {action.label}."
        case CreateRequest():
            what = f"Create a certificate request for {action.label}."
        case SetDefault():
            what = f"Make the default: {action.label}."
        case Remove():
            what = f"Remove {action.label}."
        case RemoveRequest():
            what = f"Withdraw the certificate request for {action.label}."
        case _:
            assert_never(action)
    return ByHand(code=NOT_OFFERED, what=what, where=action.appliance)
