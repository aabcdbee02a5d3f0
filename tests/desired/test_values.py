"""Small values: places in documents, near misses, instants as they are, builds in the field."""

from __future__ import annotations

import datetime as dt

import pytest
from pydantic import TypeAdapter, ValidationError

from reconciler.desired.compose import compose
from reconciler.desired.hints import Hints, nearest
from reconciler.desired.models import Acknowledgement, Appliance, ClientSoftwareBuild, Moment, Retired
from reconciler.desired.nodes import Document
from reconciler.desired.state import Build, Clients

DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def document(text: str) -> Document:
    root = compose(text.encode()).root
    assert root is not None
    return Document("a.yaml", "ds/a.yaml", root)


@pytest.mark.parametrize(
    ("path", "key", "place"),
    [
        ((), False, "1:1"),
        (("a",), False, "1:4"),
        (("a",), True, "1:1"),
        (("b", "c", 1), False, "3:9"),
        (("b", "c", 1), True, "3:9"),
        (("b", "c"), True, "3:3"),
        (("b", "c", 7), False, "3:6"),
        (("b", "x", "y"), False, "3:3"),
        (("a", "x"), False, "1:4"),
        (("a", 0), False, "1:4"),
    ],
)
def test_a_place_is_that_of_the_value_or_of_the_nearest_thing_above(
    path: tuple[str | int, ...],
    key: bool,  # noqa: FBT001 - a column of the table
    place: str,
) -> None:
    assert str(document("a: 1\nb:\n  c: [x,y]\n").position(*path, key=key)) == f"ds/a.yaml:{place}"


@pytest.mark.parametrize(
    ("word", "known", "match"),
    [
        ("esat-1", ["west-1", "east-1"], "east-1"),
        ("Access", ["access"], "access"),
        ("acess", ["process", "access"], "access"),
        ("rsa-1024", ["rsa-2048", "rsa-3072"], ""),
        ("x", ["removals_at_most"], ""),
        ("", ["a"], ""),
        ("a", [], ""),
    ],
)
def test_near_misses(word: str, known: list[str], match: str) -> None:
    assert nearest(word, known) == match


def test_after_many_searches_no_more_are_made() -> None:
    hints = Hints()
    remedies = {hints.did_you_mean("acess", ["access"], "add it") for _ in range(100)}
    assert remedies == {"did you mean `access`?"}
    assert hints.did_you_mean("acess", ["access"], "add it") == "add it"


def test_models_take_instants_and_dates_as_they_are() -> None:
    east = dt.timezone(dt.timedelta(hours=2))
    build = ClientSoftwareBuild(installed_at=START.astimezone(east), trusts=("a",))
    assert build.installed_at == START
    assert build.installed_at.tzinfo is dt.UTC
    assert ClientSoftwareBuild.model_validate(build.model_dump(exclude={"trusts"}) | {"trusts": ("a",)}) == build
    assert Acknowledgement(rule="ip-san", reason="agreed", until=START.date()).until == START.date()


@pytest.mark.parametrize("instant", ["2026-01-01T00:00:00", "2026-01-01", "0001-01-01T00:00:00+14:00", "99Z", 5])
def test_an_instant_needs_a_time_zone_and_to_exist(instant: object) -> None:
    with pytest.raises(ValueError, match="not an instant with a time zone"):
        ClientSoftwareBuild.model_validate({"installed_at": instant, "trusts": ("a",)})


def test_fingerprints_are_compared_without_colons_and_case() -> None:
    written = ":".join(["9F"] * 32)
    retired = Retired.model_validate({"sha256": written, "reason": "key exposed"})
    assert retired.sha256 == "9f" * 32


@pytest.mark.parametrize("endpoint", ["east-1.example.com:443", "[2001:db8::1]:8443", "127.0.0.1:1"])
def test_endpoints(endpoint: str) -> None:
    text = {"hostname": "a.example.com", "endpoint": endpoint, "store": {"driver": "x"}}
    assert Appliance.model_validate(text).endpoint == endpoint


@pytest.mark.parametrize(
    ("day", "expected"),
    [(-1, [0]), (0, [0]), (3, [0]), (10, [0, 1]), (11, [0, 1]), (12, [1]), (20, [1, 2]), (22, [2]), (99, [2])],
)
def test_builds_in_the_field_are_the_newest_settled_and_all_later_ones(day: int, expected: list[int]) -> None:
    builds = tuple(Build(START + days * DAY, frozenset()) for days in (0, 10, 20))
    assert Clients(builds, 2 * DAY).in_field(START + day * DAY) == tuple(builds[index] for index in expected)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31", dt.datetime(2026, 1, 31, tzinfo=dt.UTC)),
        ("2026-01-31T09:30:00Z", dt.datetime(2026, 1, 31, 9, 30, tzinfo=dt.UTC)),
        ("2026-01-31T09:30:00+02:00", dt.datetime(2026, 1, 31, 7, 30, tzinfo=dt.UTC)),
    ],
)
def test_a_date_is_its_first_instant_and_an_instant_is_itself(text: str, instant: dt.datetime) -> None:
    assert TypeAdapter(Moment).validate_python(text) == instant


@pytest.mark.parametrize("text", ["2026-02-30", "2026-01-31T09:30:00", "soon", 7])
def test_anything_else_is_neither(text: object) -> None:
    with pytest.raises(ValidationError, match="neither a date nor an instant with a time zone"):
        TypeAdapter(Moment).validate_python(text)
