"""`git fetch` of a branch that is followed, into references of our own. It ends in time, whatever the remote does.

Git works through children, as `ssh`, `git-remote-https` and `git index-pack`. Where a remote falls silent these outlive
it, and hold on to its streams. So git gets a session of its own, which is ended as a whole.
"""

from __future__ import annotations

import glob
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from anyio import from_thread

from reconciler.base.clock import system_clock
from reconciler.base.errors import UnreadableInput
from reconciler.desired.revision import open_repository, resolve, why

if TYPE_CHECKING:
    from collections.abc import Iterable

    from git import Git, Repo

    from reconciler.engine.unattended import Follow

NEED_GIT = "name a folder in a clone of the repository, or leave out `follow` under `watch`"
PATIENCE = 120.0
"""Seconds that a remote may take."""
_GLANCE = 0.2
"""Seconds between two looks at whether anybody still waits for the fetch."""
_MERCY = 2.0
"""Seconds that git has to end in by itself, which takes its locks along, before it is killed."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_REMEDY = "it is asked again; see whether `git fetch` works in the clone for whoever runs the reconciler"


class Followed:
    """A branch that is followed, in the clone.

    Two references of our own stand for it: one to what was fetched last, and one to what was accepted last, which keeps
    that commit in the clone whatever becomes of the branch. Their names are quoted: git cannot hold `release` beside
    `release/1`, and one may be followed after the other.
    """

    def __init__(self, path: Path, follow: Follow) -> None:
        self._path, self._remote, self._branch = path, follow.remote, follow.branch
        name = f"{quote(follow.remote, safe='')}/{quote(follow.branch, safe='')}"
        self._fetched, self._accepted = f"refs/reconciler/fetched/{name}", f"refs/reconciler/accepted/{name}"

    def fetch(self) -> tuple[str, str | None]:
        """Fetch, in a worker thread of AnyIO. Where nobody waits for it any longer it ends git, and then itself.

        Returns:
            The id of the commit; and that of the one accepted last, if the new one does not follow on from it.

        Raises:
            UnreadableInput: The remote cannot be asked, takes too long, or has no such branch.
        """
        with open_repository(self._path, NEED_GIT) as repository:
            for own in (self._fetched, self._accepted):
                _unlock(repository, own)
            unfinished = _unfinished(repository)
            try:
                self._fetch(repository, f"+refs/heads/{self._branch}:{self._fetched}")
            except BaseException:
                _tidy(_unfinished(repository) - unfinished)
                raise
            commit = resolve(repository, self._fetched)
            before = repository.git.for_each_ref("--format=%(objectname)", "--", self._accepted)
            return commit, None if _follows(repository, before, commit) else before

    def accept(self, commit: str) -> None:
        """Remember a commit as the one from which the branch is to go on."""
        with open_repository(self._path, NEED_GIT) as repository:
            # Where that fails, as on a full disk, this commit is as good as it was.
            repository.git.update_ref(self._accepted, commit, with_exceptions=False)

    def _fetch(self, repository: Repo, refspec: str) -> None:
        proxies = {name: os.environ[name] for each in _PROXIES for name in (each, each.lower()) if name in os.environ}
        repository.git.update_environment(GIT_TERMINAL_PROMPT="0", LC_ALL="C", **proxies)
        command = [
            repository.git.GIT_PYTHON_GIT_EXECUTABLE,
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            # Or git would move the remote-tracking branch as well, which is for whoever works in the clone to do.
            "--refmap=",
            *(["--depth=1"] if _is_shallow(repository) else []),
            "--",
            self._remote,
            refspec,
        ]
        git = repository.git.execute(command, as_process=True, with_stdout=False, start_new_session=True)
        try:
            told = self._told(git)
        finally:
            if git.poll() != 0:
                _end(git)
        if told is None:
            raise self._failure(f"the remote has not answered in {PATIENCE:.0f} seconds")
        if git.returncode:
            raise self._failure(why(told))

    def _told(self, git: Git.AutoInterrupt) -> bytes | None:
        """What git wrote to stderr until it ended; None where it takes too long."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            from_thread.check_cancelled()
            has_ended = git.poll() is not None
            try:
                _, told = git.communicate(timeout=_GLANCE)
            except subprocess.TimeoutExpired as error:
                if has_ended:  # somebody stays behind with its stderr, as an `ssh` that shares its connection does
                    return error.stderr or b""
            else:
                return bytes(told)
        return None

    def _failure(self, what: str) -> UnreadableInput:
        return UnreadableInput(f"{self._remote}/{self._branch} cannot be fetched: {what}", _REMEDY)


def _end(git: Git.AutoInterrupt) -> None:
    """Have git and all its children end; those that do not when they are asked to are killed."""
    for each in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):  # none is left
            os.killpg(git.pid, each)
        with suppress(subprocess.TimeoutExpired):
            git.communicate(timeout=_MERCY)


def _unlock(repository: Repo, own: str) -> None:
    """Take away the lock of our own reference, if whoever took it was killed: git holds it for an instant only."""
    lock = Path(repository.common_dir, f"{own}.lock")
    with suppress(OSError):  # there is none; or git says what is wrong with it
        if system_clock().timestamp() - lock.stat().st_mtime > PATIENCE:
            lock.unlink()


def _unfinished(repository: Repo) -> frozenset[Path]:
    """Packs that are being received, and what has been left of such."""
    return frozenset(Path(repository.common_dir, "objects/pack").glob("tmp_*"))


def _tidy(left: Iterable[Path]) -> None:
    """Take away what git leaves of packs when it is ended: git itself does so after weeks, when the disk may be full.

    Somebody else may be fetching in the same clone; what a process has open is not ours.
    """
    held = set()
    for each in glob.iglob("/proc/[0-9]*/fd/*"):  # noqa: PTH207 - which fails where a process ends meanwhile
        with suppress(OSError):  # it was closed meanwhile, or is none of our business
            held.add(os.readlink(each))  # noqa: PTH115 - thousands of them
    for path in left:
        if os.path.realpath(path) not in held:
            with suppress(OSError):  # it is gone, or belongs to somebody else
                path.unlink()


def _follows(repository: Repo, before: str, commit: str) -> bool:
    """Whether a commit has another, where there is one, among its ancestors; a shallow clone does not hold them."""
    if before in {"", commit} or _is_shallow(repository):
        return True
    status, *_ = repository.git.merge_base(
        "--is-ancestor", before, commit, with_extended_output=True, with_exceptions=False
    )
    return bool(status == 0)


def _is_shallow(repository: Repo) -> bool:
    return bool(repository.git.rev_parse("--is-shallow-repository") == "true")
