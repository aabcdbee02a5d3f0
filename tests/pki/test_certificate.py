from __future__ import annotations

import hashlib
import ipaddress
import threading
import warnings
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.base.errors import FormatError
from reconciler.pki.asn1 import subject_public_key_info
from reconciler.pki.certificate import (
    Certificate,
    DistinguishedName,
    distinguished_name,
    parse_certificate,
    public_key_identity,
    read_general_name,
)
from reconciler.pki.library import first_line, quiet, understanding
from reconciler.pki.names import NameType, SubjectAlternativeName, parse_name
from reconciler.pki.reading import read
from tests.support.authority import DAY, LEAF_VALIDITY, Authority, make_key, self_signed

VECTORS = Path(cryptography_vectors.__file__).parent / "x509"
ROOT = Authority.root()


def vector(name: str) -> Certificate:
    return read((VECTORS / name).read_bytes()).certificates[0]


def test_what_a_certificate_says() -> None:
    issued = ROOT.issue(["Access.Example.com.", "*.example.com", "192.0.2.1", "2001:DB8::1"], common_name="Access")
    certificate = issued.certificate
    assert certificate.common_name == "Access"
    assert str(certificate.subject) == "CN=Access, O=Example Company, C=US"
    assert certificate.issuer == ROOT.certificate.subject
    assert [str(each) for each in certificate.subject_alternative_names] == [
        "dNSName - access.example.com",
        "dNSName - *.example.com",
        "iPAddress - 192.0.2.1",
        "iPAddress - 2001:db8::1",
    ]
    assert certificate.san_set == frozenset(certificate.subject_alternative_names)
    assert (certificate.is_authority, certificate.is_self_issued) == (False, False)
    assert (ROOT.certificate.is_authority, ROOT.certificate.is_self_issued) == (True, True)
    assert certificate.public_key == public_key_identity(issued.key.public_key())
    assert certificate.authority_key_identifier == ROOT.certificate.subject_key_identifier
    assert certificate.signature_hash == "sha256"
    assert certificate.to_x509().public_bytes(Encoding.DER) == certificate.der


def test_equal_bytes_are_one_certificate() -> None:
    one = ROOT.issue(["a.example.com"]).certificate
    assert parse_certificate(bytes(bytearray(one.der))) is one
    assert {one, parse_certificate(one.der)} == {one}
    assert one != ROOT.certificate


def test_both_ends_of_validity_count() -> None:
    certificate = ROOT.issue(["a.example.com"]).certificate
    first, last = LEAF_VALIDITY
    assert certificate.is_valid_at(first)
    assert certificate.is_valid_at(last)
    assert not certificate.is_valid_at(first - DAY / 86400)
    assert not certificate.is_valid_at(last + DAY / 86400)


@pytest.mark.parametrize("kind", ["rsa-2048", "ec-p256", "ec-p384", "ec-p521", "ed25519"])
def test_kinds_of_key(kind: str) -> None:
    issued = self_signed(["a.example.com"], key=make_key(kind))
    assert issued.certificate.key_kind == kind
    assert issued.certificate.signature_hash == ("none" if kind == "ed25519" else "sha256")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("PKITS_data/certs/DSACACert.crt", "dsa-1024"),
        ("ed448/root-ed448.pem", "ed448"),
        ("custom/unsupported_subject_public_key_info.pem", "unknown-1.3.6.1.4.1.8432.1.1.2"),
        ("e-trust.ru.der", "unknown-1.2.643.2.2.19"),
    ],
)
def test_unusual_keys(name: str, kind: str) -> None:
    certificate = vector(name)
    assert certificate.key_kind == kind
    assert len(certificate.public_key) == 64


def test_a_key_that_is_not_understood_still_tells_certificates_apart() -> None:
    one, other = vector("custom/unsupported_subject_public_key_info.pem"), vector("e-trust.ru.der")
    information = (VECTORS / "e-trust.ru.der").read_bytes()
    assert one.public_key != other.public_key
    assert other.public_key == hashlib.sha256(subject_public_key_info(information)).hexdigest()


