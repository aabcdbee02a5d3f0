"""What all tests share: the long proofs say how many cases they have tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many cases were tried, by proof; a test says so with `record_property("cases", number)`."""
    counts: dict[str, int] = {}
    for report in terminalreporter.getreports("passed"):
        proof = report.nodeid.partition("[")[0]
        for name, value in report.user_properties:
            if name == "cases" and report.when == "call":
                counts[proof] = counts.get(proof, 0) + int(str(value))
    for proof, count in counts.items():
        terminalreporter.write_line(f"{proof}: {count} cases")
