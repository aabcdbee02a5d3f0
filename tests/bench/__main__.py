"""`make bench`: how long the program takes over a large fleet, as ratios to what cannot be avoided; and what it costs.

Everything is measured in fresh processes of one run, turn by turn, so that a busy machine burdens both sides of a ratio
alike. Absolute times are of this machine at this hour; only ratios are worth comparing, and whether limits are kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from reconciler.base.clock import system_clock
from tests.bench import idle, latency, web
from tests.bench.fleet import make_fleet
from tests.bench.growth import Grown
from tests.bench.table import figure, head, row, say

if TYPE_CHECKING:
    from collections.abc import Sequence

_APPLIANCES = 1000
_WEB_APPLIANCES = 200
_FILES = 10_000
_FILES_PER_APPLIANCE = 3.7
_ROUNDS = 3
_STARTS = 10
_IDLE = 600.0
"""Seconds for which the loop is left alone."""
_AT_REST = 1.0
"""Per cent of one core that it may take between two resyncs."""
_TURNS = 10_000
_GROWTH = 5.0
"""Per cent by which the memory of the loop may grow from a tenth of these turns to all of them."""
_EDITED_APPLIANCES = 10
_EDITS = 50


class Measured(TypedDict):
    """What `tests.bench.measure` writes."""

    phases: dict[str, float]
    memory: float
    lines: int
    last: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one thing after the other, and print a table of each."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="fraction of appliances, files, minutes, turns and edits"
    )
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=list(_PARTS), help="measure nothing else")
    told = parser.parse_args(arguments)
    for name, measure in _PARTS.items():
        if name in told.only:
            measure(told.scale)


def _scaled(number: int, scale: float) -> int:
    return max(1, round(number * scale))


def _measure_fleet(scale: float) -> None:
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
        begin = time.perf_counter()
        size = make_fleet(Path(folder), _scaled(_APPLIANCES, scale), system_clock())
        say(f"{size}\ngenerated in {time.perf_counter() - begin:.1f} s\n")
        _measure_rounds(Path(folder) / "desired-state")


def _measure_rounds(root: Path) -> None:
    found: dict[str, list[Measured]] = {"floor": [], "plan": [], "validate": []}
    for _ in range(_ROUNDS):
        for what, measured in found.items():
            measured.append(_run(what, root))
    head(f"seconds, {_ROUNDS} rounds")
    for what, measured in found.items():
        for phase in measured[0]["phases"]:
            row(f"{what}, {phase}", [each["phases"][phase] for each in measured])
        row(what, [_total(each) for each in measured])
        row(f"{what}, peak MB", [each["memory"] for each in measured], digits=0)
    for what in ("plan", "validate"):
        pairs = zip(found[what], found["floor"], strict=True)
        row(f"{what} / floor", [_total(each) / _total(floor) for each, floor in pairs])
    say(f"\nplan: {found['plan'][0]['lines']} lines; {found['plan'][0]['last']}\n")


def _measure_files(scale: float) -> None:
    """What the offline check of many files costs, and once more after one of them was touched: nothing is kept."""
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
        make_fleet(Path(folder), _scaled(_FILES, scale / _FILES_PER_APPLIANCE), system_clock(), stores=False)
        root = Path(folder) / "desired-state"
        written = sorted(root.rglob("*.yaml"))
        first, again, floor = [], [], []
        for each in written[:_ROUNDS]:
            floor.append(_run("parse", root))
            first.append(_run("validate", root))
            each.write_bytes(each.read_bytes() + b"# touched\n")
            again.append(_run("validate", root))
    say(f"{len(written)} files of YAML")
    head(f"seconds, {_ROUNDS} rounds")
    row("validate files", [_total(each) for each in first])
    row("files, one touched", [_total(each) for each in again])
    row("validate files, peak MB", [each["memory"] for each in first], digits=0)
    row("validate files / parse", [_total(one) / _total(other) for one, other in zip(first, floor, strict=True)])
    say("")


def _measure_web(scale: float) -> None:
    """What the dry run costs where everything is asked of pages, next to what waiting for them costs."""
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
        appliances = _scaled(_WEB_APPLIANCES, scale)
        web.make_fleet(Path(folder), appliances, system_clock())
        found = web.measure(Path(folder), _ROUNDS)
    say(
        f"{appliances} appliances behind their interface, {web.CERTIFICATES_EACH} certificates each, "
        f"{found[0].requests} requests, each reply {1000 * web.LATENCY:.0f} ms late, {web.CONCURRENCY} at once"
    )
    head(f"seconds, {_ROUNDS} rounds")
    row("plan by web", [each.seconds for each in found])
    row("plan by web, processor", [each.processor for each in found])
    row("plan by web, ideal", [each.ideal for each in found])
    row("plan by web, peak MB", [each.memory for each in found], digits=0)
    row("plan by web / ideal", [each.ratio for each in found])
    say(f"\nplan: {found[0].last}\n")


def _measure_start(scale: float) -> None:
    """What it costs to start the program at all, next to what it costs to start Python."""
    del scale
    program, bare = [], []
    for _ in range(_STARTS):
        program.append(_time([str(Path(sys.executable).with_name("reconciler")), "--version"]))
        bare.append(_time([sys.executable, "-c", "pass"]))
    head(f"milliseconds, {_STARTS} starts")
    row("reconciler --version", [1000 * each for each in program], digits=0)
    row("python -c pass", [1000 * each for each in bare], digits=0)
    row("ratio", [one / other for one, other in zip(program, bare, strict=True)])


def _measure_idle(scale: float) -> None:
    """What the loop costs while nothing happens."""
    seconds = _IDLE * scale
    found = idle.measure(_scaled(_APPLIANCES, scale), seconds)
    say(
        f"a loop over {found.appliances} appliances behind their interface, {web.CERTIFICATES_EACH} certificates each, "
        "while a screen and a Prometheus look at it"
    )
    figure("first look, seconds", found.first.seconds)
    figure("first look, processor s", found.first.processor)
    figure("first look, requests", found.first.requests, digits=0)
    figure("unwatched, % of a core", found.alone.load)
    head(f"{seconds / 60:g} minutes, in {idle.PARTS} parts")
    for name, parts in (("rest", found.rest), ("resync", found.resync)):
        if parts:
            row(f"{name}, % of a core", [each.load for each in parts])
            row(f"{name}, requests a minute", [each.requests_a_minute for each in parts], digits=0)
    row("resident MB", [each.resident for each in found.parts], digits=0)
    row("status page, processor ms", found.page)
    row("/metrics, processor ms", found.scrape)
    whole = idle.together(found.parts)
    figure("all, processor s a minute", whole.processor_a_minute)
    figure("all, % of a core", whole.load)
    figure("all, requests a minute", whole.requests_a_minute, digits=0)
    figure("peak MB", found.peak, digits=0)
    if found.rest:
        figure("at rest, % of a core", idle.together(found.rest).load, limit=_AT_REST)
    say("")


def _measure_growth(scale: float) -> None:
    """Whether the loop grows while it runs."""
    turns = _scaled(_TURNS, scale)
    command = [sys.executable, "-m", "tests.bench.growth", str(turns)]
    found = Grown(**json.loads(_output_of(command)))
    early, late = found.turns
    say(
        f"the loop's first {late} turns, {found.days:.1f} days by a turned clock: {found.applies['applied']} applies, "
        f"{found.unreachable} looks at an appliance that was away"
    )
    figure(f"resident MB, turn {early}", found.memory[0], digits=1)
    figure(f"resident MB, turn {late}", found.memory[1], digits=1)
    figure("growth, %", found.growth, limit=_GROWTH)
    say("")


def _measure_latency(scale: float) -> None:
    """How long it takes from saving a file until it is applied."""
    appliances = _scaled(_EDITED_APPLIANCES, scale)
    found = latency.measure(appliances, edits=_scaled(_EDITS, scale), applies=_scaled(_STARTS, scale))
    say(f"a loop over {appliances} appliances behind their interface, the file of one of which is edited")
    head(f"seconds, {len(found.watch)} edits")
    row("saved to applied", found.watch)
    row("its processor time", found.processor)
    row("the same by apply", found.apply)
    figure("saved to applied / apply", found.ratio)
    say("")


def _run(what: str, root: Path) -> Measured:
    measured: Measured = json.loads(_output_of([sys.executable, "-m", "tests.bench.measure", what, str(root)]))
    return measured


def _output_of(command: list[str]) -> bytes:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]).stdout


def _time(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def _total(measured: Measured) -> float:
    return sum(measured["phases"].values())


_PARTS = {
    "fleet": _measure_fleet,
    "files": _measure_files,
    "web": _measure_web,
    "start": _measure_start,
    "idle": _measure_idle,
    "growth": _measure_growth,
    "latency": _measure_latency,
}


if __name__ == "__main__":
    main()
