from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.lab.sessions import Account, Sessions

if TYPE_CHECKING:
    from tests.lab.browser import Clock

ACCOUNT = Account("admin", "right")


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(ACCOUNT, clock)


def test_an_account_does_not_show_its_password() -> None:
    assert "right" not in repr(ACCOUNT)


def test_only_name_and_password_together_sign_in(sessions: Sessions) -> None:
    assert sessions.sign_in("admin", "wrong") is None
    assert sessions.sign_in("root", "right") is None
    assert sessions.sign_in("admin", "right") is not None


def test_five_wrong_passwords_in_a_row_lock_the_account_for_ten_minutes(sessions: Sessions, clock: Clock) -> None:
    for _ in range(5):
        assert not sessions.is_locked
        sessions.sign_in("admin", "wrong")
    assert sessions.is_locked
    clock.advance(minutes=9, seconds=59)
    assert sessions.sign_in("admin", "right") is None
    clock.advance(seconds=1)
    assert sessions.sign_in("admin", "right") is not None


def test_a_right_password_starts_the_count_again(sessions: Sessions) -> None:
    for _ in range(3):
        for _ in range(4):
            sessions.sign_in("admin", "wrong")
        assert sessions.sign_in("admin", "right") is not None


def test_a_session_ends_when_it_is_idle_and_not_while_it_is_used(sessions: Sessions, clock: Clock) -> None:
    session = sessions.sign_in("admin", "right")
    assert session is not None
    for _ in range(3):
        clock.advance(minutes=30)
        assert sessions.find(session.key) is session
    clock.advance(minutes=30, seconds=1)
    assert sessions.find(session.key) is None
    assert len(sessions) == 0


def test_signing_out_ends_one_session_and_dropping_ends_all(sessions: Sessions) -> None:
    first, second = (sessions.sign_in("admin", "right") for _ in range(2))
    assert first is not None
    assert second is not None
    sessions.sign_out(first)
    assert sessions.find(first.key) is None
    assert sessions.find(second.key) is second
    sessions.drop()
    assert sessions.find(second.key) is None


def test_a_form_counts_only_in_the_session_that_it_was_handed_out_in(sessions: Sessions) -> None:
    first, second = (sessions.sign_in("admin", "right") for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.is_genuine(first.token)
    assert not first.is_genuine(second.token)
    assert not first.is_genuine(None)
    assert not first.is_genuine("é")
