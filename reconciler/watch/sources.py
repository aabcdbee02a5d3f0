"""Where the loop takes the desired state from: the files of a folder, or a branch of a remote that is followed.

Of a branch nothing is checked out: its commit is fetched into a reference of our own and read from there, so whoever
works in the clone meets nothing of it. Where signatures are required, what is in force is always a signed commit.
"""

from __future__ import annotations

import os
import random
import stat
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from watchfiles import awatch

from reconciler.base.errors import ReconcilerError, UnreadableInput, UsageError
from reconciler.base.text import printable
from reconciler.desired.revision import open_repository, resolve
from reconciler.engine.load import load_desired, signed_commit
from reconciler.watch.concerned import alike
from reconciler.watch.fetch import NEED_GIT, Followed
from reconciler.watch.reading import Reading, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings
    from reconciler.engine.unattended import Follow
    from reconciler.watch.reading import DesiredSource
    from reconciler.watch.schedule import Chance

_TICK = 3.0
"""A folder is compared with what it was this often, in seconds: not every file system tells of changes, and a folder
may be replaced as a whole."""
_STEP, _DEBOUNCE = 200, 2000
"""Milliseconds in which nothing more may change before files are read, and for which that is waited at most."""
_READS, _REST = 3, 0.5
"""How often a folder is read that changes meanwhile, and after how many seconds again."""
_PAUSE = 15.0
"""Seconds until a folder is read once more that changes all the time, or that could not be read for no known reason."""
_CHANCE: Chance = random.SystemRandom().random
_CHANGING = "finish editing, or put the folder in place as a whole; it is read again"


def place_of(path: Path, settings: OperatorSettings) -> str:
    """What the source of a loop over a folder is called."""
    follow = settings.watch.follow
    return f"{follow.remote}/{follow.branch}" if follow else printable(str(path.resolve()))


def source_of(path: Path, settings: OperatorSettings) -> DesiredSource:
    """The source that the operator settings name.

    Args:
        path: Folder of the desired state.
        settings: Operator settings.

    Raises:
        UnreadableInput: A branch is to be followed, and the folder is in no clone.
        UsageError: The clone has no such remote.
    """
    signers = [Path(settings.require_signed)] if settings.require_signed is not None else []
    place, follow = place_of(path, settings), settings.watch.follow
    if follow is None:
        return Folder(path, place, signers)
    with open_repository(path, NEED_GIT) as repository:
        if follow.remote not in repository.git.remote().splitlines():
            problem = f"the clone in {repository.working_tree_dir} has no remote {follow.remote}"
            raise UsageError(problem, "check `remote` beneath `follow` in the operator settings")
    return Branch(path, place, signers, follow)


class _Commits:
    """Reads commits; the one that was read last is kept, since most of the time nothing is new."""

    def __init__(self, path: Path, signers: Sequence[Path]) -> None:
        self._path, self._signers = path, signers
        self._last: DesiredState | None = None

    def read(self, revision: str | None) -> Reading:
        """Read a commit, if it is signed by whom it has to be; None for that of the files as they lie there."""
        signed_by: tuple[str, ...] = ()
        if self._signers:
            try:
                signatures = signed_commit(self._path, revision, self._signers)
            except ReconcilerError as error:
                return Reading.refusal(Trouble.NOT_SIGNED, str(error), revision or self._unsigned_head())
            revision = signatures[0].commit
            signed_by = tuple(dict.fromkeys(each.signer for each in signatures))
        if self._last is None or revision is None or self._last.revision != revision:
            try:
                self._last = load_desired(self._path, revision)
            except ReconcilerError as error:
                trouble = Trouble.UNREACHABLE if revision is None else Trouble.BROKEN
                return Reading.refusal(trouble, str(error), revision)
        return Reading.of(self._last, signed_by)

    def _unsigned_head(self) -> str | None:
        """The commit of a work tree whose files may not be in force, unless it is only these that differ from it."""
        head = _head(self._path)
        try:
            if head:
                signed_commit(self._path, head, self._signers)
        except ReconcilerError:
            return head
        return None


