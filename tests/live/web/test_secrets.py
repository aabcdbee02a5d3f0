"""User name and password go into the sign-in form and nowhere else; what an appliance calls things steers nothing."""

from __future__ import annotations

import io
import logging
import re
from contextlib import redirect_stderr
from functools import partial
from typing import TYPE_CHECKING

import pytest
from anyio import to_thread
from cryptography import x509

from reconciler.base.errors import ActionRefused, StoreError
from reconciler.cli.log import debug_log
from reconciler.live.driver import Upload
from reconciler.live.web.opening import open_driver
from reconciler.live.web.transport import causes
from tests.cli.fleet import PASSPHRASE, VARIABLE, make_fleet
from tests.live.web.interface import HOST, PASSWORD, QUICK, USERNAME, configuration, context, lab, opened, trusted
from tests.live.web.playing import Player, failure, playing, reply
from tests.live.web.test_bad_input import lead
from tests.support.authority import Authority, self_signed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
NAME, WORD = "jane-never-shown", "Tr0ub4dor-never-shown"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\u202e<script>alert(1)</script>\r\n\u2028| `x` "


@pytest.fixture
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USERNAME, NAME)
    monkeypatch.setenv(PASSWORD, WORD)


def shown(error: BaseException) -> str:
    return "".join(f"{each}{each!r}{each.__dict__}" for each in causes(error))


@pytest.mark.usefixtures("_secrets")
async def test_neither_errors_nor_the_log_nor_kept_pages_hold_them(tmp_path: Path) -> None:
    said = io.StringIO()
    async with lab(tmp_path) as appliance:
        seen = context(appliance, tmp_path, capture=tmp_path / "pages")
        with redirect_stderr(said), debug_log():
            async with open_driver(configuration(trust=await trusted(appliance)), seen, QUICK) as driver:
                with pytest.raises(StoreError) as caught:
                    await driver.observe()
                assert NAME not in repr(vars(driver))
    kept = await to_thread.run_sync(lambda: "".join(each.read_text() for each in tmp_path.rglob("pages/*/*")))
    for text in (shown(caught.value), said.getvalue(), kept):
        assert NAME not in text
        assert WORD not in text
    assert kept
    assert not logging.getLogger("httpx").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("httpcore").isEnabledFor(logging.DEBUG)


@pytest.mark.usefixtures("_secrets")
@pytest.mark.parametrize("how", ["breaks off", "repeats them", "lays them out anew", "fails"])
async def test_a_reply_that_repeats_them_or_never_comes(how: str) -> None:
    issued = self_signed([HOST])
    page = (
        b"<title>BeyondTrust</title><form method=post>Username <input name=u>"
        b"Password <input type=password name=p><button>Sign In</button></form>"
    )

    def answer(request: bytes) -> list[bytes]:
        if request.startswith(b"GET"):
            return [reply(page)]
        if how == "breaks off":
            return []
        told = page + f"<p>Wrong: {NAME} {WORD}</p>".encode()
        if how == "lays them out anew":
            told = page + f"<p>No user {NAME[:9]}...<p>Nor {WORD[:4]} {WORD[4:12].upper()}".encode()
        told += f"<title>{WORD}</title>".encode() * (how == "fails")
        return [reply(told, status="500 Oops" if how == "fails" else "200 OK")]

    with playing(Player(issued, answer)) as address:
        error = await failure(address, issued)
    for part in (NAME, WORD, NAME[:9], WORD[4:12].upper()):
        assert part not in shown(error)


async def test_hostile_names_are_shown_and_steer_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, PASSPHRASE)
    monkeypatch.setenv("RECONCILER_OPERATOR", str(tmp_path / "fleet" / "operator.yaml"))
    fleet = make_fleet(tmp_path / "fleet")
    authority = Authority.root(f"Root {ESCAPES}"[:60])
    issued = authority.issue([x509.DNSName("a.example.com")], common_name=ESCAPES[:60])
    async with lab(tmp_path) as appliance:
        for number in range(2):
            upload = Upload(issued.pkcs12(b"p"), b"p", f"{ESCAPES}{'long ' * 50_000 * number}")
            await appliance.call(appliance.store.import_, upload)
        await appliance.call(appliance.store.import_, Upload(authority.certificate.der))
        (factory,) = (each for each in appliance.store.observe().certificates if "Appliance" in each.common_name)
        lead(fleet, f"127.0.0.1:{appliance.port}", factory.fingerprint)
        for command in ("status", "plan", "doctor", "plan --format markdown", "plan --format html"):
            name, *options = command.split()
            ran = await to_thread.run_sync(partial(fleet.run, name, *options))
            said = ran.out + ran.err
            for each in ("\x1b", "\x07", "\u202e", "\u2028", "\r"):
                assert each not in said, command
            assert len(said) < 200_000
            if command.endswith("html"):
                assert "<script>alert" not in said
            if command.endswith("markdown"):  # as code, it is text
                assert "<script>alert" not in re.sub(r"(`+).*?\1", "", said)
        assert "\\x1b]0;owned" in (await to_thread.run_sync(fleet.run, "status")).out


async def test_an_interface_quotes_what_it_was_sent_and_that_is_escaped(tmp_path: Path) -> None:
    async with lab(tmp_path) as appliance, opened(appliance, tmp_path, await trusted(appliance)) as driver:
        with pytest.raises(ActionRefused) as caught:
            await driver.import_(Upload(b"\x1b[2Jnonsense"))
    assert str(caught.value).isprintable()
