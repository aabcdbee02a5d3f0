"""A person before an appliance's pages: reads captions, headings and tables, and clicks. Knows no field's name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

import anyio

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Locator, Page

    from reconciler.lab.appliance import LabAppliance

Control: TypeAlias = Literal["textbox", "combobox", "checkbox", "button"]
_REQUEST_DATA = re.compile(r"-----BEGIN CERTIFICATE REQUEST-----\n.+?\n-----END CERTIFICATE REQUEST-----\n?", re.DOTALL)


class Person:
    """Somebody who administers one appliance.

    What a release calls its controls is told by the release, as a person would read it from the page.
    """

    def __init__(self, page: Page, appliance: LabAppliance) -> None:
        self.page = page
        self.appliance = appliance
        self.labels = appliance.release.labels

    def field(self, caption: str, control: Control = "textbox") -> Locator:
        """The control that a caption belongs to: by its label, or else because it stands in the same row.

        Args:
            caption: What is written, as a regular expression; a colon may follow.
            control: What kind of control it is.
        """
        # Playwright writes it between slashes.
        written = re.compile(rf"^(?:{caption}):?$".replace("/", r"\/"))
        # Where tables stand within tables, the innermost row is the last one.
        row = self.page.get_by_role("row").filter(has=self.page.get_by_role("cell", name=written)).last
        return self.page.get_by_label(written).or_(row.get_by_role(control))

    def button(self, name: str) -> Locator:
        """A button, or a link that does as one."""
        named = self.page.get_by_role("button", name=name, exact=True)
        return named.or_(self.page.get_by_role("link", name=name, exact=True))

    async def press(self, name: str) -> None:
        """Click a button. Where several are called so, the first: the one of the certificates."""
        await self.button(name).first.click()

    async def sign_in(self) -> None:
        """Open the interface's own address and sign in."""
        await self.page.goto(f"https://{self.appliance.hostname}/appliance")
        account = self.appliance.account
        await self.field(self.labels["username"]).fill(account.username)
        await self.field(self.labels["password"]).fill(account.password)
        await self.press(self.labels["sign_in"])
        await self.page.get_by_text("Status :: Basics", exact=True).wait_for()

    async def sign_out(self) -> None:
        """Sign out, and see the form again."""
        await self.press(self.labels["sign_out"])
        await self.field(self.labels["username"]).wait_for()

    async def open_certificates(self) -> None:
        """Go to Security > Certificates."""
        await self.page.get_by_role("link", name=re.compile("^security$", re.IGNORECASE)).click()
        await self.page.get_by_text("Security :: Certificate Requests", exact=True).wait_for()

    async def told(self) -> str:
        """What the page says that was done."""
        return await self.page.get_by_role("status").inner_text()

    async def refused(self) -> str:
        """What the page says that was wrong."""
        return await self.page.get_by_role("alert").inner_text()

    async def create_request(self, fields: dict[str, str], names: tuple[str, ...], key: str) -> None:
        """Create > Create Certificate Request."""
        await self.open_certificates()
        await self.press("Create")
        for caption, text in fields.items():
            await self.field(re.escape(caption)).fill(text)
        await self.field("Key", "combobox").select_option(label=key)
        for name in names:
            await self.field("Subject Alternative Names").fill(name)
            await self.press("Add")
            await self.page.get_by_role("main").get_by_text(name, exact=True).wait_for()
        await self.press("Create Certificate Request")

    async def read_request_data(self, subject: str) -> str:
        """Open a pending request, and copy its Request Data."""
        await self.open_certificates()
        await self.page.get_by_role("link", name=subject).click()
        await self.page.get_by_text("Request Data", exact=True).wait_for()
        boxes = [await each.input_value() for each in await self.page.get_by_role("textbox").all()]
        found = _REQUEST_DATA.search("\n".join([await self.page.get_by_role("main").inner_text(), *boxes]))
        assert found
        return found[0]

    async def import_file(self, path: Path, password: str) -> None:
        """Import > Upload, and Import once more where the page asks for it."""
        await self.open_certificates()
        await self.press("Import")
        await self.field("(Certificate )?File", "button").set_input_files(path)
        await self.field("Password").fill(password)
        await self.press("Upload")
        if self.appliance.release.traits.upload_is_confirmed and not await self.page.get_by_role("alert").count():
            await self.press("Import")

    async def set_default(self, friendly_name: str) -> None:
        """Select a certificate's radio button in the Default column, and save."""
        row = await self.row(friendly_name)
        await row.get_by_role("radio").check()
        await self.press(self.labels["save_default"])

    async def choose(self, friendly_name: str, action: str) -> None:
        """Tick a certificate's row and apply an action to it."""
        row = await self.row(friendly_name)
        await row.get_by_role("checkbox").check()
        offering = self.page.get_by_role("option", name=action, exact=True)
        await self.page.get_by_role("combobox").filter(has=offering).first.select_option(label=action)
        await self.press("Apply")

    async def export_without_key(self, friendly_name: str) -> tuple[str, bytes]:
        """Export with Include Private Key cleared: the name of the file that is downloaded, and what it holds."""
        await self.choose(friendly_name, "Export")
        await self.field("Include Private Key", "checkbox").uncheck()
        async with self.page.expect_download() as downloading:
            await self.press("Export")
        download = await downloading.value
        return download.suggested_filename, await anyio.Path(await download.path()).read_bytes()

    def table(self, header: str) -> Locator:
        """The table that has a column of this name; the innermost where tables stand within tables."""
        heading = self.page.get_by_role("columnheader", name=header, exact=True)
        return self.page.get_by_role("table").filter(has=heading).last

    async def row(self, friendly_name: str) -> Locator:
        """A certificate's row, on whichever page of the table it stands."""
        await self.open_certificates()
        while True:
            # A name may have its warnings beneath it.
            names = [row["Friendly Name"].split("\n")[0] for row in await self._rows("Friendly Name")]
            if friendly_name in names:
                return self.table("Friendly Name").get_by_role("row").nth(names.index(friendly_name) + 1)
            assert await self.turn(), f"{friendly_name} is on no page"

    async def turn(self) -> bool:
        """Turn to the next page of the table of certificates, if there is one."""
        following = self.page.get_by_role("link", name="Next", exact=True)
        if not await following.count():
            return False
        shown = await self.table("Friendly Name").inner_text()
        await following.click()
        assert await self.table("Friendly Name").inner_text() != shown
        return True

    async def read_certificates(self) -> list[dict[str, str]]:
        """Every row of the table of certificates, from all of its pages."""
        await self.open_certificates()
        rows = await self._rows("Friendly Name")
        while await self.turn():
            rows += await self._rows("Friendly Name")
        return rows

    async def read_requests(self) -> list[dict[str, str]]:
        """Every row of the table of certificate requests, if there is one."""
        await self.open_certificates()
        return await self._rows("Fingerprint") if await self.table("Fingerprint").count() else []

    async def _rows(self, header: str) -> list[dict[str, str]]:
        """The texts of a table's cells by column. A radio button reads Yes or No."""
        table = self.table(header)
        headers = await table.get_by_role("columnheader").all_inner_texts()
        read = []
        for row in (await table.get_by_role("row").all())[1:]:
            cells = await row.get_by_role("cell").all_inner_texts()
            if len(cells) < len(headers):
                continue  # a sentence in place of rows
            texts = {header: cell.strip() for header, cell in zip(headers, cells, strict=True)}
            if "Default" in texts:
                texts["Default"] = "Yes" if await row.get_by_role("radio").is_checked() else "No"
            read.append(texts)
        return read
