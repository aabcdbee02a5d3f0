from __future__ import annotations

import fcntl
import json
import os
from threading import Timer
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.unattended import Unattended
from reconciler.watch.memory import FILE, at_work, held, memory_folder, read_watched
from reconciler.watch.model import Source, Watched, WatchedAppliance
from tests.support.authority import NOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WATCHED = Watched(
    started_at=NOW,
    at=NOW,
    source=Source(place="main", revision="c1"),
    appliances=(WatchedAppliance(name="lab", mode="apply", removals=(NOW,)),),
)


def test_what_is_kept_is_recalled(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there yet"
    with held(folder) as memory:
        assert memory.recall() is None
        memory.keep(WATCHED)
        assert memory.recall() == WATCHED
    assert read_watched(folder) == WATCHED
    assert (folder / FILE).stat().st_mode & 0o077 == 0


def test_nothing_there_is_nothing_to_tell(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_watched(tmp_path) is None
    (tmp_path / "file").touch()
    assert read_watched(tmp_path / "file") is None
    with held(tmp_path) as memory:
        assert memory.recall() is None
    assert not caplog.records


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"at": "yesterday"}',
        b"[" * 100_000,
        WATCHED.model_dump_json().encode()[:-1],
        WATCHED.model_copy(update={"format_version": "2.0"}).model_dump_json().encode(),
    ],
)
def test_what_cannot_be_understood_is_told_and_as_if_it_were_not_there(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UnreadableInput, match="not understood"):
        read_watched(tmp_path)
    with held(tmp_path) as memory:
        assert memory.recall() is None
        assert caplog.messages[0].startswith(f"what the last loop knew is lost: {tmp_path / FILE} is not understood: ")
        assert caplog.messages[0].endswith("; what it removed in the last 24 hours is not counted")
        memory.keep(WATCHED)
    assert read_watched(tmp_path) == WATCHED


def test_what_is_no_file_is_not_waited_for_or_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "elsewhere").write_text(WATCHED.model_dump_json())
    makers: tuple[Callable[[Path], None], ...] = (
        os.mkfifo,
        os.mkdir,
        lambda path: path.symlink_to(tmp_path / "elsewhere"),
        lambda path: path.symlink_to("/dev/zero"),
    )
    for number, make in enumerate(makers):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder / FILE)
        with held(folder) as memory:
            assert memory.recall() is None
            with pytest.raises(UsageError, match="no regular file"):
                memory.keep(WATCHED)
    assert len(caplog.records) == len(makers)
    assert all("cannot be read" in each for each in caplog.messages)
    assert read_watched(tmp_path) is None


def test_what_a_newer_version_has_added_is_passed_over(tmp_path: Path) -> None:
    newer = json.loads(WATCHED.model_dump_json()) | {"format_version": "1.7", "mood": "fine"}
    newer["appliances"][0]["colour"] = "blue"
    (tmp_path / FILE).write_text(json.dumps(newer))
    recalled = read_watched(tmp_path)
    assert recalled is not None
    assert recalled.appliances == WATCHED.appliances


def test_one_loop_holds_a_folder_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(UsageError, match="another loop is at work"), held(tmp_path):
        pass  # pragma: no cover - it is not held
    with held(tmp_path):
        pass


def test_what_a_killed_loop_left_half_written_is_swept_away(tmp_path: Path) -> None:
    for name in (".reconciler-new-1", ".reconciler-new-2"):
        (tmp_path / name).touch()
    (tmp_path / ".reconciler-new-3").mkdir()  # not ours
    with held(tmp_path):
        assert sorted(each.name for each in tmp_path.iterdir()) == [".reconciler-new-3", "watch.lock"]


def test_whether_a_loop_is_at_work_can_be_asked(tmp_path: Path) -> None:
    lock = tmp_path / "watch.lock"
    assert at_work(tmp_path) is False
    with held(tmp_path):
        assert at_work(tmp_path) is True
        assert at_work(tmp_path) is True
    assert at_work(tmp_path) is False
    lock.unlink()
    os.mkfifo(lock)
    assert at_work(tmp_path) is False
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    assert at_work(tmp_path) is None
    assert at_work(tmp_path / "a\0b") is None


def test_who_asks_whether_one_is_at_work_does_not_keep_one_from_it(tmp_path: Path) -> None:
    (tmp_path / "watch.lock").touch()
    with (tmp_path / "watch.lock").open() as asked:
        fcntl.flock(asked, fcntl.LOCK_SH)
        timer = Timer(0.15, fcntl.flock, (asked, fcntl.LOCK_UN))
        timer.start()
        with held(tmp_path):
            assert at_work(tmp_path)
        timer.join()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreadableInput, match="cannot be written: Not a directory"), held(tmp_path / "file" / "folder"):
        pass  # pragma: no cover - the same
    with pytest.raises(UnreadableInput, match="null"), held(tmp_path / "a\0b"):
        pass  # pragma: no cover - the same


def test_it_lies_where_the_operator_says_or_beside_the_journals(tmp_path: Path) -> None:
    settings = OperatorSettings(journal=str(tmp_path), watch=Unattended(state="/var/lib/watch"))
    assert str(memory_folder(settings, {})) == "/var/lib/watch"
    assert memory_folder(OperatorSettings(journal=str(tmp_path)), {}) == tmp_path
