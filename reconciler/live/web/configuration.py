"""The options of the web driver, and its entry point."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from reconciler.base.references import (
    Fingerprint,
    MaterialPath,
    Model,
    SecretReference,
    StoreConfiguration,
    refused,
    told_pattern,
)
from reconciler.live.driver import DriverType
from reconciler.pki.names import normalize_dns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable

    from reconciler.live.driver import Check, Driver, OpenContext

_WHERE = "write the address of the interface, like https://east-1.example.com/appliance"


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise refused("this is not a web address", _WHERE) from error
    if parts.scheme != "https" or not host:
        raise refused("this is not an https address", _WHERE)
    if parts.username or parts.password or parts.query or parts.fragment or re.search(r"[\s\x00-\x1f\\]", value):
        raise refused("an interface's address has only host, port and path", _WHERE)
    if ":" not in host:
        try:
            host = normalize_dns(host)
        except ValueError:
            if not re.fullmatch(r"[0-9.]+", host):
                raise refused("its host is no host name", _WHERE) from None
    shown = f"[{host}]" if ":" in host else host
    return f"https://{shown}{f':{port}' if port and port != _HTTPS else ''}{parts.path.rstrip('/') or '/appliance'}"


_HTTPS = 443


class Trust(Model):
    """Which certificates the interface may present; either suffices."""

    sha256: tuple[Fingerprint, ...] = ()
    """SHA-256 fingerprints of certificates."""
    ca: MaterialPath | None = None
    """A committed root: certificates that it has issued for the interface's host name are trusted."""


class WebConfiguration(StoreConfiguration):
    """The /appliance web interface of an appliance."""

    driver: Literal["web"]
    """Which driver: `web`."""
    url: Annotated[
        str,
        AfterValidator(_url),
        Field(
            examples=["https://east-1.example.com/appliance"],
            json_schema_extra=told_pattern(r"^https://[^\s/?#@\\]+(?:/[^\s?#\\]*)?$", "Write an https address."),
        ),
    ]
    """Address of the interface."""
    username: SecretReference
    """Where the user name is found."""
    password: SecretReference
    """Where the password is found."""
    trust: Trust = Trust()
    """Which certificates the interface may present, besides the committed ones that are declared for the appliance."""

    @property
    def place(self) -> str:
        """`web`, and the address of the interface."""
        return f"{self.driver} {self.url}"

    def located(self, root: str, resolve: Callable[[str], Hashable]) -> Hashable:  # noqa: ARG002 - it is no path
        """The address of the interface, whoever signs in."""
        return self.driver, self.url


@asynccontextmanager
async def _open(configuration: StoreConfiguration, context: OpenContext) -> AsyncIterator[Driver]:
    from reconciler.live.web.opening import open_driver  # noqa: PLC0415 - the HTTP client is heavy

    assert isinstance(configuration, WebConfiguration)  # noqa: S101 - what the entry point pairs it with
    async with open_driver(configuration, context) as driver:
        yield driver


async def _examine(configuration: StoreConfiguration, context: OpenContext) -> tuple[Check, ...]:
    from reconciler.live.web.examine import examine  # noqa: PLC0415 - the HTTP client is heavy

    assert isinstance(configuration, WebConfiguration)  # noqa: S101 - what the entry point pairs it with
    return await examine(configuration, context)


async def _picture(configuration: StoreConfiguration, context: OpenContext) -> bytes:
    from reconciler.live.web.screenshot import take_picture  # noqa: PLC0415 - the HTTP client is heavy

    assert isinstance(configuration, WebConfiguration)  # noqa: S101 - what the entry point pairs it with
    return await take_picture(configuration, context)


DRIVER = DriverType(WebConfiguration, _open, endpoint="hostname", examine=_examine, picture=_picture)
"""The entry point `web` of the group `reconciler.drivers`."""
