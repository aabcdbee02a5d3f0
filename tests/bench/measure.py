"""One measurement in a process of its own: `python -m tests.bench.measure WHAT DESIRED_STATE` writes JSON to stdout.

What is measured begins before anything of the program is imported, so imports are a phase like any other. The floor is
what no way of doing it can avoid: every file read once, every YAML file parsed, every distinct certificate parsed, and
every key compared with its certificate.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_BEGIN = time.perf_counter()


class Phases:
    """How long each phase took, in seconds, one after another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = _BEGIN

    def end(self, name: str) -> None:
        """Everything since the last phase was this one."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


def measure_plan(root: Path, phases: Phases) -> str:
    """The dry run, as `reconciler plan` does it; returns its text."""
    import anyio  # noqa: PLC0415 - imports are measured

    from reconciler.base.clock import system_clock  # noqa: PLC0415
    from reconciler.base.memory import without_cycle_search  # noqa: PLC0415
    from reconciler.engine import run  # noqa: PLC0415
    from reconciler.engine.load import load_desired  # noqa: PLC0415
    from reconciler.engine.operator import OperatorSettings  # noqa: PLC0415
    from reconciler.report.page import Medium  # noqa: PLC0415
    from reconciler.report.plan_text import plan_text  # noqa: PLC0415
    from reconciler.report.view import plan_view  # noqa: PLC0415

    phases.end("import")
    state = load_desired(root)
    phases.end("load")
    engine = vars(run)
    observe, make = engine["observe_fleet"], engine["make_plan"]

    async def observing(*arguments: object, **options: object) -> object:
        found = await observe(*arguments, **options)
        phases.end("observe")
        return found

    def planning(*arguments: object, **options: object) -> object:
        phases.end("rules")
        made = make(*arguments, **options)
        phases.end("plan")
        return made

    engine.update(observe_fleet=observing, make_plan=planning)
    planned = anyio.run(run.plan_fleet, state, OperatorSettings(), system_clock)
    phases.end("rules")
    with without_cycle_search():
        text = plan_text(plan_view(planned.plan, planned.observation.stores, state.material, planned.classes), Medium())
    phases.end("render")
    return text


def measure_validate(root: Path, phases: Phases) -> str:
    """The offline check, as `reconciler validate` does it; returns its text."""
    from reconciler.base.clock import system_clock  # noqa: PLC0415 - imports are measured
    from reconciler.engine.load import find_all, load_desired  # noqa: PLC0415
    from reconciler.report.page import Medium  # noqa: PLC0415
    from reconciler.report.validation import findings_text  # noqa: PLC0415

    phases.end("import")
    state = load_desired(root)
    phases.end("load")
    findings = find_all(state, system_clock())
    phases.end("rules")
    text = findings_text(findings, state.root, Medium())
    phases.end("render")
    return text


def measure_parse(root: Path, phases: Phases) -> str:
    """Every file read once, every YAML file parsed, every distinct certificate parsed."""
    from reconciler.desired.compose import compose  # noqa: PLC0415 - imports are measured
    from reconciler.pki.certificate import parse_certificate  # noqa: PLC0415
    from reconciler.pki.pem import blocks  # noqa: PLC0415

    phases.end("import")
    contents = {each: each.read_bytes() for each in _files(root)}
    for content in (content for each, content in contents.items() if each.suffix == ".yaml"):
        assert compose(content).root is not None
    found = (block for each, content in contents.items() if each.suffix == ".pem" for block in blocks(content))
    for der in {each.decode() for each in found if each.label == "CERTIFICATE"}:
        parse_certificate(der)
    phases.end("load")
    return ""


def measure_floor(root: Path, phases: Phases) -> str:
    """What cannot be avoided."""
    from reconciler.desired.compose import compose  # noqa: PLC0415 - imports are measured
    from reconciler.live.directory.servable import load_key  # noqa: PLC0415
    from reconciler.pki.certificate import parse_certificate, public_key_identity  # noqa: PLC0415
    from reconciler.pki.pem import blocks  # noqa: PLC0415

    phases.end("import")
    contents = [each.read_bytes() for each in _files(root) if each.suffix == ".yaml"]
    for content in contents:
        assert compose(content).root is not None
    phases.end("load")
    for file in _files(root.parent / "stores"):
        content = file.read_bytes()
        if file.suffix != ".pem":
            continue
        found = list(blocks(content))
        leaf, *_ = [parse_certificate(each.decode()) for each in found if each.label == "CERTIFICATE"]
        start = content.find(b"-----BEGIN PRIVATE KEY-----")
        if start >= 0:
            assert public_key_identity(load_key(content[start:]).public_key()) == leaf.public_key
    phases.end("observe")
    return ""


def _files(folder: Path) -> list[Path]:
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return [each for each in paths if not each.is_symlink()]


MEASUREMENTS: dict[str, Callable[[Path, Phases], str]] = {
    "plan": measure_plan,
    "validate": measure_validate,
    "parse": measure_parse,
    "floor": measure_floor,
}


def main() -> None:
    """Measure what the first word names."""
    what, root = sys.argv[1:]
    phases = Phases()
    text = MEASUREMENTS[what](Path(root), phases)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    last = text.rstrip().rpartition("\n")[2]
    json.dump({"phases": phases.seconds, "memory": memory, "lines": text.count("\n"), "last": last}, sys.stdout)


if __name__ == "__main__":
    main()
