"""A desired state as a git revision holds it, read through `git ls-tree` and one `git cat-file --batch`.

Nothing is checked out, and nothing of the work tree is looked at. A commit is what its id says: replacements, which a
repository may hold for any object, are not followed.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from reconciler.base.errors import UnreadableInput
from reconciler.base.text import printable
from reconciler.desired.tree import LIMITS, Budget, Limits, Obstacle, Snapshot, too_large, unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from git import Repo

_LINK, _SUBMODULE = "120000", "160000"
_LONGEST_LINK = 4096
_KEPT = {"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME"}
"""What git sees of the environment, beside its own variables: passphrases may be among the rest."""
_READ_FOLDER = "leave out --revision to read the folder"
_FATAL, _NOT_READ = "fatal: ", "Could not read from remote repository"
_QUERY = re.compile(r"(//[^/]*/[^\s'?#]*)[?#][^\s']*")
_CREDENTIALS = re.compile(r"//.*@")
"""Whatever a URL holds before its host, at signs, slashes and spaces that should have been escaped included."""
_AGAIN = "check the repository with `git fsck`, or clone it again"


class _Entry(NamedTuple):
    mode: str
    sha: str
    size: int
    path: str


def read_revision(root: Path, revision: str, limits: Limits = LIMITS) -> Snapshot:
    """Read the files beneath a folder as they were committed.

    Args:
        root: The folder, inside the repository's work tree; it need not exist there now.
        revision: Whatever git understands: a branch, a tag, a commit id, `HEAD~2`.
        limits: What is read at most.

    Raises:
        UnreadableInput: There is no repository, no such revision, no such folder in it, or no git program.
    """
    with open_repository(root, _READ_FOLDER) as repository:
        commit = resolve(repository, revision)
        entries = _list(repository, commit, root, revision)
        budget = Budget(limits)
        obstacles: dict[str, Obstacle] = {}
        wanted: list[_Entry] = []
        for entry in entries:
            if entry.mode == _SUBMODULE:
                obstacles[entry.path] = unreadable("this is a submodule, whose files are not part of the commit")
            elif entry.size > (_LONGEST_LINK if entry.mode == _LINK else limits.file_bytes):
                obstacles[entry.path] = too_large(entry.size, limits)
            else:
                wanted.append(entry)
            excess = budget.spend(0 if entry.path in obstacles or entry.mode == _LINK else entry.size)
            if excess:
                return Snapshot(commit, {}, {}, obstacles, excess)
        contents = _contents(repository, tuple(dict.fromkeys(entry.sha for entry in wanted)))
    files = {entry.path: contents[entry.sha] for entry in wanted if entry.mode != _LINK}
    links = {entry.path: _text(contents[entry.sha]) for entry in wanted if entry.mode == _LINK}
    return Snapshot(commit, files, links, obstacles)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def is_dirty(root: Path) -> bool:
    """Whether the files beneath a folder are others than those of `HEAD`, files that git does not know included.

    Raises:
        UnreadableInput: There is no repository, or no git program.
    """
    with open_repository(root, _READ_FOLDER) as repository:
        return bool(repository.git.status("--porcelain", "--untracked-files=all", "--", str(root.resolve())))


def open_repository(root: Path, remedy: str) -> Repo:
    """The repository that a folder is in, with a git that sees no secret of the environment.

    Args:
        root: The folder; it need not exist.
        remedy: What to do where there is no repository.

    Raises:
        UnreadableInput: There is none with a work tree, or none that git is willing to read, or no git program.
    """
    try:
        import git  # noqa: PLC0415 - heavy, and it wants the git program as soon as it is imported
    except ImportError as error:
        raise UnreadableInput("there is no git program", "install git") from error
    place = root.resolve()
    while not place.is_dir() and place != place.parent:
        place = place.parent
    try:
        repository = git.Repo(place, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError) as error:
        raise UnreadableInput(f"{root} is not in a git repository", remedy) from error
    if repository.working_tree_dir is None:
        raise UnreadableInput(f"{root} is in a bare git repository", "name a folder of a clone that has a work tree")
    others = (name for name in os.environ if name not in _KEPT and not name.startswith("GIT_"))
    # Looking takes no lock that somebody else at work here would meet.
    ours = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_OPTIONAL_LOCKS": "0"}
    repository.git.update_environment(**dict.fromkeys(others, ""), **ours)
    status, _, told = repository.git.rev_parse("--git-dir", with_extended_output=True, with_exceptions=False)
    if status:
        problem = f"git does not read the repository of {root}: {why(told)}"
        raise UnreadableInput(problem, "let whoever runs the reconciler own it, or see what `git status` says there")
    return repository


def why(told: str | bytes) -> str:
    """Why git has failed, out of what it wrote to stderr: on one line, without what a URL may hold as a secret.

    What git calls fatal is said. Where that is only that a remote could not be read, the line before it tells more: it
    is the transport's own.
    """
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else told
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    at = next((number for number, line in enumerate(lines) if line.startswith(_FATAL)), 0)
    line = lines[at].removeprefix(_FATAL) if lines else "git does not say why"
    if at and line.startswith(_NOT_READ):
        line = lines[at - 1]
    return printable(_CREDENTIALS.sub("//", _QUERY.sub(r"\1", line)).rstrip("."))


def resolve(repository: Repo, revision: str) -> str:
    """The id of the commit that a revision names: of the one that a tag points to, not of the tag.

    Raises:
        UnreadableInput: There is none.
    """
    from git import GitCommandError  # noqa: PLC0415 - see `open_repository`

    try:
        return str(repository.git.rev_parse("--verify", "--end-of-options", revision + "^{commit}")).splitlines()[-1]
    except (GitCommandError, ValueError) as error:
        raise UnreadableInput(
            f"there is no revision {revision!r} in {repository.working_tree_dir}",
            "check its spelling; in a shallow clone, fetch it first",
        ) from error


def _list(repository: Repo, commit: str, root: Path, revision: str) -> list[_Entry]:
    from git import GitCommandError  # noqa: PLC0415 - see `open_repository`

    top = str(repository.working_tree_dir)
    prefix = root.resolve().relative_to(type(root)(top).resolve()).as_posix()
    try:
        listing = repository.git.ls_tree(
            "-r", "-z", "-l", "--full-tree", f"{commit}:{'' if prefix == '.' else prefix}", stdout_as_string=False
        )
    except GitCommandError as error:
        raise UnreadableInput(
            f"there is no folder {prefix} in revision {revision!r}", "name the folder as that revision calls it"
        ) from error
    entries = []
    for line in filter(None, listing.split(b"\0")):
        about, _, path = line.partition(b"\t")
        mode, _, sha, size = about.decode("ascii").split()
        if size == "BAD":
            raise UnreadableInput(f"git cannot read the object {sha}", _AGAIN)
        entries.append(_Entry(mode, sha, 0 if size == "-" else int(size), _text(path)))
    return sorted(entries, key=lambda entry: entry.path)


def _contents(repository: Repo, shas: tuple[str, ...]) -> dict[str, bytes]:
    process = repository.git.cat_file("--batch", as_process=True, istream=-1)
    output, _ = process.communicate("".join(f"{sha}\n" for sha in shas).encode())
    if process.proc.returncode:
        raise UnreadableInput("git cannot read all of the revision's files", _AGAIN)
    found: dict[str, bytes] = {}
    offset = 0
    for sha in shas:
        end = output.index(b"\n", offset)
        size = int(output[offset:end].split()[2])
        found[sha] = output[end + 1 : end + 1 + size]
        offset = end + 1 + size + 1
    return found
