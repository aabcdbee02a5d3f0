"""Real TLS clients that believe a root and check the name: whether a name is well served, once or all the time."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.programs import require_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def problem(port: int, server_name: str, root: Path) -> str:
    """What a client that believes one root says of a server; empty where it is content."""
    try:
        context = ssl.create_default_context(cafile=str(root))
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
            context.wrap_socket(connection, server_hostname=server_name),
        ):
            return ""
    except OSError as error:
        return f"{server_name}: {error}"


def problem_without_name(port: int, expected: str, root: Path) -> str:
    """The same of a client that sends no server name and expects a certificate for one."""
    command = [require_program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-noservername"]
    checks = ["-CAfile", str(root), "-verify_hostname", expected, "-verify_return_error"]
    done = subprocess.run([*command, *checks], input=b"", capture_output=True, check=False)
    return "" if done.returncode == 0 else f"no SNI: {done.stderr.decode(errors='replace')}"


@dataclass
class Visits:
    """What visitors met.

    Attributes:
        count: How many handshakes there were.
        problems: What was wrong with any of them.
    """

    count: int = 0
    problems: list[str] = field(default_factory=list)


@contextmanager
def visiting(names: Sequence[tuple[int, str]], root: Path) -> Iterator[Visits]:
    """Have clients come to every port and name, one after the other and without a pause, until the block ends."""
    visits, ended = Visits(), threading.Event()

    def visit() -> None:
        while not ended.is_set():
            for port, name in names:
                visits.count += 1
                wrong = problem(port, name, root)
                if wrong:
                    visits.problems.append(wrong)

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        yield visits
    finally:
        ended.set()
        visitor.join()
