"""Nothing that is written while the example fleet is worked on through web interfaces holds a secret."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from reconciler.lab.example import PASSPHRASE, VARIABLE
from tests.end_to_end.example import reconciler
from tests.end_to_end.needles import Needles, committed_keys, keys_below
from tests.support.playing import Playing, playing
from tests.test_readme import ROOT

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

WRONG = "wrong-but-just-as-secret"
PAIR = ("--site", "access", "--site", "trial")


def needles_of(root: Path, lab: Playing) -> Needles:
    keys = [*keys_below(lab.folder / "stores"), *committed_keys(root, PASSPHRASE)]
    assert len(keys) > 2
    return Needles.of(keys, [PASSPHRASE, lab.environ["LAB_PASSWORD"].encode(), WRONG.encode()])


@pytest.mark.parametrize(
    ("variant", "options"), [("guide", ["--debug"]), pytest.param("other", [], marks=pytest.mark.prove)]
)
def test_no_output_and_no_file_holds_a_password_or_a_key(tmp_path: Path, variant: str, options: list[str]) -> None:
    root = shutil.copytree(ROOT / "desired-state", tmp_path / "desired-state")
    temporary, pages = tmp_path / "temporary", tmp_path / "pages"
    temporary.mkdir()
    with playing(root, tmp_path / "lab", "--variant", variant) as lab:
        before = needles_of(root, lab)

        def ran(command: str, *words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
            told = {**lab.environ, "TMPDIR": str(temporary), **environ}
            return reconciler(*options, command, root, *PAIR, *words, environ=told)

        outputs = [
            ran("plan", LAB_PASSWORD=WRONG),
            ran("apply", "--yes", **{VARIABLE: WRONG}),
            ran("doctor", "--capture", pages),
            ran("apply", "--yes"),
            ran("apply", "--yes", "--format", "json"),
            ran("doctor", "--capture", pages, "--format", "json"),
            ran("status"),
        ]
        after = needles_of(root, lab)
    assert [each.returncode for each in outputs] == [1, 5, 0, 0, 0, 0, 0]
    assert "signing in is refused" in outputs[0].stdout + outputs[0].stderr
    written = [each.stdout + each.stderr for each in outputs]
    captured = [path for path in pages.rglob("*") if path.is_file()]
    assert len(captured) > 10
    assert not list(temporary.iterdir())
    for needles in (before, after):
        for text in written:
            assert not needles.within(text)
        for path in (*captured, lab.folder / "known-appliances", lab.folder / "operator.yaml"):
            assert not needles.within(path.read_bytes()), path
