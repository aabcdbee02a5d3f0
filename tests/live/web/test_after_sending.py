"""What the driver does once a form is sent, and how little it asks for on the way."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import ActionRefused, EffectUnknown, StoreError, StoreUnreachable, StoreUnrecognised
from reconciler.lab.faults import Fault, FaultKind
from reconciler.live.driver import ExistingKey, NewKey, Upload
from reconciler.live.web import Trust
from reconciler.live.web.creating import write_form
from reconciler.live.web.listing import Interface
from reconciler.live.web.looking import certificate_of
from reconciler.live.web.opening import open_driver, open_session
from reconciler.live.web.transport import Limits
from tests.live.contract import answer, form, upload
from tests.live.web.interface import HOST, QUICK, configuration, context, lab, opened, trusted
from tests.support.authority import DAY, Authority, self_signed

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.lab.appliance import LabAppliance
    from reconciler.live.driver import CertificateForm
    from reconciler.live.web.creating import Creation
    from reconciler.live.web.installation import CreatePage
    from reconciler.live.web.listing import Listing

pytestmark = pytest.mark.anyio
MADE_HERE = form("Made here", HOST)


async def course(appliance: LabAppliance, folder: Path) -> int:
    """Number of the request that makes a self-signed certificate, in a session of its own that begins with a look."""
    digests: list[str] = []

    async def note(noted: LabAppliance) -> None:
        digests.append(noted.store.observe().digest)

    appliance.faults.switch(Fault(FaultKind.CONCURRENT, act=note))
    await make(appliance, folder)
    appliance.faults.clear()
    made = next(each for each in appliance.store.observe().certificates if each.common_name == "Made here")
    appliance.store.remove(made.fingerprint)
    return next(number for number, each in enumerate(digests) if each != digests[0])


async def make(appliance: LabAppliance, folder: Path) -> None:
    async with opened(appliance, folder, await trusted(appliance)) as driver:
        await driver.observe()
        await driver.create_self_signed(MADE_HERE, 300 * DAY)


async def test_who_signs_in_at_the_front_does_not_knock_again(tmp_path: Path) -> None:
    async with lab(tmp_path) as appliance, opened(appliance, tmp_path, await trusted(appliance)) as driver:
        await driver.observe()
        assert appliance.requests[:5] == [
            "GET /appliance",
            "GET /appliance/login",
            "POST /appliance/login",
            "GET /appliance/status/basics",
            "GET /appliance/security/certificates",
        ]
    # Nor is it looked at where signing out leads to.
    assert appliance.requests[-1] == "POST /appliance/logout"
    assert not len(appliance.sessions)


async def test_only_what_is_new_is_looked_at_after_a_certificate_is_made(tmp_path: Path) -> None:
    async with lab(tmp_path) as appliance:
        effect = await course(appliance, tmp_path)
        appliance.requests.clear()
        await make(appliance, tmp_path)
        exports = [
            each for each in appliance.requests[effect:] if each == "POST /appliance/security/certificates/export"
        ]
        assert len(exports) == 1


@pytest.mark.parametrize("kind", [FaultKind.GARBLED, FaultKind.SERVER_ERROR])
async def test_what_goes_wrong_after_a_form_is_sent_leaves_its_effect_unknown(tmp_path: Path, kind: FaultKind) -> None:
    async with lab(tmp_path) as appliance:
        effect = await course(appliance, tmp_path)
        for later in range(2, 2 + QUICK.attempts):
            appliance.faults.at(effect + later, kind)
        async with opened(appliance, tmp_path, await trusted(appliance)) as driver:
            await driver.observe()
            with pytest.raises(EffectUnknown, match="so what came of it is not known") as caught:
                await driver.create_self_signed(MADE_HERE, 300 * DAY)
            assert caught.value.remedy
            appliance.faults.clear()
            assert [each for each in (await driver.observe()).certificates if each.common_name == "Made here"]


async def test_what_goes_wrong_before_a_form_is_sent_is_what_it_is(tmp_path: Path) -> None:
    async with lab(tmp_path) as appliance:
        effect = await course(appliance, tmp_path)
        appliance.faults.at(effect - 1, FaultKind.GARBLED)
        with pytest.raises(StoreUnrecognised):
            await make(appliance, tmp_path)


async def test_what_was_made_is_remembered_where_the_session_ended_with_it(tmp_path: Path) -> None:
    """Its reply said nothing, but the connection is still the same: what shows now may be what is presented next."""
    async with lab(tmp_path) as appliance:
        before = await trusted(appliance)
        effect = await course(appliance, tmp_path)
        appliance.faults.at(effect, FaultKind.SESSION_EXPIRED_AFTER)
        async with opened(appliance, tmp_path, before) as driver:
            await driver.observe()
            with pytest.raises(EffectUnknown):
                await driver.create_self_signed(MADE_HERE, 300 * DAY)
            await driver.observe()
        assert await trusted(appliance) != before, "the interface presents it"
        async with opened(appliance, tmp_path, before) as driver:
            assert len((await driver.observe()).certificates) == 2


async def test_what_somebody_else_made_is_not_remembered(tmp_path: Path) -> None:
    async with lab(tmp_path) as appliance:
        async with opened(appliance, tmp_path, await trusted(appliance)) as driver:
            await driver.create_self_signed(MADE_HERE, 300 * DAY)
            theirs = form("Not made here", HOST)
            await appliance.call(appliance.store.create_self_signed, theirs, dt.timedelta(days=30))
            store = await driver.observe()
        known = (tmp_path / "known-appliances").read_text()
        remembered = {each.common_name for each in store.certificates if each.fingerprint in known}
        assert remembered == {"Made here"}


async def test_a_row_that_is_no_longer_what_it_shows_is_an_error_of_the_store(tmp_path: Path) -> None:
    async with lab(tmp_path) as appliance:
        how = configuration(trust=await trusted(appliance)), context(appliance, tmp_path), QUICK
        async with open_session(*how) as (session, _):
            interface = Interface(session, QUICK.pages)
            ((page, row),) = (await interface.listing()).rows
            assert row.expiration
            moved = replace(row, expiration=row.expiration + DAY)
            with pytest.raises(StoreError, match="does not stay as it is"):
                await certificate_of(interface, page, moved)


async def test_a_handshake_that_takes_too_long_leaves_no_connection_open(tmp_path: Path) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server, lab(tmp_path) as appliance:
        place = context(appliance, tmp_path)
        port = server.sockets[0].getsockname()[1]
        connect = {f"{HOST}:443": f"127.0.0.1:{port}"}
        network = type(place.network)(place.network.hosts, connect)
        elsewhere = type(place)(place.appliance, place.root, place.clock, network=network)
        async with open_driver(configuration(trust=Trust()), elsewhere, Limits(patience=0.2, pause=0.01)) as driver:
            with pytest.raises(StoreUnreachable, match="accepts no connection in time"):
                await driver.observe()
    gc.collect()  # an open connection would be told of, and a warning is an error


async def test_a_session_that_ends_each_time_something_is_sent_leaves_the_effect_unknown(tmp_path: Path) -> None:
    issued = self_signed(["a.example.com"])

    async def end(appliance: LabAppliance) -> None:
        if appliance.requests[-1] == "POST /appliance/security/certificates/import":
            appliance.sessions.drop()

    async with lab(tmp_path) as appliance, opened(appliance, tmp_path, await trusted(appliance)) as driver:
        before = await driver.observe()
        appliance.faults.switch(Fault(FaultKind.CONCURRENT, act=end))
        with pytest.raises(EffectUnknown, match="the session ended while something was changed"):
            await driver.import_(upload(issued))
        appliance.faults.clear()
        assert await driver.observe() == before


async def with_a_key_of_its_own(
    interface: Interface, before: Listing, page: CreatePage, form: CertificateForm
) -> Creation:
    """An interface whose choice of keys does not mean what it says."""
    return await write_form(interface, before, page, replace(form, key=NewKey("ec-p256")))


@pytest.mark.parametrize(("variant", "left"), [("guide", 0), ("other", 1)])
async def test_a_request_with_another_key_than_was_chosen_is_withdrawn_where_that_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, left: int
) -> None:
    issued = self_signed(["a.example.com"])
    asked = form("Asked for", key=ExistingKey(issued.certificate.public_key))
    async with lab(tmp_path, variant) as appliance, opened(appliance, tmp_path, await trusted(appliance)) as driver:
        await driver.import_(upload(issued))
        monkeypatch.setattr("reconciler.live.web.driver.write_form", with_a_key_of_its_own)
        with pytest.raises(EffectUnknown if left else ActionRefused, match="made with another key"):
            await driver.create_request(asked)
        assert len((await driver.observe()).requests) == left


@pytest.mark.parametrize("title", ["A colleague's", "Zoe's"])
async def test_what_somebody_else_asks_for_meanwhile_is_not_withdrawn(tmp_path: Path, title: str) -> None:
    issued = self_signed(["a.example.com"])

    async def ask(appliance: LabAppliance) -> None:
        store = appliance.store
        if (
            appliance.requests[-1].startswith("POST /appliance/security/certificates/new")
            and not store.observe().requests
        ):
            await appliance.call(store.create_request, form(title))

    async with lab(tmp_path) as appliance, opened(appliance, tmp_path, await trusted(appliance)) as driver:
        await driver.import_(upload(issued))
        appliance.faults.switch(Fault(FaultKind.CONCURRENT, act=ask))
        await driver.create_request(form("Asked for", key=ExistingKey(issued.certificate.public_key)))
        appliance.faults.clear()
        subjects = {each.subject.common_name for each in (await driver.observe()).requests}
    assert subjects == {"Asked for", title}


async def test_what_may_be_presented_next_is_remembered_before_it_is_asked_for(tmp_path: Path) -> None:
    """Whoever goes on where this one was killed meets it, and it may not be declared any more by then."""
    known, seen = tmp_path / "known-appliances", list[tuple[bool, bool, str]]()
    issued = self_signed([HOST], common_name="By name")

    async def note(noted: LabAppliance) -> None:
        store = noted.store.observe()
        fingerprint = issued.certificate.fingerprint
        told = known.read_text() if known.exists() else ""
        seen.append((fingerprint in store.by_fingerprint, store.default == fingerprint, told))

    async with lab(tmp_path) as appliance, opened(appliance, tmp_path, await trusted(appliance)) as driver:
        await driver.observe()
        appliance.faults.switch(Fault(FaultKind.CONCURRENT, act=note))
        await driver.import_(upload(issued))
        assert issued.certificate.fingerprint in [text for there, _, text in seen if not there][-1]
        known.unlink()
        await driver.set_default(issued.certificate.fingerprint)
        assert issued.certificate.fingerprint in [text for _, default, text in seen if not default][-1]


async def test_an_answer_whose_key_is_there_is_remembered_too(tmp_path: Path) -> None:
    async with lab(tmp_path) as appliance, opened(appliance, tmp_path, await trusted(appliance)) as driver:
        await driver.create_request(form("Asked for", HOST))
        [request] = (await driver.observe()).requests
        answered = await answer(Authority.root(), request)
        await driver.import_(Upload(answered.pem(), None, "Asked for"))
        assert answered.certificate.fingerprint in (tmp_path / "known-appliances").read_text()
