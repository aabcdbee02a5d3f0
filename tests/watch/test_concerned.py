"""Which appliances belong together, and whom a newer desired state concerns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.base.findings import Finding, Kind, ObjectName, Severity
from reconciler.engine.load import load_desired
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.run import check_rules
from reconciler.engine.unattended import Unattended
from reconciler.rules import Stopped
from reconciler.rules.validity import EXPIRES_SOON
from reconciler.watch.concerned import alike, concerned, errors_of, together
from reconciler.watch.force import InForce, in_force, restated
from tests.watch.world import NOW, World, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.desired.state import DesiredState

SITE, LAB = frozenset({"east-1", "west-1"}), frozenset({"lab"})
EVERYBODY = SITE | LAB
REQUESTED = """\
subject: {country: US, organization: Example Company, common_name: Shared}
subject_alternative_names: [shared.example.com]
key: ec-p256
source: {kind: requested}
"""


@pytest.fixture
def fleet(tmp_path: Path) -> World:
    return World(tmp_path).make()


def loaded(fleet: World) -> DesiredState:
    return load_desired(fleet.root)


def share(fleet: World) -> None:
    """List a certificate of the site for lab as well."""
    fleet.edit("appliances/lab.yaml", "certificates: [lab]", "certificates: [lab, access]")


def test_members_of_a_site_belong_together(fleet: World) -> None:
    assert together(loaded(fleet)) == (SITE, LAB)


def test_who_shares_a_request_belongs_together(fleet: World) -> None:
    share(fleet)
    assert together(loaded(fleet)) == (SITE, LAB)  # what is provided comes to each site by itself
    fleet.write("certificates/access.yaml", REQUESTED)
    assert together(loaded(fleet)) == (EVERYBODY,)


def test_a_member_that_is_not_declared_belongs_to_nobody(fleet: World) -> None:
    (fleet.root / "appliances/west-1.yaml").unlink()
    assert together(loaded(fleet)) == (frozenset({"east-1"}), LAB)


EDITS: dict[str, tuple[Callable[[World], object], frozenset[str]]] = {
    "nothing": (lambda _: None, frozenset()),
    "a comment": (lambda each: each.edit("sites/access.yaml", "hostname:", "# this is it\nhostname:"), frozenset()),
    "the policy": (lambda each: each.write("fleet.yaml", "policy: {renew_before: 20d}\n"), EVERYBODY),
    "an appliance": (lambda each: each.edit("appliances/lab.yaml", "default: lab", "platform: virtual"), LAB),
    "one of a site": (lambda each: each.edit("appliances/west-1.yaml", "hostname: w", "hostname: v"), SITE),
    "a site": (lambda each: each.edit("sites/access.yaml", "48h", "24h"), SITE),
    "a certificate": (lambda each: each.edit("certificates/lab.yaml", "29d", "30d"), LAB),
    "material": (lambda each: each.provide(each.issue()), SITE),
    "a root of a build": (lambda each: (each.root / "certificates/roots/0-0.pem").write_text(""), SITE),
    "a key alone": (lambda each: (each.root / "certificates/access/key.pem").write_text("other"), SITE),
    "what is gone": (lambda each: (each.root / "certificates/access/leaf.pem").unlink(), SITE),
    "a broken certificate": (lambda each: each.edit("certificates/lab.yaml", "key:", "kay:"), LAB),
    "what nobody lists": (lambda each: each.write("certificates/spare.yaml", REQUESTED), frozenset()),
    "a certificate more": (share, LAB),
    "a site that is gone": (lambda each: (each.root / "sites/access.yaml").unlink(), SITE),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_change_concerns_whom_it_should(fleet: World, what: str) -> None:
    old = loaded(fleet)
    change, expected = EDITS[what]
    change(fleet)
    assert concerned(old, loaded(fleet)) == expected


@pytest.mark.parametrize("what", EDITS)
def test_two_states_say_the_same_where_only_the_wording_differs(fleet: World, what: str) -> None:
    old = loaded(fleet)
    EDITS[what][0](fleet)
    assert alike(old, loaded(fleet)) == (what in {"nothing", "a comment"})


def test_what_nothing_refers_to_says_nothing_but_that_it_is_there(fleet: World) -> None:
    bare = loaded(fleet)
    fleet.write("build.log", "one")
    before = loaded(fleet)
    fleet.write("build.log", "two")
    assert alike(before, loaded(fleet))
    assert not alike(bare, before)


def test_who_is_new_is_concerned_and_who_is_gone_is_not(fleet: World) -> None:
    old = loaded(fleet)
    (fleet.root / "appliances/lab.yaml").rename(fleet.root / "appliances/den.yaml")
    assert concerned(old, loaded(fleet)) == {"den"}


def test_a_new_member_concerns_its_whole_site(fleet: World) -> None:
    old = loaded(fleet)
    fleet.edit("sites/access.yaml", "topology: failover", "topology: atlas")
    fleet.edit("sites/access.yaml", "backup: west-1", "traffic_nodes: [west-1, lab]")
    assert concerned(old, loaded(fleet)) == EVERYBODY


def test_what_rules_say_of_an_appliance_may_change_with_what_is_declared_for_another(fleet: World) -> None:
    state = loaded(fleet)
    checked = check_rules(state, NOW, OperatorSettings())
    error = Finding("cn-unique", Severity.ERROR, "another has it", "choose another")
    well = InForce(state, checked, {}, together(state), Unattended())
    told = replace(well, errors={"lab": (error,)})
    stopped = replace(well, checked=replace(checked, stopped=Stopped(frozenset({"east-1"}))))
    assert restated(well, well) == frozenset()
    assert restated(well, told) == restated(told, well) == {"lab"}
    assert restated(told, replace(told, errors={"lab": (error, error)})) == {"lab"}
    assert restated(stopped, told) == {"lab", "east-1"}


def test_only_what_a_person_has_to_renew_is_due(fleet: World) -> None:
    state = loaded(fleet)
    told = tuple(
        Finding(EXPIRES_SOON.id, Severity.WARNING, "it ends soon", "renew it", about=ObjectName(Kind.CERTIFICATE, name))
        for name in ("access", "lab")
    )
    checked = replace(check_rules(state, NOW, OperatorSettings()), accepted=told)
    due = in_force(state, checked, Unattended()).due
    assert {name: len(those) for name, those in due.items()} == {"east-1": 1, "west-1": 1}


@pytest.mark.anyio
async def test_whom_rules_say_something_else_of_is_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.commit("c1")
    async with running(world):
        await world.rest()
        world.chapter()
        monkeypatch.setattr("reconciler.watch.loop.restated", lambda old, new: frozenset({"lab", "gone"}))  # noqa: ARG005
        world.edit("sites/access.yaml", "hostname:", "# other words\nhostname:")
        world.commit("c2")
        await world.rest()
        assert world.chapter()[0] == "0d00:00 looks: lab x1"


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        ("fleet.yaml", "policy: {}", "polecy: {}", EVERYBODY),
        ("appliances/lab.yaml", "hostname:", "hostnam:", LAB),
        ("sites/access.yaml", "topology: failover", "topology: single", SITE),
        ("certificates/lab.yaml", "lab.example.com", "other.example.com", LAB),
        ("certificates/access.yaml", "access/leaf.pem", "access/elsewhere.pem", SITE),
        ("sites/access.yaml", "hostname:", "hostnam:", frozenset()),  # who its members are is not known then
        ("fleet.yaml", "policy: {}", "policy: {}", frozenset()),
    ],
)
def test_errors_are_those_of_whom_they_concern(
    fleet: World, path: str, old: str, new: str, expected: frozenset[str]
) -> None:
    (fleet.root / "stray.yaml").write_text("{}\n")  # nobody's, and nobody has to wait for it
    fleet.edit(path, old, new)
    state = loaded(fleet)
    assert errors_of(state, check_rules(state, NOW, OperatorSettings()).accepted).keys() == expected
