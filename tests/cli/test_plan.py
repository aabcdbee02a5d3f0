from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from git import Actor, Repo

from reconciler.base.clock import system_clock
from reconciler.plan.model import Plan
from tests.cli.fleet import Fleet, issue, run
from tests.support.authority import DAY, Authority

if TYPE_CHECKING:
    from pathlib import Path


def test_a_plan_says_what_would_be_done_and_changes_nothing(fleet: Fleet) -> None:
    before = sorted(path for path in fleet.root.rglob("*"))
    ran = fleet.run("plan")
    assert ran.code == 0
    assert ran.out.endswith("\nPlan: 6 to import, 1 to create, 3 defaults to set.\n")
    assert "    + import   access.example.com [" in ran.out
    assert not ran.err
    assert sorted(path for path in fleet.root.rglob("*")) == before


def test_diff_is_the_same(fleet: Fleet) -> None:
    plan, diff = fleet.run("plan"), fleet.run("diff")
    assert plan.out.splitlines()[1:] == diff.out.splitlines()[1:]


def test_json_is_the_plan_itself(fleet: Fleet) -> None:
    ran = fleet.run("plan", "--format", "json")
    plan = Plan.model_validate_json(ran.out)
    assert plan.summary.ready == 10
    assert json.loads(ran.out)["summary"]["import"] == 6
    assert ran.out.isascii()


def test_the_detailed_exit_code_tells_changes_holds_and_peace_apart(fleet: Fleet) -> None:
    assert fleet.run("plan", "--detailed-exitcode").code == 2
    assert fleet.run("apply", "--yes").code == 0
    assert fleet.run("plan", "--detailed-exitcode").code == 0


