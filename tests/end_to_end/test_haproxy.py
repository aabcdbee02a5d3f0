"""A real HAProxy serves what the reconciler writes: after an apply, and after every single action on the way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.base.clock import system_clock
from reconciler.engine.operator import OperatorSettings
from reconciler.lab.example import disturb
from reconciler.live.driver import Upload
from reconciler.pki.selection import may_serve
from reconciler.plan.model import CreateSelfSigned, Import, Plan, Remove, SetDefault
from reconciler.report.results import Applied
from tests.end_to_end.committed import PAIR, Committed
from tests.end_to_end.example import APPLIANCES, Example, bound, reconciler
from tests.end_to_end.handshakes import problem, problem_without_name, visiting
from tests.support.authority import DAY, Authority, self_signed
from tests.support.haproxy import HAProxy, check, serving
from tests.support.tls import served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from reconciler.engine.run import Planned
    from reconciler.live.driver import Driver
    from reconciler.live.store import LiveStore

UNDECLARED_NAMES = ("anything.atlas.example.com", "unknown.example.net", "two.labels.atlas.example.com")


def allowed(store: LiveStore, name: str | None) -> set[str]:
    """What a front end may serve from a store as it is."""
    default = store.by_fingerprint.get(store.default or "")
    return {each.fingerprint for each in may_serve(store.certificates, default, name, store.rule)}


def foretold(plan: Plan, appliance: str, made: Mapping[str, str]) -> dict[str | None, set[str]]:
    """The served-names table of an appliance: what may be served for each name after the plan."""
    part = next(each for each in plan.appliances if each.name == appliance)
    return {row.name: {made.get(each.certificate, each.certificate) for each in row.after} for row in part.serving}


def test_what_is_served_after_the_apply_was_foretold_by_the_plan(example: Example) -> None:
    before = example.observe()
    planned = reconciler("plan", example.root, "--format", "json")
    plan = Plan.model_validate_json(planned.stdout)
    ran = reconciler("apply", example.root, "--yes", "--format", "json")
    assert (planned.returncode, ran.returncode) == (0, 0), ran.stderr
    assert Applied.model_validate_json(ran.stdout).plan.digest == plan.digest
    after = example.observe()
    made = bound(plan, before, after)
    assert len(made) == 1
    asked = 0
    with serving(example.directories) as haproxy:
        for appliance, port in haproxy.ports.items():
            table = foretold(plan, appliance, made)
            assert None in table
            assert len(table) >= 2
            for name, candidates in table.items():
                assert served(port, name) in candidates, (appliance, name)
                assert candidates == allowed(after[appliance], name), (appliance, name)
                asked += 1
            for name in UNDECLARED_NAMES:
                assert served(port, name) in allowed(after[appliance], name), (appliance, name)
    assert asked == 2 * 3 + 4 * 4 + 2
    again = reconciler("plan", example.root)
    assert again.stdout.splitlines()[-1] == "No changes."


def test_every_name_of_the_example_is_well_served_in_the_end(example: Example) -> None:
    assert reconciler("apply", example.root, "--yes").returncode == 0
    root = example.root / "certificates/root.pem"
    with serving(example.directories) as haproxy:
        for appliance, part in zip(APPLIANCES, example.plan().plan.appliances, strict=True):
            port = haproxy.ports[appliance]
            if part.site == "trial":
                continue
            for row in part.serving:
                assert row.name is None or not problem(port, row.name, root)
            hostname = "access.example.com" if part.site == "access" else "remote.atlas.example.com"
            assert not problem_without_name(port, hostname, root)
            assert problem(port, "unknown.example.net", root)


def as_found(example: Example) -> None:
    """The stores as they are found: what comes is everything, with removals and a retirement."""


def drifted(example: Example) -> None:
    """Somebody changed a store by hand."""
    assert reconciler("apply", example.root, "--yes").returncode == 0
    anyio.run(disturb, example.root, system_clock)


def with_strays(example: Example) -> None:
    """A store that is to hold only what is declared, and holds more."""
    assert reconciler("apply", example.root, "--yes").returncode == 0
    example.append("appliances/node-1.yaml", "undeclared: remove\n")
    now = system_clock()
    for common_name in ("Stray", "Another stray"):
        stray = self_signed([f"{common_name.split()[0]}.example.org"], common_name=common_name, not_before=now - DAY)
        example.change("node-1", import_of(stray.pkcs12(b"by hand"), b"by hand"))
    root = Authority.root("Nobody's root", not_before=now - DAY)
    example.change("node-1", import_of(root.certificate.der))
    rows = example.observe()["node-1"].certificates
    stray_default = next(each.fingerprint for each in rows if each.common_name == "Stray")
    example.change("node-1", lambda driver: driver.set_default(stray_default))


def renewed(example: Example) -> None:
    """A certificate has a successor that is a week old, so the old one may go at once."""
    committed = Committed(example.root / "certificates")
    committed.everything()
    assert reconciler("apply", example.root, "--yes").returncode == 0
    committed.access(started=system_clock() - 8 * DAY)


def import_of(content: bytes, passphrase: bytes | None = None) -> Callable[[Driver], Awaitable[None]]:
    return lambda driver: driver.import_(Upload(content, passphrase))


@dataclass
class Watch:
    """Looks at a running HAProxy after every call that may have changed a store.

    Attributes:
        example: The fleet.
        haproxy: What serves it; it is reloaded by the operator's command.
        planned: What is carried out.
        well: Names that have been well served at some time, by appliance.
        calls: What was called.
        changes: How often what is served for a name was another certificate than the time before.
    """

    example: Example
    haproxy: HAProxy
    planned: Planned
    well: set[tuple[str, str]] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    changes: int = 0
    _last: dict[tuple[str, str | None], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for appliance in APPLIANCES:
            self.look(appliance)
        self.changes = 0

    def after(self, appliance: str, call: str) -> None:
        """HAProxy has reloaded, serves what the store says by now, and would start; no name has lost what is good.

        A reload that HAProxy refuses fails the action. What no front end loads is not reloaded for, hence the start.
        """
        self.calls.append(call)
        self.look(appliance)
        assert not check(self.example.directory(appliance)), (appliance, call)

    def look(self, appliance: str) -> None:
        """Ask for every name of an appliance."""
        store = self.example.observe_one(self.planned.state, appliance)
        assert not store.unfinished
        part = next(each for each in self.planned.plan.appliances if each.name == appliance)
        names = [row.name for row in part.serving]
        port = self.haproxy.ports[appliance]
        for name in (*names, *UNDECLARED_NAMES):
            shown = served(port, name)
            assert shown in allowed(store, name), (appliance, name, self.calls)
            self.changes += self._last.get((appliance, name)) != shown
            self._last[appliance, name] = shown
        root = self.example.root / "certificates/root.pem"
        good = {(appliance, name) for name in names if name and not problem(port, name, root)}
        lost = {each for each in self.well if each[0] == appliance} - good
        assert not lost, (lost, self.calls)
        self.well |= good


def carry_out(example: Example, haproxy: HAProxy) -> tuple[Planned, Watch]:
    """Plan and apply under observation, with the reload command that an operator would set."""
    operated = replace(example, settings=OperatorSettings(reload=dict.fromkeys(APPLIANCES, haproxy.reload_command)))
    planned = operated.plan()
    watch = Watch(operated, haproxy, planned)
    operated.apply(planned, watch.after)
    return planned, watch


@pytest.mark.parametrize(
    ("prepare", "kinds"),
    [
        (as_found, {"import": 18, "create_self_signed": 1, "set_default": 7, "remove": 3}),
        (drifted, {"import": 1, "set_default": 1}),
        (with_strays, {"set_default": 1, "remove": 3}),
    ],
)
def test_haproxy_starts_and_reloads_after_each_single_action(
    example: Example, prepare: Callable[[Example], None], kinds: dict[str, int]
) -> None:
    prepare(example)
    with serving(example.directories) as haproxy:
        planned, watch = carry_out(example, haproxy)
    actions = planned.plan.actions
    assert {kind: sum(each.kind == kind for each in actions) for kind in {each.kind for each in actions}} == kinds
    done = [call for call in watch.calls if call != "recover"]
    assert {kind: done.count(kind) for kind in set(done)} == kinds
    assert watch.changes > 0
    assert not example.plan().plan.summary.ready


def test_no_visitor_of_a_well_served_name_notices_a_renewal(example: Example) -> None:
    renewed(example)
    root = example.root / "certificates/root.pem"
    with serving(example.directories) as haproxy:
        names = [(haproxy.ports[each], name) for each in ("east-1", "west-1") for name in PAIR]
        with visiting(names, root) as visits:
            planned, watch = carry_out(example, haproxy)
    assert [type(each) for each in planned.plan.actions] == [Import, SetDefault, Remove] * 2
    assert not any(isinstance(each, CreateSelfSigned) for each in planned.plan.actions)
    assert {("east-1", "access.example.com"), ("west-1", "access.example.com")} <= watch.well
    assert watch.changes > 0
    assert visits.count > 50
    assert not visits.problems


def test_a_visitor_notices_a_certificate_that_is_not_good(example: Example) -> None:
    assert reconciler("apply", example.root, "--yes").returncode == 0
    root = example.root / "certificates/root.pem"
    with serving(example.directories) as haproxy:
        names = [(haproxy.ports["west-1"], "access.example.com")]
        anyio.run(disturb, example.root, system_clock)
        with visiting(names, root) as visits:
            haproxy.reload()
    assert "certificate verify failed" in visits.problems[-1]
