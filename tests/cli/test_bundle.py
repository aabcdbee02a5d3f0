from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from reconciler.base.clock import system_clock
from reconciler.pki.pem import blocks
from reconciler.pki.reading import read
from reconciler.pki.writing import write_der
from tests.cli.fleet import PASSPHRASE, Ran, run
from tests.end_to_end.needles import Needles
from tests.report.images import JPEG, chunk, png, with_segment
from tests.support.authority import DAY, Authority, Issued, self_signed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.fleet import Fleet


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def bundle(fleet: Fleet, *arguments: str | Path, site: str = "access") -> Ran:
    return run("bundle", site, fleet.desired_state, *arguments)


def files(path: str | Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {each: archive.read(each) for each in archive.namelist()}


def made_on_the_appliance() -> Issued:
    now = system_clock()
    return self_signed(["lab.example.com"], common_name="Lab", not_before=now - DAY, not_after=now + DAY)


def encrypted_in(content: bytes) -> bytes:
    """A part of what is encrypted in a key file or PKCS#12."""
    keys = [each.decode() for each in blocks(content) if "PRIVATE KEY" in each.label]
    return (keys[0] if keys else content[: len(content) // 2])[-64:-16]


def test_the_message_is_data_and_what_is_left_to_do_is_not(fleet: Fleet) -> None:
    ran = bundle(fleet)
    assert ran.code == 0
    kept = files("access-bundle.zip")
    assert ran.out.encode() == kept["message.txt"]
    assert ran.out.startswith("Subject: New root certificate for access.example.com\n")
    assert ran.err.splitlines() == [
        "",
        "access-bundle.zip is written: 5 files, the message above among them, no key.",
        "Before you send it:",
        (
            "  - add a screenshot of Status > Basics of each appliance: "
            "--screenshot FILE or --take-screenshot APPLIANCE does it"
        ),
        "  - write the incident number into the message if there is one: --incident NUMBER does it",
        "  - put your name beneath the message",
    ]
    (leaf,) = read(fleet.file("certificates/access/leaf.pem").read_bytes()).certificates
    assert kept["example-remote-access.crt"] == write_der(leaf)


def test_screenshots_and_an_incident_number(fleet: Fleet) -> None:
    for name, content in (("a.png", png()), ("b.jpeg", JPEG)):
        (fleet.root / "here" / name).write_bytes(content)
    ran = bundle(fleet, "--screenshot", "a.png", "--screenshot", "b.jpeg", "--incident", "4711", "--out", "x.zip")
    assert ran.code == 0
    assert {"status-basics.png", "status-basics.jpg"} <= files("x.zip").keys()
    assert "incident 4711" in ran.out
    assert ran.err.splitlines()[2:] == ["Before you send it:", "  - put your name beneath the message"]


def test_no_operator_settings_are_needed(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_OPERATOR", "nowhere.yaml")
    shutil.rmtree(fleet.root / "stores")
    assert bundle(fleet).code == 0


def test_nothing_is_written_over_unless_that_is_asked_for(fleet: Fleet) -> None:
    target = fleet.root / "here" / "access-bundle.zip"
    target.write_text("mine")
    ran = bundle(fleet)
    assert (ran.code, ran.out) == (1, "")
    assert "access-bundle.zip is there already - name another file, or replace it with --force" in ran.err
    assert target.read_text() == "mine"
    assert bundle(fleet, "--force").code == 0
    assert "message.txt" in files(target)
    assert os.listdir() == ["access-bundle.zip"]  # noqa: PTH208 - names are what is asked for


def test_a_link_is_not_written_through(fleet: Fleet) -> None:
    target = fleet.root / "elsewhere"
    (fleet.root / "here" / "access-bundle.zip").symlink_to(target)
    assert bundle(fleet).code == 1
    assert bundle(fleet, "--force").code == 1
    assert not target.exists()


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("nowhere/x.zip", "nowhere is no folder"),
        (".", ". is there and no regular file"),
        ("/proc/x.zip", "/proc/x.zip cannot be written: "),
    ],
)
def test_where_nothing_can_be_written(fleet: Fleet, out: str, told: str) -> None:
    ran = bundle(fleet, "--out", out)
    assert (ran.code, ran.out) == (1, "")
    assert told in ran.err


def test_errors_in_its_files_are_findings_and_nothing_is_written(fleet: Fleet) -> None:
    fleet.file("certificates/access/chain.pem").unlink()
    ran = bundle(fleet)
    assert (ran.code, ran.out) == (3, "")
    assert "certificates/access.yaml:8:11 material-missing " in ran.err
    assert ran.err.endswith("reconciler: the bundle of access is not made while its files have these errors\n")
    assert not list((fleet.root / "here").iterdir())


def test_a_certificate_that_the_appliance_made_is_given(fleet: Fleet) -> None:
    ran = bundle(fleet, site="lab")
    assert ran.code == 1
    assert "lab is self-signed and made on the appliance" in ran.err
    made = made_on_the_appliance()
    given = fleet.root / "here" / "lab.crt"
    given.write_bytes(write_der(made.certificate))
    ran = bundle(fleet, "--certificate", given, site="lab")
    assert ran.code == 0, ran.err
    assert files("lab-bundle.zip")["lab.crt"] == write_der(made.certificate)


@pytest.mark.parametrize("protected", [True, False])
@pytest.mark.parametrize("form", ["pkcs12", "pem"])
def test_a_given_file_with_a_key_is_refused_in_one_sentence(fleet: Fleet, form: str, *, protected: bool) -> None:
    made, passphrase = made_on_the_appliance(), PASSPHRASE.encode() if protected else None
    given = fleet.root / "here" / "lab.crt"
    given.write_bytes(made.pkcs12(passphrase) if form == "pkcs12" else made.pem() + made.key_pem(passphrase))
    ran = bundle(fleet, "--certificate", given, site="lab")
    assert (ran.code, ran.out) == (1, "")
    assert len(ran.err.splitlines()) == 1
    assert "private key, which must never be sent - export it again with 'Include Private Key' cleared" in ran.err
    assert os.listdir() == ["lab.crt"]  # noqa: PTH208 - names are what is asked for


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--screenshot", "gone.png"], "gone.png cannot be read: No such file or directory"),
        (["--screenshot", "."], ". cannot be read: Is a directory"),
        (["--take-screenshot", "lab"], "lab is no appliance of access - name east-1 or west-1"),
        (["--take-screenshot", "east-1"], "the store of east-1 has no web interface that a screenshot could be taken"),
        (["--incident", "\x1b[2J"], "the incident number is not one short line"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(fleet: Fleet, arguments: list[str], told: str) -> None:
    ran = bundle(fleet, *arguments)
    assert (ran.code, ran.out) == (1, "")
    assert told in ran.err
    assert len(ran.err.splitlines()) == 1
    assert ran.err.strip().isprintable()
    assert not list((fleet.root / "here").iterdir())


def test_a_git_revision(fleet: Fleet) -> None:
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "Declare access"]):
        subprocess.run(["git", *arguments], cwd=fleet.root, check=True)
    fleet.file("sites/access.yaml").write_text("broken: [\n")
    assert bundle(fleet).code == 3
    assert bundle(fleet, "--revision", "HEAD").code == 0


def test_a_desired_state_full_of_keys_yields_a_bundle_without_any(fleet: Fleet) -> None:
    passphrase = PASSPHRASE.encode()
    now = system_clock()
    authority = Authority.root("Example Root", not_before=now - 900 * DAY, not_after=now + 3650 * DAY)
    names = ["access.example.com", "east-1.example.com", "west-1.example.com"]
    issued = authority.issue(names, key_kind="rsa-2048", not_before=now - DAY, not_after=now + 300 * DAY)
    folder = fleet.file("certificates/access")
    fleet.commit(issued)
    fleet.edit("certificates/access.yaml", "key: ec-p256", "key: rsa-2048")
    # A leaf that is committed together with its encrypted key, and a chain with one amid it.
    (folder / "leaf.pem").write_bytes(issued.key_pem(passphrase) + issued.pem())
    chain = (folder / "chain.pem").read_bytes()
    (folder / "chain.pem").write_bytes(chain + issued.key_pem(passphrase))
    (folder / "key.crt").write_bytes(issued.pkcs12(passphrase, chain=issued.chain))
    (folder / "clear.crt").write_bytes(issued.key_pem())
    (folder / "message.txt").write_bytes(issued.key_pem())
    (folder / "linked.crt").symlink_to("clear.crt")
    shots = {
        "a.png": png(
            before=[chunk(b"tEXt", b"Comment\0" + issued.key_pem())], after=[chunk(b"prVt", issued.key_pem())]
        ),
        "b.jpg": with_segment(0xFE, issued.key_pem()),
    }
    arguments: list[str | Path] = []
    for name, content in shots.items():
        (folder / name).write_bytes(content)
        arguments += ["--screenshot", folder / name]
    ran = bundle(fleet, *arguments)
    assert ran.code == 0, ran.err
    committed = [folder / name for name in ("leaf.pem", "chain.pem", "key.pem", "key.crt")]
    encrypted = [encrypted_in(each.read_bytes()) for each in committed]
    needles = Needles.of([issued.key], [passphrase, *encrypted])
    assert needles.within((folder / "clear.crt").read_bytes()), "the search finds a key where there is one"
    kept = files("access-bundle.zip")
    assert len(kept) == 6
    whole = (fleet.root / "here" / "access-bundle.zip").read_bytes()
    for found in (*kept.values(), whole, ran.out.encode(), ran.err.encode()):
        assert needles.within(found) == []
        assert b"PRIVATE KEY" not in found
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert not archive.comment
        assert not any(each.extra or each.comment for each in archive.infolist())


@pytest.mark.parametrize("how", ["named", "linked"])
def test_a_chain_that_leads_to_a_key_is_refused(fleet: Fleet, how: str) -> None:
    folder = fleet.file("certificates/access")
    if how == "linked":
        (folder / "chain.pem").unlink()
        (folder / "chain.pem").symlink_to("key.pem")
    else:
        fleet.edit("certificates/access.yaml", "chain: [access/chain.pem]", "chain: [access/key.pem]")
    ran = bundle(fleet)
    assert (ran.code, ran.out) == (3, "")
    assert "key.pem" in ran.err or "chain.pem" in ran.err
    assert not list((fleet.root / "here").iterdir())


def test_a_picture_with_a_key_behind_it_is_refused(fleet: Fleet) -> None:
    shot = fleet.root / "shot.jpg"
    shot.write_bytes(JPEG + fleet.file("certificates/access/key.pem").read_bytes())
    ran = bundle(fleet, "--screenshot", shot)
    assert (ran.code, ran.out) == (1, "")
    assert "is followed by" in ran.err
    assert not list((fleet.root / "here").iterdir())
