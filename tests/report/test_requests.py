from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.base.errors import StoreUnreachable
from reconciler.base.findings import Finding, Severity
from reconciler.live.store import LiveStore, PendingRequest
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.names import parse_name
from reconciler.plan.model import AppliancePlan, Basis, Plan, Progress, Summary
from reconciler.plan.requests import RequestClass, Standing
from reconciler.report.page import Medium
from reconciler.report.requests import Requests, requests_of
from reconciler.report.requests_text import requests_text
from tests.report.goldens import check_golden
from tests.support.authority import NOW

HOSTILE = "Evil\x1b[31m\u202e[bold red]gpj.exe[/]\x9b2J\nsecond <b>&amp;</b> | `line`"


def pending(label: str, common_name: str = "Example remote access") -> PendingRequest:
    return PendingRequest(
        fingerprint=hashlib.sha256(label.encode()).hexdigest(),
        public_key=hashlib.sha256(f"key of {label}".encode()).hexdigest(),
        key_kind="rsa-2048",
        subject=distinguished_name([("CN", common_name), ("O", "Example Company"), ("C", "US")]),
        subject_alternative_names=(parse_name("access.example.com"), parse_name("east-1.example.com")),
        request_data=f"-----BEGIN CERTIFICATE REQUEST-----\n{label}\n-----END CERTIFICATE REQUEST-----\n",
    )


AWAITED, ANSWERED, SPARE, RETIRED, STRANGE, UNPLANNED = (
    pending("awaited"),
    pending("answered"),
    pending("spare"),
    pending("retired"),
    replace(pending("strange", HOSTILE), subject_alternative_names=()),
    pending("unplanned"),
)
STORES = {
    "east-1": LiveStore((), (AWAITED, ANSWERED, SPARE)),
    "node-1": LiveStore(()),
    "node-2": LiveStore(()),
    "quiet-2": LiveStore(()),
    "stopped-1": LiveStore((), (UNPLANNED,)),
    "west-1": LiveStore((), (RETIRED, STRANGE)),
}
STANDINGS = {
    "east-1": {
        AWAITED.fingerprint: Standing(RequestClass.AWAITED, "access"),
        ANSWERED.fingerprint: Standing(RequestClass.ANSWERED, "portal"),
        SPARE.fingerprint: Standing(RequestClass.SPARE, "access"),
    },
    "west-1": {
        RETIRED.fingerprint: Standing(RequestClass.RETIRED),
        STRANGE.fingerprint: Standing(RequestClass.UNDECLARED),
    },
}
PLAN = Plan(
    made_at=NOW,
    digest="0",
    basis=Basis(desired_digest="0"),
    appliances=(
        AppliancePlan(name="east-1", site="access"),
        AppliancePlan(name="lone", progress=Progress.UNREACHABLE),
        AppliancePlan(name="node-1", site="traffic"),
        AppliancePlan(name="node-2", site="traffic"),
        AppliancePlan(name="quiet-1", site="quiet"),
        AppliancePlan(name="quiet-2", site="quiet"),
        AppliancePlan(name="stopped-1", site="stopped", progress=Progress.STOPPED),
        AppliancePlan(
            name="west-1",
            site="access",
            findings=(Finding("undeclared", Severity.NOTICE, f"{HOSTILE} is there", "retire it", appliance="west-1"),),
        ),
    ),
    findings=(Finding("removal-ceiling", Severity.ERROR, "too many", "allow it"),),
    summary=Summary(),
)
FAILURES = {"lone": StoreUnreachable("the store cannot be read: Permission denied", "check who may read it")}
REQUESTS = requests_of(PLAN, STORES, FAILURES, STANDINGS)


def files(document: Requests) -> dict[str, str]:
    return {each.fingerprint: each.file for part in document.appliances for each in part.requests}


@pytest.mark.parametrize(("name", "medium"), [("pipe", Medium()), ("80-colour", Medium(80, colour=True))])
def test_the_requests_read_as_they_were_looked_at(name: str, medium: Medium) -> None:
    check_golden(f"requests-{name}.txt", requests_text(REQUESTS, medium))


def test_nothing_from_a_request_reaches_a_terminal_unescaped() -> None:
    for width in (None, 20, 80):
        assert all(line.isprintable() for line in requests_text(REQUESTS, Medium(width)).splitlines())


def test_a_subject_of_any_length_fills_no_screen_and_is_whole_in_the_document() -> None:
    stores = {"east-1": LiveStore((), (pending("long", "x" * 10_000),))}
    document = requests_of(PLAN, stores, {}, {})
    assert max(map(len, requests_text(document, Medium()).splitlines())) < 400
    assert len(document.appliances[0].requests[0].subject) > 10_000


def test_the_document_is_read_back_as_it_was_written() -> None:
    text = REQUESTS.model_dump_json(by_alias=True, ensure_ascii=True)
    assert Requests.model_validate_json(text) == REQUESTS
    assert text.isprintable()
    document = json.loads(text)
    assert document["format_version"] == "1.0"
    awaited = document["appliances"][0]["requests"][0]
    assert awaited == {
        "standing": "awaited",
        "certificate": "access",
        "subject": "CN=Example remote access, O=Example Company, C=US",
        "alternative_names": ["dNSName - access.example.com", "dNSName - east-1.example.com"],
        "key": "rsa-2048",
        "public_key": AWAITED.public_key,
        "fingerprint": AWAITED.fingerprint,
        "request_data": AWAITED.request_data,
        "file": "access.csr",
    }


def test_an_appliance_that_cannot_be_observed_or_planned_hides_no_other() -> None:
    by_name = {each.name: each for each in REQUESTS.appliances}
    assert by_name["lone"].problem == "the store cannot be read: Permission denied - check who may read it"
    assert by_name["quiet-1"].problem == "not observed"
    assert [each.standing for each in by_name["stopped-1"].requests] == [None]
    assert len(by_name["east-1"].requests) == 3


def test_a_file_is_told_as_it_is_written() -> None:
    assert "    File                 out/access.csr\n" in requests_text(REQUESTS, Medium(), Path("out"))
    assert "    File                 access.csr\n" in requests_text(REQUESTS, Medium())


def test_only_what_somebody_waits_for_has_a_file() -> None:
    assert {fingerprint: name for fingerprint, name in files(REQUESTS).items() if name} == {
        AWAITED.fingerprint: "access.csr"
    }
