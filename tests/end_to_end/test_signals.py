"""SIGINT and SIGTERM, as a terminal, a service manager and a pipeline send them: what was begun is finished, no more.

The program is a process of its own in a process group of its own, and signals go to the whole group, as Ctrl-C does.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.result import Outcome
from reconciler.cli.exits import Exit
from reconciler.live.directory.snapshot import LOCK, RESERVED
from reconciler.report.history import Ending, apply_of
from reconciler.report.results import Applied
from tests.cli.terminal import PROGRAM
from tests.end_to_end.killed_sites import Site, directory_site, played_site
from tests.end_to_end.killing import Program
from tests.end_to_end.test_kills import ONE, committed_key, listing, provide
from tests.support.authorities import openssl_authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
RELOAD = 'touch "$0.begun"; while [ ! -e "$0.go" ]; do sleep 0.02; done; touch "$0.ended"'
"""A reload command that takes until it is told to end."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("program"))
    yield program
    program.close()


@pytest.fixture
def site(tmp_path: Path, program: Program) -> Site:
    """A site whose certificate, two of its chain and the default are to come."""
    site = directory_site(program, tmp_path, {}, "east-1")
    site.declare(listing(site, "one"))
    provide(site, "one", ONE)
    return site


@contextmanager
def applying(site: Site) -> Iterator[subprocess.Popen[str]]:
    """Apply in the background."""
    environ = {**os.environ, **site.environ}
    # Who starts tests in the background of a shell may have it ignore SIGINT, and whatever it starts as well.
    heeding = ["env", "--default-signal=INT"]
    command: list[str | Path] = [*heeding, PROGRAM, "apply", site.root, "--yes", "--format", "json"]
    with subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def until(is_over: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 60
    while not is_over():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def held(path: Path) -> Iterator[Callable[[], bool]]:
    """Hold a lock, as another process does; whether somebody waits for it can be asked."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        yield lambda: list(links()).count(str(path)) > 1


def links() -> Iterator[str]:
    """What every process has open."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            for each in (process / "fd").iterdir():
                with suppress(OSError):
                    yield str(each.readlink())


@BOTH
def test_the_action_in_hand_is_finished_and_no_other_begun(site: Site, tmp_path: Path, number: signal.Signals) -> None:
    mark = tmp_path / "reload"
    operator = tmp_path / "operator.yaml"
    told = operator.read_text()
    operator.write_text(f"reload: {{east-1: [sh, -c, '{RELOAD}', {mark}]}}\n")
    with applying(site) as process:
        until(mark.with_name("reload.begun").exists)
        os.killpg(process.pid, number)
        assert process.stderr
        assert process.stderr.readline() == "reconciler: stopping after the action in hand\n"
        mark.with_name("reload.go").touch()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (Exit.FAILED, "")
    assert mark.with_name("reload.ended").exists()  # nobody has interrupted it
    applied = Applied.model_validate_json(out)
    [result] = applied.results
    *done, left = result.steps
    assert result.outcome is Outcome.NOT_ATTEMPTED
    assert [each.outcome for each in done] == [Outcome.APPLIED] * 3
    assert (left.outcome, left.message) == (Outcome.NOT_ATTEMPTED, f"stopped by {number.name}")
    entry = site.last()
    assert entry
    assert (apply_of(entry).ending, entry.appliances) == (Ending.FAILED, {"east-1": Outcome.NOT_ATTEMPTED})
    assert list(entry.left) == [left.action]
    operator.write_text(told)
    again = site.start("apply", "--yes", "--format", "json")
    assert (again.code, again.err) == (0, "")
    assert [each.id for each in Applied.model_validate_json(again.out).plan.actions] == [
        each.id for each in applied.plan.actions[3:]
    ]
    site.run("plan", "--detailed-exitcode")


@BOTH
def test_who_waits_for_another_apply_does_nothing(site: Site, number: signal.Signals) -> None:
    before = site.observe()
    with applying(site) as process, held(site.stores / "east-1" / RESERVED) as is_awaited:
        until(is_awaited)
        os.killpg(process.pid, number)
        assert process.stderr
        assert process.stderr.readline() == "reconciler: stopping after the action in hand\n"
        out, err = process.communicate(timeout=60)  # it does not wait for the other one to end
    assert (process.returncode, err) == (Exit.FAILED, "")
    assert site.observe() == before
    [result] = Applied.model_validate_json(out).results
    assert {each.outcome for each in result.steps} == {Outcome.NOT_ATTEMPTED}
    entry = site.last()
    assert entry
    assert (entry.ended is not None, len(entry.left)) == (True, 4)
    assert not site.start("apply", "--yes").err
    site.run("plan", "--detailed-exitcode")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_before_anything_has_begun_nothing_is_done(site: Site, number: signal.Signals, code: int) -> None:
    before = site.observe()
    with applying(site) as process, held(site.stores / "east-1" / LOCK):
        until(lambda: len(list(Path(f"/proc/{process.pid}/task").iterdir())) > 1)  # in a thread it tries to look
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=60)  # it does not wait for the other one to end
    assert process.returncode == code
    assert "Traceback" not in err
    assert site.observe() == before
    assert site.last() is None
    assert not site.start("apply", "--yes").err


@pytest.mark.prove
@BOTH
def test_a_request_in_hand_is_finished(tmp_path: Path, program: Program, number: signal.Signals) -> None:
    with played_site(program, tmp_path, {}, "east-1") as site:
        committed_key(site, openssl_authority(tmp_path / "ca"))
        with applying(site) as process:
            until(lambda: (entry := site.last()) and entry.outcomes)
            os.killpg(process.pid, number)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (Exit.FAILED, "reconciler: stopping after the action in hand\n")
        [result] = Applied.model_validate_json(out).results
        first, *others = [each.outcome for each in result.steps]
        assert first is Outcome.APPLIED
        assert others[-1] is Outcome.NOT_ATTEMPTED
        assert not site.start("apply", "--yes").err
        site.run("plan", "--detailed-exitcode")
