"""A disk that is full, or cannot be written to: what was begun is left in order, and goes on once there is room.

The disk is a small file system of its own, which takes the privilege to mount one.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.exits import Exit
from tests.end_to_end.killed_sites import directory_site
from tests.end_to_end.killing import FILES, Program
from tests.end_to_end.test_kills import committed_key, default, killing, removal, request, self_signed
from tests.support.authorities import openssl_authority
from tests.support.programs import require_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.end_to_end.test_kills import Prepare
    from tests.support.authorities import OpenSSLAuthority

PAGE = 4096


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpenSSLAuthority:
    return openssl_authority(tmp_path_factory.mktemp("openssl") / "ca")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("program"))
    yield program
    program.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = [require_program("mount"), "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run([require_program("umount"), str(folder)], check=True)


@contextmanager
def full(disk: Path, pages: int) -> Iterator[None]:
    """Leave only so many pages free on a disk."""
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, (free - pages) * PAGE))
    yield
    filler.unlink()


@pytest.mark.prove
@pytest.mark.parametrize("journal", ["too", "elsewhere"])
@pytest.mark.parametrize("prepare", [self_signed, request, committed_key, default, removal], ids=lambda it: it.__name__)
def test_a_full_disk_breaks_nothing(
    tmp_path: Path,
    disk: Path,
    program: Program,
    authority: OpenSSLAuthority,
    prepare: Prepare,
    journal: str,
    record_property: Callable[[str, object], None],
) -> None:
    """However much room there is: none, or just enough for all but the last file."""
    if journal == "elsewhere":
        (tmp_path / "elsewhere").mkdir()
        (disk / "state").symlink_to(tmp_path / "elsewhere")
    site = directory_site(program, disk, {}, "east-1")
    site.without_reload()
    tried = killing(site, authority, prepare, FILES)
    codes, pages = [], 0
    while Exit.DONE not in codes:
        tried.begin()
        with full(disk, pages):
            ran = site.start("apply", "--yes")
        assert ran.code in {Exit.DONE, Exit.COULD_NOT, Exit.FAILED}, ran.out + ran.err
        assert ran.code == Exit.DONE or "No space left on device" in " ".join((ran.out + ran.err).split())
        tried.lost_nothing()
        assert site.start("apply", "--yes").code == Exit.DONE
        tried.comes_to_the_same_end()
        codes.append(ran.code)
        pages += 1
    assert journal == "elsewhere" or codes[0] == Exit.COULD_NOT  # it has not begun
    # To make another certificate the default takes a link and an empty file.
    assert (len(codes) > 1) is not (prepare is default and journal == "elsewhere")
    record_property("cases", pages)


@pytest.mark.prove
def test_a_store_that_is_read_only_is_left_alone(
    tmp_path: Path, disk: Path, program: Program, authority: OpenSSLAuthority
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (disk / "state").symlink_to(tmp_path / "elsewhere")
    site = directory_site(program, disk, {}, "east-1")
    committed_key(site, authority)
    before = site.observe()
    mount = [require_program("mount"), "-o", "remount"]
    subprocess.run([*mount, "-o", "ro", str(disk)], check=True)
    site.run("plan", "--detailed-exitcode", exits=Exit.CHANGES)
    ran = site.start("apply", "--yes")
    assert ran.code == Exit.FAILED
    assert "Read-only file system" in " ".join(ran.out.split())
    assert site.observe() == before
    subprocess.run([*mount, "-o", "rw", str(disk)], check=True)
    assert site.start("apply", "--yes").code == Exit.DONE
    site.run("plan", "--detailed-exitcode")
