from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.report.status import Status

if TYPE_CHECKING:
    import pytest

    from tests.cli.fleet import Fleet


def test_the_stores_are_shown_as_the_appliances_show_them(fleet: Fleet) -> None:
    assert fleet.run("apply", "--yes").code == 0
    ran = fleet.run("status")
    assert ran.code == 0
    for label in ("Friendly Name", "Issued To", "Issued By", "Expiration", "Alternative Name(s)", "Private Key?"):
        assert label in ran.out
    assert "dNSName - access.example.com" in ran.out
    assert "No Supported Names" in ran.out
    assert "declared as access" in ran.out
    assert "Falls due next\n" in ran.out


def test_a_narrow_page_gets_blocks(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    ran = fleet.run("status", "--appliance", "lab")
    assert "    Alternative Name(s)  No Supported Names\n" in ran.out
    too_long = [line for line in ran.out.splitlines() if len(line) > 60]
    assert all(str(fleet.root) in line for line in too_long)


def test_json_has_every_appliance_and_the_problem_of_one(fleet: Fleet) -> None:
    (fleet.store("east-1") / "half.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    ran = fleet.run("status", "--format", "json")
    assert ran.code == 1
    status = Status.model_validate_json(ran.out)
    assert [(each.name, bool(each.problem)) for each in status.appliances] == [
        ("east-1", True),
        ("lab", False),
        ("west-1", False),
    ]


def test_only_what_is_asked_for_is_shown(fleet: Fleet) -> None:
    status = Status.model_validate_json(fleet.run("status", "--site", "access", "--format", "json").out)
    assert [each.name for each in status.appliances] == ["east-1", "west-1"]


def test_one_appliance_of_a_site_is_shown_with_what_its_site_makes_due(fleet: Fleet) -> None:
    ran = fleet.run("status", "--appliance", "east-1")
    assert ran.code == 0
    assert "site-divided" not in ran.out
    assert "\neast-1, site access\n" in ran.out
    assert "west-1" not in ran.out.partition("Falls due next")[0]
    (fleet.root / "stores/west-1").rename(fleet.root / "elsewhere")
    assert fleet.run("status", "--appliance", "east-1").code == 0
    assert fleet.run("status").code == 1
