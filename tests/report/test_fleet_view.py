from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from reconciler.base.findings import Finding, Kind, ObjectName, Severity
from reconciler.live.store import LiveCertificate, LiveStore
from reconciler.plan.matching import CertificateClass, Classified
from reconciler.plan.model import (
    Action,
    AppliancePlan,
    Basis,
    Candidate,
    CreateRequest,
    CreateSelfSigned,
    Hold,
    Plan,
    Progress,
    Reason,
    RemoveRequest,
    ServedName,
    State,
    Summary,
)
from reconciler.report.fleet_view import Condition, FleetView, Glance, Life, SiteFleet, fleet_view
from tests.report import sample
from tests.support.authority import DAY, NOW
from tests.support.desired import desired

VIEW = fleet_view(sample.STATE, sample.PLAN, sample.STORES, sample.FAILURES, sample.CLASSES, {})
ACCESS, *_ = VIEW.sites

STATE = desired(
    {
        "sites/pair.yaml": """
            hostname: access.example.com
            topology: failover
            primary: west-1
            backup: east-1
            certificates: [access]
            client_software: none
        """,
        **{
            f"appliances/{name}.yaml": f"""
                hostname: {name}.example.com
                store: {{driver: directory}}
            """
            for name in ("east-1", "west-1", "lone")
        },
        "certificates/access.yaml": """
            subject: {common_name: Example remote access}
            subject_alternative_names: [access.example.com]
            renew_before: 40d
            source: {kind: provided, certificate: access/leaf.pem, key: access/key.pem, passphrase: {env: KEY}}
        """,
    },
    {"certificates/access/leaf.pem": (sample.LEAF,)},
)
_WHY = Reason(code="because", sentence="because")


def _plan(*appliances: AppliancePlan, findings: tuple[Finding, ...] = ()) -> Plan:
    basis = Basis(desired_digest="0")
    return Plan(made_at=NOW, digest="d", basis=basis, appliances=appliances, findings=findings, summary=Summary())


def _part(name: str, *actions: Action, served: tuple[str, ...] = ()) -> AppliancePlan:
    candidates = tuple(Candidate(certificate=each, label="", good=True) for each in served)
    row = ServedName(name="access.example.com", before=candidates, after=candidates)
    site = None if name == "lone" else "pair"
    return AppliancePlan(name=name, site=site, actions=actions, serving=(row,) if served else ())


def _store(*names: str) -> LiveStore:
    known = {"leaf": sample.LEAF, "old": sample.OLD, "factory": sample.FACTORY, "orphan": sample.ORPHAN}
    rows = tuple(LiveCertificate(known[name], f"its {name}", has_key=True) for name in names)
    return LiveStore(tuple(sorted(rows, key=lambda row: row.fingerprint)), default=known[names[0]].fingerprint)


def _view(plan: Plan, stores: dict[str, LiveStore] | None = None, **kinds: CertificateClass) -> FleetView:
    known = {"leaf": sample.LEAF, "old": sample.OLD, "factory": sample.FACTORY, "orphan": sample.ORPHAN}
    stores = stores or {}
    classes = {
        name: {
            known[called].fingerprint: Classified(
                store.by_fingerprint[known[called].fingerprint],
                kind,
                "access" if kind in {CertificateClass.DECLARED, CertificateClass.PREVIOUS} else None,
            )
            for called, kind in kinds.items()
            if known[called].fingerprint in store.by_fingerprint
        }
        for name, store in stores.items()
    }
    return fleet_view(STATE, plan, stores, {}, classes, {})


def _glance(site: SiteFleet, name: str) -> Glance:
    return next(each for each in site.members if each.name == name)


def test_conditions_are_counted_and_the_worst_comes_first() -> None:
    assert _glance(ACCESS, "east-1").conditions == ((Condition.CHANGES, 4), (Condition.HELD, 1))
    assert ACCESS.conditions == ((Condition.CHANGES, 8), (Condition.HELD, 2))
    traffic = next(each for each in VIEW.sites if each.name == "traffic")
    assert [each.conditions for each in traffic.members] == [
        ((Condition.IN_STEP, 1),),
        ((Condition.WAITING, 1), (Condition.BY_HAND, 1)),
    ]
    assert traffic.conditions == ((Condition.WAITING, 1), (Condition.BY_HAND, 1))


def test_an_appliance_that_was_not_planned_says_why() -> None:
    lone, stopped = VIEW.sites[-1].members[0], VIEW.sites[2].members[0]
    assert lone.conditions == ((Condition.UNREACHABLE, 1),)
    assert lone.problem == "the store cannot be read: Permission denied - check who may read it"
    assert stopped.conditions == ((Condition.ERRORS, 1),)
    assert stopped.problem == "not planned: see the errors"


