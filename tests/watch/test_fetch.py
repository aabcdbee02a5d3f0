"""A fetch ends in time and leaves nothing behind, whatever the remote and git's own children do."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from signal import SIGKILL
from socket import create_server
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.desired.revision import why
from reconciler.watch import fetch
from reconciler.watch.reading import Trouble
from tests.support.signing import git
from tests.watch.hosted import FETCHED, Hosted, days, is_alive, trouble

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEAF = "trap '' TERM HUP PIPE\nsleep 60\nsleep 60"
"""What an `ssh` does at its worst: it waits for the network, whatever becomes of git."""


class Ssh:
    """What git takes for `ssh`: a script, of which it is known which processes it runs as."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path, self._pids = folder / "ssh", folder / "pids"
        self._pids.touch()
        monkeypatch.setenv("GIT_SSH_COMMAND", str(self._path))

    def does(self, script: str) -> None:
        self._path.write_text(f"#!/bin/sh\necho $$ >> {self._pids}\n{script}\n")
        self._path.chmod(0o700)

    @property
    def began(self) -> bool:
        return bool(self._pids.read_text())

    @property
    def alive(self) -> list[int]:
        return [pid for pid in map(int, self._pids.read_text().split()) if is_alive(pid)]


@pytest.fixture
def hosted(tmp_path: Path) -> Hosted:
    return Hosted.make(tmp_path)


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosted: Hosted) -> Iterator[Ssh]:
    git(hosted.clone, "remote", "set-url", "origin", f"ssh://somebody@127.0.0.1{hosted.remote}")
    made = Ssh(tmp_path, monkeypatch)
    yield made
    for pid in made.alive:
        with suppress(ProcessLookupError):
            os.kill(pid, SIGKILL)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PATIENCE", 1.0)
    monkeypatch.setattr(fetch, "_MERCY", 0.3)


async def until_dead(ssh: Ssh, patience: float = 5) -> None:
    with anyio.fail_after(patience):
        while ssh.alive:  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.05)


@pytest.mark.anyio
class TestSilence:
    @pytest.mark.usefixtures("hasty")
    @pytest.mark.parametrize("scheme", ["git", "https"])
    async def test_a_remote_that_does_not_answer_is_given_up(self, hosted: Hosted, scheme: str) -> None:
        with create_server(("127.0.0.1", 0)) as silent, anyio.fail_after(10):
            url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/fleet.git"
            git(hosted.clone, "remote", "set-url", "origin", url)
            reading = await hosted.follow().read()
        assert trouble(reading) == (Trouble.UNREACHABLE, None)
        assert "the remote has not answered in 1 seconds" in reading.message

    @pytest.mark.usefixtures("hasty")
    async def test_so_is_one_whose_ssh_does_not_want_to_end(self, hosted: Hosted, ssh: Ssh) -> None:
        ssh.does(DEAF)
        with anyio.fail_after(10):
            reading = await hosted.follow().read()
        assert "the remote has not answered" in reading.message
        assert ssh.began
        await until_dead(ssh)

    async def test_a_fetch_ends_with_whoever_waits_for_it(
        self, hosted: Hosted, ssh: Ssh, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fetch, "_MERCY", 0.5)
        ssh.does(DEAF)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(hosted.follow().read)
                while not ssh.began:  # noqa: ASYNC110 - nobody tells
                    await anyio.sleep(0.05)
                group.cancel_scope.cancel()
        # Not some time after: the process may become another one then.
        await until_dead(ssh, patience=0.2)

    async def test_what_an_ssh_leaves_behind_is_not_waited_for(self, hosted: Hosted, ssh: Ssh) -> None:
        # As one does that shares its connection, in a session of its own: it keeps the stderr that git has given it.
        behind = "setsid sh -c 'echo $$ >> pids; exec sleep 60' < /dev/null > /dev/null &"
        ssh.does(f'cd "$(dirname "$0")"\n{behind}\nfor last; do :; done\neval "$last"')
        with anyio.fail_after(10):
            assert days(await hosted.follow().read()) == 31
        assert ssh.alive


