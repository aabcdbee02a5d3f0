from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from anyio import to_thread

from reconciler.base.errors import StoreUnreachable
from reconciler.lab.release import variants
from reconciler.live.driver import Upload
from reconciler.live.web.capture import Capture, redact
from reconciler.live.web.configuration import DRIVER
from reconciler.live.web.finding import NotUnderstood
from reconciler.live.web.html import read_page
from reconciler.live.web.installation import read_create, read_export, read_import, read_request_data
from reconciler.live.web.pages import read_certificates, read_sign_in
from tests.live.contract import form
from tests.live.web.interface import HOST, configuration, context, lab, trusted
from tests.support.authority import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from reconciler.live.driver import Check
    from reconciler.live.web.page import Page

URL = f"https://{HOST}/appliance"
READERS: Mapping[str, Callable[[Page], object]] = {
    "sign-in": read_sign_in,
    "certificates": read_certificates,
    "create": read_create,
    "import": read_import,
    "export": read_export,
    "request": read_request_data,
}


def redacted(markup: str, *private: str) -> str:
    return redact(markup.encode(), "utf-8", private).decode()


@pytest.mark.parametrize(
    "secret",
    [
        "admin@example.com",
        "access.example.com",
        "*.example.com",
        "192.0.2.17",
        "2001:db8::17",
        "9f:86:d0:81:88:4c:7d:65:9a:2f:ea:a0:c5:5a:d0:15",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "kJ8s0fLq2Vb7Zt4Xy1Wc9Rm3Np6Hd5Gu",
        "jane",
        "JANE",
    ],
)
def test_data_is_lost_wherever_it_stands(secret: str) -> None:
    kept = redacted(
        f"<title>{secret}</title><body class='{secret}'><h1>Security {secret}</h1><p id='{secret}' data-x='{secret}'>"
        f"<a href='/x/{secret}?y={secret}' title='{secret}'>{secret}</a><img alt='{secret}' src='{secret}'>"
        f"<form action='{secret}'><input type=hidden name='{secret}' value='{secret}'><input value='{secret}'>"
        f"<button value='{secret}'>{secret}</button><textarea>{secret}</textarea><select><option value='{secret}'>"
        f"{secret}</select></form><table><tr><td>{secret}</table><!-- {secret} --><script>{secret}</script>",
        "jane",
    )
    assert secret.casefold() not in kept.casefold()


def test_words_stay_and_what_tables_list_goes() -> None:
    kept = redacted(
        "<h2>Security :: Certificates</h2><label for=f>Certificate Friendly Name</label><input id=f name=friendly>"
        "<table><tr><th>Friendly Name<th>Private Key?<tr><td>Acme vault<br>1 Warning(s)<td>Yes</table>"
        "<table><tr><td>Country<td><input name=c></table><select><option>-- Select Action --</select>"
        "<button>Create Certificate Request</button>"
    )
    seen = list(read_page(kept.encode(), URL).lines())
    assert seen == [
        "Security :: Certificates",
        "Certificate Friendly Name",
        "Friendly Name",
        "Private Key?",
        "Xxxx xxxxx".lower(),
        "1 Warning(s)",
        "Yes",
        "Country",
    ]
    assert "-- Select Action --" in kept
    assert "Create Certificate Request" in kept
    assert 'for="f"' in kept


def test_what_refers_to_each_other_still_does() -> None:
    first, second = "a" * 20 + ".example.com", "b" * 20 + ".example.com"
    markup = "".join(
        f"<label for='{each}'>{number}</label><input id='{each}'>" for number, each in enumerate((first, second))
    )
    controls = read_page(redacted(markup).encode(), URL).controls()
    assert [each.labels for each in controls] == [("0",), ("1",)]


@pytest.mark.parametrize("markup", ["", "<!-- -->", "\x1b[2J<p>&#1;\x0c\x1c</p>", "<td>\x02</td>", "<p title='\x03'>"])
def test_odd_pages_can_be_kept(markup: str) -> None:
    assert not any(each < 32 and each not in b"\t\n\r" for each in redact(markup.encode(), "utf-8"))


def keep(folder: Path, *pages: str) -> None:
    capture = Capture(folder, ())
    for each in pages:
        capture.keep(read_page(each.encode(), URL), each.encode(), "utf-8")


def test_file_names_say_nothing_but_the_interface_s_own_words(tmp_path: Path) -> None:
    keep(tmp_path, "<title>Acme vault: Security > Certificates</title>", "<title>Jane</title>", "<title>Jane</title>")
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == ["01-security-certificates.html", "02-page.html", "capture.json"]
    assert json.loads((tmp_path / "capture.json").read_text())["pages"] == names[:2]


def test_no_more_than_many_pages_are_kept(tmp_path: Path) -> None:
    keep(tmp_path, *(f"<p>{'word ' * number}" for number in range(510)))
    assert len(list(tmp_path.glob("*.html"))) == 500


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnreachable, match="nothing can be kept in") as caught:
        keep(tmp_path / "file", "<p>")
    assert "--capture" in caught.value.remedy


def recognised(page: Page) -> set[str]:
    """What a page is taken for."""
    found = set()
    for name, read in READERS.items():
        try:
            read(page)
        except NotUnderstood:
            continue
        found.add(name)
    return found


def rows(page: Page) -> list[object]:
    try:
        found = read_certificates(page)
    except NotUnderstood:
        return []
    return [(row.has_key, row.is_default, row.managed, bool(found.actions_of(row))) for row in found.rows]


def kept_pages(folder: Path) -> list[Page]:
    return [read_page(each.read_bytes(), URL) for each in sorted(folder.rglob("*.html"))]


def kept_bytes(folder: Path) -> bytes:
    return b"".join(os.fsencode(each) + each.read_bytes() for each in folder.rglob("*.*"))


@pytest.mark.anyio
@pytest.mark.parametrize("variant", variants())
async def test_pages_that_are_kept_are_understood_as_the_real_ones_are(variant: str, tmp_path: Path) -> None:
    authority = Authority.root("Acme Private Root")
    issued = authority.issue(["vault.acme.example"], common_name="Acme vault")
    async with lab(tmp_path, variant) as appliance:
        await appliance.call(appliance.store.import_, Upload(issued.pkcs12(b"p"), b"p", "Acme friendly"))
        await appliance.call(appliance.store.create_request, form())
        seen = context(appliance, tmp_path, capture=tmp_path / "pages")
        assert DRIVER.examine
        checks: tuple[Check, ...] = await DRIVER.examine(configuration(trust=await trusted(appliance)), seen)
        assert [each.subject for each in checks if each.outcome == "failed"] == []
        fingerprints = [each.fingerprint for each in appliance.store.observe().certificates]
    pages = await to_thread.run_sync(kept_pages, tmp_path / "pages")
    assert set().union(*map(recognised, pages)) == set(READERS)
    assert (True, True, False, True) in [row for page in pages for row in rows(page)]
    kept = (await to_thread.run_sync(kept_bytes, tmp_path / "pages" / "east-1")).replace(str(tmp_path).encode(), b"")
    for secret in (b"Acme", b"acme", HOST.encode()):
        assert secret not in kept
    for each in fingerprints:
        assert each.encode() not in kept
        assert ":".join(each[at : at + 2] for at in range(0, 64, 2)).upper().encode() not in kept.upper()
