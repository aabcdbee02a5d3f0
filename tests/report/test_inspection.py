"""What `inspect` says about certificate files, as a document and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from reconciler.base.errors import FormatError
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.issuing import certificate_request
from reconciler.pki.keys import private_key
from reconciler.pki.names import parse_name
from reconciler.pki.reading import Keys, read
from reconciler.pki.writing import write_pem
from reconciler.report.inspection import CertificateView, Found, Inspection, Role, Validity, inspection
from reconciler.report.inspection_text import inspection_text
from reconciler.report.page import Medium
from tests.support.authority import DAY, NOW, Authority, self_signed

if TYPE_CHECKING:
    from reconciler.pki.certificate import Certificate

ROOT = Authority.root("Example Root")
INTERMEDIATE = ROOT.intermediate("Example Intermediate")
LEAF = INTERMEDIATE.issue(["access.example.com", "*.access.example.com"], common_name="Access")
SELF_SIGNED = self_signed(["*.example.com"], common_name="Self")


def look(*contents: bytes, names: tuple[str, ...] = (), passphrase: bytes | None = None) -> Inspection:
    files = [Found(f"file-{index}", read(content, passphrase)) for index, content in enumerate(contents)]
    return inspection(files, names, NOW)


def first(*certificates: Certificate, names: tuple[str, ...] = ()) -> CertificateView:
    return look(write_pem(certificates), names=names).files[0].certificates[0]


@pytest.mark.parametrize(
    ("certificate", "role"),
    [
        (LEAF.certificate, Role.LEAF),
        (INTERMEDIATE.certificate, Role.INTERMEDIATE),
        (ROOT.certificate, Role.ROOT),
        (SELF_SIGNED.certificate, Role.SELF_SIGNED),
        (Authority.root("Other").cross_sign(ROOT), Role.INTERMEDIATE),
    ],
)
def test_roles(certificate: Certificate, role: Role) -> None:
    assert first(certificate).role is role


def test_a_whole_chain() -> None:
    view = first(
        LEAF.certificate, INTERMEDIATE.certificate, ROOT.certificate, names=("access.example.com", "example.com")
    )
    assert view.chain.certificates == ("Access", "Example Intermediate", "Example Root")
    assert (view.chain.complete, view.chain.missing, view.chain.outside_validity) == (True, None, ())
    assert [(each.name, each.covered) for each in view.coverage] == [
        ("access.example.com", True),
        ("example.com", False),
    ]
    assert view.strict == ()
    assert view.validity is Validity.VALID
    assert not view.private_key


def test_a_chain_over_several_files_with_the_key_in_another() -> None:
    document = look(LEAF.pem(), write_pem([ROOT.certificate, INTERMEDIATE.certificate]), LEAF.key_pem())
    leaf = document.files[0].certificates[0]
    assert leaf.chain.complete
    assert leaf.private_key
    (key,) = document.files[2].keys
    assert (key.key, key.public_key, key.belongs) == ("ec-p256", LEAF.certificate.public_key, True)
    assert document.files[2].notes == ("the private key is not encrypted",)


def test_a_chain_that_is_not_there() -> None:
    view = first(LEAF.certificate)
    assert (view.chain.complete, view.chain.missing) == (False, "CN=Example Intermediate, O=Example Company, C=US")
    assert view.strict == ()


def test_a_way_up_that_is_valid_is_preferred() -> None:
    old = ROOT.intermediate("Example Intermediate", key=INTERMEDIATE.key, not_after=NOW - DAY)
    view = first(LEAF.certificate, old.certificate, INTERMEDIATE.certificate, ROOT.certificate)
    assert view.chain.outside_validity == ()
    view = first(LEAF.certificate, old.certificate, ROOT.certificate)
    assert view.chain.outside_validity == ("Example Intermediate",)


def test_validity_at_the_instant() -> None:
    expired = ROOT.issue(["a.example.com"], not_before=NOW - 9 * DAY, not_after=NOW - DAY).certificate
    early = ROOT.issue(["a.example.com"], not_before=NOW + DAY, not_after=NOW + 9 * DAY).certificate
    assert first(expired).validity is Validity.EXPIRED
    assert first(early).validity is Validity.NOT_YET


def test_strict_clients_are_asked_for_a_name_that_is_covered() -> None:
    assert first(SELF_SIGNED.certificate).strict == ()
    nameless = self_signed([], common_name="Title").certificate
    (objection,) = first(nameless).strict
    assert objection.startswith("strict clients would")
    odd = x509.DNSName("f*.example.com")
    assert first(self_signed([odd], common_name="access.example.com").certificate).strict
    assert first(LEAF.certificate, names=("other.example.com",)).coverage[0].covered is False


def test_authorities_are_not_compared_with_names() -> None:
    view = first(ROOT.certificate, names=("access.example.com",))
    assert (view.coverage, view.strict) == ((), ())


REQUEST = certificate_request(
    private_key(LEAF.key), distinguished_name([("CN", "Access")]), [parse_name("access.example.com")]
).pem.encode()


def test_requests_and_lonely_keys() -> None:
    document = look(REQUEST, LEAF.key_pem(), SELF_SIGNED.key_pem())
    (request,) = document.files[0].requests
    assert (request.subject, request.alternative_names) == ("CN=Access", ("dNSName - access.example.com",))
    assert (request.key, request.private_key) == ("ec-p256", True)
    assert [file.keys[0].belongs for file in document.files[1:]] == [True, False]


def test_text() -> None:
    files = [
        Found("all.p12", read(LEAF.pkcs12(b"pw", chain=LEAF.chain, friendly_name="Access"), b"pw")),
        Found("leaf.pem", read(LEAF.pem())),
        Found("request.pem", read(REQUEST)),
        Found("lonely.pem", read(SELF_SIGNED.key_pem())),
        Found("locked.pem", read(LEAF.key_pem(b"pw"), keys=Keys.LEFT_ALONE)),
        Found("odd.txt", FormatError("the file is empty", "give another")),
        Found("odder.txt", FormatError("no remedy is known")),
    ]
    text = inspection_text(inspection(files, ["access.example.com", "example.com"], NOW), Medium())
    fingerprint = LEAF.certificate.fingerprint
    expected = f"""\
