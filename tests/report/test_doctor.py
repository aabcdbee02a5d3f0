from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.base.findings import Finding, Severity
from reconciler.base.position import Position
from reconciler.live.driver import Check, CheckOutcome
from reconciler.live.presented import Unseen
from reconciler.plan.model import PlanModel
from reconciler.report.doctor import ApplianceExamined, Doctor, PresentedCertificate, PresentedFor, doctor_of
from reconciler.report.doctor_text import doctor_text
from reconciler.report.page import Medium
from tests.plan.scenes import OWN, own
from tests.report.goldens import check_golden
from tests.report.sample import EVIL, FACTORY, HOSTILE, LEAF, OLD
from tests.support.authority import DAY, NOW
from tests.support.desired import desired

if TYPE_CHECKING:
    from reconciler.pki.certificate import Certificate

_APPLIANCE = "hostname: {}.example.com\nstore: {{driver: directory}}\n"
STATE = replace(
    desired(
        {
            "sites/access.yaml": """
                hostname: access.example.com
                topology: failover
                primary: east-1
                backup: west-1
                certificates: [access]
                client_software: none
                protected_names: [evil.example.com]
            """,
            "certificates/access.yaml": """
                friendly_name: access.example.com
                subject: {common_name: Example remote access}
                subject_alternative_names: [access.example.com]
                source: {kind: provided, certificate: access/leaf.pem, key: access/key.pem, passphrase: {env: KEY}}
            """,
            "certificates/own.yaml": OWN,
            **{f"appliances/{name}.yaml": _APPLIANCE.format(name) for name in ("east-1", "west-1")},
            "appliances/lab.yaml": f"{_APPLIANCE.format('lab')}certificates: [own]\nclient_software: none\n",
        },
        {"certificates/access/leaf.pem": (LEAF,)},
    ),
    findings=(
        Finding("missing-key", Severity.ERROR, "`hostname` is missing", "write it", Position("a.yaml", 1, 1)),
        Finding("unused-file", Severity.WARNING, "nothing refers to it", "remove it", Position("b.pem", 1, 1)),
    ),
)
OK, WARNING, BY_HAND, FAILED = CheckOutcome
CHECKS = {
    "east-1": (
        Check("reachable", OK, "https://east-1.example.com/appliance"),
        Check("signed in", OK),
        Check(f"Security > {HOSTILE}", WARNING, f"the label {HOSTILE} was seen", f"look at {HOSTILE}"),
        Check("set the default", BY_HAND, "its interface does not offer it"),
        Check("endpoint", OK, "east-1.example.com:443"),
    ),
    "lab": (
        Check("readable", OK, "certificates: 2; certificate requests: 0"),
        Check("endpoint", WARNING, "where clients connect to is not known", "write `endpoint: host:port`"),
    ),
    "west-1": (
        Check("reachable", FAILED, "nobody answers", "look at the cable"),
        Check("endpoint", OK, "west-1.example.com:443, reached at 127.0.0.1:8443"),
    ),
}
PRESENTED: dict[str, dict[str | None, Certificate | Unseen]] = {
    "east-1": {
        None: FACTORY,
        "access.example.com": LEAF,
        "east-1.example.com": replace(OLD, not_before=NOW + DAY),
        "evil.example.com": EVIL,
    },
    "lab": {},
    "west-1": {
        None: Unseen.NO_TLS,
        "access.example.com": Unseen.TIMED_OUT,
        "west-1.example.com": Unseen.TIMED_OUT,
        "evil.example.com": LEAF,
    },
}
DOCTOR = doctor_of(STATE, NOW, CHECKS, PRESENTED)
BY_NAME = {each.name: each for each in DOCTOR.appliances}


@pytest.mark.parametrize(
    ("name", "medium"), [("pipe", Medium()), ("80", Medium(80)), ("200-colour", Medium(200, colour=True))]
)
def test_what_was_found_out_reads_as_it_was_looked_at(name: str, medium: Medium) -> None:
    check_golden(f"doctor-{name}.txt", doctor_text(DOCTOR, medium))


def test_nothing_from_an_appliance_reaches_a_terminal_unescaped() -> None:
    for width in (None, 20, 80, 300):
        assert all(line.isprintable() for line in doctor_text(DOCTOR, Medium(width)).splitlines())


