"""A server that takes what a webhook posts."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from reconciler.live.network import Network
from reconciler.watch.model import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "hunter2"  # noqa: S105 - the part of the URL that nobody may see


@dataclass
class Receiver:
    """A server that takes what is posted.

    Attributes:
        answers: Statuses that it answers with, the next first; 204 when there are none left.
        bodies: What was posted.
        hosts: The host that each request was for.
    """

    port: int = 0
    answers: list[int] = field(default_factory=list)
    bodies: list[Event] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/{SECRET}"

    @property
    def network(self) -> Network:
        return Network(
            frozenset({f"127.0.0.1:{self.port}", "localhost:80"}), {"localhost:80": f"127.0.0.1:{self.port}"}
        )


@contextmanager
def listening() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == f"/hook/{SECRET}"
            receiver.bodies.append(Event.model_validate_json(body))
            receiver.hosts.append(self.headers["Host"])
            self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