class Folder:
    """The files as they lie in a folder; where signatures are required these have to be those of a signed `HEAD`.

    Attributes:
        place: The folder.
    """

    def __init__(self, path: Path, place: str, signers: Sequence[Path], tick: float = _TICK) -> None:
        self.place = place
        self._path, self._signers, self._tick = path, signers, tick
        self._commits = _Commits(path, signers)
        # What was there when it was read last, and whether nothing has changed while it was.
        self._seen: object = None
        self._settled = False

    async def read(self) -> Reading:
        """The files as they are now: all of one instant, so they are read again if they change meanwhile.

        Some may change without end that declare nothing, as logs do. So what says twice the same is of one instant too.
        """
        self._seen, self._settled = None, False
        last: Reading | None = None
        for _ in range(_READS):
            seen = await to_thread.run_sync(self._look)
            reading = await to_thread.run_sync(self._commits.read, None)
            self._settled = await to_thread.run_sync(self._look) == seen
            if self._settled or (last is not None and _say_the_same(last, reading)):
                self._seen = seen
                return reading
            last = reading
            await anyio.sleep(_REST)
        return Reading.refusal(Trouble.UNREACHABLE, f"the files keep changing while they are read - {_CHANGING}")

    async def earlier(self, revision: str) -> Reading:
        """The signed commit that was in force before."""
        return await to_thread.run_sync(self._commits.read, revision)

    async def wait(self) -> None:
        """Return when a file has changed, or the folder is another, or `HEAD` is where signatures are required.

        Where the last reading was disturbed, or failed, that is not before a pause: it would be read all the time.
        """
        if not self._settled:
            await anyio.sleep(_PAUSE)
        while await to_thread.run_sync(self._look) == self._seen:
            await self._rest()

    async def _rest(self) -> None:
        """Return after a change and the ones that follow it closely, or after a while."""
        enough = anyio.Event()

        async def end() -> None:
            # Files are watched in a thread, which only looks at this, and which is waited for also when all ends.
            try:
                await anyio.sleep(self._tick)
            finally:
                enough.set()

        async with anyio.create_task_group() as group:
            group.start_soon(end)
            changes = awatch(self._path, watch_filter=None, step=_STEP, debounce=_DEBOUNCE, stop_event=enough)
            try:
                async with aclosing(changes):
                    await anext(changes, None)
            except OSError:  # it is not there now, or there are too many watches
                await enough.wait()
            group.cancel_scope.cancel()

    def _look(self) -> object:
        """What tells one content of the folder from another, without reading any file."""
        allowed = [_changed_at(each) for each in self._signers]
        return sorted(_files(self._path)), _head(self._path) if self._signers else "", allowed


def _say_the_same(one: Reading, other: Reading) -> bool:
    """Whether two readings differ at most in files that nothing refers to."""
    if one.state and other.state:
        return alike(one.state, other.state)
    return (one.trouble, one.message) == (other.trouble, other.message)


def _changed_at(path: Path) -> int | None:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return None


def _files(folder: Path) -> list[tuple[str, int, int, int]]:
    found = []
    for path, folders, files in os.walk(folder):
        if ".git" in folders:  # which is not read either
            folders.remove(".git")
        for name in (*folders, *files):
            place = os.path.join(path, name)  # noqa: PTH118 - some thousands of them, every few seconds
            try:
                about = os.stat(place)  # noqa: PTH116 - as above
            except OSError:
                continue
            is_file = not stat.S_ISDIR(about.st_mode)
            found.append((place, about.st_ino, about.st_mtime_ns if is_file else 0, about.st_size if is_file else 0))
    return found


def _head(folder: Path) -> str:
    try:
        with open_repository(folder, NEED_GIT) as repository:
            return resolve(repository, "HEAD")
    except UnreadableInput:
        return ""


class Branch:
    """A branch of a remote, as it was fetched last.

    Attributes:
        place: Remote and branch.
    """

    def __init__(
        self,
        path: Path,
        place: str,
        signers: Sequence[Path],
        follow: Follow,
        chance: Chance = _CHANCE,
    ) -> None:
        self.place = place
        self._follow, self._chance = follow, chance
        self._commits, self._followed = _Commits(path, signers), Followed(path, follow)

    async def read(self) -> Reading:
        """Fetch the branch, and read its newest commit."""
        try:
            commit, left = await to_thread.run_sync(self._followed.fetch)
        except ReconcilerError as error:
            return Reading.refusal(Trouble.UNREACHABLE, str(error))
        reading = replace(await to_thread.run_sync(self._commits.read, commit), left=left)
        if reading.state is not None:
            await to_thread.run_sync(self._followed.accept, commit)
        return reading

    async def earlier(self, revision: str) -> Reading:
        """A commit that was fetched before."""
        return await to_thread.run_sync(self._commits.read, revision)

    async def wait(self) -> None:
        """Return after about as long as the operator says: many loops are not to ask a remote all at once."""
        await anyio.sleep(self._follow.every.total_seconds() * (0.9 + self._chance() / 5))
