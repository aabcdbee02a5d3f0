"""The page of a plan in a real browser: hostile names stay text, and it is readable wherever it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.base.text import printable
from reconciler.report.fleet_view import fleet_view
from reconciler.report.plan_html import plan_html
from reconciler.report.view import plan_view
from tests.report import sample
from tests.support.browser import browsing

if TYPE_CHECKING:
    from playwright.async_api import Page

    from reconciler.plan.model import Plan

pytestmark = pytest.mark.anyio

SCRIPTS = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "</style><style>*{display:none}</style>")
LONG = "A" * 5_000
WIDTHS = (360, 1280)
_UNFOLD = "document.querySelectorAll('details').forEach(each => each.open = true)"
_TRY_A_SCRIPT = """() => {
    const script = document.createElement('script')
    script.textContent = 'window.ran = true'
    document.body.append(script)
    return window.ran
}"""


def _hostile() -> Plan:
    """The sample, in which further certificates are called as nobody should call one."""
    names = iter((*SCRIPTS, LONG))
    parts = list(sample.PLAN.appliances)
    for index, part in enumerate(parts):
        actions = tuple(each.model_copy(update={"label": next(names, each.label)}) for each in part.actions)
        parts[index] = part.model_copy(update={"actions": actions})
    return sample.PLAN.model_copy(update={"appliances": tuple(parts)})


async def _assert_in_shape(page: Page) -> None:
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 800})
        wide = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide[0] <= wide[1]


async def _colours(page: Page) -> tuple[str, str]:
    style = "getComputedStyle(document.body)"
    return await page.evaluate(f"{style}.backgroundColor"), await page.evaluate(f"{style}.color")


async def test_a_hostile_plan_is_only_text_and_readable_everywhere() -> None:
    plan = _hostile()
    view = plan_view(plan, sample.STORES, sample.MATERIAL, sample.CLASSES)
    fleet = fleet_view(sample.STATE, plan, sample.STORES, sample.FAILURES, sample.CLASSES, {})
    async with browsing({}) as page:
        await page.set_content(plan_html(view, fleet))

        # What was meant is there as text, and nothing of it as an element.
        titles = await page.locator(".action .name").all_inner_texts()
        assert {*SCRIPTS, LONG, printable(sample.HOSTILE)} <= set(titles)
        assert not await page.locator("script, img, iframe, link, object, body style").count()
        assert not await page.get_by_text("&", exact=True).count()
        assert await page.get_by_role("heading", level=1).inner_text() == "4 to import, 2 defaults to set, 2 to remove"
        assert await page.evaluate(_TRY_A_SCRIPT) is None

        # It tells its parts to those who cannot see it.
        glance = page.get_by_role("table").first
        assert await glance.get_by_role("columnheader").all_inner_texts() == [
            "Appliance",
            "State",
            "Next expiration",
            "Default",
        ]
        assert await glance.get_by_role("rowheader", name="lone").is_visible()

        # A fold hides what is in it, but not on paper.
        quiet = page.get_by_text("quiet-1", exact=True).last
        assert not await quiet.is_visible()
        await page.emulate_media(media="print")
        assert await quiet.is_visible()
        assert await _colours(page) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
        await page.emulate_media(media="print", color_scheme="dark")
        assert await _colours(page) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
        assert (await page.pdf(format="A4")).startswith(b"%PDF-")

        await page.emulate_media(media="screen", color_scheme="light")
        assert await _colours(page) == ("rgb(255, 255, 255)", "rgb(29, 30, 32)")
        await page.emulate_media(media="screen", color_scheme="dark")
        assert await _colours(page) == ("rgb(20, 22, 25)", "rgb(231, 230, 226)")

        await _assert_in_shape(page)
        await page.evaluate(_UNFOLD)
        await _assert_in_shape(page)
