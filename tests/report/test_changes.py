from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from reconciler.desired.state import Material
from reconciler.live.store import LiveCertificate, LiveStore
from reconciler.pki.names import parse_name
from reconciler.plan.matching import CertificateClass, Classified
from reconciler.plan.model import (
    Action,
    AppliancePlan,
    Basis,
    CreateRequest,
    CreateSelfSigned,
    Import,
    KeySource,
    Plan,
    Reason,
    SetDefault,
    Summary,
)
from reconciler.report.changes import Change, Known, Succession
from reconciler.report.view import plan_view
from tests.report.sample import FACTORY, LEAF, OLD
from tests.support.authority import DAY, NOW

if TYPE_CHECKING:
    from reconciler.pki.certificate import Certificate

_REASON = Reason(code="x", sentence="x")
_LIVE = LiveCertificate(OLD, "access", has_key=True)
_OTHER = LiveCertificate(FACTORY, "", has_key=True)
_PREVIOUS = Classified(_LIVE, CertificateClass.PREVIOUS, "access")


def _import(fingerprint: str = LEAF.fingerprint, *, role: Literal["leaf", "chain"] = "leaf") -> Import:
    return Import(
        id="1", appliance="a", certificate="access", label="access", reason=_REASON, role=role, fingerprint=fingerprint,
        public_key=None, friendly_name="access", key_source=KeySource.COMMITTED,
    )  # fmt: skip


def _create(*names: str) -> CreateSelfSigned:
    return CreateSelfSigned(
        id="2", appliance="a", certificate="access", label="access", reason=_REASON, new="new:access@a",
        friendly_name="access", subject=(("CN", "Example remote access"),), subject_alternative_names=names,
        key="ec-p256", valid_for=dt.timedelta(days=365),
    )  # fmt: skip


def _request(public_key: str | None) -> CreateRequest:
    return CreateRequest(
        id="3", appliance="a", certificate="access", label="access", reason=_REASON, friendly_name="access",
        subject=(("C", "US"),), subject_alternative_names=tuple(each.value for each in OLD.subject_alternative_names),
        key=OLD.key_kind, public_key=public_key,
    )  # fmt: skip


def _known(*actions: Action, classified: tuple[Classified, ...] = (_PREVIOUS,), leaf: Certificate = LEAF) -> Known:
    plan = Plan(
        made_at=NOW, digest="d", basis=Basis(desired_digest="0"), summary=Summary(),
        appliances=(AppliancePlan(name="a", actions=actions),),
    )  # fmt: skip
    rows = [_LIVE, _OTHER, *(each.live for each in classified if each.live not in (_LIVE, _OTHER))]
    classes = {each.live.fingerprint: each for each in classified}
    return Known(plan, {"a": LiveStore(tuple(rows))}, {"access": Material(leaf)}, {"a": classes})


def _changes(succession: Succession) -> dict[str, Change]:
    return {each.label: each for each in succession.changes}


def test_what_people_compare_is_compared_with_the_certificate_that_it_succeeds() -> None:
    names = (parse_name("new.example.com"), *reversed(OLD.subject_alternative_names[:2]))
    leaf = replace(LEAF, subject_alternative_names=names, issuer=FACTORY.issuer, key_kind="rsa-2048")
    succession = _known(leaf=leaf).succession(_import())
    assert succession.instead_of == f"access [{OLD.fingerprint[:12]}]"
    assert succession.changes == (
        Change("Alternative Name(s)", ("west-1.example.com",), ("new.example.com",), 2),
        Change("Issued By", ("Example Issuing CA",), ("BeyondTrust Appliance",), 0),
        Change("Expiration", ("2026-12-13 12:00:00 UTC",), ("2027-10-24 12:00:00 UTC",), 0),
        Change("Key", (f"ec-p256 [{OLD.public_key[:12]}]",), (f"rsa-2048 [{LEAF.public_key[:12]}]",), 0),
        Change("Fingerprint", (OLD.fingerprint,), (LEAF.fingerprint,), 0),
    )


def test_one_that_expires_before_what_it_replaces_is_marked_so() -> None:
    known = _known(leaf=replace(LEAF, not_after=OLD.not_after - DAY))
    for action in (_import(), _default(replaces=OLD.fingerprint)):
        changes = _changes(known.succession(action))
        assert changes["Expiration"].added == ("2026-12-12 12:00:00 UTC (earlier)",)
        assert not any(
            "earlier" in text for label, each in changes.items() if label != "Expiration" for text in each.added
        )
    made = _create("access.example.com").model_copy(update={"valid_for": OLD.not_after - NOW - DAY})
    assert _changes(_known(made).succession(made))["Expiration"].added == ("19d after it is made (earlier)",)
    lasting = made.model_copy(update={"valid_for": OLD.not_after - NOW})
    assert _changes(_known(lasting).succession(lasting))["Expiration"].added == ("20d after it is made",)


