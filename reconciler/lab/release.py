"""Markup variants: what a simulated release of the appliance calls its fields, paths and controls. They are data.

A variant is a folder beneath `variants/`: `release.yaml`, templates and a style. `guide` is complete; every other one
says only what it does differently and takes the rest from `guide`. Adding a release is adding a folder.
"""

from __future__ import annotations

import json
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError
from ruamel.yaml import YAML

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.base.references import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIANTS = Path(__file__).parent / "variants"
COMPLETE = "guide"
"""The variant that the others are a change of."""


class Handles(StrEnum):
    """What a row's checkbox and radio button carry."""

    FINGERPRINT = "fingerprint"
    OPAQUE = "opaque"
    POSITION = "position"


class Traits(Model):
    """How a release behaves.

    Attributes:
        handles: What a row's controls carry.
        page_size: Rows of a table on one page; 0 for all.
        upload_is_confirmed: Whether an uploaded file is shown first and imported by another button.
        removal_is_confirmed: Whether removing asks once more on a page of its own.
        removes_requests: Whether a pending request can be removed.
        lets_encrypt: Whether the appliance can request certificates by itself.
        inline_styles: Whether its pages carry styles of their own.
    """

    handles: Handles
    page_size: int
    upload_is_confirmed: bool
    removal_is_confirmed: bool
    removes_requests: bool
    lets_encrypt: bool
    inline_styles: bool


class Release(Model):
    """What `release.yaml` says, completed by what `guide` says.

    Attributes:
        title: What the variant shows, for people who choose one.
        version: Version of the software that it plays.
        build: Its build.
        traits: How it behaves.
        paths: Address of each page.
        fields: Name of each form field and button.
        values: What the options of a dropdown carry.
        labels: What is written on controls and above sections.
    """

    title: str
    version: str
    build: str
    traits: Traits
    paths: dict[str, str]
    fields: dict[str, str]
    values: dict[str, str]
    labels: dict[str, str]


def variants() -> tuple[str, ...]:
    """Names of all variants."""
    return tuple(sorted(each.parent.name for each in _VARIANTS.glob("*/release.yaml")))


@cache
def load_release(variant: str) -> Release:
    """What a variant says, completed.

    Raises:
        UsageError: There is no such variant.
        UnreadableInput: Its `release.yaml` is not understood.
    """
    if variant not in variants():
        raise UsageError(f"there is no variant {variant!r} of the pages", f"choose one of {', '.join(variants())}")
    told = _read(COMPLETE)
    if variant != COMPLETE:
        told = _completed(told, _read(variant), f"{variant}/release.yaml")
    try:
        # As JSON, since Python values are taken strictly and an enumeration is written as text.
        return Release.model_validate_json(json.dumps(told))
    except ValidationError as error:
        raise UnreadableInput(f"{variant}/release.yaml is not understood: {error}", "correct it") from error


@cache
def environment(variant: str) -> Environment:
    """The templates of a variant. Whatever they show is escaped."""
    folders = dict.fromkeys((variant, COMPLETE))
    loader = ChoiceLoader([FileSystemLoader(_VARIANTS / each) for each in folders])
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    release = load_release(variant)
    made.globals.update(
        release=release,
        path=release.paths,
        field=release.fields,
        value=release.values,
        label=release.labels,
        traits=release.traits,
    )
    return made


@cache
def style(variant: str) -> bytes:
    """The style sheet of a variant."""
    own = _VARIANTS / variant / "style.css"
    return (own if own.exists() else _VARIANTS / COMPLETE / "style.css").read_bytes()


def _read(variant: str) -> dict[str, Any]:
    told = YAML(typ="safe").load((_VARIANTS / variant / "release.yaml").read_text(encoding="utf-8"))
    if not isinstance(told, dict):
        raise UnreadableInput(f"{variant}/release.yaml is not a mapping", "correct it")
    return told


def _completed(whole: Mapping[str, Any], own: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a variant says in place of what the complete one says; a word that the latter lacks is a mistake."""
    unknown = sorted(own.keys() - whole.keys())
    if unknown:
        raise UnreadableInput(f"{where} says {', '.join(unknown)}, which no page asks for", "correct it")
    return {
        key: _completed(value, own[key], where) if isinstance(value, dict) and key in own else own.get(key, value)
        for key, value in whole.items()
    }
