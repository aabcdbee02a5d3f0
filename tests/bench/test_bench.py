from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.bench.__main__ import main

if TYPE_CHECKING:
    import pytest


def test_the_measurements_run_and_print_their_figures(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--scale", "0.02"])
    out = capsys.readouterr().out
    assert "20 appliances at 5 sites, 20 certificates each, 3 appliances with changes" in out
    for title in (
        "plan / floor",
        "validate / floor",
        "plan, observe",
        "plan, peak MB",
        "validate files",
        "files, one touched",
        "validate files / parse",
        "plan by web",
        "plan by web, peak MB",
        "plan by web / ideal",
        "reconciler --version",
        "ratio",
    ):
        assert re.search(rf"^{title}(?: +[0-9.]+){{3}}$", out, re.MULTILINE), title
    assert "Plan: 2 to import, 2 defaults to set; " in out
    assert re.search(r"^4 appliances behind their interface, 5 certificates each, \d{2,} requests, ", out, re.MULTILINE)
    assert "plan: No changes" in out
