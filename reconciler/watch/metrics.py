"""What Prometheus is told: the fleet and the loop's own work, rendered from the board whenever it asks.

Nothing is counted or kept here. A series is there for as long as the board shows what it is about, so none outlives its
appliance or its certificate, and a renewed certificate takes its predecessor's series along when that leaves the store.
Names follow Prometheus's conventions: base units, `_total` for what only grows, `_timestamp_seconds` for instants.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from reconciler import __version__
from reconciler.apply.result import Outcome
from reconciler.base.text import printable
from reconciler.report.words import short
from reconciler.watch.model import Health, Sync, Truth

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from reconciler.watch.board import Board, Figures
    from reconciler.watch.model import Source, Watched, WatchedAppliance

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Media type of the exposition."""

_Labels: TypeAlias = tuple[str, ...]

# What has never happened is told as well: the first time would else not be seen as a rise.
_LOOKS = {"observed": 0, "unreachable": 0}
_APPLIES = {each.value: 0 for each in Outcome if each is not Outcome.UNCHANGED}
_APPLIANCE = ("appliance", "site")
_CERTIFICATE = (*_APPLIANCE, "certificate", "fingerprint")


def exposition(board: Board) -> bytes:
    """Everything, in Prometheus's text format, version 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_Shown(board))
    return generate_latest(registry)


class _Shown(Collector):
    """What a board shows, as metrics."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: whoever registers this would have everything made twice."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        yield _info("reconciler_build", "The program.", {"version": __version__})
        yield _gauge(
            "reconciler_ready",
            "Whether a desired state is in force and every appliance was looked at once.",
            {(): float(self._board.ready)},
        )
        yield _gauge(
            "reconciler_alive_timestamp_seconds",
            "When the loop last showed that it runs.",
            {(): self._board.alive_at.timestamp()},
        )
        yield from _work(self._board.figures)
        yield _counter(
            "reconciler_webhook_lost", "How many events did not reach the webhook.", (), {"": self._board.lost()}
        )
        yield from _origin(self._board.watched)
        yield from _appliances(self._board.watched.appliances)
        yield from _certificates(self._board.watched.appliances)


def _work(figures: Figures) -> Iterator[Metric]:
    """What the loop has done since it was started."""
    buckets = sorted(({math.inf: 0} | dict(figures.durations)).items())
    turns = HistogramMetricFamily("reconciler_turn_duration_seconds", "How long a turn of the loop took.")
    turns.add_metric(
        [], [("+Inf" if bound == math.inf else str(bound), count) for bound, count in buckets], figures.total_seconds
    )
    yield turns
    yield _counter(
        "reconciler_looks",
        "How many times an appliance was looked at, by outcome.",
        ("outcome",),
        {**_LOOKS, **figures.looks},
    )
    yield _counter(
        "reconciler_applies",
        "How many appliances something was applied to, by outcome.",
        ("outcome",),
        {**_APPLIES, **figures.applies},
    )
    yield _counter("reconciler_errors", "How often the loop met what it did not expect.", (), {"": figures.errors})
    yield _gauge(
        "reconciler_last_success_timestamp_seconds",
        "When a turn last ended without a failure.",
        _instants([((), figures.last_success)]),
    )


def _origin(watched: Watched) -> Iterator[Metric]:
    """When the loop was started, and the desired state it follows."""
    source: Source = watched.source
    yield _gauge(
        "reconciler_start_timestamp_seconds", "When the loop was started.", {(): watched.started_at.timestamp()}
    )
    yield _info(
        "reconciler_source",
        "The desired state in force, and a newer one that is not.",
        {
            "place": source.place,
            "revision": source.revision or "",
            "digest": source.digest,
            "refused": source.refused or "",
        },
    )
    yield _gauge(
        "reconciler_source_problem",
        "Whether a newer desired state is refused, or the source cannot be reached.",
        {(): float(bool(source.problem))},
    )
    yield _gauge(
        "reconciler_source_problem_timestamp_seconds", "Since when that is so.", _instants([((), source.problem_since)])
    )
    yield _gauge(
        "reconciler_source_in_force_timestamp_seconds",
        "Since when the desired state has been in force.",
        _instants([((), source.since)]),
    )


