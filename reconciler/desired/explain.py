"""What a model refuses, told as findings: at the exact key or value, in our own sentences, with a remedy.

Values are repeated only where one of a few words was expected; what stands where a secret belongs never is.
"""

from __future__ import annotations

import re
from inspect import isclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, assert_never, get_args, get_origin

from pydantic import BaseModel

from reconciler.base.references import REFUSED
from reconciler.base.text import printable
from reconciler.desired import rules
from reconciler.desired.nodes import Mapping, Node, Scalar, Sequence
from reconciler.desired.tree import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from reconciler.base.findings import Rule
    from reconciler.base.position import Position
    from reconciler.desired.hints import Hints
    from reconciler.desired.nodes import Document

_BY_ID = {each.id: each for each in (rules.INVALID_VALUE, rules.SECRET_LITERAL, rules.MATERIAL_OUTSIDE)}
_DISCRIMINATORS = ("kind", "driver")
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
Path: TypeAlias = tuple[str | int, ...]


class Told(NamedTuple):
    """One refusal, ready to become a finding."""

    rule: Rule
    message: str
    remedy: str
    position: Position


def explain(error: ValidationError, model: type[BaseModel], document: Document, hints: Hints) -> list[Told]:
    """Everything that a model refused of a document."""
    details = error.errors(include_url=False, include_input=False)
    told = (_tell(each, model, document, hints) for each in details)
    return [each for each in told if each]


def _tell(detail: ErrorDetails, model: type[BaseModel], document: Document, hints: Hints) -> Told | None:
    path, node = _locate(detail, document.root)
    context: dict[str, Any] = detail.get("ctx", {})
    kind, last = detail["type"], path[-1] if path else ""
    name = _name(path)
    place = document.position(*path)
    told: Told | None
    match kind:
        case "extra_forbidden":
            known = _fields(model, path[:-1], document.root)
            remedy = hints.did_you_mean(str(last), known, f"known keys: {', '.join(known)}")
            where = document.position(*path, key=True)
            told = Told(rules.UNKNOWN_KEY, f"the key `{shown(str(last))}` means nothing here", remedy, where)
        case "missing":
            told = Told(rules.MISSING_KEY, f"{name} is missing", _add(model, path, document.root), place)
        case "union_tag_not_found":
            key = context["discriminator"].strip("'")
            told = Told(rules.MISSING_KEY, f"`{key}` is missing", f"add `{key}:`", place)
        case "union_tag_invalid" if isinstance(node, Mapping):
            key = context["discriminator"].strip("'")
            words, where = _quoted(context["expected_tags"]), document.position(*path, key)
            told = _choice(f"`{key}`", dict(_entries(node))[key], words, hints, where)
        case "literal_error":
            told = _choice(name, node, _quoted(context["expected"]), hints, place)
        case "too_short" if isinstance(node, Sequence) and len(node.items) >= context["min_length"]:
            told = None  # Its entries were refused, each with a finding of its own.
        case _ if kind == REFUSED:
            told = Told(_BY_ID[context["rule"]], f"{name}: {context['message']}", context["remedy"], place)
        case _:
            told = Told(rules.INVALID_VALUE, *_sentence(kind, name, node, detail, context), place)
    return told


def _name(path: Path) -> str:
    """What people call the value at a path."""
    key = next((f"`{shown(step)}`" for step in reversed(path) if isinstance(step, str)), "the file")
    return f"entry {path[-1] + 1} of {key}" if path and isinstance(path[-1], int) else key


def _sentence(kind: str, name: str, node: Node, detail: ErrorDetails, context: dict[str, Any]) -> tuple[str, str]:
    """Message and remedy for a value of the wrong type or size."""
    expected = _EXPECTED.get(kind)
    if expected:
        what = _described(node)
        quote = expected == "text" and isinstance(node, Scalar) and node.value is not None
        return f"{name} should be {expected}, but is {what}", "put it in quotes" if quote else f"write {expected}"
    match kind:
        case "string_too_short" | "too_short":
            return f"{name} may not be empty", "give it a value, or take the key out"
        case "string_too_long":
            return f"{name} is longer than {context['max_length']} characters", "shorten it"
        case "greater_than_equal":
            return f"{name} is less than {context['ge']}", f"write {context['ge']} or more"
        case "value_error":
            return f"{name}: {printable(str(context['error']))}", "correct the value"
        case _:
            # A driver of somebody else may use any of pydantic's checks.
            return f"{name}: {printable(detail['msg'])}", "correct the value"


