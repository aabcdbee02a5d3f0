"""The picture of Status > Basics: taken of the lab's pages in Chromium, which gets at nothing but what it is handed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import StoreUnreachable, StoreUnrecognised, StoreUntrusted, UsageError
from reconciler.lab.release import variants
from reconciler.live.driver import driver_types
from reconciler.live.web import Trust
from reconciler.live.web.screenshot import VARIABLE, find_chromium, take_picture
from reconciler.report.pictures import image_only
from tests.browser.person import Person
from tests.live.web.interface import HOST, PASSWORD, QUICK, configuration, context, lab, trusted
from tests.live.web.playing import SHORT, Player, opening, playing, reply
from tests.support.authority import self_signed
from tests.support.browser import browsing
from tests.support.programs import require_program

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.anyio

BASICS = """\
<title>BeyondTrust</title><a href="/appliance/status">Status</a> <a href="/appliance/status">Basics</a>
<h1>Status :: Basics</h1>
"""


@pytest.fixture
def _chromium(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, require_program("chromium"))


@pytest.mark.usefixtures("_chromium")
@pytest.mark.parametrize("variant", variants())
async def test_it_is_what_a_person_sees_there(variant: str, tmp_path: Path) -> None:
    async with lab(tmp_path, variant) as appliance:
        store = configuration(trust=await trusted(appliance))
        taken = await take_picture(store, context(appliance, tmp_path), QUICK)
        assert len(appliance.sessions) == 0, "it has signed out"
        async with browsing({HOST: appliance.port}) as page:
            await Person(page, appliance).sign_in()
            seen = await page.screenshot(full_page=True)
            wrong = await page.evaluate("document.body.innerHTML = ''") or await page.screenshot(full_page=True)
    assert image_only(taken) == image_only(seen)
    assert image_only(taken) != image_only(wrong), "it is not blank"


@pytest.mark.usefixtures("_chromium")
async def test_the_browser_sends_nothing_and_goes_nowhere_else() -> None:
    script = f"""
        fetch('/appliance/changed', {{method: 'POST', body: 'x'}});
        fetch('https://elsewhere.example.com/told');
        new WebSocket('wss://{HOST}/appliance/socket');
        navigator.serviceWorker && navigator.serviceWorker.register('/appliance/worker.js');
        navigator.sendBeacon('/appliance/beacon', 'x');
        window.open('/appliance/opened');
        location = '/appliance/left';
    """
    page = f"""{BASICS}<link rel=stylesheet href=/appliance/style.css><img src=https://elsewhere.example.com/a.png>
        <iframe src=/appliance/framed></iframe>
        <form id=f method=post action=/appliance/posted></form><script>{script} document.forms[0].submit()</script>"""

    def answer(request: bytes) -> list[bytes]:
        return [reply(b"h1 {color: red}", kind="text/css") if b"style.css" in request else reply(page.encode())]

    issued = self_signed([HOST])
    player = Player(issued, answer)
    trust = Trust(sha256=(issued.certificate.fingerprint,))
    with playing(player) as address:
        await take_picture(configuration(trust=trust), opening(address), SHORT)
    asked = [each.split(b" HTTP/1.1")[0].decode() for each in player.requests]
    assert set(asked) == {"GET /appliance", "GET /appliance/status", "GET /appliance/style.css"}


@pytest.mark.usefixtures("_chromium")
async def test_no_browser_sees_a_password_in_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "environment"
    program = tmp_path / "chromium"
    program.write_text(f'#!/bin/sh\nenv >{told}\nexec {require_program("chromium")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(program))
    async with lab(tmp_path) as appliance:
        store = configuration(trust=await trusted(appliance))
        await take_picture(store, context(appliance, tmp_path), QUICK)
    assert "PATH=" in told.read_text()
    assert PASSWORD not in told.read_text()


@pytest.mark.usefixtures("_chromium")
async def test_a_server_that_is_not_trusted_is_sent_nothing() -> None:
    player = Player(self_signed([HOST]), lambda _: [reply(BASICS.encode())])
    with playing(player) as address, pytest.raises(StoreUntrusted):
        await take_picture(configuration(trust=Trust(sha256=("ab" * 32,))), opening(address), SHORT)
    assert player.requests == []


@pytest.mark.usefixtures("_chromium")
async def test_a_session_that_ends_meanwhile_yields_no_picture_of_the_sign_in_page() -> None:
    issued = self_signed([HOST])
    sign_in = """<title>BeyondTrust</title><form method=post><label>Username <input name=u></label>
        <label>Password <input type=password name=p></label><button>Sign In</button></form>"""
    looks = iter([BASICS, BASICS, BASICS])
    player = Player(issued, lambda _: [reply(next(looks, sign_in).encode())])
    trust = Trust(sha256=(issued.certificate.fingerprint,))
    with playing(player) as address, pytest.raises(StoreUnreachable, match="has ended the session"):
        await take_picture(configuration(trust=trust), opening(address), SHORT)


@pytest.mark.usefixtures("_chromium")
@pytest.mark.parametrize(
    ("last", "told"),
    [
        (reply(b"<h1>gone</h1>", status="404 Not Found"), "answers with status 404 when asked again"),
        (reply(b"<h1>busy</h1>", status="503 Service Unavailable"), "answers with status 503"),
        (reply((BASICS + "<script>while (true) {}</script>").encode()), "Status > Basics of .* cannot be shown: "),
    ],
    ids=["gone", "busy", "never-ending"],
)
async def test_a_page_that_cannot_be_shown(last: bytes, told: str) -> None:
    issued = self_signed([HOST])
    looks = iter([reply(BASICS.encode())] * 3)
    player = Player(issued, lambda _: [next(looks, last)])
    trust = Trust(sha256=(issued.certificate.fingerprint,))
    with playing(player) as address, pytest.raises(StoreUnrecognised, match=told) as caught:
        await take_picture(configuration(trust=trust), opening(address), SHORT)
    assert str(caught.value).isprintable()


@pytest.mark.usefixtures("_chromium")
async def test_an_interface_without_the_page_is_left_to_a_person() -> None:
    issued = self_signed([HOST])
    player = Player(issued, lambda _: [reply(b"<title>BeyondTrust</title><h1>Welcome</h1>")])
    trust = Trust(sha256=(issued.certificate.fingerprint,))
    with playing(player) as address, pytest.raises(StoreUnrecognised, match="nothing leads to Status > Basics") as told:
        await take_picture(configuration(trust=trust), opening(address), SHORT)
    assert "--screenshot FILE" in told.value.remedy


async def test_a_browser_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "false")
    async with lab(tmp_path) as appliance:
        store = configuration(trust=await trusted(appliance))
        with pytest.raises(UsageError, match=r"^Chromium does not start") as told:
            await take_picture(store, context(appliance, tmp_path), QUICK)
    assert "\n" not in str(told.value)
    assert "--screenshot FILE" in told.value.remedy


async def test_without_playwright_nobody_signs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "playwright.async_api", None)
    async with lab(tmp_path) as appliance:
        store = configuration(trust=await trusted(appliance))
        with pytest.raises(UsageError, match="playwright is not installed") as told:
            await take_picture(store, context(appliance, tmp_path), QUICK)
        assert len(appliance.sessions) == 0
    assert "[screenshot]" in told.value.remedy


def test_chromium_is_found_by_its_variable_or_on_the_path(tmp_path: Path) -> None:
    for name in ("google-chrome", "chromium-browser"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    assert find_chromium({"PATH": str(tmp_path)}) == str(tmp_path / "chromium-browser")
    assert find_chromium({"PATH": "", VARIABLE: str(tmp_path / "google-chrome")}) == str(tmp_path / "google-chrome")
    with pytest.raises(UsageError, match=f"{VARIABLE} names nowhere, which is no program"):
        find_chromium({"PATH": str(tmp_path), VARIABLE: "nowhere"})
    with pytest.raises(UsageError, match="there is no Chromium"):
        find_chromium({"PATH": ""})


def test_only_interfaces_offer_a_picture() -> None:
    offering = {name for name, each in driver_types().items() if each.picture is not None}
    assert offering == {"web"}
