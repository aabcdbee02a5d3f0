from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.bench import table
from tests.bench.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Iterable


def assert_told(out: str, titles: Iterable[str], figures: int) -> None:
    for title in titles:
        assert re.search(rf"^{title}(?: +-?[0-9.]+){{{figures}}}(?:   limit .*)?$", out, re.MULTILINE), title


@pytest.mark.prove
def test_the_measurements_run_and_print_their_figures(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--only", "fleet", "files", "web", "start", "--scale", "0.02"])
    out = capsys.readouterr().out
    assert "20 appliances at 5 sites, 20 certificates each, 3 appliances with changes" in out
    titles = (
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
    )
    assert_told(out, titles, figures=3)
    assert "Plan: 2 to import, 2 defaults to set; " in out
    assert re.search(r"^4 appliances behind their interface, 5 certificates each, \d{2,} requests, ", out, re.MULTILINE)
    assert "plan: No changes" in out


def test_an_idle_loop_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--only", "idle", "--scale", "0.002"])
    out = capsys.readouterr().out
    assert (
        "a loop over 2 appliances behind their interface, 5 certificates each, while a screen and a Prometheus" in out
    )
    once = (
        "first look, seconds",
        "first look, processor s",
        "first look, requests",
        "unwatched, % of a core",
        "all, processor s a minute",
        "all, % of a core",
        "all, requests a minute",
        "peak MB",
        "at rest, % of a core",
    )
    assert_told(out, once, figures=1)
    often = (
        "rest, % of a core",
        "rest, requests a minute",
        "resident MB",
        "status page, processor ms",
        "/metrics, processor ms",
    )
    assert_told(out, often, figures=3)
    assert re.search(r"^first look, requests +[1-9]", out, re.MULTILINE)
    assert re.search(r"^all, requests a minute +0$", out, re.MULTILINE)


def test_the_growth_of_the_loop_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--only", "growth", "--scale", "0.004"])
    out = capsys.readouterr().out
    assert re.search(r"^the loop's first 40 turns, 0\.\d days by a turned clock: [1-9]\d* applies, ", out)
    assert_told(out, ("resident MB, turn 4", "resident MB, turn 40", "growth, %"), figures=1)
    assert "limit 5: " in out


def test_the_time_from_an_edit_to_its_effect_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--only", "latency", "--scale", "0.02"])
    out = capsys.readouterr().out
    assert "seconds, 1 edits" in out
    assert_told(out, ("saved to applied", "its processor time", "the same by apply"), figures=3)
    assert_told(out, ("saved to applied / apply",), figures=1)


@pytest.mark.parametrize(("value", "told"), [(4.99, "kept"), (5.01, "EXCEEDED")])
def test_it_is_said_whether_a_limit_is_kept(capsys: pytest.CaptureFixture[str], value: float, told: str) -> None:
    table.figure("growth, %", value, limit=5.0)
    assert capsys.readouterr().out.rstrip().endswith(f"{value:.2f}   limit 5: {told}")