def _choice(name: str, node: Node, words: list[str], hints: Hints, place: Position) -> Told:
    remedy = f"write {' or '.join(words)}" if len(words) > 1 else f"write {words[0]}"
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return Told(rules.INVALID_VALUE, f"{name} should be one word, but is {_described(node)}", remedy, place)
    remedy = hints.did_you_mean(node.value, words, remedy)
    return Told(rules.INVALID_VALUE, f"{name} cannot be '{shown(node.value)}'", remedy, place)


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text) or [text]


def _described(node: Node) -> str:
    match node:
        case Sequence():
            return "a list"
        case Mapping():
            return "a mapping"
        case Scalar(value=None):
            return "empty"
        case Scalar(value=bool()):
            return "true or false"
        case Scalar(value=int() | float()):
            return "a number"
        case Scalar():
            return "text"
        case _:
            assert_never(node)


def _locate(detail: ErrorDetails, root: Node) -> tuple[Path, Node]:
    """Keys and indices that lead to an error, without the steps that only say which member of a union was meant.

    The members of our own unions are tagged in braces; those told apart by a key are tagged with that key's value, as
    the first step into their mapping.
    """
    path: list[str | int] = []
    node, entered = root, True
    location = detail["loc"]
    names_key = detail["type"] in ("missing", "extra_forbidden")
    for number, step in enumerate(location, 1):
        if isinstance(step, str) and step.startswith("{") and step.endswith("}"):
            continue
        if isinstance(node, Mapping):
            entries = dict(_entries(node))
            is_tag = any(_value(entries.get(each)) == step for each in _DISCRIMINATORS)
            if is_tag and entered and path and not (names_key and number == len(location)):
                entered = False
                continue
            path.append(step)
            node = entries.get(step, node)
        else:
            path.append(step)
            if isinstance(node, Sequence) and isinstance(step, int):
                node = node.items[step]
        entered = True
    return tuple(path), node


def _entries(node: Mapping) -> Iterator[tuple[object, Node]]:
    return ((key.value, value) for key, value in node.entries)


def _value(node: Node | None) -> object:
    return node.value if isinstance(node, Scalar) else None


def _fields(model: type[BaseModel], path: Path, root: Node) -> list[str]:
    """The keys that the mapping at a path may have."""
    return [name for each in _models_at(model, path, root) for name in each.model_fields]


def _add(model: type[BaseModel], path: Path, root: Node) -> str:
    """What to add, with the field's own description."""
    name = str(path[-1])
    fields = [each.model_fields[name] for each in _models_at(model, path[:-1], root) if name in each.model_fields]
    description = next((field.description for field in fields if field.description), "")
    first = description.split("\n", 1)[0].rstrip(".")
    return f"add `{name}:`" + (f" {first[:1].lower()}{first[1:]}" if first else "")


def _models_at(model: type[BaseModel], path: Path, root: Node) -> list[type[BaseModel]]:
    """The models that may describe the mapping at a path."""
    candidates, node = [model], root
    for step in path:
        if isinstance(step, str):
            annotations = [each.model_fields[step].annotation for each in candidates if step in each.model_fields]
            candidates = [each for annotation in annotations for each in _models_in(annotation)]
        if isinstance(node, Mapping):
            node = dict(_entries(node)).get(step, node)
        elif isinstance(node, Sequence) and isinstance(step, int):
            node = node.items[step]
    entries = {key: _value(value) for key, value in _entries(node)} if isinstance(node, Mapping) else {}
    return [each for each in candidates if _may_be(each, entries)] or candidates


def _may_be(model: type[BaseModel], entries: dict[Any, object]) -> bool:
    for name in _DISCRIMINATORS:
        field = model.model_fields.get(name)
        if field and name in entries and get_origin(field.annotation) is Literal:
            return entries[name] in get_args(field.annotation)
    return True


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for part in get_args(annotation) for each in _models_in(part)]
