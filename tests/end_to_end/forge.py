"""A forge and its runners as far as the workflows need them: a bare remote, branches, merges, and jobs in workspaces.

What a job runs is taken from the workflow files. Checkouts, artifacts and comments, which actions do there, are clones
and copied files here.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.fleet import APPLIANCES, PASSPHRASE, VARIABLE, Fleet, make_fleet
from tests.support.signing import git
from tests.support.workflows import GITHUB, Ran, Runner

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIGEST = re.compile(r"<!-- digest: ([0-9a-f]{64}) -->\s*$")
CONTEXTS = {
    "inputs.desired-state": "desired-state",
    "inputs.operator": "operator.yaml",
    "inputs.allow-removals": "",
    "inputs.plan-anew && inputs.allow-removals || ''": "",
    "secrets.RECONCILER_SECRETS": f"{VARIABLE}={PASSPHRASE}\nPASSWORD=a=b c\n",
    "github.server_url": "https://forge.example.com",
    "github.repository": "example/certificates",
    "github.run_id": "42",
    "github.event.pull_request.base.ref": "main",
}


@dataclass(frozen=True)
class Planned:
    """What a job that plans has left behind.

    Attributes:
        ran: What its last step did.
        folder: Its artifact.
    """

    ran: Ran
    folder: Path

    @property
    def saved(self) -> Path:
        return self.folder / "plan.json"

    @property
    def comment(self) -> str:
        return (self.folder / "comment.md").read_text()

    @property
    def digest(self) -> str:
        """What apply.yaml finds in the comment."""
        found = _DIGEST.search(self.comment)
        return found[1] if found else ""


@dataclass
class Forge:
    """A repository with a desired state, on a remote, and an author's clone of it.

    Attributes:
        folder: Where everything lies.
        signing: Options that make git sign what is committed and merged.
    """

    folder: Path
    signing: Sequence[str] = ()
    contexts: dict[str, str] = field(default_factory=lambda: dict(CONTEXTS))
    _jobs: int = 0

    @classmethod
    def open(cls, folder: Path, *signing: str, operator: str = "hosts: []\n") -> Forge:
        forge = cls(folder, signing)
        clone = folder / "author"
        clone.mkdir()
        git(folder, "init", "-q", "--bare", "-b", "main", "remote.git")
        git(clone, "init", "-q", "-b", "main")
        git(clone, "remote", "add", "origin", str(folder / "remote.git"))
        fleet = make_fleet(clone)
        (clone / "stores").rename(folder / "stores")
        for name in APPLIANCES:
            fleet.edit(f"appliances/{name}.yaml", "../../stores", str(folder / "stores"))
        (clone / "operator.yaml").write_text(operator)
        forge.commit("Begin")
        git(clone, "push", "-q", "origin", "main")
        return forge

    @property
    def clone(self) -> Path:
        return self.folder / "author"

    @property
    def fleet(self) -> Fleet:
        """What the author has before them; its stores are elsewhere."""
        return Fleet(self.clone)

    def store(self, name: str) -> Path:
        return self.folder / "stores" / name

    def git(self, *words: str) -> str:
        return git(self.clone, *self.signing, *words)

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def branch(self, name: str = "change") -> None:
        self.git("checkout", "-q", "-b", name, "origin/main")

    def propose(self, message: str, name: str = "change") -> str:
        """Commit what lies there and push it as a branch."""
        sha = self.commit(message)
        self.git("push", "-q", "origin", name)
        return sha

    def merge(self, how: str, name: str = "change") -> None:
        """Merge a branch as the forge does, and push what comes of it."""
        self.git("checkout", "-q", "-B", "main", "origin/main")
        match how:
            case "merge":
                self.git("merge", "-q", "--no-ff", "-m", f"Merge {name}", name)
            case "squash":
                self.git("merge", "-q", "--squash", name)
                self.git("commit", "-q", "-m", f"Squash {name}")
            case "rebase":
                self.git("cherry-pick", "-x", f"origin/main..{name}")
        self.git("push", "-q", "origin", "main")

    def checkout(self, place: Path, ref: str) -> None:
        git(self.folder, "clone", "-q", str(self.folder / "remote.git"), str(place))
        git(place, "checkout", "-q", "--detach", ref)

    def runner(self, **checkouts: str) -> Runner:
        """A workspace with checkouts in it, by folder."""
        self._jobs += 1
        workspace = self.folder / f"job-{self._jobs}"
        workspace.mkdir()
        (workspace / "tool").symlink_to(GITHUB.parent)
        for place, ref in checkouts.items():
            self.checkout(workspace / place, ref)
        program = Path(sys.executable).parent
        return Runner(workspace, self.contexts, {"PATH": f"{program}:/usr/local/bin:/usr/bin:/bin:/usr/sbin"})

    def validate(self, name: str = "change") -> Ran:
        """The job that everybody's change gets, from a runner that has no secret."""
        runner = self.runner(change=f"origin/{name}")
        runner.contexts = {"inputs.desired-state": "desired-state"}
        return runner.run("plan", "validate", "Validate")

    def plan(self, name: str = "change") -> Planned:
        """The job that plans a change of the repository itself."""
        runner = self.runner(change=f"origin/{name}", protected="origin/main")
        upto_date = runner.run("plan", "plan", "See that the branch holds what has been merged meanwhile")
        ran = runner.run("plan", "plan", "Plan") if upto_date.code == 0 else upto_date
        return Planned(ran, runner.workspace / "plan")

    def plan_anew(self) -> Planned:
        """The job that plans what is merged, started by hand."""
        runner = self.runner(merged="origin/main")
        return Planned(runner.run("apply", "anew", "Plan"), runner.workspace / "plan")

    def apply(self, reviewed: Planned, digest: str = "") -> Ran:
        """The job that applies what was reviewed."""
        runner = self.runner(merged="origin/main")
        shutil.copytree(reviewed.folder, runner.workspace / "plan")
        chosen = digest or reviewed.digest
        key = "needs.reviewed.outputs.digest || needs.anew.outputs.digest"
        runner.contexts = {**self.contexts, key: chosen}
        return runner.run("apply", "apply", "Apply")

    def nightly(self) -> tuple[Ran, Ran]:
        """The job of every night: what is due, and what is left then."""
        runner = self.runner(merged="origin/main")
        applied = runner.run("nightly", "reconcile", "Apply what is due")
        return applied, runner.run("nightly", "reconcile", "Tell what is left")
