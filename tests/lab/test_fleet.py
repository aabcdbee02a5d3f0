from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.engine.operator import load_settings
from reconciler.lab.fleet import make_lab
from reconciler.lab.release import load_release
from reconciler.lab.server import serve
from reconciler.lab.tls import TieBreak
from reconciler.live.web import WebConfiguration
from tests.lab.browser import Clock, client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.lab.fleet import Lab

EXAMPLE = Path(__file__).parents[2] / "desired-state"
PROGRAM = Path(sys.executable).with_name("reconciler")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLE, tmp_path / "desired-state")
    appliance = tmp_path / "desired-state/appliances/west-1.yaml"
    appliance.write_text(
        "hostname: west-1.example.com\nplatform: cloud\nendpoint: west-1.example.com:8443\n"
        "store:\n  driver: web\n  url: https://admin.example.com:444/appliance\n"
        "  username: {env: WEST}\n  password: {env: WEST}\n"
    )
    return tmp_path / "desired-state"


def lab_of(root: Path, clock: Clock) -> Lab:
    return make_lab(root, root.parent / "lab", variant="guide", tie_break=TieBreak.FIRST, clock=clock)


@pytest.mark.anyio
async def test_the_files_lead_the_reconciler_to_the_lab(root: Path, clock: Clock) -> None:
    lab = lab_of(root, clock)
    async with serve(*lab.appliances):
        lab.write_files()
        settings = load_settings(lab.folder / "operator.yaml", {}, root)
        ports = {each.name: each.port for each in lab.appliances}
        async with client(lab.appliances[0]) as http:
            assert (await http.get("/")).status_code == 200
    assert set(settings.stores) == set(ports)
    west = settings.stores["west-1"]
    assert isinstance(west, WebConfiguration)
    assert west.url == "https://admin.example.com:444/appliance"
    for host, port in (("admin.example.com", 444), ("west-1.example.com", 8443)):
        assert settings.network.address(host, port) == ("127.0.0.1", ports["west-1"])
    assert settings.network.address("east-1.example.com", 443) == ("127.0.0.1", ports["east-1"])
    assert next(each for each in lab.appliances if each.name == "west-1").platform == "cloud"
    assert not (root.parent / ".stores").exists(), "the declared stores are left alone"


@pytest.mark.anyio
async def test_a_kept_folder_keeps_its_stores_and_what_was_added_to_the_known_appliances(
    root: Path, clock: Clock
) -> None:
    lab = lab_of(root, clock)
    async with serve(*lab.appliances):
        lab.write_files()
    known = lab.folder / "known-appliances"
    with known.open("a") as file:
        file.write("east-1.example.com:443 " + "ab" * 32 + "\n")
    before, digests = known.read_text(), [each.store.observe().digest for each in lab.appliances]
    assert stat.S_IMODE(lab.environment.stat().st_mode) == 0o600
    again = lab_of(root, clock)
    async with serve(*again.appliances):
        again.write_files()
    assert known.read_text() == before
    assert [each.store.observe().digest for each in again.appliances] == digests
    lines = [line for line in before.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"\S+:\d+ [0-9a-f]{64}", line) for line in lines)
    assert len(lines) == len(lab.appliances) + 1


@pytest.mark.anyio
async def test_a_port_in_use_is_said(root: Path, clock: Clock) -> None:
    lab = lab_of(root, clock)
    async with serve(lab.appliances[0]):
        with pytest.raises(UsageError, match="cannot be used"):
            async with serve(lab.appliances[1], first_port=lab.appliances[0].port):
                pass


def test_git_sees_nothing_of_a_lab_and_all_of_what_was_there(root: Path, clock: Clock) -> None:
    ignored = root.parent / "lab" / ".gitignore"
    lab_of(root, clock)
    assert ignored.read_text() == "*\n"
    ignored.unlink()
    lab_of(root, clock)  # the folder holds something now, which may be anybody's
    assert not ignored.exists()


def test_what_cannot_be_played_is_said(root: Path, clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no variant"):
        load_release("nonsense")
    shutil.rmtree(root / "appliances")
    with pytest.raises(UsageError, match="declares no appliances"):
        lab_of(root, clock)
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreadableInput, match="cannot be used"):
        make_lab(EXAMPLE, tmp_path / "file", variant="guide", tie_break=TieBreak.FIRST, clock=clock)
    with pytest.raises(UsageError, match="lies inside the desired state"):
        make_lab(EXAMPLE, EXAMPLE / "lab", variant="guide", tie_break=TieBreak.FIRST, clock=clock)


@pytest.fixture
def running(root: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command: list[str | Path] = [
        PROGRAM,
        "lab",
        "--from",
        root,
        "--fault",
        "west-1:server_error",
        "--fault",
        "latency=0.01",
    ]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
    assert process.stdout
    told = ""
    while "Ctrl-C" not in told:
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        told += line
    try:
        yield process, told
    finally:
        process.kill()
        process.communicate()


def test_the_command_plays_the_fleet_until_it_is_interrupted(running: tuple[subprocess.Popen[str], str]) -> None:
    process, told = running
    addresses = dict(re.findall(r"^(\S+) +\S+ +(https://127\.0\.0\.1:\d+/appliance)$", told, re.MULTILINE))
    assert set(addresses) == {path.stem for path in (EXAMPLE / "appliances").iterdir()}
    for name, status in (("east-1", 200), ("west-1", 503)):
        reply = httpx.get(addresses[name], verify=False, follow_redirects=True, trust_env=False)  # noqa: S501
        assert reply.status_code == status
    folder = Path(re.search(r"lies in (\S+) \(temporary", told)[1])  # type: ignore[index]
    assert f". {folder}/environment" in told
    assert (folder / "operator.yaml").exists()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    assert output.endswith("The appliances have ended.\n")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--tie-break", "middle"], "is no rule for a tie"),
        (["--variant", "nonsense"], "there is no variant"),
        (["--fault", "nobody:garbled"], "there is no appliance 'nobody'"),
        (["--fault", "nonsense"], "is no kind of fault"),
    ],
)
def test_wrong_options_are_said(root: Path, options: list[str], told: str) -> None:
    done = subprocess.run([PROGRAM, "lab", "--from", root, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert told in done.stderr
