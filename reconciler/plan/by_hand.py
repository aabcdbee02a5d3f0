"""What a plan leaves for people to do, beside what an interface does not offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.plan.model import Action, ByHand, CreateSelfSigned, Import

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.plan.scene import Scene


def left_to_do(scene: Scene, ready: Iterable[Action]) -> tuple[ByHand, ...]:
    """What follows from what will run on one appliance, and from what it waits for."""
    return (*_requests(scene), *_new_roots(scene), *_to_trust(scene, ready))


def ask_for_build(scene: Scene, certificate: str) -> ByHand:
    """Have clients trust a root before it is served (guide, Update the BeyondTrust Appliance)."""
    site = scene.state.site_of(scene.name)
    name = site.name if site else scene.name
    return ByHand(
        code="client-software",
        what=f"Ask BeyondTrust Technical Support for a software build that trusts the root of {certificate}: send what"
        f" `reconciler bundle {name}` makes, install the build that comes back, and add it to client_software.",
        where=name,
    )


def _requests(scene: Scene) -> list[ByHand]:
    sending = []
    for name, supply in scene.supplies.items():
        awaited, making = supply.awaited, supply.making
        if awaited and awaited.appliance == scene.name:
            begin = "Send"
        elif making and making.appliance == scene.name and supply.target.is_requested:
            begin = "Once apply has made it, send"
        else:
            continue
        how = "`reconciler requests --out` writes it"
        what = f"{begin} the request of {name} to the CA ({how}), and commit the answer as `signed`."
        sending.append(ByHand(code="send-request", what=what, where=scene.name))
    return sending


def _new_roots(scene: Scene) -> list[ByHand]:
    """The first time that a root matters is when it is declared: builds take days, and clients days to follow."""
    builds = scene.judge.clients.builds
    if not builds:
        return []
    trusted = builds[-1].trusts
    return [
        ask_for_build(scene, target.name)
        for target in scene.targets
        if any(
            each.is_self_issued and (each.subject.der, each.public_key) not in trusted for each in target.material.chain
        )
    ]


def _to_trust(scene: Scene, ready: Iterable[Action]) -> list[ByHand]:
    """What an interface may present as soon as it is there, and nobody has committed."""
    if not scene.store.presents_itself:
        return []
    where = f"`trust: {{sha256: [...]}}` of {scene.name}"
    how = f"keep known-appliances beside the operator settings, or commit the fingerprint that apply tells to {where}"
    return [
        ByHand(code="trust-new", what=f"Let {action.label} be trusted once it is made: {how}.", where=scene.name)
        for action in ready
        if isinstance(action, CreateSelfSigned) or (isinstance(action, Import) and action.public_key is None)
    ]
