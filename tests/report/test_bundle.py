from __future__ import annotations

import io
import re
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from reconciler.base.errors import FormatError, UsageError
from reconciler.engine.load import load_desired
from reconciler.pki.reading import read
from reconciler.pki.writing import write_der, write_pem, write_pkcs7
from reconciler.report.bundle import certificates_in, gather, hindrances
from reconciler.report.bundle_archive import Bundle, Picture, make_bundle
from reconciler.report.bundle_files import slug
from tests.report.goldens import check_golden
from tests.report.images import JPEG, chunk, png, with_segment
from tests.support.authority import DAY, NOW, Authority, make_key, self_signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.pki.certificate import Certificate

EXAMPLE = Path(__file__).parents[2] / "desired-state"
NAMES = ["access.example.com", "east-1.example.com", "west-1.example.com"]
PASSPHRASE = b"correct horse battery staple"
OLD = Authority.root("Old Root")
NEW = Authority.root("New Root")
ISSUING = NEW.intermediate("New Issuing CA")
ACCESS = ISSUING.issue(NAMES)

REQUEST = (
    x509.CertificateSigningRequestBuilder(x509.Name([])).sign(ACCESS.key, hashes.SHA256()).public_bytes(Encoding.PEM)
)

SITE = """\
hostname: access.example.com
topology: failover
primary: east-1
backup: west-1
certificates: [access]
default: access
settle: 48h
client_software: [{installed_at: 2026-01-05T09:00:00Z, trusts: [../certificates/old.pem]}]
"""
PROVIDED = """\
subject: {country: US, organization: Example Company, common_name: Example remote access}
subject_alternative_names: [access.example.com, east-1.example.com, west-1.example.com]
key: ec-p256
source:
  kind: provided
  certificate: leaf.pem
  chain: [chain.pem]
  key: key.p12
  passphrase: {env: ACCESS_KEY}
"""
SUBJECT = PROVIDED.partition("source:")[0]
REQUESTED = SUBJECT + "source: {kind: requested, chain: [chain.pem]}\n"
SELF_SIGNED = SUBJECT + "source: {kind: self_signed}\n"


