"""`reconciler validate` as people and pipelines run it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.base.clock import system_clock
from reconciler.cli.main import main
from reconciler.pki.writing import write_pem
from tests.cli.terminal import PROGRAM
from tests.support.authority import DAY, Authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Files = dict[str, str]

ROOT = Authority.root()
HOSTILE = "\x1b]0;owned\x07\u202e::error::%0A, done"


def small_fleet(**changes: str) -> Files:
    """A fleet of one appliance, whose only finding is that its certificate is self-signed."""
    files = {
        "sites/access.yaml": (
            "hostname: access.example.com\nprimary: east\n"
            "certificates: [access]\ndefault: access\nclient_software: none\n"
        ),
        "appliances/east.yaml": "hostname: access.example.com\nstore: {driver: directory, path: ../../.stores/east}\n",
        "certificates/access.yaml": (
            "subject: {country: US, common_name: Example access}\n"
            "subject_alternative_names: [access.example.com]\n"
            "key: ec-p256\n"
            "source: {kind: self_signed}\n"
        ),
    }
    return {**files, **{path.replace("__", "/") + ".yaml": text for path, text in changes.items()}}


NOTICE = (
    "desired-state/certificates/access.yaml:4:16 self-signed-temporary self-signed for 365d; iOS, Android and Linux "
    "clients work only with a CA-signed certificate - replace it by one that a CA signed before clients are deployed"
)


@pytest.fixture
def lay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Files], Path]:
    monkeypatch.chdir(tmp_path)

    def write(files: Files) -> Path:
        for path, text in files.items():
            file = tmp_path / "desired-state" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return tmp_path / "desired-state"

    return write


def test_one_line_for_each_finding_and_a_count(
    lay_out: Callable[[Files], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lay_out(small_fleet())
    assert main(["validate"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{NOTICE}\ndesired-state: 1 notice\n"
    assert shown.err == ""


def test_lines_are_left_whole_however_narrow_the_window(
    lay_out: Callable[[Files], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(small_fleet())
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["validate"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == NOTICE


def test_errors_end_with_3(lay_out: Callable[[Files], Path], capsys: pytest.CaptureFixture[str]) -> None:
    lay_out(
        small_fleet(
            fleet="policy: {keys: [rsa-2048], renew_befor: 3d}\n", appliances__east="hostname: east.example.com\n"
        )
    )
    assert main(["validate"]) == 3
    lines = capsys.readouterr().out.splitlines()
    places = [line.split(" ")[:2] for line in lines[:-1]]
    assert places == [
        ["desired-state/appliances/east.yaml:1:1", "missing-key"],
        ["desired-state/certificates/access.yaml:4:16", "self-signed-temporary"],
        ["desired-state/fleet.yaml:1:28", "unknown-key"],
    ]
    assert lines[-1] == "desired-state: 2 errors, 1 notice"


def test_nothing_found(lay_out: Callable[[Files], Path], capsys: pytest.CaptureFixture[str]) -> None:
    acknowledged = small_fleet()["certificates/access.yaml"] + (
        "acknowledge:\n  - rule: self-signed-temporary\n    reason: for testing\n    until: 9999-12-31\n"
    )
    lay_out(small_fleet(certificates__access=acknowledged))
    assert main(["validate", "desired-state"]) == 0
    assert capsys.readouterr().out == "desired-state: no findings\n"


def test_the_time_is_that_of_the_machine(lay_out: Callable[[Files], Path], capsys: pytest.CaptureFixture[str]) -> None:
    now = system_clock()
    leaf = ROOT.issue(["access.example.com"], not_before=now - 9 * DAY, not_after=now - DAY)
    folder = lay_out(
        small_fleet(
            certificates__access=(
                "subject: {country: US, common_name: Example access}\nsubject_alternative_names: [access.example.com]\n"
                "key: ec-p256\nsource: {kind: requested, signed: leaf.pem, chain: [root.pem]}\n"
            )
        )
    )
    (folder / "certificates/leaf.pem").write_bytes(leaf.pem())
    (folder / "certificates/root.pem").write_bytes(write_pem([ROOT.certificate]))
    assert main(["validate"]) == 3
    assert "certificates/access.yaml:4:35 expired 'Example remote access' expired on " in capsys.readouterr().out


def test_json_is_a_list_of_findings(lay_out: Callable[[Files], Path], capsys: pytest.CaptureFixture[str]) -> None:
    lay_out(small_fleet(certificates__access=small_fleet()["certificates/access.yaml"].replace("US", '"\u00dcK"')))
    assert main(["validate", "--format", "json"]) == 3
    written = capsys.readouterr().out
    assert written.isascii()
    first, second = json.loads(written)
    assert first == {
        "rule": "country-code",
        "severity": "error",
        "message": "'\u00dcK' is not a country code of ISO 3166",
        "remedy": "write the two capital letters that ISO 3166 assigns, such as US",
        "file": "desired-state/certificates/access.yaml",
        "line": 1,
        "column": 20,
        "about": "certificate access",
        "stops": "site",
    }
    assert (second["rule"], second["severity"], second["stops"]) == ("self-signed-temporary", "notice", "nothing")


def test_github_annotations(lay_out: Callable[[Files], Path], capsys: pytest.CaptureFixture[str]) -> None:
    lay_out(small_fleet(certificates__access=small_fleet()["certificates/access.yaml"].replace("US", "'100%, ::x'")))
    assert main(["validate", "--format", "github"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "::error file=desired-state/certificates/access.yaml,line=1,col=20,title=country-code::"
        "'100%25, ::x' is not a country code of ISO 3166 - "
        "write the two capital letters that ISO 3166 assigns, such as US"
    )
    assert lines[1].startswith("::notice file=desired-state/certificates/access.yaml,line=4,col=16,title=")
    assert lines[2:] == ["desired-state: 1 error, 1 notice"]


@pytest.mark.parametrize("form", ["text", "github", "json"])
def test_what_steers_a_terminal_is_shown_not_obeyed(
    form: str, lay_out: Callable[[Files], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lay_out(small_fleet())
    (folder / f"certificates/{HOSTILE.replace('/', '')}.yaml").write_text("source: x\n")
    assert main(["validate", "--format", form]) == 3
    written = capsys.readouterr().out
    assert all(line.isprintable() for line in written.splitlines())
    assert not [line for line in written.splitlines() if line.startswith("::error::")]


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path / "nowhere")]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "nowhere" in shown.err


def test_a_git_revision(lay_out: Callable[[Files], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = lay_out(small_fleet())
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "Declare access"]):
        subprocess.run(["git", *arguments], cwd=folder.parent, check=True)
    (folder / "fleet.yaml").write_text("broken: [\n")
    assert main(["validate"]) == 3
    capsys.readouterr()
    assert main(["validate", "--revision", "HEAD"]) == 0
    assert capsys.readouterr().out == f"{NOTICE}\ndesired-state: 1 notice\n"
    assert main(["validate", "--revision", "unheard-of"]) == 1


def test_files_are_named_from_where_the_command_was_started(
    lay_out: Callable[[Files], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lay_out(small_fleet())
    assert main(["validate", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("desired-state/certificates/access.yaml:4:16 ")
    monkeypatch.chdir(folder / "sites")
    assert main(["validate", ".."]) == 0
    assert capsys.readouterr().out.startswith("../certificates/access.yaml:4:16 ")


def test_and_by_their_whole_path_where_that_was_the_root_of_all(
    lay_out: Callable[[Files], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lay_out(small_fleet())
    monkeypatch.chdir("/")
    main(["validate", str(folder)])
    assert capsys.readouterr().out.startswith(f"{folder}/certificates/access.yaml:4:16 ")


def test_all_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--list-rules"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["Rule", "Severity", "Section", "Summary"]
    ids = [row.split()[0] for row in rows]
    assert ids == sorted(ids)
    assert {"yaml-syntax", "hostname-covered", "undeclared", "acknowledgement-expired"} <= set(ids)
    column = header.index("Summary")
    assert all(row[column - 1] == " " and row[column] != " " for row in rows)


def test_all_rules_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--list-rules", "--format", "json"]) == 0
    listed = {each["id"]: each for each in json.loads(capsys.readouterr().out)}
    assert listed["atlas-wildcard"]["severity"] == "warning"
    assert listed["atlas-wildcard"]["section"].startswith("Copy the SSL Certificate")


def test_the_rules_of_every_room_are_listed_by_a_process_of_its_own() -> None:
    command: list[str | Path] = [PROGRAM, "validate", "--list-rules"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "served-name-lost" in listed
    assert "cn-unique" in listed
