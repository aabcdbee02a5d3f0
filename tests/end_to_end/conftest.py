from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.base.clock import system_clock
from reconciler.lab.example import PASSPHRASE, VARIABLE, make_example
from tests.end_to_end.example import Example

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "RECONCILER_OPERATOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(VARIABLE, PASSPHRASE.decode())


@pytest.fixture
def example(tmp_path: Path) -> Example:
    """The example fleet as the demo begins with it."""
    return Example(anyio.run(make_example, tmp_path, system_clock))
