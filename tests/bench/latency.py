"""How long it takes from saving a file until what it asks for is applied and verified, next to `reconciler apply`.

Each edit makes the other of two certificates the default of an appliance. The lab plays it over HTTPS, in a process of
its own that answers as fast as it can.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.base.clock import system_clock
from reconciler.pki.writing import write_pem
from tests.bench import web
from tests.bench.watching import PROGRAM, watching
from tests.support.authority import DAY, Authority

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPREAD = 0.618
"""Seconds by which pauses between edits differ, so that these keep no step with whatever the loop does now and then."""
_FIRST, _SECOND = "fleet", "spare"


@dataclass
class Latency:
    """What was measured, in seconds.

    Attributes:
        watch: From the moment at which a file is saved until the loop tells that it is applied, verified and read back.
        processor: The processor time of the loop meanwhile.
        apply: How long `reconciler apply` takes for the same, from its start to its end.
    """

    watch: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    apply: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """How long the one takes next to the other, both by their medians."""
        return statistics.median(self.watch) / statistics.median(self.apply)


def measure(appliances: int, edits: int, applies: int) -> Latency:
    """Edit the file of one of some appliances again and again while the loop runs, and then without it."""
    found = Latency()
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name:
        folder = Path(name)
        web.make_fleet(folder, appliances, system_clock())
        edited = _Edited(folder)
        with web.played(folder, 0):
            web.may_apply(folder)
            environment = web.environment(folder)
            with watching(folder / "desired-state", environment) as loop:
                edited.add_second()
                assert loop.next_apply() == "applied"
                for number in range(edits):
                    time.sleep(0.1 + number * _SPREAD % 1)
                    begin, processor = time.perf_counter(), loop.processor
                    edited.save()
                    assert loop.next_apply() == "applied"
                    found.watch.append(time.perf_counter() - begin)
                    found.processor.append(loop.processor - processor)
            for _ in range(applies):
                edited.save()
                found.apply.append(_apply(folder, environment))
    return found


def _apply(folder: Path, environment: Mapping[str, str]) -> float:
    command = [PROGRAM, "apply", str(folder / "desired-state"), "--appliance", _Edited.appliance, "--yes"]
    begin = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, env=environment, text=True)
    seconds = time.perf_counter() - begin
    assert "1 action applied on 1 appliance" in done.stdout, done.stdout
    return seconds


class _Edited:
    """The file of an appliance that has two certificates, each of them its default in turn."""

    appliance = "a000"

    def __init__(self, folder: Path) -> None:
        self._certificates = folder / "desired-state/certificates"
        self._file = folder / f"desired-state/appliances/{self.appliance}.yaml"
        self._default, self._other = _FIRST, _SECOND

    def add_second(self) -> None:
        """Declare the second certificate, which the appliance does not have yet."""
        now = system_clock()
        begin, end = now - 30 * DAY, now + 335 * DAY
        authority = Authority.root("Another Root", not_before=begin, not_after=end)
        issued = authority.issue(["*.example.com"], common_name="Spare", not_before=begin, not_after=end)
        folder = self._certificates / _SECOND
        folder.mkdir()
        (folder / "leaf.pem").write_bytes(issued.pem())
        (folder / "chain.pem").write_bytes(write_pem(issued.chain))
        (folder / "key.pem").write_bytes(issued.key_pem(web.PASSPHRASE))
        text = (self._certificates / f"{_FIRST}.yaml").read_text()
        folder.with_suffix(".yaml").write_text(text.replace("Fleet", "Spare").replace(f"{_FIRST}/", f"{_SECOND}/"))
        self._save(self._file.read_text().replace(f"[{_FIRST}]", f"[{_FIRST}, {_SECOND}]"))

    def save(self) -> None:
        """Make the other one the default."""
        before, after = self._default, self._other
        self._default, self._other = after, before
        self._save(self._file.read_text().replace(f"default: {before}", f"default: {after}"))

    def _save(self, text: str) -> None:
        """Save as editors do: beside it, and then in its place."""
        beside = self._file.with_suffix(".new")
        beside.write_text(text)
        beside.replace(self._file)
