"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


class Format(StrEnum):
    """How output is written."""

    TEXT = "text"
    JSON = "json"


DesiredStatePath: TypeAlias = Annotated[
    Path, typer.Argument(metavar="DESIRED_STATE", help="Folder of the desired state.")
]
Revision: TypeAlias = Annotated[
    str | None, typer.Option(metavar="REV", help="Read the desired state from this git revision.")
]
OutputFormat: TypeAlias = Annotated[Format, typer.Option("--format", help="How to write the output.")]
Appliances: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--appliance", metavar="NAME", help="Only this appliance; may be given several times."),
]
Sites: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--site", metavar="NAME", help="Only the appliances of this site; may be given several times."),
]
AllowRemovals: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Allow that many removals of certificates with a key, and of requests, on each appliance, this once.",
    ),
]
RequireSigned: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Only a commit signed by whom this file allows: SSH allowed signers, or an OpenPGP keyring.",
    ),
]
DEFAULT_DESIRED_STATE = Path("desired-state")
