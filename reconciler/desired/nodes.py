"""YAML as a tree in which every key and value knows where it was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, assert_never

from reconciler.base.position import Position

if TYPE_CHECKING:
    from collections.abc import Hashable


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar, resolved by the YAML 1.2 core schema; timestamps stay strings for the models to read."""

    value: Hashable
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence of nodes."""

    items: tuple[Node, ...]
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping, with its keys in the order of the file, each once."""

    entries: tuple[tuple[Scalar, Node], ...]
    line: int
    column: int


Node: TypeAlias = Scalar | Sequence | Mapping


def plain(node: Node) -> object:
    """The node as dictionaries, tuples and scalars, for a model to validate."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return tuple(plain(item) for item in node.items)
        case Mapping():
            return {key.value: plain(value) for key, value in node.entries}
        case _:
            assert_never(node)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML file.

    Attributes:
        path: Path relative to the desired state's root, with slashes.
        file: The path as people name it in findings.
        root: Its content.
    """

    path: str
    file: str
    root: Node

    def position(self, *path: str | int, key: bool = False) -> Position:
        """Where a value stands, or the nearest thing above it that is there.

        Args:
            path: Keys and indices from the root.
            key: Point to the last key instead of its value.
        """
        node: Node = self.root
        line, column = node.line, node.column
        for depth, step in enumerate(path):
            last = key and depth == len(path) - 1
            if isinstance(node, Mapping):
                pair = next((pair for pair in node.entries if pair[0].value == step), None)
                if pair is None:
                    break
                node = pair[1]
                line, column = (pair[0].line, pair[0].column) if last else (node.line, node.column)
            elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                line, column = node.line, node.column
            else:
                break
        return Position(self.file, line, column)