@pytest.mark.parametrize(
    ("finding", "concerned"),
    [
        ({"appliance": "lone"}, {"lone"}),
        ({"about": ObjectName(Kind.APPLIANCE, "east-1")}, {"east-1"}),
        ({"about": ObjectName(Kind.SITE, "pair")}, {"east-1", "west-1"}),
        ({"about": ObjectName(Kind.SITE, "broken")}, set()),
        ({"about": ObjectName(Kind.CERTIFICATE, "access")}, {"east-1", "west-1"}),
        ({"about": ObjectName(Kind.FLEET, "fleet")}, set()),
        ({}, set()),
    ],
)
def test_an_error_stands_with_every_appliance_that_it_concerns(
    finding: dict[str, str | ObjectName], concerned: set[str]
) -> None:
    error = replace(Finding("r", Severity.ERROR, "m", ""), **finding)  # type: ignore[arg-type]
    warning = replace(error, severity=Severity.WARNING, message="other")
    parts = [_part(name) for name in ("east-1", "lone", "west-1")]
    view = _view(_plan(*parts, findings=(error, warning)))
    members = [member for site in view.sites for member in site.members]
    assert {each.name for each in members if each.conditions == ((Condition.ERRORS, 1),)} == concerned
    assert dict(view.counts)["Errors"] == 1


def test_an_appliance_that_was_stopped_counts_the_errors_that_stopped_it() -> None:
    error = Finding("r", Severity.ERROR, "m", "", about=ObjectName(Kind.SITE, "pair"))
    part = _part("east-1").model_copy(update={"progress": Progress.STOPPED})
    (site,) = _view(_plan(part, findings=(error, replace(error, message="n")))).sites
    assert site.members[0].conditions == ((Condition.ERRORS, 2),)


def test_a_site_begins_with_its_primary_and_leaves_out_who_was_not_asked_for() -> None:
    (site,) = _view(_plan(_part("east-1"), _part("west-1"))).sites
    assert (site.hostname, site.topology) == ("access.example.com", "failover")
    assert [each.name for each in site.members] == ["west-1", "east-1"]
    (site,) = _view(_plan(_part("east-1"))).sites
    assert [each.name for each in site.members] == ["east-1"]


def test_what_is_default_now_and_then() -> None:
    assert (_glance(ACCESS, "east-1").default, _glance(ACCESS, "east-1").default_next) == (
        "BeyondTrust Appliance",
        "access.example.com",
    )
    node = next(each for each in VIEW.sites if each.name == "traffic").members[1]
    assert (node.default, node.default_next) == ("", "")  # by hand, so it does not become one by this plan


def test_the_next_expiration_is_that_of_what_is_ours_or_may_be_served() -> None:
    stores = {"lone": _store("factory", "leaf", "old", "orphan")}
    kinds = {"factory": CertificateClass.FACTORY, "orphan": CertificateClass.UNDECLARED}
    served = (sample.FACTORY.fingerprint,)

    def soonest(**others: CertificateClass) -> str:
        (site,) = _view(_plan(_part("lone", served=served)), stores, **kinds, **others).sites
        return site.members[0].expiring

    assert soonest() == ""
    assert soonest(leaf=CertificateClass.DECLARED) == "its leaf"
    assert soonest(leaf=CertificateClass.DECLARED, old=CertificateClass.PREVIOUS) == "its old"
    assert soonest(leaf=CertificateClass.DECLARED, old=CertificateClass.UNDECLARED) == "its leaf"
    served = (sample.OLD.fingerprint,)
    assert soonest(leaf=CertificateClass.DECLARED, old=CertificateClass.UNDECLARED) == "its old"


def test_members_are_compared_row_by_row() -> None:
    rows = {each.identity: each for each in ACCESS.holdings}
    leaf, old, evil = rows["9f91161f4343"], rows["cba06b5736fa"], rows["b5c1fb2efc6d"]
    assert [cell.there for cell in leaf.cells] == [False, False]
    assert [[step.kind for step in cell.steps] for cell in leaf.cells] == [["import", "set_default"]] * 2
    assert leaf.names == ("access.example.com", "east-1.example.com", "west-1.example.com")
    assert (old.issued_to, old.issued_by) == ("Example remote access", "Example Issuing CA")
    assert old.cells[0].steps[0].until == NOW + 7 * DAY
    # What is one thing to one member may be another to the next.
    assert [row.class_ for row in evil.rows] == [CertificateClass.RETIRED, CertificateClass.UNDECLARED]
    assert evil.warnings == ("expired",)
    assert ACCESS.holdings[0].label == "BeyondTrust Appliance"
    assert ACCESS.holdings[0].cells[0].default


def test_what_stays_as_it_is_and_needs_no_look_stands_apart() -> None:
    kinds = {"leaf": CertificateClass.DECLARED, "factory": CertificateClass.FACTORY}
    (site,) = _view(_plan(_part("lone")), {"lone": _store("leaf", "factory")}, **kinds).sites
    assert [each.label for each in site.holdings] == ["its leaf"]
    assert [each.label for each in site.steady] == ["its factory"]
    served = _part("lone", served=(sample.FACTORY.fingerprint,))
    (site,) = _view(_plan(served), {"lone": _store("leaf", "factory")}, **kinds).sites
    assert [each.label for each in site.steady] == []


