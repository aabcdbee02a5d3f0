from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from reconciler.base.errors import UsageError
from reconciler.lab.faults import Fault, FaultKind, Faults, parse_fault
from tests.lab.browser import Browser, Page, visiting

if TYPE_CHECKING:
    from reconciler.lab.appliance import LabAppliance

pytestmark = pytest.mark.anyio


async def create(browser: Browser, kind: FaultKind, **options: float) -> Page:
    """Create a certificate request, whose form meets a fault after its page did not."""
    faults = browser.appliance.faults
    faults.count_from_here()
    faults.at(2, Fault(kind, **options))  # type: ignore[arg-type]
    return await browser.send("new", friendly_name="m", common_name="m", key="new:ec-p256", create_request="1")


def made(appliance: LabAppliance) -> int:
    return len(appliance.store.observe().requests)


@pytest.mark.parametrize(("kind", "effect"), [(FaultKind.RESET_BEFORE, 0), (FaultKind.RESET_AFTER, 1)])
async def test_a_connection_is_reset_before_or_after_the_effect(
    guide: LabAppliance, kind: FaultKind, effect: int
) -> None:
    async with visiting(guide) as browser:
        with pytest.raises(httpx.ReadError):
            await create(browser, kind)
        assert made(guide) == effect
        assert (await browser.open("certificates")).reply.status_code == 200


async def test_a_truncated_reply_breaks_off_after_the_effect(guide: LabAppliance) -> None:
    async with visiting(guide) as browser:
        browser.http.follow_redirects = False
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
            await create(browser, FaultKind.TRUNCATED)
        assert made(guide) == 1
        guide.faults.switch(FaultKind.TRUNCATED)
        with pytest.raises(httpx.RemoteProtocolError):
            await browser.open("certificates")


async def test_a_garbled_reply_is_no_page_and_the_effect_happened(guide: LabAppliance) -> None:
    async with visiting(guide) as browser:
        page = await create(browser, FaultKind.GARBLED)
    assert page.reply.status_code == 200
    assert b"upstream" in page.reply.content
    assert made(guide) == 1


async def test_a_server_error_has_no_effect(guide: LabAppliance) -> None:
    async with visiting(guide) as browser:
        assert (await create(browser, FaultKind.SERVER_ERROR)).reply.status_code == 503
    assert made(guide) == 0


@pytest.mark.parametrize(("kind", "effect"), [(FaultKind.SESSION_EXPIRED, 0), (FaultKind.SESSION_EXPIRED_AFTER, 1)])
async def test_a_session_ends_before_or_after_the_effect(guide: LabAppliance, kind: FaultKind, effect: int) -> None:
    async with visiting(guide) as browser:
        page = await create(browser, kind)
    assert page.reply.url.path == guide.release.paths["sign_in"]
    assert made(guide) == effect


async def test_connections_are_refused_for_a_while(guide: LabAppliance) -> None:
    async with visiting(guide) as browser:
        port = guide.port
        with pytest.raises(httpx.ReadError):
            await create(browser, FaultKind.REFUSED, seconds=0.3)
        assert made(guide) == 0
        with pytest.raises(OSError):  # noqa: PT011 - refused, by whichever name
            await anyio.connect_tcp("127.0.0.1", port)
        await anyio.sleep(0.4)
        assert (await browser.open("certificates")).reply.status_code == 200
        assert guide.port == port


async def test_latency_delays_every_request_until_it_is_switched_off(guide: LabAppliance) -> None:
    async with visiting(guide) as browser:
        guide.faults.switch(Fault(FaultKind.LATENCY, 0.15))
        for expected in (True, True, False):
            if not expected:
                guide.faults.switch(FaultKind.LATENCY, on=False)
            start = time.perf_counter()
            await browser.open("status")
            assert (time.perf_counter() - start >= 0.15) is expected


async def test_somebody_else_changes_the_store_in_between(guide: LabAppliance) -> None:
    async with visiting(guide) as browser:
        await create(browser, FaultKind.CONCURRENT)
        assert "Somebody else's" in await browser.rows()
        met: list[str] = []

        async def act(appliance: LabAppliance) -> None:
            met.append(appliance.name)

        guide.faults.switch(Fault(FaultKind.CONCURRENT, act=act))
        await browser.open("status")
        assert met == ["east-1"]


def test_what_is_scheduled_is_met_once_and_cleared() -> None:
    faults = Faults()
    faults.next()
    faults.count_from_here()
    faults.at(2, FaultKind.GARBLED)
    assert [[each.kind for each in faults.next()] for _ in range(3)] == [[], ["garbled"], []]
    faults.at(1, FaultKind.GARBLED)
    faults.switch(FaultKind.LATENCY)
    faults.clear()
    assert faults.next() == ()


def test_faults_are_read_from_text() -> None:
    assert parse_fault("latency=0.05") == (Fault(FaultKind.LATENCY, 0.05), None)
    assert parse_fault("reset_after@5") == (Fault(FaultKind.RESET_AFTER), 5)
    for wrong in ("lateness", "latency=x", "latency=-1", "garbled@0", "garbled@x", "latency=inf"):
        with pytest.raises(UsageError):
            parse_fault(wrong)