def test_the_document_is_read_back_as_it_was_written() -> None:
    text = DOCTOR.model_dump_json(by_alias=True, ensure_ascii=True)
    assert Doctor.model_validate_json(text) == DOCTOR
    assert text.isprintable()
    east = json.loads(text)["appliances"][0]
    assert [each["outcome"] for each in east["checks"]] == ["ok", "ok", "warning", "by hand", "ok"]
    assert [each["name"] for each in east["served"]][:2] == [None, "access.example.com"]


def test_only_failures_make_an_appliance_unhealthy() -> None:
    assert {name: each.healthy for name, each in BY_NAME.items()} == {"east-1": True, "lab": True, "west-1": False}
    checks = {"east-1": (Check("readable", FAILED, "no"),), "west-1": (Check("readable", OK),)}
    silent = doctor_of(STATE, NOW, checks, {"east-1": {None: LEAF}, "west-1": {None: LEAF, "a": Unseen.CLOSED}})
    assert [each.healthy for each in silent.appliances] == [False, False]


def shown(appliance: str, name: str | None) -> PresentedCertificate:
    [row] = [each for each in BY_NAME[appliance].served if each.name == name]
    assert row.presented
    return row.presented


def test_what_is_presented_says_whether_it_is_declared() -> None:
    leaf = shown("east-1", "access.example.com")
    assert (leaf.label, leaf.certificate, leaf.fingerprint) == ("access.example.com", "access", LEAF.fingerprint)
    assert leaf.warnings == ()
    factory = shown("east-1", None)
    assert (factory.label, factory.certificate) == ("BeyondTrust Appliance", None)


def test_one_that_the_appliance_made_as_it_was_declared_is_declared_too() -> None:
    made = own()
    document = doctor_of(STATE, NOW, {"lab": (), "east-1": ()}, {"lab": {None: made}, "east-1": {None: made}})
    declared = {each.name: each.served[0].presented for each in document.appliances}
    assert declared["lab"] == PresentedCertificate(
        label="own",
        issued_by="Made here",
        not_before=made.not_before,
        expiration=made.not_after,
        alternative_names=("dNSName - access.example.com",),
        fingerprint=made.fingerprint,
        certificate="own",
        warnings=("does not cover lab.example.com",),
    )
    assert declared["east-1"]
    assert declared["east-1"].certificate is None


def test_coverage_and_validity_are_judged_for_the_name_that_clients_mean() -> None:
    assert shown("east-1", None).warnings == ("does not cover access.example.com",)
    assert shown("east-1", "east-1.example.com").warnings == ("not valid yet",)
    assert shown("east-1", "evil.example.com").warnings == ("expired",)
    ends = doctor_of(STATE, LEAF.not_after, {"east-1": ()}, {"east-1": {None: LEAF}})
    [row] = ends.appliances[0].served
    assert row.presented
    assert row.presented.warnings == ()


@pytest.mark.parametrize("reason", list(Unseen))
def test_whatever_keeps_one_from_looking_has_words_and_a_remedy(reason: Unseen) -> None:
    document = doctor_of(STATE, NOW, {"east-1": ()}, {"east-1": {None: reason}})
    [row] = document.appliances[0].served
    assert row == PresentedFor(name=None, reason=reason, problem=row.problem, remedy=row.remedy)
    assert row.problem
    assert row.remedy


def test_errors_of_form_are_told_since_appliances_may_have_been_left_out() -> None:
    assert [each.rule for each in DOCTOR.findings] == ["missing-key"]


def test_the_sum_says_how_many_are_well() -> None:
    well = DOCTOR.model_copy(update={"appliances": (BY_NAME["lab"],), "findings": ()})
    assert doctor_text(well, Medium()).endswith("\n\nDoctor: 1 appliance can be reached and understood.\n")
    assert "1 of 3 appliances could not be reached or understood.\n" in doctor_text(DOCTOR, Medium())


def test_an_appliance_of_which_nothing_was_looked_at_is_still_named() -> None:
    bare = ApplianceExamined(name="bare", healthy=True, checks=())
    assert isinstance(bare, PlanModel)
    assert "\nbare\n" in doctor_text(DOCTOR.model_copy(update={"appliances": (bare,)}), Medium())
