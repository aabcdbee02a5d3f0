"""The workflows, the action and the hook keep to the rules by which others may call them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.programs import require_program
from tests.support.workflows import ACTIONS, EXAMPLES, GITHUB, STEP, WORKFLOWS, read, steps_of

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = GITHUB.parent
RUNS = [
    pytest.param(step, id=where) for path in (*WORKFLOWS, *ACTIONS) for where, step in steps_of(path) if "run" in step
]
STEPS = [pytest.param(step, id=where) for path in (*WORKFLOWS, *ACTIONS) for where, step in steps_of(path)]
SECRET = re.compile(r"secrets\.|github\.token")


def installed(name: str) -> str:
    """A program of the environment that the tests run in."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else require_program(name)


def passes(*command: str | Path, stdin: str | None = None, cwd: Path | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def test_schemas_of_workflows_and_actions() -> None:
    program = installed("check-jsonschema")
    passes(program, "--builtin-schema", "vendor.github-workflows", *WORKFLOWS, *EXAMPLES)
    passes(program, "--builtin-schema", "vendor.github-actions", *ACTIONS)


def test_nothing_that_zizmor_finds() -> None:
    program = installed("zizmor")
    passes(
        program, "--offline", "--no-progress", "--strict-collection", GITHUB, ROOT / ".pre-commit-hooks.yaml", *EXAMPLES
    )


@pytest.mark.parametrize("step", RUNS)
def test_shell_of_steps(step: dict[str, Any], tmp_path: Path) -> None:
    script = step["run"]
    (tmp_path / "tool").symlink_to(ROOT)
    (tmp_path / "checkout").mkdir()
    passes(
        require_program("shellcheck"),
        "--shell=bash",
        "--external-sources",
        "-",
        stdin=script,
        cwd=tmp_path / "checkout",
    )
    assert "${{" not in script, "what others wrote gets in through `env`"
    used = set(re.findall(r"\$\{?([A-Z_]+)", script))
    assert {name for name in used if not name.startswith("GITHUB_")} == step.get("env", {}).keys() - {
        "RECONCILER_OPERATOR"
    }
    assert len(script.splitlines()) < 20


@pytest.mark.parametrize("step", RUNS)
def test_secrets_are_taken_in_one_way(step: dict[str, Any]) -> None:
    taken = [each for each in step["run"].splitlines() if "SECRETS" in each]
    assert len(taken) == ("SECRETS" in step.get("env", {}))
    assert all('take_secrets "$SECRETS"' in each for each in taken)


@pytest.mark.parametrize("step", RUNS)
def test_errors_that_a_step_keeps_are_shown_and_not_obeyed(step: dict[str, Any]) -> None:
    lines = [each.strip() for each in step["run"].splitlines()]
    kept = sum("2> ../errors" in each for each in lines)
    assert lines.count("untrusted cat ../errors") == kept


class TestWhatStepsShare:
    def run(self, script: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", f"source {STEP}\n{script}", "bash", *words]
        environ = {"PATH": "/usr/bin:/bin", **environ}
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    def take(self, secrets: str, **environ: str) -> tuple[dict[str, str], subprocess.CompletedProcess[str]]:
        """What is exported, and what was told."""
        done = self.run('take_secrets "$1" || code=$?; env -0; exit "${code:-0}"', secrets, **environ)
        commands, _, told = done.stdout.rpartition("\n")
        done.stdout = commands
        return dict(each.split("=", 1) for each in told.split("\0") if each), done

    def test_secrets_arrive_as_they_were_set(self) -> None:
        told, done = self.take("PADDED=c2VjcmV0=\r\n\n  \nSPACED= a = b==\nEMPTY=\n_100=5%25\nLAST=$(id) `id` \\n")
        assert done.returncode == 0
        expected = {"PADDED": "c2VjcmV0=", "SPACED": " a = b==", "EMPTY": "", "_100": "5%25", "LAST": "$(id) `id` \\n"}
        assert {name: told[name] for name in expected} == expected
        masked = ["c2VjcmV0=", " a = b==", "5%2525", "$(id) `id` \\n"]
        assert done.stdout.splitlines() == [f"::add-mask::{each}" for each in masked]

    @pytest.mark.parametrize(
        "name",
        [
            *("PATH", "HOME", "ENV", "IFS", "LD_PRELOAD", "GIT_SSH_COMMAND", "BASH_ENV", "BASHOPTS", "PYTHONPATH"),
            *("RECONCILER_OPERATOR", "UID", "DIGEST", "1A", "a", "A-B", "A B", " A", "A[$(id >&2)]", "", "É"),
        ],
    )
    def test_a_name_that_is_refused(self, name: str) -> None:
        told, done = self.take(f"BEFORE=1\n{name}=hidden\nAFTER=2", DIGEST="expected")
        assert done.returncode == 1
        assert done.stderr.startswith("RECONCILER_SECRETS, line 2: ")
        assert len(done.stderr.splitlines()) == 1
        assert "hidden" not in [*done.stderr.split(), *told.values()]
        assert done.stdout.splitlines() == ["::add-mask::1", "::add-mask::hidden", "::add-mask::2"]
        assert (told["BEFORE"], told["AFTER"]) == ("1", "2")

    def test_lines_that_name_nothing(self) -> None:
        told, done = self.take("KEY=-----BEGIN-----\nHIDDEN\nA=1\nA=2")
        assert [each.partition(":")[0] for each in done.stderr.splitlines()] == [
            "RECONCILER_SECRETS, line 2",
            "RECONCILER_SECRETS, line 4",
        ]
        assert "HIDDEN" not in done.stderr
        assert told["A"] == "1"

    def test_what_is_not_trusted_lies_between_a_word_that_nobody_knows_and_the_same(self) -> None:
        words = set()
        for _ in range(2):
            done = self.run('untrusted bash -c \'printf "##[error]x"; exit 4\' || echo "::error::$?"')
            first, said, last, after = done.stdout.splitlines()
            words.add(first.removeprefix("::stop-commands::"))
            assert (said, after) == ("##[error]x", "::error::4")
            assert first == f"::stop-commands::{last.strip(':')}"
        assert len(words) == 2
        assert all(re.fullmatch(r"[0-9a-f-]{36}", each) for each in words)

    def test_an_error_fits_a_comment_however_long_it_is(self, tmp_path: Path) -> None:
        errors = tmp_path / "errors"
        errors.write_text("é\n" * 60_000)
        done = self.run('no_plan "$1"; echo done', str(errors))
        assert done.stdout.startswith("There is no plan:\n\n    é\n    é\n")
        assert 59_000 < len(done.stdout.encode()) < 61_000
        assert done.returncode == 0


def test_shell_of_scripts() -> None:
    passes(require_program("shellcheck"), ROOT / ".ci" / "run", STEP)


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS, *EXAMPLES], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_everything_that_is_used_is_pinned_to_a_commit(path: Path) -> None:
    used = re.findall(r"uses: (.*)$", path.read_text(), re.MULTILINE)
    for each in used:
        assert each == "./tool/.github/actions/reconciler" or re.fullmatch(
            r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each
        )


@pytest.mark.parametrize("path", [*WORKFLOWS, *EXAMPLES], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_job_says_what_it_may(path: Path) -> None:
    content = read(path)
    assert content["permissions"] == {}
    assert "pull_request_target" not in path.read_text()
    for job in content["jobs"].values():
        assert job["permissions"]


@pytest.mark.parametrize("step", STEPS)
def test_no_credential_is_left_in_a_checkout(step: dict[str, Any]) -> None:
    if str(step.get("uses", "")).startswith("actions/checkout@"):
        assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_who_may_write_sees_no_secret_and_who_sees_secrets_may_not_write(path: Path) -> None:
    for job in read(path)["jobs"].values():
        writes = "write" in job["permissions"].values()
        assert not (writes and SECRET.search(json.dumps(job))), "a job that writes gets no secret"
        if "secrets." in json.dumps(job):
            assert "environment" in job


def test_a_fork_gets_no_secret_and_no_runner_of_ours() -> None:
    jobs = read(GITHUB / "workflows" / "plan.yaml")["jobs"]
    ours = "github.event.pull_request.head.repo.full_name == github.repository"
    for name, job in jobs.items():
        text = json.dumps(job)
        if ours not in str(job.get("if", "")) and name != "comment":
            assert not SECRET.search(text)
            assert job["runs-on"] == "ubuntu-24.04"
            assert "operator" not in text
    assert jobs["comment"]["needs"] == "plan"
    assert jobs["comment"]["if"] == "${{ !cancelled() && needs.plan.result != 'skipped' }}"


def test_operator_settings_are_those_of_the_protected_branch() -> None:
    job = read(GITHUB / "workflows" / "plan.yaml")["jobs"]["plan"]
    checkouts = {
        step["with"]["path"]: step["with"]["ref"]
        for step in job["steps"]
        if "path" in step.get("with", {}) and "ref" in step["with"]
    }
    assert checkouts["protected"] == "${{ github.event.pull_request.base.ref }}"
    assert checkouts["change"] == "${{ github.event.pull_request.head.sha }}"
    places = {
        step["env"]["RECONCILER_OPERATOR"] for step in job["steps"] if "RECONCILER_OPERATOR" in step.get("env", {})
    }
    assert places == {"../protected/${{ inputs.operator }}"}


def test_and_only_changes_onto_that_branch_see_them() -> None:
    job = read(GITHUB / "workflows" / "plan.yaml")["jobs"]["plan"]
    onto = "github.event.pull_request.base.ref == (inputs.protected-branch || github.event.repository.default_branch)"
    assert job["if"].endswith(f" && {onto}")


def test_no_other_branch_is_applied_or_planned_to_be() -> None:
    there = "github.ref == format('refs/heads/{0}', inputs.protected-branch || github.event.repository.default_branch)"
    apply, nightly = (read(GITHUB / "workflows" / f"{name}.yaml")["jobs"] for name in ("apply", "nightly"))
    assert apply.keys() == {"reviewed", "anew", "apply"}
    assert all(job["if"].endswith(f" && {there}") for job in apply.values())
    scheduled = "(github.event_name == 'schedule' && inputs.protected-branch == '')"
    assert nightly["reconcile"]["if"] == f"{scheduled} || {there}"
    assert "needs.reconcile.result != 'skipped'" in nightly["issue"]["if"]


def test_what_an_earlier_run_left_on_a_runner_is_not_taken_for_the_plan() -> None:
    steps = read(GITHUB / "workflows" / "plan.yaml")["jobs"]["plan"]["steps"]
    [upload] = [each for each in steps if "upload-artifact" in each.get("uses", "")]
    assert upload["if"] == "${{ !cancelled() && steps.plan.outcome != 'skipped' }}"


def test_the_action_runs_a_word_from_each_line(tmp_path: Path) -> None:
    [run] = [step for _, step in steps_of(ACTIONS[0]) if step.get("name") == "Run"]
    (tmp_path / "a folder").mkdir()
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    command = ["bash", "-eo", "pipefail", "-c", run["run"]]
    for words in ("validate\na folder\n--format\njson\n", "validate\na folder\n--format\njson"):
        environ = {"PATH": path, "ARGUMENTS": words}
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert {each["file"] for each in json.loads(done.stdout)} == {"a folder"}


def test_whatever_applies_shares_one_queue_and_is_not_cancelled() -> None:
    jobs = {path.stem: read(path)["jobs"] for path in WORKFLOWS}
    queues = [jobs["apply"]["apply"]["concurrency"], jobs["nightly"]["reconcile"]["concurrency"]]
    assert queues == [{"group": "reconciler-apply-${{ inputs.fleet }}", "cancel-in-progress": False}] * 2
    applying = [
        f"{path.stem}, {name}"
        for path in WORKFLOWS
        for name, job in read(path)["jobs"].items()
        if "reconciler apply" in json.dumps(job)
    ]
    assert applying == ["apply, apply", "nightly, reconcile"]
    assert jobs["apply"]["apply"]["environment"] == "${{ inputs.environment }}"
    assert read(GITHUB / "workflows" / "apply.yaml")["on"]["workflow_call"]["inputs"]["environment"]["required"] is True


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_call_a_workflow_with_what_it_knows_and_grant_what_it_needs(path: Path) -> None:
    for job in read(path)["jobs"].values():
        name = job["uses"].partition("@")[0].rpartition("/")[2]
        called = read(GITHUB / "workflows" / name)
        offered = called["on"]["workflow_call"]
        assert job["with"].keys() <= offered["inputs"].keys()
        assert job["secrets"].keys() <= offered["secrets"].keys()
        required = {key for key, about in offered["inputs"].items() if about.get("required")}
        assert required <= job["with"].keys()
        for each in called["jobs"].values():
            assert each["permissions"].items() <= job["permissions"].items()


def test_the_hook_validates() -> None:
    [hook] = read(ROOT / ".pre-commit-hooks.yaml")
    assert (hook["language"], hook["pass_filenames"]) == ("python", False)
    assert re.search(hook["files"], "desired-state/sites/access.yaml")
    program, *words = hook["entry"].split()
    passes(Path(sys.executable).with_name(program), *words, ROOT / "desired-state")


class TestScripts:
    """The scripts of actions/github-script, by node, against an API that keeps what it is told."""

    def run(self, folder: Path, workflow: str, job: str, state: Mapping[str, Any], **environ: str) -> dict[str, Any]:
        steps = read(GITHUB / "workflows" / f"{workflow}.yaml")["jobs"][job]["steps"]
        [script] = [step["with"]["script"] for step in steps if "script" in step.get("with", {})]
        program = _NODE.replace("STATE", json.dumps(state)).replace("SCRIPT", script)
        node = require_program("node")
        done = subprocess.run(
            [node, "-e", program], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "plan").mkdir()
        (tmp_path / "plan" / "comment.md").write_text("new\n")
        (tmp_path / "plan" / "left.md").write_text("left\n")
        return tmp_path

    def test_a_comment_is_made_once_and_written_anew_ever_after(self, folder: Path) -> None:
        others = [
            {"id": 1, "user": {"login": "mallory"}, "body": f"{MARKER}\nmine"},
            {"id": 2, "user": {"login": BOT}, "body": f"quoted: {MARKER}"},
            {"id": 3, "user": {"login": BOT}, "body": "<!-- pra-certificate-reconciler: plan of elsewhere -->"},
        ]
        [call] = self.comment(folder, others)
        assert call["name"] == "createComment"
        assert (call["issue_number"], call["body"]) == (7, f"{MARKER}\nnew\n")
        ours = {"id": 4, "user": {"login": BOT}, "body": f"{MARKER}\nold"}
        [call] = self.comment(folder, [*others, ours])
        assert (call["name"], call["comment_id"]) == ("updateComment", 4)

    def comment(self, folder: Path, comments: list[Any], state: str = "desired-state", **environ: str) -> Any:  # noqa: ANN401
        return self.run(folder, "plan", "comment", {"comments": comments}, DESIRED_STATE=state, **environ)["calls"]

    @pytest.mark.parametrize(
        ("outdated", "why"),
        [("Update this branch first.", "Update this branch first."), ("", "[The run](<https://run>) says why.")],
    )
    def test_where_there_is_no_plan_none_is_left_standing(self, folder: Path, outdated: str, why: str) -> None:
        (folder / "plan" / "comment.md").unlink()
        old = self.reviewed()["comments"]
        [call] = self.comment(folder, old, OUTDATED=outdated, RUN="https://run")
        assert (call["name"], call["comment_id"]) == ("updateComment", 4)
        assert call["body"] == f"{MARKER}\nThere is no plan: {why}\n"
        assert self.find(folder, comments=[{**old[0], "body": call["body"]}])["failed"]

    @pytest.mark.parametrize(
        ("there", "here"),
        [
            ("desired-state/", "./desired-state"),
            ("my state", "my state/"),
            ("a/../b --> c", "b --> c"),
            (".", "./"),
            ("état/*(1)", "état//*(1)"),
        ],
    )
    def test_a_comment_is_found_however_its_folder_is_written(self, folder: Path, there: str, here: str) -> None:
        [call] = self.comment(folder, [], there)
        body = f"{call['body']}\n<!-- digest: {'b' * 64} -->\n".replace("\n", "\r\n")
        ours = [{"id": 4, "user": {"login": BOT}, "body": body, "html_url": "https://comment"}]
        assert re.fullmatch(r"<!-- [^>]* -->", call["body"].splitlines()[0])
        [again] = self.comment(folder, ours, here)
        assert again["name"] == "updateComment"
        assert self.find(folder, here, comments=ours)["outputs"]["digest"] == "b" * 64
        assert self.find(folder, "elsewhere", comments=ours)["failed"]

    def reviewed(self, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - parts of an answer
        run = {"id": 42, "head_sha": "head", "repository_id": 1, "head_repository_id": 1}
        state = {
            "pulls": [{"number": 7, "merged_at": "then", "merge_commit_sha": "merged", "head": {"sha": "head"}}],
            "comments": [{"id": 4, "user": {"login": BOT}, "body": COMMENT, "html_url": "https://comment"}],
            "artifacts": [{"expired": False, "created_at": "2026-01-01", "workflow_run": run}],
        }
        return state | changes

    def find(self, folder: Path, desired: str = "desired-state", /, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
        return self.run(folder, "apply", "reviewed", self.reviewed(**changes), DESIRED_STATE=desired)

    def test_the_reviewed_plan_is_found_by_the_merged_commit(self, folder: Path) -> None:
        found = self.find(folder)
        assert found["failed"] is None
        assert found["outputs"] == {"run": 42, "artifact": "reconciler-plan-head", "digest": "a" * 64}

    def test_who_approves_is_told_what(self, folder: Path) -> None:
        summary = self.find(folder)["summary"]
        assert "[this comment](<https://comment>)" in summary
        assert f"`{'a' * 64}`" in summary

    def test_of_several_runs_the_last(self, folder: Path) -> None:
        [first] = self.reviewed()["artifacts"]
        last = {**first, "created_at": "2026-01-02", "workflow_run": {**first["workflow_run"], "id": 43}}
        for artifacts in ([first, last], [last, first]):
            assert self.find(folder, artifacts=artifacts)["outputs"]["run"] == 43

    @pytest.mark.parametrize(
        ("what", "change"),
        [
            ("pulls", {"merge_commit_sha": "another"}),
            ("pulls", {"merged_at": None}),
            ("comments", {"user": {"login": "mallory"}}),
            ("comments", {"body": "<!-- pra-certificate-reconciler: plan of desired-state -->\nThere is no plan:"}),
            ("comments", {"body": "<!-- pra-certificate-reconciler: plan of desired-state -->\n<!-- digest: abc -->"}),
            ("artifacts", {"expired": True}),
            (
                "artifacts",
                {"workflow_run": {"id": 1, "head_sha": "other", "repository_id": 1, "head_repository_id": 1}},
            ),
            ("artifacts", {"workflow_run": {"id": 1, "head_sha": "head", "repository_id": 1, "head_repository_id": 2}}),
        ],
    )
    def test_without_one_it_says_what_to_do(self, folder: Path, what: str, change: dict[str, Any]) -> None:
        [item] = self.reviewed()[what]
        found = self.find(folder, **{what: [{**item, **change}]})
        assert found["failed"].endswith(". Start this workflow by hand to plan anew.")
        assert not found["outputs"]

    @pytest.mark.parametrize(
        ("done", "there", "calls"),
        [
            ("false", [], ["create"]),
            ("false", [3], ["update open"]),
            ("true", [3], ["update closed"]),
            ("true", [], []),
        ],
    )
    def test_one_issue_is_open_as_long_as_something_is_left(
        self, folder: Path, done: str, there: list[int], calls: list[str]
    ) -> None:
        body = "<!-- pra-certificate-reconciler: nightly -->\nold"
        others = [{"number": 1, "body": None}, {"number": 2, "body": body, "pull_request": {}}]
        issues = [*others, *({"number": number, "body": body} for number in there)]
        told = self.run(folder, "nightly", "issue", {"issues": issues}, DONE=done)["calls"]
        assert [" ".join(filter(None, (each["name"], each.get("state")))) for each in told] == calls
        assert all(each.get("issue_number", 3) == 3 and each["body"].endswith("\nleft\n") for each in told)


BOT = "github-actions[bot]"
MARKER = "<!-- pra-certificate-reconciler: plan of desired-state -->"
COMMENT = f"{MARKER}\nplan\n\n<!-- digest: {'a' * 64} -->\n"
_NODE = """\
const state = STATE, calls = [], outputs = {};
let failed = null, summary = '';
const keep = (name) => async (about) => { calls.push({ name, ...about }); };
const list = (name) => Object.assign(async () => ({ data: state[name] ?? [] }), { listing: name });
const github = {
  paginate: async (method) => state[method.listing] ?? [],
  rest: {
    issues: { listComments: list('comments'), createComment: keep('createComment'),
      updateComment: keep('updateComment'), listForRepo: list('issues'),
      create: keep('create'), update: keep('update') },
    repos: { listPullRequestsAssociatedWithCommit: list('pulls') },
    actions: { listArtifactsForRepo: list('artifacts') },
  },
};
const context = { repo: { owner: 'o', repo: 'r' }, issue: { number: 7 }, sha: 'merged' };
const core = { setFailed: (why) => { failed = why; }, setOutput: (name, value) => { outputs[name] = value; },
  summary: { addRaw: (text) => ({ write: async () => { summary += text; } }) } };
(async () => { SCRIPT })().then(() => console.log(JSON.stringify({ calls, outputs, failed, summary })));
"""
