"""Bounded YAML: from bytes to nodes that know their place, or to flaws.

The C parser's event stream is read event by event and given up as soon as a limit is reached, so nothing is composed
that is nested too deeply, too long, or made long by aliases. Plain scalars are resolved here, by the core schema of
YAML 1.2; what is built is data only, since tags are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ruamel.yaml.cyaml import CParser  # type: ignore[attr-defined]  # the C extension has no types
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from reconciler.desired import rules
from reconciler.desired.nodes import Mapping, Node, Scalar, Sequence
from reconciler.desired.tree import shown

if TYPE_CHECKING:
    from reconciler.base.findings import Rule

MAX_DEPTH = 32
MAX_NODES = 50_000
"""Values of one file, counted with every alias written out."""
MAX_ALIASES = 200

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MOST_DIGITS = 100
"""Longer than any number that means something; Python refuses to convert very long ones."""
_NUMERIC_START = frozenset("-+.0123456789")

# The parser takes U+0085, U+2028 and U+2029 for line breaks, as YAML 1.1 did; editors and reviews show them as part of
# the line. A comment could hide a key after one of them, so none is accepted.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# Inside brackets and braces the parser knows the rules of YAML 1.1: it refuses `{url: https://example.com}`, and ends a
# word before a question mark. In YAML 1.2 (section 7.3.3) a colon between two characters of a word belongs to the word,
# and so does a question mark beside one, here as everywhere. They are masked for the parser, one character for another,
# so that places stay as they are. After a quote or a bracket a colon separates key and value.
_INNER_COLON = re.compile(r"""(?<=[^ \t\r\n"'\[\]{},]):(?=[^ \t\r\n\[\]{},])""")
_QUESTION_MARK = re.compile(r"""(?<=[^ \t\r\n"'\[\]{},])\?|\?(?=[^ \t\r\n\[\]{},])""")
_BREAK = re.compile("\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with the YAML itself. Line and column count from 1."""

    rule: Rule
    message: str
    remedy: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Composed:
    """What became of a file.

    Attributes:
        root: Its content without what is refused; None where it cannot be understood at all.
        flaws: What is wrong. A file with flaws is not to be acted on, even where there is a root.
    """

    root: Node | None
    flaws: tuple[Flaw, ...] = ()


class _Fatal(Exception):
    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.message)
        self.flaw = flaw


_Event: TypeAlias = Any
"""One of the parser's events; the C extension has no types."""
_Mark: TypeAlias = Any
"""Where an event stands, counted from 0."""


class _ColonInFlow(Exception):
    """A colon between two characters of a word, inside brackets or braces."""


class _Refused:
    """Stands for a key that is not accepted; its value is read and dropped."""


_REFUSED = _Refused()
_Part: TypeAlias = "Node | _Refused"


@dataclass(slots=True)
class _Frame:
    """A mapping or sequence that is being read."""

    line: int
    column: int
    anchor: str | None
    count: int
    deepest: int
    keys: dict[str, int] | None
    items: list[Any] = field(default_factory=list)
    key: _Part | None = None


@dataclass(frozen=True, slots=True)
class _Anchor:
    node: Node
    nodes: int
    height: int


def compose(content: bytes) -> Composed:
    """Read one YAML file. Never raises: what is wrong is told as flaws."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _place(content[: error.start].decode("utf-8"))
        remedy = "save it as UTF-8"
        return Composed(None, (Flaw(rules.YAML_SYNTAX, "the file is not UTF-8 text", remedy, line, column),))
    text = text.removeprefix("\ufeff")
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        line, column = _place(text[: forbidden.start()])
        what = f"the character U+{ord(forbidden[0]):04X} is not accepted"
        return Composed(None, (Flaw(rules.YAML_SYNTAX, what, "take it out", line, column),))
    spare = (each for each in map(chr, range(0xE000, 0xF900)) if each not in text)
    masks: dict[int, str] = {}
    if "?" in text:
        text = _mask(text, _QUESTION_MARK, next(spare), masks)
    try:
        return _parse(text, masks)
    except _ColonInFlow:
        return _parse(_mask(text, _INNER_COLON, next(spare), masks), masks)


def _mask(text: str, pattern: re.Pattern[str], spare: str, masks: dict[int, str]) -> str:
    masks[ord(spare)] = "?" if pattern is _QUESTION_MARK else ":"
    return pattern.sub(spare, text)


def _parse(text: str, masks: dict[int, str]) -> Composed:
    """Read text in which other characters stand for some colons and question marks.

    Raises:
        _ColonInFlow: No colon is masked, and there is one that the parser does not understand.
    """
    composer = _Composer(masks)
    parser = CParser(text)
    try:
        while parser.check_event():
            composer.take(parser.get_event())
    except _Fatal as error:
        return Composed(None, (*composer.flaws, error.flaw))
    except MarkedYAMLError as error:
        if error.problem == "found unexpected ':'" and ":" not in masks.values():
            raise _ColonInFlow from error
        return Composed(None, (*composer.flaws, _syntax(error, text)))
    finally:
        parser.dispose()
    if any(flaw.rule is rules.YAML_ANCHOR for flaw in composer.flaws):
        return Composed(None, tuple(composer.flaws))  # What such an alias stands for is unknown.
    root = composer.root
    if root is None or (isinstance(root, Scalar) and root.value is None):
        root = Mapping((), 1, 1)
    return Composed(root, tuple(composer.flaws))


def resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar by the core schema of YAML 1.2 (section 10.3.2)."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] not in _NUMERIC_START or len(text) > _MOST_DIGITS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


class _Composer:
    """Builds nodes from events."""

    def __init__(self, masks: dict[int, str]) -> None:
        self._masks = masks
        self.flaws: list[Flaw] = []
        self.root: Node | None = None
        self._frames: list[_Frame] = []
        self._anchors: dict[str, _Anchor] = {}
        self._count = self._aliases = self._documents = 0

    def take(self, event: _Event) -> None:
        """Read the next event."""
        kind = type(event)
        if self._documents > 1:
            return
        if kind is ScalarEvent:
            self._scalar(event)
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            self._start(event)
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            self._end()
        elif kind is AliasEvent:
            self._alias(event)
        elif kind is DocumentStartEvent:
            self._document(event)

    def _flaw(self, rule: Rule, message: str, remedy: str, place: _Mark | Node) -> Flaw:
        if isinstance(place, Scalar | Sequence | Mapping):
            return Flaw(rule, message, remedy, place.line, place.column)
        return Flaw(rule, message, remedy, place.line + 1, place.column + 1)

    def _report(self, rule: Rule, message: str, remedy: str, place: _Mark | Node) -> None:
        self.flaws.append(self._flaw(rule, message, remedy, place))

    def _spend(self, nodes: int, mark: _Mark) -> None:
        self._count += nodes
        if self._count > MAX_NODES:
            message = f"the file has more than {MAX_NODES} values, aliases written out"
            raise _Fatal(self._flaw(rules.YAML_LIMIT, message, "split it, or write less", mark))

    def _deep(self, depth: int, mark: _Mark) -> None:
        if depth > MAX_DEPTH:
            message = f"values are nested more than {MAX_DEPTH} deep"
            raise _Fatal(self._flaw(rules.YAML_LIMIT, message, "nothing that is declared here needs that", mark))

    def _document(self, event: _Event) -> None:
        self._documents += 1
        if self._documents > 1:
            self._report(rules.YAML_SYNTAX, "a second document begins here", "use one file for each", event.start_mark)
        if event.version is not None and tuple(event.version) != (1, 2):
            version = ".".join(map(str, event.version))
            message = f"the file asks for YAML {version}, but is read as YAML 1.2"
            self._report(rules.YAML_SYNTAX, message, "take the %YAML line out", event.start_mark)

    def _scalar(self, event: _Event) -> None:
        mark, value = event.start_mark, event.value
        if self._masks:
            value = value.translate(self._masks)
        self._spend(1, mark)
        if event.tag is not None:
            self._tag(event)
        resolved: Any = value
        if event.implicit[0] and not event.style:
            resolved = resolve(value)
        elif event.style and _CONTROL.search(value):
            self._report(rules.YAML_SYNTAX, "the text contains a control character", "take the escape out", mark)
        node = Scalar(resolved, mark.line + 1, mark.column + 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchor(node, 1, 0)
        self._add(node)

    def _tag(self, event: _Event) -> None:
        self._report(
            rules.YAML_TAG, f"the tag {shown(event.tag)} is not accepted", "write the plain value", event.start_mark
        )

    def _start(self, event: _Event) -> None:
        mark = event.start_mark
        self._spend(1, mark)
        depth = len(self._frames) + 1
        self._deep(depth, mark)
        if event.tag is not None:
            self._tag(event)
        keys: dict[str, int] | None = {} if type(event) is MappingStartEvent else None
        self._frames.append(_Frame(mark.line + 1, mark.column + 1, event.anchor, self._count - 1, depth, keys))
        if event.anchor is not None:
            # An alias to it before it ends would be recursive.
            self._anchors.pop(event.anchor, None)

    def _end(self) -> None:
        frame = self._frames.pop()
        node: Node
        if frame.keys is None:
            node = Sequence(tuple(frame.items), frame.line, frame.column)
        else:
            node = Mapping(tuple(frame.items), frame.line, frame.column)
        if frame.anchor is not None:
            height = frame.deepest - len(self._frames)
            self._anchors[frame.anchor] = _Anchor(node, self._count - frame.count, height)
        if self._frames:
            self._frames[-1].deepest = max(self._frames[-1].deepest, frame.deepest)
        self._add(node)

    def _alias(self, event: _Event) -> None:
        mark = event.start_mark
        anchor = self._anchors.get(event.anchor)
        if anchor is None:
            open_now = any(frame.anchor == event.anchor for frame in self._frames)
            what = "stands inside what it refers to" if open_now else "refers to no anchor before it"
            self._spend(1, mark)
            self._report(rules.YAML_ANCHOR, f"the alias *{shown(event.anchor)} {what}", "write the value out", mark)
            self._add(_REFUSED)
            return
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            message = f"the file has more than {MAX_ALIASES} aliases"
            raise _Fatal(self._flaw(rules.YAML_LIMIT, message, "write the values out", mark))
        self._spend(anchor.nodes, mark)
        self._deep(len(self._frames) + anchor.height, mark)
        frame = self._frames[-1]  # There is one: what an alias refers to stands in the same document.
        frame.deepest = max(frame.deepest, len(self._frames) + anchor.height)
        self._add(anchor.node)

    def _add(self, node: _Part) -> None:
        """Put a finished node where it belongs."""
        if not self._frames:
            self.root = None if isinstance(node, _Refused) else node
            return
        frame = self._frames[-1]
        if frame.keys is None:
            if node is not _REFUSED:
                frame.items.append(node)
        elif frame.key is None:
            frame.key = self._key(node, frame.keys)
        else:
            if frame.key is not _REFUSED and node is not _REFUSED:
                frame.items.append((frame.key, node))
            frame.key = None

    def _key(self, node: _Part, keys: dict[str, int]) -> _Part:
        """The key if it is accepted."""
        if isinstance(node, _Refused):
            return node
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self._report(rules.YAML_KEY, "this key is not text", "put it in quotes, or correct it", node)
            return _REFUSED
        if node.value == "<<":
            self._report(rules.YAML_KEY, "merge keys are not accepted", "write the keys out", node)
            return _REFUSED
        if node.value in keys:
            message = f"`{shown(node.value)}` stands in line {keys[node.value]} already"
            self._report(rules.DUPLICATE_KEY, message, "keep one of them", node)
            return _REFUSED
        keys[node.value] = node.line
        return node


def _place(before: str) -> tuple[int, int]:
    breaks = list(_BREAK.finditer(before))
    return len(breaks) + 1, len(before) - (breaks[-1].end() if breaks else 0) + 1


_INDENTATION = "check the indentation of this line and the one before it"
_PLAINER = {
    "mapping values are not allowed in this context": (
        "a colon does not fit here",
        f"{_INDENTATION}; quote text that contains a colon and a space",
    ),
    "could not find expected ':'": ("a key without a colon", "add the colon, or quote the text"),
    "did not find expected key": ("a key is expected here", _INDENTATION),
    "did not find expected '-' indicator": ("a list entry is expected here", _INDENTATION),
    "found unexpected end of stream": ("the quote that opens here is never closed", "close it"),
    "did not find expected node content": ("a value is expected here", "write one, or close the bracket before it"),
    "did not find expected ',' or ']'": ("the bracket that opens here is never closed", "close it with `]`"),
    "did not find expected ',' or '}'": ("the brace that opens here is never closed", "close it with `}`"),
    "found unexpected ':'": ("a colon does not fit here", "quote the text"),
    "found unknown escape character": ("the text has an escape that YAML does not know", "use single quotes"),
    "did not find expected alphabetic or numeric character": (
        "the name of an anchor has letters, digits, dashes and underscores only",
        "write the value out",
    ),
    "did not find expected <document start>": ("this does not belong to what comes before it", _INDENTATION),
}


def _syntax(error: MarkedYAMLError, text: str) -> Flaw:
    """What the parser could not read, in plainer words and at a place that exists."""
    problem = str(error.problem)
    message, remedy = _PLAINER.get(problem, (problem, "correct the YAML here"))
    mark = error.problem_mark
    if "opens here" in message and error.context_mark is not None:
        mark = error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = _BREAK.split(text)
    if not "".join([lines[line][column:], *lines[line + 1 :]] if line < len(lines) else []).strip():
        # The file ends before it should: after its last word, not somewhere in the blank that follows.
        line, column = (each - 1 for each in _place(text.rstrip()))
    character = lines[line][column : column + 1]
    if problem == "found character that cannot start any token":
        message = "a tab cannot indent" if character == "\t" else f"a value cannot begin with {character}"
        remedy = "use spaces" if character == "\t" else "put it in quotes"
    return Flaw(rules.YAML_SYNTAX, message, remedy, line + 1, column + 1)
