"""Findings as people mend them: what stands at one place and is mended by one deed is one item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.base.findings import Finding, sort_key
from reconciler.report.findings import alike, where

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Mended:
    """Findings with the same place and remedy.

    Attributes:
        place: `file:line:column`, or the appliances or whatever else they are about.
        rules: The rules that they break.
        message: What is wrong, in all of their words.
        remedy: What to do; may be empty.
    """

    place: str
    rules: tuple[str, ...]
    message: str
    remedy: str


def by_remedy(findings: Iterable[Finding]) -> tuple[Mended, ...]:
    """Findings of one severity in the order in which people read them."""
    found: dict[tuple[object, ...], tuple[str, list[Finding]]] = {}
    for each, names in alike(sorted(findings, key=sort_key)):
        place = where(each, names).removesuffix(":")
        same = (place, each.remedy) if each.position and each.remedy else (place, each.rule, each.message, each.remedy)
        found.setdefault(same, (place, []))[1].append(each)
    return tuple(
        Mended(
            place,
            tuple(dict.fromkeys(each.rule for each in together)),
            "; ".join(dict.fromkeys(each.message for each in together)),
            together[0].remedy,
        )
        for place, together in found.values()
    )
