from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reconciler import __version__
from reconciler.base.text import printable
from reconciler.watch.board import Board, Figures
from reconciler.watch.metrics import exposition
from reconciler.watch.model import Health, Source, Sync
from tests.watch import sample
from tests.watch.sample import DAY, HOSTILE, NOW

if TYPE_CHECKING:
    import datetime as dt

    from prometheus_client.metrics_core import Metric

README = Path(__file__).parents[2] / "README.md"
EXPIRATION = "reconciler_certificate_expiration_timestamp_seconds"
RENEWAL = "reconciler_certificate_renewal_timestamp_seconds"
FIGURES = Figures(
    turns=3,
    looks={"observed": 5, "unreachable": 1},
    applies={"applied": 2},
    errors=1,
    durations={1.0: 1, 2.5: 3, math.inf: 3},
    total_seconds=4.5,
    last_success=NOW - DAY,
)


def families(board: Board) -> list[Metric]:
    return [*text_string_to_metric_families(exposition(board).decode())]


def series(board: Board) -> dict[tuple[str, ...], float]:
    """Every value by name and label values, the labels by their names; none may be there twice."""
    found: dict[tuple[str, ...], float] = {}
    for family in families(board):
        for each in family.samples:
            key = (each.name, *(f"{name}={value}" for name, value in sorted(each.labels.items())))
            assert key not in found
            found[key] = each.value
    return found


def of(name: str, board: Board) -> dict[tuple[str, ...], float]:
    return {key[1:]: value for key, value in series(board).items() if key[0] == name}


def seconds(at: dt.datetime) -> float:
    return at.timestamp()


def test_the_loop_tells_of_its_own_work() -> None:
    told = series(sample.board(sample.all_well(), FIGURES))
    assert told["reconciler_build_info", f"version={__version__}"] == 1
    assert told["reconciler_ready",] == 1
    assert told["reconciler_alive_timestamp_seconds",] == seconds(NOW)
    assert told["reconciler_start_timestamp_seconds",] == seconds(NOW - 9 * DAY)
    assert told["reconciler_last_success_timestamp_seconds",] == seconds(NOW - DAY)
    assert told["reconciler_looks_total", "outcome=observed"] == 5
    assert told["reconciler_looks_total", "outcome=unreachable"] == 1
    assert told["reconciler_applies_total", "outcome=applied"] == 2
    assert told["reconciler_errors_total",] == 1
    assert told["reconciler_webhook_lost_total",] == 0
    buckets = {key[1]: value for key, value in told.items() if key[0] == "reconciler_turn_duration_seconds_bucket"}
    assert buckets == {"le=1.0": 1, "le=2.5": 3, "le=+Inf": 3}
    assert told["reconciler_turn_duration_seconds_count",] == 3
    assert told["reconciler_turn_duration_seconds_sum",] == 4.5


def test_what_the_webhook_lost_is_counted() -> None:
    board = sample.board(sample.all_well())
    board.lost = lambda: 3
    assert of("reconciler_webhook_lost_total", board) == {(): 3}


def test_a_loop_that_has_done_nothing_yet_tells_so() -> None:
    told = series(Board(sample.watched(source=Source(place="fleet"))))
    assert told["reconciler_ready",] == 0
    assert told["reconciler_turn_duration_seconds_bucket", "le=+Inf"] == 0
    assert told["reconciler_looks_total", "outcome=unreachable"] == 0
    assert told["reconciler_applies_total", "outcome=failed"] == 0
    assert ("reconciler_last_success_timestamp_seconds",) not in told
    assert ("reconciler_source_in_force_timestamp_seconds",) not in told
    assert told["reconciler_source_info", "digest=", "place=fleet", "refused=", "revision="] == 1


