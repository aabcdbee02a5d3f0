"""Headless Chromium, as somebody uses it who sits before a simulated appliance. Debian's; nothing is downloaded."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from playwright.async_api import async_playwright

from tests.support.programs import require_program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from playwright.async_api import Dialog, Page, Request

# No sandbox, since tests may run as root in a container; and nothing that would call home.
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PATIENCE = 10_000


@asynccontextmanager
async def browsing(ports: Mapping[str, int], *, width: int = 1280, height: int = 900) -> AsyncIterator[Page]:
    """A page of a new browser that finds these hosts on the loopback address, and no others.

    The certificate warning counts as read and clicked away, as it has to be on an appliance fresh from the factory. A
    script that runs where none should, and a request to any other host, fail the test at the end.

    Args:
        ports: The port of each host's interface, by host name.
        width: Of the window, in pixels.
        height: Of the window, in pixels.
    """
    program = require_program("chromium")
    rules = [f"MAP {host}:443 127.0.0.1:{port}" for host, port in ports.items()]
    options = [*_OPTIONS, f"--host-resolver-rules={', '.join([*rules, 'MAP * ~NOTFOUND'])}"]
    strange: list[str] = []

    async def meet(dialog: Dialog) -> None:
        strange.append(f"a dialog: {dialog.message}")
        await dialog.dismiss()

    def note(request: Request) -> None:
        host = urlsplit(request.url).hostname
        if host not in ports:
            strange.append(f"a request to {request.url}")

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=options)
        try:
            context = await browser.new_context(ignore_https_errors=True, viewport={"width": width, "height": height})
            context.set_default_timeout(_PATIENCE)
            page = await context.new_page()
            page.on("dialog", meet)
            page.on("pageerror", lambda error: strange.append(f"a script's error: {error}"))
            page.on("request", note)
            yield page
        finally:
            await browser.close()
    assert not strange
