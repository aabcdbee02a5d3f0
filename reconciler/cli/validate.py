"""`reconciler validate`: schema and rules, offline. It asks no appliance and changes nothing."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from reconciler.base.findings import Severity
from reconciler.cli.exits import Exit
from reconciler.cli.options import DEFAULT_DESIRED_STATE, DesiredStatePath, Revision
from reconciler.cli.output import medium_of, named_in_repository, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.base.findings import Finding


class ValidateFormat(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    """As annotations that a GitHub workflow shows beside the lines that they point to."""


def validate(
    desired_state: DesiredStatePath = DEFAULT_DESIRED_STATE,
    *,
    revision: Revision = None,
    output_format: Annotated[
        ValidateFormat, typer.Option("--format", help="How to write the findings.")
    ] = ValidateFormat.TEXT,
    list_rules: Annotated[bool, typer.Option("--list-rules", help="Show all rules instead.")] = False,
) -> Exit:
    """Check the desired state, offline: every problem of every file, each with its place and what to do."""
    from reconciler.base.clock import system_clock
    from reconciler.engine.load import find_all, load_desired

    if list_rules:
        _write_rules(output_format)
        return Exit.DONE
    state = load_desired(desired_state, revision)
    findings = find_all(state, system_clock())
    _write_findings(findings, state.root, output_format)
    return Exit.FINDINGS if any(each.severity is Severity.ERROR for each in findings) else Exit.DONE


def _write_findings(findings: Sequence[Finding], checked: str, output_format: ValidateFormat) -> None:
    from reconciler.report import validation
    from reconciler.report.annotations import findings_annotations

    match output_format:
        case ValidateFormat.JSON:
            write_json(validation.findings_document(findings))
        case ValidateFormat.GITHUB:
            sys.stdout.write(findings_annotations(findings, validation.summary(findings, checked), named_in_repository))
        case ValidateFormat.TEXT:
            sys.stdout.write(validation.findings_text(findings, checked, medium_of(sys.stdout)))
        case _:
            assert_never(output_format)


def _write_rules(output_format: ValidateFormat) -> None:
    from reconciler.base.findings import rules
    from reconciler.report import validation

    if output_format is ValidateFormat.JSON:
        write_json(validation.rules_document(rules()))
    else:
        sys.stdout.write(validation.rules_text(rules(), medium_of(sys.stdout)))
