"""One signed-in session with an interface: asks for pages, sends forms, signs in again when it has expired.

Where the reply to a form that changes something is lost, that is said (`EffectUnknown`), and the caller has to look.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from reconciler.base.errors import EffectUnknown, StoreUnreachable, StoreUnrecognised
from reconciler.live.web import labels
from reconciler.live.web.exchange import CLIENT_ERROR, SERVER_ERROR, Exchange, Reply
from reconciler.live.web.finding import NotUnderstood, pressed
from reconciler.live.web.forms import Filling
from reconciler.live.web.page import Link, Page
from reconciler.live.web.pages import is_sign_in, read_sign_in
from reconciler.live.web.trouble import Lost, not_recognised, said, unexpected_answer

if TYPE_CHECKING:
    import datetime as dt

    from reconciler.live.web.finding import Pressed
    from reconciler.live.web.forms import Submission

Credentials: TypeAlias = Callable[[], tuple[str, str]]
"""User name and password, fetched when they are needed."""


class SignedOut(Exception):
    """A form was answered by the sign-in page."""


class Session:
    """Signs in when it must, and keeps in mind where it is."""

    def __init__(self, exchange: Exchange, credentials: Credentials) -> None:
        self._exchange = exchange
        self._credentials = credentials
        self._here: Page | None = None

    @property
    def endpoint(self) -> str:
        """The interface as `host:port`."""
        return self._exchange.endpoint

    @property
    def url(self) -> str:
        """Address of the interface."""
        return self._exchange.url

    @property
    def date(self) -> dt.datetime | None:
        """What time it was there when it last said so."""
        return self._exchange.date

    async def front(self) -> Page:
        """The page at the interface's address, whether or not one is signed in.

        Raises:
            StoreUnreachable: It gets no reply, or the server is not trusted.
            StoreUnrecognised: The reply is no page.
        """
        return self._page(await self._look(self.url))

    async def page(self, url: str) -> Page:
        """A page, signed in.

        Raises:
            StoreUnreachable: It gets no reply, or signing in is refused.
            StoreUnrecognised: The reply is no page.
        """
        found = self._page(await self._look(url))
        if is_sign_in(found):
            landing = await self._sign_in(found)
            # Whoever signs in at the front door stands behind it.
            found = landing if landing and url == self.url else self._page(await self._look(url))
            if is_sign_in(found):
                raise StoreUnreachable(
                    f"{self.endpoint} forgets at once who has signed in", "see whether the interface works in a browser"
                )
        self._here = found
        return found

    async def fetch(self, url: str) -> Reply:
        """What a page is made of, as it comes: a style, a picture. Nobody signs in for it.

        Raises:
            StoreUnreachable: It gets no reply.
            StoreUnrecognised: The reply goes beyond the bounds, or comes from elsewhere.
        """
        return await self._look(url)

    async def follow(self, where: Pressed, page: Page) -> Page:
        """Press what only leads to another page."""
        if isinstance(where, Link):
            return await self.page(where.url)
        return self._page(await self.read(Filling(page, where.form).press(where)))

    async def read(self, submission: Submission) -> Reply:
        """Send a form that changes nothing. It is sent again where it gets no reply.

        Raises:
            SignedOut: The session has expired.
            StoreUnreachable: It gets no reply.
            StoreUnrecognised: The reply is an error of the server's.
        """
        return self._still_signed_in(await self._look(submission.url, submission))

    async def change(self, submission: Submission) -> Reply:
        """Send a form that changes something, once.

        Raises:
            SignedOut: The answer is the sign-in page; whether the form had its effect before that is not known.
            StoreUnreachable: It was not sent.
            EffectUnknown: Whether it had its effect is not known.
        """
        try:
            reply = await self._exchange.send(submission.url, submission)
        except Lost as error:
            if not error.sent:
                raise error.as_error() from error
            raise _unknown(error.message) from error
        except StoreUnrecognised as error:
            raise _unknown(error.message) from error
        if reply.status >= SERVER_ERROR:
            raise _unknown(f"{self.endpoint} answers with status {reply.status}")
        return self._still_signed_in(reply)

    async def close(self) -> None:
        """Sign out, if that is possible, and part."""
        way_out = pressed(self._here, labels.SIGN_OUT) if self._here else None
        if self._here is None or way_out is None:
            return
        try:
            # Where it leads to is nothing to us.
            if isinstance(way_out, Link):
                await self._exchange.send(way_out.url, follow=False)
            else:
                await self._exchange.send("", Filling(self._here, way_out.form).press(way_out), follow=False)
        except (Lost, StoreUnrecognised):
            return  # a session that nobody uses ends by itself

    async def _sign_in(self, page: Page) -> Page | None:
        """Sign in, once: repeated attempts may lock the account. Returns the page that comes then, if it is one."""
        try:
            found = read_sign_in(page)
        except NotUnderstood as missing:
            raise not_recognised(f"the page at {self.url}", missing.wanted, page) from None
        username, password = self._credentials()
        filling = Filling(page, found.password.form)
        filling.enter(found.username, username)
        filling.enter(found.password, password)
        try:
            reply = await self._exchange.send("", filling.press(found.button))
        except Lost as error:
            raise error.as_error() from error
        after = reply.page or Page(reply.url)
        if reply.status >= SERVER_ERROR:
            raise unexpected_answer(reply.status, Page(reply.url), self.endpoint)
        if is_sign_in(after) or reply.status >= CLIENT_ERROR:
            entered = "".join(f"{username}{password}".split()).casefold()
            words = said(page.lines(), (line for line in after.lines() if not _repeats(line, entered)))
            quoted = f", which says '{words}'" if words else ""
            raise StoreUnreachable(
                f"signing in is refused by {self.endpoint}{quoted}",
                "check `username` and `password`, and whether the account is locked, before you try again",
            )
        return reply.page

    async def _look(self, url: str, submission: Submission | None = None) -> Reply:
        try:
            return await self._exchange.look(url, submission)
        except Lost as error:
            raise error.as_error() from error

    def _still_signed_in(self, reply: Reply) -> Reply:
        if reply.page is not None and is_sign_in(reply.page):
            raise SignedOut
        if reply.page is not None and reply.status < CLIENT_ERROR:
            self._here = reply.page
        return reply

    def _page(self, reply: Reply) -> Page:
        if reply.status >= CLIENT_ERROR:
            raise unexpected_answer(reply.status, reply.page or Page(reply.url), self.endpoint)
        if reply.page is None:
            raise StoreUnrecognised(f"{self.endpoint} answers with a file where a page belongs", "check `url`")
        return reply.page


def _repeats(line: str, entered: str) -> bool:
    """Whether a page repeats a part of what was entered, cut short or laid out in another way."""
    whole = "".join(line.split()).casefold()
    told = (each for each in re.findall(r"[^\W_]+", line.casefold()) if len(each) > _SHORT)
    return (bool(entered) and entered in whole) or any(each in entered for each in told)


_SHORT = 3


def _unknown(what: str) -> EffectUnknown:
    return EffectUnknown(f"{what}, so what came of it is not known", "look at the store, then run again")
