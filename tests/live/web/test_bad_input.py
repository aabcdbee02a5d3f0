"""Each thing that can be wrong with one appliance has its own sentence, and the others are looked at all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
from anyio import to_thread

from reconciler.base.clock import system_clock
from reconciler.lab.appliance import LabAppliance
from reconciler.lab.server import serve
from reconciler.live.web.trouble import lost
from tests.cli.fleet import PASSPHRASE, VARIABLE, Fleet, Ran, make_fleet
from tests.live.web.interface import PASSWORD, USERNAME
from tests.live.web.playing import Player, playing, reply
from tests.support.authority import Issued, self_signed
from tests.support.presenting import Presenter, refusing

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "Tr0ub4dor-never-shown"  # noqa: S105 - what must not be shown
HOST = "lab.example.com"


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setenv(VARIABLE, PASSPHRASE)
    monkeypatch.setenv("RECONCILER_OPERATOR", str(tmp_path / "operator.yaml"))
    return make_fleet(tmp_path)


@pytest.fixture(scope="module")
def issued() -> Issued:
    return self_signed([HOST])


def lead(fleet: Fleet, address: str, fingerprint: str = "", *, host: str = HOST) -> None:
    """Put the lone appliance of the fleet behind a web interface at an address."""
    connect = f"connect: {{'{host}:443': '{address}'}}\n" if address else ""
    (fleet.root / "operator.yaml").write_text(f"hosts: [{host}]\n{connect}")
    trust = f"trust: {{sha256: ['{fingerprint}']}}" if fingerprint else ""
    secrets = f"username: {{env: {USERNAME}}}\n  password: {{env: {PASSWORD}}}"
    store = f"driver: web\n  url: https://{host}/appliance\n  {secrets}"
    path = fleet.file("appliances/lab.yaml")
    lines = [each for each in path.read_text().splitlines() if not each.startswith("store:")]
    path.write_text("\n".join([*lines, f"store:\n  {store}", *([f"  {trust}"] if trust else []), ""]))


def told(fleet: Fleet, *words: str) -> None:
    """The commands say it, and show the other appliances."""
    for command in ("status", "plan"):
        ran = fleet.run(command)
        shown = " ".join((ran.out + ran.err).split())
        assert ran.code == 1
        for each in words:
            assert each in shown, (command, shown)
        assert "east-1" in ran.out
        assert "access.example.com" in ran.out
        assert "Traceback" not in shown
        assert SECRET not in shown
        assert not any(each in ran.out + ran.err for each in ("\x1b", "\u202e", "\x9b"))


def with_interface(fleet: Fleet, account: str, *words: str) -> list[str]:
    """Run `status` while a lab appliance is served, and give what it was asked."""

    async def run() -> tuple[Ran, list[str]]:
        appliance = LabAppliance("lab", fleet.root / "web", clock=system_clock)
        await appliance.call(appliance.make_store)
        async with serve(appliance):
            (factory,) = appliance.store.observe().certificates
            lead(fleet, f"127.0.0.1:{appliance.port}", factory.fingerprint)
            if account == "locked":
                for _ in range(5):
                    appliance.sessions.sign_in("admin", "wrong")
            return await to_thread.run_sync(fleet.run, "status"), appliance.requests

    ran, requests = anyio.run(run)
    shown = " ".join((ran.out + ran.err).split())
    assert ran.code == 1
    for each in words:
        assert each in shown
    assert "east-1" in ran.out
    assert SECRET not in ran.out + ran.err
    return requests


def test_a_wrong_password_is_sent_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    requests = with_interface(fleet, "open", "signing in is refused", "check `username` and `password`")
    assert [each.split(" ")[0] for each in requests].count("POST") == 1


def test_a_locked_account_is_said_in_the_appliance_s_own_words(fleet: Fleet) -> None:
    requests = with_interface(
        fleet, "locked", "signing in is refused", "This account is locked after 5 wrong passwords"
    )
    assert [each.split(" ")[0] for each in requests].count("POST") == 1


def test_a_missing_secret_is_said_by_its_name(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD)
    assert not [each for each in with_interface(fleet, "open", PASSWORD) if each.startswith("POST")]


def test_a_certificate_that_is_not_trusted(fleet: Fleet, issued: Issued) -> None:
    presenter = Presenter(issued)
    with playing(presenter) as address:
        lead(fleet, address)
        told(fleet, "presents a certificate that is not trusted", issued.certificate.fingerprint, "trust: {sha256:")
    assert presenter.received == b""


def test_a_certificate_that_has_changed(fleet: Fleet, issued: Issued) -> None:
    with playing(Presenter(issued)) as address:
        lead(fleet, address, self_signed([HOST]).certificate.fingerprint)
        told(fleet, "presents a certificate that is not trusted", issued.certificate.fingerprint)


def test_a_name_that_does_not_resolve(fleet: Fleet) -> None:
    lead(fleet, "", host="no-such-host.invalid")
    told(fleet, "no-such-host.invalid:443: its host name does not resolve", "check `url`")


def test_a_connection_that_is_refused(fleet: Fleet) -> None:
    lead(fleet, f"127.0.0.1:{refusing()[1]}")
    told(fleet, f"{HOST}:443: the connection is refused", "whether the interface is up")


def test_no_tls(fleet: Fleet) -> None:
    with playing(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as address:
        lead(fleet, address)
        told(fleet, f"{HOST}:443: no TLS connection comes about", "it may not be the interface")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            "407 Proxy Authentication Required",
            "status 407 ('Blocked \\x1b[2J'), as a proxy or an overloaded server does",
        ),
        ("502 Bad Gateway", "as a proxy or an overloaded server does - see what stands between here and the interface"),
        ("503 Service Unavailable", "as a proxy or an overloaded server does"),
        ("404 Not Found", "answers with status 404 ('Blocked \\x1b[2J') - check the path in `url`"),
        ("500 Oops", "answers with status 500"),
    ],
)
def test_a_proxy_s_page(fleet: Fleet, issued: Issued, status: str, words: str) -> None:
    body = "<title>Blocked \x1b[2J</title><h1>By your administrator \u202e</h1>".encode()
    with playing(Player(issued, lambda _: [reply(body, status=status)])) as address:
        lead(fleet, address, issued.certificate.fingerprint)
        told(fleet, words)


def test_another_product_s_page(fleet: Fleet, issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    body = b"<title>Printer</title><form method=post>User <input name=u>Password <input type=password name=p>"
    player = Player(issued, lambda _: [reply(body + b"<button>Login</button></form>")])
    with playing(player) as address:
        lead(fleet, address, issued.certificate.fingerprint)
        told(fleet, "is not recognised: looked for 'BeyondTrust' or 'Bomgar'", "saw 'Printer'", "--capture DIR")
    assert all(each.startswith(b"GET ") for each in player.requests)


def test_a_release_that_we_do_not_know(fleet: Fleet, issued: Issued) -> None:
    body = b"<title>BeyondTrust Appliance</title><nav><a href=/appliance/x>Zertifikate</a></nav>"
    player = Player(issued, lambda _: [reply(body)])
    with playing(player) as address:
        lead(fleet, address, issued.certificate.fingerprint)
        told(
            fleet,
            "the way to Security > Certificates is not recognised: looked for a link 'Certificates'",
            "saw 'BeyondTrust Appliance', 'Zertifikate' - if this is an appliance, keep the page",
        )


def test_a_file_instead_of_a_page(fleet: Fleet, issued: Issued) -> None:
    with playing(Player(issued, lambda _: [reply(b"%PDF", kind="application/pdf")])) as address:
        lead(fleet, address, issued.certificate.fingerprint)
        told(fleet, "answers with a file where a page belongs")


def test_doctor_names_the_step_and_goes_no_further(fleet: Fleet, issued: Issued) -> None:
    with playing(Player(issued, lambda _: [reply(b"<title>Printer</title>")])) as address:
        lead(fleet, address, issued.certificate.fingerprint)
        ran = fleet.run("doctor")
    assert ran.code == 1
    assert "not recognised" in " ".join(ran.out.split())
    assert "Doctor: 1 of 3 appliances could not be reached or understood.\n" in ran.out


@pytest.mark.parametrize(("number", "words"), [(101, "no route"), (113, "no route"), (5, "cannot be reached")])
def test_what_the_network_says(number: int, words: str) -> None:
    error = httpx.ConnectError("x")
    error.__cause__ = OSError(number, "x")
    found = lost(error, "h:1", 1)
    assert words in found.message
    assert found.remedy
    assert not found.sent
