"""A desired state that is small, and a remote that has it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.engine.unattended import Follow
from reconciler.watch.sources import Branch
from tests.support.signing import git

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconciler.watch.reading import Reading, Trouble

FETCHED, ACCEPTED = (f"refs/reconciler/{each}/origin/main" for each in ("fetched", "accepted"))


def declare(folder: Path, renew_before: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "fleet.yaml").write_text(f"policy: {{renew_before: {renew_before}}}\n")
    (folder / "appliances").mkdir(exist_ok=True)
    store = "store: {driver: directory, path: ../../../stores/lab}\nclient_software: none\ncertificates: []\n"
    (folder / "appliances/lab.yaml").write_text(f"hostname: lab.example.com\n{store}")


def days(reading: Reading) -> int:
    assert reading.state is not None, reading.message
    return reading.state.policy.renew_before.days


def trouble(reading: Reading) -> tuple[Trouble | None, str | None]:
    assert reading.state is None
    return reading.trouble, reading.refused


def is_alive(pid: int) -> bool:
    """Whether a process runs, which one that has ended does not, also where nobody has asked how."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


@dataclass(frozen=True)
class Hosted:
    """A remote, somebody's clone from which commits are pushed, and the clone that a loop works with."""

    remote: Path
    author: Path
    clone: Path

    @classmethod
    def make(cls, root: Path, *options: str) -> Hosted:
        hosted = cls(root / "remote.git", root / "author", root / "clone")
        git(root, "init", "-q", "--bare", "-b", "main", str(hosted.remote))
        git(root, "init", "-q", "-b", "main", str(hosted.author))
        git(hosted.author, "remote", "add", "origin", hosted.url)
        hosted.push("30d")
        hosted.push("31d")
        git(root, "clone", "-q", *options, hosted.url, str(hosted.clone))
        return hosted

    @property
    def url(self) -> str:
        return f"file://{self.remote}"

    def push(self, renew_before: str, *options: str, also: Callable[[Path], object] | None = None) -> str:
        folder = self.author / "desired-state"
        declare(folder, renew_before)
        if also:
            also(folder)
        git(self.author, "add", "-A")
        git(self.author, *options, "commit", "-q", "-m", renew_before)
        git(self.author, "push", "-q", "--force", "origin", "main")
        return git(self.author, "rev-parse", "HEAD")

    def follow(self, signers: Sequence[Path] = (), branch: str = "main") -> Branch:
        follow = Follow(branch=branch, every=timedelta(seconds=1))
        return Branch(self.clone / "desired-state", f"origin/{branch}", signers, follow, lambda: 0.5)
