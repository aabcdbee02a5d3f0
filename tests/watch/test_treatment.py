"""What the operator settings let the loop do with an appliance."""

from __future__ import annotations

import pytest

from reconciler.engine.unattended import Suspension, Treatment, Unattended
from tests.support.authority import DAY, NOW

LONG, SHORT = Suspension(reason="long", until=NOW + 2 * DAY), Suspension(reason="short", until=NOW + DAY)


def test_unless_told_the_loop_only_tells_what_it_would_do() -> None:
    assert Unattended().mode_of("lab", None) == "plan"


@pytest.mark.parametrize(
    ("own", "shared", "mode"),
    [
        (None, None, "observe"),
        (None, Treatment(mode="apply"), "apply"),
        (Treatment(mode="plan"), Treatment(mode="apply"), "plan"),
        (Treatment(suspended=LONG), Treatment(mode="apply"), "apply"),
        (Treatment(suspended=LONG), None, "observe"),
    ],
)
def test_an_appliance_goes_before_its_site(own: Treatment | None, shared: Treatment | None, mode: str) -> None:
    unattended = Unattended(mode="observe", sites={"s": shared} if shared else {}, appliances={"a": own} if own else {})
    assert unattended.mode_of("a", "s") == mode
    assert unattended.mode_of("b", None) == "observe"


def test_a_pause_ends_and_its_sites_may_go_on() -> None:
    unattended = Unattended(
        sites={"s": Treatment(suspended=LONG)},
        appliances={"a": Treatment(suspended=SHORT), "b": Treatment(mode="plan")},
    )
    assert unattended.suspension_of("a", "s", NOW) == SHORT
    assert unattended.suspension_of("a", "s", NOW + DAY) == LONG
    assert unattended.suspension_of("a", "s", NOW + 2 * DAY) is None
    assert unattended.suspension_of("b", "s", NOW) == LONG
    assert unattended.suspension_of("b", None, NOW) is None
