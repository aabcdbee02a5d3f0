from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.browser import Clock, make_appliance, visiting

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.lab.appliance import LabAppliance

pytestmark = pytest.mark.anyio


@pytest.fixture
def later(tmp_path: Path, clock: Clock) -> LabAppliance:
    return make_appliance(tmp_path, clock, "later")


async def test_a_certificate_is_requested_installed_and_listed_in_its_own_section(later: LabAppliance) -> None:
    async with visiting(later) as browser:
        page = await browser.send(
            "certificates", hostname="Access.example.com", key_type="ECDSA (P-256)", request_certificate="1"
        )
        assert "A certificate for access.example.com was requested" in page.notice
        own, others = page.tree.xpath("//section[h2[contains(., 'Certificates')]]//table")[:2]
        assert "access.example.com" in own.text_content()
        assert "access.example.com" not in others.text_content()
        assert "Simulated Let's Encrypt R1" in others.text_content()
    (managed,) = later.lets_encrypt.managed()
    row = later.store.observe().by_fingerprint[managed.fingerprint]
    assert row.has_key
    assert (row.certificate.not_after - row.certificate.not_before).days == 90
    chosen = later.selection.select("access.example.com")
    assert chosen is not None
    assert chosen.fingerprint == managed.fingerprint


async def test_it_is_renewed_by_the_appliances_clock_and_stays_the_default(later: LabAppliance, clock: Clock) -> None:
    later.lets_encrypt.request("access.example.com", "ec-p256")
    (first,) = later.lets_encrypt.managed()
    later.store.set_default(first.fingerprint)
    clock.advance(days=59, hours=23)
    later.lets_encrypt.renew()
    assert later.lets_encrypt.managed() == (first,)
    clock.advance(hours=1)
    async with visiting(later) as browser:
        await browser.open("certificates")
    (second,) = later.lets_encrypt.managed()
    live = later.store.observe()
    assert second.fingerprint != first.fingerprint
    assert live.default == second.fingerprint
    assert first.fingerprint not in live.by_fingerprint


async def test_what_somebody_removed_is_forgotten(later: LabAppliance) -> None:
    later.lets_encrypt.request("access.example.com", "rsa-2048")
    later.store.remove(later.lets_encrypt.managed()[0].fingerprint)
    later.lets_encrypt.renew()
    assert later.lets_encrypt.managed() == ()


async def test_only_host_names_can_be_requested(later: LabAppliance) -> None:
    async with visiting(later) as browser:
        for name in ("*.example.com", "192.0.2.1", "", "a b"):
            page = await browser.send(
                "certificates", hostname=name, key_type="RSA (2048 Bits)", request_certificate="1"
            )
            assert "not one that a certificate can be requested for" in page.refusal
        page = await browser.send("certificates", hostname="a.example.com", key_type="", request_certificate="1")
        assert "Choose a key type" in page.refusal
    assert later.lets_encrypt.managed() == ()


async def test_other_releases_do_not_request_certificates(guide: LabAppliance) -> None:
    async with visiting(guide) as browser:
        assert "Encrypt" not in (await browser.open("certificates")).text
        await browser.send(
            "certificates", hostname="a.example.com", key_type="RSA (2048 Bits)", request_certificate="1"
        )
    assert guide.lets_encrypt.managed() == ()
