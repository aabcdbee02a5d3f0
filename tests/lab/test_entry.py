from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.lab.server import serve
from tests.lab.browser import Browser, Clock, Page, client, visiting

if TYPE_CHECKING:
    from reconciler.lab.appliance import LabAppliance

pytestmark = pytest.mark.anyio


async def test_every_address_leads_to_the_sign_in_first(appliance: LabAppliance) -> None:
    async with serve(appliance), client(appliance) as http:
        paths = appliance.release.paths
        for path in (
            "/",
            "/appliance",
            *(paths[name] for name in ("status", "certificates", "new", "import", "export")),
        ):
            reply = await http.get(path)
            assert reply.url.path == paths["sign_in"]
            assert reply.status_code == 200
            assert "Simulated appliance" in Page(reply).text


async def test_signing_in_leads_to_status_and_out_leads_back(appliance: LabAppliance) -> None:
    async with visiting(appliance) as browser:
        page = await browser.open("status")
        assert "Status :: Basics" in page.text
        for each in (appliance.hostname, appliance.serial_number, appliance.release.version, "2026-11-23 12:00:00 GMT"):
            assert each in page.text
        assert len(appliance.sessions) == 1
        out = Page(await browser.http.post(browser.paths["sign_out"]))
        assert out.notice.endswith("You have signed out.")
        assert len(appliance.sessions) == 0
        assert (await browser.open("status")).reply.url.path == browser.paths["sign_in"]


async def test_the_cookie_is_kept_from_scripts_and_other_sites_and_pages_from_caches(guide: LabAppliance) -> None:
    async with serve(guide), client(guide) as http:
        http.follow_redirects = False
        reply = await http.post(guide.release.paths["sign_in"], data={"username": "admin", "password": "simulated"})
    told = reply.headers["set-cookie"]
    for each in ("Secure", "HttpOnly", "SameSite=strict", "Path=/appliance"):
        assert each in told
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")


async def test_a_wrong_password_is_said_and_then_the_account_is_locked(appliance: LabAppliance, clock: Clock) -> None:
    async with serve(appliance), client(appliance) as http:
        browser = Browser(appliance, http)
        for _ in range(4):
            assert "The username or the password is wrong." in (await browser.sign_in("wrong")).refusal
        assert "is locked after 5 wrong passwords" in (await browser.sign_in("wrong")).refusal
        assert "Try again in 10 minutes." in (await browser.sign_in()).refusal
        clock.advance(minutes=10)
        assert (await browser.sign_in()).reply.url.path == browser.paths["status"]


async def test_a_session_that_was_idle_has_ended(appliance: LabAppliance, clock: Clock) -> None:
    async with visiting(appliance) as browser:
        clock.advance(minutes=31)
        page = await browser.open("certificates")
        assert page.reply.url.path == browser.paths["sign_in"]
        assert "Your session has ended. Sign in again." in page.refusal


async def test_a_form_without_the_sessions_token_has_no_effect(appliance: LabAppliance) -> None:
    async with visiting(appliance) as browser:
        before = appliance.store.observe().digest
        data = {browser.name(each): "Forged" for each in ("friendly_name", "common_name")}
        data |= {browser.name("create_request"): "1", browser.name("token"): "guessed"}
        page = Page(await browser.http.post(browser.paths["new"], data=data))
        assert page.reply.status_code == 403
        assert "This form is no longer valid." in page.refusal
        assert appliance.store.observe().digest == before


async def test_the_style_is_served_and_unknown_addresses_are_not(appliance: LabAppliance) -> None:
    async with visiting(appliance) as browser:
        style = await browser.http.get(browser.paths["style"])
        assert style.headers["content-type"].startswith("text/css")
        missing = await browser.http.get("/appliance/missing")
        assert missing.status_code == 404
        assert "This page does not exist." in Page(missing).text
        refused = await browser.http.delete(browser.paths["certificates"])
        assert refused.status_code == 405


async def test_requests_are_logged_without_what_was_typed(guide: LabAppliance) -> None:
    async with visiting(guide) as browser:
        await browser.open("export", "?id=abc")
        await browser.http.get(browser.paths["style"])
    assert guide.requests == [
        "POST /appliance/login",
        "GET /appliance/status/basics",
        "GET /appliance/security/certificates/export?id=abc",
        "GET /appliance/security/certificates",
    ]


async def test_a_store_that_cannot_be_read_is_said(appliance: LabAppliance) -> None:
    async with visiting(appliance) as browser:
        (appliance.folder / "broken.pem").write_text("nothing")
        page = await browser.open("certificates")
        assert page.reply.status_code == 500
        assert "holds what no front end would load" in page.refusal


async def test_who_goes_away_in_the_middle_of_a_form_leaves_no_traceback(
    guide: LabAppliance, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with serve(guide), client(guide) as http:
        async with await anyio.connect_tcp("127.0.0.1", guide.port, ssl_context=context) as stream:
            path = guide.release.paths["sign_in"]
            about = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100"
            await stream.send(f"POST {path} HTTP/1.1\r\nHost: {guide.hostname}\r\n{about}\r\n\r\nuser".encode())
            while not any(each.startswith("POST") for each in guide.requests):  # noqa: ASYNC110 - it tells nobody
                await anyio.sleep(0.01)
        await http.get("/")
    assert "Traceback" not in caplog.text
    assert "Exception" not in caplog.text
