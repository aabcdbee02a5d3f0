from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import StoreUnreachable, StoreUntrusted
from reconciler.live.web import Trust, opening
from reconciler.live.web.known import known_certificates, remember
from reconciler.live.web.opening import open_driver
from tests.live.contract import form
from tests.live.web.interface import HOST, QUICK, configuration, context, lab, opened, trusted

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = "1" * 64, "2" * 64
PLACE = f"{HOST}:443"


def test_what_is_remembered_is_known_for_that_interface_only(tmp_path: Path) -> None:
    file = tmp_path / "known-appliances"
    assert known_certificates(file, PLACE) == frozenset()
    remember(file, PLACE, [TWO, ONE])
    remember(file, PLACE, [ONE])
    remember(file, "west-1.example.com:443", [ONE])
    assert file.read_text() == f"{PLACE} {ONE}\n{PLACE} {TWO}\nwest-1.example.com:443 {ONE}\n"
    assert known_certificates(file, PLACE) == {ONE, TWO}
    assert known_certificates(file, f"{HOST}:8443") == frozenset()
    assert file.stat().st_mode & 0o777 == 0o600


def test_comments_and_whatever_else_stands_there_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "known-appliances"
    file.write_bytes(f"# {PLACE} {ONE}\n\n{PLACE}\t{TWO} \n{PLACE} {TWO.upper()}x\n\xff\n".encode("latin-1"))
    assert known_certificates(file, PLACE) == {TWO}


def test_a_last_line_without_its_end_is_not_lost(tmp_path: Path) -> None:
    file = tmp_path / "known-appliances"
    file.write_text(f"{PLACE} {ONE}")
    remember(file, PLACE, [TWO])
    assert known_certificates(file, PLACE) == {ONE, TWO}


def test_where_nothing_lasts_nothing_is_known() -> None:
    remember(None, PLACE, [ONE])
    assert known_certificates(None, PLACE) == frozenset()


def test_a_file_that_cannot_be_read_is_said_and_is_no_reason_to_fail_after_a_change(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable, match="cannot be read: Is a directory") as caught:
        known_certificates(tmp_path, PLACE)
    assert caught.value.remedy == "mend its permissions"
    remember(tmp_path, PLACE, [ONE])
    remember(tmp_path / "no-such-folder" / "file", PLACE, [ONE])


def test_several_processes_may_remember_at_once(tmp_path: Path) -> None:
    file = tmp_path / "known-appliances"
    program = (
        "import sys; from pathlib import Path; from reconciler.live.web.known import remember\n"
        "for n in range(100): remember(Path(sys.argv[1]), f'host-{sys.argv[2]}:443', [f'{n:064x}'])"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(file), str(n)]) for n in range(3)]
    assert [each.wait() for each in running] == [0, 0, 0]
    for number in range(3):
        assert len(known_certificates(file, f"host-{number}:443")) == 100
    # An empty line may come in where one saw the other's line without its end; it is passed over.
    assert len(file.read_text().split("\n")) - file.read_text().split("\n").count("") == 300


@pytest.mark.anyio
@pytest.mark.parametrize("lasts", [True, False])
async def test_what_an_interface_made_under_our_eyes_is_trusted_where_that_lasts(tmp_path: Path, lasts: bool) -> None:  # noqa: FBT001
    async with lab(tmp_path) as appliance:
        trust = await trusted(appliance)
        folder = tmp_path if lasts else tmp_path / "no-such-folder"
        async with opened(appliance, folder, trust) as driver:
            await driver.create_self_signed(form("Example", HOST), timedelta(days=30))
            # From here on the interface presents what it has just made.
            assert (await trusted(appliance)) != trust
            assert len((await driver.observe()).certificates) == 2
        untold = context(appliance, folder)
        if lasts:
            async with open_driver(configuration(trust=Trust()), untold, QUICK) as driver:
                assert len((await driver.observe()).certificates) == 2
        else:
            async with open_driver(configuration(trust=trust), untold, QUICK) as driver:
                with pytest.raises(StoreUntrusted, match="not trusted"):
                    await driver.observe()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("patience", "given_up", "said"),
    [(0.1, False, "has been at work on .* for 0.1 seconds"), (60.0, True, "another apply is at work on")],
)
async def test_whoever_waits_for_another_apply_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    patience: float,
    given_up: bool,  # noqa: FBT001
    said: str,
) -> None:
    monkeypatch.setattr(opening, "_LOCK_PATIENCE", patience)
    async with lab(tmp_path) as appliance:
        changing = replace(context(appliance, tmp_path), changes=True, given_up=lambda: given_up)
        async with open_driver(configuration(), changing):
            with pytest.raises(StoreUnreachable, match=said):
                async with open_driver(configuration(), changing):
                    pass
