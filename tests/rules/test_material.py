from __future__ import annotations

from functools import cache

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from reconciler.pki.certificate import Certificate, parse_certificate
from reconciler.pki.chain import has_issued
from tests.rules.fleet import C_LONE, C_SINGLE, LONE, Broken, edit, intermediate, issued, root
from tests.support.authority import Authority, self_signed

CHAIN = "chain: [intermediate.pem, root.pem]"
SIGNED = "single/signed.p7b"


@pytest.mark.parametrize("chain", ["chain: [root.pem]", "chain: []"])
def test_an_intermediate_is_missing(chain: str) -> None:
    place = chain.removeprefix("chain: ") if chain != "chain: []" else SIGNED
    assert edit(C_SINGLE, (CHAIN, chain)).found() == [("chain-incomplete", "error", f"{C_SINGLE}: {place}")]


def test_a_chain_that_is_not_given_is_missed_at_the_certificate() -> None:
    fleet = edit(C_SINGLE, (f"  {CHAIN}\n", ""))
    assert fleet.found() == [("chain-incomplete", "error", f"{C_SINGLE}: {SIGNED}")]
    assert "'Example remote access'" in fleet.check()[0].message
    assert "'Intermediate'" in fleet.check()[0].message


def test_the_root_is_missing() -> None:
    fleet = edit(C_SINGLE, (CHAIN, "chain: [intermediate.pem]"))
    assert fleet.found() == [("root-missing", "error", f"{C_SINGLE}: [intermediate.pem]")]
    assert "'Root'" in fleet.check()[0].message


def test_a_gap_between_intermediates_is_not_taken_for_a_missing_root() -> None:
    middle = intermediate().intermediate("Lower")
    leaf = middle.issue(["single.example.com"]).certificate
    fleet = Broken(
        {C_SINGLE: [(CHAIN, "chain: [lower.pem, root.pem]")]},
        {f"certificates/{SIGNED}": (leaf,), "certificates/lower.pem": (middle.certificate,)},
    )
    assert fleet.found() == [("chain-incomplete", "error", f"{C_SINGLE}: [lower.pem, root.pem]")]
    assert "breaks at 'Lower'" in fleet.check()[0].message


def test_what_comes_along_in_the_file_of_the_answer_counts() -> None:
    leaf = issued("single.example.com").certificate
    fleet = Broken(
        {C_SINGLE: [(f"  {CHAIN}\n", "")]},
        {f"certificates/{SIGNED}": (leaf, intermediate().certificate, root().certificate)},
    )
    assert fleet.found() == []


def test_of_two_ways_up_one_must_be_complete() -> None:
    other = Authority.root("Other root")
    fleet = Broken(
        material={"certificates/intermediate.pem": (intermediate().certificate, other.cross_sign(intermediate()))}
    )
    assert fleet.found() == []


def test_a_provided_self_signed_certificate_is_its_own_root() -> None:
    leaf = self_signed(["lone.example.com"]).certificate
    fleet = Broken(
        {
            C_LONE: [("  chain: [intermediate.pem, root.pem]\n", "")],
            LONE: [("[../certificates/root.pem]", "[../certificates/lone/leaf.pem]")],
        },
        {"certificates/lone/leaf.pem": (leaf,)},
    )
    assert fleet.found() == []


def test_nothing_is_asked_of_an_answer_that_has_not_come() -> None:
    assert edit(C_SINGLE, (f"  signed: {SIGNED}\n", "")).found() == []


def test_an_answer_that_lacks_a_name() -> None:
    fleet = edit(
        C_SINGLE, ("  - single.example.com\n", "  - single.example.com\n  - b.example.com\n  - a.example.com\n")
    )
    assert fleet.found() == [("signed-mismatch", "warning", f"{C_SINGLE}: {SIGNED}")]
    assert "it lacks 'a.example.com' and 'b.example.com'" in fleet.check()[0].message


def test_an_answer_to_which_the_ca_added_names() -> None:
    leaf = issued("single.example.com", *(f"www{number}.example.com" for number in range(9))).certificate
    fleet = Broken(material={f"certificates/{SIGNED}": (leaf,)})
    assert fleet.found() == [("signed-mismatch", "warning", f"{C_SINGLE}: {SIGNED}")]
    assert "and 5 more" in fleet.check()[0].message


def test_an_answer_with_another_kind_of_key() -> None:
    fleet = edit(C_SINGLE, ("ec-p256", "ec-p384"))
    assert fleet.found() == [("signed-mismatch", "warning", f"{C_SINGLE}: {SIGNED}")]
    assert "its key is ec-p256, not ec-p384" in fleet.check()[0].message


