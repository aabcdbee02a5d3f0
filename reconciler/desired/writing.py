"""Writes desired state: YAML that reads back as it was meant, edits that leave every other line alone, whole files.

An edit is a round trip through ruamel.yaml, which knows where comments, quotes and styles belong. What it would lay out
anew without need - aligned values, spaces in brackets, line ends - is taken from the file as it was: only the lines
that the edit itself touches are ruamel's. The result is read back, and must say what was meant and nothing else.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from reconciler.base.durable import sync_folder, temporary_for, write_new
from reconciler.base.errors import StaleError, UnreadableInput
from reconciler.desired.compose import compose, resolve
from reconciler.desired.nodes import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_INDENTS = ((2, 4, 2), (2, 2, 0), (4, 4, 2), (4, 6, 4), (4, 4, 0), (2, 3, 1))
"""Indentation of mappings and sequences, and offset of the dash: the usual first, then those that people have."""
_PLAIN = re.compile(r"[A-Za-z0-9_/.](?:[A-Za-z0-9_/.@+=() -]*[A-Za-z0-9_/.@+=()-])?")
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def scalar(text: str) -> str:
    """A text as a YAML scalar, in block and flow alike: plain where it stays the same text, else in double quotes.

    What is not plainly visible is escaped, so that a name out of a certificate can neither end a line nor turn it.
    """
    if _PLAIN.fullmatch(text) and isinstance(resolve(text), str):
        return text
    return '"' + "".join(_escaped(each) for each in text) + '"'


def _escaped(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    number = ord(character)
    if 0xD800 <= number <= 0xDFFF:  # noqa: PLR2004 - a lone surrogate is no character, and YAML cannot hold one
        return "\ufffd"
    return f"\\x{number:02x}" if number < 1 << 8 else f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"


def flow(items: Iterable[str]) -> str:
    """Texts as a YAML sequence on one line."""
    return f"[{', '.join(scalar(each) for each in items)}]"


@dataclass(frozen=True, slots=True)
class Put:
    """A top-level key gets a value, in the place of the one that it has, if any.

    Attributes:
        key: The key.
        text: Key and value as YAML, as they would stand in a file.
        comment: A line about it, or empty.
        after: The key that it follows where it is new and that one is there; else it comes last.
    """

    key: str
    text: str
    comment: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Append:
    """The sequence of a top-level key gets further items at its end; it is made where there is none.

    Attributes:
        key: The key.
        items: The items, each as YAML in flow style.
    """

    key: str
    items: tuple[str, ...]

    @property
    def text(self) -> str:
        """The key with just these items: names on one line, anything larger on a line of its own."""
        if any(each.startswith("{") for each in self.items):
            return "\n".join([f"{self.key}:", *(f"  - {each}" for each in self.items)])
        return f"{self.key}: [{', '.join(self.items)}]"


Change: TypeAlias = Put | Append


def edit(content: bytes, changes: Sequence[Change], file: str) -> bytes:
    """Change a YAML file, a mapping, and leave every line alone that the changes do not touch.

    Args:
        content: The file as it is; `compose` must find no flaw in it.
        changes: What is to change, one after the other.
        file: What people call the file.

    Raises:
        UnreadableInput: Its layout cannot be kept; the message says what to write by hand.
    """
    for change in changes:
        content = _edit(content, change, file)
    return content


def _edit(content: bytes, change: Change, file: str) -> bytes:
    text = content.decode("utf-8")
    bare = text.removeprefix("\ufeff").lstrip("\r\n")  # ruamel would drop both
    mark, text = text[: len(text) - len(bare)], bare
    expected = _expected(content, change)
    end = "\r\n" if content.count(b"\r\n") * 2 > content.count(b"\n") else "\n"
    for lines in _candidates(text, change, end):
        result = (mark + "".join(lines)).encode()
        read = compose(result)
        if read.root is not None and not read.flaws and plain(read.root) == expected:
            return result
    told = "\n".join(f"    {line}" for line in change.text.splitlines())
    raise UnreadableInput(
        f"{file} is laid out in a way that an edit would not keep", f"see that it says this, then go on:\n{told}"
    )


def _expected(content: bytes, change: Change) -> object:
    """What the file is to say."""
    before, given = (dict(_mapping(each)) for each in (content, change.text.encode()))
    if isinstance(change, Append):
        return before | {change.key: ((before.get(change.key) or ()) + given[change.key])}
    return before | given


def _mapping(content: bytes) -> Mapping[str, Any]:
    root = compose(content).root
    value = plain(root) if root is not None else {}
    return value if isinstance(value, dict) else {}


def _candidates(text: str, change: Change, end: str) -> Iterator[list[str]]:
    """The file as it may be after a change, the preferred form first."""
    own = _lines(text)
    for yaml, base in _round_trips(text):
        if len(base) != len(own):
            continue
        try:
            document = yaml.load(_unix(text))
            _apply(document, change, yaml)
            edited = _dump(yaml, document)
        except (YAMLError, ValueError, TypeError, AttributeError):  # ruamel's own, on what it cannot make sense of
            continue
        for tidy in (True, False):
            yield _merged(own, base, edited, end, tidy=tidy)
    # Where a round trip would lay lines together or apart, a new key can still stand at the end.
    ended = [*own[:-1], own[-1].removesuffix("\n").removesuffix("\r") + end] if own else []
    yield [*ended, *(line + end for line in _with_comment(change))]


def _with_comment(change: Change) -> list[str]:
    comment = [f"# {change.comment}"] if isinstance(change, Put) and change.comment else []
    return [*comment, *change.text.splitlines()]


def _round_trips(text: str) -> list[tuple[YAML, list[str]]]:
    """Round trips of the file as it is, in the indentation that comes nearest to it first."""
    trips = []
    lines = _lines(_unix(text))
    for mapping, sequence, offset in _INDENTS:
        yaml = YAML()
        yaml.indent(mapping=mapping, sequence=sequence, offset=offset)
        yaml.width, yaml.preserve_quotes = 4096, True
        yaml.explicit_start = any(line.startswith("---") for line in lines)
        yaml.explicit_end = any(line.startswith("...") for line in lines)
        try:
            base = _dump(yaml, yaml.load(_unix(text)))
        except YAMLError:  # pragma: no cover - what `compose` reads, ruamel reads as well
            continue
        strange = sum(one != other for one, other in zip(lines, base, strict=False))
        trips.append((strange, yaml, base))
    return [(yaml, base) for _, yaml, base in sorted(trips, key=lambda trip: trip[0])]


def _dump(yaml: YAML, document: object) -> list[str]:
    out = io.StringIO()
    yaml.dump(document, out)
    return _lines(out.getvalue())


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


def _lines(text: str) -> list[str]:
    """Lines with their ends; only a line feed ends one."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _apply(document: Any, change: Change, yaml: YAML) -> None:  # noqa: ANN401 - ruamel's own types are dynamic
    given = yaml.load(change.text)[change.key]
    if not isinstance(document, CommentedMap):
        raise TypeError
    if isinstance(change, Append) and document.get(change.key):
        document[change.key].extend(given)
        return
    new, after = change.key not in document, change.after if isinstance(change, Put) else ""
    if new and after in document:
        document.insert(list(document).index(after) + 1, change.key, given)
    else:
        document[change.key] = given
    if isinstance(change, Put) and change.comment:
        document.yaml_set_comment_before_after_key(change.key, before=change.comment)


