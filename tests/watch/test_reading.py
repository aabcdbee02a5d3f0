"""When a commit is broken, so that the last good one stays in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.engine.load import load_desired
from reconciler.watch.reading import Reading, Trouble
from tests.watch.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def fleet(tmp_path: Path) -> World:
    return World(tmp_path).make()


def test_what_is_well_may_be_in_force(fleet: World) -> None:
    state = load_desired(fleet.root)
    assert Reading.of(state, ("Ada",)) == Reading(state, ("Ada",))


def empty(fleet: World) -> None:
    for path in fleet.root.rglob("*.yaml"):
        path.unlink()


BROKEN: dict[str, Callable[[World], object]] = {
    "nothing is left": empty,
    "half a merge": lambda each: each.edit("fleet.yaml", "policy:", "<<<<<<< HEAD\npolicy:"),
    "no text": lambda each: (each.root / "sites/access.yaml").write_bytes(b"\xff\xfe"),
    "far too large": lambda each: each.write("sites/access.yaml", "#" * (2 << 20)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_read_is_broken(fleet: World, what: str) -> None:
    BROKEN[what](fleet)
    state = load_desired(fleet.root)
    reading = Reading.of(state)
    assert (reading.state, reading.trouble, reading.refused) == (None, Trouble.BROKEN, state.digest)
    assert str(fleet.root) in reading.message


def test_a_file_that_declares_nothing_breaks_nothing(fleet: World) -> None:
    fleet.write("handbook.pdf", "#" * (2 << 20))
    (fleet.root / "circle").symlink_to("circle")
    state = load_desired(fleet.root)
    assert {"file-too-large", "file-unreadable"} <= {each.rule for each in state.findings}
    assert Reading.of(state).trouble is None


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("sites/access.yaml", "topology: failover", "topology: single"),
        ("sites/access.yaml", "hostname:", "hostnam:"),
        ("certificates/access.yaml", "access/leaf.pem", "access/elsewhere.pem"),
        ("fleet.yaml", "policy: {}", "polecy: {}"),
    ],
)
def test_an_error_in_what_can_be_read_stops_its_site_instead(fleet: World, path: str, old: str, new: str) -> None:
    fleet.edit(path, old, new)
    assert Reading.of(load_desired(fleet.root)).trouble is None


def test_a_message_can_be_encoded_whatever_files_are_called() -> None:
    reading = Reading.refusal(Trouble.UNREACHABLE, "/srv/\udcff does not exist")
    assert reading.message == r"/srv/\udcff does not exist"
