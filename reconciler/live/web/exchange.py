"""Requests and replies with one interface, in bounds: only there, so large, so long, sent on so often.

What only looks is tried again when it gets no reply; what changes something is sent once. Whether anybody is signed in
is the business of `session`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

import anyio
import httpx
import stamina

from reconciler.base.errors import StoreUnrecognised
from reconciler.live.network import endpoint
from reconciler.live.web.html import read_page
from reconciler.live.web.page import Page
from reconciler.live.web.trouble import Lost, lost, unexpected_answer
from reconciler.live.web.trust import Untrusted

if TYPE_CHECKING:
    from reconciler.live.web.capture import Capture
    from reconciler.live.web.forms import Submission
    from reconciler.live.web.transport import Limits

# A retry is not worth a line: what is told is what came of it in the end.
stamina.instrumentation.set_on_retry_hooks([])

SERVER_ERROR = 500
CLIENT_ERROR = 400
_REDIRECTS = frozenset({301, 302, 303})
_TOO_MANY = 429
_HTML = ("text/html", "application/xhtml+xml")
_HTTPS = 443


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        url: Where it came from; where it sends us on to, for a redirection.
        status: HTTP status.
        content: Its bytes, not shown, since they may hold a key.
        page: The page, where it is one.
        kind: What the server calls it: its media type.
    """

    url: str
    status: int
    content: bytes = field(repr=False)
    page: Page | None = None
    kind: str = ""


class Exchange:
    """Talks to one interface, one request after the other.

    Attributes:
        url: Address of the interface.
        date: What time it was there when it last said so.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, limits: Limits, capture: Capture | None) -> None:
        self.url = url
        self.date: dt.datetime | None = None
        self._client = client
        self._limits = limits
        self._capture = capture

    @property
    def endpoint(self) -> str:
        """The interface as `host:port`."""
        parts = urlsplit(self.url)
        return endpoint(parts.hostname or "", parts.port or _HTTPS)

    async def look(self, url: str, submission: Submission | None = None) -> Reply:
        """Ask for something, or send a form that changes nothing; again where no reply comes.

        Raises:
            Lost: No reply came, however often it was tried.
            StoreUnrecognised: The reply goes beyond the bounds, or is an error of the server's.
        """
        limits, reply = self._limits, Reply(url, SERVER_ERROR, b"")
        try:
            async for attempt in stamina.retry_context(
                on=_may_pass,
                attempts=limits.attempts,
                timeout=None,
                wait_initial=limits.pause,
                wait_jitter=limits.pause,
            ):
                with attempt:
                    reply = _answered(await self.send(url, submission))
        except _Busy as busy:
            raise unexpected_answer(busy.reply.status, busy.reply.page or Page(url), self.endpoint) from None
        return reply

    async def send(self, url: str, submission: Submission | None = None, *, follow: bool = True) -> Reply:
        """Make one request, and follow where its reply leads unless told otherwise.

        Raises:
            Lost: No reply came.
            StoreUnrecognised: The reply goes beyond the bounds.
        """
        reply = await self._once(url, submission)
        for _ in range(self._limits.redirects):
            if reply.status not in _REDIRECTS or not follow:
                return reply
            reply = await self._once(reply.url, None)
        if reply.status in _REDIRECTS:
            raise StoreUnrecognised(
                f"{self.endpoint} sends us from page to page without end", "see whether it works in a browser"
            )
        return reply

    async def _once(self, url: str, submission: Submission | None) -> Reply:
        request = self._request(url, submission)
        self._check_origin(str(request.url))
        try:
            with anyio.fail_after(self._limits.patience):
                response = await self._client.send(request, stream=True)
                try:
                    content = await self._content(response)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, Untrusted, TimeoutError) as error:
            raise lost(error, self.endpoint, self._limits.patience) from error
        return self._reply(response, content, str(request.url))

    def _request(self, url: str, submission: Submission | None) -> httpx.Request:
        try:
            if submission is None or submission.method == "GET":
                return self._client.build_request("GET", submission.address if submission else url)
            if not submission.multipart:
                headers = {"content-type": "application/x-www-form-urlencoded"}
                content = urlencode(submission.fields).encode()
                return self._client.build_request("POST", submission.url, content=content, headers=headers)
            fields: dict[str, list[str]] = {}
            for name, value in submission.fields:
                fields.setdefault(name, []).append(value)
            files = [(name, (file, data, "application/octet-stream")) for name, file, data in submission.files]
            return self._client.build_request("POST", submission.url, data=fields, files=files)
        except (httpx.InvalidURL, ValueError) as error:
            message = f"{self.endpoint} leads to an address that is none"
            raise StoreUnrecognised(message, "see whether it works in a browser") from error

    async def _content(self, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            # It was not asked for, and a small reply may unfold to any size.
            raise StoreUnrecognised(f"{self.endpoint} sends a compressed reply unasked", "see what answers there")
        parts, size = [], 0
        async for part in response.aiter_raw():
            size += len(part)
            if size > self._limits.size:
                raise StoreUnrecognised(
                    f"{self.endpoint} sends a reply of more than {self._limits.size} bytes", "see what answers there"
                )
            parts.append(part)
        return b"".join(parts)

    def _reply(self, response: httpx.Response, content: bytes, url: str) -> Reply:
        status = response.status_code
        self.date = _date(response.headers.get("date", "")) or self.date
        if status in _REDIRECTS and "location" in response.headers:
            return Reply(_join(url, response.headers["location"]), status, b"")
        media_type = response.headers.get("content-type", "text/html")
        kind, _, _ = media_type.partition(";")
        if kind.strip().lower() not in _HTML:
            return Reply(url, status, content, kind=media_type)
        charset = response.charset_encoding or "utf-8"
        page = read_page(content, url, charset)
        if self._capture:
            self._capture.keep(page, content, charset)
        return Reply(url, status, content, page, media_type)

    def _check_origin(self, url: str) -> None:
        if _origin(url) != _origin(self.url):
            raise StoreUnrecognised(
                f"{self.endpoint} leads to another server, which is not followed",
                "check `url`: it must be the final one",
            )


class _Busy(Exception):
    """The server could not answer just now."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"status {reply.status}")
        self.reply = reply


def _answered(reply: Reply) -> Reply:
    if reply.status >= SERVER_ERROR or reply.status == _TOO_MANY:
        raise _Busy(reply)
    return reply


def _may_pass(error: Exception) -> bool:
    return isinstance(error, _Busy) or (isinstance(error, Lost) and error.trusted)


def _origin(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        return parts.scheme, (parts.hostname or "").lower(), parts.port or _HTTPS
    except ValueError:
        return "", "", 0


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, location.strip())
    except ValueError:
        return ""


def _date(text: str) -> dt.datetime | None:
    try:
        told = parsedate_to_datetime(text)
        return (told if told.tzinfo else told.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None
