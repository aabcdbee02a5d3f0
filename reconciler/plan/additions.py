"""What has to come into a store: chain certificates, leaves, and the default among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, found
from reconciler.desired.models import Provided, SelfSigned
from reconciler.pki.chain import needed_issuers
from reconciler.plan.asking import answer, answer_elsewhere, request
from reconciler.plan.model import (
    Action,
    CreateSelfSigned,
    Expectation,
    Import,
    KeySource,
    SetDefault,
    State,
)
from reconciler.plan.rules import RETIRED_NEEDED
from reconciler.plan.scene import Scene, reason, source
from reconciler.plan.world import Entry, entry_of

if TYPE_CHECKING:
    from reconciler.pki.certificate import Certificate
    from reconciler.plan.matching import Target
    from reconciler.plan.supply import Copy


@dataclass
class Additions:
    """Actions that add, the entries that they bring, and what was found on the way.

    Attributes:
        actions: In the order in which they are wished; the safe order is derived later.
        waiting: Actions that wait for somebody else.
        arrivals: What they bring, by ref.
        refs: For each declared certificate, the ref that counts as it once they have run.
        findings: What keeps a certificate from being added.
    """

    actions: list[Action] = field(default_factory=list)
    waiting: list[Action] = field(default_factory=list)
    arrivals: dict[str, Entry] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def additions(scene: Scene) -> Additions:
    """What the declared certificates of an appliance lack, then the default."""
    result = Additions()
    for target in scene.targets:
        _add_target(scene, target, result)
    _add_default(scene, result)
    return result


def _add_target(scene: Scene, target: Target, result: Additions) -> None:
    present = scene.world.holds_key_of(target.instance)
    if present and target.instance:
        result.refs[target.name] = target.instance
    supply = scene.supplies[target.name]
    retired = _is_retired(scene, target, result)
    if target.name not in scene.stopped and not retired:
        chain = _add_chain(scene, target, result)
        copy = supply.copies.get(scene.name)
        if copy:
            _add_copy(scene, target, copy, chain, result)
        elif not present and isinstance(target.model.source, Provided):
            _add_provided(scene, target, chain, result)
    making, awaited = supply.making, supply.awaited
    # What stops a committed answer does not stop the request for the next one: that is how it is mended.
    if making and making.appliance == scene.name and target.is_requested:
        result.actions.append(request(scene, target, making))
    elif making and making.appliance == scene.name and target.name not in scene.stopped:
        _add_self_signed(scene, target, result)
    elif awaited and awaited.appliance == scene.name:
        result.waiting.append(answer(scene, target, awaited))
    elif supply.key_missing and supply.unreachable and supply.lacking[:1] == (scene.name,):
        result.waiting.append(answer_elsewhere(scene, target, supply.unreachable))


def _is_retired(scene: Scene, target: Target, result: Additions) -> bool:
    """Whether the committed certificate is retired here: then it is neither imported nor counted as there."""
    leaf = target.material.leaf
    if leaf is None or leaf.fingerprint not in scene.retired:
        return False
    result.refs.pop(target.name, None)
    position = scene.declared.position("retired", scene.retired[leaf.fingerprint])
    result.findings.append(
        found(
            RETIRED_NEEDED,
            f"{target.name} is retired here, and it is what {target.name}.yaml declares",
            "commit its successor first, then retire it",
            position=position,
            about=scene.declared.about,
            appliance=scene.name,
        )
    )
    return True


def _add_chain(scene: Scene, target: Target, result: Additions) -> tuple[str, ...]:
    """Import what the store lacks of a declared chain, issuers first; the ids of those imports."""
    missing = [each for each in target.material.chain if each.fingerprint not in scene.world.entries]
    ids = []
    for certificate in sorted(missing, key=lambda each: (len(needed_issuers([each], missing)), each.fingerprint)):
        if certificate.fingerprint in scene.retired:
            continue
        identity = scene.action_id("import", certificate.fingerprint)
        ids.append(identity)
        if certificate.fingerprint in result.arrivals:
            continue
        label = certificate.subject.display
        result.arrivals[certificate.fingerprint] = entry_of(certificate, label, has_key=False)
        result.actions.append(
            Import(
                id=identity,
                appliance=scene.name,
                certificate=target.name,
                label=label,
                reason=reason("chain-missing", f"{target.name} needs it in its chain"),
                source=source(target.declared.position("source", "chain", key=True)),
                role="chain",
                fingerprint=certificate.fingerprint,
                public_key=certificate.public_key,
                friendly_name=label,
                key_source=KeySource.NONE,
                expects=Expectation(absent=(certificate.fingerprint,)),
            )
        )
    return tuple(ids)


def _add_provided(scene: Scene, target: Target, chain: tuple[str, ...], result: Additions) -> None:
    leaf = target.material.leaf
    if leaf is None:  # the loader has said why
        return
    entry = entry_of(leaf, target.label, has_key=True)
    action = Import(
        id=scene.action_id("import", target.name),
        appliance=scene.name,
        certificate=target.name,
        label=entry.label,
        reason=scene.why_missing(target),
        source=source(target.declared.position("source", "certificate")),
        depends_on=(*chain, *scene.lacking_elsewhere(target)),
        role="leaf",
        fingerprint=leaf.fingerprint,
        public_key=leaf.public_key,
        friendly_name=entry.label,
        key_source=KeySource.COMMITTED,
        expects=Expectation(absent=_absent(scene, leaf)),
    )
    _arrive(target, action, entry, result)


def _add_copy(scene: Scene, target: Target, copy: Copy, chain: tuple[str, ...], result: Additions) -> None:
    """Import what was made or asked for on some appliance: with the store's own key, or with a copy of a peer's."""
    label, certificate = target.label, copy.certificate
    why = scene.why_missing(target)
    if copy.loan:
        why = reason("copy", f"{why.sentence}; its key is copied from {copy.loan.appliance}")
    entry = entry_of(certificate, label, has_key=True) if certificate else _made_here(scene, target, copy.ref)
    key = certificate.public_key if certificate else None
    action = Import(
        id=scene.action_id("import", target.name),
        appliance=scene.name,
        state=State.BY_HAND if copy.by_hand else State.READY,
        certificate=target.name,
        label=label,
        reason=why,
        source=source(target.declared.position("source", "signed" if target.is_requested else "kind")),
        depends_on=tuple(
            dict.fromkeys((*chain, *((copy.after,) if copy.after else ()), *scene.lacking_elsewhere(target)))
        ),
        role="leaf",
        fingerprint=copy.ref,
        public_key=key,
        friendly_name=label,
        key_source=KeySource.PEER if copy.loan else KeySource.STORE,
        loan=copy.loan,
        expects=Expectation(
            absent=_absent(scene, certificate) if certificate else (),
            keys=(key,) if key and not copy.loan else (),
        ),
    )
    _arrive(target, action, entry, result)


def _arrive(target: Target, action: Import | CreateSelfSigned, entry: Entry, result: Additions) -> None:
    result.refs[target.name] = entry.ref
    result.arrivals[entry.ref] = entry
    result.actions.append(action)


def _absent(scene: Scene, leaf: Certificate) -> tuple[str, ...]:
    return () if leaf.fingerprint in scene.world.entries else (leaf.fingerprint,)


def _add_self_signed(scene: Scene, target: Target, result: Additions) -> None:
    model, ref, label = target.model, scene.new_ref(target.name), target.label
    assert isinstance(model.source, SelfSigned)  # noqa: S101 - only these are made whole
    action = CreateSelfSigned(
        id=scene.action_id("create", target.name),
        appliance=scene.name,
        certificate=target.name,
        label=label,
        reason=target.due or scene.why_missing(target),
        source=source(target.declared.position("source", "kind")),
        depends_on=scene.lacking_elsewhere(target),
        new=ref,
        friendly_name=label,
        subject=model.subject.distinguished_name.attributes,
        subject_alternative_names=tuple(each.value for each in target.names),
        key=model.key,
        valid_for=model.source.valid_for,
    )
    _arrive(target, action, _made_here(scene, target, ref), result)


def _made_here(scene: Scene, target: Target, ref: str) -> Entry:
    """A self-signed certificate that does not exist yet."""
    model, now = target.model, scene.judge.now
    assert isinstance(model.source, SelfSigned)  # noqa: S101 - nothing else comes into being on an appliance
    return Entry(
        ref=ref,
        label=target.label,
        certificate=None,
        has_key=True,
        common_name=model.subject.common_name,
        subject_alternative_names=target.names,
        not_before=now,
        not_after=now + model.source.valid_for,
    )


def _add_default(scene: Scene, result: Additions) -> None:
    name = scene.state.default_of(scene.name)
    ref = result.refs.get(name) if name else None
    if name is None or ref is None or ref == scene.world.default or name in scene.stopped:
        return
    adds = tuple(
        each.id
        for each in result.actions
        if each.certificate == name
        and (isinstance(each, CreateSelfSigned) or (isinstance(each, Import) and each.role == "leaf"))
    )
    own = scene.declared.model.default
    site = scene.state.site_of(scene.name)
    position = scene.declared.position("default") if own or not site else site.position("default")
    entry, target = result.arrivals.get(ref) or scene.world.entries[ref], scene.target(name)
    replaced = [each for each in scene.world.entries.values() if each.has_key and target.shares_a_name_with(each)]
    result.actions.append(
        SetDefault(
            id=scene.action_id("default", name),
            appliance=scene.name,
            certificate=name,
            label=entry.label,
            reason=reason("default-differs", "it is declared as the default"),
            source=source(position),
            depends_on=(*adds, *scene.peers_first(target, entry, replaced)),
            target=ref,
            replaces=scene.world.default,
            expects=Expectation(present=(ref,)),
        )
    )
