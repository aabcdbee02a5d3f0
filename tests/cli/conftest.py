from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.fleet import PASSPHRASE, VARIABLE, Fleet, make_fleet

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "RECONCILER_OPERATOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(VARIABLE, PASSPHRASE)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return make_fleet(tmp_path)
