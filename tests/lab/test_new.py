from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest

from reconciler.pki.names import parse_name
from tests.lab.browser import Browser, Clock, install, make_appliance, visiting

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.lab.appliance import LabAppliance

pytestmark = pytest.mark.anyio
Form: TypeAlias = "dict[str, str | list[str]]"
TYPED: Form = {"friendly_name": "Mine", "common_name": "Example", "country": "US", "organization": "Example Company"}


async def key(browser: Browser, text: str) -> str:
    page = await browser.open("new")
    return str(page.tree.xpath("string(//option[starts-with(., $text)]/@value)", text=text))


async def test_names_are_added_and_dropped_and_nothing_typed_is_lost(appliance: LabAppliance) -> None:
    async with visiting(appliance) as browser:
        typed: Form = {
            **TYPED,
            "key": await key(browser, "New EC key (P-384)"),
            "names": ["a.example.com", "b.example.com"],
        }
        added = await browser.send("new", **typed, name="*.Example.net", add="1")
        assert not added.refusal
        assert added.tree.xpath("//input[@name=$n]/@value", n=browser.name("names"))[-1] == "*.example.net"
        assert added.tree.xpath("string(//option[@selected])") == "New EC key (P-384)"
        dropped = await browser.send("new", **typed, drop="0")
        assert dropped.tree.xpath("//input[@name=$n]/@value", n=browser.name("names")) == ["b.example.com"]
        for page in (added, dropped):
            for name in TYPED:
                assert page.tree.xpath("string(//input[@name=$n]/@value)", n=browser.name(name)) == TYPED[name]
        for name, told in (
            ("", "Type a subject"),
            ("a b", "is not a DNS name"),
            ("a.example.com", "in the list already"),
        ):
            assert told in (await browser.send("new", **typed, name=name, add="1")).refusal


async def test_a_request_is_created_with_what_was_typed(appliance: LabAppliance) -> None:
    async with visiting(appliance) as browser:
        typed: Form = {
            **TYPED,
            "key": await key(browser, "New EC key (P-256)"),
            "names": ["a.example.com", "*.example.net"],
        }
        page = await browser.send("new", **typed, create_request="1")
    assert page.notice.endswith("The certificate request was created.")
    (pending,) = appliance.store.observe().requests
    assert str(pending.subject) == "CN=Example, O=Example Company, C=US"
    assert pending.key_kind == "ec-p256"
    assert pending.subject_alternative_names == (parse_name("a.example.com"), parse_name("*.example.net"))


async def test_an_existing_key_is_used_again(appliance: LabAppliance) -> None:
    issued = install(appliance, "access.example.com")
    async with visiting(appliance) as browser:
        chosen = await key(browser, "Existing key: access.example.com")
        await browser.send("new", **TYPED, key=chosen, create_request="1")
    assert appliance.store.observe().requests[0].public_key == issued.certificate.public_key


async def test_a_self_signed_certificate_is_valid_for_a_year(appliance: LabAppliance, clock: Clock) -> None:
    before = set(appliance.store.observe().by_fingerprint)
    async with visiting(appliance) as browser:
        chosen = await key(browser, "New EC key (P-256)")
        await browser.send("new", **TYPED, key=chosen, names="a.example.com", create_self_signed="1")
    (made,) = (each for each in appliance.store.observe().certificates if each.fingerprint not in before)
    assert made.friendly_name == "Mine"
    assert (made.certificate.not_after - clock.now).days == 365


async def test_a_cloud_appliance_offers_no_self_signed_certificate(tmp_path: Path, clock: Clock, variant: str) -> None:
    cloud = make_appliance(tmp_path, clock, variant, platform="cloud")
    before = cloud.store.observe().digest
    async with visiting(cloud) as browser:
        page = await browser.open("new")
        assert "Self-Signed" not in page.reply.text
        chosen = await key(browser, "New EC key (P-256)")
        refused = await browser.send("new", **TYPED, key=chosen, create_self_signed="1")
        assert "A cloud site cannot create self-signed certificates." in refused.refusal
    assert cloud.store.observe().digest == before


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"friendly_name": ""}, "Certificate Friendly Name is missing."),
        ({"common_name": ""}, "Name (Common Name) is missing."),
        ({"country": "USA"}, "Country must be a code of two letters."),
        ({"name": "left.example.com"}, "is not in the list of names yet"),
        ({"key": "unknown"}, "The chosen key is no longer there"),
        ({"names": "a b"}, "The list holds what is not a DNS name."),
        ({"common_name": "x" * 65}, "The certificate request cannot be made"),
    ],
)
async def test_mistakes_are_said_on_the_page(guide: LabAppliance, changed: Form, told: str) -> None:
    async with visiting(guide) as browser:
        page = await browser.send("new", **{**TYPED, "key": "new:ec-p256", **changed}, create_request="1")
    assert told in page.refusal
    assert "New Certificate" in page.text
    assert guide.store.observe().requests == ()
