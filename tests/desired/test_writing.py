"""Edits say what was meant and touch no other line; files are written all or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reconciler.base.errors import StaleError, UnreadableInput
from reconciler.desired.compose import compose
from reconciler.desired.nodes import plain
from reconciler.desired.writing import Append, Change, Put, edit, flow, scalar, write_all

if TYPE_CHECKING:
    from pathlib import Path


def value(content: bytes) -> object:
    composed = compose(content)
    assert composed.root is not None
    assert not composed.flaws
    return plain(composed.root)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40))
@settings(max_examples=300, deadline=None)
def test_every_text_reads_back_as_itself_in_block_and_flow(text: str) -> None:
    written = scalar(text)
    assert written.isprintable()
    assert value(f"a: {written}\nb: [{written}, x]\nc: {{d: {written}}}\n".encode()) == {
        "a": text,
        "b": (text, "x"),
        "c": {"d": text},
    }


def test_what_no_file_may_hold_is_escaped_or_replaced() -> None:
    assert scalar("a\nb\x1b\u202e\U000e0001") == '"a\\nb\\x1b\\u202e\\U000e0001"'
    assert scalar("\ud800") == '"\ufffd"'
    assert flow(["a", "null", "1", ""]) == '[a, "null", "1", ""]'


ADD = Append("certificates", ("new",))
CASES = {
    "aligned values and comments": (
        "# top\nhostname:   a.example.com   # aligned\ncertificates: [ a,  b ]   # list\n\n# tail\n",
        "# top\nhostname:   a.example.com   # aligned\ncertificates: [a, b, new] # list\n\n# tail\n",
    ),
    "a list without indentation, and a comment that belongs to what follows": (
        "certificates:\n- a # old\n\n# policy\ndefault: a",
        "certificates:\n- a # old\n- new\n\n# policy\ndefault: a",
    ),
    "indentation, quotes, no end": (
        "certificates:\n    -   'a'\n    -   \"b\"",
        "certificates:\n    -   'a'\n    -   \"b\"\n    - new\n",
    ),
    "line ends": (
        "hostname: x\r\ncertificates:\r\n  - a\r\n  # odd\r\ndefault: a\r\n",
        "hostname: x\r\ncertificates:\r\n  - a\r\n  - new\r\n  # odd\r\ndefault: a\r\n",
    ),
    "a document with marks": (
        "---\nhostname: 'x'\ncertificates:\n# none\ndefault: a\n...\n",
        "---\nhostname: 'x'\ncertificates: [new]\n# none\ndefault: a\n...\n",
    ),
    "a file in flow style": ("{hostname: x, default: a}\n", "{hostname: x, default: a, certificates: [new]}\n"),
    "a text over lines that looks like comments": (
        "certificates:\n  - a\nnote: |\n  # not a comment\n\n",
        "certificates:\n  - a\n  - new\nnote: |\n  # not a comment\n\n",
    ),
    "an anchor elsewhere": (
        "x: &x [1, 0x1F, 1e3]\ny: *x\ncertificates: [a]\n",
        "x: &x [1, 0x1F, 1e3]\ny: *x\ncertificates: [a, new]\n",
    ),
    "a byte order mark": ("\ufeffhostname: x\n", "\ufeffhostname: x\ncertificates: [new]\n"),
    "a sequence over lines elsewhere": (
        "subject: {\n  a: b\n}\nhostname: x\n",
        "subject: {\n  a: b\n}\nhostname: x\ncertificates: [new]\n",
    ),
    "a sequence over lines elsewhere, no end": ("a: [\n  b]", "a: [\n  b]\ncertificates: [new]\n"),
}


@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_layouts(case: str) -> None:
    before, after = CASES[case]
    assert edit(before.encode(), [ADD], "f.yaml").decode() == after


def test_a_new_key_has_its_place_and_its_comment() -> None:
    text = b"primary: a  # first\nclient_software: none # for now\nsettle: 48h\n"
    put = [
        Put("backup", "backup: b", after="primary"),
        Put("default", "default: d", "why"),
        Put("x", "x: y", after="q"),
    ]
    assert edit(text, put, "f.yaml").decode() == (
        "primary: a  # first\nbackup: b\nclient_software: none # for now\nsettle: 48h\n# why\ndefault: d\nx: y\n"
    )


def test_a_value_takes_the_place_of_another() -> None:
    builds = "client_software:\n  - installed_at: 2026-01-01T00:00:00Z\n    trusts: [a]\n"
    result = edit(b"a: 1\nclient_software: none\nb: 2\n", [Put("client_software", builds)], "f.yaml")
    assert result.decode() == f"a: 1\n{builds}b: 2\n"


def test_larger_items_get_lines_of_their_own() -> None:
    items = Append("acknowledge", ("{rule: a, reason: b}", "{rule: c, reason: d}"))
    lines = b"acknowledge:\n  - {rule: a, reason: b}\n  - {rule: c, reason: d}\n"
    assert edit(b"a: 1\n", [items], "f.yaml") == b"a: 1\n" + lines
    assert edit(b"a: [\n1]\n", [items], "f.yaml") == b"a: [\n1]\n" + lines


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\ncertificates: *a\n",  # both would change
        "certificates: [\n  a,\n  b\n]\n",  # would be laid out anew
        "certificates: [\n]\n",
    ],
)
def test_what_cannot_be_kept_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(UnreadableInput, match=r"f\.yaml is laid out") as caught:
        edit(text.encode(), [ADD], "f.yaml")
    assert caught.value.remedy.endswith("    certificates: [new]")


# A file as somebody may have left it: keys in any style, between comments and blank lines.
WORD = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
NOTE = st.sampled_from(["", "", "  # note", " #x"])
GAP = st.lists(st.sampled_from(["", "# a comment", "  # indented", "#", "# - not: an item"]), max_size=2)


@st.composite
def entry(draw: st.DrawFn, key: str) -> list[str]:
    note, words = draw(NOTE), draw(st.lists(WORD, min_size=1, max_size=3))
    style = draw(st.sampled_from(["plain", "single", "double", "flow", "block", "loose", "literal", "folded", "map"]))
    spaces = " " * draw(st.integers(1, 4))
    match style:
        case "plain" | "single" | "double":
            quote = {"plain": "", "single": "'", "double": '"'}[style]
            return [f"{key}:{spaces}{quote}{words[0]}{quote}{note}"]
        case "flow":
            return [f"{key}:{spaces}[{', '.join(words)}]{note}"]
        case "block":
            indent = " " * draw(st.sampled_from([0, 2]))
            return [f"{key}:", *(f"{indent}- {word}{note}" for word in words)]
        case "loose":
            return [f"{key}:{note}", *(line for word in words for line in (f"  - {word}", *draw(GAP)))]
        case "literal" | "folded":
            return [f"{key}: {'|' if style == 'literal' else '>'}", *(f"  {word} # text" for word in words)]
        case _:
            return [f"{key}:{note}", *(f"  {word}-{index}: {word}{note}" for index, word in enumerate(words))]


@st.composite
def files(draw: st.DrawFn) -> str:
    names = draw(
        st.lists(st.sampled_from(["hostname", "settle", "retired", "note", "subject"]), unique=True, max_size=4)
    )
    lines: list[str] = draw(GAP)
    lists = st.sampled_from(
        [[], ["certificates: [a, b]"], ["certificates:", "  - a # first", "  - b"], ["certificates:", "- a"]]
    )
    parts = [*(draw(entry(name)) for name in names), draw(lists), draw(st.sampled_from([[], ["default: a # why"]]))]
    for part in draw(st.permutations(parts)):
        lines += [*part, *draw(GAP)]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join(lines) + draw(st.sampled_from(["", end]))


CHOICES: list[Change] = [
    ADD,
    Append("certificates", ("one", '"*.two"')),
    Put("default", "default: other"),
    Put("backup", "backup: b", "a comment", after="hostname"),
    Append("acknowledge", ("{rule: a, reason: b}",)),
]
CHANGES = st.lists(st.sampled_from(CHOICES), min_size=1, max_size=3, unique=True)


@given(files(), CHANGES)
@settings(max_examples=150, deadline=None)
def test_every_line_that_is_not_touched_stays_as_it_was(text: str, changes: list[Change]) -> None:
    assume(text.strip())  # else there is nothing to keep the layout of
    assume(text.endswith("\n") or not {"|", ">"} & set(text))  # such a text at the very end would gain a line break
    before = text.encode()
    keys = {"certificates", "default"} & {each.key for each in changes}
    after = edit(before, changes, "f.yaml")
    was, now = value(before), value(after)
    assert isinstance(was, dict)
    assert isinstance(now, dict)
    assert {key: each for key, each in was.items() if key not in keys} == {
        key: each for key, each in now.items() if key in was and key not in keys
    }
    kept = [line for line in text.splitlines() if not any(line.startswith(f"{key}:") for key in keys)]
    left = iter(after.decode().splitlines())
    assert all(line in left for line in kept), (text, after.decode())  # in order, each as it was
    if "\r\n" in text:
        assert b"\n" not in after.replace(b"\r\n", b"").removesuffix(b"\n")


def test_files_are_written_with_their_folders_and_rights(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("before")
    (tmp_path / "old").chmod(0o640)
    write_all(tmp_path, {"a/b/new": (None, b"1"), "old": (b"before", b"2")})
    assert (tmp_path / "a/b/new").read_bytes() == b"1"
    assert (tmp_path / "old").read_bytes() == b"2"
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "old"]


@pytest.mark.parametrize("rights", [0o600, 0o400, 0o660])
def test_what_is_on_its_way_is_never_more_open_than_what_it_replaces(
    tmp_path: Path, rights: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    old.write_text("before")
    old.chmod(rights)
    sync, seen = os.fsync, []

    def watching(descriptor: int) -> None:
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watching)
    write_all(tmp_path, {"old": (b"before", b"after")})
    assert not seen[0] & ~rights
    assert old.stat().st_mode & 0o777 == rights
    assert old.read_text() == "after"


@pytest.mark.parametrize("before", [None, b"something else"])
def test_what_changed_meanwhile_is_not_overwritten(tmp_path: Path, before: bytes | None) -> None:
    (tmp_path / "old").write_text("now")
    with pytest.raises(StaleError, match="has changed meanwhile"):
        write_all(tmp_path, {"a/new": (None, b"1"), "old": (before, b"2")})
    assert [each.name for each in tmp_path.iterdir()] == ["old"]


def test_a_link_is_followed_and_never_out_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "real").write_text("a")
    (root / "link").symlink_to("real")
    write_all(root, {"link": (b"a", b"b")})
    assert (root / "link").is_symlink()
    assert (root / "real").read_text() == "b"
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(UnreadableInput, match="leads out of"):
        write_all(root, {"out/x": (None, b"b")})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["root"]


def test_one_that_cannot_get_its_name_takes_the_others_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").write_text("before")
    rename = type(tmp_path).replace

    def failing(self: Path, target: Path) -> Path:
        if target.name == "last":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", failing)
    with pytest.raises(UnreadableInput, match="last cannot be written: No space left"):
        write_all(tmp_path, {"new/file": (None, b"1"), "old": (b"before", b"2"), "last": (None, b"3")})
    assert [each.name for each in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "before"


def test_what_cannot_be_taken_back_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("old", "older"):
        (tmp_path / name).write_text("before")
    rename, sync = type(tmp_path).replace, os.fsync
    full: list[Path] = []

    def failing(self: Path, target: Path) -> Path:
        if target.name == "last":
            full.append(target)
            raise OSError(28, "No space left on device")
        return rename(self, target)

    def lacking(descriptor: int) -> None:
        if len(full) == 1:
            full.append(tmp_path)
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(type(tmp_path), "replace", failing)
    monkeypatch.setattr(os, "fsync", lacking)
    files = {"old": (b"before", b"after"), "older": (b"before", b"after"), "last": (None, b"3")}
    with pytest.raises(UnreadableInput, match="last cannot be written: No space left"):
        write_all(tmp_path, files)
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"old": "after", "older": "before"}


def test_a_kill_leaves_whole_files(tmp_path: Path) -> None:
    script = """
        import os, signal, sys
        from pathlib import Path
        from reconciler.desired.writing import write_all
        calls, at, root = 0, int(sys.argv[1]), Path(sys.argv[2])
        def dying(name):
            real = getattr(os, name)
            def call(*given, **more):
                global calls
                calls += 1
                if calls == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*given, **more)
            setattr(os, name, call)
        for name in ("fsync", "rename", "replace"):
            dying(name)
        write_all(root, {f"d/{n}": (None, bytes([n]) * 5000) for n in range(3)} | {"old": (b"before", b"after")})
    """
    seen = set()
    for at in range(1, 12):
        root = tmp_path / str(at)
        root.mkdir()
        (root / "old").write_text("before")
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(at), root], check=False, env=os.environ
        )
        for number in range(3):
            file = root / "d" / str(number)
            assert not file.exists() or file.read_bytes() == bytes([number]) * 5000
        assert (root / "old").read_text() in {"before", "after"}
        seen.add(ran.returncode)
    assert seen == {0, -signal.SIGKILL}
