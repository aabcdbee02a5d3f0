"""The program as a process that ends itself with SIGKILL at a chosen operation.

`Program` starts Python once and forks it for every run: what dies is a process of its own that runs the whole command,
without the second that starting Python takes. It counts what the modules that touch files ask of the operating system,
reload commands, and the requests that go to appliances; asked to, it kills itself just before the n-th, or with half
of the n-th write done. What changes nothing is no place of its own, since whoever comes after the kill could not tell
it from the place before: an `fsync`, and of the requests that only look all but the first after one that may have
changed something.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from reconciler.apply import journal
from reconciler.apply.journal import WrittenJournal
from reconciler.base import durable
from reconciler.cli.main import main
from reconciler.live.directory import commit, files, operations, reload
from reconciler.live.web.transport import InterfaceTransport
from tests.test_readme import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import httpx


FILES, REQUESTS = "files", "requests"
_HELD_BY = "from tests.end_to_end.killing import serve; serve()"


@dataclass(frozen=True)
class Ran:
    """What came of a run.

    Attributes:
        code: Its exit code; that of SIGKILL is -9.
        out: What it said.
        err: What it said on stderr.
    """

    code: int
    out: str
    err: str


class Program:
    """The program, ready to be forked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        command = [sys.executable, "-c", _HELD_BY]
        self._server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *arguments: str | Path, environ: Mapping[str, str], what: str = "", at: int = 0) -> Ran:
        """Run a command, killed at the n-th operation of a kind, if it comes to that."""
        assert self._server.stdin
        assert self._server.stdout
        out, err = (self._folder / name for name in ("stdout", "stderr"))
        job = {"arguments": [*map(str, arguments)], "environ": dict(environ), "out": str(out), "err": str(err)}
        self._server.stdin.write(json.dumps({**job, "what": what, "at": at}) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        return Ran(code, out.read_text(), err.read_text())

    def close(self) -> None:
        """End it."""
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.close()
        self._server.wait(10)
        self._server.stdout.close()


def serve() -> None:
    """Fork for every line of stdin, and write how each run ended."""
    for name in ("apply.journal", "live.web.opening", "report.history", "report.results"):
        import_module(f"reconciler.{name}")
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        main(["plan", "desired-state"])  # once: everything that a run needs is there when it begins
    for each in threading.enumerate():
        if each is not threading.current_thread():
            each.join(10)  # workers of the plan that has just ended: a fork beside one of them would be unsafe
    assert threading.active_count() == 1
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(_run(job))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _run(job: dict[str, Any]) -> int:
    for number, path in ((0, os.devnull), (1, job["out"]), (2, job["err"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY, 0o600), number)
    os.environ.update(job["environ"])
    if job["what"] == FILES:
        _kill_at_file(job["at"])
    elif job["what"] == REQUESTS:
        _kill_at_request(job["at"])
    code = main(job["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


@dataclass
class _Countdown:
    left: int

    def is_over(self) -> bool:
        self.left -= 1
        return self.left == 0

    def step(self) -> None:
        if self.is_over():
            _die()


class _Os:
    """`os`, for one module: what changes something on the disk is counted."""

    def __init__(self, countdown: _Countdown) -> None:
        self._countdown = countdown

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever `os` has
        found = getattr(os, name)
        return self._counted(found) if name in {"replace", "unlink", "symlink", "ftruncate"} else found

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - handed on as it is
            self._countdown.step()
            return function(*arguments, **more)

        return call

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT and not path.exists():
            self._countdown.step()
        return os.open(path, flags, mode)

    def mkdir(self, path: Path, mode: int) -> None:
        if not path.exists():
            self._countdown.step()
        path.mkdir(mode)

    def write(self, descriptor: int, content: bytes) -> int:
        if self._countdown.is_over():
            os.write(descriptor, content[: len(content) // 2])
            _die()
        return os.write(descriptor, content)

    def fdopen(self, descriptor: int, mode: str, **more: Any) -> Any:  # noqa: ANN401 - a file, more or less
        return _File(self, descriptor) if mode == "wb" else os.fdopen(descriptor, mode, **more)


@dataclass
class _File:
    """A file that is written without a buffer."""

    system: _Os
    descriptor: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def write(self, content: bytes) -> int:
        return self.system.write(self.descriptor, content)


def _kill_at_file(number: int) -> None:
    countdown = _Countdown(number)
    system = _Os(countdown)
    for module in (durable, files, commit, journal):
        module.os = system  # type: ignore[attr-defined]

    def reloading(command: Sequence[str]) -> None:
        countdown.step()
        reload.run_reload(command)

    operations.run_reload = reloading  # type: ignore[attr-defined,assignment]


def _kill_at_request(number: int) -> None:
    """Kill it with a request in hand: before it is sent, while it is carried out, or when it has been answered."""
    countdown, begin = _Countdown(number), WrittenJournal.__init__
    send = InterfaceTransport.handle_async_request
    before: list[str] = []

    def beginning(self: WrittenJournal, *arguments: Any) -> None:  # noqa: ANN401 - handed on as it is
        begin(self, *arguments)
        before.append("BEGIN")

    async def sending(self: InterfaceTransport, request: httpx.Request) -> httpx.Response:
        counts = before and (request.method != "GET" or before[-1] != "GET")
        if before:
            before.append(request.method)
        if counts and countdown.is_over():
            asyncio.get_running_loop().call_later(number % 4 * 0.004, _die)
        return await send(self, request)

    WrittenJournal.__init__ = beginning  # type: ignore[method-assign,assignment]
    InterfaceTransport.handle_async_request = sending  # type: ignore[method-assign]
