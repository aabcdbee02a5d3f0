"""`reconciler watch` as a process of its own, over directory stores. Its durations may be seconds here."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING

import httpx
import pytest

from reconciler.base.errors import UsageError
from reconciler.report.status import Status
from reconciler.watch.service import Service, unit_text
from tests.cli.fleet import APPLIANCES, Fleet, run
from tests.cli.terminal import Terminal
from tests.support.signing import git
from tests.watch.hosted import is_alive
from tests.watch.receiver import SECRET, listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TextIO


_SECONDS = """\
import re, sys
import reconciler.base.references as references
references._DURATION = re.compile("([1-9][0-9]{0,5})([dhms])")
references._UNITS["s"] = "seconds"
from reconciler.cli import main
sys.exit(main())
"""
PATIENCE = 15


def operator(fleet: Fleet, watch: str, more: str = "") -> None:
    text = f"journal: journal\n{more}watch: {{{watch}}}\n"
    (fleet.root / "operator.yaml").write_text(text)


@dataclass
class Watching:
    """The loop, as a process."""

    process: subprocess.Popen[str]
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        self.until(lambda: "status page" in "".join(self.err))
        return "".join(self.err).split("status page is ")[1].split()[0]

    @property
    def events(self) -> list[dict[str, str]]:
        return [json.loads(each) for each in self.out]

    def until(self, holds: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, (self.out, self.err)
            assert self.process.poll() is None, (self.out, self.err)
            time.sleep(0.02)

    def applied(self, number: int) -> None:
        """Wait until something was applied to so many appliances, counted from the start."""
        self.until(lambda: sum(each["kind"] == "apply" for each in self.events) >= number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def watching(fleet: Fleet) -> Iterator[Watching]:
    words = ["--operator", str(fleet.root / "operator.yaml"), "watch", str(fleet.desired_state)]
    words += ["--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [sys.executable, "-c", _SECONDS, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    loop = Watching(process)
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [Thread(target=_read, args=each) for each in ((process.stdout, loop.out), (process.stderr, loop.err))]
    for each in readers:
        each.start()
    try:
        yield loop
    finally:
        process.kill()
        process.wait()
        for each in readers:
            each.join()


def _read(stream: TextIO, lines: list[str]) -> None:
    with stream:
        lines.extend(stream)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where a service manager is told how it goes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def test_it_brings_everything_to_what_is_declared_and_keeps_it_there(fleet: Fleet, manager: socket.socket) -> None:
    operator(fleet, "mode: apply, resync: 3s")
    with watching(fleet) as loop:
        loop.applied(3)
        assert fleet.run("plan", "--detailed-exitcode").code == 0
        # Somebody edits a file.
        fleet.edit("certificates/lab.yaml", "common_name: Lab", "common_name: Laboratory")
        loop.applied(4)
        assert "Laboratory" in fleet.run("status", "--appliance", "lab").out
        # Somebody takes away what is served.
        default = fleet.store("east-1") / "00-default.pem"
        default.resolve().unlink()
        default.unlink()
        loop.applied(5)
        assert default.exists()
        # A second one would do everything twice.
        (fleet.root / "second.yaml").write_text("journal: journal\n")
        second = run("--operator", fleet.root / "second.yaml", "watch", fleet.desired_state, "--no-endpoints")
        assert (second.code, second.out) == (1, "")
        assert "another loop is at work" in second.err
        with httpx.Client(base_url=loop.url) as client:
            assert client.get("/healthz").text == client.get("/readyz").text == "ok\n"
            assert "east-1" in client.get("/").text
            assert client.get("/metrics").is_success
            held = client.stream("GET", "/events")
            with held as listener:  # somebody looks at the page meanwhile
                next(listener.iter_lines())
                assert manager.recv(100) == b"READY=1"
                began = time.monotonic()
                assert loop.end() == 0
                assert manager.recv(100) == b"STOPPING=1"
                assert time.monotonic() - began < 4
    assert "".join(loop.err).endswith("reconciler: ending; an apply ends after the action in hand\n")


def test_what_is_committed_and_pushed_is_applied_and_nothing_else(fleet: Fleet, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "remote.git")
    git(fleet.root, "init", "-q", "-b", "main")
    git(fleet.root, "remote", "add", "origin", str(tmp_path / "remote.git"))

    def push() -> None:
        git(fleet.root, "add", "desired-state")
        git(fleet.root, "commit", "-q", "-m", "Declare")
        git(fleet.root, "push", "-q", "origin", "main")

    push()
    operator(fleet, "mode: apply, follow: {branch: main, every: 1s}")
    with watching(fleet) as loop:
        loop.applied(3)
        fleet.edit("certificates/lab.yaml", "common_name: Lab", "common_name: Laboratory")
        time.sleep(1.5)
        assert sum(each["kind"] == "apply" for each in loop.events) == 3
        push()
        loop.applied(4)
        assert loop.end(signal.SIGINT) == 0
    head = git(fleet.root, "rev-parse", "HEAD")
    assert [each["after"] for each in loop.events if each["kind"] == "source"][-1] == head


def test_one_that_was_killed_goes_on_when_it_is_started_again(fleet: Fleet) -> None:
    operator(fleet, "mode: apply")
    with watching(fleet) as loop:
        loop.until(lambda: list((fleet.root / "journal").glob("*.jsonl")))
        assert loop.end(signal.SIGKILL) == -signal.SIGKILL
    with watching(fleet) as loop, httpx.Client(base_url=loop.url) as client:
        loop.until(lambda: client.get("/readyz").is_success)
        assert fleet.run("plan", "--detailed-exitcode").code == 0
        assert loop.end() == 0


def test_it_takes_changed_settings_when_asked_and_keeps_those_it_has_where_they_are_broken(
    fleet: Fleet, manager: socket.socket
) -> None:
    operator(fleet, "mode: plan")
    with watching(fleet) as loop:
        loop.until(lambda: "mode: 3 plan" in "".join(loop.err))
        assert manager.recv(100) == b"READY=1"
        operator(fleet, "mode: aply")
        loop.process.send_signal(signal.SIGHUP)
        loop.until(lambda: "goes on with the settings that it has" in "".join(loop.err))
        operator(fleet, "mode: apply")
        loop.process.send_signal(signal.SIGHUP)
        loop.applied(3)
        assert [manager.recv(100), manager.recv(100)] == [b"RELOADING=1", b"READY=1"]
        assert loop.end() == 0


def test_no_fetch_outlives_the_loop_that_began_it(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = fleet.root / "pids"
    pids.touch()
    monkeypatch.setenv("GIT_SSH_COMMAND", f"echo $$ >> {pids}; exec sleep 60 #")
    git(fleet.root, "init", "-q", "-b", "main")
    git(fleet.root, "remote", "add", "origin", "ssh://somebody@127.0.0.1/fleet.git")
    operator(fleet, "mode: plan, follow: {branch: main}")

    def begun() -> list[int]:
        return [int(each) for each in pids.read_text().split()]

    def alive() -> list[int]:
        return [each for each in begun() if is_alive(each)]

    with watching(fleet) as loop:
        loop.until(lambda: len(begun()) == 1)
        loop.process.send_signal(signal.SIGHUP)
        loop.until(lambda: len(begun()) == 2)
        assert alive() == begun()[1:]
        assert loop.end() == 0
    assert not alive()


def test_what_the_webhook_has_not_got_when_the_loop_ends_is_told(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as receiver:
        receiver.answers = [503] * 100
        operator(fleet, "mode: plan, webhook: {env: HOOK}", f"hosts: ['127.0.0.1:{receiver.port}']\n")
        monkeypatch.setenv("HOOK", receiver.url)
        monkeypatch.setattr("reconciler.cli.watch._LAST_WORDS", 0.1)
        ran = run("--operator", fleet.root / "operator.yaml", "watch", fleet.desired_state, "--once")
    assert ran.code == 0
    assert re.search(r"\d+ events did not reach the webhook", ran.out)


class TestOnce:
    def once(self, fleet: Fleet, *options: str) -> tuple[int, str, str]:
        ran = run("--operator", fleet.root / "operator.yaml", "watch", fleet.desired_state, "--once", *options)
        return ran.code, ran.out, ran.err

    def test_it_does_what_it_may_and_ends(self, fleet: Fleet) -> None:
        operator(fleet, "mode: plan")
        assert self.once(fleet)[0] == 0
        assert not list(fleet.store("east-1").glob("*access*"))
        operator(fleet, "mode: apply")
        code, out, err = self.once(fleet, "--log", "console")
        told = "3 appliances looked at: 3 Synced; 3 Healthy; mode: 3 apply"
        assert (code, err) == (0, f"reconciler: watching {fleet.desired_state}\nreconciler: {told}\n")
        assert " lab apply: applied - done: create lab; make lab the default; see 2" in out
        assert self.once(fleet)[0] == 0
        assert fleet.run("plan", "--detailed-exitcode").code == 0

    def test_there_may_be_no_stdin(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        operator(fleet, "mode: plan")
        monkeypatch.setattr(sys, "stdin", None)  # as after `<&-`
        assert self.once(fleet)[0] == 0

    def test_it_exits_as_plan_does(self, fleet: Fleet) -> None:
        operator(fleet, "mode: plan")
        fleet.edit("certificates/lab.yaml", "key: ec-p256", "key: ec-p257")
        assert self.once(fleet)[0] == fleet.run("plan").code == 3
        (fleet.root / "stores/west-1").rename(fleet.root / "elsewhere")
        assert self.once(fleet)[0] == 1

    def test_there_may_be_nothing_to_go_by(self, fleet: Fleet) -> None:
        operator(fleet, "mode: plan")
        fleet.file("fleet.yaml").write_text("policy: {")
        code, _, err = self.once(fleet)
        assert code == 1
        assert "fleet.yaml:1" in err

    def test_what_was_in_force_is_kept_up_while_the_remote_is_gone(self, fleet: Fleet) -> None:
        git(fleet.root, "init", "-q", "-b", "main")
        git(fleet.root, "add", "desired-state")
        git(fleet.root, "commit", "-q", "-m", "Declare")
        git(fleet.root, "remote", "add", "origin", str(fleet.root))
        operator(fleet, "mode: plan, follow: {branch: main}")
        assert self.once(fleet)[0] == 0
        git(fleet.root, "remote", "set-url", "origin", str(fleet.root / "nowhere"))
        operator(fleet, "mode: apply, follow: {branch: main}")
        code, out, err = self.once(fleet)
        assert code == 1
        assert "origin/main cannot be fetched" in err
        assert out.count('"kind":"apply"') == 3

    def test_an_apply_that_fails_is_told(self, fleet: Fleet) -> None:
        operator(fleet, "mode: apply", "reload: {lab: ['false']}\n")
        assert self.once(fleet)[0] == 5


@pytest.mark.parametrize("place", ["0.0.0.0:9464", "example.com:80", "9464", "127.0.0.1:99999"])
def test_nobody_elsewhere_is_served(fleet: Fleet, place: str) -> None:
    operator(fleet, "mode: apply")
    ran = run("--operator", fleet.root / "operator.yaml", "watch", fleet.desired_state, "--listen", place)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("reconciler: ")
    assert "unexpected" not in ran.err
    assert not list(fleet.store("east-1").glob("*access*"))


def test_people_on_a_terminal_read_sentences(fleet: Fleet) -> None:
    operator(fleet, "mode: observe")
    terminal = Terminal.run("--operator", fleet.root / "operator.yaml", "watch", fleet.desired_state, "--once")
    code, output = terminal.end()
    assert code == 0
    assert re.search(r"^\S+Z source: \w{64} - ", output, re.MULTILINE)


def test_the_webhook_must_be_allowed_before_anything_is_done(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    operator(fleet, "mode: apply, webhook: {env: HOOK}")
    monkeypatch.setenv("HOOK", "https://chat.example.com/hunter2")
    ran = run("--operator", fleet.root / "operator.yaml", "watch", fleet.desired_state, "--once")
    assert (ran.code, ran.out) == (1, "")
    assert "is not among those that may be contacted" in ran.err
    assert "hunter2" not in ran.err


def test_events_are_posted(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as receiver:
        operator(fleet, "mode: apply, webhook: {env: HOOK}", f"hosts: ['127.0.0.1:{receiver.port}']\n")
        monkeypatch.setenv("HOOK", receiver.url)
        ran = run("--operator", fleet.root / "operator.yaml", "watch", fleet.desired_state, "--once")
    assert ran.code == 0
    assert sorted(each.appliance or "" for each in receiver.bodies if each.kind == "apply") == list(APPLIANCES)
    assert SECRET not in ran.out + ran.err


def test_what_the_webhook_lost_is_counted(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as receiver:
        receiver.answers = [404] * 100
        (fleet.root / "hook").write_text(receiver.url)
        operator(fleet, "mode: plan, webhook: {file: hook}", f"hosts: ['127.0.0.1:{receiver.port}']\n")
        monkeypatch.chdir("/")  # the path is relative to the file that names it
        with watching(fleet) as loop, httpx.Client(base_url=loop.url) as client:
            told = re.compile("^reconciler_webhook_lost_total [1-9]", re.MULTILINE)
            loop.until(lambda: told.search(client.get("/metrics").text))
            assert loop.end() == 0


def test_a_webhook_that_does_not_answer_keeps_nobody_waiting(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.cli.watch._LAST_WORDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        operator(fleet, "mode: apply, webhook: {env: HOOK}", f"hosts: ['{place}']\n")
        monkeypatch.setenv("HOOK", f"http://{place}/")
        began = time.monotonic()
        assert run("--operator", fleet.root / "operator.yaml", "watch", fleet.desired_state, "--once").code == 0
    assert time.monotonic() - began < 5


def test_status_tells_what_the_loop_knows(fleet: Fleet) -> None:
    settings = ("--operator", fleet.root / "operator.yaml")
    operator(fleet, "mode: plan, appliances: {lab: {mode: observe}}")
    assert "watch  " not in run(*settings, "status", fleet.desired_state).out
    assert run(*settings, "watch", fleet.desired_state, "--once").code == 0
    out = run(*settings, "status", fleet.desired_state).out
    assert re.search(r"^lab\n  watch +was OutOfSync, Degraded; mode observe, looked at 2", out, re.MULTILINE)
    document = Status.model_validate_json(run(*settings, "status", fleet.desired_state, "--format", "json").out)
    modes = [each.reconciliation.mode for each in document.appliances if each.reconciliation]
    assert modes == ["plan", "observe", "plan"]


def test_status_tells_whether_a_loop_is_at_work(fleet: Fleet) -> None:
    pause = "{reason: a new rack, until: 2999-01-01}"
    operator(fleet, f"mode: plan, appliances: {{lab: {{suspended: {pause}}}}}")

    def status(*options: str) -> str:
        return run("--operator", fleet.root / "operator.yaml", "status", fleet.desired_state, *options).out

    with watching(fleet) as loop, httpx.Client(base_url=loop.url) as client:
        loop.until(lambda: client.get("/readyz").is_success)
        loop.until((fleet.root / "journal" / "watch.json").exists)
        out = status("--appliance", "lab")
        assert "\nwatch   a loop is at work\n" in out
        assert re.search(
            r"^  watch   OutOfSync, Suspended \(a new rack, until 2999-01-01 00:00:00 UTC\)", out, re.MULTILINE
        )
        loop.end(signal.SIGKILL)
    out = status()
    assert re.search(r"^watch   no loop is at work; what the last one knew is of 20", out, re.MULTILINE)
    assert re.search(r"^  watch   was OutOfSync, Suspended \(a new rack", out, re.MULTILINE)
    document = Status.model_validate_json(status("--format", "json"))
    assert document.loop is not None
    assert not document.loop.at_work


def test_status_tells_a_problem_of_the_source_and_of_what_the_loop_knew(fleet: Fleet) -> None:
    settings = ("--operator", fleet.root / "operator.yaml")
    operator(fleet, "mode: plan")
    assert run(*settings, "watch", fleet.desired_state, "--once").code == 0
    fleet.edit("fleet.yaml", "{}", "{")
    assert run(*settings, "watch", fleet.desired_state, "--once").code == 1
    fleet.edit("fleet.yaml", "{", "{}")
    assert re.search(r"^source  .*fleet\.yaml:1", run(*settings, "status", fleet.desired_state).out, re.MULTILINE)
    memory = fleet.root / "journal" / "watch.json"
    memory.unlink()
    os.mkfifo(memory)
    ran = run(*settings, "status", fleet.desired_state)
    assert ran.code == 0
    assert f"no loop is at work; what it knew cannot be told: {memory} cannot be read: it is no regular file" in ran.out


def test_status_needs_no_place_for_a_loop(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert fleet.run("status").code == 0


def test_status_of_another_desired_state_says_nothing_of_the_loop(fleet: Fleet) -> None:
    settings = ("--operator", fleet.root / "operator.yaml")
    operator(fleet, "mode: plan")
    assert run(*settings, "watch", fleet.desired_state, "--once").code == 0
    other = fleet.root / "other"
    os.rename(fleet.desired_state, other)  # noqa: PTH104
    assert "watch  " not in run(*settings, "status", other).out


class TestService:
    def test_the_unit_is_understood_by_systemd(self, fleet: Fleet) -> None:
        operator(fleet, "mode: apply")
        settings = ("--operator", fleet.root / "operator.yaml")
        ran = run(*settings, "init", "--service", fleet.desired_state)
        assert ran.code == 0
        unit = fleet.root / "reconciler-watch.service"
        text = unit.read_text()
        for place in ("journal", *(f"stores/{name}" for name in APPLIANCES)):
            assert f'ReadWritePaths="-{fleet.root / place}"\n' in text
        assert f'"--operator" "{fleet.root / "operator.yaml"}" "watch" "{fleet.desired_state}"\n' in text
        if shutil.which("systemd-analyze"):
            verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
            assert (verified.returncode, verified.stderr) == (0, "")
        assert "ExecReload=/bin/kill -HUP $MAINPID\n" in text

    def test_it_is_not_written_over(self, fleet: Fleet) -> None:
        unit = fleet.root / "reconciler-watch.service"
        assert fleet.run("init", "--service").code == 0
        unit.write_text("ours")
        again = fleet.run("init", "--service")
        assert (again.code, again.out) == (1, "")
        assert "is there already - see what you changed in it, move it away, and run this again" in again.err
        assert "--force" not in again.err
        assert unit.read_text() == "ours"

    def test_settings_beside_the_desired_state_are_its(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        operator(fleet, "mode: apply")
        ran = fleet.run("init", "--service")
        unit = fleet.root / "reconciler-watch.service"
        assert f'"--operator" "{fleet.root / "operator.yaml"}" "watch"' in unit.read_text()
        assert f"operator settings: {fleet.root / 'operator.yaml'}\n" in ran.out
        unit.unlink()
        assert run("--operator", fleet.root / "nowhere.yaml", "init", "--service", fleet.desired_state).code == 1
        (fleet.root / "other.yaml").write_text("journal: elsewhere\n")
        monkeypatch.setenv("RECONCILER_OPERATOR", str(fleet.root / "other.yaml"))
        assert fleet.run("init", "--service").code == 0
        assert f'"--operator" "{fleet.root / "other.yaml"}" "watch"' in unit.read_text()

    @pytest.mark.parametrize("user", ["root", "reconciler"])
    def test_it_says_whom_it_runs_as(self, fleet: Fleet, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
        entry = pwd.struct_passwd((user, "x", 0, 0, "", "/", "/bin/sh"))
        monkeypatch.setattr(pwd, "getpwuid", lambda _: entry)
        out = fleet.run("init", "--service").out
        text = (fleet.root / "reconciler-watch.service").read_text()
        assert f"\nUser={user}\n" in text
        better = "; better remove it, and run this as a user of the service's own" if user == "root" else ""
        assert f"  user: {user}{better}\n" in out
        assert f"  sudo -u {user} env XDG_STATE_HOME=/var/lib " in out
        assert f"status {fleet.desired_state}     tells what it knows\n" in out
        assert ("\nCapabilityBoundingSet=\nAmbientCapabilities=\n" in text) == (user != "root")

    def test_it_says_what_is_needed_where_a_branch_is_followed(self, fleet: Fleet) -> None:
        git(fleet.root, "init", "-q")
        secrets = "username: {env: A}, password: {env: B}"
        web = f"stores: {{lab: {{driver: web, url: 'https://lab.example.com/appliance', {secrets}}}}}\n"
        operator(fleet, "follow: {branch: main}, state: state", web)
        ran = run("--operator", fleet.root / "operator.yaml", "init", "--service", fleet.desired_state)
        assert ran.code == 0, ran.err
        text = (fleet.root / "reconciler-watch.service").read_text()
        for place in (fleet.root / ".git", fleet.root / "state", fleet.root):
            assert f'ReadWritePaths="-{place}"\n' in text
        assert "stores/lab" not in text

    def test_without_operator_settings_it_names_none(self, fleet: Fleet) -> None:
        assert fleet.run("init", "--service").code == 0
        assert "--operator" not in (fleet.root / "reconciler-watch.service").read_text()


@pytest.mark.parametrize(
    ("word", "quoted"), [('a "b" \\', '"a \\"b\\" \\\\"'), ("100%", '"100%%"'), ("$HOME", '"$$HOME"')]
)
def test_words_reach_the_program_as_they_are(word: str, quoted: str) -> None:
    text = unit_text(Service(word, "/d", None, "me", ("/a$b",)))
    assert f'ExecStart={quoted} "watch" "/d"\n' in text
    assert 'ReadWritePaths="-/a$b"\n' in text


def test_a_unit_cannot_hold_everything() -> None:
    with pytest.raises(UsageError, match=r"no unit can name /d\\n"):
        unit_text(Service("/p", "/d\n", None, "me", ()))
