"""A desired state with further files laid over it, in memory: what would be if they were written."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.desired.adoption import SCHEMAS
from reconciler.desired.beginning import without_first_acknowledgements
from reconciler.desired.load import load
from reconciler.desired.writing import edit
from reconciler.live.driver import driver_types

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.desired.state import DesiredState
    from reconciler.desired.tree import Snapshot
    from reconciler.desired.writing import Change


@dataclass(frozen=True)
class Wish:
    """What is to be adopted.

    Attributes:
        appliances: The appliances, by name.
        files: New files that declare them where they are not declared yet, by path: without what they hold.
        edits: Changes of files that are there, by path: a site that an appliance joins.
        places: Paths among the new files that say nothing of clients yet, and should.
    """

    appliances: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    edits: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    places: frozenset[str] = frozenset()


def has_schemas(root: Path) -> bool:
    """Whether the JSON Schemas lie beside a desired state, so that a written file can name its own."""
    return (root.resolve().parent / SCHEMAS).is_dir()


class Desk:
    """The files as they would be, in memory."""

    def __init__(self, tree: Snapshot, root: Path, wish: Wish) -> None:
        self.tree = tree
        self.wish = wish
        self.schema = has_schemas(root)
        self.begun: frozenset[str] = frozenset()
        """Files of places where something is declared by now: what `init` accepted as long as nothing is goes."""
        self._root = str(root)
        self._options = {name: each.configuration for name, each in driver_types().items()}

    def load(self, endings: Mapping[str, bytes]) -> DesiredState:
        """The desired state with what is wished for, and with something at the end of some of the files."""
        files = {path: self.start(path) for path in (*self.wish.files, *self.wish.edits)}
        return self.over(files | {path: files[path] + ending for path, ending in endings.items()})

    def start(self, path: str) -> bytes:
        """A file before anything that was found live is written into it."""
        content = self.wish.files.get(path)
        if content is None:
            content = self.tree.read(path)
        if path in self.begun:
            content = without_first_acknowledgements(content)
        return edit(content, self.wish.edits.get(path, ()), self.named(path))

    def over(self, files: Mapping[str, bytes]) -> DesiredState:
        """The desired state with some files in the place of those that are there."""
        laid = {**self.tree.files, **{self.place(path): content for path, content in files.items()}}
        return load(replace(self.tree, files=dict(sorted(laid.items()))), self._options, display_root=self._root)

    def place(self, path: str) -> str:
        """Where a file really lies, links followed."""
        return (path, *self.tree.trace(path))[-1]

    def named(self, path: str) -> str:
        """A path as people name it."""
        return posixpath.join(self._root, path)

    def is_free(self, name: str, content: bytes) -> bool:
        """Whether a certificate may be declared under a name: nothing is there, or just what would be written."""
        everything = {*self.tree.files, *self.tree.links, *self.tree.obstacles, *self.wish.files}
        folder = f"certificates/{name}"
        # A folder cannot have the name of a file, be it there or the declaration of another.
        if name.endswith(".yaml") or not everything.isdisjoint({folder, f"{folder}.yaml", f"{folder}.yml"}):
            return False
        is_there = any(each.startswith(f"{folder}/") for each in everything)
        return not is_there or self.tree.files.get(f"{folder}/signed.pem") == content

    def changed(self, files: Mapping[str, bytes]) -> dict[str, tuple[bytes | None, bytes]]:
        """What of these files differs from what is there."""
        places = {self.place(path): content for path, content in files.items()}
        return {
            path: (self.tree.files.get(path), content)
            for path, content in places.items()
            if self.tree.files.get(path) != content
        }
