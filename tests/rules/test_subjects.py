from __future__ import annotations

import pytest

from tests.rules.fleet import C_ATLAS, C_LONE, C_PAIR, C_SINGLE, Broken, edit


@pytest.mark.parametrize(
    ("common_name", "first_san"),
    [
        ("single.example.com", "other.example.com"),
        ("SINGLE.example.com.", "other.example.com"),
        ("'*.example.com'", "other.example.com"),
    ],
)
def test_a_dns_name_as_common_name_is_the_first_alternative_name(common_name: str, first_san: str) -> None:
    fleet = edit(
        C_SINGLE,
        ("Single access", common_name),
        ("  - single.example.com", f"  - {first_san}\n  - single.example.com\n  - '*.example.com'"),
    )
    assert ("cn-first-san", "warning", f"{C_SINGLE}: {first_san}") in fleet.found()


@pytest.mark.parametrize("common_name", ["single.example.com", "Single access", "v1.2", "Example", "a b.example.com"])
def test_a_common_name_that_is_first_or_a_title_needs_no_repetition(common_name: str) -> None:
    assert not [each for each in edit(C_SINGLE, ("Single access", common_name)).found() if each[0] == "cn-first-san"]


def test_a_dns_name_as_common_name_is_advised_against() -> None:
    fleet = edit(C_SINGLE, ("Single access", "single.example.com"))
    assert fleet.found() == [("cn-is-hostname", "notice", f"{C_SINGLE}: single.example.com")]


def test_no_ca_asks_for_a_dns_name_in_a_self_signed_certificate() -> None:
    fleet = edit(
        C_SINGLE,
        ("Single access", "single.example.com"),
        (
            "  kind: requested\n  signed: single/signed.p7b\n  chain: [intermediate.pem, root.pem]",
            "  kind: self_signed",
        ),
    )
    assert ("cn-is-hostname", "warning", f"{C_SINGLE}: single.example.com") in fleet.found()


def test_advice_on_the_form_does_not_apply_to_what_was_made_elsewhere() -> None:
    assert edit(C_LONE, ("Lone access", "elsewhere.example.com")).found() == []


def test_a_common_name_is_unique_whatever_its_case_and_spacing() -> None:
    fleet = edit(C_PAIR, ("Pair access", "ATLAS  access"))
    assert fleet.found() == [("cn-unique", "warning", f"{C_PAIR}: ATLAS  access")]
    assert "atlas" in fleet.check()[0].message


@pytest.mark.parametrize(
    ("country", "remedy"),
    [
        ("UK", "write GB"),
        ("us", "write US"),
        ("USA", "write US"),
        ("Germany", "write DE"),
        ("XX", "write the two capital letters that ISO 3166 assigns, such as US"),
        ("''", "write the two capital letters that ISO 3166 assigns, such as US"),
    ],
)
def test_a_country_is_a_code_of_iso_3166(country: str, remedy: str) -> None:
    fleet = edit(C_ATLAS, ("country: US", f"country: {country}"))
    assert fleet.found() == [("country-code", "error", f"{C_ATLAS}: {country}")]
    assert fleet.check()[0].remedy == remedy


@pytest.mark.parametrize("country", ["DE", "NO", "XK"])
def test_assigned_codes_and_kosovo_pass(country: str) -> None:
    assert edit(C_ATLAS, ("country: US", f"country: {country}")).found() == []


def test_country_and_state_may_be_left_out() -> None:
    assert edit(C_ATLAS, ("  country: US\n", ""), ("  state: Mississippi\n", "")).found() == []


@pytest.mark.parametrize(
    ("country", "state", "remedy"),
    [
        ("US", "MS", "write Mississippi"),
        ("US", "Ms", "write Mississippi"),
        ("us", "ms", "write Mississippi"),
        ("US", "Miss.", "write its full name"),
        ("US", "M.S.", "write Mississippi"),
        ("US", "XQZ", "write its full name"),
        ("AU", "ACT", "write Australian Capital Territory"),
    ],
)
def test_a_state_is_not_abbreviated(country: str, state: str, remedy: str) -> None:
    fleet = edit(C_ATLAS, ("country: US", f"country: {country}"), ("Mississippi", state))
    findings = {each.rule: each for each in fleet.check()}
    assert ("state-abbreviated", "warning", f"{C_ATLAS}: {state}") in fleet.found()
    assert findings["state-abbreviated"].remedy == remedy


@pytest.mark.parametrize(
    ("country", "state"), [("CH", "Uri"), ("PE", "ICA"), ("IN", "Goa"), ("US", "Iowa"), ("TD", "Lac"), ("US", "Abc")]
)
def test_short_full_names_are_no_abbreviations(country: str, state: str) -> None:
    assert edit(C_ATLAS, ("country: US", f"country: {country}"), ("Mississippi", state)).found() == []


def test_an_abbreviation_is_seen_without_a_country() -> None:
    fleet = edit(C_ATLAS, ("  country: US\n", ""), ("Mississippi", "MS"))
    assert fleet.found() == [("state-abbreviated", "warning", f"{C_ATLAS}: MS")]


def test_long_text_is_cut_in_messages() -> None:
    fleet = edit(C_ATLAS, ("country: US", f"country: {'x' * 5000}"))
    assert len(fleet.check()[0].message) < 120


def test_a_fleet_that_follows_the_guide_gives_no_cause_for_findings() -> None:
    assert Broken().check() == ()
