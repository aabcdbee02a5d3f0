"""The typed scalars of the YAML: what they take and refuse, and that a secret in the wrong place is not shown."""

from __future__ import annotations

import datetime as dt

import pytest
from pydantic import TypeAdapter, ValidationError

from reconciler.base.references import (
    CommittedPath,
    Duration,
    EnvironmentSecret,
    FileSecret,
    MaterialPath,
    Model,
    PlacePath,
    SecretReference,
    format_duration,
    parse_duration,
)

CONTEXT = {"file": "appliances/east-1.yaml"}


class Example(Model):
    """One of each."""

    duration: Duration = dt.timedelta(days=1)
    secret: SecretReference | None = None
    material: MaterialPath = CommittedPath("x")
    place: PlacePath = "x"


def refusal(**values: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate(values, context=CONTEXT)
    [error] = caught.value.errors(include_input=False, include_url=False)
    return str(error["msg"])


class TestDuration:
    @pytest.mark.parametrize(
        ("text", "value"),
        [("30d", dt.timedelta(days=30)), ("48h", dt.timedelta(hours=48)), ("90m", dt.timedelta(minutes=90))],
    )
    def test_days_hours_and_minutes(self, text: str, value: dt.timedelta) -> None:
        assert parse_duration(text) == value
        assert parse_duration(value) == value
        assert parse_duration(format_duration(value)) == value

    @pytest.mark.parametrize("text", ["0d", "-1d", "1", "1w", "1.5d", " 1d", "1d ", "d", "", "1000000d", "٣d", 30])
    def test_nothing_else(self, text: object) -> None:
        assert refusal(duration=text) == "this is not a duration"

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (dt.timedelta(days=2), "2d"),
            (dt.timedelta(hours=36), "36h"),
            (dt.timedelta(minutes=61), "61m"),
            (dt.timedelta(0), "0d"),
        ],
    )
    def test_is_written_in_the_largest_unit_that_keeps_it_exact(self, value: dt.timedelta, text: str) -> None:
        assert format_duration(value) == text


class TestSecret:
    def test_by_environment_or_file(self) -> None:
        adapter = TypeAdapter[EnvironmentSecret | FileSecret](SecretReference)
        assert adapter.validate_python({"env": "KEY"}) == EnvironmentSecret(env="KEY")
        assert adapter.validate_python({"file": "../secret"}) == FileSecret(file="../secret")
        assert adapter.validate_python(FileSecret(file="x")) == FileSecret(file="x")
        assert adapter.validate_python(EnvironmentSecret(env="X")) == EnvironmentSecret(env="X")

    @pytest.mark.parametrize("literal", ["hunter2", 12345, ("hunter2",)])
    def test_a_literal_is_refused_and_not_repeated(self, literal: object) -> None:
        said = refusal(secret=literal)
        assert said == "a secret may not be written here"

    @pytest.mark.parametrize("value", [{}, {"env": "A", "file": "b"}, {"value": "hunter2"}])
    def test_what_refers_to_nothing_is_refused(self, value: object) -> None:
        assert refusal(secret=value) == "this is not a reference to a secret"

    @pytest.mark.parametrize("name", ["hunter2!", "", "1A", "A B", "hunter2\n"])
    def test_what_may_be_the_secret_itself_in_the_place_of_a_name_is_not_repeated(self, name: str) -> None:
        assert refusal(secret={"env": name}) == "this is not the name of an environment variable"


class TestMaterial:
    def path(self, value: str) -> str:
        return Example.model_validate({"material": value}, context=CONTEXT).material

    def test_starts_at_the_file_that_names_it(self) -> None:
        assert self.path("root.pem") == "appliances/root.pem"
        assert self.path("../certificates/./access/root.pem") == "certificates/access/root.pem"
        assert isinstance(self.path("root.pem"), CommittedPath)

    @pytest.mark.parametrize("value", ["../../root.pem", "..//../x", "../certificates/../../x", "../.."])
    def test_may_not_leave_the_desired_state(self, value: str) -> None:
        assert refusal(material=value) == "committed material may not lie outside the desired state"

    def test_is_never_absolute(self) -> None:
        assert refusal(material="/etc/ssl/key.pem") == "committed material may not be named by an absolute path"

    def test_a_name_that_only_begins_with_dots_is_inside(self) -> None:
        assert self.path("../..hidden") == "..hidden"


def test_a_place_may_lie_anywhere() -> None:
    def path(value: str) -> str:
        return Example.model_validate({"place": value}, context=CONTEXT).place

    assert path("../../.stores/east-1") == "../.stores/east-1"
    assert path("/srv/stores/east-1") == "/srv/stores/east-1"


def test_models_take_no_unknown_keys_and_coerce_nothing() -> None:
    with pytest.raises(ValidationError):
        Example.model_validate({"unknown": 1}, context=CONTEXT)
    with pytest.raises(ValidationError):
        Example.model_validate({"place": 5}, context=CONTEXT)
