"""`schemas/` is what the models say, and editors understand it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]  # it comes without types
import pytest

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.cli.schema import schema, schema_models
from reconciler.desired.compose import compose
from reconciler.desired.nodes import plain
from reconciler.desired.schema import schema_text

if TYPE_CHECKING:
    from pydantic import BaseModel

SCHEMAS = Path(__file__).parents[1] / "schemas"
MODELS = schema_models()


@pytest.mark.parametrize(("name", "model"), MODELS, ids=[name for name, _ in MODELS])
def test_the_committed_schema_is_what_the_model_says(name: str, model: type[BaseModel]) -> None:
    text = (SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")
    assert text == schema_text(name, model), "run `make schemas`"
    jsonschema.Draft202012Validator.check_schema(json.loads(text))


def test_nothing_else_lies_beside_them() -> None:
    assert {path.name for path in SCHEMAS.iterdir()} == {f"{name}.schema.json" for name, _ in MODELS}


def objects(schema: object) -> list[dict[str, Any]]:
    own = [schema] if isinstance(schema, dict) and "properties" in schema else []
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return own + [each for part in parts for each in objects(part)]


@pytest.mark.parametrize("name", ["fleet", "site", "appliance", "certificate"])
def test_every_key_of_a_declaration_is_described(name: str) -> None:
    for each in objects(json.loads(schema_text(name, dict(MODELS)[name]))):
        silent = [key for key, value in each["properties"].items() if not {"description", "$ref"} & value.keys()]
        assert silent == [], each["title"]


SITE = """
hostname: access.example.com
topology: failover
primary: east-1
backup: west-1
certificates: [access]
client_software:
  - {installed_at: "2025-02-01T09:00:00Z", trusts: [../certificates/access/root.pem]}
settle: 48h
"""


def test_an_editor_accepts_what_is_right_and_marks_what_is_wrong() -> None:
    validator = jsonschema.Draft202012Validator(json.loads((SCHEMAS / "site.schema.json").read_text(encoding="utf-8")))
    root = compose(SITE.encode()).root
    assert root is not None
    right = json.loads(json.dumps(plain(root)))
    assert validator.is_valid(right)
    for key, value in (
        ("settle", "2 days"),
        ("client_software", "some"),
        ("topology", "pair"),
        ("sites", 1),
        ("primary", "East"),
    ):
        assert not validator.is_valid(right | {key: value}), key


def test_the_command_shows_one_or_writes_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema("site")
    assert capsys.readouterr().out == (SCHEMAS / "site.schema.json").read_text(encoding="utf-8")
    schema(write=tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {path.name for path in SCHEMAS.iterdir()}


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreadableInput, match="cannot be written"):
        schema(write=tmp_path / "file")


@pytest.mark.parametrize("name", ["sites", None])
def test_the_command_says_which_schemas_there_are(name: str | None) -> None:
    with pytest.raises(UsageError, match="fleet, site, appliance, certificate"):
        schema(name)
