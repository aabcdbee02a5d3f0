"""A picture of Status > Basics, taken with a headless Chromium that reaches nothing but what our own session fetches.

The session signs in and decides whom to trust, as always. Whatever the page asks for is fetched by it, and handed to
Chromium, which has neither network, password nor cookie: so there is nothing that it would have to trust or verify.
Only what a page is made of is fetched; nothing is ever sent.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import anyio

from reconciler.base.errors import ReconcilerError, StoreUnreachable, StoreUnrecognised, UsageError
from reconciler.base.text import printable
from reconciler.live.web import labels
from reconciler.live.web.exchange import CLIENT_ERROR
from reconciler.live.web.listing import Interface
from reconciler.live.web.opening import open_session
from reconciler.live.web.pages import is_sign_in
from reconciler.live.web.transport import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.async_api import Route

    from reconciler.live.driver import OpenContext
    from reconciler.live.web.configuration import WebConfiguration
    from reconciler.live.web.exchange import Reply
    from reconciler.live.web.session import Session

VARIABLE = "RECONCILER_CHROMIUM"
"""Environment variable that names the program."""
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_BY_HAND = "take the screenshot in a browser, and give it with --screenshot FILE"
_WHAT = f"{labels.STATUS} > {labels.BASICS}"
_WINDOW = (1280, 900)
_MOST_REQUESTS = 200
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "FONTCONFIG_FILE", "FONTCONFIG_PATH")
_OPTIONS = (
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-proxy-server",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium(environ: Mapping[str, str]) -> str:
    """The program, by `RECONCILER_CHROMIUM` or on the path.

    Raises:
        UsageError: There is none.
    """
    path = environ.get("PATH", os.defpath)
    named = environ.get(VARIABLE)
    for name in (named,) if named else _PROGRAMS:
        program = shutil.which(name, path=path)
        if program:
            return program
    if named:
        raise UsageError(f"{VARIABLE} names {printable(named)}, which is no program", f"correct it, or {_BY_HAND}")
    raise UsageError(
        "there is no Chromium to take a screenshot with", f"install it, name it in {VARIABLE}, or {_BY_HAND}"
    )


async def take_picture(configuration: WebConfiguration, context: OpenContext, limits: Limits | None = None) -> bytes:
    """A picture of Status > Basics as PNG.

    Raises:
        UsageError: Playwright or Chromium is not installed.
        StoreError: The page cannot be reached or shown.
    """
    try:
        import playwright.async_api  # noqa: F401, PLC0415 - an optional extra: better missed before anybody signs in
    except ImportError as error:
        raise UsageError(
            "playwright is not installed, which a screenshot is taken with",
            f"pip install 'pra-certificate-reconciler[screenshot]', or {_BY_HAND}",
        ) from error
    program = find_chromium(os.environ)
    bounds = limits or Limits()
    async with open_session(configuration, context, bounds) as (session, _):
        page = await Interface(session, bounds.pages).basics()
        if page is None:
            raise StoreUnrecognised(f"nothing leads to {_WHAT} on {session.endpoint}", _BY_HAND)
        return await _show(_Carrier(session, page.url), program, bounds)


class _Carrier:
    """Fetches what one page is made of, one thing after the other."""

    def __init__(self, session: Session, url: str) -> None:
        self.endpoint = session.endpoint
        self.url = url
        self.failure: ReconcilerError | None = None
        self._session = session
        self._turn = anyio.Lock()
        self._requests = 0

    async def carry(self, route: Route) -> None:
        """Answer one request of the browser's, or break it off."""
        request = route.request
        self._requests += 1
        whole = request.is_navigation_request()
        if request.method != "GET" or self._requests > _MOST_REQUESTS or (whole and request.url != self.url):
            await route.abort()
            return
        try:
            async with self._turn:
                reply = await self._session.fetch(request.url)
            if whole:
                self._check(reply)
        except ReconcilerError as error:
            self.failure = error if whole else self.failure
            await route.abort()
            return
        await route.fulfill(status=reply.status, content_type=reply.kind, body=reply.content)

    def _check(self, reply: Reply) -> None:
        """See that it is still the page that was found."""
        if reply.page is None or reply.status >= CLIENT_ERROR:
            raise StoreUnrecognised(f"{self.endpoint} answers with status {reply.status} when asked again", _BY_HAND)
        if is_sign_in(reply.page):
            raise StoreUnreachable(f"{self.endpoint} has ended the session meanwhile", "run again")


async def _show(carrier: _Carrier, program: str, limits: Limits) -> bytes:
    """Show the page, and take its picture."""
    from playwright.async_api import Error, async_playwright  # noqa: PLC0415 - see above

    passed_on: dict[str, str | float | bool] = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    width, height = _WINDOW
    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.launch(executable_path=program, args=_OPTIONS, env=passed_on)
        except Error as error:
            raise UsageError(
                f"Chromium does not start: {_brief(error)}", f"see whether {program} runs, or {_BY_HAND}"
            ) from None
        try:
            context = await browser.new_context(
                viewport={"width": width, "height": height}, service_workers="block", accept_downloads=False
            )
            context.set_default_timeout(limits.patience * 1000)
            await context.route("**/*", carrier.carry)
            page = await context.new_page()
            await page.goto(carrier.url)
            return await page.screenshot(full_page=True)
        except Error as error:
            if carrier.failure is not None:
                raise carrier.failure from None
            raise StoreUnrecognised(
                f"{_WHAT} of {carrier.endpoint} cannot be shown: {_brief(error)}", _BY_HAND
            ) from None
        finally:
            await browser.close()


def _brief(error: Exception) -> str:
    """The first line of what Playwright says, which goes on at length."""
    return printable(str(error).strip().partition("\n")[0])[:200]
