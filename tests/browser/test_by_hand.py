"""What a person does in the browser is what `status` shows."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.base.clock import system_clock
from tests.browser.person import Person
from tests.support.authority import Authority
from tests.support.browser import browsing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.fleet import Fleet
    from tests.support.authority import Issued

pytestmark = pytest.mark.anyio

PASSPHRASE = b"made elsewhere"
FRIENDLY_NAME = "access (made elsewhere)"
NAMES = ("access.example.com", "east-1.example.com")
SUBJECT = {
    "Certificate Friendly Name": "access 2027",
    "Country": "US",
    "State/Province": "Mississippi",
    "City (Locality)": "Ridgeland",
    "Organization": "Example Company",
    "Organizational Unit": "Support",
    "Name (Common Name)": "Example remote access 2027",
}


def made_elsewhere(path: Path) -> Issued:
    """A certificate in a PKCS#12 file with its key and chain."""
    now = system_clock().replace(microsecond=0)
    since, until = now - dt.timedelta(days=1), now + dt.timedelta(days=200)
    authority = Authority.root(not_before=since, not_after=until).intermediate(not_before=since, not_after=until)
    issued = authority.issue(NAMES, not_before=since, not_after=until)
    path.write_bytes(issued.pkcs12(PASSPHRASE, chain=issued.chain, friendly_name=FRIENDLY_NAME))
    return issued


async def test_what_a_person_does_is_what_status_shows(fleet: Fleet, tmp_path: Path) -> None:
    appliance = fleet.appliance("east-1")
    issued = made_elsewhere(tmp_path / "access.p12")
    async with browsing({appliance.hostname: appliance.port}) as page:
        person = Person(page, appliance)
        await person.sign_in()

        await person.create_request(SUBJECT, NAMES, "New EC key (P-256)")
        assert "The certificate request was created." in await person.told()
        (row,) = await person.read_requests()
        assert row["Alternative Name(s)"].splitlines() == [f"dNSName - {each}" for each in NAMES]
        data = await person.read_request_data(SUBJECT["Name (Common Name)"])
        assert "EC (P-256)" in await page.get_by_role("main").inner_text()

        await person.import_file(tmp_path / "access.p12", "another")
        assert "pass" in await person.refused()
        await person.import_file(tmp_path / "access.p12", PASSPHRASE.decode())
        assert "The file was imported." in await person.told()

        await person.set_default(FRIENDLY_NAME)
        assert "The default certificate was saved." in await person.told()
        name, exported = await person.export_without_key(FRIENDLY_NAME)
        await person.sign_out()

    request = x509.load_pem_x509_csr(data.encode())
    der = request.public_bytes(Encoding.DER)
    assert row["Fingerprint"] == hashlib.sha1(der, usedforsecurity=False).hexdigest()
    assert name.endswith(".cer")
    assert exported == issued.certificate.der, "the certificate alone, so no key"

    # The appliance presents another certificate now, which has to be trusted first: it was not the reconciler's doing.
    stranger = await fleet.status("east-1")
    line = re.search(r"`(trust: [^`]+)`", stranger["problem"])
    assert line
    assert issued.certificate.fingerprint in line[1]
    fleet.trust("east-1", line[1])

    shown = await fleet.status("east-1")
    (pending,) = shown["requests"]
    assert pending["fingerprint"] == hashlib.sha256(der).hexdigest()
    assert pending["alternative_names"] == [f"dNSName - {each}" for each in NAMES]
    assert SUBJECT["Name (Common Name)"] in pending["subject"]
    rows = {each["fingerprint"]: each for each in shown["certificates"]}
    imported = rows[issued.certificate.fingerprint]
    assert (imported["friendly_name"], imported["private_key"]) == (FRIENDLY_NAME, True)
    assert imported["alternative_names"] == [f"dNSName - {each}" for each in NAMES]
    assert [each["fingerprint"] for each in shown["certificates"] if each["default"]] == [imported["fingerprint"]]
    above = {each.fingerprint for each in issued.chain}
    assert above < rows.keys()
    assert not any(rows[each]["private_key"] for each in above)
    assert len(rows) == 4, "these, and the factory certificate"
