from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import pytest

from reconciler import __version__
from reconciler.base.errors import StaleError
from reconciler.cli import main
from reconciler.cli.exits import Exit
from reconciler.cli.log import debug_log
from tests.cli.fleet import PASSPHRASE, VARIABLE, Fleet, run
from tests.cli.terminal import PROGRAM, Terminal

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = ("demo", "validate", "plan", "diff", "apply", "status", "inspect", "schema")


def test_the_version_is_light() -> None:
    code = (
        "import sys; sys.argv = ['reconciler', '--version']\n"
        "import reconciler\n"
        "from reconciler.cli import main\n"
        "assert main() == 0\n"
        "heavy = {'typer', 'click', 'rich', 'pydantic', 'cryptography', 'ruamel', 'git', 'anyio', 'asyncio'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"reconciler {__version__}\n"


def test_no_command_is_heavy_before_it_runs() -> None:
    code = (
        "import sys\n"
        "import reconciler.cli.app\n"
        "heavy = {'pydantic', 'cryptography', 'ruamel', 'git', 'anyio', 'asyncio'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_also_an_option_among_others() -> None:
    assert run("--debug", "--version").out == f"reconciler {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command_and_every_exit_code(arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == 0
    assert all(f"\n  {command} " in ran.out for command in COMMANDS)
    assert all(f"\n    {code.value}  " in ran.out for code in Exit)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_examples_and_its_exit_codes(command: str) -> None:
    ran = run(command, "--help")
    assert ran.code == 0
    assert "\n  Examples:\n    reconciler " in ran.out
    assert "\n  Exit codes:\n    0  done\n    1  could not: " in ran.out


def test_any_stream_can_be_written_to() -> None:
    with redirect_stdout(io.StringIO()) as out:
        assert main(["--help"]) == 0
    assert out.getvalue().startswith("Usage: reconciler ")


def test_an_unknown_command_is_one_sentence() -> None:
    ran = run("paln")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("reconciler: No such command 'paln'")
    assert ran.err.endswith(" - see `reconciler --help`\n")


def test_an_error_without_a_traceback_unless_it_is_asked_for(tmp_path: Path) -> None:
    missing = tmp_path / "not\x1bthere"
    quiet, loud = run("plan", missing), run("--debug", "plan", missing)
    assert quiet.code == loud.code == 1
    assert "Traceback" not in quiet.err
    assert r"not\x1bthere" in quiet.err
    assert "Traceback (most recent call last):" in loud.err
    assert loud.err.endswith(quiet.err)


def test_what_nobody_foresaw_is_one_sentence(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.engine.load.load_desired", lambda *_: 1 / 0)
    ran = fleet.run("plan")
    assert ran.code == 1
    assert ran.err.startswith("reconciler: unexpected ZeroDivisionError, a fault of this program - run ")
    assert ran.err.count("\n") == 1
    assert "1 / 0" in run("--debug", "plan", fleet.desired_state).err


def test_the_log_is_shown_where_it_is_asked_for_and_no_longer(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("reconciler.somewhere")
    with debug_log():
        logger.debug("seen\x1b[31m\nas it is")
    logger.debug("not seen")
    assert capsys.readouterr().err == "DEBUG reconciler.somewhere: seen\\x1b[31m\nas it is\n"


def test_what_is_stale_exits_with_4(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(*_: object) -> None:
        raise StaleError("the plan no longer fits", "plan again")

    monkeypatch.setattr("reconciler.engine.load.load_desired", stale)
    ran = fleet.run("plan")
    assert (ran.code, ran.err) == (4, "reconciler: the plan no longer fits - plan again\n")


@pytest.mark.parametrize("options", [[], ["--appliance", "lab"], ["--help"]], ids=["long", "short", "help"])
def test_a_reader_that_goes_away_is_no_error(fleet: Fleet, options: list[str]) -> None:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [PROGRAM, "status", fleet.desired_state, *options],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    os.close(writing)
    os.close(reading)
    assert process.communicate()[1] == b""
    assert process.returncode == 1


def test_a_terminal_that_knows_only_ascii_gets_escapes(fleet: Fleet) -> None:
    fleet.edit("certificates/lab.yaml", "common_name: Lab", "common_name: Zürich")
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([PROGRAM, "plan", fleet.desired_state], capture_output=True, env=environ, check=False)
    assert rb"CN=Z\xfcrich" in done.stdout
    assert done.stderr == b""


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_who_closes_its_streams_gets_the_work_done_and_no_file_takes_their_place(fleet: Fleet, closed: str) -> None:
    command = f'"$0" apply --yes "$1" {closed}'
    environ = {**os.environ, VARIABLE: PASSPHRASE, "XDG_STATE_HOME": str(fleet.root / "state")}
    done = subprocess.run(
        ["sh", "-c", command, PROGRAM, fleet.desired_state], capture_output=True, env=environ, check=False
    )
    assert (done.returncode, done.stdout) == (Exit.DONE, b"")
    assert b"unexpected" not in done.stderr
    written = [each.read_bytes() for each in fleet.root.rglob("*") if each.is_file()]
    assert not any(b" applied" in each for each in written)


def test_an_output_that_takes_nothing_is_named(fleet: Fleet) -> None:
    command = ["sh", "-c", '"$0" plan "$1" > /dev/full', str(PROGRAM), str(fleet.desired_state)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == Exit.COULD_NOT
    assert done.stderr.splitlines()[-1] == (
        "reconciler: the output cannot be written: No space left on device - write it elsewhere"
    )


def test_a_pipe_gets_neither_colour_nor_progress(fleet: Fleet) -> None:
    done = subprocess.run([PROGRAM, "plan", fleet.desired_state], capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_a_terminal_gets_colours_and_progress_within_its_width(fleet: Fleet) -> None:
    code, output = Terminal.run("plan", fleet.desired_state, columns=70).end()
    assert code == 0
    assert "\x1b[1msite access\x1b[0m" in output
    assert "planning: " in output
    assert "                           west-1.example.com\r\n" in output


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_refused(fleet: Fleet, environ: dict[str, str]) -> None:
    code, output = Terminal.run("plan", fleet.desired_state, environ=environ).end()
    assert code == 0
    assert "\x1b[1m" not in output
    assert "\x1b[32m" not in output
    assert "\nsite access\r\n" in output


def test_no_output_of_any_command_holds_a_key_or_a_passphrase(fleet: Fleet) -> None:
    key = fleet.file("certificates/access/key.pem").read_text().splitlines()[1]
    for arguments in (["apply", "--yes"], ["plan"], ["status"], ["plan", "--format", "json"], ["validate"]):
        for debug in ([], ["--debug"]):
            ran = run(*debug, arguments[0], fleet.desired_state, *arguments[1:])
            said = ran.out + ran.err
            assert PASSPHRASE not in said
            assert key not in said
            assert "PRIVATE KEY" not in said


def test_operator_settings_are_named_by_option_or_environment(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "operator.yaml"
    broken.write_text("concurency: 3\n")
    by_option = run("--operator", broken, "plan", fleet.desired_state)
    monkeypatch.setenv("RECONCILER_OPERATOR", str(broken))
    by_environment = fleet.run("plan")
    assert by_option == by_environment
    assert by_option.code == 1
    assert f"{broken}:1:1 " in by_option.err
    assert VARIABLE not in by_option.err
