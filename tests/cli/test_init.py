"""`reconciler init`: what it writes is valid, explained, and never written over anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsonschema  # type: ignore[import-untyped]  # it comes without types
import pytest

from reconciler.base.findings import Severity
from reconciler.desired.compose import compose
from reconciler.desired.nodes import plain
from reconciler.engine.load import load_desired
from reconciler.engine.operator import load_settings
from tests.cli.fleet import run
from tests.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOST = ("--hostname", "access.example.com")


def everything(root: Path) -> Mapping[str, bytes]:
    return {str(each.relative_to(root)): each.read_bytes() for each in sorted(root.rglob("*")) if each.is_file()}


@pytest.mark.parametrize("topology", ["single", "failover", "atlas"])
@pytest.mark.parametrize("clients", ["--clients", "--no-clients"])
@pytest.mark.parametrize("store", ["web", "directory"])
def test_what_it_writes_is_valid_and_is_what_its_schemas_say(
    tmp_path: Path, topology: str, clients: str, store: str
) -> None:
    root = tmp_path / "desired-state"
    ran = run("init", root, "--yes", *HOST, "--topology", topology, clients, "--store", store)
    assert (ran.code, ran.err) == (0, "")
    checked = run("validate", root)
    assert (checked.code, checked.out) == (0, f"{root}: no findings\n")
    state = load_desired(root)
    assert state.sites["access"].model.topology == topology
    settings = load_settings(tmp_path / "operator.yaml", {}, root)
    assert {each.model.hostname for each in state.appliances.values()} == set(settings.hosts)
    for path in (*root.rglob("*.yaml"), tmp_path / "operator.yaml"):
        text = path.read_text("utf-8")
        line, _, rest = text.partition("\n")
        schema = (path.parent / line.removeprefix("# yaml-language-server: $schema=")).resolve()
        content = compose(text.encode()).root
        assert content is not None
        jsonschema.validate(json.loads(json.dumps(plain(content))), json.loads(schema.read_text("utf-8")))
        assert "#" in rest
        assert max(map(len, text.splitlines())) <= 120


def test_it_names_the_next_step(tmp_path: Path) -> None:
    adopting = run("init", tmp_path / "a" / "ds", "--yes", *HOST, "--clients").out
    assert f"reconciler adopt {tmp_path / 'a' / 'ds'}" in adopting
    assert f"export RECONCILER_OPERATOR={tmp_path / 'a' / 'operator.yaml'}" in adopting
    fresh = run("init", tmp_path / "b" / "ds", "--yes", *HOST, "--no-clients").out
    assert "certificates/access.yaml, the first certificate" in fresh


def test_every_answer_is_an_option(tmp_path: Path) -> None:
    root = tmp_path / "ds"
    options = ("--site", "remote", "--appliance", "one=1.example.com", "--appliance", "two", "--path", "/stores/{name}")
    assert run("init", root, *HOST, *options, "--no-clients", "--yes").code == 0
    state = load_desired(root)
    assert {name: each.model.hostname for name, each in state.appliances.items()} == {
        "one": "1.example.com",
        "two": "two.example.com",
    }
    assert (state.sites["remote"].model.topology, state.sites["remote"].model.primary) == ("failover", "one")
    assert state.appliances["two"].model.store.place == "directory /stores/two"


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    root = tmp_path / "ds"
    (tmp_path / ".gitignore").write_text("ours\n")
    (tmp_path / "operator.yaml").write_text("hosts: []\n")
    ran = run("init", root, "--yes", *HOST)
    assert ran.code == 0
    assert f"Kept as it was: {tmp_path / '.gitignore'}" in ran.out
    assert f"Kept as it was: {tmp_path / 'operator.yaml'}" in ran.out
    assert (tmp_path / ".gitignore").read_text() == "ours\n"
    before = everything(tmp_path)
    again = run("init", root, "--yes", *HOST)
    assert again.code == 1
    assert "is there already - name another folder, or go on with `reconciler adopt`" in again.err
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "nobody can be asked: Hostname that clients use - give --hostname"),
        (("--hostname", "access"), "'access' is not a host name"),
        (("--hostname", "*.example.com"), "is not a host name"),
        (("--hostname", "a b.example.com"), "is not a host name"),
        ((*HOST, "--appliance", "East"), "'East' cannot be the name"),
        ((*HOST, "--appliance", "../east"), "cannot be the name"),
        ((*HOST, "--site", "a/b"), "cannot be the name"),
        ((*HOST, "--appliance", "a", "--appliance", "a"), "named twice"),
        ((*HOST, "--appliance", "a", "--topology", "failover"), "the topology failover has two appliances, not 1"),
        ((*HOST, "--appliance", "a", "--topology", "atlas"), "has two appliances or more, not 1"),
    ],
)
def test_what_makes_no_sense_is_told_and_nothing_is_written(
    tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    ran = run("init", tmp_path / "ds", *options)  # there is no terminal, and it does not wait for one
    assert ran.code == 1
    assert told in ran.err
    assert everything(tmp_path) == {}


def test_it_asks_on_a_terminal_and_every_question_has_a_default(tmp_path: Path) -> None:
    terminal = Terminal.run("init", tmp_path / "ds")
    terminal.read_until("Hostname that clients use: ")
    terminal.type("\n")  # has none: it is asked again
    terminal.type("access.example.com\n")
    terminal.read_until("Name of the site, for its files [access]: ")
    terminal.type("\n")
    terminal.read_until("Topology: single, failover or atlas [failover]: ")
    terminal.type("pair\n")
    terminal.read_until("write one of single, failover, atlas")
    terminal.type("single\n")
    terminal.read_until("Its appliances, the primary first [east-1]: ")
    for _ in range(4):
        terminal.type("\n")
    code, output = terminal.end()
    assert code == 0, output
    state = load_desired(tmp_path / "ds")
    assert list(state.appliances) == ["east-1"]
    assert not [each for each in state.findings if each.severity is Severity.ERROR]


def test_an_end_of_input_writes_nothing(tmp_path: Path) -> None:
    terminal = Terminal.run("init", tmp_path / "ds")
    terminal.read_until("Hostname that clients use: ")
    terminal.type("\x04")
    code, output = terminal.end()
    assert code == 1
    assert "nothing was answered" in output
    assert everything(tmp_path) == {}
