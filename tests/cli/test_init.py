"""`reconciler init`: what it writes is valid, explained, and never written over anything."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
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
    terminal.type("single\n")
    terminal.read_until("Its appliances, the primary first, separated by spaces [east-1]: ")
    for _ in range(4):
        terminal.type("\n")
    code, output = terminal.end()
    assert code == 0, output
    state = load_desired(tmp_path / "ds")
    assert list(state.appliances) == ["east-1"]
    assert not [each for each in state.findings if each.severity is Severity.ERROR]


def test_a_wrong_answer_is_asked_again_and_the_others_are_kept(tmp_path: Path) -> None:
    terminal = Terminal.run("init", tmp_path / "ds", columns=200)
    answers = (
        ("that clients use: ", "access", "'access' is not a host name"),
        (
            "not a host name - write it in full, like access.example.com\r\nHostname that clients use: ",
            "a.example.com",
            "",
        ),
        ("for its files [a]: ", "A site", "'A site' cannot be the name"),
        ("for its files [a]: ", "access", ""),
        ("Topology: single, failover or atlas [failover]: ", "pair", "write one of single, failover, atlas"),
        ("or atlas [failover]: ", "", ""),
        ("separated by spaces [east-1 west-1]: ", "east", "the topology failover has two appliances, not 1"),
        ("separated by spaces [east-1 west-1]: ", "east, east", "named twice"),
        ("separated by spaces [east-1 west-1]: ", "east, west=w.example.com", ""),
        ("Host name of east [east.example.com]: ", "-", "'-' is not a host name"),
        ("Host name of east [east.example.com]: ", "", ""),
        ("Stores: web or directory [web]: ", "directory", ""),
        ("{name} standing for the appliance [/etc", "/stores", "would be the same for every appliance"),
        ("{name} standing for the appliance [/etc", "/stores/{name}", ""),
        ("installed already (yes or no) [yes]: ", "perhaps", "'perhaps' is none of these"),
        ("installed already (yes or no) [yes]: ", "N", ""),
    )
    for question, answer, told in answers:
        terminal.read_until(question)
        terminal.output = ""
        terminal.type(f"{answer}\n")
        if told:
            terminal.read_until(told)
    code, output = terminal.end()
    assert code == 0, output
    state = load_desired(tmp_path / "ds")
    assert {name: each.model.hostname for name, each in state.appliances.items()} == {
        "east": "east.example.com",
        "west": "w.example.com",
    }
    assert list(state.sites) == list(state.certificates) == ["access"]  # no clients: there is a first certificate


@pytest.mark.parametrize("end", ["\x03", "\x04"])
def test_an_interruption_writes_nothing_and_says_so(tmp_path: Path, end: str) -> None:
    terminal = Terminal.run("init", tmp_path / "ds")
    terminal.read_until("Hostname that clients use: ")
    terminal.type("access.example.com\n")
    terminal.read_until("Name of the site, for its files [access]: ")
    terminal.type(end)
    code, output = terminal.end()
    assert code == 1
    assert output.endswith("\r\nreconciler: interrupted; nothing was written\r\n")
    assert everything(tmp_path) == {}


def test_it_says_how_to_make_directories_that_are_not_there(tmp_path: Path) -> None:
    for clients in ("--clients", "--no-clients"):
        root = tmp_path / clients / "ds"
        told = run("init", root, "--yes", *HOST, "--path", f"{tmp_path}/stores/{{name}}", clients).out
        assert f"  reconciler apply {root} --create-stores" in told
        assert "doctor" not in told
    (tmp_path / "there").mkdir()
    root = tmp_path / "ds"
    told = run("init", root, "--yes", *HOST, "--topology", "single", "--path", "../../there", "--clients").out
    assert f"  reconciler doctor {root}\n" in told
    assert "--create-stores" not in told


def test_beginning_again_is_told_in_a_line_that_works(tmp_path: Path) -> None:
    root = tmp_path / "ds"
    told = run("init", root, "--yes", *HOST, "--no-clients").out
    line = told.splitlines()[-1].strip()
    assert line.startswith(f"rm {root}/fleet.yaml ")
    deleted, _, again = line.partition(" && ")
    for each in deleted.split()[1:]:
        Path(each).unlink()
    assert again == f"reconciler init {root} --clients"
    assert run(*again.split()[1:], "--yes", *HOST).code == 0
    assert run("validate", root).code == 0


def test_only_what_the_program_itself_writes_is_ignored(tmp_path: Path) -> None:
    run("init", tmp_path / "ds", "--yes", *HOST)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    litter = (
        "requests/a.csr",
        "comment.md",
        "plan.html",
        "plan.json",
        "access-bundle.zip",
        "known-appliances",
        "journal/a",
    )
    kept = ("operator.yaml", "ds/fleet.yaml", "ds/certificates/requests/signed.pem", "schemas/site.schema.json")
    ran = subprocess.run(
        ["git", "-C", tmp_path, "check-ignore", *litter, *kept], check=True, capture_output=True, text=True
    )
    assert ran.stdout.split() == list(litter)
    assert "Commit this to the protected branch" in (tmp_path / "operator.yaml").read_text().splitlines()[1]
