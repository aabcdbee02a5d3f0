from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reconciler.plan.model import Plan
from reconciler.report.results import Applied
from tests.cli.fleet import PASSPHRASE, VARIABLE, Fleet, make_fleet, run
from tests.cli.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def ready(fleet: Fleet) -> int:
    return Plan.model_validate_json(fleet.run("plan", "--format", "json").out).summary.ready


def test_a_fleet_is_brought_to_what_the_desired_state_says(fleet: Fleet) -> None:
    ran = fleet.run("apply", "--yes")
    assert ran.code == 0
    assert "Plan: 6 to import, 1 to create, 3 defaults to set.\n\nResults\n" in ran.out
    assert ran.out.endswith("\nApply: 10 actions applied on 3 appliances.\n")
    again = fleet.run("apply")
    assert (again.code, again.out.splitlines()[-1]) == (0, "No changes.")
    assert "Results" not in again.out


def test_json_joins_the_plan_and_its_results(fleet: Fleet) -> None:
    document = Applied.model_validate_json(fleet.run("apply", "--yes", "--format", "json").out)
    assert [(each.appliance, each.outcome.value, len(each.steps)) for each in document.results] == [
        ("east-1", "applied", 4),
        ("lab", "applied", 2),
        ("west-1", "applied", 4),
    ]
    assert document.plan.summary.ready == 10


def test_nobody_is_asked_without_a_terminal(fleet: Fleet) -> None:
    with open(os.devnull) as nothing:  # noqa: PTH123 - a stream, not a path
        saved = os.dup(0)
        os.dup2(nothing.fileno(), 0)
        ran = fleet.run("apply")
        os.dup2(saved, 0)
        os.close(saved)
    assert ran.code == 1
    assert "Plan: 6 to import" in ran.out
    assert ran.err == (
        "reconciler: there is no terminal to ask on, so nothing was applied - pass --yes to apply without asking\n"
    )
    assert ready(fleet) == 10


def test_json_needs_yes(fleet: Fleet) -> None:
    ran = fleet.run("apply", "--format", "json")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "reconciler: with --format json nobody can be asked - pass --yes as well\n"


def test_one_appliance_that_fails_is_told_with_its_step_and_the_others_go_on(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    ran = fleet.run("apply", "--yes")
    assert ran.code == 5
    assert "failed at step 3 of 4, import access.example.com: " in ran.out
    assert VARIABLE in ran.out
    assert "not attempted: make access.example.com the default\n" in ran.out
    assert "  lab                     applied, 2 of 2 actions\n" in ran.out
    assert "; 2 appliances failed; 6 actions not attempted.\n" in ran.out


def test_a_wrong_passphrase_is_never_shown(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "not the passphrase")
    ran = fleet.run("apply", "--yes")
    assert ran.code == 5
    assert "not the passphrase" not in ran.out + ran.err


def test_what_errors_do_not_concern_is_done(fleet: Fleet) -> None:
    fleet.edit("sites/access.yaml", "default: access", "default: acces")
    ran = fleet.run("apply", "--yes")
    assert ran.code == 3
    assert ran.out.endswith("\nApply: 2 actions applied on 1 appliance.\n")


def test_an_appliance_that_cannot_be_observed_keeps_no_other_from_its_certificates(fleet: Fleet) -> None:
    (fleet.store("lab") / "half.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    ran = fleet.run("apply", "--yes")
    assert ran.code == 1
    assert ran.out.endswith("\nApply: 8 actions applied on 2 appliances.\n")


def test_only_what_is_asked_for_is_changed(fleet: Fleet) -> None:
    assert fleet.run("apply", "--yes", "--appliance", "lab").code == 0
    assert ready(fleet) == 8


def test_stores_are_made_where_that_is_asked_for(tmp_path: Path) -> None:
    fleet = make_fleet(tmp_path, stores=False)
    assert fleet.run("apply", "--yes").code == 1
    ran = fleet.run("apply", "--yes", "--create-stores")
    assert ran.code == 0
    assert ran.err == "made the stores of east-1, lab, west-1\n"
    assert fleet.run("apply", "--yes", "--create-stores").err == ""


def test_a_person_is_asked_and_sees_what_happens(fleet: Fleet) -> None:
    terminal = Terminal.run("apply", fleet.desired_state, environ={VARIABLE: PASSPHRASE})
    shown = terminal.read_until("Apply 10 actions? [y/N] ")
    assert "\x1b[32m+ import\x1b[0m" in shown
    terminal.type("y\n")
    code, output = terminal.end()
    assert code == 0
    assert "applying: " in output
    assert "Apply: 10 actions applied on 3 appliances." in output


def test_no_is_the_answer_unless_it_is_yes(fleet: Fleet) -> None:
    terminal = Terminal.run("apply", fleet.desired_state, columns=140)
    terminal.read_until("[y/N] ")
    terminal.type("\n")
    code, output = terminal.end()
    assert code == 1
    assert "reconciler: nothing was applied" in output
    assert ready(fleet) == 10


def test_an_interrupt_is_one_sentence(fleet: Fleet) -> None:
    terminal = Terminal.run("apply", fleet.desired_state)
    terminal.read_until("[y/N] ")
    terminal.type("\x03")
    code, output = terminal.end()
    assert code == 130
    assert "reconciler: interrupted" in output
    assert "Traceback" not in output


def test_a_change_that_was_interrupted_is_finished(fleet: Fleet, tmp_path: Path) -> None:
    runs, once = tmp_path / "front-end-runs", tmp_path / "once"
    script = tmp_path / "reload"
    script.write_text(f"[ -e {runs} ] && exit 0\n[ -e {once} ] && exit 1\ntouch {once}\n")
    settings = tmp_path / "operator.yaml"
    settings.write_text(f"reload: {{lab: [sh, {script}]}}\n")
    operator = ("--operator", settings, "apply", fleet.desired_state, "--appliance", "lab")
    failed = run(*operator, "--yes")
    assert failed.code == 5
    assert "failed at step 2 of 2, make lab the default: " in failed.out
    runs.touch()
    terminal = Terminal.run(*operator)
    terminal.read_until("Finish the change that was interrupted? [y/N] ")
    terminal.type("yes\n")
    code, output = terminal.end()
    assert code == 0
    assert "Apply: 0 actions applied on 1 appliance." in output
    assert "Results" not in run(*operator).out
