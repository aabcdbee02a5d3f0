from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from reconciler.lab.views import existing_keys, key_in_words
from reconciler.live.driver import CertificateForm, NewKey, Upload
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.names import parse_name
from tests.lab.browser import Clock, install, make_appliance, visiting
from tests.live.contract import HOSTILE_NAMES
from tests.support.authority import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.lab.appliance import LabAppliance

pytestmark = pytest.mark.anyio
SUBJECT = [("CN", "Example"), ("OU", "Support"), ("O", "Example Company"), ("L", "Ridgeland"), ("C", "US")]


def request(appliance: LabAppliance, common_name: str = "Example", key: str = "ec-p256") -> str:
    subject = distinguished_name([("CN", common_name), *SUBJECT[1:]])
    form = CertificateForm("Mine", NewKey(key), subject, (parse_name("support.example.org"),))
    appliance.store.create_request(form)
    return appliance.store.observe().requests[0].fingerprint


async def test_the_table_shows_what_the_guide_shows(appliance: LabAppliance) -> None:
    issued = install(appliance, "*.example.com", "example.com", friendly_name="wild", authority=Authority.root())
    request(appliance)
    async with visiting(appliance) as browser:
        text = (await browser.open("certificates")).text
        assert set(await browser.rows()) == {"BeyondTrust Appliance", "wild", "Root"}
    headers = (
        "Friendly Name",
        "Issued To",
        "Issued By",
        "Expiration",
        "Alternative Name(s)",
        "Private Key?",
        "Default",
    )
    for each in (
        *headers,
        "Subject",
        "Fingerprint",
        "-- Select Action --",
        "Export",
        "No Supported Names",
        "Yes",
        "No",
    ):
        assert each in text
    assert "dNSName - *.example.com dNSName - example.com" in text.replace("comdNS", "com dNS")
    assert f"{issued.certificate.not_after:%Y-%m-%d %H:%M:%S} GMT" in text
    assert "CN=Example, OU=Support, O=Example Company, L=Ridgeland, C=US" in text
    assert "The factory default configuration may not be removed." in text


async def test_hostile_names_are_shown_as_text_on_every_page(appliance: LabAppliance) -> None:
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7 * 7 }}'
    issued = install(appliance, "access.example.com", friendly_name=hostile)
    fingerprint = issued.certificate.fingerprint
    request(appliance, hostile[:60])
    async with visiting(appliance) as browser:
        handle = (await browser.rows())[hostile]
        pages = [
            await browser.open("certificates"),
            await browser.open("new"),
            await browser.open("export", f"?{browser.name('id')}={handle}"),
            await browser.send("new", friendly_name=hostile, common_name=hostile, name=hostile, add="1", key="x"),
        ]
        link = pages[0].tree.xpath("//a[contains(text(), 'CN=')]/@href")[0]
        pages.append(await browser.open("request", link.removeprefix(browser.paths["request"])))
    assert fingerprint
    for page in pages:
        assert page.reply.status_code == 200
        assert not page.tree.xpath("//img | //script[contains(text(), 'alert')]")
    for page in (pages[0], pages[1], pages[3], pages[4]):
        assert "<script>alert(1)</script>" in page.reply.text.replace("&lt;", "<").replace("&gt;", ">")


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
async def test_any_friendly_name_can_be_shown(guide: LabAppliance, name: str) -> None:
    form = CertificateForm(name, NewKey("ec-p256"), distinguished_name([("CN", "Example")]), ())
    guide.store.create_self_signed(form, dt.timedelta(days=1))
    async with visiting(guide) as browser:
        page = await browser.open("certificates")
    assert page.reply.status_code == 200
    assert not page.tree.xpath("//script")


