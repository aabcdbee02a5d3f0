"""A run with everything in it leaks no private key and no passphrase, wherever one looks.

A failover pair gets one certificate whose key is made on the primary and copied to the backup, and one whose key is
committed; plans are saved and carried out, things go wrong, and everything that the reconciler says, writes, leaves
behind, starts or shows while it runs is searched for every key that was in a store and for every passphrase.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from git import Actor, Repo

from reconciler.base.clock import system_clock
from reconciler.desired.revision import read_revision
from reconciler.engine.operator import VARIABLE as OPERATOR
from reconciler.live.directory import create_store
from tests.cli.terminal import PROGRAM
from tests.end_to_end.lifecycle import Lifecycle, appliance, certificate
from tests.end_to_end.needles import Needles, committed_keys, keys_below
from tests.end_to_end.spying import Seen, run_seen
from tests.support.authorities import openssl_authority
from tests.support.authority import DAY, Authority, Issued
from tests.support.playing import environment
from tests.support.programs import require_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

VARIABLE, PASSPHRASE = "SHOP_KEY", "correct-horse-battery"
EXPORT_VARIABLE, EXPORT_PASSPHRASE = "EXPORT_KEY", "another-staple-of-it"
WRONG = "wrong-but-just-as-secret"
SHOP = Authority.root("Shop CA")
STARTED = system_clock() - DAY
MEMBERS = ("east-1", "west-1")
FILES = {
    "sites/access.yaml": (
        "hostname: access.example.com\ntopology: failover\nprimary: east-1\nbackup: west-1\n"
        "certificates: [access, shop]\ndefault: access\nclient_software: none\nprotected_names: [shop.example.com]\n"
    ),
    **appliance("east-1"),
    **appliance("west-1"),
    **certificate("requested", "access.example.com", "east-1.example.com", "west-1.example.com"),
    "certificates/shop.yaml": (
        "friendly_name: Shop\nsubject: {country: US, organization: Example Company, common_name: Shop}\n"
        "key: rsa-2048\nsubject_alternative_names: [shop.example.com]\n"
        "source: {kind: provided, certificate: shop/leaf.pem, chain: [shop/root.pem], key: shop/key.p12,"
        f" passphrase: {{env: {VARIABLE}}}}}\n"
    ),
}


@dataclass
class World:
    """A fleet, whatever was said, and where things are written.

    Attributes:
        life: The fleet.
        stores: The folder in which the appliances keep their keys.
        environ: What the program is started with.
        folder: Where everything lies.
        said: What was printed.
        keys: The private keys that were in a store at some time.
    """

    life: Lifecycle
    stores: Path
    environ: Mapping[str, str]
    folder: Path
    said: list[str] = field(default_factory=list)
    keys: list[object] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)

    def run(self, *words: str | Path, exits: int, **environ: str | None) -> str:
        """Run the program with --debug; what it prints on stdout."""
        chosen = {key: value for key, value in {**self.environ, **environ}.items() if value is not None}
        ran = run_seen([PROGRAM, "--debug", *words], chosen, self.folder / "temporary", self.seen)
        self.said += [ran.stdout, ran.stderr]
        assert ran.returncode == exits, ran.stdout + ran.stderr
        self.keys += keys_below(self.stores)
        return ran.stdout

    def written(self) -> Iterator[tuple[Path, bytes]]:
        """Every file that the reconciler or the lab has left, but for stores and for what was exported to be kept."""
        assert not list((self.folder / "temporary").iterdir())
        for path in sorted(self.folder.rglob("*")):
            beneath = path.relative_to(self.folder).parts
            if (
                not path.is_file()
                or self.stores in path.parents
                or beneath[0] in {"exported.p12", "desired-state", "authority"}
            ):
                continue
            if path == self.folder / "lab/environment":  # it holds the password that the lab has made up
                continue
            yield path, path.read_bytes()
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    yield from ((path / each, archive.read(each)) for each in archive.namelist())


def everything(world: World) -> None:
    """The whole story, with what goes wrong in it."""
    life, root, folder = world.life, world.life.root, world.folder
    world.run("validate", root, exits=0)
    world.run("apply", root, "--yes", exits=5, **{VARIABLE: WRONG})
    world.run("apply", root, "--yes", exits=5, **{VARIABLE: None})
    saved = folder / "plan.json"
    world.run("plan", root, "--out", saved, exits=0)
    damaged = folder / "damaged.json"
    damaged.write_text(saved.read_text().replace("shop", "shoq", 1))
    world.run("apply", damaged, root, "--yes", exits=4)
    world.run("apply", saved, root, "--yes", exits=0)
    world.run("requests", root, "--out", folder / "requests", exits=0)
    life.commit(openssl_authority(folder / "authority"), "PKCS#7")
    digest = json.loads(world.run("plan", root, "--out", saved, "--format", "json", exits=0))["digest"]
    world.run("apply", saved, root, "--yes", "--expect-digest", digest, "--format", "json", exits=0)
    world.run("apply", saved, root, "--yes", exits=4)
    world.run("status", root, exits=0)
    world.run("doctor", root, "--capture", folder / "pages", exits=0)
    world.run("history", root, exits=0)
    newest = json.loads(world.run("history", root, "--format", "json", exits=0))
    world.run("history", root, "--show", identity(newest), exits=0)
    export: list[str | Path] = ["export", "east-1", "access", root, "--include", "certificate,key,chain"]
    export += ["--out", folder / "exported.p12"]
    world.run(*export, "--passphrase", f"env:{EXPORT_VARIABLE}", exits=0)
    world.run(*export, "--passphrase", "env:NOT_SET", "--force", exits=1)
    world.run("inspect", folder / "exported.p12", "--passphrase-env", EXPORT_VARIABLE, exits=0)
    world.run("inspect", folder / "exported.p12", "--passphrase-env", VARIABLE, exits=1)
    world.run("bundle", "access", root, "--out", folder / "bundle.zip", exits=0)
    committed(root.parent, "desired-state")
    world.run("plan", root, "--revision", "HEAD", exits=0)
    clear = root / "certificates/shop/clear.pem"
    clear.write_bytes(next(each for each in contents(world.stores) if b"PRIVATE KEY" in each))
    world.run("validate", root, exits=3)
    clear.unlink()
    life.edit("certificates/shop.yaml", f"{{env: {VARIABLE}}}", PASSPHRASE)
    world.run("plan", root, exits=3)


def identity(history: Mapping[str, object]) -> str:
    """The id of the newest apply."""
    applies = history["applies"]
    assert isinstance(applies, list)
    return str(applies[0]["id"])


def contents(folder: Path) -> Iterator[bytes]:
    """Every file beneath a folder."""
    return (each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file())


@contextmanager
def directories(folder: Path, notes: Path) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Certificate directories, whose reload command notes down what it sees."""
    for name in MEMBERS:
        create_store(folder / ".stores" / name, system_clock)
    command = ["sh", "-c", f"cat /proc/self/environ /proc/$PPID/cmdline >> {notes}"]
    operator = folder / "operator.yaml"
    operator.write_text(json.dumps({"reload": dict.fromkeys(MEMBERS, command)}))
    yield folder / ".stores", {OPERATOR: str(operator)}


