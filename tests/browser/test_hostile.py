"""Names that want to be more than text: a page shows them as text, and stays in shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.live.driver import CertificateForm, NewKey, Upload
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.names import parse_name
from tests.browser.person import Person
from tests.support.authority import Authority
from tests.support.browser import browsing

if TYPE_CHECKING:
    from playwright.async_api import Page

    from reconciler.lab.appliance import LabAppliance
    from tests.browser.fleet import Fleet

pytestmark = pytest.mark.anyio

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
REVERSED = "\u202egnp.exe"
LONG = "A" * 10_000
WIDTHS = (390, 1280)
TALLEST = 220
"""Of a row, in pixels, whatever its name is."""


def furnish(appliance: LabAppliance) -> None:
    """Put hostile names into every place of a store that takes any."""
    authority = Authority.root(IMAGE)
    for name in (SCRIPT, IMAGE, REVERSED, LONG):
        issued = authority.issue(["old.example.com"], common_name=name[:64])
        appliance.store.import_(Upload(issued.pkcs12(b"x", friendly_name=name), b"x"))
    subject = distinguished_name([("CN", SCRIPT), ("O", IMAGE)])
    form = CertificateForm(IMAGE, NewKey("ec-p256"), subject, (parse_name("old.example.com"),))
    appliance.store.create_request(form)


async def assert_in_shape(page: Page) -> None:
    """On a desktop and on a phone, nothing is wider than the window; and no name has become a picture."""
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, page.url
    assert not await page.get_by_role("img").count()


async def test_hostile_names_stay_text_on_every_page(fleet: Fleet) -> None:
    appliance = fleet.appliance("east-1")
    await appliance.call(furnish, appliance)
    async with browsing({appliance.hostname: appliance.port}) as page:
        person = Person(page, appliance)
        await person.sign_in()
        await assert_in_shape(page)

        names = [row["Friendly Name"].split("\n")[0] for row in await person.read_certificates()]
        assert {SCRIPT, IMAGE, REVERSED} <= set(names)
        (long,) = [name for name in names if name.startswith("AAAA")]
        assert set(long) <= set("A…")
        for name in (SCRIPT, IMAGE, REVERSED, long):
            box = await (await person.row(name)).bounding_box()
            assert box
            assert box["height"] <= TALLEST, name
            await assert_in_shape(page)

        await person.press("Create")
        await page.get_by_role("option", name=f"Existing key: {SCRIPT}", exact=True).wait_for(state="attached")
        await assert_in_shape(page)
        await person.field("Subject Alternative Names").fill(SCRIPT)
        await person.press("Add")
        assert SCRIPT in await person.refused()
        await assert_in_shape(page)

        await person.choose(SCRIPT, "Export")
        await page.get_by_text(f"Certificate: {SCRIPT}", exact=True).wait_for()
        await assert_in_shape(page)
        await person.read_request_data(SCRIPT)
        await assert_in_shape(page)

        await person.choose(SCRIPT, person.labels["remove"])
        if appliance.release.traits.removal_is_confirmed:
            await page.get_by_role("listitem").filter(has_text=SCRIPT).wait_for()
            await assert_in_shape(page)
            await person.press(person.labels["remove"])
        assert "removed" in await person.told()
        assert SCRIPT not in [row["Friendly Name"].split("\n")[0] for row in await person.read_certificates()]
