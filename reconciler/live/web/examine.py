"""Whether an interface can be reached and understood, step by step up to the first step that fails. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from reconciler.base.errors import ReconcilerError, StoreUnreachable, StoreUnrecognised, StoreUntrusted
from reconciler.live.driver import Check, CheckOutcome
from reconciler.live.store import IN_WORDS
from reconciler.live.web import labels
from reconciler.live.web.finding import NotUnderstood
from reconciler.live.web.installation import read_export
from reconciler.live.web.listing import WHERE, Interface
from reconciler.live.web.looking import ask_export, live_store, look
from reconciler.live.web.opening import open_session
from reconciler.live.web.pages import is_sign_in, read_sign_in
from reconciler.live.web.session import SignedOut
from reconciler.live.web.transport import Limits
from reconciler.live.web.trouble import not_recognised

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable

    from reconciler.base.clock import Clock
    from reconciler.live.driver import OpenContext
    from reconciler.live.web.configuration import WebConfiguration
    from reconciler.live.web.listing import Listing
    from reconciler.live.web.page import Page
    from reconciler.live.web.session import Session

T = TypeVar("T")

_REACHABLE, _TRUSTED, _SIGN_IN_PAGE = "reachable", "trusted", "sign-in page"
_SKEW = 60


async def examine(
    configuration: WebConfiguration, context: OpenContext, limits: Limits | None = None
) -> tuple[Check, ...]:
    """Look at everything that the driver needs, in the order in which it needs it."""
    bounds, checks = limits or Limits(), list[Check]()
    try:
        async with open_session(configuration, context, bounds) as (session, _):
            await _Examination(session, bounds, context.clock, checks).run()
    except ReconcilerError as error:
        checks.append(_failed(_REACHABLE, error))
    return tuple(checks)


class _Stopped(Exception):
    """A step failed, and what comes after it cannot be tried."""


class _Examination:
    """One walk through an interface."""

    def __init__(self, session: Session, limits: Limits, clock: Clock, checks: list[Check]) -> None:
        self._session = session
        self._interface = Interface(session, limits.pages)
        self._clock = clock
        self._checks = checks

    async def run(self) -> None:
        """All steps, up to the first that fails."""
        try:
            front = await self._front()
            self._clocks(self._session.date)
            if is_sign_in(front):
                await self._step(_SIGN_IN_PAGE, self._sign_in_page())
            await self._step("signed in", self._session.page(self._session.url))
            await self._basics()
            listing = await self._step(WHERE, self._interface.listing())
            await self._pages(listing)
        except _Stopped:
            return

    async def _front(self) -> Page:
        try:
            found = await self._session.front()
        except StoreUntrusted as error:
            self._checks += [Check(_REACHABLE, CheckOutcome.OK), _failed(_TRUSTED, error)]
            raise _Stopped from None
        except StoreUnreachable as error:
            self._checks.append(_failed(_REACHABLE, error))
            raise _Stopped from None
        except ReconcilerError as error:
            self._checks += [Check(_REACHABLE, CheckOutcome.OK), Check(_TRUSTED, CheckOutcome.OK)]
            self._checks.append(_failed(_SIGN_IN_PAGE, error))
            raise _Stopped from None
        self._checks += [Check(_REACHABLE, CheckOutcome.OK), Check(_TRUSTED, CheckOutcome.OK)]
        return found

    async def _step(self, subject: str, act: Awaitable[T]) -> T:
        try:
            found = await act
        except SignedOut:
            self._checks.append(Check(subject, CheckOutcome.FAILED, "the session has ended meanwhile", "run again"))
            raise _Stopped from None
        except ReconcilerError as error:
            self._checks.append(_failed(subject, error))
            raise _Stopped from None
        self._checks.append(Check(subject, CheckOutcome.OK))
        return found

    async def _sign_in_page(self) -> None:
        page = await self._session.front()
        try:
            read_sign_in(page)
        except NotUnderstood as missing:
            raise not_recognised(f"the page at {self._session.url}", missing.wanted, page) from None

    def _clocks(self, there: dt.datetime | None) -> None:
        if there is None:
            message = "the interface does not say what time it is"
            self._checks.append(Check("clock", CheckOutcome.WARNING, message, "compare it by hand"))
            return
        skew = (there - self._clock()).total_seconds()
        if abs(skew) <= _SKEW:
            self._checks.append(Check("clock", CheckOutcome.OK))
            return
        message = f"the appliance's clock is {abs(skew):.0f} seconds {'ahead of' if skew > 0 else 'behind'} ours"
        remedy = "set both by a time server: validity is judged by them"
        self._checks.append(Check("clock", CheckOutcome.WARNING, message, remedy))

    async def _basics(self) -> None:
        """Nothing depends on Status > Basics but the picture that is sent to the vendor's support."""
        subject = f"{labels.STATUS} > {labels.BASICS}"
        if await self._interface.basics() is None:
            message = "nothing leads there"
            self._checks.append(Check(subject, CheckOutcome.WARNING, message, "take its picture by hand where needed"))
        else:
            self._checks.append(Check(subject, CheckOutcome.OK))

    async def _pages(self, listing: Listing) -> None:
        await self._step(f"{WHERE} > Export", self._export_page(listing))
        seen = await self._step("every certificate and request", look(self._interface))
        create = await self._step(f"{WHERE} > Create", self._interface.create_page(seen.listing))
        import_ = await self._step(f"{WHERE} > Import", self._interface.import_page(seen.listing))
        offers = live_store(seen, create, import_).offers
        for operation, subject in IN_WORDS.items():
            if operation in offers:
                self._checks.append(Check(subject, CheckOutcome.OK))
            else:
                message = "the interface does not offer it in a way that is understood"
                remedy = "do it by hand; if the interface does offer it, send us its pages (--capture DIR)"
                self._checks.append(Check(subject, CheckOutcome.BY_HAND, message, remedy))

    async def _export_page(self, listing: Listing) -> None:
        if not listing.rows:
            raise StoreUnrecognised(f"{WHERE} lists no certificate, not even the factory's", "look at it in a browser")
        reply = await self._session.read(ask_export(*listing.rows[0]))
        if reply.page is None:
            raise StoreUnrecognised("a file comes where the page Export was asked for", "look at it in a browser")
        try:
            read_export(reply.page)
        except NotUnderstood as missing:
            raise not_recognised(f"the page {WHERE} > Export", missing.wanted, reply.page) from None


def _failed(subject: str, error: ReconcilerError) -> Check:
    return Check(subject, CheckOutcome.FAILED, error.message, error.remedy)