@contextmanager
def lab(folder: Path, _: Path) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Simulated appliances, whose output is kept; not the line that tells the password which they have made up."""
    log = folder / "lab.log"
    command: list[str | Path] = [
        PROGRAM,
        "--debug",
        "lab",
        "--from",
        folder / "desired-state",
        "--folder",
        folder / "lab",
    ]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        while "Ctrl-C" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        try:
            yield folder / "lab/stores", environment(folder / "lab/environment")
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0, log.read_text()
    log.write_text(
        "".join(line for line in log.read_text().splitlines(keepends=True) if not line.startswith("Sign in as"))
    )


def noting_git(folder: Path, notes: Path) -> Path:
    """A folder with a git that notes down what it sees, except where it is asked for nothing but its version."""
    program = folder / "bin/git"
    program.parent.mkdir()
    noted = f'[ "$1" = version ] || cat /proc/self/environ >> {notes}'
    program.write_text(f'#!/bin/sh\n{noted}\nexec {require_program("git")} "$@"\n')
    program.chmod(0o755)
    return program.parent


def committed(folder: Path, *paths: str) -> None:
    """Make a folder a repository in which some of its paths are committed."""
    person = Actor("A", "a@example.com")
    with Repo.init(folder) as repository:
        repository.index.add(paths)
        repository.index.commit("all", author=person, committer=person)


def test_git_sees_no_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, notes = tmp_path / "work", tmp_path / "notes"
    work.mkdir()
    (work / "file").write_text("content")
    committed(work, "file")
    monkeypatch.setenv("PATH", f"{noting_git(tmp_path, notes)}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(VARIABLE, PASSPHRASE)
    assert read_revision(work, "HEAD").files == {"file": b"content"}
    assert b"HOME=" in notes.read_bytes()
    assert PASSPHRASE.encode() not in notes.read_bytes()


LEAKY = """
import subprocess, sys, tempfile
with tempfile.TemporaryFile() as file:
    file.write(b"in a file without a name")
    file.flush()
    subprocess.run(["sleep", "0.5"], env={"PATH": "/bin:/usr/bin", "SECRET": "in an environment"})
