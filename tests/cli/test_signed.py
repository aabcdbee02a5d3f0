"""`--require-signed`, and the operator setting of that name: what nobody vouches for is neither planned nor applied."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.fleet import Fleet, Ran, run
from tests.support.signing import SshKey, git

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    return SshKey.make(tmp_path_factory.mktemp("ssh"), "alice")


@pytest.fixture
def signers(fleet: Fleet, alice: SshKey) -> Path:
    """Who may sign the fleet, which is in a repository whose first commit is signed."""
    git(fleet.root, "init", "-q", "-b", "main")
    commit(fleet, *alice.options)
    path = fleet.root / "signers"
    path.write_text(f"alice@example.com {alice.public}\n")
    return path


def commit(fleet: Fleet, *options: str) -> str:
    git(fleet.root, "add", "desired-state")
    git(fleet.root, *options, "commit", "-q", "-m", "Declare")
    return git(fleet.root, "rev-parse", "HEAD")


def operator(fleet: Fleet, text: str = "require_signed: signers\n") -> Path:
    path = fleet.root / "operator.yaml"
    path.write_text(text)
    return path


def refused(ran: Ran, why: str) -> bool:
    return (ran.code, ran.out) == (1, "") and ran.err.startswith("reconciler: ") and why in ran.err


def test_who_signed_is_told_and_the_plan_names_the_commit(fleet: Fleet, signers: Path, alice: SshKey) -> None:
    head = git(fleet.root, "rev-parse", "HEAD")
    for options in ([], ["--revision", "main"]):
        ran = fleet.run("plan", "--require-signed", signers, "--format", "json", *options)
        assert ran.code == 0
        assert ran.err == f"reconciler: commit {head[:12]} is signed by alice@example.com ({alice.fingerprint})\n"
        assert json.loads(ran.out)["basis"]["revision"] == head


def test_a_saved_plan_is_applied_from_what_is_signed(fleet: Fleet, signers: Path) -> None:
    saved = fleet.root / "plan.json"
    assert fleet.run("plan", "--require-signed", signers, "--out", saved).code == 0
    fleet.edit("certificates/lab.yaml", "key: ec-p256", "renew_before: 20d\nkey: ec-p256")
    unsigned = commit(fleet)
    ran = fleet_apply(fleet, saved, signers)
    assert refused(
        ran, f"commit {unsigned[:12]} (Declare, by Alice <alice@example.com>) is not signed - have it signed"
    )
    ran = fleet_apply(fleet, saved, signers, "--revision", "main~1")
    assert ran.code == 0
    assert ran.out.endswith("Apply: 10 actions applied on 3 appliances.\n")


def fleet_apply(fleet: Fleet, saved: Path, signers: Path, *options: str) -> Ran:
    return run("apply", saved, fleet.desired_state, "--yes", "--require-signed", signers, *options)


@pytest.mark.parametrize("command", [["plan"], ["apply", "--yes"]])
def test_what_is_not_committed_is_refused(fleet: Fleet, signers: Path, command: list[str]) -> None:
    fleet.file("appliances/new.yaml").write_text("")
    name, *options = command
    ran = fleet.run(name, *options, "--require-signed", signers)
    assert refused(ran, "so no signature speaks for them: appliances/new.yaml - commit them, signed")
    assert not list(fleet.store("east-1").glob("*access*"))


@pytest.mark.parametrize("command", [["plan"], ["apply", "--yes"]])
def test_the_operator_setting_cannot_be_forgotten(
    fleet: Fleet, signers: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("RECONCILER_OPERATOR", str(operator(fleet)))
    monkeypatch.chdir(fleet.desired_state)
    name, *options = command
    assert fleet.run(name, *options).code == 0
    fleet.edit("fleet.yaml", "{}", "{removals_at_most: 99}")
    unsigned = commit(fleet)
    assert refused(fleet.run(name, *options), f"commit {unsigned[:12]} ")
    assert signers.exists()


def test_an_option_beside_it_narrows_it_and_never_widens_it(
    fleet: Fleet, signers: Path, alice: SshKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_OPERATOR", str(operator(fleet)))
    other = SshKey.make(fleet.root, "other")
    others = fleet.root / "others"
    others.write_text(f"other {other.public}\n")
    assert refused(fleet.run("plan", "--require-signed", others), f"that {others} does not allow")
    git(fleet.root, *other.options, "commit", "-q", "--allow-empty", "-m", "Other")
    assert refused(fleet.run("plan", "--require-signed", others), f"that {signers} does not allow")
    others.write_text(f"a {alice.public}\nother {other.public}\n")
    git(fleet.root, "reset", "-q", "--hard", "HEAD~1")
    ran = fleet.run("plan", "--require-signed", others)
    assert (ran.code, ran.err.count(" is signed by ")) == (0, 2)


def test_to_look_nobody_has_to_sign(fleet: Fleet, signers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_OPERATOR", str(operator(fleet)))
    fleet.edit("fleet.yaml", "{}", "{removals_at_most: 99}")
    assert fleet.run("status").code == 0
    assert fleet.run("validate").code == 0
    assert signers.exists()


def test_who_may_sign_is_not_for_the_reviewed_tree_to_say(fleet: Fleet, signers: Path) -> None:
    inside = fleet.file("signers")
    inside.write_bytes(signers.read_bytes())
    assert refused(fleet.run("plan", "--require-signed", inside), "lies inside the desired state")
    ran = fleet.run("plan", "--require-signed", fleet.root / "nowhere")
    assert refused(ran, "cannot be read: No such file or directory - check --require-signed and `require_signed`")
