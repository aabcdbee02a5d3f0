"""`schemas/` is what the models say, and editors understand it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]  # it comes without types
import pytest

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.cli.schema import schema, schema_models
from reconciler.desired.compose import compose
from reconciler.desired.nodes import plain
from reconciler.desired.schema import schema_text
from tests.support.corpus import BROKEN, read_case, validate

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
    """Every object of a schema, but for conditions, which describe nothing."""
    own = [schema] if isinstance(schema, dict) and "properties" in schema else []
    conditioned = isinstance(schema, dict) and "if" in schema
    schema = {key: each for key, each in schema.items() if key != "if"} if conditioned else schema  # type: ignore[attr-defined]
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return own + [each for part in parts for each in objects(part)]


@pytest.mark.parametrize("name", ["fleet", "site", "appliance", "certificate"])
def test_every_key_of_a_declaration_is_described(name: str) -> None:
    for each in objects(json.loads(schema_text(name, dict(MODELS)[name]))):
        silent = [key for key, value in each["properties"].items() if not {"description", "$ref"} & value.keys()]
        assert silent == [], each.get("title")


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


FOLDERS = {"sites": "site", "appliances": "appliance", "certificates": "certificate"}
EXPRESSIBLE = {"unknown-key", "missing-key", "invalid-value", "secret-literal"}


def validator_of(path: str) -> jsonschema.Draft202012Validator | None:
    """The schema of a declared file, by its path; None for any other file."""
    folder, _, name = path.rpartition("/")
    kind = "fleet" if path == "fleet.yaml" else FOLDERS.get(folder) if name.endswith(".yaml") else None
    return jsonschema.Draft202012Validator(json.loads(schema_text(kind, dict(MODELS)[kind]))) if kind else None


def as_editors_see(content: bytes) -> object:
    """A file as JSON; None where it has none of its meaning, so that no schema is asked."""
    composed = compose(content)
    if composed.root is None or composed.flaws:
        return None
    try:
        return json.loads(json.dumps(plain(composed.root), allow_nan=False))
    except (TypeError, ValueError):
        return None


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.txt")), ids=lambda path: path.stem)
def test_what_the_loader_refuses_editors_mark_and_nothing_else(path: Path, tmp_path: Path) -> None:
    case = read_case(path)
    case.write(tmp_path)
    refused: dict[str, set[str]] = {}
    for finding in validate(tmp_path):
        assert finding.position is not None
        refused.setdefault(finding.position.file, set()).add(finding.rule)
    for name in sorted(each.relative_to(tmp_path).as_posix() for each in tmp_path.rglob("*.yaml") if each.is_file()):
        validator = validator_of(name)
        content = as_editors_see((tmp_path / name).read_bytes())
        if validator is None or not isinstance(content, dict):
            continue
        rules = refused.get(name, set())
        marked = not validator.is_valid(content)
        if marked:
            assert rules & (EXPRESSIBLE | {"topology-members", "client-software", "material-outside"}), name
        # That a secret's file lies among what is committed, only the loader can tell.
        if rules & {"unknown-key", "missing-key", "secret-literal"} and path.stem != "secret-committed":
            assert marked, name


def test_the_examples_pass() -> None:
    root = SCHEMAS.parent / "desired-state"
    for path in root.rglob("*.yaml"):
        validator = validator_of(path.relative_to(root).as_posix())
        assert validator is not None
        content = compose(path.read_bytes()).root
        assert content is not None
        validator.validate(json.loads(json.dumps(plain(content))))


CERTIFICATE = {"subject": {"common_name": "x"}, "subject_alternative_names": ["a.example.com"]}
PROVIDED = {"kind": "provided", "certificate": "a", "key": "b"}


@pytest.mark.parametrize(
    ("source", "at", "keyword"),
    [
        ({"chain": ["a"]}, "source", "required"),
        ({"kind": "signed"}, "source.kind", "enum"),
        (PROVIDED, "source", "required"),
        ({"kind": "self_signed", "valid_for": "1 year"}, "source.valid_for", "pattern"),
        ({"kind": "requested", "sined": "a"}, "source", "additionalProperties"),
        (PROVIDED | {"passphrase": "x"}, "source.passphrase", "type"),
        (PROVIDED | {"passphrase": {"env": "KEY", "file": "x"}}, "source.passphrase", "maxProperties"),
        (PROVIDED | {"passphrase": {}}, "source.passphrase", "minProperties"),
    ],
)
def test_an_error_has_one_message_at_its_place(source: object, at: str, keyword: str) -> None:
    validator = validator_of("certificates/a.yaml")
    assert validator is not None
    (error,) = validator.iter_errors({**CERTIFICATE, "source": source})
    assert (".".join(map(str, error.absolute_path)), error.validator) == (at, keyword)


@pytest.mark.parametrize("name", ["fleet", "site", "appliance", "certificate", "operator"])
def test_editors_are_given_no_alternatives_to_guess_among(name: str) -> None:
    text = schema_text(name, dict(MODELS)[name])
    assert not re.search('"(oneOf|anyOf|discriminator)"', text)
    for definition in json.loads(text).get("$defs", {}):
        assert f'"#/$defs/{definition}"' in text


def test_every_pattern_says_what_to_write() -> None:
    def patterns(part: object) -> list[dict[str, Any]]:
        own = [part] if isinstance(part, dict) and isinstance(part.get("pattern"), str) else []
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        return own + [each for other in inner for each in patterns(other)]

    for name in ("fleet", "site", "appliance", "certificate", "operator"):
        for each in patterns(json.loads(schema_text(name, dict(MODELS)[name]))):
            assert each.get("patternErrorMessage") or each["pattern"].startswith("^[A-Za-z_]"), each


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
