"""What all tests share: journals go where nobody else's are, and the long proofs say how many cases they have tried."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="session")
def _journals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the journals of every apply, in whatever process, out of the home of whoever runs the tests."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many cases were tried, by proof, and what caught what was seeded.

    A test says so with `record_property("cases", number)` and `record_property("caught", sentence)`.
    """
    counts: dict[str, int] = {}
    for report in terminalreporter.getreports("passed"):
        proof = report.nodeid.partition("[")[0]
        for name, value in report.user_properties:
            if name == "cases" and report.when == "call":
                counts[proof] = counts.get(proof, 0) + int(str(value))
            if name == "caught" and report.when == "call":
                terminalreporter.write_line(str(value))
    for proof, count in counts.items():
        terminalreporter.write_line(f"{proof}: {count} cases")
