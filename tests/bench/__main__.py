"""`make bench`: how long the program takes over a large fleet, as ratios to what cannot be avoided.

Everything is measured in fresh processes of one run, turn by turn, so that a busy machine burdens both sides of a ratio
alike. Absolute times are of this machine at this hour; only ratios are worth comparing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from reconciler.base.clock import system_clock
from tests.bench import web
from tests.bench.fleet import make_fleet

if TYPE_CHECKING:
    from collections.abc import Sequence

_APPLIANCES = 1000
_WEB_APPLIANCES = 200
_FILES = 10_000
_FILES_PER_APPLIANCE = 3.7
_ROUNDS = 3
_STARTS = 10


class Measured(TypedDict):
    """What `tests.bench.measure` writes."""

    phases: dict[str, float]
    memory: float
    lines: int
    last: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Generate the fleet, measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--scale", type=float, default=1.0, help=f"fraction of {_APPLIANCES} and of {_WEB_APPLIANCES} appliances"
    )
    parser.add_argument("--only", choices=["fleet", "files", "web", "start"], help="measure nothing else")
    told = parser.parse_args(arguments)
    if told.only in {None, "fleet"}:
        with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
            begin = time.perf_counter()
            size = make_fleet(Path(folder), max(1, round(_APPLIANCES * told.scale)), system_clock())
            _print(f"{size}\ngenerated in {time.perf_counter() - begin:.1f} s\n")
            _measure_fleet(Path(folder) / "desired-state")
    if told.only in {None, "files"}:
        _measure_files(max(1, round(_FILES * told.scale)))
    if told.only in {None, "web"}:
        _measure_web(max(1, round(_WEB_APPLIANCES * told.scale)))
    if told.only in {None, "start"}:
        _measure_start()


def _measure_fleet(root: Path) -> None:
    found: dict[str, list[Measured]] = {"floor": [], "plan": [], "validate": []}
    for _ in range(_ROUNDS):
        for what, measured in found.items():
            measured.append(_run(what, root))
    _print(f"seconds, {_ROUNDS} rounds   {'min':>8}{'median':>8}{'max':>8}")
    for what, measured in found.items():
        for phase in measured[0]["phases"]:
            _row(f"{what}, {phase}", [each["phases"][phase] for each in measured])
        _row(what, [_total(each) for each in measured])
        _row(f"{what}, peak MB", [each["memory"] for each in measured], digits=0)
    for what in ("plan", "validate"):
        pairs = zip(found[what], found["floor"], strict=True)
        _row(f"{what} / floor", [_total(each) / _total(floor) for each, floor in pairs])
    _print(f"\nplan: {found['plan'][0]['lines']} lines; {found['plan'][0]['last']}\n")


def _measure_files(files: int) -> None:
    """What the offline check of many files costs, and once more after one of them was touched: nothing is kept."""
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
        make_fleet(Path(folder), max(1, round(files / _FILES_PER_APPLIANCE)), system_clock(), stores=False)
        root = Path(folder) / "desired-state"
        written = sorted(root.rglob("*.yaml"))
        first, again, floor = [], [], []
        for each in written[:_ROUNDS]:
            floor.append(_run("parse", root))
            first.append(_run("validate", root))
            each.write_bytes(each.read_bytes() + b"# touched\n")
            again.append(_run("validate", root))
    _print(f"{len(written)} files of YAML\nseconds, {_ROUNDS} rounds   {'min':>8}{'median':>8}{'max':>8}")
    _row("validate files", [_total(each) for each in first])
    _row("files, one touched", [_total(each) for each in again])
    _row("validate files, peak MB", [each["memory"] for each in first], digits=0)
    _row("validate files / parse", [_total(one) / _total(other) for one, other in zip(first, floor, strict=True)])
    _print("")


def _measure_web(appliances: int) -> None:
    """What the dry run costs where everything is asked of pages, next to what waiting for them costs."""
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
        web.make_fleet(Path(folder), appliances, system_clock())
        found = web.measure(Path(folder), _ROUNDS)
    _print(
        f"{appliances} appliances behind their interface, {web.CERTIFICATES_EACH} certificates each, "
        f"{found[0].requests} requests, each reply {1000 * web.LATENCY:.0f} ms late, {web.CONCURRENCY} at once"
    )
    _print(f"seconds, {_ROUNDS} rounds   {'min':>8}{'median':>8}{'max':>8}")
    _row("plan by web", [each.seconds for each in found])
    _row("plan by web, processor", [each.processor for each in found])
    _row("plan by web, ideal", [each.ideal for each in found])
    _row("plan by web, peak MB", [each.memory for each in found], digits=0)
    _row("plan by web / ideal", [each.ratio for each in found])
    _print(f"\nplan: {found[0].last}\n")


def _measure_start() -> None:
    """What it costs to start the program at all, next to what it costs to start Python."""
    program, bare = [], []
    for _ in range(_STARTS):
        program.append(_time([str(Path(sys.executable).with_name("reconciler")), "--version"]))
        bare.append(_time([sys.executable, "-c", "pass"]))
    _print(f"milliseconds, {_STARTS} starts {'min':>7}{'median':>8}{'max':>8}")
    _row("reconciler --version", [1000 * each for each in program], digits=0)
    _row("python -c pass", [1000 * each for each in bare], digits=0)
    _row("ratio", [one / other for one, other in zip(program, bare, strict=True)])


def _run(what: str, root: Path) -> Measured:
    command = [sys.executable, "-m", "tests.bench.measure", what, str(root)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    measured: Measured = json.loads(done.stdout)
    return measured


def _time(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def _total(measured: Measured) -> float:
    return sum(measured["phases"].values())


def _row(title: str, values: list[float], digits: int = 2) -> None:
    figures = (min(values), statistics.median(values), max(values))
    _print(f"{title:22}" + "".join(f"{each:8.{digits}f}" for each in figures))


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
