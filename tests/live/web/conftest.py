from __future__ import annotations

import pytest

from reconciler.lab.sessions import Account
from tests.live.web.interface import PASSWORD, USERNAME

ACCOUNT = Account("admin", "simulated")


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USERNAME, ACCOUNT.username)
    monkeypatch.setenv(PASSWORD, ACCOUNT.password)
