"""Who is signed in to a simulated appliance: sessions with an idle time, anti-forgery tokens, and the lock-out.

Times are the appliance's own clock's. Nothing here knows of pages or cookies.
"""

from __future__ import annotations

import datetime as dt
import hmac
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.base.clock import Clock

IDLE = dt.timedelta(minutes=30)
"""A session ends when nothing was asked for so long."""
MOST_FAILURES = 5
"""Wrong passwords in a row that lock the account."""
LOCKED_FOR = dt.timedelta(minutes=10)


class Tone(StrEnum):
    """What kind of notice a page shows."""

    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence that a page shows above its content."""

    tone: Tone
    text: str


@dataclass(frozen=True, slots=True)
class Account:
    """The one account of an appliance.

    Attributes:
        username: Its name.
        password: Its password.
    """

    username: str = "admin"
    password: str = field(default="simulated", repr=False)


@dataclass(slots=True)
class Session:
    """One browser that is signed in.

    Attributes:
        key: What its cookie holds.
        seen: When something was asked for last.
        token: What each of its forms must carry.
        notice: What the next page is to say, once.
        handles: Every object that was shown to it, so that a position on a page stays the position of one object.
        parked: A file that was uploaded and is not imported yet, with its password.
    """

    key: str = field(repr=False)
    seen: dt.datetime
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    notice: Notice | None = None
    handles: list[str] = field(default_factory=list)
    parked: tuple[bytes, bytes | None] | None = field(default=None, repr=False)

    def is_genuine(self, token: object) -> bool:
        """Whether a form was handed out in this session."""
        return isinstance(token, str) and hmac.compare_digest(token.encode(), self.token.encode())


class Sessions:
    """All sessions of one appliance, and how often its password was wrong."""

    def __init__(self, account: Account, clock: Clock) -> None:
        self._account = account
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._failures = 0
        self._locked_until: dt.datetime | None = None

    @property
    def is_locked(self) -> bool:
        """Whether the account is locked now."""
        if self._locked_until is not None and self._clock() >= self._locked_until:
            self._locked_until, self._failures = None, 0
        return self._locked_until is not None

    def sign_in(self, username: str, password: str) -> Session | None:
        """A new session, or None where name or password are wrong or the account is locked."""
        if self.is_locked:
            return None
        right = [
            hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
            for given, wanted in ((username, self._account.username), (password, self._account.password))
        ]
        if not all(right):
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                self._locked_until = self._clock() + LOCKED_FOR
            return None
        self._failures = 0
        session = Session(secrets.token_urlsafe(32), self._clock())
        self._sessions[session.key] = session
        return session

    def find(self, key: str | None) -> Session | None:
        """The session of a cookie, unless it has ended. It has been seen now."""
        session = self._sessions.get(key or "")
        if session is None:
            return None
        now = self._clock()
        if now - session.seen > IDLE:
            del self._sessions[session.key]
            return None
        session.seen = now
        return session

    def sign_out(self, session: Session) -> None:
        """End one session."""
        self._sessions.pop(session.key, None)

    def drop(self) -> None:
        """End all sessions, as a restart of the appliance does."""
        self._sessions.clear()

    def __len__(self) -> int:
        return len(self._sessions)
