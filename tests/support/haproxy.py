"""A real HAProxy that serves certificate directories on loopback.

    with serving({"east-1": path}) as haproxy:
        served(haproxy.ports["east-1"], "access.example.com")
        haproxy.reload()

`haproxy.reload_command` is a reload command for `OpenContext.reload`; `check(path)` asks whether HAProxy would start.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import haproxy_reload
from tests.support.ports import reserved_ports
from tests.support.programs import require_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_GLOBAL = """
global
    # What the tests ask is which certificate is chosen, not how strong the handshake is.
    tune.ssl.default-dh-param 2048
    hard-stop-after 2s
    # A port that is taken is an error then, not shared with whoever has it.
    noreuseport
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
"""
_FRONTEND = """
frontend {name}
    bind 127.0.0.1:{port} ssl crt {directory}/
    http-request return status 200
"""
_STARTS_WITHIN = 20.0


@dataclass(frozen=True)
class HAProxy:
    """A running HAProxy.

    Attributes:
        ports: Where it serves each directory, by the name that was given to it.
        reload_command: Makes it read its directories again; exits with 0 when it serves what it read.
    """

    ports: Mapping[str, int]
    reload_command: tuple[str, ...]

    def reload(self) -> None:
        """Make it read its directories again; a directory that it would refuse fails the test."""
        done = subprocess.run(self.reload_command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def check(directory: Path) -> str:
    """What keeps HAProxy from starting on a directory; empty where nothing does."""
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, "haproxy.cfg")
        configuration.write_text(_GLOBAL + _FRONTEND.format(name="checked", port=1, directory=directory))
        command = [require_program("haproxy"), "-c", "-q", "-f", str(configuration)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return "" if done.returncode == 0 else done.stderr or f"exit status {done.returncode}"


@contextmanager
def serving(directories: Mapping[str, Path]) -> Iterator[HAProxy]:
    """Serve certificate directories until the block ends."""
    haproxy = require_program("haproxy")
    with tempfile.TemporaryDirectory(prefix="haproxy-") as folder, reserved_ports(len(directories)) as reserved:
        configuration, master = Path(folder, "haproxy.cfg"), Path(folder, "master.sock")
        ports = dict(zip(directories, reserved, strict=True))
        frontends = (_FRONTEND.format(name=name, port=ports[name], directory=directories[name]) for name in directories)
        configuration.write_text(_GLOBAL + "".join(frontends))
        with Path(folder, "log").open("w+b") as log:
            command = [haproxy, "-W", "-q", "-S", str(master), "-f", str(configuration)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                _wait(process, Path(log.name), ports)
                reload_command = (sys.executable, haproxy_reload.__file__, haproxy, str(configuration), str(master))
                yield HAProxy(ports, reload_command)
            finally:
                process.terminate()
                process.wait(_STARTS_WITHIN)


def _wait(process: subprocess.Popen[bytes], log: Path, ports: Mapping[str, int]) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    for port in ports.values():
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, f"HAProxy did not start: {log.read_text(errors='replace')}"
                assert time.monotonic() < deadline, "HAProxy does not answer"
                time.sleep(0.02)
