"""A reload command for the HAProxy of tests, as an operator would have one: check, reload, wait for the new worker.

Usage: python haproxy_reload.py HAPROXY CONFIGURATION MASTER_SOCKET. It stands alone: it imports nothing of the tests.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

PATIENCE = 20.0


def ask(master: str, command: str) -> str:
    """What the master process answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(master)
        client.sendall(command.encode() + b"\n")
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(65536):
            answer += part
    return answer.decode()


def processes(master: str) -> tuple[int, set[int], set[int]]:
    """The master's process, the workers that serve, and old ones that have not ended yet."""
    leader, found, section = 0, (set[int](), set[int]()), 0
    for line in ask(master, "show proc").splitlines():
        if line.startswith("# old workers"):
            section = 1
        fields = line.split()
        if len(fields) > 1 and fields[0].isdigit():
            if fields[1] == "master":
                leader = int(fields[0])
            elif fields[1] == "worker":
                found[section].add(int(fields[0]))
    return leader, *found


def reload(haproxy: str, configuration: str, master: str) -> int:
    """Exit status: 0 when only new workers are left."""
    checked = subprocess.run([haproxy, "-c", "-q", "-f", configuration], check=False, stdin=subprocess.DEVNULL)
    if checked.returncode:
        return checked.returncode
    leader, before, _ = processes(master)
    # The master is sent the signal, as an operator would; it starts itself anew and tells nobody when it is done.
    os.kill(leader, signal.SIGUSR2)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            _, workers, old = processes(master)
        except OSError:
            workers, old = set(), set()
        if workers and not old and not workers & before:
            return 0
        time.sleep(0.02)
    sys.stderr.write("the new worker did not take over\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(reload(*sys.argv[1:]))