def test_an_appliance_that_cannot_be_observed_hides_no_other(fleet: Fleet) -> None:
    (fleet.store("east-1") / "half.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    ran = fleet.run("plan", "--detailed-exitcode")
    assert ran.code == 1
    assert "  east-1: could not be observed\n" in ran.out
    assert "appliances/east-1.yaml:2:8 unreachable " in ran.out
    assert "  west-1\n" in ran.out
    assert "; 1 appliance could not be observed.\n" in ran.out


def test_errors_stop_their_site_and_nothing_else(fleet: Fleet) -> None:
    fleet.edit("sites/access.yaml", "default: access", "default: acces")
    ran = fleet.run("plan", "--detailed-exitcode")
    assert ran.code == 3
    assert "sites/access.yaml:6:10 " in ran.out
    assert "  east-1, west-1: not planned: see the errors\n" in ran.out
    assert "    + create   lab [new]\n" in ran.out


@pytest.mark.parametrize(
    ("options", "planned"),
    [
        (["--appliance", "lab"], ["lab"]),
        (["--site", "access"], ["east-1", "west-1"]),
        (["--site", "access", "--appliance", "lab"], ["east-1", "lab", "west-1"]),
        (["--appliance", "east-1"], ["east-1"]),
    ],
)
def test_a_part_of_the_fleet_can_be_planned(fleet: Fleet, options: list[str], planned: list[str]) -> None:
    plan = Plan.model_validate_json(fleet.run("plan", "--format", "json", *options).out)
    assert [each.name for each in plan.appliances] == planned


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--appliance", "east-2"], "no appliance of the desired state is called east-2 - did you mean east-1?"),
        (["--site", "zzz"], "no site of the desired state is called zzz - the names are those of the files"),
        (["--at", "tomorrow"], "--at tomorrow is neither a date nor an instant with a time zone"),
        (["--at", "2026-12-24T08:00:00"], "is neither a date nor an instant with a time zone"),
        (["--allow-removals", "-1"], "--allow-removals"),
        (["--format", "xml"], "--format"),
        (
            ["--report", "plan.pdf"],
            "--report plan.pdf does not tell how it is to be written - let its name end in one of",
        ),
        (["--report", "a.md", "--report", "./a.md"], "a.md is named twice - name a file for each"),
        (["--report", "a.json", "--out", "a.json"], "a.json is named twice - name a file for each"),
        (["--report", "no/where/a.md"], "no/where is no folder - make it, or name a file in another one"),
        (
            ["--report-url", "javascript:x"],
            "--report-url javascript:x is no address of a page - write it like https://",
        ),
        (["--report-url", "https://x/> [y](z)"], "is no address of a page"),
        (["--unknown"], "No such option: --unknown - see `reconciler plan --help`"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_sentence(fleet: Fleet, options: list[str], sentence: str) -> None:
    ran = fleet.run("plan", *options)
    assert ran.code == 1
    assert not ran.out
    assert ran.err.startswith("reconciler: ")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_one_look_at_the_fleet_is_enough_for_everything_that_a_pull_request_needs(fleet: Fleet, tmp_path: Path) -> None:
    fleet.edit("fleet.yaml", "policy: {}", "polic: {}")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "comment.md").write_text("of before")
    names = ("comment.md", "plan.html", "plan.txt", "again.json")
    reports = [part for name in names for part in ("--report", folder / name)]
    ran = fleet.run(
        "plan", "--out", folder / "plan.json", *reports, "--format", "github", "--report-url", "https://ci/1"
    )
    assert ran.code == 3
    assert "fleet.yaml,line=1,col=1,title=" in ran.out
    assert ran.out.splitlines()[-1] == "Nothing is planned; 3 appliances not planned because of errors."
    assert ran.err.splitlines()[:-1] == [f"{folder / name}: written" for name in names]
    assert sorted(each.name for each in folder.iterdir()) == sorted(("plan.json", *names))
    saved = Plan.model_validate_json((folder / "plan.json").read_bytes())
    again = Plan.model_validate_json((folder / "again.json").read_bytes())
    assert saved.digest == again.digest
    digests = {name: saved.digest in (folder / name).read_text("utf-8") for name in names}
    assert digests == dict.fromkeys(names, True)
    comment = (folder / "comment.md").read_text("utf-8")
    assert comment.startswith("<!-- pra-certificate-reconciler: plan ")
    assert "[The report](<https://ci/1>)" in comment


def test_a_comment_begins_with_whether_it_is_safe_to_merge(fleet: Fleet) -> None:
    now = system_clock()
    former, other = (Authority.root(name, not_before=now - 900 * DAY) for name in ("Former Root", "Other Root"))
    fleet.commit(issue(former.intermediate("Former Issuing CA", not_before=now - 800 * DAY)))
    first = fleet.run("plan", "--format", "markdown").out
    assert "\n\n**Safe to merge:** clients get other certificates, and these are good.\n" in first
    assert fleet.run("apply", "--yes").code == 0
    assert "\n\n**Safe to merge:** nothing is to be done, " in fleet.run("plan", "--format", "markdown").out
    fleet.file("sites/root.pem").write_bytes(former.certificate.to_x509().public_bytes(Encoding.PEM))
    builds = "client_software: [{installed_at: 2026-01-01T00:00:00Z, trusts: [root.pem]}]"
    fleet.edit("sites/access.yaml", "client_software: none", builds)
    fleet.commit(issue(other.intermediate("Other Issuing CA", not_before=now - 800 * DAY), days_ago=1))
    held = fleet.run("plan", "--format", "markdown").out
    assert (
        "\n\n**Safe to merge:** clients notice nothing. 4 actions wait for a software build that trusts Other Root."
        " Next: run `reconciler bundle access`, and send BeyondTrust Technical Support what it makes.\n"
    ) in held
    assert held.count("reconciler bundle access") == 3
    assert held.count("### ") == 5
    assert "\n`east-1` (after `west-1`), `west-1`\n" in held
    (later,) = [line for line in held.splitlines() if line.startswith("- Import ")]
    assert later.count(" on `east-1`, `west-1`") == 2
    fleet.edit("sites/access.yaml", "default: access", "default: acces")
    broken = fleet.run("plan", "--format", "markdown").out
    assert "\n\n**Look before you merge:** 1 error; nothing is known of 2 appliances.\n" in broken


@pytest.mark.parametrize(
    ("output_format", "begins"),
    [("markdown", "<!-- pra-certificate-reconciler: plan "), ("html", "<!doctype html>"), ("github", "::notice file=")],
)
def test_each_format_goes_to_stdout(fleet: Fleet, output_format: str, begins: str) -> None:
    ran = fleet.run("plan", "--format", output_format)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.lower().startswith(begins.lower())


def test_github_is_told_of_files_from_the_root_of_the_repository(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.edit("sites/access.yaml", "default: access", "default: acces")
    assert f"file={fleet.desired_state}/sites/access.yaml,line=6," in fleet.run("plan", "--format", "github").out
    with Repo.init(fleet.root):
        for command in ("plan", "validate"):
            written = fleet.run(command, "--format", "github").out
            assert "file=desired-state/sites/access.yaml,line=6,col=10," in written
    monkeypatch.chdir(fleet.desired_state / "sites")
    assert "file=desired-state/sites/access.yaml,line=6,col=10," in run("plan", "..", "--format", "github").out
    assert run("plan", "..", "--format", "markdown").out.startswith(
        "<!-- pra-certificate-reconciler: plan desired-state -->\n"
    )
    with Repo.init(fleet.desired_state):
        assert "file=sites/access.yaml,line=6,col=10," in run("plan", "..", "--format", "github").out
    assert run("plan", "..", "--format", "markdown").out.startswith("<!-- pra-certificate-reconciler: plan . -->\n")


@pytest.mark.parametrize("at", ["2999-12-24", "2999-12-24T02:00:00+02:00"])
def test_a_plan_for_later_says_so(fleet: Fleet, at: str) -> None:
    ran = fleet.run("plan", "--at", at)
    assert ran.out.startswith("Plan as of 2999-12-24 00:00:00 UTC, so it cannot be applied\n")


def test_a_git_revision_is_planned_whatever_lies_in_the_work_tree(fleet: Fleet) -> None:
    with Repo.init(fleet.root) as repository:
        repository.index.add(["desired-state"])
        person = Actor("A", "a@example.com")
        commit = repository.index.commit("first", author=person, committer=person).hexsha
    fleet.file("fleet.yaml").write_text("[")
    ran = fleet.run("plan", "--revision", "HEAD", "--format", "json")
    assert Plan.model_validate_json(ran.out).basis.revision == commit
    assert ran.err.endswith("desired-state has changes that are not committed: HEAD has not\n")
    ran = fleet.run("plan", "--revision", "nowhere")
    assert ran.code == 1
    assert "nowhere" in ran.err


def test_a_held_removal_alone_exits_with_6(fleet: Fleet) -> None:
    assert fleet.run("apply", "--yes").code == 0
    authority = Authority.root("Example Root 2")
    fleet.commit(issue(authority, days_ago=1))
    assert fleet.run("apply", "--yes").code == 0
    ran = fleet.run("plan", "--detailed-exitcode")
    assert (ran.code, ran.out.splitlines()[-1]) == (6, "No changes; 2 held.")


def test_a_desired_state_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    ran = run("plan", tmp_path / "nowhere")
    assert ran.code == 1
    assert ran.err.count("\n") == 1


def test_a_rehearsal_says_which_stores_stand_in_for_others(fleet: Fleet, tmp_path: Path) -> None:
    operator = tmp_path / "operator.yaml"
    operator.write_text(f"stores: {{lab: {{driver: directory, path: {fleet.root}/stores/lab}}}}\n")
    line = "Rehearsal: the operator settings put other stores in place of lab\n"
    assert line in run("--operator", operator, "plan", fleet.desired_state).out
    assert "Rehearsal" not in fleet.run("plan").out