async def test_warnings_stand_beneath_the_name(guide: LabAppliance, clock: Clock) -> None:
    lone = Authority.root().issue(["old.example.com"])
    guide.store.import_(Upload(lone.pkcs12(b"x", friendly_name="lone"), b"x"))
    good = install(guide, "access.example.com", friendly_name="good")
    async with visiting(guide) as browser:

        async def warned(name: str) -> str:
            page = await browser.open("certificates")
            return str(page.tree.xpath("string(//tr[td[contains(., $name)]]/td[2]//span)", name=name))

        assert await warned("lone") == "1 Warning(s)"
        assert await warned("BeyondTrust Appliance") == "1 Warning(s)"
        assert await warned("good") == ""
        clock.now = good.certificate.not_after + dt.timedelta(seconds=1)
        await browser.sign_in()
        assert await warned("good") == "1 Warning(s)"
        clock.now = good.certificate.not_before - dt.timedelta(seconds=1)
        assert await warned("good") == "1 Warning(s)"


async def test_the_default_is_saved(appliance: LabAppliance) -> None:
    issued = install(appliance, "access.example.com", friendly_name="mine")
    async with visiting(appliance) as browser:
        page = await browser.send("certificates", default=(await browser.rows())["mine"], save_default="1")
        assert page.notice.endswith("The default certificate was saved.")
        assert next(iter(await browser.rows())) == "mine", "the default stands first"
        assert not (await browser.open("certificates")).notice, "it is said once"
        refused = await browser.send("certificates", default=(await browser.rows())["Root"], save_default="1")
        assert "has no private key here" in refused.refusal
        nothing = await browser.send("certificates", save_default="1")
        assert "No certificate is selected in the Default column." in nothing.refusal
    assert appliance.store.observe().default == issued.certificate.fingerprint


async def test_rows_are_removed_where_that_is_confirmed(appliance: LabAppliance) -> None:
    install(appliance, "access.example.com", friendly_name="mine")
    remove = appliance.release.values["remove"]
    async with visiting(appliance) as browser:
        rows = await browser.rows()
        chosen = [rows["mine"], rows["Root"]]
        page = await browser.send("certificates", row=chosen, action=remove, apply="1")
        if appliance.release.traits.removal_is_confirmed:
            assert "Do you really want to delete these certificates?" in page.text
            assert set(await browser.rows()) == set(rows)
            page = await browser.send("certificates", row=chosen, remove_confirmed="1")
        assert page.notice.endswith("2 certificates were removed.")
        assert set(await browser.rows()) == {"BeyondTrust Appliance"}
        gone = await browser.send("certificates", row=chosen, action=remove, apply="1")
        assert "no longer there" in gone.refusal


async def test_neither_the_factory_certificate_nor_the_default_can_be_removed(appliance: LabAppliance) -> None:
    issued = install(appliance, "access.example.com", friendly_name="mine")
    appliance.store.set_default(issued.certificate.fingerprint)
    async with visiting(appliance) as browser:
        rows = await browser.rows()
        for name, told in (
            ("BeyondTrust Appliance", "factory certificate cannot be removed"),
            ("mine", "is the default"),
        ):
            page = await browser.send(
                "certificates", row=rows[name], action=appliance.release.values["remove"], apply="1"
            )
            if appliance.release.traits.removal_is_confirmed:
                page = await browser.send("certificates", row=rows[name], remove_confirmed="1")
            assert told in page.refusal
        assert await browser.rows() == rows


async def test_apply_wants_an_action_and_rows(appliance: LabAppliance) -> None:
    export = appliance.release.values["export"]
    install(appliance, "access.example.com", friendly_name="mine")
    async with visiting(appliance) as browser:
        rows = list((await browser.rows()).values())
        assert "Choose an action" in (await browser.send("certificates", row=rows, action="", apply="1")).refusal
        assert "Tick a row" in (await browser.send("certificates", action=export, apply="1")).refusal
        several = await browser.send("certificates", row=rows, action=export, apply="1")
        assert "Only one certificate can be exported at a time." in several.refusal
        one = await browser.send("certificates", row=rows[:1], action=export, apply="1")
        assert "Security :: Certificates :: Export" in one.text


