"""What every page needs: who asks, what was sent, and how an answer is rendered."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from reconciler.base.errors import ReconcilerError, StoreError
from reconciler.lab.release import environment
from reconciler.lab.sessions import Notice, Tone
from reconciler.lab.views import Naming, instant
from reconciler.pki.reading import LARGEST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from reconciler.lab.appliance import LabAppliance
    from reconciler.lab.sessions import Session
    from reconciler.live.store import LiveStore

    Page: TypeAlias = Callable[["Visit"], Awaitable[Response]]

COOKIE = "appliance_session"
SEE_OTHER = 303
_FORBIDDEN = 403
_MOST_FIELDS = 2000


@dataclass
class Visit:
    """One request of somebody who is signed in.

    Attributes:
        appliance: What is visited.
        request: What was sent.
        session: By whom.
        form: The fields of a form, empty for a page that is only looked at.
    """

    appliance: LabAppliance
    request: Request
    session: Session
    form: FormData = field(default_factory=FormData)

    def sent(self, name: str) -> bool:
        """Whether a field or button of this name was sent, by its name in the guide's variant."""
        return self.appliance.release.fields[name] in self.form

    def text(self, name: str) -> str:
        """What was typed or chosen, without space around it."""
        value = self.form.get(self.appliance.release.fields[name], "")
        return value.strip() if isinstance(value, str) else ""

    def texts(self, name: str) -> list[str]:
        """What was chosen where several may be."""
        return [each for each in self.form.getlist(self.appliance.release.fields[name]) if isinstance(each, str)]

    def secret(self, name: str) -> bytes | None:
        """A password as it was typed, or None where it was left empty."""
        value = self.form.get(self.appliance.release.fields[name])
        return value.encode("utf-8", "replace") if isinstance(value, str) and value else None

    async def file(self, name: str) -> bytes:
        """The content of an uploaded file, empty where none was chosen."""
        value = self.form.get(self.appliance.release.fields[name])
        return await value.read() if isinstance(value, UploadFile) else b""

    def asked(self, name: str) -> str:
        """A part of the query."""
        return self.request.query_params.get(self.appliance.release.fields[name], "")

    @property
    def naming(self) -> Naming:
        """How controls name objects for this session."""
        account = self.appliance.account
        return Naming(self.appliance.release.traits.handles, account.password.encode(), self.session)

    async def live(self) -> LiveStore:
        """What the store holds now, once what the appliance renews by itself has been renewed."""
        if self.appliance.release.traits.lets_encrypt:
            await self.appliance.call(self.appliance.lets_encrypt.renew)
        return await self.appliance.call(self.appliance.store.observe)

    def page(self, template: str, active: str, *, refusal: str = "", status: int = 200, **shown: Any) -> Response:  # noqa: ANN401 - whatever the template asks for
        """A page; what was noted for it is said on it."""
        notice = Notice(Tone.REFUSED, refusal) if refusal else self.session.notice
        self.session.notice = None
        return render(self.appliance, template, status, active=active, notice=notice, token=self.session.token, **shown)

    def leave_for(self, page: str, *, done: str = "", refused: str = "", query: str = "") -> Response:
        """Send the browser to another page, which says what happened."""
        if done or refused:
            self.session.notice = Notice(Tone.REFUSED if refused else Tone.DONE, refused or done)
        return RedirectResponse(f"{self.appliance.release.paths[page]}{query}", SEE_OTHER)


def render(appliance: LabAppliance, template: str, status: int = 200, **shown: Any) -> Response:  # noqa: ANN401 - see `Visit.page`
    """A page as HTML. Lone surrogates, which no encoding knows, are replaced."""
    text = (
        environment(appliance.variant)
        .get_template(template)
        .render(appliance=appliance, now=instant(appliance.clock()), **shown)
    )
    return HTMLResponse(text.encode("utf-8", "replace"), status)


def guarded(appliance: LabAppliance, page: Page) -> Callable[[Request], Awaitable[Response]]:
    """A page that only those see who are signed in, and a form that only counts when it was handed out to them."""

    @functools.wraps(page)
    async def answer(request: Request) -> Response:
        session = appliance.sessions.find(request.cookies.get(COOKIE))
        if session is None:
            ended = "?ended=1" if COOKIE in request.cookies else ""
            return RedirectResponse(f"{appliance.release.paths['sign_in']}{ended}", SEE_OTHER)
        visit = Visit(appliance, request, session)
        try:
            if request.method == "POST":
                visit.form = await _form(request)
                if not session.is_genuine(visit.form.get(appliance.release.fields["token"])):
                    told = "This form is no longer valid. Open the page again and repeat what you did."
                    return visit.page("message.html", "", refusal=told, status=_FORBIDDEN, heading="Not accepted")
            return await page(visit)
        except StoreError as error:
            return visit.page("message.html", "", refusal=sentences(error), status=500, heading="Not possible")
        finally:
            await visit.form.close()

    return answer


async def _form(request: Request) -> FormData:
    try:
        return await request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=LARGEST)
    except HTTPException:
        # The parser's own words speak of its limits; an empty form is refused by its missing token.
        return FormData()


def sentences(error: ReconcilerError) -> str:
    """An error as sentences for a page."""
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in (error.message, error.remedy) if text)
