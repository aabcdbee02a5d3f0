"""Signing in and out, and Status > Basics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response

from reconciler.lab.pages.visit import COOKIE, SEE_OTHER, Visit, guarded, render
from reconciler.lab.release import style
from reconciler.lab.sessions import Notice, Tone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from reconciler.lab.appliance import LabAppliance

_WRONG = "The username or the password is wrong."
_LOCKED = "This account is locked after 5 wrong passwords in a row. Try again in 10 minutes."
_ENDED = "Your session has ended. Sign in again."
_SIGNED_OUT = "You have signed out."
_MOST_BYTES = 65536


class Entry:
    """The pages that lead in and out."""

    def __init__(self, appliance: LabAppliance) -> None:
        self._appliance = appliance

    async def root(self, _: Request) -> Response:
        """Lead from the bare address to the interface."""
        return RedirectResponse("/appliance", SEE_OTHER)

    async def interface(self, request: Request) -> Response:
        """Lead to the first page for those who are signed in, to the sign-in for others."""
        session = self._appliance.sessions.find(request.cookies.get(COOKIE))
        return RedirectResponse(self._appliance.release.paths["status" if session else "sign_in"], SEE_OTHER)

    async def style(self, _: Request) -> Response:
        """The style sheet."""
        return Response(style(self._appliance.variant), media_type="text/css")

    async def sign_in(self, request: Request) -> Response:
        """The form, and what is sent with it."""
        if request.method != "POST":
            told = _ENDED if "ended" in request.query_params else _SIGNED_OUT if "out" in request.query_params else ""
            return self._form("", told)
        release, sessions = self._appliance.release, self._appliance.sessions
        if int(request.headers.get("content-length", "0")) > _MOST_BYTES:
            return self._form("", _WRONG)
        form = await request.form(max_files=0)
        username, password = (form.get(release.fields[name], "") for name in ("username", "password"))
        session = sessions.sign_in(str(username), str(password))
        if session is None:
            return self._form(str(username), _LOCKED if sessions.is_locked else _WRONG)
        answer = RedirectResponse(release.paths["status"], SEE_OTHER)
        answer.set_cookie(COOKIE, session.key, path="/appliance", secure=True, httponly=True, samesite="strict")
        return answer

    def _form(self, username: str, told: str) -> Response:
        notice = Notice(Tone.REFUSED, told) if told else None
        if told == _SIGNED_OUT:
            notice = Notice(Tone.DONE, told)
        return render(self._appliance, "sign_in.html", username=username, notice=notice, token="", active="")

    async def sign_out(self, request: Request) -> Response:
        """End the session. It does no harm if somebody else's page asks for it, so a link will do."""
        session = self._appliance.sessions.find(request.cookies.get(COOKIE))
        if session is not None:
            self._appliance.sessions.sign_out(session)
        answer = RedirectResponse(f"{self._appliance.release.paths['sign_in']}?out=1", SEE_OTHER)
        answer.delete_cookie(COOKIE, path="/appliance", secure=True, httponly=True, samesite="strict")
        return answer

    @property
    def status(self) -> Callable[[Request], Awaitable[Response]]:
        """Status > Basics."""

        async def basics(visit: Visit) -> Response:
            return visit.page("status.html", "status")

        return guarded(self._appliance, basics)
