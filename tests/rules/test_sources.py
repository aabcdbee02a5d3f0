from __future__ import annotations

import pytest

from tests.rules.fleet import C_LONE, C_SINGLE, LONE, SINGLE, SOLO, Broken, edit, intermediate

REQUESTED = "  kind: requested\n  signed: single/signed.p7b\n  chain: [intermediate.pem, root.pem]\n"
BUILDS = "client_software:\n  - installed_at: 2026-01-01T00:00:00Z\n    trusts: [../certificates/root.pem]\n"
NO_CLIENTS = (SINGLE, [(BUILDS, "client_software: none\n")])


def self_signed(valid_for: str = "") -> tuple[str, list[tuple[str, str]]]:
    return (C_SINGLE, [(REQUESTED, f"  kind: self_signed\n{valid_for}")])


def test_a_self_signed_certificate_is_for_testing() -> None:
    fleet = Broken(dict([self_signed(), NO_CLIENTS]))
    assert fleet.found() == [("self-signed-temporary", "notice", f"{C_SINGLE}: self_signed")]


@pytest.mark.parametrize(("valid_for", "severity"), [("366d", "notice"), ("367d", "warning"), ("8785h", "warning")])
def test_more_than_a_year_is_not_temporary(valid_for: str, severity: str) -> None:
    fleet = Broken(dict([self_signed(f"  valid_for: {valid_for}\n"), NO_CLIENTS]))
    place = valid_for if severity == "warning" else "self_signed"
    assert fleet.found() == [("self-signed-temporary", severity, f"{C_SINGLE}: {place}")]


def test_self_signed_where_clients_exist_is_refused_where_it_is_listed() -> None:
    fleet = Broken(dict([self_signed()]))
    assert ("self-signed-with-clients", "error", f"{SINGLE}: single]") in fleet.found()


def test_the_clients_of_a_site_count_for_the_certificates_of_its_appliances() -> None:
    fleet = Broken(
        dict([self_signed(), (SINGLE, [("[single]", "[atlas]")]), (SOLO, [("", "certificates: [single]\n")])])
    )
    assert ("self-signed-with-clients", "error", f"{SOLO}: single]") in fleet.found()


def test_the_clients_of_a_lone_appliance_count() -> None:
    fleet = Broken(dict([self_signed(), NO_CLIENTS, (LONE, [("[lone]", "[lone, single]")])]))
    assert ("self-signed-with-clients", "error", f"{LONE}: single]") in fleet.found()


def test_a_lone_appliance_that_does_not_say_is_left_to_the_loader() -> None:
    fleet = Broken(dict([self_signed(), NO_CLIENTS, (LONE, [("[lone]", "[lone, single]"), (BUILDS, "")])]))
    assert not [each for each in fleet.found() if each[0] == "self-signed-with-clients"]


def test_a_certificate_listed_twice_is_named_once() -> None:
    fleet = Broken(dict([self_signed(), (SINGLE, [("[single]", "[single, single]")])]))
    assert [each[0] for each in fleet.found()].count("self-signed-with-clients") == 1


def test_the_cloud_creates_no_self_signed_certificates() -> None:
    fleet = Broken(dict([self_signed(), NO_CLIENTS, (SOLO, [("", "platform: cloud\n")])]))
    assert ("cloud-self-signed", "error", f"{SINGLE}: single]") in fleet.found()


def test_the_cloud_takes_other_certificates() -> None:
    assert edit(SOLO, ("", "platform: cloud\n")).found() == []


def test_a_declared_key_is_one_that_the_policy_allows() -> None:
    fleet = Broken({"fleet.yaml": [("policy:\n", "policy:\n  keys: [ec-p256]\n")], C_SINGLE: [("ec-p256", "rsa-2048")]})
    assert ("key-policy", "error", f"{C_SINGLE}: rsa-2048") in fleet.found()


def test_a_key_that_is_not_written_down_is_judged_where_the_file_begins() -> None:
    fleet = Broken({"fleet.yaml": [("policy:\n", "policy:\n  keys: [ec-p256]\n")], C_SINGLE: [("key: ec-p256\n", "")]})
    assert ("key-policy", "error", f"{C_SINGLE}: subject:") in fleet.found()


def test_the_key_of_a_provided_certificate_is_what_counts() -> None:
    leaf = intermediate().issue(["lone.example.com"], key_kind="ec-p521").certificate
    fleet = Broken(material={"certificates/lone/leaf.pem": (leaf,)})
    assert fleet.found() == [
        ("key-policy", "error", f"{C_LONE}: lone/leaf.pem"),
        ("signed-mismatch", "error", f"{C_LONE}: lone/leaf.pem"),
    ]
    assert "ec-p521" in fleet.check()[0].message


def test_a_self_signed_certificate_that_was_provided_is_no_trouble() -> None:
    assert Broken().found() == []