all.p12: PKCS#12, "Access"
  server certificate
    Subject              CN=Access, O=Example Company, C=US
    Issuer               CN=Example Intermediate, O=Example Company, C=US
    Alternative Name(s)  dNSName - access.example.com
                         dNSName - *.access.example.com
    Validity             2026-10-24 12:00:00 UTC to 2027-10-24 12:00:00 UTC, valid
    Key                  ec-p256, private key in these files; signature sha256
    Fingerprint          {fingerprint}
    Chain                Access < Example Intermediate < Example Root, complete
    Name                 access.example.com: covered
    Name                 example.com: not covered
  intermediate
"""
    assert text.startswith(expected)
    assert text.endswith("""
locked.pem: PEM encrypted PKCS#8 private key
  1 private key, not opened since no passphrase was given

odd.txt: the file is empty - give another

odder.txt: no remedy is known
""")
    assert "\nlonely.pem: PEM PKCS#8 private key\n  ! the private key is not encrypted\n  private key\n" in text
    assert "    Key                  ec-p256, of no certificate or request in these files\n" in text
    assert "  certificate request\n    Subject              CN=Access\n" in text
    assert "    Alternative Name(s)  No Supported Names\n" in text


def test_text_of_an_incomplete_chain() -> None:
    old = ROOT.intermediate("Old", not_after=NOW - DAY)
    text = inspection_text(look(write_pem([old.issue(["a.example.com"]).certificate, old.certificate])), Medium())
    assert "Example remote access < Old, incomplete: CN=Example Root, O=Example Company, C=US is missing\n" in text
    assert "                         Old is expired or not yet valid\n" in text
    assert "strict clients would" not in text
    nameless = inspection_text(look(self_signed([], common_name="Title").pem()), Medium())
    assert "    Strict clients       strict clients would refuse it: " in nameless


HOSTILE = "\x1b[2J\x9b31m\nroot: complete\u202e"


def test_hostile_names_do_not_reach_the_terminal() -> None:
    issued = ROOT.issue(["a.example.com"], common_name=HOSTILE)
    files = [Found(HOSTILE, read(issued.pkcs12(b"pw", friendly_name=HOSTILE), b"pw")), Found("x", FormatError(HOSTILE))]
    text = inspection_text(inspection(files, [HOSTILE], NOW), Medium(width=60))
    assert all(line.isprintable() for line in text.splitlines())
    assert "\n    root: complete" not in text
    assert r"\x1b[2J\x9b31m\nroot: complete\u202e" in inspection_text(inspection(files, [HOSTILE], NOW), Medium())


def test_nothing_secret_is_in_the_document() -> None:
    document = look(LEAF.key_pem(), LEAF.pkcs12(None))
    assert document == Inspection.model_validate_json(document.model_dump_json())
    secret = LEAF.key_pem().decode().splitlines()[2]
    assert secret not in document.model_dump_json()
    assert secret not in repr(document)