def _appliances(appliances: tuple[WatchedAppliance, ...]) -> Iterator[Metric]:
    """How each appliance stands."""
    each = [(_named(appliance), appliance) for appliance in appliances]
    yield _gauge(
        "reconciler_appliance_info",
        "An appliance, and what the loop may do with it.",
        {(*name, it.mode): 1.0 for name, it in each},
        (*_APPLIANCE, "mode"),
    )
    yield _gauge(
        "reconciler_appliance_sync",
        "Whether it holds what is declared: 1 for the status that fits, 0 for the others.",
        {(*name, status.value): float(it.sync is status) for name, it in each for status in Sync},
        (*_APPLIANCE, "status"),
    )
    yield _gauge(
        "reconciler_appliance_health",
        "How it fares: 1 for the status that fits, 0 for the others.",
        {(*name, status.value): float(it.health is status) for name, it in each for status in Health},
        (*_APPLIANCE, "status"),
    )
    yield _gauge(
        "reconciler_appliance_condition",
        "Whether a condition holds; absent where that is unknown.",
        {
            (*name, condition.type.value): float(condition.status is Truth.TRUE)
            for name, it in each
            for condition in it.conditions
            if condition.status is not Truth.UNKNOWN
        },
        (*_APPLIANCE, "type"),
    )
    yield _gauge(
        "reconciler_appliance_actions",
        "How many actions are planned, by whether they could run now.",
        {
            (*name, state): float(number)
            for name, it in each
            for state, number in (("ready", it.ready), ("held", it.held), ("waiting", it.waiting))
        },
        (*_APPLIANCE, "state"),
    )
    yield _gauge(
        "reconciler_appliance_errors",
        "How many errors there are in what is declared for it or found on it.",
        {name: float(len(it.errors)) for name, it in each},
        _APPLIANCE,
    )
    yield _gauge(
        "reconciler_appliance_failures",
        "How many looks or applies in a row have failed.",
        {name: float(it.failures) for name, it in each},
        _APPLIANCE,
    )
    yield _gauge(
        "reconciler_appliance_observed_timestamp_seconds",
        "When its store was last observed.",
        _instants((name, it.observed_at) for name, it in each),
        _APPLIANCE,
    )
    yield _gauge(
        "reconciler_appliance_next_look_timestamp_seconds",
        "When it is looked at next, at the latest; long past where a turn is late.",
        _instants((name, it.next_look) for name, it in each),
        _APPLIANCE,
    )
    yield _gauge(
        "reconciler_appliance_applied_timestamp_seconds",
        "When the last apply that did something on it ended.",
        _instants((name, it.last_apply.at if it.last_apply else None) for name, it in each),
        _APPLIANCE,
    )


def _certificates(appliances: tuple[WatchedAppliance, ...]) -> Iterator[Metric]:
    """When each certificate that has a key on an appliance expires, and falls due."""
    each = [
        ((*_named(appliance), printable(it.certificate or ""), short(it.fingerprint)), it)
        for appliance in appliances
        for it in appliance.certificates
    ]
    yield _gauge(
        "reconciler_certificate_expiration_timestamp_seconds",
        "When a certificate on an appliance expires.",
        _instants((name, it.expiration) for name, it in each),
        _CERTIFICATE,
    )
    yield _gauge(
        "reconciler_certificate_renewal_timestamp_seconds",
        "When a declared certificate on an appliance is due for renewal.",
        _instants((name, it.renewal) for name, it in each),
        _CERTIFICATE,
    )


def _named(appliance: WatchedAppliance) -> _Labels:
    return printable(appliance.name), printable(appliance.site or "")


def _instants(some: Iterable[tuple[_Labels, dt.datetime | None]]) -> dict[_Labels, float]:
    """Unix times; the earliest where a store holds one certificate twice, since a series may stand here only once."""
    found: dict[_Labels, float] = {}
    for labels, at in some:
        if at is not None:
            found[labels] = min(at.timestamp(), found.get(labels, math.inf))
    return found


def _gauge(name: str, told: str, values: Mapping[_Labels, float], labels: _Labels = ()) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, told, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, told: str, labels: _Labels, values: Mapping[str, int]) -> CounterMetricFamily:
    """A counter with one label or none; the name goes without its `_total`."""
    family = CounterMetricFamily(name, told, labels=labels)
    for key, value in values.items():
        family.add_metric([printable(key)] if labels else [], value)
    return family


def _info(name: str, told: str, facts: Mapping[str, str]) -> InfoMetricFamily:
    """Facts as labels of a series that is 1; the name goes without its `_info`."""
    return InfoMetricFamily(name, told, value={key: printable(value) for key, value in facts.items()})
