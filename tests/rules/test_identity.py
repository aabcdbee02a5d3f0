from __future__ import annotations

import pytest

from tests.rules.fleet import C_SINGLE, FILES, Broken

TWIN = "certificates/twin.yaml"
REQUESTED = "  kind: requested\n  signed: single/signed.p7b\n  chain: [intermediate.pem, root.pem]\n"


def twins(*edits: tuple[str, str], both: tuple[tuple[str, str], ...] = ()) -> list[tuple[str, str]]:
    """What is found of a certificate and its copy, of which one is edited further."""
    fleet = Broken({C_SINGLE: both, TWIN: [("", FILES[C_SINGLE]), *both, *edits]})
    return [(rule, place) for rule, _, place in fleet.found() if rule == "same-identity"]


def test_one_committed_certificate_is_declared_once() -> None:
    assert twins(("Single access", "Twin access")) == [
        ("same-identity", f"{C_SINGLE}: single/signed.p7b"),
        ("same-identity", f"{TWIN}: single/signed.p7b"),
    ]


@pytest.mark.parametrize("source", ["  kind: self_signed\n", "  kind: requested\n"])
def test_what_would_be_created_alike_is_declared_once(source: str) -> None:
    assert twins(both=((REQUESTED, source),)) == [
        ("same-identity", f"{C_SINGLE}: country: US"),
        ("same-identity", f"{TWIN}: country: US"),
    ]


def test_the_order_of_names_tells_nothing_apart() -> None:
    more = "  - single.example.com\n  - b.example.com\n"
    assert twins(
        ("  - single.example.com\n  - b.example.com\n", "  - b.example.com\n  - single.example.com\n"),
        both=((REQUESTED, "  kind: self_signed\n"), ("  - single.example.com\n", more)),
    )


@pytest.mark.parametrize(
    "difference",
    [
        ("ec-p256", "rsa-2048"),
        ("Single access", "Twin access"),
        ("country: US", "country: DE"),
        ("  - single.example.com\n", "  - single.example.com\n  - b.example.com\n"),
        ("  kind: self_signed\n", "  kind: requested\n"),
    ],
)
def test_what_tells_two_certificates_apart(difference: tuple[str, str]) -> None:
    assert twins(difference, both=((REQUESTED, "  kind: self_signed\n"),)) == []


def test_provided_certificates_are_told_apart_by_what_is_committed() -> None:
    copy = FILES["certificates/lone.yaml"].replace("lone/leaf.pem", "pair/leaf.pem").replace("Lone", "Pair")
    fleet = Broken({TWIN: [("", FILES["certificates/lone.yaml"])], "certificates/other.yaml": [("", copy)]})
    found = [(rule, place) for rule, _, place in fleet.found() if rule == "same-identity"]
    assert found == [
        ("same-identity", "certificates/lone.yaml: lone/leaf.pem"),
        ("same-identity", "certificates/other.yaml: pair/leaf.pem"),
        ("same-identity", "certificates/pair.yaml: pair/leaf.pem"),
        ("same-identity", "certificates/twin.yaml: lone/leaf.pem"),
    ]
