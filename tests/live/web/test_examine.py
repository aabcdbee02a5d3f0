"""What `doctor` says of an interface: step by step, up to the first that fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.live.driver import Check, CheckOutcome
from reconciler.live.web import Trust
from reconciler.live.web.examine import examine
from tests.live.web.interface import HOST, PASSWORD, QUICK, configuration, context, lab, trusted
from tests.live.web.playing import SHORT, Player, opening, playing, reply
from tests.support.authority import NOW, self_signed
from tests.support.presenting import Presenter, refusing

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
SIGN_IN = (
    b"<title>BeyondTrust</title><form method=post>Username <input name=u>Password <input type=password name=p>"
    b"<button>Sign In</button></form>"
)
HEADERS = b"<th>Friendly Name<th>Issued To<th>Issued By<th>Expiration<th>Alternative Name(s)<th>Private Key?<th>Default"
TABLE = (
    b"<title>BeyondTrust</title><h2>Security :: Certificates</h2><form method=post>%s<table><tr>"
    + HEADERS
    + b"%s</table>"
)
ROW = b"<tr><td><input type=checkbox name=t>a<td>b<td>c<td>d<td>e<td>Yes<td>"
ACTIONS = b"<select name=a><option>-- Select Action --<option>Export</select><button>Apply</button>"


async def played(*pages: bytes | str) -> tuple[str, Check]:
    """The steps that went well, and the last one, of an interface that answers with these pages, the last for ever."""
    issued = self_signed([HOST])
    waiting = list(pages)

    def answer(_: bytes) -> list[bytes]:
        page = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return [reply(page)] if isinstance(page, bytes) else [reply(b"", kind=page)]

    trust = Trust(sha256=(issued.certificate.fingerprint,))
    with playing(Player(issued, answer)) as address:
        checks = await examine(configuration(trust=trust), opening(address), SHORT)
    good = ", ".join(each.subject for each in checks if each.outcome is CheckOutcome.OK)
    assert all(each.outcome is not CheckOutcome.FAILED for each in checks[:-1])
    return good, checks[-1]


async def test_nothing_listens() -> None:
    host, port = refusing()
    (check,) = await examine(configuration(), opening(f"{host}:{port}"), SHORT)
    assert (check.subject, check.outcome) == ("reachable", CheckOutcome.FAILED)


async def test_the_operator_does_not_allow_the_host() -> None:
    context = opening("127.0.0.1:1")
    barred = replace(context, network=replace(context.network, hosts=frozenset()))
    (check,) = await examine(configuration(), barred, SHORT)
    assert "not among those that may be contacted" in check.message


async def test_nobody_is_trusted() -> None:
    with playing(Presenter(self_signed([HOST]))) as address:
        checks = await examine(configuration(), opening(address), SHORT)
    assert [(each.subject, each.outcome) for each in checks] == [
        ("reachable", CheckOutcome.OK),
        ("trusted", CheckOutcome.FAILED),
    ]


async def test_a_file_answers() -> None:
    good, check = await played("application/pdf")
    assert good == "reachable, trusted"
    assert (check.subject, check.outcome) == ("sign-in page", CheckOutcome.FAILED)


async def test_another_product_asks_for_a_password() -> None:
    good, check = await played(SIGN_IN.replace(b"BeyondTrust", b"Printer"))
    assert good == "reachable, trusted"
    assert (check.subject, check.outcome) == ("sign-in page", CheckOutcome.FAILED)
    assert "looked for 'BeyondTrust' or 'Bomgar'" in check.message


async def test_the_password_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "wrong")
    async with lab(tmp_path) as appliance:
        checks = await examine(configuration(trust=await trusted(appliance)), context(appliance, tmp_path), QUICK)
    assert (checks[-1].subject, checks[-1].outcome) == ("signed in", CheckOutcome.FAILED)
    assert [each.split(" ")[0] for each in appliance.requests].count("POST") == 1


async def test_nothing_leads_on() -> None:
    good, check = await played(b"<title>BeyondTrust</title>hello")
    assert good == "reachable, trusted, signed in"
    assert (check.subject, check.outcome) == ("Security > Certificates", CheckOutcome.FAILED)


@pytest.mark.parametrize(
    ("pages", "says"),
    [
        ((TABLE % (ACTIONS, b""),), "not even the factory's"),
        ((TABLE % (b"", ROW),), "'-- Select Action --' with 'Export'"),
        ((*[TABLE % (ACTIONS, ROW)] * 4, b"<title>Export</title>"), "looked for 'Include Certificate'"),
        ((*[TABLE % (ACTIONS, ROW)] * 4, "application/pdf"), "a file comes where the page Export"),
        ((*[TABLE % (ACTIONS, ROW)] * 4, SIGN_IN), "the session has ended meanwhile"),
    ],
)
async def test_nothing_can_be_exported(pages: tuple[bytes | str, ...], says: str) -> None:
    _, check = await played(*pages)
    assert check.outcome is CheckOutcome.FAILED
    assert says in check.message


@pytest.mark.parametrize(
    ("minutes", "says"), [(5, "300 seconds behind ours"), (-5, "300 seconds ahead of ours"), (0, "")]
)
async def test_clocks_that_differ(tmp_path: Path, minutes: int, says: str) -> None:
    async with lab(tmp_path) as appliance:
        seen = replace(context(appliance, tmp_path), clock=lambda: NOW + timedelta(minutes=minutes))
        checks = await examine(configuration(trust=await trusted(appliance)), seen, QUICK)
    (clock,) = (each for each in checks if each.subject == "clock")
    assert says in clock.message
    assert (clock.outcome is CheckOutcome.WARNING) == bool(minutes)
    assert all(each.outcome is not CheckOutcome.FAILED for each in checks)


async def test_what_is_not_offered_is_done_by_hand(tmp_path: Path) -> None:
    async with lab(tmp_path, platform="cloud") as appliance:
        checks = await examine(configuration(trust=await trusted(appliance)), context(appliance, tmp_path), QUICK)
    by_hand = [each.subject for each in checks if each.outcome is CheckOutcome.BY_HAND]
    assert by_hand == ["create a self-signed certificate"]
