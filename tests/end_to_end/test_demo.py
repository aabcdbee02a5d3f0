"""`reconciler demo` as somebody runs it who has just installed the program, wherever that may be."""

from __future__ import annotations

import hashlib
from pathlib import Path

from reconciler.lab.example import PASSPHRASE, VARIABLE
from tests.end_to_end.example import APPLIANCES, reconciler

CHECKOUT = Path(__file__).parents[2]


def content_of(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder, by path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_demo_tells_the_whole_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    elsewhere, temporary = tmp_path / "elsewhere", tmp_path / "temporary"
    elsewhere.mkdir()
    temporary.mkdir()
    example, stores = content_of(CHECKOUT / "desired-state"), (CHECKOUT / ".stores").exists()
    # Whoever runs it has set nothing: the passphrase of the example is the demo's own business.
    ran = reconciler("demo", cwd=elsewhere, environ={"TMPDIR": str(temporary), VARIABLE: None})
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert [line for line in lines if line.startswith(("Plan: ", "Apply: ", "No changes"))] == [
        "Plan: 18 to import, 1 to create, 7 defaults to set, 3 to remove.",
        "Apply: 29 actions applied on 7 appliances.",
        "No changes.",
        "Plan: 1 to import, 1 default to set.",
        "Apply: 2 actions applied on 1 appliance.",
        "No changes.",
    ]
    assert sum(line.startswith("Served names: ") for line in lines) >= 2
    for name in ("access.example.com", "remote.atlas.example.com", "help.atlas.example.com", "trial.example.com"):
        assert any(line.strip().startswith(name) and "->" in line for line in lines), name
    assert any(line.strip().startswith("no SNI") and "-> access.example.com" in line for line in lines)
    assert not list(temporary.iterdir())
    assert not list(elsewhere.iterdir())
    assert content_of(CHECKOUT / "desired-state") == example
    assert (CHECKOUT / ".stores").exists() == stores


def test_a_demo_that_stays_is_a_fleet_in_step(tmp_path: Path) -> None:
    kept = tmp_path / "new" / "kept"
    ran = reconciler("demo", "--keep", kept, environ={VARIABLE: None})
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sorted(each.name for each in (kept / ".stores").iterdir()) == list(APPLIANCES)
    # Inside it, everything is where commands look for it; and planning needs no passphrase.
    plan = reconciler("plan", "--detailed-exitcode", cwd=kept, environ={VARIABLE: None})
    assert (plan.returncode, plan.stdout.splitlines()[-1], plan.stderr) == (0, "No changes.", "")
    applied = reconciler("apply", "--yes", cwd=kept, environ={VARIABLE: PASSPHRASE.decode()})
    assert (applied.returncode, applied.stdout.splitlines()[-1]) == (0, "No changes.")
    again = reconciler("demo", "--keep", kept)
    assert again.returncode == 1
    assert again.stderr == f"reconciler: {kept} cannot be made: File exists - name a folder that does not exist\n"