def test_order_and_case_of_names_are_no_difference() -> None:
    leaf = issued("b.example.com", "single.example.com").certificate
    fleet = Broken(
        {C_SINGLE: [("  - single.example.com\n", "  - Single.Example.COM.\n  - B.example.com\n")]},
        {f"certificates/{SIGNED}": (leaf,)},
    )
    assert fleet.found() == []


def test_nobody_will_issue_a_provided_certificate_again() -> None:
    fleet = edit(C_LONE, ("  - lone.example.com\n", "  - lone.example.com\n  - more.example.com\n"))
    assert fleet.found() == [("signed-mismatch", "error", f"{C_LONE}: lone/leaf.pem")]


SHA256_WITH_RSA = bytes.fromhex("2a864886f70d01010b")
MD5: hashes.HashAlgorithm = hashes.MD5()  # noqa: S303 - that it is insecure is the point here
SHA1: hashes.HashAlgorithm = hashes.SHA1()  # noqa: S303 - likewise
LAST_BYTE = {"md5": 0x04, "sha1": 0x05}


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def outdated(certificate: Certificate, key: rsa.RSAPrivateKey, algorithm: hashes.HashAlgorithm) -> Certificate:
    """The certificate signed anew as no library does any more; the algorithm's identifier differs in its last byte."""
    weak = SHA256_WITH_RSA[:-1] + bytes([LAST_BYTE[algorithm.name]])
    parsed = certificate.to_x509()
    signed = parsed.tbs_certificate_bytes.replace(SHA256_WITH_RSA, weak)
    signature = key.sign(signed, padding.PKCS1v15(), algorithm)
    outer = certificate.der.replace(parsed.tbs_certificate_bytes, signed).replace(parsed.signature, signature)
    return parse_certificate(outer.replace(SHA256_WITH_RSA, weak))


def lone(leaf: Certificate, *chain: Certificate) -> Broken:
    return Broken(
        {
            C_LONE: [(CHAIN, "chain: [old.pem]")],
            LONE: [("[../certificates/root.pem]", "[../certificates/old.pem]")],
        },
        {"certificates/lone/leaf.pem": (leaf,), "certificates/old.pem": chain},
    )


def test_nobody_checks_how_a_root_signed_itself() -> None:
    authority = Authority.root("Old root", key=rsa_key())
    old = outdated(authority.certificate, rsa_key(), SHA1)
    leaf = authority.issue(["lone.example.com"]).certificate
    assert old.signature_hash == "sha1"
    assert lone(leaf, old).found() == []


@pytest.mark.parametrize(("algorithm", "name"), [(MD5, "MD5"), (SHA1, "SHA-1")])
def test_a_certificate_with_an_outdated_signature(algorithm: hashes.HashAlgorithm, name: str) -> None:
    authority = Authority.root("Old root", key=rsa_key())
    leaf = outdated(authority.issue(["lone.example.com"]).certificate, rsa_key(), algorithm)
    fleet = lone(leaf, authority.certificate)
    assert fleet.found() == [("weak-signature", "error", f"{C_LONE}: lone/leaf.pem")]
    assert f"signed with {name}" in fleet.check()[0].message


def test_an_intermediate_with_an_outdated_signature() -> None:
    authority = Authority.root("Old root", key=rsa_key())
    middle = authority.intermediate("Old middle")
    weak = outdated(middle.certificate, rsa_key(), SHA1)
    fleet = lone(middle.issue(["lone.example.com"]).certificate, weak, authority.certificate)
    assert fleet.found() == [("weak-signature", "error", f"{C_LONE}: [old.pem]")]
    assert "'Old middle' is signed with SHA-1" in fleet.check()[0].message


def test_an_outdated_signature_is_seen_without_the_root() -> None:
    authority = Authority.root("Old root", key=rsa_key())
    middle = authority.intermediate("Old middle")
    weak = outdated(middle.certificate, rsa_key(), SHA1)
    fleet = lone(middle.issue(["lone.example.com"]).certificate, weak)
    assert [each[0] for each in fleet.found()] == ["root-missing", "weak-signature"]


def test_an_outdated_signature_that_is_wrong_is_none() -> None:
    authority, other = Authority.root("Old root", key=rsa_key()), Authority.root("Old root")
    leaf = outdated(authority.issue(["lone.example.com"]).certificate, rsa_key(), SHA1)
    stranger = rsa.generate_private_key(65537, 2048)
    forged = outdated(authority.issue(["lone.example.com"]).certificate, stranger, SHA1)
    assert not has_issued(other.certificate, leaf)
    assert not has_issued(authority.certificate, forged)
