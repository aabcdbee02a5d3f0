"""Files that commands leave for people: whole or not at all, and never over what must stay."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.engine.files import check_place, write_private, write_public

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD, NEW = b"old", b"new" * 1000


@pytest.fixture(autouse=True)
def _generous_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond ten bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_what_is_private_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    os.umask(umask)
    write_private(tmp_path / "key", NEW, replace=False)
    assert (mode(tmp_path / "key"), (tmp_path / "key").read_bytes()) == (0o600, NEW)
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_what_is_there_stays_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(OLD)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="is there already"):
        write_private(path, NEW, replace=False)
    assert path.read_bytes() == OLD
    write_private(path, NEW, replace=True)
    assert (mode(path), path.read_bytes()) == (0o600, NEW)
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_a_file_that_appears_at_the_last_moment_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"

    def somebody_else(descriptor: int) -> None:
        fsync(descriptor)
        path.write_bytes(OLD)

    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", somebody_else)
    with pytest.raises(UsageError, match="is there already"):
        write_private(path, NEW, replace=False)
    assert path.read_bytes() == OLD
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("replace", [True, False])
def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path, *, replace: bool) -> None:
    link, pipe, target = tmp_path / "link", tmp_path / "pipe", tmp_path / "target"
    target.write_bytes(OLD)
    link.symlink_to(target)
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path):
        with pytest.raises(UsageError, match="is there and no regular file"):
            write_private(path, NEW, replace=replace)
        with pytest.raises(UsageError, match="is there and no regular file"):
            write_public(path, NEW)
    assert target.read_bytes() == OLD


@pytest.mark.parametrize("place", ["missing/key", "file/key"])
def test_a_folder_that_is_none_is_told_beforehand(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(UsageError, match="is no folder - make it"):
        check_place(tmp_path / place, replace=False)


def test_a_name_that_cannot_be_is_told_beforehand(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="File name too long"):
        check_place(tmp_path / ("x" * 300), replace=False)


def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with full_disk(), pytest.raises(UnreadableInput, match=r"cannot be written: File too large"):
        write_private(path, NEW, replace=False)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(OLD)
    with full_disk(), pytest.raises(UnreadableInput):
        write_private(path, NEW, replace=True)
    with full_disk(), pytest.raises(UnreadableInput):
        write_public(path, NEW)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("key", OLD)]


def test_what_is_public_is_written_where_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "access.csr"
    assert write_public(path, OLD)
    before = path.stat()
    assert mode(path) == 0o644
    assert not write_public(path, OLD)
    assert path.stat() == before
    assert write_public(path, NEW)
    assert path.read_bytes() == NEW
    assert [each.name for each in tmp_path.iterdir()] == ["access.csr"]
