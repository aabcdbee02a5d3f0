from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.unattended import Unattended
from reconciler.watch.memory import FILE, held, memory_folder, read_watched
from reconciler.watch.model import Source, Watched, WatchedAppliance
from tests.support.authority import NOW

if TYPE_CHECKING:
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


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"at": "yesterday"}', b"[" * 100_000])
def test_what_cannot_be_understood_is_as_if_it_were_not_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert read_watched(tmp_path) is None
    with held(tmp_path) as memory:
        memory.keep(WATCHED)
    assert read_watched(tmp_path) == WATCHED


def test_what_a_newer_version_has_added_is_passed_over(tmp_path: Path) -> None:
    newer = json.loads(WATCHED.model_dump_json()) | {"format_version": "1.7", "mood": "fine"}
    newer["appliances"][0]["colour"] = "blue"
    (tmp_path / FILE).write_text(json.dumps(newer))
    recalled = read_watched(tmp_path)
    assert recalled is not None
    assert recalled.appliances == WATCHED.appliances


def test_another_format_is_not_understood(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(WATCHED.model_copy(update={"format_version": "2.0"}).model_dump_json())
    assert read_watched(tmp_path) is None


def test_one_loop_holds_a_folder_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(UsageError, match="another loop is at work"), held(tmp_path):
        pass  # pragma: no cover - it is not held
    with held(tmp_path):
        pass


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
