"""The /appliance pages of a simulated appliance as a web application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from reconciler.lab.pages.certificates import certificates, request_details
from reconciler.lab.pages.entry import Entry
from reconciler.lab.pages.new import new_certificate
from reconciler.lab.pages.transfer import export_certificate, import_certificate
from reconciler.lab.pages.visit import guarded, render

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from reconciler.lab.appliance import LabAppliance

_GET, _BOTH = ["GET"], ["GET", "POST"]


def application(appliance: LabAppliance) -> ASGIApp:
    """The pages of an appliance."""
    paths, entry = appliance.release.paths, Entry(appliance)
    pages = {
        "certificates": (certificates, _BOTH),
        "new": (new_certificate, _BOTH),
        "import": (import_certificate, _BOTH),
        "export": (export_certificate, _BOTH),
        "request": (request_details, _GET),
    }
    routes = [
        Route("/", entry.root),
        Route("/appliance", entry.interface),
        Route("/appliance/", entry.interface),
        Route(paths["style"], entry.style),
        Route(paths["sign_in"], entry.sign_in, methods=_BOTH),
        Route(paths["sign_out"], entry.sign_out, methods=_BOTH),
        Route(paths["status"], entry.status),
        *(Route(paths[name], guarded(appliance, page), methods=methods) for name, (page, methods) in pages.items()),
    ]

    async def not_found(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        told = {404: "This page does not exist.", 405: "This page does not accept that."}
        text = told.get(status, "What was sent is not understood.")
        return render(appliance, "outside.html", status, notice=None, text=text, token="", active="")

    app = Starlette(routes=routes, exception_handlers={HTTPException: not_found})
    return _Headed(app, inline_styles=appliance.release.traits.inline_styles)


class _Headed:
    """Puts on every reply what keeps it out of caches and other sites' frames, and keeps scripts out of it."""

    def __init__(self, app: ASGIApp, *, inline_styles: bool) -> None:
        self._app = app
        styles = "'self' 'unsafe-inline'" if inline_styles else "'self'"
        policy = f"default-src 'none'; style-src {styles}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and head its reply."""

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        await self._app(scope, receive, headed)