def test_the_source_is_told_and_whether_it_needs_somebody() -> None:
    well = sample.board(sample.all_well())
    assert of("reconciler_source_problem", well) == {(): 0}
    assert not of("reconciler_source_problem_timestamp_seconds", well)
    board = sample.board(sample.troubled())
    assert of("reconciler_source_problem", board) == {(): 1}
    assert of("reconciler_source_problem_timestamp_seconds", board) == {(): seconds(NOW - 20 * sample.MINUTE)}
    assert of("reconciler_source_in_force_timestamp_seconds", board) == {(): seconds(NOW - 3 * DAY)}
    source = board.watched.source
    assert of("reconciler_source_info", board) == {
        (
            f"digest={source.digest}",
            f"place={source.place}",
            f"refused={source.refused}",
            f"revision={source.revision}",
        ): 1
    }


def test_each_appliance_is_told_with_the_one_status_that_fits() -> None:
    board = sample.board(sample.troubled())
    node = ("appliance=node-1", "site=portal")
    for name, statuses, fits in (
        ("reconciler_appliance_sync", Sync, Sync.OUT_OF_SYNC),
        ("reconciler_appliance_health", Health, Health.PROGRESSING),
    ):
        told = of(name, board)
        assert {each: told[*node, f"status={each.value}"] for each in statuses} == {
            each: float(each is fits) for each in statuses
        }
    actions = of("reconciler_appliance_actions", board)
    assert {state: actions[*node, f"state={state}"] for state in ("ready", "held", "waiting")} == {
        "ready": 0,
        "held": 1,
        "waiting": 1,
    }
    assert of("reconciler_appliance_info", board)["appliance=node-2", "mode=plan", "site=portal"] == 1
    assert of("reconciler_appliance_errors", board)["appliance=hub-1", "site=portal"] == 1
    assert of("reconciler_appliance_failures", board)["appliance=east-1", "site=access"] == 4
    observed = of("reconciler_appliance_observed_timestamp_seconds", board)
    assert observed["appliance=east-1", "site=access"] == seconds(NOW - 3 * sample.HOUR)
    following = of("reconciler_appliance_next_look_timestamp_seconds", board)
    assert following["appliance=east-1", "site=access"] == seconds(NOW + 7 * sample.MINUTE)
    applied = of("reconciler_appliance_applied_timestamp_seconds", board)
    assert applied == {("appliance=west-1", "site=access"): seconds(NOW - 40 * sample.MINUTE)}


def test_a_condition_of_which_nothing_is_known_is_absent() -> None:
    told = of("reconciler_appliance_condition", sample.board(sample.troubled()))
    assert told["appliance=east-1", "site=access", "type=Observed"] == 0
    assert told["appliance=east-1", "site=access", "type=Valid"] == 1
    assert ("appliance=east-1", "site=access", "type=InSync") not in told


def test_an_appliance_outside_any_site_has_an_empty_one_and_an_undeclared_certificate_no_name() -> None:
    stray = sample.certificate("by-hand.example.com", 5)
    board = sample.board(sample.watched(sample.appliance("lone", None, certificates=(stray,))))
    name = ("appliance=lone", "certificate=", f"fingerprint={stray.fingerprint[:12]}", "site=")
    assert of(EXPIRATION, board) == {name: seconds(NOW + 5 * DAY)}
    assert not of(RENEWAL, board)


def test_no_series_outlives_its_appliance_or_its_certificate() -> None:
    old, new = (sample.certificate("access.example.com", days, name="access") for days in (20, 380))
    board = sample.board(sample.watched(sample.appliance("east-1", certificates=(old,)), sample.appliance("west-1")))
    assert len(of(EXPIRATION, board)) == 2

    # It is renewed: while the one before is kept, both are told; only the declared one falls due.
    previous = old.model_copy(update={"renewal": None})
    board.show(sample.watched(sample.appliance("east-1", certificates=(previous, new))))
    assert sorted(of(EXPIRATION, board).values()) == [seconds(NOW + 20 * DAY), seconds(NOW + 380 * DAY)]
    assert [*of(RENEWAL, board).values()] == [seconds(NOW + 350 * DAY)]
    assert "west-1" not in exposition(board).decode()

    board.show(sample.watched(sample.appliance("east-1", certificates=(new,))))
    assert [*of(EXPIRATION, board).values()] == [seconds(NOW + 380 * DAY)]

    board.show(sample.watched())
    assert "east-1" not in exposition(board).decode()


