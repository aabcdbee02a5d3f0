"""Requests to a CA: making them, waiting for their answers, and withdrawing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.text import printable
from reconciler.plan.model import CreateRequest, Expectation, Hold, Import, KeySource, Reason, RemoveRequest, State
from reconciler.plan.scene import reason, source

if TYPE_CHECKING:
    from reconciler.live.store import PendingRequest
    from reconciler.plan.matching import Target
    from reconciler.plan.scene import Scene
    from reconciler.plan.supply import Awaited, Making


def request(scene: Scene, target: Target, making: Making) -> CreateRequest:
    """The request that is to be made."""
    model = target.model
    return CreateRequest(
        id=scene.action_id("request", target.name),
        appliance=scene.name,
        certificate=target.name,
        label=target.label,
        reason=making.why or reason("missing", "no certificate and no request for it is there yet"),
        source=source(target.declared.position("source", "kind")),
        depends_on=making.after,
        friendly_name=target.label,
        subject=model.subject.distinguished_name.attributes,
        subject_alternative_names=tuple(each.value for each in target.names),
        key=model.key,
        public_key=making.public_key,
    )


def answer(scene: Scene, target: Target, awaited: Awaited) -> Import:
    """The import that a pending request will lead to."""
    pending = awaited.request
    sentence = f"the CA's answer to the request {pending.fingerprint[:16]} is not committed yet"
    waits = Hold(reason=reason("answer-awaited", sentence))
    why = awaited.why or reason("missing", "it is declared and not in the store")
    return _later(scene, target, why, waits, pending.public_key, pending.fingerprint)


def answer_elsewhere(scene: Scene, target: Target, unreachable: tuple[str, ...]) -> Import:
    """The import of an answer whose key may be on an appliance that cannot be reached."""
    leaf, where = target.material.leaf, ", ".join(unreachable)
    waits = Hold(reason=reason("key-unreachable", f"its key may be on {where}, which cannot be reached"))
    key = leaf.public_key if leaf else None
    return _later(scene, target, scene.why_missing(target), waits, key, None)


def _later(
    scene: Scene, target: Target, why: Reason, waits: Hold, public_key: str | None, request: str | None
) -> Import:
    leaf = target.material.leaf if request is None else None
    return Import(
        id=scene.action_id("answer", target.name),
        appliance=scene.name,
        state=State.WAITING,
        certificate=target.name,
        label=target.label,
        reason=why,
        hold=waits,
        source=source(target.declared.position("source", "kind")),
        role="leaf",
        fingerprint=leaf.fingerprint if leaf else f"answer:{target.name}@{scene.name}",
        public_key=public_key,
        friendly_name=target.label,
        key_source=KeySource.STORE,
        expects=Expectation(requests=(request,) if request else ()),
    )


def withdrawal(scene: Scene, request: PendingRequest, *, retired: bool) -> RemoveRequest:
    """Withdraw a request that is retired, or that nothing declares."""
    why = reason("undeclared", "nothing declares it, and this appliance holds only what is declared")
    position = scene.declared.position("undeclared")
    if retired:
        index = scene.retired[request.fingerprint]
        why = reason("retired", f"it is retired: {scene.declared.model.retired[index].reason}")
        position = scene.declared.position("retired", index)
    return RemoveRequest(
        id=scene.action_id("withdraw", request.fingerprint),
        appliance=scene.name,
        label=printable(request.subject.display),
        reason=why,
        source=source(position),
        fingerprint=request.fingerprint,
        expects=Expectation(requests=(request.fingerprint,)),
    )
