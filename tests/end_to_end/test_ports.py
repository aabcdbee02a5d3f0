"""No two that serve on this machine at once share a port, whoever they are."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import UsageError
from reconciler.lab.server import Listener, serve
from tests.lab.browser import Clock, make_appliance
from tests.support.haproxy import serving
from tests.support.ports import RANGE, reserved_ports
from tests.support.tls import served

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from tests.end_to_end.example import Example


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


_HOLDER = """
import sys
from tests.support.ports import reserved_ports
with reserved_ports(20) as ports:
    print(*ports, flush=True)
    sys.stdin.read()
"""


def told(pipe: IO[str] | None) -> set[int]:
    assert pipe is not None
    return {int(each) for each in pipe.readline().split()}


def sharing(port: int) -> socket.socket:
    """A server that does all it can to share a port with whoever has it."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        server.bind(("127.0.0.1", port))
        server.listen()
    except OSError:
        server.close()
        raise
    return server


def test_processes_that_ask_at_the_same_time_get_ports_of_their_own() -> None:
    holders = [
        subprocess.Popen([sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    try:
        given = [told(each.stdout) for each in holders]
        with reserved_ports(20) as own:
            given.append(set(own))
    finally:
        for each in holders:
            each.communicate()
    assert [len(each) for each in given] == [20] * 5
    assert len(set.union(*given)) == 100


def test_a_port_that_is_taken_by_somebody_who_knows_nothing_of_it_is_passed_over() -> None:
    with reserved_ports(1) as (port,):
        pass
    with socket.create_server(("127.0.0.1", port)), reserved_ports(1) as (other,):
        assert other != port
        assert other in RANGE


def test_the_port_of_a_haproxy_is_not_shared_before_or_after_a_reload(example: Example) -> None:
    with serving({"east-1": example.directories["east-1"]}) as haproxy:
        for _ in range(2):
            with pytest.raises(OSError, match="in use"):
                sharing(haproxy.ports["east-1"])
            haproxy.reload()
            assert served(haproxy.ports["east-1"], "access.example.com")


@pytest.mark.anyio
async def test_the_port_of_a_simulated_appliance_is_not_shared(tmp_path: Path) -> None:
    appliance = make_appliance(tmp_path, Clock(), "guide")
    async with serve(appliance):
        with pytest.raises(OSError, match="in use"):
            sharing(appliance.port)


@pytest.mark.anyio
async def test_of_two_simulated_appliances_that_begin_at_the_same_port_one_is_told(tmp_path: Path) -> None:
    appliance = make_appliance(tmp_path, Clock(), "guide")
    first = Listener(appliance, 0)
    second = Listener(appliance, first.port)
    try:
        await first.open()
        with pytest.raises(UsageError, match=f"port {first.port} cannot be used: Address already in use"):
            await second.open()
    finally:
        await first.close()
        await second.close()
