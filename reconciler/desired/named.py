"""What a file refers to, read from its nodes: so it is known, and checked, for files that a model refuses, too."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, TypeAlias, assert_never

from reconciler.base.findings import Kind
from reconciler.base.references import CommittedPath
from reconciler.desired.models import NAME
from reconciler.desired.nodes import Mapping, Node, Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.desired.nodes import Document

Path: TypeAlias = tuple[str | int, ...]

_MATERIAL: dict[Kind, tuple[Path, ...]] = {
    Kind.FLEET: (),
    Kind.SITE: (("client_software", "*", "trusts", "*"),),
    Kind.APPLIANCE: (("client_software", "*", "trusts", "*"),),
    Kind.CERTIFICATE: (("source", "signed"), ("source", "certificate"), ("source", "key"), ("source", "chain", "*")),
}


def members_named(document: Document) -> Iterator[tuple[Path, str]]:
    """The appliances that a site names, and where."""
    for pattern in (("primary",), ("backup",), ("traffic_nodes", "*")):
        yield from _names(document, pattern)


def certificates_named(document: Document) -> Iterator[tuple[Path, str]]:
    """The certificates that a site or an appliance lists, and where."""
    yield from _names(document, ("certificates", "*"))


def material_named(document: Document, kind: Kind) -> Iterator[tuple[Path, CommittedPath]]:
    """The committed files that a document names in the places common to all drivers, and where."""
    folder = posixpath.dirname(document.path)
    for pattern in _MATERIAL[kind]:
        for path, text in _texts_at(document.root, pattern):
            place = posixpath.normpath(posixpath.join(folder, text))
            if text and not posixpath.isabs(place) and place.split("/")[0] != "..":
                yield path, CommittedPath(place)


def texts(node: Node) -> Iterator[str]:
    """All text in a node, keys left out."""
    match node:
        case Scalar():
            if isinstance(node.value, str):
                yield node.value
        case Sequence():
            for item in node.items:
                yield from texts(item)
        case Mapping():
            for _, value in node.entries:
                yield from texts(value)
        case _:
            assert_never(node)


def _names(document: Document, pattern: Path) -> Iterator[tuple[Path, str]]:
    return ((path, text) for path, text in _texts_at(document.root, pattern) if NAME.fullmatch(text))


def _texts_at(node: Node, pattern: Path, path: Path = ()) -> Iterator[tuple[Path, str]]:
    if not pattern:
        if isinstance(node, Scalar) and isinstance(node.value, str):
            yield path, node.value
    elif isinstance(node, Sequence) and pattern[0] == "*":
        for index, item in enumerate(node.items):
            yield from _texts_at(item, pattern[1:], (*path, index))
    elif isinstance(node, Mapping):
        for key, value in node.entries:
            if key.value == pattern[0]:
                yield from _texts_at(value, pattern[1:], (*path, pattern[0]))
