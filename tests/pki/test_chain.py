"""Chains: every way up that a set of certificates allows, and what is missing."""

from __future__ import annotations

from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from reconciler.pki.certificate import Certificate, parse_certificate
from reconciler.pki.chain import ChainBuilder, has_issued, may_have_issued, needed_issuers
from tests.support.authority import DAY, NOW, Authority, make_key, self_signed

ROOT = Authority.root("Root")
ISSUER = ROOT.intermediate("Issuer")
LEAF = ISSUER.issue(["access.example.com"]).certificate


def paths(leaf: Certificate, *store: Certificate) -> list[tuple[list[str], bool]]:
    found = ChainBuilder(store).chains(leaf)
    return [([each.common_name for each in chain.certificates[1:]], chain.complete) for chain in found]


def test_a_chain_goes_from_the_leaf_to_the_root() -> None:
    assert paths(LEAF, ISSUER.certificate, ROOT.certificate) == [(["Issuer", "Root"], True)]


def test_the_leaf_need_not_be_in_the_set_and_does_no_harm_there() -> None:
    assert paths(LEAF, LEAF, ISSUER.certificate, ROOT.certificate) == [(["Issuer", "Root"], True)]


@pytest.mark.parametrize(
    ("store", "reached", "missing"),
    [((), [], "Issuer"), ((ROOT,), [], "Issuer"), ((ISSUER,), ["Issuer"], "Root")],
)
def test_an_incomplete_chain_names_what_is_missing(
    store: tuple[Authority, ...], reached: list[str], missing: str
) -> None:
    [chain] = ChainBuilder(each.certificate for each in store).chains(LEAF)
    assert not chain.complete
    assert [each.common_name for each in chain.certificates[1:]] == reached
    assert chain.missing
    assert chain.missing.common_name == missing
    assert chain.top == chain.certificates[-1]


def test_a_complete_chain_lacks_nothing() -> None:
    [chain] = ChainBuilder([ISSUER.certificate, ROOT.certificate]).chains(LEAF)
    assert chain.missing is None
    assert chain.top == ROOT.certificate


def test_a_self_signed_certificate_is_a_chain_of_one() -> None:
    assert paths(self_signed(["access.example.com"]).certificate) == [([], True)]


def test_a_name_is_not_enough_to_have_issued() -> None:
    namesake = Authority.root("Root").intermediate("Issuer")
    assert not has_issued(namesake.certificate, LEAF)
    assert paths(LEAF, namesake.certificate, ROOT.certificate) == [([], False)]


def test_who_is_no_authority_issues_nothing() -> None:
    impostor = self_signed([], common_name="Issuer", key=ISSUER.key).certificate  # its name and key, but no authority
    assert impostor.subject.der == LEAF.issuer.der
    assert not has_issued(impostor, LEAF)


def test_every_cross_sign_is_a_way_up() -> None:
    other = Authority.root("Other")
    cross = other.cross_sign(ROOT)
    store = (ISSUER.certificate, ROOT.certificate, cross, other.certificate)
    assert paths(LEAF, *store) == [(["Issuer", "Root"], True), (["Issuer", "Root", "Other"], True)]
    assert paths(LEAF, ISSUER.certificate, cross) == [(["Issuer", "Root"], False)]


def test_roots_that_sign_each_other_do_not_go_round_in_circles() -> None:
    other = Authority.root("Other")
    crosses = other.cross_sign(ROOT), ROOT.cross_sign(other)
    store = (ISSUER.certificate, ROOT.certificate, other.certificate, *crosses)
    assert [each for each, complete in paths(LEAF, *store) if complete] == [
        ["Issuer", "Root"],
        ["Issuer", "Root", "Other"],
    ]
    only_crosses = paths(LEAF, ISSUER.certificate, *crosses)
    assert only_crosses == [(["Issuer", "Root", "Other"], False)]


def test_a_hostile_set_ends_in_bounded_time() -> None:
    key = make_key()
    rungs = [Authority.root(f"Rung {index}", key=key) for index in range(12)]
    crossed = [one.cross_sign(other) for one in rungs for other in rungs if one is not other]
    leaf = rungs[0].issue(["access.example.com"]).certificate
    chains = ChainBuilder(crossed).chains(leaf)
    assert 0 < len(chains) <= 32
    assert all(len(each.certificates) <= 8 for each in chains)


def test_a_chain_is_valid_only_where_all_of_it_is() -> None:
    short = ROOT.intermediate("Short", not_before=NOW - DAY, not_after=NOW + DAY)
    [chain] = ChainBuilder([short.certificate, ROOT.certificate]).chains(short.issue(["a.example.com"]).certificate)
    assert chain.is_valid_at(NOW)
    assert chain.is_valid_at(NOW + DAY)
    assert not chain.is_valid_at(NOW + 2 * DAY)


def test_issuers_are_those_of_the_set_that_signed() -> None:
    renewed = ROOT.intermediate("Issuer", key=ISSUER.key).certificate
    builder = ChainBuilder([ISSUER.certificate, renewed, ROOT.certificate])
    assert set(builder.issuers(LEAF)) == {ISSUER.certificate, renewed}
    assert builder.issuers(ROOT.certificate) == ()


class TestNeeded:
    def test_everything_above_what_is_kept_is_needed(self) -> None:
        store = [LEAF, ISSUER.certificate, ROOT.certificate, Authority.root("Stranger").certificate]
        assert needed_issuers([LEAF], store) == {ISSUER.certificate, ROOT.certificate}

    def test_nothing_is_needed_by_nothing(self) -> None:
        assert needed_issuers([], [LEAF, ISSUER.certificate]) == frozenset()

    def test_cross_signs_are_needed_too(self) -> None:
        other = Authority.root("Other")
        cross = other.cross_sign(ROOT)
        store = [ISSUER.certificate, ROOT.certificate, cross, other.certificate]
        assert needed_issuers([LEAF], store) == set(store)

    def test_a_namesake_with_another_key_is_not(self) -> None:
        namesake = Authority.root("Root").intermediate("Issuer").certificate
        assert not may_have_issued(namesake, LEAF)
        assert needed_issuers([LEAF], [namesake]) == frozenset()

    def test_nobody_needs_itself(self) -> None:
        assert not may_have_issued(ROOT.certificate, ROOT.certificate)
        assert needed_issuers([ROOT.certificate], [ROOT.certificate]) == frozenset()


VECTORS = Path(cryptography_vectors.__file__).parent / "x509"


def vector(path: str) -> Certificate:
    parsed = load_pem_x509_certificate((VECTORS / path).read_bytes())
    return parse_certificate(parsed.public_bytes(Encoding.DER))


@pytest.mark.parametrize("name", ["accvraiz1.pem", "ecdsa_root.pem"])
def test_roots_that_signed_themselves_long_ago_are_still_roots(name: str) -> None:
    root = vector(name)
    assert has_issued(root, root)
    assert paths(root) == [([], True)]


@pytest.mark.parametrize("name", ["v1_cert.pem", "verisign_md2_root.pem", "ee-pss-sha1-cert.pem", "bigoid.pem"])
def test_any_certificate_has_some_chain(name: str) -> None:
    """Old hashes, unknown algorithms and version 1 end somewhere, and nothing is raised."""
    assert ChainBuilder([]).chains(vector(name))
