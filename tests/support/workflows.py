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
    from collections.abc import Iterator, Mapping, Sequence

GITHUB = Path(__file__).parents[2] / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yaml"))
ACTIONS = sorted(GITHUB.glob("actions/*/action.yaml"))
EXAMPLES = sorted(GITHUB.glob("examples/*.yaml"))
STEP = GITHUB / "actions" / "reconciler" / "step.sh"
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_COMMAND = (
    r"(?P<name>add-mask|add-matcher|add-path|debug|echo|endgroup|error|group|notice|remove-matcher|save-state|set-env"
    r"|set-output|stop-commands|warning)"
)
_COMMANDS = (
    re.compile(rf"\s*::{_COMMAND}( .*?)?::(?P<data>.*)"),
    re.compile(rf".*?##\[{_COMMAND}( .*?)?\](?P<data>.*)"),
)
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
    """What a step did.

    Attributes:
        code: Its exit code.
        out: What it wrote to stdout and stderr, without the commands that mask something, which a runner shows nobody.
        obeyed: The lines that a runner takes for commands, but for those that mask something.
        masked: What is masked from then on.
        summary: Its part of the job's summary.
        outputs: Its outputs.
    """

    code: int
    out: str
    obeyed: Sequence[str]
    masked: Sequence[str]
    summary: str
    outputs: Mapping[str, str]


def _heard(out: str) -> tuple[str, list[str], list[str]]:
    """What a step wrote as a runner hears it: what is shown, what is obeyed, what is masked.

    Of stdout or stderr: a runner reads both at once, so what stops commands in one may be too late for the other.
    """
    shown, obeyed, masked = [], [], []
    stopped = ""
    for line in out.splitlines(keepends=True):
        said = line.rstrip("\n")
        found = next(filter(None, (each.fullmatch(said) for each in _COMMANDS)), None)
        if stopped:
            stopped = "" if said.strip() == f"::{stopped}::" else stopped
        elif found and found["name"] == "stop-commands":
            stopped = found["data"]
        elif found and found["name"] == "add-mask":
            masked.append(found["data"].replace("%25", "%"))
            continue
        elif found:
            obeyed.append(said)
        shown.append(line)
    assert not stopped, "a runner would obey nothing that comes after"
    return "".join(shown), obeyed, masked


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
            env=self.environment(step) | {key: str(file) for key, file in files.items()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        outputs = dict(line.split("=", 1) for line in lines)
        out, obeyed, masked = _heard(done.stdout)
        errors, also_obeyed, also_masked = _heard(done.stderr)
        return Ran(
            code=done.returncode,
            out=out + errors,
            obeyed=obeyed + also_obeyed,
            masked=masked + also_masked,
            summary=files["GITHUB_STEP_SUMMARY"].read_text(),
            outputs=outputs,
        )

    def environment(self, step: dict[str, Any]) -> dict[str, str]:
        """What a step finds in its environment."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        declared = {name: self._value(str(value)) for name, value in step.get("env", {}).items()}
        home = {"HOME": str(self.workspace), "XDG_STATE_HOME": str(self.workspace / "state")}
        return kept | home | dict(self.environ) | declared

    def _value(self, text: str) -> str:
        return _EXPRESSION.sub(lambda found: self.contexts[found[1]], text)
