"""Clients that come to every appliance and every protected name all the time, and say what was wrong.

Each kind of client believes the roots of one software build and nothing else, and checks validity and host name;
clients that send no server name expect a certificate for the site.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


_PAUSE = 0.01
"""Between two clients, in seconds: what they visit needs some of the machine, too."""


@dataclass(frozen=True)
class Visit:
    """What one client asks for.

    Attributes:
        port: Where.
        sent: The server name, or None where it sends none.
        expected: The name that the certificate must be for.
        believed: A file of the roots that it believes (PEM).
    """

    port: int
    sent: str | None
    expected: str
    believed: Path

    def context(self) -> ssl.SSLContext:
        """How it connects."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.load_verify_locations(self.believed)
        # OpenSSL compares the name with what is sent; where none is sent, `problem` does.
        made.check_hostname = self.sent is not None
        return made

    def problem(self, context: ssl.SSLContext) -> str:
        """What is wrong with what it is served; empty where it is content."""
        about = f"port {self.port}, {self.sent or 'no name'}, {self.believed.stem}"
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection,
                context.wrap_socket(connection, server_hostname=self.sent) as client,
            ):
                names = (client.getpeercert() or {}).get("subjectAltName", ())
        except OSError as error:
            return f"{about}: {error}"
        return "" if ("DNS", self.expected) in names else f"{about}: a certificate for {names}"


@dataclass
class Tally:
    """What clients have met.

    Attributes:
        handshakes: How many there were, by what was asked for.
        problems: What was wrong with any of them.
    """

    handshakes: dict[Visit, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many handshakes there were."""
        return sum(self.handshakes.values())


def visits(
    ports: Mapping[str, int], site: str, names: Mapping[str, Sequence[str]], believed: Sequence[Path]
) -> list[list[Visit]]:
    """For each appliance, what clients ask it for: every name of its, and none, by clients of every build."""
    return [
        [Visit(port, sent, sent or site, file) for sent, file in product((None, *names[name]), believed)]
        for name, port in ports.items()
    ]


@contextmanager
def hammering(asked: Sequence[Sequence[Visit]], pause: float = _PAUSE) -> Iterator[Tally]:
    """Have clients come until the block ends: to each group one after the other, to the groups at once."""
    tally, ended = Tally(), threading.Event()

    def hammer(group: Sequence[Visit]) -> None:
        contexts = {each: each.context() for each in group}
        tally.handshakes.update(dict.fromkeys(group, 0))
        while not ended.is_set():
            for each in group:
                wrong = each.problem(contexts[each])
                tally.handshakes[each] += 1
                if wrong:
                    tally.problems.append(wrong)
                time.sleep(pause)

    threads = [threading.Thread(target=hammer, args=(group,)) for group in asked]
    for each in threads:
        each.start()
    try:
        yield tally
    finally:
        ended.set()
        for each in threads:
            each.join()
