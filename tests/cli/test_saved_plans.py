"""Saved plans as teams use them: planned and reviewed here, applied there, days later, by a pipeline."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from git import Actor, Repo

from reconciler.base.clock import system_clock
from reconciler.engine.saved import read_plan
from reconciler.pki.reading import read
from reconciler.pki.writing import write_key_pem
from reconciler.report.results import Applied
from tests.cli.fleet import PASSPHRASE, VARIABLE, Fleet, Ran, issue, run
from tests.cli.terminal import Terminal
from tests.support.authority import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PERSON = Actor("A", "a@example.com")
NO_LONGER_FITS = "reconciler: the saved plan no longer fits:\n"
AGAIN = " - plan again, and have it reviewed again\n"


@pytest.fixture
def saved(fleet: Fleet) -> Path:
    path = fleet.root / "plan.json"
    assert fleet.run("plan", "--out", path).code == 0
    return path


def applying(fleet: Fleet, saved: Path, *options: str | Path) -> Ran:
    return run("apply", saved, fleet.desired_state, "--yes", *options)


def ready(fleet: Fleet) -> int:
    return int(sum(json.loads(fleet.run("plan", "--format", "json").out)["summary"][key] for key in _READY))


_READY = ("create", "import", "set_default", "remove")


def made(saved: Path, ago: dt.timedelta) -> None:
    """Date a plan back, as if it had been saved then."""
    document = json.loads(saved.read_text())
    document["made_at"] = f"{system_clock() - ago:%Y-%m-%dT%H:%M:%SZ}"
    del document["checksum"]
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    document["checksum"] = hashlib.sha256(canonical).hexdigest()
    saved.write_text(json.dumps(document))


def test_what_was_saved_is_shown_and_done(fleet: Fleet, saved: Path) -> None:
    shown = fleet.run("plan")
    ran = applying(fleet, saved)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.split("\nResults\n")[0].splitlines()[1:] == shown.out.splitlines()[1:]
    assert "Plan: 6 to import, 1 to create, 3 defaults to set.\n" in ran.out
    assert ran.out.endswith("\nApply: 10 actions applied on 3 appliances.\n")
    assert ready(fleet) == 0
    again = applying(fleet, saved)
    assert (again.code, again.out) == (4, "")
    assert re.search(
        r"\n  it was applied on .* UTC: `reconciler history --show \S+`" + re.escape(AGAIN) + "$", again.err
    )


def test_saving_says_where_and_the_digest(fleet: Fleet) -> None:
    path = fleet.root / "plan.json"
    ran = fleet.run("plan", "--out", path)
    assert ran.err == f"{path}: saved, digest {read_plan(path).digest}\n"
    assert ran.out.splitlines()[1:] == fleet.run("plan").out.splitlines()[1:]
    assert read_plan(path).digest == json.loads(fleet.run("plan", "--format", "json").out)["digest"]


def test_a_place_where_it_cannot_be_saved_is_said_before_anything_is_observed(fleet: Fleet) -> None:
    ran = fleet.run("plan", "--out", fleet.root / "nowhere" / "plan.json")
    assert (ran.code, ran.out) == (1, "")
    assert "nowhere is no folder" in ran.err


def test_applying_it_twice_is_stale_the_second_time_and_changes_nothing(fleet: Fleet, saved: Path) -> None:
    assert applying(fleet, saved).code == 0
    ran = applying(fleet, saved)
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith(NO_LONGER_FITS)
    assert [line.split(":")[0].strip() for line in ran.err.splitlines()[1:-1]] == ["east-1", "lab", "west-1"]
    assert ready(fleet) == 0


def test_a_plan_with_nothing_to_do_can_be_applied_as_often_as_one_likes(fleet: Fleet, saved: Path) -> None:
    assert applying(fleet, saved).code == 0
    assert fleet.run("plan", "--out", saved).code == 0
    for _ in range(2):
        ran = applying(fleet, saved)
        assert (ran.code, ran.err, ran.out.splitlines()[-1]) == (0, "", "No changes.")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"kind": "import"', '"kind": "Import"'),
        ('"appliance": "east-1"', '"appliance": "west-1"'),
        ('"allow_removals": null', '"allow_removals": 9'),
        ('"only": null', '"only": []'),
        ('"format_version": "1.', '"format_version": "1.1'),
        ("access.example.com", "access.example.org"),
    ],
)
def test_any_change_of_the_file_is_stale(fleet: Fleet, saved: Path, old: str, new: str) -> None:
    text = saved.read_text()
    assert old in text
    saved.write_text(text.replace(old, new, 1))
    ran = applying(fleet, saved)
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == f"reconciler: {saved} was changed after it was saved{AGAIN}"
    assert ready(fleet) == 10


def test_a_store_that_moved_is_named_with_what(fleet: Fleet, saved: Path) -> None:
    assert fleet.run("apply", "--yes", "--appliance", "lab").code == 0
    ran = applying(fleet, saved)
    assert (ran.code, ran.out) == (4, "")
    _, told = ran.err.splitlines()
    assert told.startswith("  lab: its store has changed; ")
    assert "not planned any more" in told
    assert told.endswith(AGAIN.strip("\n"))
    assert ready(fleet) == 8


def test_a_desired_state_that_moved_is_named_and_so_is_where_it_tells(fleet: Fleet, saved: Path) -> None:
    fleet.commit(issue(Authority.root("Example Root 2"), days_ago=1))
    ran = applying(fleet, saved)
    assert ran.code == 4
    assert "  the desired state is another one: it was the work tree's (SHA-256 " in ran.err
    assert "\n  east-1: " in ran.err
    assert "\n  west-1: " in ran.err
    assert "lab" not in ran.err
    assert ran.out == ""


def test_another_store_is_another_plan_even_where_it_holds_the_same(fleet: Fleet, saved: Path) -> None:
    path = fleet.file("appliances/lab.yaml")
    shutil.copytree(fleet.root / "stores/lab", fleet.root / "stores/lab-copy")
    path.write_text(path.read_text().replace("stores/lab", "stores/lab-copy"))
    ran = applying(fleet, saved)
    assert ran.code == 4
    assert "  lab: its store is directory " in ran.err
    assert "stores/lab-copy, and not directory " in ran.err


def test_a_comment_moves_lines_and_nothing_else(fleet: Fleet, saved: Path) -> None:
    for path in ("sites/access.yaml", "certificates/access.yaml", "appliances/lab.yaml", "fleet.yaml"):
        file = fleet.file(path)
        file.write_text("# reviewed by two\n\n" + file.read_text())
    ran = applying(fleet, saved)
    assert (ran.code, ran.err) == (0, "")


def test_an_appliance_that_is_declared_no_more_is_stale_and_named(fleet: Fleet) -> None:
    saved = fleet.root / "plan.json"
    assert fleet.run("plan", "--appliance", "lab", "--out", saved).code == 0
    fleet.file("appliances/lab.yaml").unlink()
    ran = applying(fleet, saved)
    assert (ran.code, ran.err) == (4, f"{NO_LONGER_FITS}  lab is not declared any more{AGAIN}")


def test_an_appliance_that_cannot_be_observed_is_named_with_why(fleet: Fleet, saved: Path) -> None:
    (fleet.store("lab") / "half.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    ran = applying(fleet, saved)
    assert ran.code == 4
    assert "  lab: it was planned, and is unreachable now: " in ran.err
    assert "half.pem" in ran.err


class TestAge:
    def test_seven_days_unless_told(self, fleet: Fleet, saved: Path) -> None:
        made(saved, dt.timedelta(days=7, hours=1))
        ran = applying(fleet, saved)
        assert (ran.code, ran.out) == (4, "")
        assert ran.err == f"reconciler: the plan is 169h old, and 7d is allowed{AGAIN}"
        assert applying(fleet, saved, "--max-age", "8d").code == 0

    def test_or_shorter(self, fleet: Fleet, saved: Path) -> None:
        made(saved, dt.timedelta(minutes=20))
        ran = applying(fleet, saved, "--max-age", "10m")
        assert (ran.code, ran.err) == (4, f"reconciler: the plan is 20m old, and 10m is allowed{AGAIN}")
        assert applying(fleet, saved, "--max-age", "1h").code == 0

    def test_none_comes_from_the_future(self, fleet: Fleet, saved: Path) -> None:
        made(saved, -dt.timedelta(hours=1))
        ran = applying(fleet, saved)
        assert ran.code == 4
        assert "the plan was made in the future, on " in ran.err
        assert ran.err.endswith(" - check the clocks\n")


class TestDigest:
    def test_the_one_that_was_approved_is_applied(self, fleet: Fleet, saved: Path) -> None:
        digest = read_plan(saved).digest
        ran = applying(fleet, saved, "--expect-digest", f" {digest.upper()}\n")
        assert ran.code == 0

    def test_an_empty_one_is_a_mistake(self, fleet: Fleet, saved: Path) -> None:
        ran = applying(fleet, saved, "--expect-digest", " ")
        assert (ran.code, ran.out) == (1, "")
        assert "--expect-digest is empty" in ran.err

    @pytest.mark.parametrize("digest", ["0" * 64, "abc"])
    def test_no_other_is(self, fleet: Fleet, saved: Path, digest: str) -> None:
        for ran in (
            applying(fleet, saved, "--expect-digest", digest),
            fleet.run("apply", "--yes", "--expect-digest", digest),
        ):
            assert (ran.code, ran.out) == (4, "")
            assert f"the plan does not have the digest that is expected, {digest}" in ran.err
        assert ready(fleet) == 10

    def test_nor_a_part_of_it(self, fleet: Fleet, saved: Path) -> None:
        assert applying(fleet, saved, "--expect-digest", read_plan(saved).digest[:12]).code == 4

    def test_without_a_saved_plan_it_binds_what_is_planned_now(self, fleet: Fleet, saved: Path) -> None:
        assert fleet.run("apply", "--yes", "--expect-digest", read_plan(saved).digest).code == 0


class TestUsage:
    @pytest.mark.parametrize(
        "options",
        [
            ["--appliance", "lab"],
            ["--site", "access"],
            ["--create-stores"],
        ],
    )
    def test_what_would_make_it_another_plan_does_not_go_with_it(
        self, fleet: Fleet, saved: Path, options: list[str]
    ) -> None:
        ran = applying(fleet, saved, *options)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err == "reconciler: a saved plan is carried out as it is - leave out what would narrow or widen it\n"

    @pytest.mark.parametrize(
        ("planned", "applied", "said"),
        [
            (["--allow-removals", "9"], [], "pass --allow-removals 9 as well, if that is meant"),
            (["--allow-removals", "9"], ["--allow-removals", "8"], "pass --allow-removals 9 as well"),
            ([], ["--allow-removals", "9"], "leave it out, or plan again with it"),
        ],
    )
    def test_a_file_does_not_lift_the_ceiling_by_itself(
        self, fleet: Fleet, saved: Path, planned: list[str], applied: list[str], said: str
    ) -> None:
        fleet.run("plan", *planned, "--out", saved)
        ran = applying(fleet, saved, *applied)
        assert (ran.code, ran.out) == (1, "")
        assert said in ran.err
        assert ready(fleet) == 10
        assert applying(fleet, saved, *planned).code == 0

    @pytest.mark.parametrize("age", ["7", "0d", "-1d", "soon", ""])
    def test_an_age_is_a_duration(self, fleet: Fleet, saved: Path, age: str) -> None:
        ran = applying(fleet, saved, "--max-age", age)
        assert ran.code == 1
        assert f"--max-age {age} is not a duration - write it like 7d or 48h" in ran.err

    def test_an_age_needs_a_plan(self, fleet: Fleet) -> None:
        ran = fleet.run("apply", "--yes", "--max-age", "7d")
        assert (ran.code, ran.out) == (1, "")
        assert "--max-age is for a saved plan, and none is named" in ran.err

    def test_a_plan_that_is_not_there_is_said_beside_a_folder_too(self, fleet: Fleet) -> None:
        ran = run("apply", fleet.root / "missing.json", fleet.desired_state, "--yes")
        assert ran.code == 1
        assert ran.err.startswith(f"reconciler: there is no {fleet.root / 'missing.json'} - ")

    def test_the_plan_comes_first(self, fleet: Fleet, saved: Path) -> None:
        ran = run("apply", fleet.desired_state, saved, "--yes")
        assert ran.code == 1
        assert "name the plan first, then the desired state" in ran.err

    def test_a_plan_that_is_not_there_is_no_desired_state(self, fleet: Fleet) -> None:
        missing = fleet.root / "plam.json"
        ran = run("apply", missing, "--yes")
        assert ran.code == 1
        assert ran.err == f"reconciler: there is no {missing} - name a saved plan, or the folder of a desired state\n"

    def test_a_plan_as_of_another_time_is_refused(self, fleet: Fleet) -> None:
        saved = fleet.root / "later.json"
        assert fleet.run("plan", "--at", "2999-12-24", "--out", saved).code in {0, 3}
        ran = applying(fleet, saved)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err == (
            f"reconciler: {saved} was planned as of another time, so it cannot be applied - plan again without --at\n"
        )

    def test_a_plan_that_was_only_shown_is_refused_with_what_to_do(self, fleet: Fleet) -> None:
        shown = fleet.root / "shown.json"
        shown.write_text(fleet.run("plan", "--format", "json").out)
        ran = applying(fleet, shown)
        assert ran.code == 1
        assert ran.err.endswith("holds a plan that was shown and not saved - save one with `reconciler plan --out`\n")

    @pytest.mark.parametrize("content", ["", "[", "[" * 100_000, '{"format_version": "2.0", "appliances": []}'])
    def test_what_is_no_saved_plan_is_one_sentence(self, fleet: Fleet, content: str) -> None:
        path = fleet.root / "plan.json"
        path.write_text(content)
        ran = applying(fleet, path)
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)

    def test_json_joins_the_plan_and_its_results(self, fleet: Fleet, saved: Path) -> None:
        document = Applied.model_validate_json(applying(fleet, saved, "--format", "json").out)
        assert document.plan.digest == read_plan(saved).digest
        assert len(document.results) == 3

    def test_a_person_is_asked(self, fleet: Fleet, saved: Path) -> None:
        terminal = Terminal.run("apply", saved, fleet.desired_state, environ={VARIABLE: PASSPHRASE})
        terminal.read_until("Apply 10 actions? [y/N] ")
        terminal.type("n\n")
        assert terminal.end()[0] == 1
        assert ready(fleet) == 10


class TestScope:
    @pytest.mark.parametrize(
        ("options", "left"),
        [(["--appliance", "lab"], 8), (["--site", "access"], 2), (["--appliance", "lab", "--site", "access"], 0)],
    )
    def test_a_plan_for_a_part_of_the_fleet_stays_one(self, fleet: Fleet, options: list[str], left: int) -> None:
        saved = fleet.root / "plan.json"
        assert fleet.run("plan", "--out", saved, *options).code == 0
        assert applying(fleet, saved).code == 0
        assert ready(fleet) == left

    def test_what_moves_outside_of_it_does_not_matter(self, fleet: Fleet) -> None:
        saved = fleet.root / "plan.json"
        assert fleet.run("plan", "--out", saved, "--site", "access").code == 0
        assert fleet.run("apply", "--yes", "--appliance", "lab").code == 0
        assert applying(fleet, saved).code == 0
        assert ready(fleet) == 0


class TestErrors:
    def test_what_could_be_planned_is_saved_and_done(self, fleet: Fleet) -> None:
        fleet.edit("sites/access.yaml", "default: access", "default: acces")
        saved = fleet.root / "plan.json"
        assert fleet.run("plan", "--out", saved).code == 3
        ran = applying(fleet, saved)
        assert ran.code == 3
        assert ran.out.endswith("\nApply: 2 actions applied on 1 appliance.\n")

    def test_what_failed_half_way_is_planned_and_reviewed_again(
        self, fleet: Fleet, saved: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv(VARIABLE)
        assert applying(fleet, saved).code == 5
        monkeypatch.setenv(VARIABLE, PASSPHRASE)
        assert applying(fleet, saved).code == 4
        assert fleet.run("plan", "--out", saved).code == 0
        assert applying(fleet, saved).code == 0


@pytest.fixture
def repository(fleet: Fleet) -> Iterator[Repo]:
    with Repo.init(fleet.root, initial_branch="main") as repository:
        with repository.config_writer() as config:
            config.set_value("user", "name", "A")
            config.set_value("user", "email", "a@example.com")
            config.set_value("commit", "gpgsign", "false")
        commit(repository, "the fleet")
        yield repository


def commit(repository: Repo, message: str) -> str:
    repository.git.add("desired-state")
    return repository.index.commit(message, author=PERSON, committer=PERSON).hexsha


class TestGit:
    """A change is planned on its branch, reviewed there, and applied from the branch that it was merged into."""

    @pytest.fixture
    def reviewed(self, fleet: Fleet, repository: Repo) -> Path:
        """The plan of a branch on which two commits were made."""
        repository.git.checkout("-b", "change")
        fleet.edit("certificates/access.yaml", "key: ec-p256", "renew_before: 20d\nkey: ec-p256")
        commit(repository, "first")
        fleet.edit("certificates/lab.yaml", "key: ec-p256", "key: ec-p384")
        commit(repository, "second")
        saved = fleet.root / "plan.json"
        assert fleet.run("plan", "--revision", "change", "--out", saved).code == 0
        repository.git.checkout("main")
        return saved

    @pytest.mark.parametrize(
        "how",
        [
            ["merge", "--no-ff", "-m", "merged", "change"],
            ["merge", "--ff-only", "change"],
            ["merge", "--squash", "change"],
            ["cherry-pick", "change~1", "change"],
        ],
        ids=["merge", "fast-forward", "squash", "rebase"],
    )
    def test_however_it_was_merged(self, fleet: Fleet, repository: Repo, reviewed: Path, how: list[str]) -> None:
        repository.git.execute(["git", *how])
        if "--squash" in how:
            repository.git.commit("-m", "squashed")
        basis = read_plan(reviewed).basis
        assert basis.revision == repository.commit("change").hexsha
        ran = applying(fleet, reviewed, "--revision", "main")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.endswith("\nApply: 10 actions applied on 3 appliances.\n")

    def test_from_the_work_tree_as_well(self, fleet: Fleet, repository: Repo, reviewed: Path) -> None:
        repository.git.merge("--ff-only", "change")
        assert applying(fleet, reviewed).code == 0

    def test_not_from_a_branch_that_lacks_it(self, fleet: Fleet, repository: Repo, reviewed: Path) -> None:
        ran = applying(fleet, reviewed, "--revision", "main")
        assert (ran.code, ran.out) == (4, "")
        change, main = (repository.commit(each).hexsha[:12] for each in ("change", "main"))
        assert f"  the desired state is another one: it was that of commit {change} (SHA-256 " in ran.err
        assert f", and is that of commit {main} (SHA-256 " in ran.err
        assert "\n  lab: " in ran.err
        assert "east-1" not in ran.err

    def test_not_with_something_else_merged_meanwhile(self, fleet: Fleet, repository: Repo, reviewed: Path) -> None:
        repository.git.merge("--ff-only", "change")
        fleet.edit("sites/access.yaml", "default: access\n", "")
        commit(repository, "somebody else's")
        ran = applying(fleet, reviewed, "--revision", "main")
        assert ran.code == 4
        assert "\n  east-1: " in ran.err
        assert ready(fleet) > 0

    def test_though_what_changes_no_plan_may_be_merged_meanwhile(
        self, fleet: Fleet, repository: Repo, reviewed: Path
    ) -> None:
        repository.git.merge("--ff-only", "change")
        fleet.edit("fleet.yaml", "policy: {}", "# ours\npolicy: {}")
        commit(repository, "a comment")
        assert applying(fleet, reviewed, "--revision", "main").code == 0


def test_it_holds_no_secret(fleet: Fleet, saved: Path) -> None:
    content = saved.read_bytes()
    [key] = read(fleet.file("certificates/access/key.pem").read_bytes(), PASSPHRASE.encode()).keys
    lines = write_key_pem(key, None).splitlines()[1:-1]
    assert lines
    assert not any(line in content for line in (*lines, PASSPHRASE.encode(), b"PRIVATE KEY", VARIABLE.encode()))