"""


def test_who_looks_is_not_blind(tmp_path: Path) -> None:
    seen = Seen()
    run_seen([sys.executable, "-c", LEAKY, "in an argument"], {"TMPDIR": str(tmp_path)}, tmp_path, seen)
    assert any(b"in an argument" in each for each in seen.arguments)
    assert any(b"in an environment" in each for each in seen.environments)
    assert b"in a file without a name" in seen.temporary


@pytest.mark.prove
@pytest.mark.parametrize("kind", [directories, lab])
def test_nothing_leaks(
    kind: Callable[[Path, Path], AbstractContextManager[tuple[Path, Mapping[str, str]]]],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    notes, root = tmp_path / "notes", tmp_path / "desired-state"
    (tmp_path / "temporary").mkdir()
    life = Lifecycle(root, {}, {})
    life.declare(FILES)
    shop = SHOP.issue(
        ["shop.example.com"], common_name="Shop", key_kind="rsa-2048", not_before=STARTED, not_after=STARTED + 200 * DAY
    )
    (root / "certificates/shop").mkdir()
    for name, content in (("leaf.pem", shop.pem()), ("key.p12", shop.pkcs12(PASSPHRASE.encode()))):
        (root / "certificates/shop" / name).write_bytes(content)
    (root / "certificates/shop/root.pem").write_bytes(Issued(SHOP.certificate, SHOP.key).pem())
    with kind(tmp_path, notes) as (stores, told):
        life.environ = {**told, VARIABLE: PASSPHRASE}
        path = f"{noting_git(tmp_path, notes)}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "XDG_STATE_HOME": str(tmp_path / "state"), "TMPDIR": str(tmp_path / "temporary")}
        world = World(life, stores, {**os.environ, **life.environ, **own, EXPORT_VARIABLE: EXPORT_PASSPHRASE}, tmp_path)
        everything(world)
    passphrases = [PASSPHRASE, EXPORT_PASSPHRASE, WRONG, *(value for name, value in told.items() if "PASSWORD" in name)]
    keys = [*world.keys, *committed_keys(root, PASSPHRASE.encode())]
    needles = Needles.of(keys, [each.encode() for each in passphrases])
    assert len({each.private_numbers() for each in keys}) == 4  # type: ignore[attr-defined]
    assert any(needles.within(each) for each in contents(stores))
    assert VARIABLE.encode() not in notes.read_bytes().replace(f"{VARIABLE}=\0".encode(), b"")
    searched: list[bytes | str] = [*world.said, *world.seen.arguments, *world.seen.environments, *world.seen.temporary]
    for told_or_seen in searched:
        assert not needles.within(told_or_seen), told_or_seen
    files = list(world.written())
    for file, content in files:
        assert not needles.within(content), file
    assert {"history", "apply"} <= {each for argv in world.seen.arguments for each in argv.decode().split("\0")}
    record_property("cases", len(searched) + len(files))