@pytest.mark.anyio
class TestLeftovers:
    @pytest.fixture
    def packs(self, hosted: Hosted) -> Path:
        """Where packs come to lie, and one of them is on its way that is larger than what comes of it."""
        git(hosted.clone, "config", "fetch.unpackLimit", "1")
        hosted.push("32d", also=lambda folder: (folder / "large").write_bytes(os.urandom(1 << 16)))
        return hosted.clone / ".git/objects/pack"

    def cut(self, hosted: Hosted, afterwards: str) -> None:
        script = hosted.remote.parent / "upload-pack"
        script.write_text(f'#!/bin/sh\ngit-upload-pack "$@" | (dd bs=1 count=9000 status=none; {afterwards})\n')
        script.chmod(0o700)
        git(hosted.clone, "config", "remote.origin.uploadpack", str(script))

    def unfinished(self, packs: Path) -> set[str]:
        return {each.name for each in packs.glob("tmp_*")}

    @pytest.mark.usefixtures("hasty")
    async def test_packs_that_come_too_slowly_do_not_pile_up(self, hosted: Hosted, packs: Path) -> None:
        self.cut(hosted, "sleep 60")
        (packs / "tmp_pack_earlier").touch()
        seen = set[str]()
        with ExitStack() as held:
            async with anyio.create_task_group() as group:

                async def fetch_beside_it() -> None:
                    while len(seen) < 2:
                        await anyio.sleep(0.05)
                        seen.update(self.unfinished(packs))
                    held.enter_context((packs / "tmp_pack_beside").open("wb"))

                group.start_soon(fetch_beside_it)
                reading = await hosted.follow().read()
                group.cancel_scope.cancel()
            assert reading.trouble is Trouble.UNREACHABLE
            assert len(seen) == 2
            assert self.unfinished(packs) == {"tmp_pack_earlier", "tmp_pack_beside"}

    async def test_packs_that_are_cut_off_do_not_either(self, hosted: Hosted, packs: Path) -> None:
        self.cut(hosted, "true")
        reading = await hosted.follow().read()
        assert reading.trouble is Trouble.UNREACHABLE
        assert not self.unfinished(packs)
        git(hosted.clone, "config", "--unset", "remote.origin.uploadpack")
        assert days(await hosted.follow().read()) == 32

    async def test_the_lock_of_one_that_was_killed_is_taken_away(self, hosted: Hosted) -> None:
        source = hosted.follow()
        await source.read()
        hosted.push("32d")
        lock, other = (hosted.clone / ".git" / each for each in (f"{FETCHED}.lock", "index.lock"))
        lock.touch()
        other.touch()
        reading = await source.read()
        assert trouble(reading) == (Trouble.UNREACHABLE, None)
        assert "main.lock': File exists" in reading.message
        for each in (lock, other):
            os.utime(each, (each.stat().st_mtime - 2 * fetch.PATIENCE,) * 2)
        assert days(await source.read()) == 32
        assert (lock.exists(), other.exists()) == (False, True)


class TestWhy:
    @pytest.mark.parametrize(
        ("told", "reason"),
        [
            (b"", "git does not say why"),
            (b"x\nfatal: 'ssh://bot:hunter2@host/\x1b'\n", r"'ssh://host/\x1b'"),
            (b"fatal: 'https://bot:s@hunter2@host/x?token=hunter2': no", "'https://host/x': no"),
            (b"fatal: 'https://bot:a/hunter2@host/x': no", "'https://host/x': no"),
            (b"fatal: 'https://bot:a hunter2@host/x/?mail=a@b&token=hunter2/': no", "'https://host/x/': no"),
            (b"fatal: 'https://host/x#hunter2' is not there. Is it?", "'https://host/x' is not there. Is it?"),
        ],
    )
    def test_no_secret_of_a_url_is_told(self, told: bytes, reason: str) -> None:
        assert why(told) == reason

    @pytest.mark.anyio
    async def test_a_password_in_a_url_is_not_told(self, hosted: Hosted) -> None:
        git(hosted.clone, "remote", "set-url", "origin", "https://bot:hunter2@127.0.0.1:1/fleet.git?token=hunter2")
        reading = await hosted.follow().read()
        assert reading.trouble is Trouble.UNREACHABLE
        assert "unable to access 'https://127.0.0.1:1/fleet.git': Failed" in reading.message

    @pytest.mark.anyio
    async def test_what_ssh_says_is_told(self, hosted: Hosted, ssh: Ssh) -> None:
        ssh.does("echo 'Host key verification failed.' >&2; false")
        reading = await hosted.follow().read()
        assert reading.message.startswith("origin/main cannot be fetched: Host key verification failed - it is asked")

    @pytest.mark.anyio
    async def test_a_clone_of_somebody_else_is_said_to_be_one(
        self, tmp_path: Path, hosted: Hosted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        monkeypatch.setenv("HOME", str(tmp_path))  # where nobody says that it is a safe one all the same
        reading = await hosted.follow().read()
        assert "detected dubious ownership in repository at" in reading.message
        assert "let whoever runs the reconciler own it" in reading.message
