from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.base.durable import read_file
from reconciler.base.errors import FormatError


def test_a_regular_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(FormatError, match="larger than 4 bytes"):
        read_file(tmp_path / "file", 4)


def test_a_file_that_does_not_tell_its_size_is_read_no_further() -> None:
    with pytest.raises(FormatError, match="larger than 10 bytes"):
        read_file(Path("/proc/self/status"), 10)


def test_nothing_else_is_waited_for_or_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(FormatError, match="no regular file"):
            read_file(path, 10)
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with pytest.raises(OSError, match="symbolic links"):
        read_file(tmp_path / "link", 10)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "nothing", 10)
