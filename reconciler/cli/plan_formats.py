"""The ways in which `plan` writes a plan. What is costly is made once for all of them."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, assert_never

from reconciler.base.errors import UsageError
from reconciler.base.memory import without_cycle_search
from reconciler.cli.output import json_of, named_in_repository

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.engine.run import Planned
    from reconciler.report.page import Medium
    from reconciler.report.view import PlanView


class PlanFormat(StrEnum):
    """How a plan is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    """As a comment on a pull request."""
    HTML = "html"
    GITHUB = "github"
    """What it found, as annotations that a GitHub workflow shows beside the lines that they point to."""


_SUFFIXES = {
    ".md": PlanFormat.MARKDOWN,
    ".html": PlanFormat.HTML,
    ".json": PlanFormat.JSON,
    ".txt": PlanFormat.TEXT,
}
_URL = re.compile(r"https?://[!-;=?-\[\]-~]+")
"""Nothing in it ends the angle brackets of a link."""


@dataclass(frozen=True)
class Rendering:
    """A plan in whichever format.

    Attributes:
        planned: The plan, and what it was made from.
        report_url: Where the whole of it can be read, or empty.
    """

    planned: Planned
    report_url: str = ""

    @cached_property
    def _view(self) -> PlanView:
        from reconciler.report.view import plan_view

        planned = self.planned
        return plan_view(planned.plan, planned.observation.stores, planned.state.material, planned.classes)

    @without_cycle_search()
    def text(self, plan_format: PlanFormat, medium: Medium) -> str:
        """The plan in a format; the medium matters to text alone."""
        match plan_format:
            case PlanFormat.TEXT:
                from reconciler.report.plan_text import plan_text

                return plan_text(self._view, medium)
            case PlanFormat.JSON:
                return json_of(self.planned.plan)
            case PlanFormat.MARKDOWN:
                from reconciler.report.plan_markdown import plan_markdown

                return plan_markdown(self._view, named_in_repository(self.planned.state.root), self.report_url)
            case PlanFormat.HTML:
                return self._html()
            case PlanFormat.GITHUB:
                from reconciler.report.annotations import findings_annotations

                return findings_annotations(self._view.findings, self._view.summary, named_in_repository)
            case _:
                assert_never(plan_format)

    def _html(self) -> str:
        from reconciler.report.fleet_view import fleet_view
        from reconciler.report.plan_html import plan_html

        planned, seen = self.planned, self.planned.observation
        fleet = fleet_view(planned.state, planned.plan, seen.stores, seen.failures, planned.classes, planned.requests)
        return plan_html(self._view, fleet)


def report_formats(paths: Sequence[Path], out: Path | None) -> dict[Path, PlanFormat]:
    """What `--report` writes into which file.

    Args:
        paths: The files.
        out: Where the plan is saved besides, if it is.

    Raises:
        UsageError: The name of a file does not tell its format, or one file would hold two things.
    """
    named = [*paths, *([out] if out else ())]
    twice = [path for path, times in Counter(map(os.path.abspath, named)).items() if times > 1]
    if twice:
        raise UsageError(f"{twice[0]} is named twice", "name a file for each")
    for path in paths:
        if path.suffix not in _SUFFIXES:
            raise UsageError(
                f"--report {path} does not tell how it is to be written",
                f"let its name end in one of {', '.join(_SUFFIXES)}",
            )
    return {path: _SUFFIXES[path.suffix] for path in paths}


def check_url(url: str) -> None:
    """See that `--report-url` can be linked to.

    Raises:
        UsageError: It cannot.
    """
    if url and not _URL.fullmatch(url):
        raise UsageError(f"--report-url {url} is no address of a page", "write it like https://example.com/plan.html")