def test_one_certificate_twice_in_a_store_is_one_series_with_the_earlier_end() -> None:
    later = sample.certificate("access.example.com", 20, name="access")
    # Somebody who makes certificates for a while can make two with the same first digits.
    earlier = later.model_copy(update={"expiration": NOW + DAY, "fingerprint": later.fingerprint[:12] + "0" * 52})
    for both in ((later, earlier), (earlier, later)):
        board = sample.board(sample.watched(sample.appliance("east-1", certificates=both)))
        assert [*of(EXPIRATION, board).values()] == [seconds(NOW + DAY)]


def test_hostile_text_stays_in_its_label() -> None:
    held = sample.certificate("x", 20, name=HOSTILE)
    known = sample.appliance(HOSTILE, HOSTILE, certificates=(held,))
    source = sample.source(place=HOSTILE, revision=HOSTILE, refused=HOSTILE)
    figures = Figures(looks={HOSTILE: 1})
    board = sample.board(sample.watched(known, source=source), figures)
    shown = printable(HOSTILE)
    assert (
        f"appliance={shown}",
        f"certificate={shown}",
        f"fingerprint={held.fingerprint[:12]}",
        f"site={shown}",
    ) in of(EXPIRATION, board)
    assert of("reconciler_looks_total", board)[f"outcome={shown}",] == 1
    plain = {name for name, *_ in series(sample.board(sample.all_well(), FIGURES))}
    assert {name for name, *_ in series(board)} <= plain
    assert all(line.isprintable() for line in exposition(board).decode().split("\n"))


def test_names_follow_the_conventions() -> None:
    units = ("_seconds", "_info", "_total", "_ready", "_problem", "_sync", "_health", "_condition", "_actions")
    for each in families(sample.board(sample.troubled(), FIGURES)):
        name = f"{each.name}_total" if each.type == "counter" else each.name
        assert re.fullmatch(r"reconciler(_[a-z]+)+", name)
        assert name.endswith((*units, "_errors", "_failures"))
        assert each.type in {"counter", "gauge", "histogram"}
        assert each.documentation.endswith(".")
        assert all(re.fullmatch("[a-z]+", label) for sampled in each.samples for label in sampled.labels)


def test_a_large_fleet_is_told_in_a_moment() -> None:
    held = tuple(sample.certificate(f"c{number}", number, name=f"c{number}") for number in range(20))
    known = sample.appliance("node", certificates=held)
    fleet = tuple(known.model_copy(update={"name": f"node-{number}"}) for number in range(1_000))
    board = sample.board(sample.watched(*fleet))
    began = time.process_time()
    text = exposition(board)
    assert time.process_time() - began < 2
    assert text.count(b"\n" + EXPIRATION.encode() + b"{") == 20_000
    assert len(text) < 10_000_000


RULES = re.search("Rules to begin with:\n\n```text\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
SELECTORS = re.findall(r"\b(reconciler_\w+)(?:\{(.*?)\})?", RULES[1] if RULES else "")


@pytest.mark.parametrize(("name", "matchers"), SELECTORS)
def test_the_rules_of_the_readme_speak_of_what_is_told(name: str, matchers: str) -> None:
    """Where a selector says which series it means, there are such, and others."""
    told = of(name, sample.board(sample.troubled(), FIGURES))
    assert told
    for label, sign, value in re.findall(r'(\w+)(=|!=)"(\w*)"', matchers):
        meant = [labels for labels in told if (f"{label}={value}" in labels) == (sign == "=")]
        assert meant
        assert len(meant) < len(told)


def test_the_readme_has_rules() -> None:
    assert len(SELECTORS) >= 4
