from __future__ import annotations

import datetime as dt

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.base.clock import system_clock
from reconciler.watch.schedule import LAST_RETRY, RealTimer, next_instant, resync_at, retry_at
from tests.support.authority import NOW

MINUTE = dt.timedelta(minutes=1)
SECOND = dt.timedelta(seconds=1)
chances = st.floats(0, 1)


@pytest.mark.parametrize(
    ("failures", "soonest", "latest"),
    [(1, 0.5, 1), (2, 1, 2), (3, 2, 4), (4, 4, 8), (5, 7.5, 15), (6, 7.5, 15), (10_000, 7.5, 15)],
)
def test_retries_come_ever_later_up_to_a_quarter_of_an_hour(failures: int, soonest: float, latest: float) -> None:
    assert retry_at(NOW, failures, lambda: 0.0) == NOW + soonest * MINUTE
    assert retry_at(NOW, failures, lambda: 1.0) == NOW + latest * MINUTE


@given(st.integers(1, 50), chances, st.integers(0, 86_400))
def test_retries_fall_on_quarters_of_a_minute(failures: int, chance: float, seconds: int) -> None:
    now = NOW + seconds * SECOND
    at = retry_at(now, failures, lambda: chance)
    assert at.second % 15 == at.microsecond == 0
    assert 30 * SECOND <= at - now < LAST_RETRY + 15 * SECOND


@given(chances, st.integers(1, 100_000))
def test_a_resync_comes_up_to_a_tenth_sooner(chance: float, minutes: int) -> None:
    after = resync_at(NOW, minutes * MINUTE, lambda: chance) - NOW
    assert 0.9 * minutes * MINUTE - SECOND <= after <= minutes * MINUTE
    assert after.microseconds == 0


def test_the_next_instant_is_the_first_to_come() -> None:
    assert next_instant(NOW, [NOW + 2 * MINUTE, NOW, NOW - MINUTE, NOW + MINUTE]) == NOW + MINUTE
    assert next_instant(NOW, [NOW]) is None


@pytest.mark.anyio
async def test_one_waits_for_an_instant_and_may_be_woken() -> None:
    timer, woken = RealTimer(system_clock), anyio.Event()
    await timer.sleep_until(system_clock() - MINUTE, woken)
    with anyio.fail_after(5):
        await timer.sleep_until(system_clock() + SECOND, woken)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(timer.sleep_until, system_clock() + 60 * MINUTE, woken)
            woken.set()


@pytest.mark.anyio
async def test_the_clock_is_asked_every_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.watch.schedule.LONGEST_SLEEP", SECOND / 100)
    with anyio.fail_after(5):
        await RealTimer(system_clock).sleep_until(system_clock() + 60 * MINUTE, anyio.Event())
