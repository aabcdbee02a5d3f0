"""JSON Schemas of what is declared, for editors and for checks in other people's pipelines.

They are generated from the models and say no more than one file can: what needs a second file, committed material or
the time is found by `validate` only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from reconciler.desired.load import appliance_model
from reconciler.desired.models import Certificate, Fleet, Site

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from reconciler.base.references import StoreConfiguration

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def declared_models(drivers: Mapping[str, type[StoreConfiguration]]) -> tuple[tuple[str, type[BaseModel]], ...]:
    """The four kinds of file, each with its model.

    Args:
        drivers: The options of each installed driver, by its name: what `store` may be.
    """
    return (
        ("fleet", Fleet),
        ("site", Site),
        ("appliance", appliance_model(drivers)),
        ("certificate", Certificate),
    )


WRITTEN = frozenset({"fleet", "site", "appliance", "certificate", "operator"})
"""The files that people write, in editors."""


def schema_text(name: str, model: type[BaseModel]) -> str:
    """The JSON Schema of a model as it is kept in `schemas/NAME.schema.json`."""
    schema: dict[str, Any] = {"$schema": DIALECT, "$id": f"{name}.schema.json"}
    own = model.model_json_schema(schema_generator=_Untitled)
    schema |= _used(_for_editors(own, own.get("$defs", {}))) if name in WRITTEN else own
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _for_editors(part: Any, definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any part of a schema
    """The same schema in words for which an editor finds the message that helps.

    Of alternatives an editor can only say that none matches, or guess which was meant. So what tells them apart is
    asked first, and only the one that was meant is held against the text.
    """
    if isinstance(part, list):
        return [_for_editors(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    if "discriminator" in part:
        return _by_word(part, definitions)
    part = {key: _for_editors(value, definitions) for key, value in part.items()}
    match part:
        case {"anyOf": [{"type": str(kind), **own}, {"type": "null"}]} if "const" not in own:
            part = {**_without(part, "anyOf", "default"), **own, "type": [kind, "null"]}
        case {"anyOf": [{"$ref": ref}, {"type": "null"}]}:
            part = {**_without(part, "anyOf", "default"), "if": {"type": "null"}, "else": {"$ref": ref}}
        case {"anyOf": [{"if": _, "else": other, **own}, {"type": "null"}]}:
            other = {**other, "type": [other["type"], "null"]}
            part = {**_without(part, "anyOf", "default"), **own, "if": {"type": "string"}, "else": other}
        case {"oneOf": _}:
            part = _either(part, definitions)
    return part


def _used(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with those definitions that something refers to."""
    text = json.dumps(schema)
    kept = {name: each for name, each in schema.get("$defs", {}).items() if f'"#/$defs/{name}"' in text}
    return {**schema, "$defs": kept} if kept else _without(schema, "$defs")


def _by_word(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Objects that one key tells apart: first that key, then whatever goes with its value."""
    name, refs = part["discriminator"]["propertyName"], part["discriminator"]["mapping"]
    meanings = [f"`{word}`: {_meant(ref, definitions)['description']}" for word, ref in refs.items()]
    key = {"enum": list(refs), "description": "\n\n".join(meanings)}
    cases = [
        {"if": {"required": [name], "properties": {name: {"const": word}}}, "then": {"$ref": ref}}
        for word, ref in refs.items()
    ]
    rest = _without(part, "discriminator", "oneOf")
    return {**rest, "type": "object", "required": [name], "properties": {name: key}, "allOf": cases}


def _either(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A word or a list; or objects with one key each."""
    rest, choices = _without(part, "oneOf"), part["oneOf"]
    words = [each for each in choices if "const" in each]
    if words:
        other = next(each for each in choices if "const" not in each)
        word = {"enum": [each["const"] for each in words]}
        return {**rest, "if": {"type": "string"}, "then": word, "else": other}
    meant = [_for_editors(_meant(each["$ref"], definitions), definitions) for each in choices]
    keys = {key: value for each in meant for key, value in each["properties"].items()}
    refer = " or ".join(f"{{{key}: ...}}" for key in keys)
    one = {"additionalProperties": False, "minProperties": 1, "maxProperties": 1, "errorMessage": f"Write {refer}."}
    return {**rest, "type": "object", "properties": keys, **one}


def _meant(ref: str, definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any part of a schema
    return definitions[ref.removeprefix("#/$defs/")]


def _without(part: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key not in keys}


class _Untitled(GenerateJsonSchema):
    """Leaves out titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's own signature
        return False
