from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.base.errors import UsageError
from reconciler.engine.journals import journal_folder
from reconciler.engine.operator import OperatorSettings, load_settings


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "/home/a"}, "/home/a/.local/state/reconciler/journal"),
        ({"HOME": "/home/a", "XDG_STATE_HOME": "/var/state"}, "/var/state/reconciler/journal"),
        ({"HOME": "/home/a", "XDG_STATE_HOME": ""}, "/home/a/.local/state/reconciler/journal"),
        ({"HOME": "/home/a", "XDG_STATE_HOME": "here"}, "/home/a/.local/state/reconciler/journal"),
        ({"XDG_STATE_HOME": "/var/state"}, "/var/state/reconciler/journal"),
    ],
)
def test_journals_lie_with_the_state_of_whoever_runs_it(environ: dict[str, str], folder: str) -> None:
    assert journal_folder(OperatorSettings(), environ) == Path(folder)


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "here"}])
def test_where_nothing_says_where_that_is_asked(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="name a folder as `journal` in the operator settings"):
        journal_folder(OperatorSettings(), environ)


@pytest.mark.parametrize("setting", ["journal", "../state", "/var/j"])
def test_or_where_the_operator_says_beside_the_operators_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    path = tmp_path / "etc" / "operator.yaml"
    path.parent.mkdir()
    path.write_text(f"journal: {setting}\n")
    monkeypatch.chdir(tmp_path)
    for named in (path, Path("etc/operator.yaml")):
        found = journal_folder(load_settings(named, {}), {"HOME": "/home/a"})
        assert found == (path.parent / setting).resolve()


@pytest.mark.parametrize("setting", ["''", "5", "[a]"])
def test_a_setting_that_is_no_path_is_refused(tmp_path: Path, setting: str) -> None:
    path = tmp_path / "operator.yaml"
    path.write_text(f"journal: {setting}\n")
    with pytest.raises(UsageError, match=r"operator\.yaml:1:10 "):
        load_settings(path, {})