def test_requests_stand_last_whether_pending_or_to_be_made() -> None:
    pending = ACCESS.holdings[-1]
    assert (pending.label, pending.pending, pending.expiration) == ("CN=Next, C=US", True, None)
    assert [cell.there for cell in pending.cells] == [False, True]
    made = CreateRequest(
        id="east-1/1",
        appliance="east-1",
        label="access.example.com",
        reason=_WHY,
        friendly_name="access",
        subject=(("CN", "Example"),),
        subject_alternative_names=("access.example.com",),
        key="rsa-2048",
        public_key=None,
    )
    gone = RemoveRequest(id="east-1/2", appliance="east-1", label="Old", reason=_WHY, fingerprint="ab" * 32)
    (site,) = _view(_plan(_part("east-1", made, gone))).sites
    asked = next(each for each in site.holdings if each.pending)
    assert (asked.label, asked.identity, asked.names) == ("access.example.com", "new", ("access.example.com",))
    assert {each.label for each in site.holdings} == {"access.example.com", "Old"}
    assert not _view(_plan(_part("east-1", made, gone))).lives


def test_lives_know_their_renewals_and_holds() -> None:
    lives = {(each.site, each.identity): each for each in VIEW.lives}
    assert [each.end for each in VIEW.lives] == sorted(each.end for each in VIEW.lives)
    comes, old, evil = (lives["access", each] for each in ("9f91161f4343", "cba06b5736fa", "b5c1fb2efc6d"))
    assert comes.comes
    assert not comes.goes
    assert comes.renewal == (sample.LEAF.not_after - 30 * DAY, "30d before it expires")
    assert (old.comes, old.goes, old.renewal) == (False, False, None)
    assert old.holds == ((NOW + 7 * DAY, "remove"),)
    assert evil.goes
    # The same certificate lives on another site as well, where it stays.
    assert not lives["traffic", "9f91161f4343"].comes


def test_a_live_certificate_is_renewed_as_declared() -> None:
    plan, stores = _plan(_part("east-1"), _part("lone")), {"east-1": _store("leaf"), "lone": _store("old")}
    view = _view(plan, stores, leaf=CertificateClass.DECLARED, old=CertificateClass.PREVIOUS)
    assert [(each.label, each.renewal and each.renewal[0]) for each in view.lives] == [
        ("its old", None),
        ("its leaf", sample.LEAF.not_after - 40 * DAY),
    ]


def test_what_is_still_to_be_made_lives_from_now_and_what_a_ca_is_to_make_not_yet() -> None:
    lab = next(each for each in VIEW.lives if each.label == "lab")
    assert (lab.start, lab.end, lab.identity, lab.comes) == (NOW, NOW + dt.timedelta(days=365), "new", True)
    made = sample.PLAN.appliances[3].actions[0]
    assert isinstance(made, CreateSelfSigned)
    answer = sample.PLAN.appliances[0].actions[1].model_copy(update={"fingerprint": "answer:access"})
    view = _view(_plan(_part("east-1", answer)))
    assert view.lives == ()
    assert view.sites[0].holdings[0].label == "access.example.com"


def test_what_is_held_comes_when_its_hold_ends_and_nobody_knows_when_without_an_end() -> None:
    ready = sample.PLAN.appliances[0].actions[1]

    def life(state: State, hold: Hold | None) -> Life:
        held = ready.model_copy(update={"state": state, "hold": hold})
        return next(each for each in _view(_plan(_part("east-1", held))).lives if each.comes)

    why = Reason(code="x", sentence="y")
    assert life(State.READY, None).open is False
    known = life(State.HELD, Hold(reason=why, until=NOW + 7 * DAY))
    assert (known.start, known.open) == (NOW + 7 * DAY, False)
    assert life(State.HELD, Hold(reason=why, until=sample.LEAF.not_before - DAY)).start == sample.LEAF.not_before
    unknown = life(State.HELD, Hold(reason=why))
    assert (unknown.start, unknown.open) == (sample.LEAF.not_before, True)
    assert life(State.BY_HAND, None).open


def test_counts_tell_what_is_held_from_what_is_by_hand() -> None:
    assert VIEW.counts == (
        ("Create", 0),
        ("Import", 4),
        ("Default", 2),
        ("Remove", 2),
        ("Held", 2),
        ("Waiting", 1),
        ("By hand", 2),
        ("Errors", 2),
    )
    offered = sample.PLAN.by_hand[0].model_copy(update={"code": "not-offered"})
    counts = dict(_view(sample.PLAN.model_copy(update={"by_hand": (offered,)})).counts)
    assert counts["By hand"] == 1, "it is the action that the interface does not offer"
    assert {each.state for each in sample.PLAN.actions} >= {State.HELD, State.BY_HAND}
