"""A store that cannot be read is its appliance's affair: it is told with what is wrong, and the others are served."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.plan.model import Progress
from reconciler.report.results import Applied
from tests.cli.fleet import Ran, run
from tests.cli.terminal import PROGRAM
from tests.end_to_end.example import APPLIANCES, Example
from tests.support.authority import self_signed
from tests.support.programs import require_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BROKEN = "node-2"
"""One of four members of a site, on whom the primary waits."""
SOUND = tuple(name for name in APPLIANCES if name != BROKEN)


def factory_file(directory: Path) -> Path:
    return next(path for path in directory.glob("*.pem") if not path.is_symlink())


def half_a_file(directory: Path) -> None:
    path = factory_file(directory)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(directory: Path) -> None:
    body = "bm90IGEgY2VydGlmaWNhdGU="
    (directory / "garbage.pem").write_text(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")


def binary(directory: Path) -> None:
    (directory / "binary.pem").write_bytes(bytes(range(256)))


def foreign_key(directory: Path) -> None:
    mine, other = self_signed(["node-2.atlas.example.com"]), self_signed(["node-2.atlas.example.com"])
    (directory / "mismatch.pem").write_bytes(mine.pem() + other.key_pem())


def missing(directory: Path) -> None:
    directory.rename(directory.with_name("moved-away"))


def no_directory(directory: Path) -> None:
    missing(directory)
    directory.write_text("not a directory\n")


def endless_links(directory: Path) -> None:
    missing(directory)
    directory.symlink_to(directory.name)


def damaged_records(directory: Path) -> None:
    (directory / ".store" / "store.json").write_text("{")


CASES = [
    (half_a_file, ".pem: "),
    (garbage, "garbage.pem: "),
    (binary, "binary.pem: it holds no certificate"),
    (foreign_key, "mismatch.pem: the private key is not that of the first certificate"),
    (missing, "cannot be read: No such file or directory"),
    (no_directory, "cannot be read: Not a directory"),
    (endless_links, "cannot be read: Too many levels of symbolic links"),
    (damaged_records, ".store/store.json: it is damaged"),
]


@pytest.mark.parametrize(("harm", "problem"), CASES, ids=[harm.__name__ for harm, _ in CASES])
def test_a_broken_store_is_one_finding_and_the_others_are_applied(
    example: Example, harm: Callable[[Path], None], problem: str
) -> None:
    harm(example.directory(BROKEN))
    ran = run("apply", example.root, "--yes", "--format", "json")
    assert_only_the_broken_one_is_left(ran, problem)
    text = run("plan", example.root)
    assert text.code == 1
    assert problem in text.out
    assert "Traceback" not in text.out + text.err
    assert text.out.splitlines()[-1].startswith("No changes")


def test_a_directory_that_may_not_be_read(example: Example) -> None:
    directory = example.directory(BROKEN)
    directory.chmod(0)
    # Permissions do not bind the superuser, unless he gives that privilege up.
    dropped = ["--bounding-set", "-dac_override,-dac_read_search"]
    before = [require_program("setpriv"), *dropped] if os.geteuid() == 0 else []
    command: list[str | Path] = [*before, PROGRAM, "apply", example.root, "--yes", "--format", "json"]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    directory.chmod(0o700)
    assert_only_the_broken_one_is_left(Ran(ran.returncode, ran.stdout, ran.stderr), "cannot be read: Permission denied")


def assert_only_the_broken_one_is_left(ran: Ran, problem: str) -> None:
    """The broken one has exactly one finding, which says what is wrong and what to do; all others were applied."""
    assert ran.code == 1, ran.err
    assert ran.err == ""
    document = Applied.model_validate_json(ran.out)
    parts = {each.name: each for each in document.plan.appliances}
    [finding] = parts[BROKEN].findings
    assert problem in finding.message
    assert finding.remedy
    assert finding.appliance == BROKEN
    assert (parts[BROKEN].progress, parts[BROKEN].actions) == (Progress.UNREACHABLE, ())
    assert {parts[name].progress for name in SOUND} == {Progress.PLANNED}
    assert not any(parts[name].findings for name in SOUND)
    outcomes = {each.appliance: each.outcome.value for each in document.results}
    assert outcomes == {BROKEN: "unchanged", **dict.fromkeys(SOUND, "applied")}


def test_everything_that_is_wrong_with_several_stores_is_told_at_once(example: Example) -> None:
    half_a_file(example.directory("east-1"))
    garbage(example.directory("east-1"))
    foreign_key(example.directory("west-1"))
    missing(example.directory("hub-1"))
    ran = run("plan", example.root)
    assert ran.code == 1
    told = " ".join(ran.out.split())
    for expected in ("garbage.pem", "mismatch.pem", "No such file or directory"):
        assert expected in told
    applied = run("apply", example.root, "--yes")
    assert applied.code == 1
    assert "Apply: 15 actions applied on 4 appliances." in applied.out
