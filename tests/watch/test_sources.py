from __future__ import annotations

import os
import shutil
from itertools import count
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.base.errors import ReconcilerError
from reconciler.engine.load import load_desired
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.unattended import Follow, Unattended
from reconciler.watch import sources
from reconciler.watch.reading import Trouble
from reconciler.watch.sources import Branch, Folder, place_of, source_of
from tests.support.signing import SshKey, git
from tests.watch.hosted import ACCEPTED, FETCHED, Hosted, days, declare, trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.desired.state import DesiredState
    from reconciler.watch.reading import DesiredSource

pytestmark = pytest.mark.anyio
TICK = 0.2


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    return SshKey.make(tmp_path_factory.mktemp("ssh"), "alice")


@pytest.fixture
def signers(tmp_path: Path, alice: SshKey) -> Path:
    path = tmp_path / "signers"
    allow(path, "alice", alice)
    return path


def allow(signers: Path, name: str, key: SshKey) -> None:
    signers.write_text(f"{name}@example.com {key.public}\n")


class TestBranch:
    async def test_the_newest_commit_is_read_and_the_clone_stays_as_it_is(self, tmp_path: Path) -> None:
        hosted = Hosted.make(tmp_path)
        git(hosted.clone, "config", "fetch.prune", "true")
        source = hosted.follow()
        assert days(await source.read()) == 31
        before = [git(hosted.clone, "rev-parse", each) for each in ("HEAD", "origin/main")]
        (hosted.clone / "desired-state/fleet.yaml").write_text("half an ed")
        commit = hosted.push("32d")
        git(hosted.author, "push", "-q", "origin", "main:other", "main:refs/tags/v1")
        reading = await source.read()
        assert (days(reading), reading.state and reading.state.revision) == (32, commit)
        assert [git(hosted.clone, "rev-parse", each) for each in ("HEAD", "origin/main")] == before
        assert (hosted.clone / "desired-state/fleet.yaml").read_text() == "half an ed"
        assert not (hosted.clone / ".git/FETCH_HEAD").exists()
        assert git(hosted.clone, "for-each-ref", "--format=%(refname)").splitlines() == [
            "refs/heads/main",
            ACCEPTED,
            FETCHED,
            "refs/remotes/origin/HEAD",
            "refs/remotes/origin/main",
        ]

    async def test_what_is_read_already_is_not_read_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = Hosted.make(tmp_path).follow()
        first = await source.read()
        monkeypatch.delattr(sources, "load_desired")
        assert (await source.read()).state is first.state

    async def test_history_may_be_rewritten(self, tmp_path: Path) -> None:
        hosted = Hosted.make(tmp_path)
        source = hosted.follow()
        await source.read()
        git(hosted.author, "reset", "-q", "--hard", "HEAD~1")
        hosted.push("40d")
        assert days(await source.read()) == 40

    async def test_a_shallow_clone_stays_shallow(self, tmp_path: Path) -> None:
        hosted = Hosted.make(tmp_path, "--depth=1")
        source = hosted.follow()
        for renew_before in (41, 42):
            hosted.push(f"{renew_before}d")
        assert days(await source.read()) == 42
        assert git(hosted.clone, "rev-list", "--count", FETCHED) == "1"

    async def test_a_remote_that_is_gone_and_comes_back(self, tmp_path: Path) -> None:
        hosted = Hosted.make(tmp_path)
        source = hosted.follow()
        known = await source.read()
        assert known.state is not None
        hosted.remote.rename(tmp_path / "elsewhere")
        reading = await source.read()
        assert trouble(reading) == (Trouble.UNREACHABLE, None)
        assert reading.message.startswith("origin/main cannot be fetched: '")
        assert "it is asked again" in reading.message
        assert days(await source.earlier(str(known.state.revision))) == 31
        (tmp_path / "elsewhere").rename(hosted.remote)
        assert days(await source.read()) == 31

    async def test_a_branch_that_is_not_there(self, tmp_path: Path) -> None:
        reading = await Hosted.make(tmp_path).follow(branch="release").read()
        assert trouble(reading) == (Trouble.UNREACHABLE, None)
        assert "couldn't find remote ref refs/heads/release" in reading.message

    async def test_that_history_was_written_anew_is_told_once(self, tmp_path: Path) -> None:
        hosted = Hosted.make(tmp_path)
        source = hosted.follow()
        first = await source.read()
        hosted.push("32d")
        second = await source.read()
        assert second.left is first.left is None
        git(hosted.author, "reset", "-q", "--hard", "HEAD~1")
        git(hosted.author, "push", "-q", "--force", "origin", "main")
        back = await source.read()
        assert back.state is not None
        assert second.state is not None
        assert days(back) == 31
        assert back.left == second.state.revision
        assert (await source.read()).left is None

    async def test_what_was_read_last_is_what_was_not_refused(self, tmp_path: Path) -> None:
        hosted = Hosted.make(tmp_path)
        first = await hosted.follow().read()
        assert first.state is not None
        git(hosted.author, "reset", "-q", "--hard", "HEAD~1")
        hosted.push("32d", also=lambda folder: (folder / "fleet.yaml").write_text("policy: {"))
        assert trouble(await hosted.follow().read())[0] is Trouble.BROKEN
        hosted.push("33d")
        # Whoever was killed meanwhile begins with what is in the clone.
        anew = await hosted.follow().read()
        assert (days(anew), anew.left) == (33, first.state.revision)

    async def test_a_commit_that_cannot_be_remembered_is_read_all_the_same(self, tmp_path: Path) -> None:
        hosted = Hosted.make(tmp_path)
        lock = hosted.clone / ".git" / f"{ACCEPTED}.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        assert days(await hosted.follow().read()) == 31
        assert lock.exists()

    async def test_names_of_branches_do_not_clash(self, tmp_path: Path) -> None:
        hosted = Hosted.make(tmp_path)
        for branch in ("release/1", "release", "release/1"):
            git(hosted.author, "push", "-q", "origin", f"main:{branch}")
            assert days(await hosted.follow(branch=branch).read()) == 31
            git(hosted.author, "push", "-q", "--delete", "origin", branch)

    async def test_nothing_that_nobody_vouches_for_comes_in_force(
        self, tmp_path: Path, signers: Path, alice: SshKey
    ) -> None:
        hosted = Hosted.make(tmp_path)
        source = hosted.follow([signers])
        signed = hosted.push("33d", *alice.options)
        reading = await source.read()
        assert (days(reading), reading.signed_by) == (33, ("alice@example.com",))
        unsigned = hosted.push("34d")
        reading = await source.read()
        assert trouble(reading) == (Trouble.NOT_SIGNED, unsigned)
        assert "is not signed" in reading.message
        assert days(await source.earlier(signed)) == 33
        allow(signers, "bob", SshKey.make(tmp_path, "bob"))
        assert trouble(await source.earlier(signed)) == (Trouble.NOT_SIGNED, signed)

    async def test_a_broken_commit_says_which_it_is(self, tmp_path: Path) -> None:
        hosted = Hosted.make(tmp_path)
        source = hosted.follow()
        broken = hosted.push("35d", also=lambda folder: (folder / "fleet.yaml").write_text("policy: {"))
        assert trouble(await source.read()) == (Trouble.BROKEN, broken)
        gone = hosted.push("36d", also=shutil.rmtree)
        reading = await source.read()
        assert trouble(reading) == (Trouble.BROKEN, gone)
        assert "there is no folder desired-state" in reading.message
        hosted.push("37d")
        assert days(await source.read()) == 37

    async def test_it_waits_about_as_long_as_it_is_told(self, tmp_path: Path) -> None:
        hosted = Hosted.make(tmp_path)
        began = anyio.current_time()
        await hosted.follow().wait()
        assert 0.9 <= anyio.current_time() - began < 2


