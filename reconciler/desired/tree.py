"""The files of a desired state, read once and held: from a work tree here, from a git revision in `revision`.

A snapshot is bounded in the size and number of its files, and follows symbolic links by itself, so that none leads out
of the root and both sources behave alike. What was validated is what is later applied, whatever happens on disk
meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING

from reconciler.base.errors import UnreadableInput
from reconciler.base.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_MOST_LINKS = 40
"""Links followed for one path before it counts as a loop, as Linux does."""
_LONGEST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """What is read at most.

    Attributes:
        file_bytes: Bytes of one file; the content of a larger one is not looked at.
        files: Number of files and links.
        total_bytes: Bytes of all files together.
    """

    file_bytes: int = 1 << 20
    files: int = 50_000
    total_bytes: int = 256 << 20


LIMITS = Limits()


class Hindrance(Enum):
    """Why a path yields no content."""

    MISSING = auto()
    OUTSIDE = auto()
    TOO_LARGE = auto()
    UNREADABLE = auto()


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a path yields no content, and what to do.

    Attributes:
        hindrance: Which kind of obstacle.
        message: What is wrong, in one sentence without a final full stop.
        remedy: What to do about it.
    """

    hindrance: Hindrance
    message: str
    remedy: str


@dataclass(frozen=True)
class Snapshot:
    """All files beneath a root. Paths are relative to it, with slashes.

    Attributes:
        revision: The git commit that was read, or None for a work tree.
        files: Content by path.
        links: Target of each symbolic link, as it is written.
        obstacles: What stands there but cannot be read.
        excess: Why reading was given up, or empty; everything else is incomplete then.
    """

    revision: str | None
    files: Mapping[str, bytes] = field(repr=False)
    links: Mapping[str, str]
    obstacles: Mapping[str, Obstacle]
    excess: str = ""

    def look_up(self, path: str) -> bytes | Obstacle:
        """The content of a file, links followed, or why there is none."""
        place = self._follow(path)[0]
        if isinstance(place, Obstacle):
            return place
        if place in self.files:
            return self.files[place]
        if place in self.obstacles:
            return self.obstacles[place]
        if place in self._folders:
            return Obstacle(Hindrance.MISSING, f"{shown(path)} is a folder", "name a file in it")
        return Obstacle(Hindrance.MISSING, f"there is no file {shown(path)}", "commit it, or correct the path")

    def read(self, path: str) -> bytes:
        """The content of a file, links followed.

        Raises:
            UnreadableInput: There is none.
        """
        content = self.look_up(path)
        if isinstance(content, Obstacle):
            raise UnreadableInput(content.message, content.remedy)
        return content

    def trace(self, path: str) -> tuple[str, ...]:
        """Where a path leads: the links on the way, and the path with links followed, if that is inside the root."""
        place, links = self._follow(path)
        return links if isinstance(place, Obstacle) else (*links, place)

    def is_folder(self, path: str) -> bool:
        """Whether a path names a folder, links followed."""
        return self._follow(path)[0] in self._folders

    @cached_property
    def digest(self) -> str:
        """SHA-256 over path and content of everything beneath the root; equal where the content is equal."""
        total = hashlib.sha256()
        parts: dict[str, tuple[bytes, bytes]] = {path: (b"file", content) for path, content in self.files.items()}
        parts.update({path: (b"link", _encode(target)) for path, target in self.links.items()})
        parts.update({path: (b"none", obstacle.message.encode()) for path, obstacle in self.obstacles.items()})
        for path in sorted(parts):
            kind, content = parts[path]
            name = _encode(path)
            total.update(b"%s %d %s %d\n" % (kind, len(name), name, len(content)))
            total.update(hashlib.sha256(content).digest())
        return total.hexdigest()

    @cached_property
    def _folders(self) -> frozenset[str]:
        found = {""}
        for path in (*self.files, *self.links, *self.obstacles):
            folder = path.rpartition("/")[0]
            while folder not in found:
                found.add(folder)
                folder = folder.rpartition("/")[0]
        return frozenset(found)

    def _follow(self, path: str) -> tuple[str | Obstacle, tuple[str, ...]]:
        if path.startswith("/"):
            return _outside(path), ()
        todo, done, links = path.split("/")[::-1], list[str](), list[str]()
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not done:
                    return _outside(path), tuple(links)
                done.pop()
                continue
            done.append(part)
            target = self.links.get("/".join(done))
            if target is None:
                continue
            links.append("/".join(done))
            if len(links) > _MOST_LINKS:
                return unreadable(f"{shown(path)} is a loop of symbolic links"), tuple(links)
            if target.startswith("/"):
                return _outside(path), tuple(links)
            done.pop()
            todo.extend(target.split("/")[::-1])
        return "/".join(done), tuple(links)


