"""What answers may be anything: it costs bounded time and memory, ends in one readable sentence, and learns nothing."""

from __future__ import annotations

import gzip
import resource
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.live.web import listing
from reconciler.live.web.opening import open_driver
from tests.live.web.interface import HOST, configuration
from tests.live.web.playing import SHORT, Player, failure, opening, playing, reply
from tests.support.authority import Issued, self_signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

SIGN_IN = (
    b"<title>BeyondTrust</title><form method=post action='%s'>Username <input name=u>"
    b"Password <input type=password name=p><button>Sign In</button></form>"
)
MARGIN = 6.0
MEGABYTES = 250


@pytest.fixture(scope="module")
def issued() -> Issued:
    return self_signed([HOST])


def _drip(_request: bytes) -> Iterator[bytes]:
    yield reply(b"", "Content-Length: 1000")
    for _ in range(40):
        time.sleep(0.2)
        yield b"x"


def _endless(part: bytes, first: bytes = b"") -> Iterable[bytes]:
    yield first
    for _ in range(2000):
        yield part


def _bodies() -> dict[str, bytes]:
    header = b"".join(b"<th>" + each.encode() for each in ("Friendly Name", "Issued To", "Issued By", "Expiration"))
    return {
        "entity bomb": b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>"
        + b"".join(b"<!ENTITY %c '%s'>" % (99 + n, b"&%c;" % (98 + n) * 10) for n in range(9))
        + b"]><p>&k;</p>",
        "external entity": b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><title>&a;</title><p>&a;</p>",
        "nested": b"<div>" * 200_000,
        "attributes": b"<p " + b" ".join(b"a%d=1" % n for n in range(800_000)) + b">",
        "one text": b"<p>" + b"x" * (5 << 20),
        "rows": b"<h2>Security :: Certificates</h2><table><tr>" + header + b"<tr><td>a<td>b" * 100_000,
        "scripts": b"<table>" + b"<tr><td><script>alert(1)</script>" * 5_000,
        "nothing": b"",
        "NUL": b"\0" * 100_000 + b"<p>\x1b[2J\x1b]0;owned\x07 \xe2\x80\xae reversed \xc2\x9b31m</p>",
        "title": b"<title>\x1b[2J\xe2\x80\xae" + b"long " * 100_000 + b"</title>",
        "binary": bytes(range(256)) * 1000,
    }


BODIES = _bodies()
REPLIES: dict[str, tuple[list[bytes], str]] = {
    "large": (list(_endless(b"x" * (1 << 16), reply(b"", "Content-Length: 104857600"))), "more than 8388608 bytes"),
    "chunks": (
        list(_endless(b"10000\r\n" + b"x" * (1 << 16) + b"\r\n", reply(b"", "Transfer-Encoding: chunked"))),
        "more than 8388608 bytes",
    ),
    "compressed": ([reply(gzip.compress(b"x" * (50 << 20)), "Content-Encoding: gzip")], "compressed reply unasked"),
    "loop": ([reply(b"", "Location: /appliance", status="302 Found")], "from page to page without end"),
    "other host": ([reply(b"", "Location: https://other.example.com/", status="302 Found")], "another server"),
    "other port": ([reply(b"", f"Location: https://{HOST}:444/", status="303 See Other")], "another server"),
    "http": ([reply(b"", f"Location: http://{HOST}/appliance", status="301 Moved")], "another server"),
    "file": ([reply(b"", "Location: file:///etc/passwd", status="302 Found")], "another server"),
    "no address": ([reply(b"", "Location: http://[", status="302 Found")], "another server"),
    "long address": ([reply(b"", "Location: /" + "x" * 70_000, status="302 Found")], ""),
    "nowhere": ([reply(b"<title>Gone</title>", status="302 Found")], ""),
    "too short": ([reply(b"<p>short", "Content-Length: 1000")], "broke the connection off"),
    "no length": ([reply(b"<p>x", "Content-Length: many")], "broke the connection off"),
    "two lengths": ([reply(b"<p>x", "Content-Length: 4", "Content-Length: 400")], "broke the connection off"),
    "headers": ([reply(b"", *[f"X-{n}: {'x' * 1000}" for n in range(2000)])], "broke the connection off"),
    "one header": ([reply(b"", "X: " + "x" * (2 << 20))], "broke the connection off"),
    "cookies": ([reply(b"<p>hello", *[f"Set-Cookie: c{n}=\x01{'x' * 100}" for n in range(300)])], ""),
    "no HTTP": ([b"220 mail.example.com ESMTP \x1b[2J\r\n"], "broke the connection off"),
    "escapes in headers": ([b"HTTP/1.1 200 \x1b[2J\r\nX: \x1b]0;owned\x07\r\n\r\n<p>x"], ""),
    "nothing": ([], "broke the connection off"),
}


