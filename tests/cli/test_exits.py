from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.exits import Exit, worst
from reconciler.cli.help import MEANINGS

PRECEDENCE = [1, 5, 4, 3, 2, 6, 0]


@given(st.lists(st.sampled_from(Exit)))
def test_where_several_hold_the_worst_is_told(exits: list[Exit]) -> None:
    held = [code for code in PRECEDENCE if code in {int(each) for each in exits}]
    assert worst(*exits) == (held[0] if held else 0)


def test_every_exit_code_has_a_meaning_for_people() -> None:
    assert set(MEANINGS) == set(Exit)
    assert sorted(Exit) == list(range(7))
