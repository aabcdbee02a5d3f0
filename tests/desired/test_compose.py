"""Bounded YAML: what it reads, what it refuses, how quickly, and that places are where they claim to be."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.desired import compose as module
from reconciler.desired.compose import Composed, compose
from reconciler.desired.nodes import Mapping, Node, Scalar, Sequence, plain

if TYPE_CHECKING:
    from collections.abc import Iterator


def read(text: str) -> Any:  # noqa: ANN401 - whatever YAML can say
    composed = compose(text.encode())
    assert composed.flaws == ()
    assert composed.root is not None
    return plain(composed.root)


def rules(composed: Composed) -> list[str]:
    return [flaw.rule.id for flaw in composed.flaws]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("on", "on"),
        ("yes", "yes"),
        ("190:20:30", "190:20:30"),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-12", -12),
        ("+1", 1),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("-.inf", float("-inf")),
        (".INF", float("inf")),
        ("inf", "inf"),
        ("true", True),
        ("FALSE", False),
        ("True", True),
        ("tRUE", "tRUE"),
        ("~", None),
        ("Null", None),
        ("2026-11-20", "2026-11-20"),
        ("2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("9" * 5000, "9" * 5000),
        ("-", (None,)),
    ],
)
def test_plain_scalars_are_those_of_the_core_schema(text: str, value: object) -> None:
    got = read(f"key:\n  {text}\n")["key"]
    assert got == value
    assert type(got) is type(value)


def test_not_a_number_is_a_float() -> None:
    assert read("a: .NaN")["a"] != read("a: .nan")["a"]


def test_block_text_is_text() -> None:
    assert read("a: |\n  1\n  2\nb: >\n  true\n") == {"a": "1\n2\n", "b": "true\n"}


@pytest.mark.parametrize("text", ["", "\n# only a comment\n", "---\n", "~", "\ufeff"])
def test_a_file_that_says_nothing_is_an_empty_mapping(text: str) -> None:
    assert read(text) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{url: https://x.example/a:b, at: 12:30:00Z}", {"url": "https://x.example/a:b", "at": "12:30:00Z"}),
        ("{\"a\":1, 'b':2}", {"a": 1, "b": 2}),
        ('["a:b", {c: "d:e"}, f:g]', ("a:b", {"c": "d:e"}, "f:g")),
        ("{a: b:c} # d:e\n", {"a": "b:c"}),
        ("{u: https://x/?a=b, ?c: d?, e?: [f? g]}", {"u": "https://x/?a=b", "?c": "d?", "e?": ("f? g",)}),
        ("? a?\n: b:c\n", {"a?": "b:c"}),
        ("{a: b:\xa0, c\u3000:d: e?\xa0}", {"a": "b:\xa0", "c\u3000:d": "e?\xa0"}),
        ("{a: \ue000:b}", {"a": "\ue000:b"}),
        ("a:b: {c: d:e}", {"a:b": {"c": "d:e"}}),
    ],
)
def test_a_colon_or_question_mark_inside_a_word_belongs_to_it_in_flow_style_too(text: str, value: object) -> None:
    assert read(text) == value


def test_a_masked_colon_shows_nowhere() -> None:
    composed = compose(b"{a: b:c, b:c: d, b:c: e}")
    assert [flaw.message for flaw in composed.flaws] == ["`b:c` stands in line 1 already"]


def test_a_tree_may_share_parts_by_alias() -> None:
    assert read("a: &x [1, &y 2]\nb: *x\nc: *y\n*y : 3\n".replace("*y : 3\n", "")) == {"a": (1, 2), "b": (1, 2), "c": 2}
    assert read("a: &k key\nb: {*k : 1}\n") == {"a": "key", "b": {"key": 1}}


def test_an_anchor_may_be_set_again() -> None:
    assert read("a: &x 1\nb: &x [*x]\nc: *x\n".replace("[*x]", "[2]")) == {"a": 1, "b": (2,), "c": (2,)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x [*x]", ["yaml-anchor"]),
        ("*x", ["yaml-anchor"]),
        ("{*x : 1, [1]: *y}", ["yaml-anchor", "yaml-key", "yaml-anchor"]),
        ("&x a: 1\n*x : 2\n", ["duplicate-key"]),
        ("&x [a]: 1\n*x : 2\n", ["yaml-key", "yaml-key"]),
        ("a: 1\n--- 2\n--- 3\n", ["yaml-syntax"]),
        ("a: ! 1", ["yaml-tag"]),
        ("a: !!python/object:os.system {}", ["yaml-tag"]),
        ("%YAML 1.3\n---\na: 1", ["yaml-syntax"]),
        ("...", ["yaml-syntax"]),
        ("%FOO", ["yaml-syntax"]),
    ],
)
def test_what_is_refused(text: str, expected: list[str]) -> None:
    assert rules(compose(text.encode())) == expected


def test_the_version_that_is_read_may_be_named() -> None:
    assert read("%YAML 1.2\n---\na: 1\n") == {"a": 1}


LARGE = {
    "brackets": (b"[" * 30_000, "yaml-limit"),
    "braces": (b"{a: " * 30_000, "yaml-limit"),
    "dashes": (b"- " * 30_000, "yaml-limit"),
    "question marks": (b"? " * 30_000, "yaml-limit"),
    "entries": (b"[" + b"a," * 400_000 + b"]", "yaml-limit"),
    "keys": (b"".join(b"k%d: 1\n" % index for index in range(60_000)), "yaml-limit"),
    "aliases": (b"a: &a x\nb: [" + b"*a, " * 60_000 + b"]", "yaml-limit"),
    "billion laughs": (
        b"a: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + b"".join(
            b"b%d: &a%d [%s]\n" % (index, index, b", ".join([b"*a%d" % (index - 1)] * 10)) for index in range(1, 12)
        ),
        "yaml-limit",
    ),
    "nested aliases": (b"".join(b"k%d: &a%d [*a%d]\n" % (i, i, i - 1) for i in range(1, 80)), "yaml-anchor"),
    "deep aliases": (
        b"k0: &a0 []\n" + b"".join(b"k%d: &a%d [[[*a%d]]]\n" % (i, i, i - 1) for i in range(1, 30)),
        "yaml-limit",
    ),
    "one long line": (b"a " * 500_000, None),
    "anchors": (b"".join(b"- &a%d x\n" % index for index in range(40_000)), None),
    "colons": (b"[" + b"a:b," * 40_000 + b"]", None),
    "a broken line after many": (b"a: 1\n" * 100 + b"# x\n" * 200_000 + b"b: [", "duplicate-key"),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_input_ends_quickly(name: str) -> None:
    content, expected = LARGE[name]
    start = time.perf_counter()
    composed = compose(content)
    assert time.perf_counter() - start < 2
    assert rules(composed)[:1] == ([expected] if expected else [])


def test_nothing_is_composed_beyond_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NODES", 4)
    assert rules(compose(b"[a, b, c]")) == []
    assert rules(compose(b"[a, b, c, d]")) == ["yaml-limit"]
    monkeypatch.setattr(module, "MAX_DEPTH", 2)
    assert rules(compose(b"[[a]]")) == []
    assert rules(compose(b"[[[]]]")) == ["yaml-limit"]


# Properties

# In brackets and braces the parser takes a `:` after a space or a quote for an indicator, as YAML 1.1 did.
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Co", "Cn")), max_size=12).filter(
    lambda text: not re.search("(^|[ '\"]):", text)
)
LEAVES = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20
)


def frozen(value: object) -> object:
    if isinstance(value, list):
        return tuple(frozen(each) for each in value)
    if isinstance(value, dict):
        return {key: frozen(each) for key, each in value.items()}
    return value


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(TEXT.filter(lambda key: key != "<<"), VALUES, max_size=5), st.booleans())
def test_what_is_written_is_read(value: dict[str, Any], flow: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
    import io  # noqa: PLC0415

    stream = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.version = (1, 2)
    writer.default_flow_style = flow
    writer.allow_unicode = True
    writer.width = 10_000
    writer.dump(value, stream)
    composed = compose(stream.getvalue().replace("%YAML 1.2\n", "").encode())
    keys = [flaw for flaw in composed.flaws if flaw.rule.id == "yaml-key"]
    if not keys:
        assert composed.flaws == ()
        assert composed.root is not None
        assert plain(composed.root) == frozen(value)


# The other loader, too, takes a leading `?` for an indicator.
WORDS = st.text("abz019:?/.+-_", min_size=1, max_size=8).filter(lambda word: not word.startswith("?"))
PLAIN_FLOW = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | st.dictionaries(WORDS, inner, max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key}: {each}" for key, each in pairs.items()) + "}"
        )
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=400)
@given(PLAIN_FLOW)
def test_flow_style_agrees_with_a_loader_that_knows_the_rules_of_yaml_1_2(text: str) -> None:
    composed = compose(f"key: {text}\n".encode())
    if composed.flaws or composed.root is None:
        return
    try:
        expected = YAML(typ="base", pure=True).load(f"key: {text}\n")
    except Exception:  # noqa: BLE001 - it refuses a few things that are accepted here; that is no disagreement
        return
    assert as_text(composed.root, text) == frozen(expected)


def as_text(node: Node, source: str) -> object:
    """The node with every scalar as it was written: what is compared is structure."""
    lines = [f"key: {source}"]
    match node:
        case Scalar():
            if isinstance(node.value, str):
                return node.value
            rest = lines[node.line - 1][node.column - 1 :]
            return next(
                rest[:end]
                for end in range(len(rest) + 1)
                if rest[end : end + 1] in ("", ",", "]", "}") or rest[end : end + 2] == ": "
            )
        case Sequence():
            return tuple(as_text(each, source) for each in node.items)
        case Mapping():
            return {as_text(key, source): as_text(value, source) for key, value in node.entries}


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200) | st.text("ab:-[]{}&*!|>'\"%@`#,?\n \t0é😀\u2028\ufeff", max_size=60).map(str.encode))
def test_any_bytes_give_a_tree_or_flaws_whose_places_exist(content: bytes) -> None:
    composed = compose(content)
    assert composed.root is not None or composed.flaws
    lines = content.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for flaw in composed.flaws:
        assert 1 <= flaw.line <= lines.count("\n") + 1
        assert 1 <= flaw.column <= len(lines.split("\n")[flaw.line - 1]) + 1


def scalars(node: Node) -> Iterator[Scalar]:
    match node:
        case Scalar():
            yield node
        case Sequence():
            for item in node.items:
                yield from scalars(item)
        case Mapping():
            for key, value in node.entries:
                yield key
                yield from scalars(value)


PRINTABLE = st.text(st.characters(categories=("L", "N", "So")), min_size=1, max_size=6).filter(
    lambda text: isinstance(module.resolve(text), str)
)


@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(PRINTABLE, st.lists(PRINTABLE, min_size=1, max_size=3), min_size=1, max_size=4),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", "\ufeff"]),
    st.sampled_from([" ", "\t", " \t "]),
)
def test_every_place_points_at_the_text_that_it_claims(
    value: dict[str, list[str]], end: str, mark: str, space: str
) -> None:
    lines = []
    for index, (key, items) in enumerate(value.items()):
        lines += (
            [f"{key}:{space}[{f',{space}'.join(items)}]"] if index % 2 else [f"{key}:", *(f"  - {x}" for x in items)]
        )
    composed = compose((mark + end.join(lines) + end).encode())
    assert composed.flaws == ()
    assert composed.root is not None
    for scalar in scalars(composed.root):
        assert isinstance(scalar.value, str)
        assert lines[scalar.line - 1][scalar.column - 1 :].startswith(scalar.value)
