from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from reconciler.report.doctor import ApplianceExamined, Doctor
from tests.support.haproxy import serving
from tests.support.presenting import refusing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.cli.fleet import Fleet


@pytest.fixture
def operator(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Operator settings that allow the endpoints of the fleet."""
    path = fleet.root / "operator.yaml"
    path.write_text("hosts:\n  - unused.example.com\n")
    monkeypatch.setenv("RECONCILER_OPERATOR", str(path))
    return path


def endpoint(fleet: Fleet, appliance: str, port: int) -> None:
    with fleet.file(f"appliances/{appliance}.yaml").open("a") as file:
        file.write(f"endpoint: 127.0.0.1:{port}\n")
    settings = fleet.root / "operator.yaml"
    if settings.exists():
        with settings.open("a") as file:
            file.write(f"  - 127.0.0.1:{port}\n")


def content(fleet: Fleet) -> Mapping[Path, tuple[bytes, int]]:
    """Every file, and when it was changed."""
    files = (path for path in fleet.root.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def examined(fleet: Fleet, *arguments: str) -> tuple[int, dict[str, ApplianceExamined]]:
    ran = fleet.run("doctor", "--format", "json", *arguments)
    return ran.code, {each.name: each for each in Doctor.model_validate_json(ran.out).appliances}


def test_directories_that_can_be_read_are_well(fleet: Fleet) -> None:
    before = content(fleet)
    ran = fleet.run("doctor")
    assert ran.code == 0
    assert ran.out.count("+ readable  certificates: 1; certificate requests: 0\n") == 3
    assert f"write `endpoint: host:port` in {fleet.file('appliances/lab.yaml')}" in ran.out
    assert ran.out.endswith("\nDoctor: 3 appliances can be reached and understood.\n")
    assert content(fleet) == before


def test_one_that_cannot_be_read_fails_and_hides_no_other(fleet: Fleet) -> None:
    (fleet.store("east-1") / "half.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    code, appliances = examined(fleet)
    assert code == 1
    assert {name: each.healthy for name, each in appliances.items()} == {"east-1": False, "lab": True, "west-1": True}
    assert "half.pem" in appliances["east-1"].checks[0].message
    assert appliances["east-1"].checks[0].remedy


@pytest.mark.usefixtures("operator")
def test_what_a_real_front_end_presents_is_shown(fleet: Fleet) -> None:
    assert fleet.run("apply", "--yes").code == 0
    with serving({"east-1": fleet.store("east-1"), "lab": fleet.store("lab")}) as haproxy:
        for name, port in haproxy.ports.items():
            endpoint(fleet, name, port)
        code, appliances = examined(fleet)
        text = fleet.run("doctor", "--appliance", "east-1").out
    assert code == 0
    leaf = x509.load_pem_x509_certificate(fleet.file("certificates/access/leaf.pem").read_bytes())
    names = ["no SNI", "access.example.com", "east-1.example.com"]
    seen = {each.name or "no SNI": each.presented for each in appliances["east-1"].served}
    assert list(seen) == names
    for presented in seen.values():
        assert presented
        assert presented.fingerprint == leaf.fingerprint(SHA256()).hex()
        assert (presented.label, presented.certificate, presented.warnings) == ("access.example.com", "access", ())
    own = {each.presented.certificate for each in appliances["lab"].served if each.presented}
    assert own == {"lab"}
    assert text.count("declared as access") == 3


@pytest.mark.usefixtures("operator")
def test_what_does_not_fit_is_said_and_is_no_failure(fleet: Fleet) -> None:
    with serving({"lab": fleet.store("lab")}) as haproxy:
        endpoint(fleet, "lab", haproxy.ports["lab"])
        ran = fleet.run("doctor", "--appliance", "lab")
    assert ran.code == 0
    assert "BeyondTrust Appliance [" in ran.out
    assert "not declared for this appliance" in ran.out
    assert "! does not cover lab.example.com" in ran.out


@pytest.mark.usefixtures("operator")
def test_an_endpoint_on_which_nothing_listens_is_a_failure(fleet: Fleet) -> None:
    endpoint(fleet, "lab", refusing()[1])
    ran = fleet.run("doctor")
    assert ran.code == 1
    assert "its endpoint refuses connections" in ran.out
    assert "Doctor: 1 of 3 appliances could not be reached or understood.\n" in ran.out


def test_a_host_that_the_operator_does_not_allow_is_a_failure(fleet: Fleet) -> None:
    endpoint(fleet, "lab", 443)
    ran = fleet.run("doctor", "--appliance", "lab")
    assert ran.code == 1
    assert "the host 127.0.0.1 is not among those that may be contacted" in ran.out
    assert "add '127.0.0.1' to `hosts` in the operator settings" in ran.out


def test_only_what_is_asked_for_is_examined(fleet: Fleet) -> None:
    assert list(examined(fleet, "--site", "access")[1]) == ["east-1", "west-1"]
    assert list(examined(fleet, "--appliance", "lab")[1]) == ["lab"]
    ran = fleet.run("doctor", "--appliance", "eastt-1")
    assert (ran.code, ran.out) == (1, "")
    assert "did you mean east-1?" in ran.err


def test_an_error_of_form_is_told_with_what_is_left_to_examine(fleet: Fleet) -> None:
    fleet.edit("appliances/lab.yaml", "hostname:", "host_name:")
    ran = fleet.run("doctor")
    assert ran.code == 3
    assert "Errors\n" in ran.out
    assert "unknown-key" in ran.out
    assert "Doctor: 2 appliances can be reached and understood.\n" in ran.out
    (fleet.store("east-1") / "half.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    assert fleet.run("doctor").code == 1


def test_pages_are_not_kept_where_a_file_lies(fleet: Fleet) -> None:
    ran = fleet.run("doctor", "--capture", fleet.file("fleet.yaml"))
    assert (ran.code, ran.out) == (1, "")
    assert "fleet.yaml is no folder - name a folder" in ran.err
    assert " is no folder - " in fleet.run("doctor", "--capture", "p" * 300).err
    for folder in (fleet.root, fleet.root / "pages"):
        assert fleet.run("doctor", "--capture", folder).code == 0


def test_json_is_plain_to_a_terminal(fleet: Fleet) -> None:
    out = fleet.run("doctor", "--format", "json").out
    assert json.loads(out)["format_version"] == "1.0"
    assert out.isascii()
