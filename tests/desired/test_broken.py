"""Every case of the corpus gives exactly the findings that it names; see `tests.support.corpus`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.base.findings import rules
from tests.support.corpus import BASE, BROKEN, read_case, told, validate

if TYPE_CHECKING:
    from pathlib import Path

CASES = sorted(BROKEN.glob("*.txt"))


def test_the_base_has_no_findings(tmp_path: Path) -> None:
    read_case(BASE).write(tmp_path)
    assert validate(tmp_path) == ()


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_case(path: Path, tmp_path: Path) -> None:
    case = read_case(path)
    case.write(tmp_path)
    findings = validate(tmp_path)
    assert told(findings) == case.expected, "\n".join(map(str, findings))


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_every_finding_says_what_to_do_in_one_line_and_points_into_the_file(path: Path, tmp_path: Path) -> None:
    case = read_case(path)
    case.write(tmp_path)
    known = {rule.id for rule in rules()}
    for finding in validate(tmp_path):
        assert finding.rule in known
        assert finding.message.isprintable()
        assert finding.remedy.isprintable()
        assert finding.message
        assert finding.remedy
        assert "passphrase-in-clear" not in str(finding)
        assert finding.position is not None
        content = case.files.get(finding.position.file, b"")
        lines = content.decode("utf-8", "replace").removeprefix("\ufeff").splitlines() or [""]
        assert finding.position.line <= len(lines)
        assert finding.position.column <= len(lines[finding.position.line - 1]) + 1


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(CASES) >= 40
