"""The status page in a real browser: it keeps itself up to date, and whatever it shows stays text."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from reconciler.base.text import printable
from reconciler.watch import endpoints
from reconciler.watch.endpoints import serving
from reconciler.watch.page import relative
from tests.support.browser import browsing
from tests.watch import sample
from tests.watch.sample import DAY, HOSTILE, HOUR, MINUTE, NOW
from tests.watch.test_page import hostile

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.anyio

PAGE = "http://localhost:443/"
"""The browser finds it at the port that it was given; the name is one that is answered."""
LONG = "A" * 3_000
_TRY_A_SCRIPT = """() => {
    const script = document.createElement('script')
    script.textContent = 'window.ran = true'
    document.body.append(script)
    return window.ran
}"""


_TALLEST_ROW = "Math.max(...[...document.querySelectorAll('#fleet tbody tr')].map(row => row.offsetHeight))"
_IS_CUT = "[document.getElementById('fleet-table')].some(each => each.scrollWidth > each.clientWidth)"


async def _place(page: Page, selector: str) -> tuple[float, float]:
    """Where something begins from the left, and ends from the top."""
    box = await page.locator(selector).bounding_box()
    assert box
    return box["x"], box["y"] + box["height"]


async def _assert_in_shape(page: Page) -> None:
    for width in (360, 390, 800, 1280, 1500, 1920):
        await page.set_viewport_size({"width": width, "height": 900})
        wide = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide[0] <= wide[1]


async def _colours(page: Page) -> tuple[str, str]:
    style = "getComputedStyle(document.body)"
    return await page.evaluate(f"{style}.backgroundColor"), await page.evaluate(f"{style}.color")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_PACE", 0.05)


async def test_it_keeps_itself_up_to_date_and_disturbs_nobody_who_reads() -> None:
    board = sample.board(sample.many(60))
    async with AsyncExitStack() as serves:
        url = await serves.enter_async_context(serving(board, "127.0.0.1:0", clock=lambda: NOW))
        port = urlsplit(url).port or 0
        async with browsing({"localhost": port}) as page:
            headline = page.get_by_role("heading", level=1)
            await page.goto(PAGE)
            assert await headline.inner_text() == "All 60 in step"
            assert await page.get_by_role("status").count() == 1

            # Somebody unfolds a site; it stays so, and the page the same, whatever becomes of the fleet.
            await page.evaluate("window.kept = true")
            site = page.locator("#site-3")
            member = site.get_by_role("rowheader", name="node-006")
            await site.locator("summary").click()
            assert await member.is_visible()
            board.show(sample.many(60, sample.needing("edge-1", "zone")))
            await page.get_by_text("1 needs you").first.wait_for()
            assert await headline.inner_text() == "1 needs you"
            assert (await page.title()).startswith("1 needs you")
            assert await member.is_visible()
            assert await page.evaluate("document.activeElement.id") == "site-3-summary"

            # A command that is being selected is not taken away.
            await page.evaluate("getSelection().selectAllChildren(document.querySelector('#needs code'))")
            board.show(sample.all_well())
            await page.get_by_text("All 7 in step").wait_for()
            assert await page.evaluate("getSelection().toString()") == (
                "reconciler doctor --revision 4f2a9c71d05b --appliance edge-1"
            )
            await page.evaluate("getSelection().removeAllRanges()")
            board.show(sample.troubled())
            await page.get_by_text("3 need you").first.wait_for()
            assert "edge-1" not in await page.locator("#needs").inner_text()

            # Where the loop is gone, the page says so, also in its tab, and goes on when it is back.
            lost = page.locator("#lost")
            icon = await page.locator("#icon").get_attribute("href")
            assert not await lost.is_visible()
            await serves.aclose()
            await lost.wait_for()
            assert "This is how it was at 2026-11-28 12:00:00 UTC" in await lost.inner_text()
            assert await page.title() == f"? 3 need you \N{EN DASH} certificates of {sample.source().place}"
            assert await page.locator("#icon").get_attribute("href") != icon
            board.show(sample.all_well())
            await serves.enter_async_context(serving(board, f"127.0.0.1:{port}", clock=lambda: NOW))
            await lost.wait_for(state="hidden")
            assert await headline.inner_text() == "All 7 in step"
            assert (await page.title()).startswith("All 7 in step")
            assert await page.locator("#icon").get_attribute("href") != icon
            assert await page.evaluate("window.kept")


async def test_while_the_loop_is_gone_the_script_counts_the_time_as_the_server_did() -> None:
    days = (-800, -500, -2, 0.5, 1.99, 5, 50, 90, 93, 94.5, 130, 400, 730, 733, 4_000)
    held = tuple(sample.certificate(str(each), each + 1 / 24 / 60) for each in days)
    board = sample.board(sample.watched(sample.appliance("a", certificates=held)))
    async with AsyncExitStack() as serves:
        url = await serves.enter_async_context(serving(board, "127.0.0.1:0", clock=lambda: NOW))
        async with browsing({"localhost": urlsplit(url).port or 0}) as page:
            # The clock of this machine is wrong, by hours.
            await page.clock.install(time=NOW + 7 * HOUR)
            await page.goto(PAGE)
            times = page.locator("#expirations time.ago")
            told = [relative(each.expiration, NOW) for each in held]
            assert await times.all_inner_texts() == told
            await serves.aclose()
            await page.locator("#lost").wait_for()
            for away in (2 * MINUTE, 3 * DAY):
                await page.clock.fast_forward(int(away.total_seconds()) * 1000)
                passed = 2 * MINUTE if away < DAY else 3 * DAY + 2 * MINUTE
                assert await times.all_inner_texts() == [relative(each.expiration, NOW + passed) for each in held]


async def test_a_page_that_turns_into_that_of_another_fleet_says_so() -> None:
    board = sample.board(sample.all_well())
    async with (
        serving(board, "127.0.0.1:0", clock=lambda: NOW) as url,
        browsing({"localhost": urlsplit(url).port or 0}) as page,
    ):
        await page.goto(PAGE)
        moved = page.locator("#moved")
        assert not await moved.is_visible()
        board.show(sample.watched(sample.appliance("other"), source=sample.source(place=HOSTILE)))
        await moved.wait_for()
        assert f"Before, this page showed the certificates of {sample.source().place}." in await moved.inner_text()
        assert printable(HOSTILE) in await page.locator("#place").inner_text()
        board.show(sample.all_well())
        await page.get_by_text("All 7 in step").wait_for()
        assert printable(HOSTILE) in await moved.inner_text()
        # Whoever has read it loads the page again.
        await page.reload()
        assert not await moved.is_visible()


async def test_thirty_appliances_fit_a_wall_and_every_row_is_one_line() -> None:
    board = sample.board(sample.many(30))
    async with (
        serving(board, "127.0.0.1:0", clock=lambda: NOW) as url,
        browsing({"localhost": urlsplit(url).port or 0}, width=1920, height=1080) as page,
    ):
        await page.goto(PAGE)
        left, bottom = await _place(page, "#fleet tbody:last-child tr:last-child")
        assert left < 100
        assert bottom <= 1080
        ill = (sample.needing("a"), sample.failing("b"), sample.broken("c"), sample.waiting("d"), sample.reported("e"))
        board.show(sample.many(30, *ill))
        await page.get_by_text("3 need you").first.wait_for()
        left, bottom = await _place(page, "#fleet tbody:last-child tr:last-child")
        assert left > 960  # beside what needs somebody
        assert bottom <= 1080
        for width in (1920, 1500, 1280):
            await page.set_viewport_size({"width": width, "height": 900})
            assert await page.evaluate(_TALLEST_ROW) < 32
            assert not await page.evaluate(_IS_CUT)
        await page.set_viewport_size({"width": 1920, "height": 900})
        board.show(sample.watched(sample.appliance("a"), source=sample.source(problem="x")))
        await page.get_by_text("The source needs you").first.wait_for()
        assert (await _place(page, "h1"))[1] < 150


async def test_it_is_text_and_in_shape_whatever_it_says_wherever_it_is_read() -> None:
    board = sample.board(hostile())
    async with (
        serving(board, "127.0.0.1:0", clock=lambda: NOW) as url,
        browsing({"localhost": urlsplit(url).port or 0}) as page,
    ):
        await page.goto(PAGE)
        assert await page.get_by_text(printable(HOSTILE)).first.is_visible()
        assert await page.locator("script").count() == 1
        assert not await page.locator("img, iframe, link:not(#icon), object, body style").count()
        assert await page.evaluate(_TRY_A_SCRIPT) is None
        await _assert_in_shape(page)
        board.show(sample.watched(sample.appliance(LONG, LONG), sample.needing(LONG, LONG)))
        await page.get_by_text("1 needs you").first.wait_for()
        await _assert_in_shape(page)

        await page.emulate_media(color_scheme="light")
        assert await _colours(page) == ("rgb(255, 255, 255)", "rgb(29, 30, 32)")
        await page.emulate_media(color_scheme="dark")
        assert await _colours(page) == ("rgb(20, 22, 25)", "rgb(231, 230, 226)")

        # Where no script runs, all of it is there, and it loads itself anew.
        assert page.context.browser
        plain = await page.context.browser.new_context(java_script_enabled=False)
        still = await plain.new_page()
        await still.goto(PAGE)
        assert await still.get_by_role("heading", level=1).inner_text() == "1 needs you"
        assert await still.locator("meta[http-equiv=refresh]").get_attribute("content") == "60"
        assert not await still.get_by_role("alert").is_visible()
