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


def schema_text(name: str, model: type[BaseModel]) -> str:
    """The JSON Schema of a model as it is kept in `schemas/NAME.schema.json`."""
    schema: dict[str, Any] = {"$schema": DIALECT, "$id": f"{name}.schema.json"}
    schema |= model.model_json_schema(schema_generator=_Untitled)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


class _Untitled(GenerateJsonSchema):
    """Leaves out titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's own signature
        return False
