"""The dry run over a fleet behind the /appliance interface, next to what waiting for the network costs at least.

`python -m tests.bench.web FOLDER SECONDS` plays the appliances in a process of its own, each reply so late. The ideal
is then requests x latency / concurrency: it takes no processor time at all, on either side.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from reconciler.base.clock import system_clock
from reconciler.engine.operator import VARIABLE, OperatorSettings
from reconciler.lab.faults import Fault, FaultKind
from reconciler.lab.fleet import PASSWORD, USERNAME, make_lab
from reconciler.lab.release import COMPLETE
from reconciler.lab.server import serve
from reconciler.lab.sessions import Account
from reconciler.lab.tls import TieBreak
from reconciler.live.directory.driver import FACTORY_NAME
from reconciler.live.directory.operations import DirectoryStore
from reconciler.live.driver import Upload
from reconciler.pki.writing import write_pem
from tests.support.authority import DAY, Authority

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

LATENCY = 0.05
CONCURRENCY = OperatorSettings().concurrency
CERTIFICATES_EACH = 5
_ACCOUNT = Account("admin", "only a measurement")
PASSPHRASE = b"only a measurement"
_APPLIANCE = """\
hostname: {name}.example.com
platform: virtual
store: {{driver: directory, path: ../../nowhere/{name}}}
certificates: [fleet]
default: fleet
client_software: none
"""
_CERTIFICATE = """\
subject: {common_name: Fleet, organization: Example Company, country: US}
subject_alternative_names: ["*.example.com"]
key: ec-p256
source:
  kind: provided
  certificate: fleet/leaf.pem
  chain: [fleet/chain.pem]
  key: fleet/key.pem
  passphrase: {env: BENCH_PASSPHRASE}
"""


@dataclass(frozen=True)
class Round:
    """One dry run.

    Attributes:
        seconds: Wall time, from start to end of the process.
        processor: Processor time of it, in seconds.
        memory: Its peak of resident memory, in MB.
        requests: How many requests the appliances got.
        last: The last line of its output.
    """

    seconds: float
    processor: float
    memory: float
    requests: int
    last: str

    @property
    def ideal(self) -> float:
        """Seconds of nothing but waiting."""
        return self.requests * LATENCY / CONCURRENCY

    @property
    def ratio(self) -> float:
        """Wall time to the ideal."""
        return self.seconds / self.ideal


def make_fleet(folder: Path, appliances: int, now: dt.datetime) -> None:
    """Write `desired-state/`, and the stores of a lab in `lab/`, all alike and in step."""
    root = Authority.root("Example Root", not_before=now - 900 * DAY, not_after=now + 3000 * DAY)
    issuing = root.intermediate("Example Issuing", not_before=now - 900 * DAY, not_after=now + 3000 * DAY)
    begin, end = now - 30 * DAY, now + 335 * DAY
    current = issuing.issue(["*.example.com"], common_name="Fleet", not_before=begin, not_after=end)
    other = issuing.issue(["other.example.net"], common_name="Somebody's own", not_before=begin, not_after=end)
    desired = folder / "desired-state"
    files = {
        "fleet.yaml": b"policy: {keys: [ec-p256]}\n",
        "certificates/fleet.yaml": _CERTIFICATE.encode(),
        "certificates/fleet/leaf.pem": current.pem(),
        "certificates/fleet/key.pem": current.key_pem(PASSPHRASE),
        "certificates/fleet/chain.pem": write_pem(current.chain),
    }
    names = [f"a{number:03}" for number in range(appliances)]
    files |= {f"appliances/{name}.yaml": _APPLIANCE.format(name=name).encode() for name in names}
    for path, content in files.items():
        (desired / path).parent.mkdir(parents=True, exist_ok=True)
        (desired / path).write_bytes(content)
    stores = folder / "lab/stores"
    stores.mkdir(parents=True)
    first = DirectoryStore(stores / names[0], lambda: now)
    first.create(FACTORY_NAME)
    for each in (current, other):
        first.import_(Upload(each.pkcs12(PASSPHRASE), PASSPHRASE))
    for certificate in current.chain:
        first.import_(Upload(certificate.der))
    first.set_default(current.certificate.fingerprint)
    assert len(first.observe().certificates) == CERTIFICATES_EACH
    for name in names[1:]:
        shutil.copytree(stores / names[0], stores / name, symlinks=True)


def measure(folder: Path, rounds: int) -> list[Round]:
    """Plan again and again, while another process plays the appliances."""
    with played(folder, LATENCY) as appliances:
        return [_plan(folder / "desired-state", environment(folder), appliances) for _ in range(rounds)]


def environment(folder: Path) -> dict[str, str]:
    """The environment that leads the program to the appliances."""
    return {
        **os.environ,
        VARIABLE: str(folder / "lab/operator.yaml"),
        USERNAME: _ACCOUNT.username,
        PASSWORD: _ACCOUNT.password,
        "BENCH_PASSPHRASE": PASSPHRASE.decode(),
    }


def may_apply(folder: Path) -> None:
    """Let the loop apply, while the appliances are played: their operator settings are there only then."""
    with (folder / "lab/operator.yaml").open("a") as file:
        file.write("watch: {mode: apply}\n")


def _plan(desired_state: Path, environment: dict[str, str], appliances: subprocess.Popen[str]) -> Round:
    program = str(Path(sys.executable).with_name("reconciler"))
    output = desired_state.with_name("output")
    begin = time.perf_counter()
    with output.open("w") as file:
        process = subprocess.Popen([program, "plan", str(desired_state)], stdout=file, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    told = output.read_text()
    assert process.returncode == 0, told
    processor = usage.ru_utime + usage.ru_stime
    last = told.rstrip().rpartition("\n")[2]
    return Round(seconds, processor, usage.ru_maxrss / 1024, requests(appliances), last)


@contextmanager
def played(folder: Path, latency: float) -> Iterator[subprocess.Popen[str]]:
    """Have another process play the appliances, each reply late by so many seconds."""
    command = [sys.executable, "-m", "tests.bench.web", str(folder), str(latency)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert requests(process) == 0
        yield process
    finally:
        process.communicate()


def requests(appliances: subprocess.Popen[str]) -> int:
    """How many requests the appliances have got since they were last asked."""
    assert appliances.stdin
    assert appliances.stdout
    appliances.stdin.write("\n")
    appliances.stdin.flush()
    return int(appliances.stdout.readline())


async def play(folder: Path, latency: float) -> None:
    """Play the appliances until nobody asks any more."""
    lab = make_lab(
        folder / "desired-state",
        folder / "lab",
        variant=COMPLETE,
        tie_break=TieBreak.FIRST,
        clock=system_clock,
        account=_ACCOUNT,
    )
    async with serve(*lab.appliances):
        for each in lab.appliances:
            each.faults.switch(Fault(FaultKind.LATENCY, seconds=latency))
        lab.write_files()
        while await to_thread.run_sync(sys.stdin.readline):
            sys.stdout.write(f"{sum(len(each.requests) for each in lab.appliances)}\n")
            sys.stdout.flush()
            for each in lab.appliances:
                each.requests.clear()


if __name__ == "__main__":
    anyio.run(play, Path(sys.argv[1]), float(sys.argv[2]))