def test_unknown_signature_is_named_by_its_oid() -> None:
    assert vector("verisign_md2_root.pem").signature_hash == "1.2.840.113549.1.1.2"


def test_version_1_roots_are_authorities() -> None:
    root, other = vector("verisign_md2_root.pem"), vector("v1_cert.pem")
    assert (root.to_x509().version, other.to_x509().version) == (x509.Version.v1, x509.Version.v1)
    assert root.is_self_issued
    assert root.is_authority
    assert other.is_authority == other.is_self_issued


def test_names_of_other_kinds_are_shown() -> None:
    names = vector("custom/san_other_name.pem").subject_alternative_names
    assert {each.type for each in names} == {NameType.OTHER}
    names = vector("custom/san_rfc822_names.pem").subject_alternative_names
    assert SubjectAlternativeName(NameType.OTHER, "email") in names


def test_a_dns_name_that_is_none_keeps_its_spelling() -> None:
    for odd in ("access.example.com.", "f*.example.com"):
        assert read_general_name(x509.DNSName(odd)) == SubjectAlternativeName(NameType.DNS, odd)
    assert read_general_name(x509.DNSName("not a host!")) == SubjectAlternativeName(NameType.DNS, "not a host!")


def test_an_address_range_is_no_address() -> None:
    found = read_general_name(x509.IPAddress(ipaddress.ip_network("192.0.2.0/24")))
    assert found == SubjectAlternativeName(NameType.OTHER, "192.0.2.0/24")


def test_a_serial_number_that_should_not_be_is_no_warning() -> None:
    """The suite turns warnings into errors; cryptography warns of this one whenever the certificate is parsed."""
    certificate = vector("PKITS_data/certs/InvalidNegativeSerialNumberTest15EE.crt")
    parsed = certificate.to_x509()
    with quiet():
        assert parsed.serial_number < 0


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"not a certificate", ROOT.certificate.der[:-1]])
def test_anything_else_is_refused(der: bytes) -> None:
    with pytest.raises(FormatError, match=r"^not a certificate that can be understood: "):
        parse_certificate(der)


def test_what_is_issued_to_whom() -> None:
    assert distinguished_name([("O", "Company"), ("CN", "Title")]).display == "Title"
    assert distinguished_name([("OU", "First"), ("OU", "Second"), ("O", "Company")]).display == "First"
    assert distinguished_name([("O", "Company"), ("C", "US")]).display == "Company"
    assert distinguished_name([("C", "US")]).display == "C=US"
    assert DistinguishedName(()).display == ""
    assert DistinguishedName(()).common_name == ""


def test_names_in_the_order_of_the_guide() -> None:
    pairs = [("2.5.4.5", "1"), ("C", "US"), ("ST", "M"), ("L", "R"), ("O", "E"), ("OU", "S"), ("CN", "T")]
    assert str(distinguished_name(pairs)) == "CN=T, OU=S, O=E, L=R, ST=M, C=US, 2.5.4.5=1"


def test_bytes_in_a_name() -> None:
    subject = str(vector("scottishpower-bitstring-dn.pem").subject)
    assert "2.5.4.45=#" in subject


def test_panics_and_bare_errors_become_sentences() -> None:
    class PanicException(BaseException):  # the name that pyo3 gives it
        pass

    with pytest.raises(FormatError, match=r"^odd: it is damaged in a way"), understanding("odd"):
        raise PanicException
    with pytest.raises(KeyboardInterrupt), understanding("odd"):
        raise KeyboardInterrupt
    assert first_line(ValueError()) == "ValueError"
    assert first_line(ValueError("one.\ntwo")) == "one"


def test_warning_filters_survive_threads() -> None:
    before = list(warnings.filters)
    der = vector("PKITS_data/certs/InvalidNegativeSerialNumberTest15EE.crt").der

    def work() -> None:
        for _ in range(200):
            parse_certificate.__wrapped__(der)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert list(warnings.filters) == before


def test_parsed_names_agree_with_declared_ones() -> None:
    issued = ROOT.issue(["bücher.example.com"]).certificate
    assert issued.subject_alternative_names == (parse_name("xn--bcher-kva.example.com"),)
