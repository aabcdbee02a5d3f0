"""`reconciler schema`: the JSON Schemas of the files that people and programs write and read."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.cli.exits import Exit

if TYPE_CHECKING:
    from pydantic import BaseModel


def schema(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="fleet, site, appliance, certificate, operator, plan, applied, status, doctor, requests or history.",
            show_default=False,
        ),
    ] = None,
    *,
    write: Annotated[Path | None, typer.Option(metavar="DIR", help="Write all of them into a folder.")] = None,
) -> Exit:
    """Show one JSON Schema, or write all of them into a folder."""
    from reconciler.desired.schema import schema_text

    models = dict(schema_models())
    if write is not None:
        try:
            write.mkdir(parents=True, exist_ok=True)
            for each, model in models.items():
                (write / f"{each}.schema.json").write_text(schema_text(each, model), encoding="utf-8")
        except OSError as error:
            raise UnreadableInput(f"{write} cannot be written: {error.strerror}", "name another folder") from error
        return Exit.DONE
    if name not in models:
        known = ", ".join(models)
        message = f"there is no schema {name!r}" if name else "no schema is named"
        raise UsageError(message, f"name one of {known}, or write all with --write DIR")
    sys.stdout.write(schema_text(name, models[name]))
    return Exit.DONE


def schema_models() -> tuple[tuple[str, type[BaseModel]], ...]:
    """Every schema that is published: its name, and the model that it is generated from."""
    from reconciler.desired.schema import declared_models
    from reconciler.engine.operator import settings_model
    from reconciler.live.driver import driver_types
    from reconciler.plan.model import Plan
    from reconciler.report.doctor import Doctor
    from reconciler.report.history import History
    from reconciler.report.requests import Requests
    from reconciler.report.results import Applied
    from reconciler.report.status import Status

    declared = declared_models({driver: each.configuration for driver, each in driver_types().items()})
    shown = (("status", Status), ("doctor", Doctor), ("requests", Requests), ("history", History))
    return (*declared, ("operator", settings_model()), ("plan", Plan), ("applied", Applied), *shown)
