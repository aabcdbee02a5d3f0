"""Stores that are one and the same, seen only where the file system or the operator settings are asked."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.engine import aliases as module
from reconciler.engine.aliases import aliases
from reconciler.engine.load import load_desired
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.run import check_rules
from reconciler.live.directory import DirectoryConfiguration
from reconciler.rules import stopped
from tests.support.authority import NOW

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from pathlib import Path

NAMES = ("lab", "twin", "other")


@pytest.fixture
def stores(tmp_path: Path) -> Path:
    """Three stores, each with an appliance of its own."""
    for name in NAMES:
        (tmp_path / "stores" / name).mkdir(parents=True)
        declare(tmp_path, name, f"../../stores/{name}")
    return tmp_path / "stores"


def declare(folder: Path, name: str, path: str) -> None:
    file = folder / "desired-state/appliances" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f"hostname: {name}.example.com\nstore: {{driver: directory, path: {path}}}\nclient_software: none\n"
    )


def told(folder: Path, settings: OperatorSettings | None = None) -> list[str]:
    """The files at which a shared store is told, and by what it is shared."""
    state = load_desired(folder / "desired-state")
    found = [
        each for each in check_rules(state, NOW, settings or OperatorSettings()).accepted if each.rule == "same-store"
    ]
    assert stopped(state, found).appliances == {each.about.name for each in found if each.about}
    return [each.position.file.rpartition("/")[2] for each in found if each.position]


def test_stores_of_their_own_are_no_problem(stores: Path) -> None:
    assert told(stores.parent) == []


def test_a_link_leads_to_the_store_of_another(stores: Path) -> None:
    (stores / "link").symlink_to("lab")
    declare(stores.parent, "twin", "../../stores/link")
    assert told(stores.parent) == ["lab.yaml", "twin.yaml"]
    [first, _] = aliases(load_desired(stores.parent / "desired-state"), OperatorSettings())
    assert "its store is that of twin (" in first.message
    assert "appliances/twin.yaml:2:8) too, by a link or by the operator settings, so one" in first.message


@pytest.mark.parametrize("name", ["lab", "new"])
def test_a_relative_and_an_absolute_path(stores: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stores.parent)  # so that the root is relative
    declare(stores.parent, "lab", f"../../stores/{name}")
    declare(stores.parent, "twin", f"{stores}/{name}")
    assert told(stores.parent) == ["lab.yaml", "twin.yaml"]


def test_the_root_by_another_name(stores: Path) -> None:
    declare(stores.parent, "twin", f"/proc/self/root{stores}/lab")
    assert told(stores.parent) == ["lab.yaml", "twin.yaml"]


def test_a_link_above_stores_that_are_still_to_be_made(stores: Path) -> None:
    (stores / "link").symlink_to(".")
    declare(stores.parent, "lab", "../../stores/new")
    declare(stores.parent, "twin", "../../stores/link/new")
    assert told(stores.parent) == ["lab.yaml", "twin.yaml"]


def test_operator_settings_put_one_store_in_place_of_two(stores: Path) -> None:
    rehearsal = DirectoryConfiguration(driver="directory", path=str(stores / "rehearsal"))
    assert told(stores.parent, OperatorSettings(stores={"lab": rehearsal})) == []
    assert told(stores.parent, OperatorSettings(stores={"lab": rehearsal, "twin": rehearsal})) == [
        "lab.yaml",
        "twin.yaml",
    ]


def test_what_the_declared_paths_tell_is_told_once(stores: Path) -> None:
    (stores / "link").symlink_to("lab")
    declare(stores.parent, "twin", "../../stores/lab")
    declare(stores.parent, "other", "../../stores/link")
    assert told(stores.parent) == ["lab.yaml", "other.yaml", "twin.yaml"]


class Mount:
    """A file system that does not answer of the paths that have certain names, until it does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dead: set[str] = set()
        self.answers = threading.Event()
        self.asked: list[str] = []
        self._place = module._place  # noqa: SLF001
        monkeypatch.setattr(module, "_place", self.place)
        monkeypatch.setattr(module, "PATIENCE", 0.2)

    def place(self, path: str) -> Hashable:
        name = os.path.basename(path)  # noqa: PTH119
        self.asked.append(name)
        assert name not in self.dead or self.answers.wait(60)
        return self._place(path)


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mount]:
    made = Mount(monkeypatch)
    yield made
    made.answers.set()


def test_a_path_that_hangs_hides_no_alias_among_the_others(stores: Path, mount: Mount) -> None:
    (stores / "link").symlink_to("lab")
    declare(stores.parent, "other", "../../stores/link")
    declare(stores.parent, "alone", "../../stores/alone")
    mount.dead = {"alone"}
    assert told(stores.parent) == ["lab.yaml", "other.yaml"]
    assert mount.asked[0] == "alone"  # those after it are asked of all the same
    mount.dead = {"alone", "twin"}
    assert told(stores.parent) == ["lab.yaml", "other.yaml"]


def test_what_was_told_of_a_path_stays_while_it_hangs(stores: Path, mount: Mount) -> None:
    (stores / "link").symlink_to("lab")
    declare(stores.parent, "twin", "../../stores/link")
    assert told(stores.parent) == ["lab.yaml", "twin.yaml"]
    mount.dead = {"link"}
    assert told(stores.parent) == ["lab.yaml", "twin.yaml"]  # it hangs now
    assert told(stores.parent) == ["lab.yaml", "twin.yaml"]  # it has been given up
    (stores / "link").unlink()
    (stores / "link").symlink_to("other")
    assert told(stores.parent) == ["lab.yaml", "twin.yaml"]
    mount.answers.set()
    for thread in threading.enumerate():
        if thread.daemon:
            thread.join(10)
    assert told(stores.parent) == ["other.yaml", "twin.yaml"]


def test_paths_that_hang_cost_one_wait_and_a_thread_each(
    stores: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount.dead = {"lab", "twin"}
    before = threading.active_count()
    told(stores.parent)
    monkeypatch.setattr(module, "PATIENCE", 60.0)
    begin = time.monotonic()
    for _ in range(20):
        told(stores.parent)
    assert time.monotonic() - begin < 30
    assert threading.active_count() == before + 2
    assert sorted(mount.asked) == ["lab", *["other"] * 21, "twin"]


def test_paths_that_answer_are_asked_of_in_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()

    def place(path: str) -> str:
        threads.add(threading.current_thread())
        return path

    monkeypatch.setattr(module, "_place", place)
    paths = [str(tmp_path / str(number)) for number in range(1000)]
    assert module._real(paths).items() >= {(path, path) for path in paths}  # noqa: SLF001
    assert len(threads) == 1


def test_where_no_thread_is_to_be_had_paths_are_gone_by(stores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (stores / "link").symlink_to("lab")
    declare(stores.parent, "twin", "../../stores/link")

    def failing(self: threading.Thread) -> None:
        del self
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", failing)
        assert told(stores.parent) == []
    assert told(stores.parent) == ["lab.yaml", "twin.yaml"]


def test_a_path_that_is_none(stores: Path) -> None:
    (stores / "link").symlink_to("lab")
    none = DirectoryConfiguration(driver="directory", path="a\0b")
    declare(stores.parent, "twin", "../../stores/link")
    assert told(stores.parent, OperatorSettings(stores={"lab": none})) == []
    assert told(stores.parent, OperatorSettings(stores={"other": none})) == ["lab.yaml", "twin.yaml"]