async def test_a_request_shows_its_data_and_is_removed(appliance: LabAppliance) -> None:
    request(appliance, key="rsa-2048")
    pending = appliance.store.observe().requests[0]
    remove = appliance.release.values["remove_request"]
    async with visiting(appliance) as browser:
        page = await browser.open("certificates")
        link = page.tree.xpath("//a[contains(text(), 'CN=Example')]/@href")[0]
        details = await browser.open("request", link.removeprefix(browser.paths["request"]))
        assert " ".join(pending.request_data.split()) in details.text
        for each in (
            "Subject Name",
            "CN=Example",
            "Public Key",
            "RSA (2048 Bits)",
            "Alternative Names",
            "Request Data",
        ):
            assert each in details.text
        boxes = page.tree.xpath("//input[@name=$name]/@value", name=browser.name("request_row"))
        if not appliance.release.traits.removes_requests:
            assert boxes == []
            forged = await browser.send("certificates", request_row="1", request_apply="1", request_action=remove)
            assert "Choose an action" in forged.refusal
            assert (await browser.send("certificates", request_row="1", request_remove_confirmed="1")).refusal
            assert appliance.store.observe().requests == (pending,)
            return
        assert "Choose an action" in (await browser.send("certificates", request_row=boxes, request_apply="1")).refusal
        nothing = await browser.send("certificates", request_action=remove, request_apply="1")
        assert "Tick a row" in nothing.refusal
        page = await browser.send("certificates", request_row=boxes, request_action=remove, request_apply="1")
        if appliance.release.traits.removal_is_confirmed:
            assert "this certificate request?" in page.text
            page = await browser.send("certificates", request_row=boxes, request_remove_confirmed="1")
        assert page.notice.endswith("1 certificate request was removed.")
        assert appliance.store.observe().requests == ()
        gone = await browser.open("request", link.removeprefix(browser.paths["request"]))
        assert "no longer there" in gone.refusal


async def test_a_position_stays_with_its_row_when_somebody_else_changes_the_list(tmp_path: Path, clock: Clock) -> None:
    appliance = make_appliance(tmp_path, clock, "other")
    root = Authority.root()
    install(appliance, "m.example.com", friendly_name="m", authority=root)
    async with visiting(appliance) as browser:
        before = await browser.rows()
        install(appliance, "a.example.com", friendly_name="a", authority=root)
        after = await browser.rows()
        assert {name: after[name] for name in before} == before
        assert after["a"] not in before.values()
        await browser.send("certificates", row=before["m"], action=appliance.release.values["remove"], apply="1")
        assert set(await browser.rows()) == set(after) - {"m"}


async def test_long_tables_are_paged(tmp_path: Path, clock: Clock) -> None:
    appliance = make_appliance(tmp_path, clock, "other")
    for number in range(4):
        request(appliance, f"Request {number}")
        install(appliance, f"{number}.example.com")
    async with visiting(appliance) as browser:
        first = await browser.open("certificates")
        assert first.text.count("Page 1 of 3") == 1
        assert len(await browser.rows()) == 6, "four, the factory's, and the root, whose name they share"
        last = await browser.open("certificates", f"?{browser.name('page')}=99&{browser.name('request_page')}=2")
        assert "Page 3 of 3" in last.text
        assert "Page 2 of 2" in last.text
        assert "CN=Request 3" in last.text
        assert "CN=Request 0" not in last.text


def test_existing_keys_that_read_alike_are_told_apart(guide: LabAppliance) -> None:
    for _ in range(2):
        install(guide, "access.example.com", friendly_name="same", authority=Authority.root())
    request(guide)
    options = existing_keys(guide.store.observe())
    texts = [text for _, text in options]
    assert len(set(texts)) >= 3
    assert texts[0] == "Existing key: BeyondTrust Appliance"
    assert sum(text.startswith("Existing key: same (expires ") for text in texts) == 2
    assert texts[-1] == "Existing key: Example (certificate request)"


def test_keys_are_said_in_the_guides_words() -> None:
    assert [key_in_words(each) for each in ("rsa-2048", "ec-p256")] == ["RSA (2048 Bits)", "EC (P-256)"]
