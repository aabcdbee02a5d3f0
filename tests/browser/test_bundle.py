"""The bundle with screenshots that are taken from the web interfaces of the fleet."""

from __future__ import annotations

import os
import zipfile
from subprocess import PIPE
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.live.web.screenshot import VARIABLE
from tests.browser.fleet import playing
from tests.cli.terminal import PROGRAM
from tests.support.programs import require_program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.browser.fleet import Fleet

pytestmark = pytest.mark.anyio


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """In one variant, since taking pictures is tested with each."""
    async with playing(tmp_path, "guide") as served:
        yield served


async def test_a_screenshot_of_each_appliance(fleet: Fleet, tmp_path: Path) -> None:
    target = tmp_path / "access.zip"
    options = ("--take-screenshot", "east-1", "--take-screenshot", "west-1", "--out", target)
    done = await anyio.run_process(
        ["sh", "-c", '. "$0" && exec "$@"', *map(str, (fleet.lab.environment, PROGRAM, "bundle", "access"))]
        + [str(each) for each in (fleet.desired_state, *options)],
        check=False,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, VARIABLE: require_program("chromium")},
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(target) as archive:
        pictures = [archive.read(f"status-basics-{name}.png") for name in ("east-1", "west-1")]
    assert pictures[0] != pictures[1]
    assert all(len(each) > 5000 for each in pictures)
    assert b"Status > Basics of west-1.example.com" in done.stdout
    assert b"add a screenshot" not in done.stderr
