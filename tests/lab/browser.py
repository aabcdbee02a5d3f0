"""Somebody at a simulated appliance: signs in, reads pages, sends forms. Fields go by their names in `guide`."""

from __future__ import annotations

import datetime as dt
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from lxml import html

from reconciler.lab.appliance import LabAppliance
from reconciler.lab.server import serve
from reconciler.live.driver import Upload
from tests.support.authority import NOW, Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.support.authority import Issued


@dataclass
class Clock:
    """A clock that tests set."""

    now: dt.datetime = NOW

    def __call__(self) -> dt.datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += dt.timedelta(**duration)


def make_appliance(folder: Path, clock: Clock, variant: str, **options: str) -> LabAppliance:
    appliance = LabAppliance("east-1", folder / "east-1", clock=clock, variant=variant, **options)  # type: ignore[arg-type]
    assert appliance.make_store()
    return appliance


def install(
    appliance: LabAppliance, *names: str, friendly_name: str = "", authority: Authority | None = None
) -> Issued:
    """A certificate with its key and its chain, as if it had been imported."""
    issued = (authority or Authority.root()).issue(list(names))
    content = issued.pkcs12(b"x", chain=issued.chain, friendly_name=friendly_name or names[0])
    appliance.store.import_(Upload(content, b"x"))
    return issued


def client(appliance: LabAppliance) -> httpx.AsyncClient:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return httpx.AsyncClient(
        verify=context, base_url=f"https://127.0.0.1:{appliance.port}", follow_redirects=True, trust_env=False
    )


class Browser:
    """One browser."""

    def __init__(self, appliance: LabAppliance, http: httpx.AsyncClient) -> None:
        self.appliance = appliance
        self.http = http

    @property
    def paths(self) -> dict[str, str]:
        return self.appliance.release.paths

    def name(self, field: str) -> str:
        return self.appliance.release.fields[field]

    async def sign_in(self, password: str = "simulated") -> Page:  # noqa: S107 - of the lab
        fields = {self.name("username"): "admin", self.name("password"): password}
        return Page(await self.http.post(self.paths["sign_in"], data=fields))

    async def open(self, page: str, query: str = "") -> Page:
        return Page(await self.http.get(self.paths[page] + query))

    async def send(self, page: str, **fields: str | list[str]) -> Page:
        """Send a form with the session's token."""
        return await self._send(page, fields, None)

    async def _send(self, page: str, fields: Mapping[str, str | list[str]], file: bytes | None) -> Page:
        data = {self.name(name): value for name, value in fields.items()}
        seen = await self.http.get(self.paths["new"])
        found = html.fromstring(seen.text).xpath("//input[@name=$name]/@value", name=self.name("token"))
        data[self.name("token")] = found[0]
        files = None if file is None else {self.name("file"): ("upload", file)}
        return Page(await self.http.post(self.paths[page], data=data, files=files))

    async def upload(self, content: bytes, password: str = "") -> Page:
        """Import a file in as many steps as the release takes."""
        page = await self._send("import", {"passphrase": password, "upload": "1"}, content)
        if self.appliance.release.traits.upload_is_confirmed and not page.refusal:
            return await self.send("import", confirm="1")
        return page

    async def rows(self) -> dict[str, str]:
        """Handles of all certificates by friendly name, from every page of the tables."""
        found: dict[str, str] = {}
        number = 1
        while True:
            page = await self.open("certificates", f"?{self.name('page')}={number}")
            for row in page.tree.xpath("//input[@name=$name]/ancestor::tr[1][not(@hidden)]", name=self.name("row")):
                texts = [each.strip() for each in row.itertext() if each.strip()]
                handle = row.xpath(".//input[@name=$name]/@value", name=self.name("row"))[0]
                found[next(each for each in texts if not each.isdecimal())] = handle
            following = page.tree.xpath("//a[text()='Next']/@href")
            if not any(f"?{self.name('page')}=" in each for each in following):
                return found
            number += 1


class Page:
    """An answer."""

    def __init__(self, reply: httpx.Response) -> None:
        self.reply = reply

    @property
    def tree(self) -> html.HtmlElement:
        return html.fromstring(self.reply.text)

    @property
    def text(self) -> str:
        """Everything on it, without markup and without what is hidden."""
        tree = self.tree
        for each in tree.xpath("//*[@hidden or contains(@style,'display:none')] | //script | //style"):
            each.drop_tree()
        return " ".join(tree.text_content().split())

    @property
    def refusal(self) -> str:
        return " ".join(" ".join(each.text_content().split()) for each in self.tree.xpath("//*[@role='alert']"))

    @property
    def notice(self) -> str:
        return " ".join(" ".join(each.text_content().split()) for each in self.tree.xpath("//*[@role='status']"))


@asynccontextmanager
async def visiting(appliance: LabAppliance) -> AsyncIterator[Browser]:
    """The appliance on the network, and somebody who is signed in to it."""
    async with serve(appliance), client(appliance) as http:
        browser = Browser(appliance, http)
        await browser.sign_in()
        yield browser
