"""`reconciler adopt` as people run it: what it shows, what it writes, what it refuses."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.base.clock import system_clock
from reconciler.engine.load import load_desired
from reconciler.live.directory import create_store
from reconciler.live.directory.operations import DirectoryStore
from reconciler.live.driver import Upload
from tests.cli.fleet import run
from tests.live.directory.stores import bundle
from tests.support.authority import DAY, Authority

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ROOT = Authority.root("Example Root")
ACCESS = ROOT.issue(
    ["access.example.com", "east-1.example.com"],
    not_before=system_clock() - 30 * DAY,
    not_after=system_clock() + 335 * DAY,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "desired-state"
    folder.mkdir()
    create_store(tmp_path / "store", system_clock)
    store = DirectoryStore(tmp_path / "store", system_clock)
    store.import_(Upload(bundle(ACCESS), None, "Access\u202e"))
    store.set_default(ACCESS.certificate.fingerprint)
    return folder


def new(root: Path) -> tuple[str | Path, ...]:
    return ("east-1", root, "--hostname", "east-1.example.com", "--path", root.parent / "store")


def everything(root: Path) -> Mapping[str, bytes]:
    return {str(each.relative_to(root)): each.read_bytes() for each in sorted(root.rglob("*")) if each.is_file()}


def test_a_dry_run_shows_what_would_be_written_and_writes_nothing(root: Path) -> None:
    ran = run("adopt", *new(root), "--dry-run")
    assert ran.code == 0
    assert everything(root) == {}
    assert f"+++ {root}/appliances/east-1.yaml\n" in ran.out
    assert "\n+hostname: east-1.example.com\n" in ran.out
    assert "Would be declared as found\n  certificate access, listed by appliance east-1\n" in ran.out
    assert f"+++ {root}/certificates/access/signed.pem, a certificate in PEM\n" in ran.out
    assert "\u202e" not in ran.out
    assert "Next" not in ran.out


def test_it_writes_says_what_and_the_plan_is_empty(root: Path) -> None:
    ran = run("adopt", *new(root))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Declared as found\n  certificate access, listed by appliance east-1\n\nWritten\n")
    assert ran.out.endswith(f"  reconciler plan {root}\n")
    assert "$schema" not in "".join(each.decode() for each in everything(root).values())
    assert run("validate", root).code == 0
    assert run("plan", root, "--detailed-exitcode").code == 0
    before = everything(root)
    again = run("adopt", "east-1", root)
    assert (again.code, again.out) == (0, "Already declared: there is nothing to write.\n")
    assert everything(root) == before


def test_the_next_step_shows_files_that_git_does_not_know_yet(root: Path) -> None:
    subprocess.run(["git", "init", "-q", root.parent], check=True)
    told = run("adopt", *new(root)).out
    line = next(each.strip() for each in told.splitlines() if "git" in each)
    ran = subprocess.run(["bash", "-c", line], cwd=root.parent, check=True, capture_output=True, text=True)
    assert "\n+hostname: east-1.example.com\n" in ran.stdout
    assert f"  reconciler schema --write {root.parent}/schemas\n" in told


def test_a_first_appliance_makes_the_folder_unless_nothing_comes_of_it(root: Path, tmp_path: Path) -> None:
    first = tmp_path / "new" / "state"
    given = ("east-1", first, "--hostname", "east-1.example.com", "--path")
    assert run("adopt", *given, tmp_path / "nowhere").code == 1
    assert run("adopt", *given, root.parent / "store", "--dry-run").code == 0
    assert not first.parent.exists()
    assert run("adopt", *given, root.parent / "store").code == 0
    assert run("validate", first).code == 0
    told = run("adopt", "east-1", root / "appliances" / "x" / "y").err
    assert "there is no folder" in told
    (tmp_path / "file").touch()
    beneath = tmp_path / "file" / "x"
    assert "cannot be made" in run("adopt", "east-1", beneath, "--hostname", "e.example.com", "--path", "store").err


def test_what_is_left_to_a_person_is_told(root: Path, tmp_path: Path) -> None:
    create_store(tmp_path / "other", system_clock)
    DirectoryStore(tmp_path / "other", system_clock).import_(Upload(bundle(ACCESS), None, "Access"))
    ran = run("adopt", "east-1", root, "--hostname", "east-1.example.com", "--path", tmp_path / "other")
    assert "\nNot declared\n  east-1:       its default is BeyondTrust Appliance" in ran.out
    assert "\nAccepted for now, by `acknowledge` or `renew_before`\n  appliance east-1:\n" in ran.out


def test_an_edit_is_shown_line_by_line(root: Path) -> None:
    own = root / "appliances" / "east-1.yaml"
    own.parent.mkdir()
    own.write_text(
        "hostname: east-1.example.com # ours\nstore: {driver: directory, path: ../../store}\nclient_software: none\n"
    )
    ran = run("adopt", root, "--dry-run")
    assert "\n-client_software: none\n" in ran.out
    assert "\n+default: access\n" in ran.out
    assert "-hostname" not in ran.out
    assert "  appliances/east-1.yaml (edited)\n" in ran.out
    assert "# ours" in own.read_text()


def test_files_name_their_schema_where_the_schemas_lie_beside(root: Path) -> None:
    assert run("schema", "--write", root.parent / "schemas").code == 0
    assert run("adopt", *new(root), "--site", "access", "--site-hostname", "access.example.com").code == 0
    for path in root.rglob("*.yaml"):
        line = path.read_text("utf-8").partition("\n")[0]
        schema = (path.parent / line.removeprefix("# yaml-language-server: $schema=")).resolve()
        assert json.loads(schema.read_text("utf-8"))["$id"] == f"{path.parent.name.removesuffix('s')}.schema.json"


def test_a_web_interface_is_declared_with_what_may_be_trusted(root: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(bundle(ACCESS))  # a key that lies in the same file is not committed
    url = ("--url", "https://east-1.example.com:8443/appliance", "--hostname", "east-1.example.com")
    trust = ("--trust-sha256", ACCESS.certificate.fingerprint, "--trust-ca", ca, "--password-env", "SECRET")
    ran = run("adopt", "east-1", root, *url, *trust)
    assert ran.code == 1
    assert "east-1: " in ran.err
    assert "east-1.example.com:8443" in ran.err
    assert everything(root) == {}

    from reconciler.engine.newcomer import Newcomer, wish_for  # noqa: PLC0415

    made = Newcomer(
        "1-east",
        "east-1.example.com",
        url=url[1],
        password="SECRET",  # noqa: S106 - the name of a variable
        sha256=(ACCESS.certificate.fingerprint,),
        ca=ca.read_bytes(),
    )
    text = wish_for(root, made).files["appliances/1-east.yaml"].decode()
    assert "username: {env: APPLIANCE_1_EAST_USERNAME}" in text
    assert "password: {env: SECRET}" in text
    assert f'sha256: ["{ACCESS.certificate.fingerprint}"]' in text
    assert "ca: ../certificates/1-east-trusted.pem" in text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--hostname", "h.example.com"), "give either --url or --path"),
        (("--hostname", "h.example.com", "--url", "https://h/", "--path", "x"), "give either --url or --path"),
        (("--path", "x"), "give its --hostname as well"),
        (("--hostname", "h.example.com", "--url", "https://h/", "--trust-ca", "/nowhere"), "/nowhere cannot be read"),
        (("--hostname", "*.example.com", "--path", "x"), "a wildcard is not a host name"),
        ((), "no appliance east-1 is declared"),
    ],
)
def test_what_makes_no_sense_is_told(root: Path, given: tuple[str, ...], told: str) -> None:
    ran = run("adopt", "east-1", root, *given)
    assert ran.code == 1
    assert told in ran.err
    assert everything(root) == {}


def test_appliances_and_folder_are_told_apart(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no folder" in run("adopt", "east-1", tmp_path / "nowhere").err
    monkeypatch.chdir(tmp_path)
    assert run("adopt", "east-1", "--hostname", "east-1.example.com", "--path", "store").code == 0
    assert "path: ../../store" in (root / "appliances" / "east-1.yaml").read_text()
    assert "one new appliance is adopted at a time" in run("adopt", "a", "b", "--hostname", "h.example.com").err
    there = run("adopt", "east-1", "--hostname", "east-1.example.com", "--path", "store")
    assert "is there already - leave the options out" in there.err
    assert run("adopt", "east-1", "--site", "nowhere").code == 0
    assert "no site nowhere is declared" in run("adopt", "--site", "nowhere").err
    (tmp_path / "empty").mkdir()
    assert "no appliance is declared that could be read" in run("adopt", "empty").err


def test_a_site_that_cannot_be_read_is_not_begun_anew(root: Path) -> None:
    (root / "sites").mkdir()
    (root / "sites" / "access.yaml").write_text("hostname: [\n")
    ran = run("adopt", *new(root), "--site", "access")
    assert "cannot be read as a site" in ran.err


def test_the_desired_state_that_follows_is_what_was_live(root: Path) -> None:
    run("adopt", *new(root))

    async def observed() -> str | None:
        return DirectoryStore(root.parent / "store", system_clock).observe().default

    state = load_desired(root)
    leaf = state.material["access"].leaf
    assert leaf is not None
    assert leaf.fingerprint == anyio.run(observed)