@dataclass
class Tree:
    """A desired state on disk that can be changed before it is read."""

    root: Path
    given: list[Certificate] = field(default_factory=list)

    def write(self, path: str, content: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new))

    def bundle(self, name: str = "access", pictures: Sequence[Picture] = (), incident: str | None = None) -> Bundle:
        state = load_desired(self.root)
        assert hindrances(state, name) == ()
        return make_bundle(gather(state, name, self.given), pictures, incident)

    def refusal(self, name: str = "access") -> str:
        with pytest.raises(UsageError) as told:
            self.bundle(name)
        return str(told.value)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A failover pair that goes from one CA to another."""
    made = Tree(tmp_path / "desired-state")
    made.write("sites/access.yaml", SITE)
    for name in ("east-1", "west-1"):
        store = f"store: {{driver: directory, path: ../../../stores/{name}}}\n"
        made.write(f"appliances/{name}.yaml", f"hostname: {name}.example.com\n{store}")
    made.write("certificates/access.yaml", PROVIDED)
    made.write("certificates/leaf.pem", write_pem([ACCESS.certificate]))
    made.write("certificates/chain.pem", write_pem(ACCESS.chain))
    made.write("certificates/key.p12", ACCESS.pkcs12(PASSPHRASE, chain=ACCESS.chain))
    made.write("certificates/old.pem", write_pem([OLD.certificate]))
    return made


def contents(bundle: Bundle) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle.archive())) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def with_steady_fingerprints(message: str, *certificates: Certificate) -> str:
    for number, each in enumerate(certificates, 1):
        message = message.replace(each.fingerprint, f"{number}" * 64)
    return message


def test_the_certificate_and_its_chain_each_alone_and_all_in_one(tree: Tree) -> None:
    files = contents(tree.bundle())
    assert list(files) == [
        "access.p7b",
        "example-remote-access.crt",
        "message.txt",
        "new-issuing-ca.crt",
        "new-root.crt",
    ]
    assert files["example-remote-access.crt"] == write_der(ACCESS.certificate)
    assert files["new-issuing-ca.crt"] == write_der(ISSUING.certificate)
    assert files["new-root.crt"] == write_der(NEW.certificate)
    assert set(read(files["access.p7b"]).certificates) == {ACCESS.certificate, *ACCESS.chain}


def test_the_message_for_a_new_root(tree: Tree) -> None:
    east = Picture("a.png", png(), "east-1")
    west = Picture("b.jpg", JPEG, "west-1")
    made = tree.bundle(pictures=[east, west], incident="4711")
    assert contents(made)["message.txt"].decode() == made.message
    message = with_steady_fingerprints(made.message, NEW.certificate, ACCESS.certificate, OLD.certificate)
    check_golden("bundle-new-root.txt", message)
    assert made.to_do == ("put your name beneath the message",)


def test_the_message_for_the_example() -> None:
    made = make_bundle(gather(load_desired(EXAMPLE), "access"))
    check_golden("bundle-example.txt", made.message)
    assert "the newest software build that is declared trusts every root in it" in made.to_do[0]
    assert "screenshot of Status > Basics of each appliance" in made.to_do[1]
    assert "incident number" in made.to_do[2]


def test_the_message_for_a_self_signed_certificate(tree: Tree) -> None:
    tree.write("certificates/access.yaml", SELF_SIGNED)
    tree.edit("sites/access.yaml", SITE[SITE.index("client_software") :], "client_software: none\n")
    own = self_signed(NAMES)
    tree.given = [own.certificate]
    made = tree.bundle()
    check_golden("bundle-self-signed.txt", with_steady_fingerprints(made.message, own.certificate))
    files = contents(made)
    assert list(files) == ["example-remote-access.crt", "message.txt"]
    assert files["example-remote-access.crt"] == write_der(own.certificate)


def test_the_message_before_the_ca_has_answered(tree: Tree) -> None:
    tree.write("certificates/access.yaml", REQUESTED)
    made = tree.bundle()
    check_golden("bundle-requested.txt", with_steady_fingerprints(made.message, NEW.certificate, OLD.certificate))
    assert list(contents(made)) == ["access.p7b", "message.txt", "new-issuing-ca.crt", "new-root.crt"]


def test_lines_of_the_message_are_short_enough_to_be_quoted(tree: Tree) -> None:
    for bundle in (tree.bundle(), make_bundle(gather(load_desired(EXAMPLE), "atlas"))):
        assert max(map(len, bundle.message.splitlines())) <= 76


def test_the_same_state_gives_the_same_bytes(tree: Tree) -> None:
    first = tree.bundle(pictures=[Picture("a.png", png())])
    shutil.copytree(tree.root, tree.root.parent / "copy" / "desired-state")
    again = Tree(tree.root.parent / "copy" / "desired-state").bundle(pictures=[Picture("b.png", png())])
    assert first.archive() == again.archive()
    with zipfile.ZipFile(io.BytesIO(first.archive())) as archive:
        assert {each.date_time for each in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_only_a_member_lists_belongs_to_it_and_what_is_shared_is_there_once(tree: Tree) -> None:
    other = ISSUING.issue(["west-1.example.com"], common_name="Example west")
    tree.write("certificates/west.pem", write_pem([other.certificate]))
    tree.write("certificates/west.p12", other.pkcs12(PASSPHRASE))
    text = PROVIDED.replace("leaf.pem", "west.pem").replace("key.p12", "west.p12")
    text = text.replace("Example remote access", "Example west")
    tree.write("certificates/west.yaml", re.sub(r"names: \[.*\]", "names: [west-1.example.com]", text))
    tree.edit("appliances/west-1.yaml", "store:", "certificates: [west]\nstore:")
    files = contents(tree.bundle())
    assert list(files) == [
        "access.p7b",
        "example-remote-access.crt",
        "example-west.crt",
        "message.txt",
        "new-issuing-ca.crt",
        "new-root.crt",
        "west.p7b",
    ]
    assert set(read(files["west.p7b"]).certificates) == {other.certificate, *other.chain}
    assert files["message.txt"].count(b"Issued To: New Root\n") == 1


def test_an_appliance_that_stands_alone_has_a_bundle_of_its_own(tree: Tree) -> None:
    alone = "certificates: [access]\ndefault: access\nclient_software: none\n"
    tree.write(
        "appliances/lone.yaml", f"hostname: lone.example.com\nstore: {{driver: directory, path: ../../../s}}\n{alone}"
    )
    message = tree.bundle("lone").message
    assert "Subject: New root certificate for lone.example.com\n" in message
    assert "The appliance to be updated:\n  lone.example.com\n" in message
    assert "please keep" not in message.lower()


def test_a_name_that_is_no_site(tree: Tree) -> None:
    assert tree.refusal("acess") == "no site of the desired state is called acess - did you mean access?"
    assert tree.refusal("east-1") == "no site of the desired state is called east-1 - did you mean access?"
    assert tree.refusal("zzz") == "no site of the desired state is called zzz - there are access"


def test_everything_that_is_missing_is_said_at_once(tree: Tree) -> None:
    tree.write("certificates/own.yaml", SELF_SIGNED.replace("Example remote access", "Example own"))
    tree.write("certificates/access.yaml", REQUESTED.replace(", chain: [chain.pem]", ""))
    tree.edit("sites/access.yaml", "certificates: [access]", "certificates: [access, own]")
    first, *others = tree.refusal().splitlines()
    assert first == "the bundle of access cannot be made:"
    assert others == [
        (
            "the chain of access lacks the CA's root: a root is what clients have to trust - "
            "commit it beneath `chain`, or give it with --certificate FILE"
        ),
        (
            "own is self-signed and made on the appliance, so it is not committed - "
            "`reconciler export east-1 own --out own.cer` fetches it without its key; "
            "then give it with --certificate own.cer"
        ),
    ]


def test_a_site_without_certificates(tree: Tree) -> None:
    tree.edit("sites/access.yaml", "certificates: [access]\ndefault: access\n", "")
    assert "access lists no certificate - list those that its appliances are to hold" in tree.refusal()


@pytest.mark.parametrize(
    ("settle", "told"), [("90m", "wait 90 minutes"), ("2d", "wait 48 hours"), ("1h", "wait 1 hour")]
)
def test_the_time_that_clients_are_given(tree: Tree, settle: str, told: str) -> None:
    tree.edit("sites/access.yaml", "settle: 48h", f"settle: {settle}")
    assert f"{told} for clients" in tree.bundle().message.replace("\n", " ")


def test_a_chain_without_its_root_is_completed_by_hand(tree: Tree) -> None:
    tree.write("certificates/chain.pem", write_pem([ISSUING.certificate]))
    assert "the chain of access lacks 'New Root'" in tree.refusal()
    tree.given = [NEW.certificate]
    assert "new-root.crt" in contents(tree.bundle())


def test_what_does_not_belong_to_the_site_is_refused(tree: Tree) -> None:
    tree.given = [OLD.certificate]
    assert "'Old Root' is no certificate of access, nor of a chain there - leave it out" in tree.refusal()
    tree.write("certificates/access.yaml", SELF_SIGNED)
    for other in (
        self_signed(["access.example.com"]),
        self_signed(NAMES, common_name="Other"),
        self_signed(NAMES, key_kind="ec-p384"),
        ACCESS,
    ):
        tree.given = [other.certificate]
        assert "own" not in tree.refusal()
        assert "access is self-signed and made on the appliance" in tree.refusal()


def test_a_cross_signed_root_that_clients_trust_is_not_new(tree: Tree) -> None:
    tree.write("certificates/chain.pem", write_pem([*ACCESS.chain, OLD.cross_sign(NEW), OLD.certificate]))
    made = tree.bundle()
    assert {"new-root.crt", "new-root-2.crt", "old-root.crt"} <= set(contents(made))
    assert "This is the new root certificate:\n\n  Issued To: New Root\n  Issued By: New Root\n" in made.message


def test_errors_in_what_it_is_made_of_hinder_it(tree: Tree) -> None:
    tree.edit("certificates/access.yaml", "chain: [chain.pem]", "chain: [gone.pem]")
    tree.write("certificates/unrelated.yaml", "nonsense: [\n")
    (found,) = hindrances(load_desired(tree.root), "access")
    assert found.rule == "material-missing"
    tree.write("appliances/west-1.yaml", "hostname: west-1.example.com\n")
    assert [each.rule for each in hindrances(load_desired(tree.root), "access")] == ["missing-key", "material-missing"]
    tree.write("sites/access.yaml", "hostname: [\n")
    assert hindrances(load_desired(tree.root), "access")


def test_a_chain_that_names_a_key_hinders_it(tree: Tree) -> None:
    tree.edit("certificates/access.yaml", "chain: [chain.pem]", "chain: [chain.pem, loose.crt]")
    for content in (ACCESS.key_pem(), ACCESS.key_pem(PASSPHRASE), ACCESS.pkcs12(PASSPHRASE), ACCESS.pkcs12(None)):
        tree.write("certificates/loose.crt", content)
        assert hindrances(load_desired(tree.root), "access")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (ACCESS.key_pem(), "it.crt holds a private key, which must never be sent"),
        (ACCESS.key_pem(PASSPHRASE), "it.crt holds a private key"),
        (write_pem([ACCESS.certificate]) + ACCESS.key_pem(PASSPHRASE), "it.crt holds a private key"),
        (ACCESS.pkcs12(None), "it.crt holds a private key"),
        (ACCESS.pkcs12(PASSPHRASE), "it.crt may hold a private key, which must never be sent"),
        (b"", "it.crt: the file is empty"),
        (b"hello", "it.crt: "),
        (REQUEST, "it.crt holds no certificate, but PEM certificate request"),
    ],
    ids=["clear", "encrypted", "beside", "pkcs12", "encrypted-pkcs12", "empty", "text", "request"],
)
def test_a_given_file_is_known_by_its_content(content: bytes, told: str) -> None:
    with pytest.raises(FormatError) as caught:
        certificates_in("it.crt", content)
    assert str(caught.value).startswith(told)
    if "private key" in told:
        assert caught.value.remedy == "export it again with 'Include Private Key' cleared"


def test_certificates_are_read_in_every_format_without_keys() -> None:
    chain = [ACCESS.certificate, *ACCESS.chain]
    for content in (write_pem(chain), write_pkcs7(chain)):
        assert set(certificates_in("it.key", content)) == set(chain)
    assert certificates_in("it.p12", write_der(NEW.certificate)) == (NEW.certificate,)


def test_screenshots_are_named_for_their_appliance_and_asked_for_until_each_has_one(tree: Tree) -> None:
    loose = Picture("C:\\basics.bmp", JPEG)
    assert "[Still to be added: a screenshot of Status > Basics of each appliance.]" in tree.bundle().message
    one = tree.bundle(pictures=[Picture("east-1", png(), "east-1")])
    assert "status-basics-east-1.png" in contents(one)
    assert "of the other appliance.]" in one.message
    two = tree.bundle(pictures=[loose, loose])
    assert {"status-basics.jpg", "status-basics-2.jpg"} <= set(contents(two))
    assert "Still to be added" not in two.message
    assert not any("screenshot" in each for each in two.to_do)


def test_what_is_no_screenshot_is_refused(tree: Tree) -> None:
    with pytest.raises(FormatError, match=r"^shot\.png is no screenshot: it is neither a PNG nor a JPEG picture - "):
        tree.bundle(pictures=[Picture("shot.png", ACCESS.key_pem(PASSPHRASE))])
    with pytest.raises(FormatError, match="is followed by"):
        tree.bundle(pictures=[Picture("shot.jpg", JPEG + ACCESS.key_pem(PASSPHRASE))])
    hidden = [
        Picture("shot.png", png(before=[chunk(b"tEXt", b"Comment\0" + ACCESS.key_pem())])),
        Picture("shot.jpg", with_segment(0xFE, ACCESS.key_pem())),
    ]
    kept = contents(tree.bundle(pictures=hidden))
    assert kept["status-basics.png"] == contents(tree.bundle(pictures=[Picture("a", png())]))["status-basics.png"]
    assert kept["status-basics.jpg"] == contents(tree.bundle(pictures=[Picture("a", JPEG)]))["status-basics.jpg"]


def test_a_key_amid_the_pixels_is_refused_at_the_last(tree: Tree) -> None:
    # Pixels of a JPEG cannot be told from anything else without unpacking them.
    made = tree.bundle(pictures=[Picture("a.jpg", JPEG[:-2] + ACCESS.key_pem(PASSPHRASE) + JPEG[-2:])])
    with pytest.raises(FormatError, match=r"^status-basics\.jpg would hold a private key"):
        made.archive()


@pytest.mark.parametrize("number", ["", "a\nb", "\x1b[2J", "7" * 41])
def test_an_incident_number_is_one_short_line(tree: Tree, number: str) -> None:
    with pytest.raises(UsageError, match="the incident number is not one short line"):
        tree.bundle(incident=number)


HOSTILE = [
    "../../etc/passwd",
    "..\\..\\windows\\system32",
    "/absolute",
    "C:\\autoexec.bat",
    "CON",
    "con.crt",
    "Lpt1 .txt",
    "COM¹",
    "nul",
    "a\0b",
    "\x1b[2J\x1b]0;title\x07",
    "line\nAnother: header",
    "\u202egnp.exe",
    "証明書",
    "...",
    "a" * 10_000,
    "-----BEGIN",
    "message.txt",
    "message",
    "trailing. ",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda each: ascii(each[:20]))
def test_hostile_names_make_harmless_file_names(name: str) -> None:
    stem = slug(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", stem)
    assert len(stem) <= 64
    assert not re.fullmatch(r"con|prn|aux|nul|com\d|lpt\d", stem.partition("-")[0])


def test_hostile_names_are_shown_and_not_obeyed(tree: Tree) -> None:
    hostile = [each for each in HOSTILE if 0 < len(each) <= 64]
    roots = [Authority.root(each) for each in hostile for _ in range(2)]
    chain = [*ACCESS.chain, *(each.certificate for each in roots)]
    tree.write("certificates/chain.pem", write_pem(chain))
    tree.write("certificates/access.yaml", REQUESTED)
    made = tree.bundle()
    files = contents(made)
    assert len(files) == len(chain) + 2
    assert made.message.count("Issued To: line\\nAnother: header\n") == 2
    assert len({each.casefold() for each in files}) == len(files)
    for name in files:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.(crt|p7b|txt)", name)
    lines = made.message.splitlines()
    assert all(line.isprintable() and len(line) <= 76 for line in lines)
    assert not [line for line in lines if line.startswith("Another:")]


def test_a_subject_of_ten_thousand_characters(tree: Tree) -> None:
    # A common name has at most 64; an organization's name has no bound that anybody keeps.
    name, own = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x" * 10_000)]), make_key()
    builder = x509.CertificateBuilder(name, name, own.public_key(), 1, NOW, NOW + DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    root = builder.sign(own, hashes.SHA256()).public_bytes(Encoding.DER)
    tree.write("certificates/access.yaml", REQUESTED)
    tree.write("certificates/chain.pem", root)
    made = tree.bundle()
    assert contents(made)[f"{'x' * 48}.crt"] == root
    assert max(map(len, made.message.splitlines())) <= 76
    assert len(made.message) < 4000
