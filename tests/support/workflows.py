"""What the workflows in `.github/` say, and their very commands run as a runner runs them."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GITHUB = Path(__file__).parents[2] / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yaml"))
ACTIONS = sorted(GITHUB.glob("actions/*/action.yaml"))
EXAMPLES = sorted(GITHUB.glob("examples/*.yaml"))
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_KEPT = ("PATH", "LANG", "TMPDIR", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


def read(path: Path) -> Any:  # noqa: ANN401 - YAML of others' making
    """A file of `.github/`. In YAML 1.2 the key `on` is a string."""
    return YAML(typ="safe", pure=True).load(path)


def steps_of(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step of a workflow or action, with the place that it is known by."""
    content = read(path)
    jobs = content["jobs"] if "jobs" in content else {"runs": content["runs"]}
    for job, about in jobs.items():
        for number, step in enumerate(about.get("steps", ()), 1):
            yield f"{path.stem}, {job}, {step.get('name', number)}", step


@dataclass(frozen=True)
class Ran:
    """What a step did."""

    code: int
    out: str
    summary: str
    outputs: Mapping[str, str]


@dataclass
class Runner:
    """Runs the `run` steps of one job, in a workspace of its own.

    Attributes:
        workspace: Where the job's checkouts lie.
        contexts: What expressions stand for. One that is not among them fails the test.
        environ: What else the runner's environment holds.
    """

    workspace: Path
    contexts: Mapping[str, str]
    environ: Mapping[str, str] = field(default_factory=dict)

    def run(self, workflow: str, job: str, name: str) -> Ran:
        """Run the step of a name as the runner does: `bash -eo pipefail`, with its `env` and nothing else."""
        content = read(GITHUB / "workflows" / f"{workflow}.yaml")
        [step] = [each for each in content["jobs"][job]["steps"] if each.get("name") == name]
        assert content["defaults"]["run"]["shell"] == "bash"
        assert "${{" not in step["run"]
        files = {key: self.workspace / f".{key.lower()}" for key in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.workspace / step.get("working-directory", "."),
            env=self._environment(step) | {key: str(file) for key, file in files.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        outputs = dict(line.split("=", 1) for line in lines)
        return Ran(done.returncode, done.stdout, files["GITHUB_STEP_SUMMARY"].read_text(), outputs)

    def _environment(self, step: dict[str, Any]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        declared = {name: self._value(str(value)) for name, value in step.get("env", {}).items()}
        home = {"HOME": str(self.workspace), "XDG_STATE_HOME": str(self.workspace / "state")}
        return kept | home | dict(self.environ) | declared

    def _value(self, text: str) -> str:
        return _EXPRESSION.sub(lambda found: self.contexts[found[1]], text)