def _merged(own: list[str], base: list[str], edited: list[str], end: str, *, tidy: bool) -> list[str]:
    """The file's own lines, but for those in which the edited round trip differs from the unedited one.

    Args:
        own: The lines of the file.
        base: The same lines after a round trip.
        edited: The lines after the edit.
        end: How the file ends its lines.
        tidy: Put new items of a sequence above the comments that follow it, which belong to what comes next.
    """
    result: list[str] = []
    for kind, start, stop, first, last in difflib.SequenceMatcher(None, base, edited, autojunk=False).get_opcodes():
        if kind == "equal":
            result += own[start:stop]
            continue
        new = [line.removesuffix("\n") + end for line in edited[first:last]]
        place = len(result)
        if kind == "insert" and tidy and new and new[0][:1] in {" ", "-"}:
            while place and (not result[place - 1].strip() or result[place - 1].lstrip().startswith("#")):
                place -= 1
        result[place:place] = new
    last_one = len(result) - 1
    return [line if line.endswith("\n") or index == last_one else line + end for index, line in enumerate(result)]


def write_all(root: Path, files: Mapping[str, tuple[bytes | None, bytes]]) -> None:
    """Write files beneath a folder: each is whole from the moment it is there, and all are, or none.

    They get their names in the order given, after all of them are on the disk under other names. Where one cannot get
    its name, those before it are put back. A kill in between leaves the first of them, each whole.

    Args:
        root: The folder.
        files: What each file held when it was looked at, None where there was none, and what it is to hold; by path
            from the folder.

    Raises:
        StaleError: One of them is not any more what it was.
        UnreadableInput: One of them cannot be written, or lies outside the folder.
    """
    staged: list[tuple[Path, Path, bytes | None]] = []
    folders: list[Path] = []
    placed: list[tuple[Path, bytes | None]] = []
    path = root
    try:
        for name, (before, after) in files.items():
            path = _inside(root, name)
            _check(path, before)
            folders += _make_folder(path.parent)
            temporary = temporary_for(path)
            staged.append((temporary, path, before))
            _write(temporary, after, path)
        for temporary, path, before in staged:
            _check(path, before)
            temporary.replace(path)
            placed.append((path, before))
        for folder in {path.parent for path, _ in placed}:
            sync_folder(folder)
    except BaseException as error:
        _undo(placed, staged, folders)
        if isinstance(error, OSError):
            raise UnreadableInput(f"{path} cannot be written: {error.strerror}", "nothing was written") from error
        raise


def _inside(root: Path, name: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise UnreadableInput(f"{root / name} leads out of {root}", "take the link out")
    return path


def _check(path: Path, before: bytes | None) -> None:
    now = path.read_bytes() if path.exists() else None
    if now != before:
        raise StaleError(f"{path} has changed meanwhile", "nothing was written; run the command again")


def _make_folder(folder: Path) -> list[Path]:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _write(temporary: Path, content: bytes, path: Path) -> None:
    """Write a file under another name, with the rights that the one has whose place it takes, and never with more."""
    if not path.exists():
        write_new(temporary, content, 0o666)
        return
    rights = path.stat().st_mode & 0o777
    write_new(temporary, content, rights)
    temporary.chmod(rights)  # the process may take some away from every new file


def _undo(
    placed: Sequence[tuple[Path, bytes | None]],
    staged: Sequence[tuple[Path, Path, bytes | None]],
    folders: Sequence[Path],
) -> None:
    # What makes room comes first: the disk may be full.
    for temporary, _, _ in staged:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    for path, before in placed:
        with contextlib.suppress(OSError):
            if before is None:
                path.unlink(missing_ok=True)
            else:
                _put_back(path, before)
    for folder in sorted(folders, key=lambda each: -len(each.parts)):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _put_back(path: Path, before: bytes) -> None:
    temporary = temporary_for(path)
    try:
        _write(temporary, before, path)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
