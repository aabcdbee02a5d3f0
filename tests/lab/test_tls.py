from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from anyio import to_thread

from reconciler.lab.appliance import LabAppliance
from reconciler.lab.server import serve
from reconciler.lab.tls import TieBreak
from reconciler.live.directory.operations import DirectoryStore
from reconciler.live.driver import Upload
from tests.lab.browser import Clock, install, visiting
from tests.support.authority import Authority
from tests.support.tls import served, served_chain

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def shown(appliance: LabAppliance, name: str | None) -> str:
    return await to_thread.run_sync(served, appliance.port, name)


async def test_the_name_selects_and_without_a_match_the_default_is_served(guide: LabAppliance) -> None:
    exact, wildcard = install(guide, "access.example.com"), install(guide, "*.example.net")
    factory = guide.store.observe().default
    async with serve(guide):
        assert await shown(guide, "access.example.com") == exact.certificate.fingerprint
        assert await shown(guide, "one.example.net") == wildcard.certificate.fingerprint
        assert await shown(guide, "two.labels.example.net") == factory
        assert await shown(guide, "unknown.example.com") == factory
        assert await shown(guide, None) == factory


async def test_the_chain_is_sent_with_the_certificate(guide: LabAppliance) -> None:
    issued = install(guide, "access.example.com", authority=Authority.root().intermediate())
    async with serve(guide):
        sent = await to_thread.run_sync(served_chain, guide.port, "access.example.com")
    assert sent[:2] == (issued.certificate.fingerprint, issued.chain[0].fingerprint)


async def test_the_tie_break_decides_between_several_that_match(guide: LabAppliance) -> None:
    both = sorted(install(guide, "access.example.com").certificate.fingerprint for _ in range(2))
    async with serve(guide):
        assert await shown(guide, "access.example.com") == both[0]
        guide.selection.tie_break = TieBreak.LAST
        assert await shown(guide, "access.example.com") == both[1]
        guide.store.set_default(both[1])
        guide.selection.tie_break = TieBreak.FIRST
        assert await shown(guide, "access.example.com") == both[1], "the default is loaded first"
        guide.selection.tie_break = TieBreak.RANDOM
        selected = {guide.selection.select("access.example.com") for _ in range(100)}
        assert {each.fingerprint for each in selected if each} == set(both)


async def test_what_changes_is_served_in_the_very_next_handshake(guide: LabAppliance, clock: Clock) -> None:
    other = DirectoryStore(guide.folder, clock)
    async with serve(guide):
        for _ in range(5):
            issued = Authority.root().issue(["access.example.com"])
            other.import_(Upload(issued.pkcs12(b"x"), b"x"))
            other.set_default(issued.certificate.fingerprint)
            assert await shown(guide, "access.example.com") == issued.certificate.fingerprint
            assert await shown(guide, None) == issued.certificate.fingerprint


async def test_the_interface_itself_is_served_with_what_was_imported_through_it(guide: LabAppliance) -> None:
    issued = Authority.root().issue(["east-1.example.com"])
    async with visiting(guide) as browser:
        await browser.upload(issued.pkcs12(b"x"), "x")
        assert await shown(guide, "east-1.example.com") == issued.certificate.fingerprint
        before = await shown(guide, None)
        await browser.send("certificates", default=issued.certificate.fingerprint, save_default="1")
        assert await shown(guide, None) == issued.certificate.fingerprint != before


async def test_what_no_front_end_would_load_is_passed_over(guide: LabAppliance) -> None:
    issued = install(guide, "access.example.com")
    (guide.folder / "broken.pem").write_text("nothing")
    (guide.folder / "gone.pem").symlink_to("nowhere.pem")
    async with serve(guide):
        assert await shown(guide, "access.example.com") == issued.certificate.fingerprint


async def test_a_directory_that_goes_away_for_a_moment_is_served_on(guide: LabAppliance, tmp_path: Path) -> None:
    async with serve(guide):
        before = await shown(guide, None)
        guide.folder.rename(tmp_path / "away")
        assert await shown(guide, None) == before


def test_an_empty_directory_serves_nothing(tmp_path: Path) -> None:
    assert LabAppliance("east-1", tmp_path).selection.select(None) is None
