"""README.md tells the truth: its commands run, its files are understood, its tables are those of the program."""

from __future__ import annotations

import re
import shlex
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from reconciler.cli.app import app
from reconciler.cli.exits import Exit
from reconciler.desired.compose import compose
from reconciler.desired.models import Appliance, Certificate, Fleet, Site
from reconciler.desired.nodes import plain
from reconciler.engine.operator import OperatorSettings
from reconciler.live.driver import driver_types
from tests.end_to_end.example import reconciler
from tests.support.playing import environment, playing

if TYPE_CHECKING:
    from pydantic import BaseModel

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DEVELOPERS = (ROOT / "reconciler" / "README.md").read_text()
MODELS: dict[str, type[BaseModel]] = {"sites": Site, "appliances": Appliance, "certificates": Certificate}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return [shlex.split(line.removeprefix("$ ")) for line in lines if line.startswith("$ ")]


def test_the_commands_run_in_their_order(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "desired-state", tmp_path / "desired-state")
    environ: dict[str, str | None] = {}
    codes = []
    with ExitStack() as started:
        for command in commands():
            match command:
                case ["export", setting]:
                    name, _, value = setting.partition("=")
                    environ[name] = value
                case [".", file]:
                    environ |= environment(tmp_path / file)
                case ["reconciler", "lab", "--from", desired_state, "--folder", folder]:
                    started.enter_context(playing(tmp_path / desired_state, tmp_path / folder))
                case ["reconciler", *words]:
                    done = reconciler(*words, cwd=tmp_path, environ=environ)
                    codes.append(done.returncode)
                    assert "Traceback" not in done.stderr
    of_its_own = [Exit.DONE, Exit.COULD_NOT, Exit.DONE, Exit.DONE, Exit.DONE]
    saved = [Exit.DONE, Exit.DONE]
    for_support = [Exit.DONE]
    in_the_lab = [Exit.DONE, Exit.DONE, Exit.DONE]
    assert codes == of_its_own + saved + for_support + in_the_lab


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: str(block).split()[1])
def test_the_files_are_understood(block: str) -> None:
    path = block.split()[1]
    composed = compose(block.encode())
    assert not composed.flaws
    assert composed.root is not None
    content = plain(composed.root)
    context = {"file": path.removeprefix("desired-state/")}
    match Path(path).parts:
        case ("desired-state", "fleet.yaml"):
            Fleet.model_validate(content, context=context)
        case ("desired-state", folder, _):
            assert isinstance(content, dict)
            if folder == "appliances":
                store = content["store"]
                assert isinstance(store, dict)
                driver_types()[str(store["driver"])].configuration.model_validate(store, context=context)
                content["store"] = {"driver": store["driver"]}
            MODELS[folder].model_validate(content, context=context)
        case _:
            assert path == "operator.yaml"
            OperatorSettings.model_validate(content)


def test_the_table_of_commands_is_the_programs() -> None:
    table = README.split("## Commands")[1].split("\n## ")[0].split("| exit code")[0]
    named = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line)))
    group = typer.main.get_command(app)
    assert named == set(getattr(group, "commands", {}))


def test_the_table_of_exit_codes_is_the_programs() -> None:
    assert re.findall(r"^\| (\d) \|", README, re.MULTILINE) == [str(int(each)) for each in sorted(Exit)]


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", README + DEVELOPERS)) <= targets


def test_every_module_named_for_developers_exists() -> None:
    for path in re.findall(r"`((?:\w+/)+\w*(?:\.py)?)`", DEVELOPERS):
        place = ROOT / path if path.startswith("tests/") else ROOT / "reconciler" / path
        assert place.exists() or place.with_suffix(".py").exists(), path
