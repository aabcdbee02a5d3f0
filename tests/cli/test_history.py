"""`reconciler history` over journals that lie where it looks for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journal import WrittenJournal
from reconciler.apply.result import ApplianceResult, Outcome, StepResult
from reconciler.base.clock import system_clock
from reconciler.report.history import Ending, History
from tests.apply.test_journal import FIRST, SECOND, plan
from tests.cli.fleet import PASSPHRASE, VARIABLE, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.fleet import Fleet


@pytest.fixture
def journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "reconciler" / "journal"


def applied(folder: Path, root: Path | str = "desired-state", *, ended: bool = True) -> str:
    """An apply; the name of its journal."""
    journal = WrittenJournal(folder, plan(), str(root), system_clock)
    for action in (FIRST, SECOND) if ended else (FIRST,):
        journal.intend(action)
        journal.record(StepResult(action.id, Outcome.APPLIED))
    if ended:
        journal.end([ApplianceResult("east-1", Outcome.APPLIED)])
    journal.close()
    return journal.path.stem


def test_each_apply_that_was_interrupted_is_told_of_the_first_one_first(journals: Path, fleet: Fleet) -> None:
    """What is at work on several parts of a fleet is killed together."""
    names = []
    for appliance in ("east-1", "west-1"):
        made = plan(FIRST, appliance=appliance)
        journal = WrittenJournal(journals, made, str(fleet.desired_state), system_clock)
        journal.close()
        names.append(journal.path.stem)
    told = fleet.run("plan").err
    assert re.findall(r"reconciler history --show (\S+?)`", told) == names
    assert fleet.run("apply", "--yes").code == 0
    assert fleet.run("plan").err == ""


def listed(*options: str | Path) -> History:
    return History.model_validate_json(run("history", "--format", "json", *options).out)


def test_where_nothing_was_applied_that_is_said(journals: Path) -> None:
    ran = run("history")
    assert (ran.code, ran.out, ran.err) == (0, "Nothing was applied yet.\n", "")
    assert not journals.exists()


def test_the_latest_comes_first(journals: Path) -> None:
    names = [applied(journals), applied(journals, ended=False)]
    ran = run("history")
    assert (ran.code, ran.err) == (0, "")
    header, *lines = ran.out.splitlines()
    assert header.split()[:3] == ["Apply", "Began", "Took"]
    assert [line.split()[0] for line in lines] == names[::-1]
    assert lines[0].endswith("interrupted after 1 of 2 actions")
    assert lines[1].endswith("applied, 2 actions")


def test_programs_get_a_document(journals: Path) -> None:
    names = [applied(journals), applied(journals)]
    document = listed()
    assert [each.id for each in document.applies] == names[::-1]
    assert {each.ending for each in document.applies} == {Ending.APPLIED}
    assert not document.more


def test_as_many_as_asked_for(journals: Path) -> None:
    names = [applied(journals) for _ in range(3)]
    document = listed("--limit", "2")
    assert [each.id for each in document.applies] == names[:0:-1]
    assert document.more
    assert run("history", "--limit", "0").code == 1


def test_only_those_of_one_desired_state(journals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    applied(journals, tmp_path / "one")
    name = applied(journals, tmp_path / "two")
    monkeypatch.chdir(tmp_path)
    assert [each.id for each in listed("two").applies] == [name]
    assert [each.id for each in listed(tmp_path / "two").applies] == [name]
    assert len(listed().applies) == 2


def test_one_with_its_actions(journals: Path) -> None:
    name = applied(journals, ended=False)
    applied(journals)
    ran = run("history", "--show", name)
    assert ran.code == 0
    assert ran.out.startswith(f"{name}\n")
    assert "\n  applied         east-1: remove certificate 1\n" in ran.out
    assert "\n  not begun       east-1: remove certificate 2\n" in ran.out
    assert [each.id for each in listed("--show", name).applies] == [name]


def test_one_that_there_is_not(journals: Path) -> None:
    applied(journals)
    ran = run("history", "--show", "x\x1b[2J")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "reconciler: no apply is called x\\x1b[2J - the first column of `reconciler history` names them\n"
    )


@pytest.mark.usefixtures("journals")
def test_what_apply_did_is_told(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    assert fleet.run("apply", "--yes").code == 5
    monkeypatch.setenv(VARIABLE, PASSPHRASE)
    assert fleet.run("apply", "--yes").code == 0
    assert fleet.run("apply", "--yes").out.endswith("No changes.\n")
    last, first = listed(fleet.desired_state).applies
    assert (last.ending, last.done, len(last.actions)) == (Ending.APPLIED, 8, 8)
    assert (first.ending, first.done, len(first.actions)) == (Ending.FAILED, 2, 10)
    assert {each.appliance: each.outcome for each in first.appliances} == {
        "east-1": Outcome.FAILED,
        "lab": Outcome.APPLIED,
        "west-1": Outcome.FAILED,
    }
    ran = run("history")
    assert "failed on east-1, west-1" in ran.out
    assert PASSPHRASE not in run("history", "--show", first.id).out


def test_they_lie_where_the_operator_says(journals: Path, tmp_path: Path) -> None:
    (tmp_path / "operator.yaml").write_text("journal: ours\n")
    name = applied(tmp_path / "ours")
    ran = run("--operator", tmp_path / "operator.yaml", "history")
    assert name in ran.out
    assert not journals.exists()