async def bounded(player: Player, issued: Issued, capture: Path | None = None) -> str:
    """The sentence with which it ends, once it is seen that it ends as it should."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with playing(player) as address:
        error = await failure(address, issued, capture=capture)
        took = time.monotonic() - begun
    assert took < SHORT.attempts * SHORT.patience + MARGIN
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES << 10
    assert error.remedy
    assert str(error).isprintable()
    assert len(str(error)) < 2500
    return str(error)


def kept(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in folder.rglob("*.*"))


@pytest.mark.parametrize("name", BODIES)
async def test_pages_that_are_none(name: str, issued: Issued, tmp_path: Path) -> None:
    player = Player(issued, lambda _: [reply(BODIES[name])])
    said = await bounded(player, issued, capture=tmp_path)
    assert "not recognised" in said or "larger or deeper than any" in said
    assert "root:" not in said
    assert len(player.requests) == 1
    assert b"\x1b" not in kept(tmp_path)


@pytest.mark.parametrize("name", REPLIES)
async def test_replies_that_are_none(name: str, issued: Issued) -> None:
    parts, says = REPLIES[name]
    player = Player(issued, lambda _: parts)
    assert says in await bounded(player, issued)
    assert all(each.startswith(b"GET /") for each in player.requests)


async def test_one_byte_after_the_other(issued: Issued) -> None:
    assert "did not answer within 1.5 seconds" in await bounded(Player(issued, _drip), issued)


@pytest.mark.parametrize("charset", ["punycode", "idna", "zip", "undefined", "\x01", "x" * 10_000])
async def test_odd_charsets(charset: str, issued: Issued) -> None:
    player = Player(issued, lambda _: [reply(b"caf\xe9 " * 100_000, kind=f"text/html; charset={charset}")])
    await bounded(player, issued)


@pytest.mark.parametrize(
    "page",
    [
        SIGN_IN % b"https://other.example.com/login",
        SIGN_IN % b"http://east-1.example.com/login",
        SIGN_IN % b"//other.example.com/login",
        b"<base href='https://other.example.com/'>" + SIGN_IN % b"login",
        SIGN_IN.replace(b"<button", b"<button formaction='https://other.example.com/'") % b"/login",
        SIGN_IN % b"javascript:alert(1)",
        SIGN_IN % b"http://[",
    ],
)
async def test_the_password_goes_nowhere_else(page: bytes, issued: Issued) -> None:
    player = Player(issued, lambda _: [reply(page)])
    assert "leads to another server, which is not followed" in await bounded(player, issued)
    assert [each.split(b" ", 1)[0] for each in player.requests] == [b"GET"]
    assert not any(b"simulated" in each for each in player.requests)


async def test_a_form_that_would_put_the_password_into_an_address_is_not_sent(issued: Issued) -> None:
    player = Player(issued, lambda _: [reply(SIGN_IN.replace(b"method=post", b"method=get") % b"/login")])
    await bounded(player, issued)
    assert not any(b"simulated" in each for each in player.requests)


async def test_the_password_is_sent_once_to_what_always_asks_for_it(issued: Issued) -> None:
    player = Player(issued, lambda _: [reply(SIGN_IN % b"/login")])
    assert "signing in is refused" in await bounded(player, issued)
    assert sum(b"simulated" in each for each in player.requests) == 1


CERTIFICATES = (
    b"<title>BeyondTrust</title><h2>Security :: Certificates</h2><form method=post><table><tr><th>Friendly Name"
    b"<th>Issued To<th>Issued By<th>Expiration<th>Alternative Name(s)<th>Private Key?<th>Default%s</table>"
)


def endless(request: bytes) -> list[bytes]:
    """A page of two hundred rows that leads to another one."""
    number = len(request.split(b" ", 2)[1])
    row = b"<tr><td>%d<td>b<td>c<td>d<td>e<td>No<td>" % number
    return [reply(CERTIFICATES % (row * 200) + b"<a href='/appliance%s'>Next</a>" % (b"x" * number))]


async def test_tables_that_list_more_than_an_appliance_holds(issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_MOST_ITEMS", 5_000)
    player = Player(issued, endless)
    with playing(player) as address:
        error = await failure(address, issued)
    assert "lists more than any appliance holds" in str(error)
    assert len(player.requests) < 10


async def test_tables_without_end(issued: Issued) -> None:
    player = Player(issued, endless)
    begun = time.monotonic()
    with playing(player) as address:
        error = await failure(address, issued)
    assert "has more than 20 pages" in str(error)
    assert len(player.requests) == 20
    assert time.monotonic() - begun < 30


async def test_a_next_page_that_leads_back_is_not_followed_for_ever(issued: Issued) -> None:
    player = Player(issued, lambda _: [reply(CERTIFICATES % b"" + b"<a href=/appliance>Next</a>")])
    trust = configuration().trust.model_copy(update={"sha256": (issued.certificate.fingerprint,)})
    with playing(player) as address:
        async with open_driver(configuration(trust=trust), opening(address), SHORT) as driver:
            assert (await driver.observe()).certificates == ()
