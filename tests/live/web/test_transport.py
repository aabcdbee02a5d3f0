"""Whom we talk to: real TLS servers, and what they see of us."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from reconciler.base.clock import system_clock
from reconciler.base.errors import StoreError, StoreUnreachable, StoreUntrusted
from reconciler.live.network import Network
from reconciler.live.web import Trust
from reconciler.live.web.opening import open_driver
from reconciler.live.web.transport import InterfaceTransport, causes
from reconciler.live.web.trouble import lost
from reconciler.live.web.trust import Pins, Untrusted
from tests.live.web.interface import HOST, PASSWORD, USERNAME, configuration
from tests.live.web.playing import SHORT, Player, opening, playing, reply
from tests.support.authority import DAY, NOW, Authority, Issued, self_signed
from tests.support.presenting import Presenter, refusing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.live.driver import OpenContext

pytestmark = pytest.mark.anyio
ROOT = "certificates/root.pem"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.root("Example Root")


def valid_now(authority: Authority, *names: str) -> Issued:
    """A certificate that is valid by the real clock: OpenSSL judges a chain by it."""
    now = system_clock()
    return authority.issue(names, not_before=now - DAY, not_after=now + DAY)


async def failing(context: OpenContext, trust: Trust | None = None) -> StoreError:
    with pytest.raises(StoreError) as caught:
        async with open_driver(configuration(trust=trust), context, SHORT) as driver:
            await driver.observe()
    return caught.value


def reading(content: bytes) -> Callable[[str], bytes]:
    return lambda path: {ROOT: content}[path]


def pinned(*issued: Issued) -> Trust:
    return Trust(sha256=tuple(each.certificate.fingerprint for each in issued))


async def test_what_is_not_trusted_is_sent_nothing() -> None:
    presenter = Presenter(self_signed([HOST], common_name="Someone \x1b[2J else"))
    with playing(presenter) as address:
        error = await failing(opening(address), pinned(self_signed([HOST])))
    assert isinstance(error, StoreUntrusted)
    assert presenter.received == b""
    assert presenter.asked == [HOST]
    assert error.message.isprintable()
    assert "Someone" in error.message
    assert presenter.context is not None
    assert error.remedy


async def test_nobody_is_trusted_by_default() -> None:
    presenter = Presenter(self_signed([HOST]))
    with playing(presenter) as address:
        assert isinstance(await failing(opening(address)), StoreUntrusted)
    assert presenter.received == b""


@pytest.mark.parametrize("days", [(-400, -10), (10, 400)], ids=["expired", "not yet valid"])
async def test_what_is_pinned_may_be_expired_and_carry_another_name(days: tuple[int, int]) -> None:
    issued = self_signed(["other.example.com"], not_before=NOW + days[0] * DAY, not_after=NOW + days[1] * DAY)
    player = Player(issued, lambda _: [reply(b"<p>hello")])
    with playing(player) as address:
        error = await failing(opening(address), pinned(issued))
    assert "hello" in error.message
    (request,) = player.requests
    assert request.startswith(b"GET /appliance HTTP/1.1\r\nHost: east-1.example.com\r\n")
    assert b"accept-encoding: identity" in request.lower()


async def test_committed_and_remembered_certificates_are_trusted_and_retired_ones_are_not(tmp_path: Path) -> None:
    issued = self_signed([HOST])
    fingerprint = issued.certificate.fingerprint
    player = Player(issued, lambda _: [reply(b"<p>hello")])
    with playing(player) as address:
        context = opening(address)
        declared = replace(context, declared=frozenset({fingerprint}))
        assert "hello" in (await failing(declared)).message
        retired = replace(declared, retired=frozenset({fingerprint}))
        assert isinstance(await failing(retired), StoreUntrusted)
        known = tmp_path / "known-appliances"
        known.write_text(f"{HOST}:443 {fingerprint}\n")
        remembering = replace(context, network=replace(context.network, known_appliances=known))
        assert "hello" in (await failing(remembering)).message
        known.write_text(f"{HOST}:8443 {fingerprint}\n")
        assert isinstance(await failing(remembering), StoreUntrusted)


async def test_a_root_is_trusted_for_the_right_name_only(authority: Authority) -> None:
    trust = Trust(ca=ROOT)
    root = authority.certificate.der
    for names, trusted in (([HOST], True), (["*.example.com"], True), (["west-1.example.com"], False), ([], False)):
        player = Player(valid_now(authority, *names), lambda _: [reply(b"<p>hello")])
        with playing(player) as address:
            error = await failing(replace(opening(address), read=reading(root)), trust)
        assert isinstance(error, StoreUntrusted) is not trusted
        assert bool(player.requests) is trusted


async def test_what_another_root_has_issued_or_has_expired_is_not_trusted(authority: Authority) -> None:
    expired = authority.issue([HOST], not_before=NOW - 400 * DAY, not_after=NOW - 10 * DAY)
    for issued in (valid_now(Authority.root("Example Root"), HOST), expired):
        presenter = Presenter(issued)
        with playing(presenter) as address:
            context = replace(opening(address), read=reading(authority.certificate.der))
            assert isinstance(await failing(context, Trust(ca=ROOT)), StoreUntrusted)
        assert presenter.received == b""


async def test_a_pin_suffices_where_the_root_does_not(authority: Authority) -> None:
    issued = self_signed([HOST])
    trust = Trust(ca=ROOT, sha256=pinned(issued).sha256)
    with playing(Player(issued, lambda _: [reply(b"<p>hello")])) as address:
        error = await failing(replace(opening(address), read=reading(authority.certificate.der)), trust)
    assert "hello" in error.message


async def test_a_file_of_several_roots_is_refused(authority: Authority) -> None:
    content = b"".join(each.issue([HOST]).pem() for each in (authority, authority))
    error = await failing(replace(opening("127.0.0.1:1"), read=reading(content)), Trust(ca=ROOT))
    assert error.message == f"{ROOT} is not one certificate"


async def test_a_certificate_that_changes_under_way_is_sent_nothing() -> None:
    first, second = self_signed([HOST]), Presenter(self_signed([HOST]))
    player = Player(first, lambda _: [reply(b"", "Location: /appliance/login", status="302 Found")])
    served = []

    def changing(connection: object) -> None:
        served.append(connection)
        (player if len(served) == 1 else second)(connection)  # type: ignore[arg-type]

    with playing(changing) as address:
        assert isinstance(await failing(opening(address), pinned(first)), StoreUntrusted)
    assert len(player.requests) == 1
    assert second.received == b""


async def test_what_presents_nonsense_is_not_trusted() -> None:
    message, remedy = lost(Untrusted(b"nonsense"), "h:1", 1).args[0], lost(Untrusted(b"nonsense"), "h:1", 1).remedy
    assert message == "h:1 presents a certificate that cannot be understood"
    assert remedy


async def test_a_host_that_nobody_allows_is_refused_before_a_secret_is_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(USERNAME)
    monkeypatch.delenv(PASSWORD)
    presenter = Presenter(self_signed([HOST]))
    with playing(presenter) as address:
        network = Network(frozenset({"west-1.example.com:443"}), {f"{HOST}:443": address})
        error = await failing(replace(opening(address), network=network))
    assert "not among those that may be contacted" in error.message
    assert presenter.asked == []


async def test_a_page_that_is_none_is_refused_before_a_secret_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(USERNAME)
    monkeypatch.delenv(PASSWORD)
    issued = self_signed([HOST])
    page = b"<title>Printer</title><form method=post>User <input>Password <input type=password><button>Login</button>"
    with playing(Player(issued, lambda _: [reply(page)])) as address:
        error = await failing(opening(address), pinned(issued))
    assert "looked for 'BeyondTrust' or 'Bomgar' on the sign-in page, saw 'Printer'" in error.message


@pytest.mark.parametrize("rooted", [False, True])
async def test_what_refuses_and_what_speaks_no_tls(authority: Authority, rooted: bool) -> None:  # noqa: FBT001
    host, port = refusing()
    trust = Trust(ca=ROOT) if rooted else None
    context = replace(opening(f"{host}:{port}"), read=reading(authority.certificate.der))
    assert "the connection is refused" in (await failing(context, trust)).message
    with playing(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as address:
        error = await failing(replace(context, network=opening(address).network), trust)
    assert isinstance(error, StoreUnreachable)
    assert not isinstance(error, StoreUntrusted)


async def test_a_root_is_asked_only_where_a_pin_failed_and_other_troubles_pass(authority: Authority) -> None:
    issued = valid_now(authority, HOST)
    handshakes = []

    def parting(connection: object) -> None:
        handshakes.append(connection)
        if len(handshakes) == 1:
            Presenter(issued)(connection)  # type: ignore[arg-type]

    with playing(parting) as address:
        host, _, port = address.partition(":")
        transport = InterfaceTransport(HOST, (host, int(port)), Pins(()), authority.certificate.der)
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(f"https://{HOST}/")
    assert len(handshakes) == 2


def test_causes_are_found_once_and_in_groups() -> None:
    inner = ssl.SSLError("inner")
    group = ExceptionGroup("group", [inner, ValueError("other")])
    outer = RuntimeError("outer")
    outer.__cause__, inner.__context__ = group, outer
    assert set(causes(outer)) == {outer, group, *group.exceptions}
    assert list(causes(None)) == []
