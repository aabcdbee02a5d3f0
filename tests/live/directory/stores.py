"""Directory stores for tests: making them, and putting files into them as an administrator would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.live.directory import create_store
from reconciler.live.directory.operations import DirectoryStore
from reconciler.live.driver import Upload
from tests.support.authority import NOW, Issued
from tests.support.haproxy import check

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.live.store import LiveStore
    from reconciler.pki.certificate import Certificate


def new_store(path: Path, reload_command: Sequence[str] = ()) -> DirectoryStore:
    """A store fresh from the factory."""
    create_store(path, lambda: NOW)
    return DirectoryStore(path, lambda: NOW, reload_command)


def store_at(path: Path, reload_command: Sequence[str] = ()) -> DirectoryStore:
    """The store in a directory."""
    return DirectoryStore(path, lambda: NOW, reload_command)


def bundle(issued: Issued, chain: Sequence[Certificate] | None = None) -> bytes:
    """Leaf, chain (all of it unless told otherwise) and key, as in a file that HAProxy loads."""
    certificates = issued.chain if chain is None else chain
    return issued.pem() + b"".join(Issued(each, issued.key).pem() for each in certificates) + issued.key_pem()


def put(path: Path, name: str, content: bytes) -> None:
    """A file that an administrator drops into a directory."""
    path.mkdir(exist_ok=True)
    (path / name).write_bytes(content)


def upload(issued: Issued, *, chain: bool = True) -> Upload:
    """A file to import: certificate, key and chain."""
    return Upload(bundle(issued, None if chain else ()))


def names(path: Path) -> list[str]:
    """What a front end may look at: everything but dot-names, in its order."""
    return sorted(each.name for each in path.iterdir() if not each.name.startswith("."))


def keys(store: LiveStore) -> dict[str, bool]:
    """Which certificates there are, and which have their key."""
    return {each.fingerprint: each.has_key for each in store.certificates}


def assert_haproxy_starts(path: Path) -> None:
    problem = check(path)
    assert not problem, problem