def shown(text: str) -> str:
    """A user's own words as they may stand in a sentence: short, and on one line."""
    text = printable(text)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _outside(path: str) -> Obstacle:
    return Obstacle(
        Hindrance.OUTSIDE,
        f"{shown(path)} leads out of the desired state",
        "commit a copy of the file inside the desired state",
    )


def too_large(size: int, limits: Limits) -> Obstacle:
    """A file is larger than may be read."""
    return Obstacle(
        Hindrance.TOO_LARGE,
        f"the file has {size} bytes; at most {limits.file_bytes} are read",
        "commit something smaller; certificates and declarations are",
    )


def unreadable(what: str) -> Obstacle:
    """Something stands there that is not a readable file."""
    return Obstacle(Hindrance.UNREADABLE, what, "commit a plain file instead, or take it away")


class Budget:
    """Counts what is read and says when it is too much."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._files = self._bytes = 0

    def spend(self, size: int) -> str:
        """Count one more file; why it is too much, or an empty string."""
        self._files += 1
        self._bytes += size
        if self._files > self._limits.files:
            return f"there are more than {self._limits.files} files"
        if self._bytes > self._limits.total_bytes:
            return f"there are more than {self._limits.total_bytes} bytes in all files together"
        return ""


def read_work_tree(root: Path, limits: Limits = LIMITS) -> Snapshot:
    """Read the files as they lie on disk. `.git` is passed over.

    Raises:
        UnreadableInput: The root is not a folder that can be listed.
    """
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise UnreadableInput(f"{root} {state}", "name the folder of the desired state")
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    obstacles: dict[str, Obstacle] = {}
    budget, excess = Budget(limits), ""
    for path, entry in _walk(root, obstacles):
        content: bytes | Obstacle = b""
        if entry.is_symlink():
            links[path] = os.readlink(entry.path)  # noqa: PTH115 - a Path would tidy the target up
        else:
            content = _content(entry, limits)
            if isinstance(content, Obstacle):
                obstacles[path] = content
            else:
                files[path] = content
        excess = budget.spend(len(content) if isinstance(content, bytes) else 0)
        if excess:
            break
    if "" in obstacles:
        raise UnreadableInput(f"{root}: {obstacles[''].message}", "check its permissions")
    return Snapshot(None, files, links, obstacles, excess)


def _walk(root: Path, obstacles: dict[str, Obstacle]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            obstacles[folder] = unreadable(f"the folder cannot be read: {error.strerror}")
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name == ".git":
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            else:
                yield path, entry


def _content(entry: os.DirEntry[str], limits: Limits) -> bytes | Obstacle:
    try:
        # Neither a link nor a pipe that takes the file's place meanwhile is followed or waited for.
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - it is open already
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return unreadable("this is neither a file, a folder nor a link")
            content = file.read(limits.file_bytes + 1)
    except OSError as error:
        return unreadable(f"the file cannot be read: {error.strerror}")
    return content if len(content) <= limits.file_bytes else too_large(status.st_size, limits)


def open_tree(path: Path, revision: str | None = None) -> Snapshot:
    """The desired state in a folder, as it lies on disk or as a git revision holds it.

    Raises:
        UnreadableInput: The folder, the repository or the revision is not there.
    """
    if revision is None:
        return read_work_tree(path)
    from reconciler.desired.revision import read_revision  # noqa: PLC0415 - git is imported only where it is asked for

    return read_revision(path, revision)