class TestFolder:
    async def wait(self, source: DesiredSource, change: Callable[[], object]) -> None:
        """The source returns after a change, and not before."""
        with anyio.fail_after(8):
            async with anyio.create_task_group() as group:

                async def wait() -> None:
                    await source.wait()
                    assert changed
                    group.cancel_scope.cancel()

                changed = False
                group.start_soon(wait)
                await anyio.sleep(2 * TICK)
                changed = True
                change()

    async def test_an_edit_is_noticed_at_once(self, tmp_path: Path) -> None:
        folder = tmp_path / "desired-state"
        declare(folder, "30d")
        source = Folder(folder, str(folder), (), tick=60)
        assert days(await source.read()) == 30
        await self.wait(source, lambda: declare(folder, "45d"))
        assert days(await source.read()) == 45

    async def test_a_change_while_it_is_read_is_not_missed(self, tmp_path: Path) -> None:
        folder = tmp_path / "desired-state"
        declare(folder, "30d")
        source = Folder(folder, str(folder), (), tick=60)
        await source.read()
        declare(folder, "145d")
        with anyio.fail_after(1):
            await source.wait()

    def change_while_read(self, folder: Path, days: Iterator[int], monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the folder change each time it has been read, for as long as there is something to declare."""
        load = load_desired

        def load_slowly(path: Path, revision: str | None = None) -> DesiredState:
            state = load(path, revision)
            for each in days:
                declare(folder, f"{each}d")
                break
            return state

        monkeypatch.setattr(sources, "load_desired", load_slowly)
        monkeypatch.setattr(sources, "_REST", 0.01)
        monkeypatch.setattr(sources, "_PAUSE", 0.3)

    async def test_files_are_of_one_instant(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "desired-state"
        declare(folder, "30d")
        self.change_while_read(folder, iter((145, 146)), monkeypatch)
        assert days(await Folder(folder, str(folder), (), tick=60).read()) == 146

    async def test_files_that_keep_changing_are_asked_for_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "desired-state"
        declare(folder, "30d")
        source = Folder(folder, str(folder), (), tick=60)
        with monkeypatch.context() as patch:
            self.change_while_read(folder, count(145), patch)
            reading = await source.read()
            assert trouble(reading) == (Trouble.UNREACHABLE, None)
            assert reading.message.startswith("the files keep changing while they are read - finish editing")
            assert await self.waited(source) >= 0.3
        assert days(await source.read()) == 147

    async def waited(self, source: DesiredSource) -> float:
        """How many seconds there may be something newer after."""
        began = anyio.current_time()
        with anyio.fail_after(5):
            await source.wait()
        return anyio.current_time() - began

    async def test_files_that_say_nothing_may_change_all_the_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "desired-state"
        declare(folder, "30d")
        load, reads = load_desired, count(1)

        def load_slowly(path: Path, revision: str | None = None) -> DesiredState:
            state = load(path, revision)
            (folder / "build.log").write_text("x" * next(reads))
            return state

        monkeypatch.setattr(sources, "load_desired", load_slowly)
        monkeypatch.setattr(sources, "_REST", 0.01)
        monkeypatch.setattr(sources, "_PAUSE", 0.3)
        source = Folder(folder, str(folder), (), tick=60)
        (folder / "build.log").touch()
        assert days(await source.read()) == 30
        assert await self.waited(source) >= 0.3
        declare(folder, "45d")
        assert days(await source.read()) == 45
        assert next(reads) == 5
        # What is broken says twice the same as well.
        (folder / "fleet.yaml").write_text("policy: {")
        assert trouble(await source.read())[0] is Trouble.BROKEN

    async def test_what_git_does_is_no_change(self, tmp_path: Path) -> None:
        declare(tmp_path, "30d")
        git(tmp_path, "init", "-q")
        source = Folder(tmp_path, str(tmp_path), (), tick=TICK)
        await source.read()
        await self.wait(source, lambda: declare(tmp_path, "31d"))
        await source.read()
        git(tmp_path, "add", "-A")
        with anyio.move_on_after(4 * TICK) as waiting:
            await source.wait()
        assert waiting.cancelled_caught

    async def test_an_unexpected_error_is_met_again_after_a_pause(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "desired-state"
        declare(folder, "30d")
        source = Folder(folder, str(folder), (), tick=60)
        monkeypatch.setattr(sources, "_PAUSE", 0.3)
        await source.read()

        def broken(*_: object) -> DesiredState:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(sources, "load_desired", broken)
            with pytest.raises(ZeroDivisionError):
                await source.read()
        assert await self.waited(source) >= 0.3
        assert days(await source.read()) == 30

    async def test_the_folder_may_be_replaced_and_be_gone_meanwhile(self, tmp_path: Path) -> None:
        folder = tmp_path / "desired-state"
        declare(folder, "30d")
        source = Folder(folder, str(folder), (), tick=TICK)
        await source.read()

        def swap() -> None:
            declare(tmp_path / "next", "46d")
            folder.rename(tmp_path / "last")
            (tmp_path / "next").rename(folder)

        await self.wait(source, swap)
        assert days(await source.read()) == 46
        await self.wait(source, lambda: shutil.rmtree(folder))
        assert trouble(await source.read()) == (Trouble.UNREACHABLE, None)
        await self.wait(source, lambda: declare(folder, "47d"))
        assert days(await source.read()) == 47

    async def test_a_link_may_lead_elsewhere(self, tmp_path: Path) -> None:
        folder = tmp_path / "desired-state"
        declare(tmp_path / "one", "30d")
        declare(tmp_path / "two", "48d")
        (tmp_path / "one/dangling").symlink_to("nowhere")
        folder.symlink_to("one")
        source = Folder(folder, str(folder), (), tick=TICK)
        await source.read()

        def switch() -> None:
            (tmp_path / "new").symlink_to("two")
            (tmp_path / "new").rename(folder)

        await self.wait(source, switch)
        assert days(await source.read()) == 48

    async def test_a_broken_file_is_told(self, tmp_path: Path) -> None:
        folder = tmp_path / "desired-state"
        declare(folder, "30d")
        (folder / "fleet.yaml").write_text("policy: {")
        assert trouble(await Folder(folder, "", ()).read())[0] is Trouble.BROKEN

    async def test_only_what_is_committed_and_signed_comes_in_force(
        self, tmp_path: Path, signers: Path, alice: SshKey
    ) -> None:
        root, folder = tmp_path / "root", tmp_path / "root/desired-state"
        root.mkdir()
        declare(folder, "30d")
        source = Folder(folder, str(folder), [signers], tick=TICK)
        assert trouble(await source.read())[0] is Trouble.NOT_SIGNED

        def commit() -> None:
            git(root, "add", "-A")
            git(root, *alice.options, "commit", "-q", "-m", "Declare")

        git(root, "init", "-q")
        commit()
        first = await source.read()
        assert first.state is not None
        assert (days(first), first.signed_by) == (30, ("alice@example.com",))
        await self.wait(source, lambda: declare(folder, "49d"))
        # Files that differ from a signed commit say nothing against that one.
        assert trouble(await source.read()) == (Trouble.NOT_SIGNED, None)
        assert days(await source.earlier(str(first.state.revision))) == 30
        await self.wait(source, commit)
        assert days(await source.read()) == 49
        await self.wait(source, lambda: allow(signers, "bob", SshKey.make(tmp_path, "bob")))
        assert trouble(await source.read()) == (Trouble.NOT_SIGNED, git(root, "rev-parse", "HEAD"))
        await self.wait(source, signers.unlink)
        assert trouble(await source.read())[0] is Trouble.NOT_SIGNED


def test_the_settings_say_what_is_followed(tmp_path: Path, signers: Path) -> None:
    hosted = Hosted.make(tmp_path)
    folder = hosted.clone / "desired-state"
    plain = OperatorSettings(require_signed=str(signers))
    assert isinstance(source_of(folder, plain), Folder)
    assert place_of(folder, plain) == str(folder)
    followed = OperatorSettings(watch=Unattended(follow=Follow(branch="main")))
    assert isinstance(source_of(folder, followed), Branch)
    assert source_of(folder, followed).place == "origin/main"
    unspeakable = tmp_path / os.fsdecode(b"\xff")
    assert place_of(unspeakable, plain) == rf"{tmp_path}/\udcff"
    elsewhere = OperatorSettings(watch=Unattended(follow=Follow(branch="main", remote="upstream")))
    with pytest.raises(ReconcilerError, match="has no remote upstream - check `remote` beneath `follow`"):
        source_of(folder, elsewhere)
    with pytest.raises(ReconcilerError, match="is not in a git repository"):
        source_of(tmp_path, followed)
