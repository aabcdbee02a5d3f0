"""What has to come into a store: chain certificates, leaves, and the default among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, found
from reconciler.desired.models import Provided, SelfSigned
from reconciler.pki.chain import needed_issuers
from reconciler.plan.model import Action, CreateSelfSigned, Expectation, Import, Reason, SetDefault
from reconciler.plan.rules import RETIRED_NEEDED, UNSUPPORTED_SOURCE
from reconciler.plan.scene import Scene, reason, source
from reconciler.plan.world import Entry, entry_of

if TYPE_CHECKING:
    from reconciler.pki.certificate import Certificate
    from reconciler.plan.matching import Target


@dataclass
class Additions:
    """Actions that add, the entries that they bring, and what was found on the way.

    Attributes:
        actions: In the order in which they are wished; the safe order is derived later.
        arrivals: What they bring, by ref.
        refs: For each declared certificate, the ref that counts as it once they have run.
        findings: What keeps a certificate from being added.
    """

    actions: list[Action] = field(default_factory=list)
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
    if target.name in scene.stopped or _is_retired(scene, target, result):
        return
    chain = _add_chain(scene, target, result)
    if present and not target.due:
        return
    match target.model.source:
        case Provided():
            _add_provided(scene, target, chain, result)
        case SelfSigned() if scene.state.primary_of(scene.name) == scene.name and (target.due or not target.instance):
            _add_self_signed(scene, target, result)
        case _:
            result.findings.append(_unsupported(scene, target))


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
                expects=Expectation(absent=(certificate.fingerprint,)),
            )
        )
    return tuple(ids)


def _add_provided(scene: Scene, target: Target, chain: tuple[str, ...], result: Additions) -> None:
    leaf = target.material.leaf
    if leaf is None:  # the loader has said why
        return
    label = target.model.friendly_name or target.name
    keyless = leaf.fingerprint in scene.world.entries
    why = reason("key-missing", "it is there without its key") if keyless else _why_missing(scene, target)
    result.refs[target.name] = leaf.fingerprint
    result.arrivals[leaf.fingerprint] = entry_of(leaf, label, has_key=True)
    result.actions.append(
        Import(
            id=scene.action_id("import", target.name),
            appliance=scene.name,
            certificate=target.name,
            label=label,
            reason=why,
            source=source(target.declared.position("source", "certificate")),
            depends_on=chain,
            role="leaf",
            fingerprint=leaf.fingerprint,
            public_key=leaf.public_key,
            friendly_name=label,
            expects=_absent_unless(leaf, keyless=keyless),
        )
    )


def _absent_unless(leaf: Certificate, *, keyless: bool) -> Expectation:
    return Expectation() if keyless else Expectation(absent=(leaf.fingerprint,))


def _add_self_signed(scene: Scene, target: Target, result: Additions) -> None:
    model = target.model
    assert isinstance(model.source, SelfSigned)  # noqa: S101 - the caller matched it
    ref, now = scene.new_ref(target.name), scene.judge.now
    label = model.friendly_name or target.name
    result.refs[target.name] = ref
    result.arrivals[ref] = Entry(
        ref=ref,
        label=label,
        certificate=None,
        has_key=True,
        common_name=model.subject.common_name,
        subject_alternative_names=target.names,
        not_before=now,
        not_after=now + model.source.valid_for,
    )
    result.actions.append(
        CreateSelfSigned(
            id=scene.action_id("create", target.name),
            appliance=scene.name,
            certificate=target.name,
            label=label,
            reason=target.due or _why_missing(scene, target),
            source=source(target.declared.position("source", "kind")),
            new=ref,
            friendly_name=label,
            subject=model.subject.distinguished_name.attributes,
            subject_alternative_names=tuple(each.value for each in target.names),
            key=model.key,
            valid_for=model.source.valid_for,
        )
    )


def _why_missing(scene: Scene, target: Target) -> Reason:
    replaced = [each for each in scene.world.entries.values() if each.has_key and target.shares_a_name_with(each)]
    if replaced:
        return reason("replaces", f"it takes the place of {replaced[0].label}")
    return reason("missing", "it is declared and not in the store")


def _add_default(scene: Scene, result: Additions) -> None:
    name = scene.state.default_of(scene.name)
    target = result.refs.get(name) if name else None
    if name is None or target is None or target == scene.world.default:
        return
    if name in scene.stopped:
        return
    adds = tuple(
        each.id
        for each in result.actions
        if each.certificate == name and (each.kind != "import" or each.role == "leaf")
    )
    own = scene.declared.model.default
    site = scene.state.site_of(scene.name)
    position = scene.declared.position("default") if own or not site else site.position("default")
    entry = result.arrivals.get(target) or scene.world.entries[target]
    result.actions.append(
        SetDefault(
            id=scene.action_id("default", name),
            appliance=scene.name,
            certificate=name,
            label=entry.label,
            reason=reason("default-differs", "it is declared as the default"),
            source=source(position),
            depends_on=adds,
            target=target,
            replaces=scene.world.default,
            expects=Expectation(present=(target,)),
        )
    )


def _unsupported(scene: Scene, target: Target) -> Finding:
    requested = not isinstance(target.model.source, SelfSigned)
    what = "is requested from a CA and not in the store" if requested else "must be copied from another member"
    where = scene.where_listed(target.name)
    return found(
        UNSUPPORTED_SOURCE,
        f"{target.name} {what}",
        "create or import it in the appliance's own pages, or bring it along as `provided`",
        position=where,
        about=target.declared.about,
        appliance=scene.name,
    )
