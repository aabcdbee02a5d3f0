from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from reconciler.base.errors import WrongPassphrase
from reconciler.live.driver import CertificateForm, NewKey
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.reading import read
from tests.lab.browser import install, visiting
from tests.support.authority import Authority

if TYPE_CHECKING:
    from reconciler.lab.appliance import LabAppliance

pytestmark = pytest.mark.anyio
PROTECTED = {"passphrase": "secret"}


async def test_a_file_with_its_password_is_imported(appliance: LabAppliance) -> None:
    issued = Authority.root().intermediate().issue(["access.example.com"])
    async with visiting(appliance) as browser:
        page = await browser.upload(issued.pkcs12(b"secret", chain=issued.chain), "secret")
    assert page.notice.endswith("The file was imported.")
    live = appliance.store.observe().by_fingerprint
    assert live[issued.certificate.fingerprint].has_key
    assert {each.fingerprint for each in issued.chain} <= live.keys()


@pytest.mark.parametrize(
    ("password", "told"), [("", "protected and no passphrase was given"), ("wrong", "passphrase does not fit")]
)
async def test_a_wrong_password_is_refused_in_words(appliance: LabAppliance, password: str, told: str) -> None:
    async with visiting(appliance) as browser:
        page = await browser.upload(Authority.root().issue(["a.example.com"]).pkcs12(b"secret"), password)
    assert told in page.refusal
    assert len(appliance.store.observe().certificates) == 1


async def test_what_is_no_certificate_is_refused_in_words(appliance: LabAppliance) -> None:
    strange = Authority.root().issue(["a.example.com"])
    async with visiting(appliance) as browser:
        assert "Choose a file that is not empty." in (await browser.upload(b"")).refusal
        assert (await browser.upload(b"%PDF-1.7 nothing")).refusal
        assert "fits no certificate" in (await browser.upload(strange.key_pem())).refusal
        if appliance.release.traits.upload_is_confirmed:
            again = await browser.send("import", confirm="1")
            assert "Upload the file again." in again.refusal
    assert len(appliance.store.observe().certificates) == 1


async def test_a_signed_certificate_finds_its_key(appliance: LabAppliance) -> None:
    form = CertificateForm("Mine", NewKey("ec-p256"), distinguished_name([("CN", "Example")]), ())
    appliance.store.create_request(form)
    asked = x509.load_pem_x509_csr(appliance.store.observe().requests[0].request_data.encode())
    signed = Authority.root().sign(asked)
    async with visiting(appliance) as browser:
        await browser.upload(signed.der)
    live = appliance.store.observe()
    assert live.by_fingerprint[signed.fingerprint].has_key
    assert live.requests == ()


@pytest.mark.parametrize(
    ("ticked", "extension", "certificates", "keys"),
    [
        (("with_certificate",), ".cer", 1, 0),
        (("with_key",), ".p8", 0, 1),
        (("with_certificate", "with_chain"), ".p7b", 3, 0),
        (("with_certificate", "with_key"), ".p12", 1, 1),
        (("with_certificate", "with_key", "with_chain"), ".p12", 3, 1),
    ],
)
async def test_every_choice_is_exported_in_its_format(
    appliance: LabAppliance, ticked: tuple[str, ...], extension: str, certificates: int, keys: int
) -> None:
    issued = install(appliance, "access.example.com", friendly_name="mine", authority=Authority.root().intermediate())
    async with visiting(appliance) as browser:
        handle = (await browser.rows())["mine"]
        page = await browser.send("export", id=handle, export="1", **dict.fromkeys(ticked, "1"), **PROTECTED)
    assert page.reply.headers["content-disposition"].endswith(f'{extension}"')
    contents = read(page.reply.content, b"secret" if "with_key" in ticked else None)
    assert (len(contents.certificates), len(contents.keys)) == (certificates, keys)
    if "with_certificate" in ticked:
        assert issued.certificate in contents.certificates
    if keys:
        with pytest.raises(WrongPassphrase):
            read(page.reply.content, b"another")


async def test_the_page_offers_a_key_only_where_there_is_one(appliance: LabAppliance) -> None:
    install(appliance, "access.example.com", friendly_name="mine")
    async with visiting(appliance) as browser:
        rows, name = await browser.rows(), browser.name("id")
        with_key = await browser.open("export", f"?{name}={rows['mine']}")
        assert "Include Private Key" in with_key.text
        assert "CN=Root" in with_key.text
        assert "Include Private Key" not in (await browser.open("export", f"?{name}={rows['Root']}")).text
        assert "Nothing was chosen" in (await browser.send("export", id=rows["mine"], export="1")).refusal
        assert "no longer there" in (await browser.open("export", f"?{name}=0000")).refusal
