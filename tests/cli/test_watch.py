"""`reconciler watch` as a process of its own, over directory stores. Its durations may be seconds here."""

from __future__ import annotations

import json
import os
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
        [sys.executable, "-c", _SECONDS, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
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
        assert (code, err) == (0, f"reconciler: watching {fleet.desired_state}\n")
        assert " lab apply: applied - 2 actions done" in out
        assert self.once(fleet)[0] == 0
        assert fleet.run("plan", "--detailed-exitcode").code == 0

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
    assert re.search(r"^lab\n  watch +OutOfSync, Degraded; mode observe, looked at 2", out, re.MULTILINE)
    document = Status.model_validate_json(run(*settings, "status", fleet.desired_state, "--format", "json").out)
    modes = [each.reconciliation.mode for each in document.appliances if each.reconciliation]
    assert modes == ["plan", "observe", "plan"]


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
        assert run(*settings, "init", "--service", fleet.desired_state).code == 1

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
