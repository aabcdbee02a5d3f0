from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.pki.certificate import Certificate, parse_certificate
from tests.rules.fleet import C_ATLAS, C_LONE, C_SINGLE, Broken, edit, intermediate
from tests.support.authority import LEAF_VALIDITY, make_key

SAN = "  - single.example.com\n"


def only(fleet: Broken, rule: str) -> list[tuple[str, str]]:
    return [(severity, place) for name, severity, place in fleet.found() if name == rule]


@pytest.mark.parametrize("address", ["192.0.2.7", "'2001:DB8::7'"])
def test_an_ip_address_is_agreed_with_support(address: str) -> None:
    fleet = edit(C_SINGLE, (SAN, f"{SAN}  - {address}\n"))
    assert only(fleet, "ip-san") == [("warning", f"{C_SINGLE}: {address}")]


@pytest.mark.parametrize("wildcard", ["'*.com'", "'*.localdomain'", "'*.192.0.2.7'"])
def test_a_wildcard_that_no_client_accepts_is_an_error(wildcard: str) -> None:
    fleet = edit(C_SINGLE, (SAN, f"{SAN}  - {wildcard}\n"))
    assert only(fleet, "wildcard-form") == [("error", f"{C_SINGLE}: {wildcard}")]


@pytest.mark.parametrize("wildcard", ["'*.example.com'", "'*.co.uk'", "'*.B\u00fccher.example'"])
def test_a_wildcard_above_a_domain_is_fine(wildcard: str) -> None:
    assert not only(edit(C_SINGLE, (SAN, f"{SAN}  - {wildcard}\n")), "wildcard-form")


def with_raw_names(*names: str) -> Certificate:
    """A certificate whose names nobody checked."""
    key, issuer = make_key(), intermediate()
    builder = x509.CertificateBuilder(
        issuer.certificate.to_x509().subject, x509.Name([]), key.public_key(), 7, *LEAF_VALIDITY
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    return parse_certificate(builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER))


def test_a_committed_wildcard_that_covers_nothing_is_a_warning() -> None:
    leaf = with_raw_names(
        "lone.example.com", "l*.example.com", "www.*.example.com", "*.*.example.com", "*.net", "*.a.b"
    )
    fleet = Broken(material={"certificates/lone/leaf.pem": (leaf,)})
    assert only(fleet, "wildcard-form") == [("warning", f"{C_LONE}: lone/leaf.pem")] * 4


def test_a_wildcard_that_is_declared_and_committed_is_named_once() -> None:
    leaf = with_raw_names("lone.example.com", "*.net")
    fleet = Broken(
        {C_LONE: [("  - lone.example.com\n", "  - lone.example.com\n  - '*.net'\n")]},
        {"certificates/lone/leaf.pem": (leaf,)},
    )
    assert only(fleet, "wildcard-form") == [("error", f"{C_LONE}: '*.net'")]


def test_what_steers_a_terminal_in_a_committed_name_does_no_harm() -> None:
    leaf = with_raw_names("lone.example.com", "*\x1b[2J.example.com")
    assert only(Broken(material={"certificates/lone/leaf.pem": (leaf,)}), "wildcard-form")


def test_the_fleet_with_a_wildcard_has_none() -> None:
    assert only(edit(C_ATLAS), "wildcard-form") == []
