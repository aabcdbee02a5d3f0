"""Self-signed certificates and requests, judged by OpenSSL."""

from __future__ import annotations

import datetime as dt
import subprocess
from typing import TYPE_CHECKING, get_args

import pytest
from cryptography import x509

from reconciler.base.errors import FormatError
from reconciler.pki.certificate import DistinguishedName, distinguished_name
from reconciler.pki.issuing import certificate_request, self_signed
from reconciler.pki.keys import KeyKind, create_key, private_key
from reconciler.pki.names import NameType, SubjectAlternativeName, parse_name
from reconciler.pki.strict import strict_objection
from reconciler.pki.writing import write_pem
from tests.support.authority import NOW, make_key

if TYPE_CHECKING:
    from pathlib import Path

SUBJECT = distinguished_name(
    [
        ("C", "US"),
        ("ST", "Mississippi"),
        ("L", "Ridgeland"),
        ("O", "Example Company"),
        ("OU", "Support"),
        ("CN", "Example remote access"),
    ]
)
NAMES = tuple(parse_name(name) for name in ("access.example.com", "*.example.com", "192.0.2.1", "2001:db8::1"))
YEAR = dt.timedelta(days=365)


@pytest.mark.parametrize("kind", get_args(KeyKind))
def test_self_signed(kind: KeyKind, tmp_path: Path) -> None:
    key = create_key(kind)
    made = self_signed(key, SUBJECT, NAMES, NOW, YEAR)
    assert made.public_key == key.public_key
    assert (made.key_kind, made.subject_alternative_names, made.is_authority) == (kind, NAMES, False)
    assert str(made.subject) == (
        "CN=Example remote access, OU=Support, O=Example Company, L=Ridgeland, ST=Mississippi, C=US"
    )
    assert made.is_self_issued
    assert (made.not_before, made.not_after) == (NOW, NOW + YEAR)
    assert made.subject_key_identifier == made.authority_key_identifier
    assert strict_objection(made, [], [made], "access.example.com", NOW) is None
    (tmp_path / "made.pem").write_bytes(write_pem([made]))
    at = str(int((NOW + YEAR / 2).timestamp()))
    verify = ["openssl", "verify", "-x509_strict", "-attime", at, "-verify_hostname", "access.example.com"]
    subprocess.run([*verify, "-CAfile", "made.pem", "made.pem"], cwd=tmp_path, check=True, capture_output=True)


def test_key_usage_follows_the_key() -> None:
    for kind, encipherment in (("rsa-2048", True), ("ec-p256", False)):
        made = self_signed(private_key(make_key(kind)), SUBJECT, NAMES, NOW, YEAR).to_x509()
        usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
        assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (True, encipherment, False)


def test_validity_is_encoded_as_rfc_5280_demands() -> None:
    """UTCTime through 2049, GeneralizedTime from 2050; whole seconds, `Z`."""
    start = dt.datetime(2049, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
    made = self_signed(create_key("ec-p256"), SUBJECT, NAMES, start, dt.timedelta(seconds=1))
    assert b"\x17\x0d491231235959Z\x18\x0f20500101000000Z" in made.der


def test_validity_is_written_in_utc() -> None:
    start = NOW.astimezone(dt.timezone(dt.timedelta(hours=5)))
    assert self_signed(create_key("ec-p256"), SUBJECT, NAMES, start, YEAR).not_before == NOW


def test_subject_is_encoded_from_general_to_particular() -> None:
    made = self_signed(create_key("ec-p256"), SUBJECT, NAMES, NOW, YEAR)
    assert [each.rfc4514_attribute_name for each in made.to_x509().subject] == ["C", "ST", "L", "O", "OU", "CN"]


def test_serial_numbers_are_random() -> None:
    key = create_key("ec-p256")
    serials = {self_signed(key, SUBJECT, NAMES, NOW, YEAR).to_x509().serial_number for _ in range(3)}
    assert len(serials) == 3
    assert all(each.bit_length() > 64 for each in serials)


def test_without_names_there_is_no_extension() -> None:
    made = self_signed(create_key("ec-p256"), SUBJECT, (), NOW, YEAR)
    assert made.subject_alternative_names == ()


def test_request(tmp_path: Path) -> None:
    key = create_key("rsa-2048")
    made = certificate_request(key, SUBJECT, NAMES)
    assert made.public_key == key.public_key
    assert (made.key_kind, made.subject_alternative_names, made.subject) == ("rsa-2048", NAMES, SUBJECT)
    assert made.is_signature_valid
    (tmp_path / "request.pem").write_text(made.pem)
    checked = subprocess.run(
        ["openssl", "req", "-in", "request.pem", "-verify", "-noout", "-text"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "self-signature verify OK" in checked.stderr
    assert "DNS:access.example.com, DNS:*.example.com, IP Address:192.0.2.1" in checked.stdout


def test_attributes_beyond_the_form() -> None:
    subject = distinguished_name([("CN", "Example"), ("2.5.4.5", "1234")])
    assert certificate_request(create_key("ec-p256"), subject, NAMES).subject == subject


@pytest.mark.parametrize(
    "subject",
    [
        DistinguishedName((("C", "USA"),)),
        DistinguishedName((("CN", "x" * 65),)),
        DistinguishedName((("CN", ""),)),
        DistinguishedName((("nonsense", "x"),)),
        DistinguishedName((("CN", "\ud800"),)),
    ],
)
def test_subjects_that_cannot_be_written(subject: DistinguishedName) -> None:
    key = create_key("ec-p256")
    with pytest.raises(FormatError, match="the self-signed certificate cannot be made"):
        self_signed(key, subject, NAMES, NOW, YEAR)
    with pytest.raises(FormatError, match="the certificate request cannot be made"):
        certificate_request(key, subject, NAMES)


def test_what_else_cannot_be_written() -> None:
    key = create_key("ec-p256")
    with pytest.raises(FormatError, match="neither a DNS name nor an IP address"):
        certificate_request(key, SUBJECT, [SubjectAlternativeName(NameType.OTHER, "mail@example.com")])
    with pytest.raises(FormatError, match="the self-signed certificate cannot be made"):
        self_signed(key, SUBJECT, NAMES, NOW, -YEAR)
    with pytest.raises(FormatError, match="a key of kind ed25519 does not make certificates here"):
        certificate_request(private_key(make_key("ed25519")), SUBJECT, NAMES)