def test_what_is_the_same_is_no_change_whatever_its_order() -> None:
    leaf = replace(
        LEAF,
        subject_alternative_names=tuple(reversed(OLD.subject_alternative_names)),
        not_after=OLD.not_after,
        public_key=OLD.public_key,
    )
    assert list(_changes(_known(leaf=leaf).succession(_import()))) == ["Fingerprint"]


def test_without_a_predecessor_nothing_changes() -> None:
    assert _known(classified=()).succession(_import()) == Succession()
    others = (
        Classified(_LIVE, CertificateClass.UNDECLARED, "access", newer=True),
        Classified(_OTHER, CertificateClass.PREVIOUS, "other"),
    )
    assert _known(classified=others).succession(_import()) == Succession()
    assert _known().succession(_import(role="chain")) == Succession()
    assert _known().succession(_default(replaces=None)) == Succession()


def test_the_newest_of_several_is_the_one_that_is_succeeded() -> None:
    newer = LiveCertificate(replace(OLD, fingerprint="f" * 64, not_before=OLD.not_before + DAY), "", has_key=True)
    classified = (Classified(newer, CertificateClass.PREVIOUS, "access"), _PREVIOUS)
    succession = _known(classified=classified).succession(_import())
    assert succession.instead_of == f"Example remote access [{'f' * 12}]"


def test_a_certificate_does_not_succeed_itself() -> None:
    declared = Classified(_LIVE, CertificateClass.DECLARED, "access")
    assert _known(classified=(declared,)).succession(_import(OLD.fingerprint)) == Succession()


def _default(*, replaces: str | None, target: str = LEAF.fingerprint) -> SetDefault:
    return SetDefault(
        id="4", appliance="a", certificate="access", label="access", reason=_REASON, target=target, replaces=replaces
    )


def test_a_default_is_compared_with_the_default_before() -> None:
    succession = _known().succession(_default(replaces=FACTORY.fingerprint))
    assert succession.instead_of == f"BeyondTrust Appliance [{FACTORY.fingerprint[:12]}]"
    changes = _changes(succession)
    assert changes["Alternative Name(s)"].dropped == ()
    assert len(changes["Alternative Name(s)"].added) == 3


def test_one_that_is_to_be_made_is_compared_by_what_is_known_of_it() -> None:
    create = _create("access.example.com", "lab.example.com")
    known = _known(create)
    changes = _changes(known.succession(create))
    assert changes["Alternative Name(s)"] == Change(
        "Alternative Name(s)", ("east-1.example.com", "west-1.example.com"), ("lab.example.com",), 1
    )
    assert changes["Issued By"].added == ("Example remote access",)
    assert changes["Expiration"].added == ("365d after it is made",)
    assert changes["Key"].added == ("ec-p256 [new]",)
    assert "Fingerprint" not in changes
    copied = known.succession(_import(create.new))
    chosen = known.succession(_default(replaces=OLD.fingerprint, target=create.new))
    assert copied.changes == chosen.changes == tuple(changes.values())


def test_a_request_tells_names_and_key_and_leaves_the_rest_to_the_ca() -> None:
    assert list(_changes(_known().succession(_request(OLD.public_key)))) == ["Issued To"]
    assert _changes(_known().succession(_request(None)))["Key"].added == ("ec-p256 [new]",)


def test_one_of_which_nothing_is_known_shows_no_changes() -> None:
    assert _known().succession(_import("answer:access@a")).changes == ()
    assert _known().succession(_default(replaces="9" * 64)) == Succession(f"[{'9' * 12}]")


def test_what_a_default_changes_is_told_by_the_import_that_brings_it() -> None:
    actions = (_import(), _default(replaces=OLD.fingerprint))
    part = AppliancePlan(name="a", actions=actions)
    plan = Plan(made_at=NOW, digest="d", basis=Basis(desired_digest="0"), summary=Summary(), appliances=(part,))
    classes = {"a": {OLD.fingerprint: _PREVIOUS}}
    (site,) = plan_view(plan, {"a": LiveStore((_LIVE,))}, {"access": Material(LEAF)}, classes).sites
    imported, default = site.groups[0].actions
    assert imported.changes
    assert (default.instead_of, default.changes) == (imported.instead_of, ())
