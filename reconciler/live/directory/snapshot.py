"""One reading of a certificate directory: everything a front end would load from it, and what `.store/` keeps beside.

    DIR/00-default.pem              symbolic link to the default certificate's file; first in byte order
    DIR/<sha256>.pem                leaf, chain and key
    DIR/.store/store.json           format version, factory certificate, friendly names
    DIR/.store/certificates/        certificates without a key, the chain's among them
    DIR/.store/requests/            pending requests, each with its key
    DIR/.store/reload-due           there while what is served may not be what the directory says
    DIR/.store/lock

Files that an administrator put into DIR under names of their own count like ours. What HAProxy passes over (dot-files,
folders, `*.key`, `*.issuer`, `*.ocsp`, `*.sctl`) is passed over; whatever it would refuse to start with is a problem,
and all problems of the directory are reported at once. Reading changes nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

from pydantic import Field, ValidationError

from reconciler.base.durable import read_file
from reconciler.base.errors import FormatError, StoreUnreachable, StoreUnrecognised
from reconciler.base.references import Model
from reconciler.base.text import printable
from reconciler.live.directory.files import reason, shown
from reconciler.live.directory.servable import ServableFile, read_certificate, read_request, read_servable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from reconciler.pki.certificate import Certificate
    from reconciler.pki.request import Request


P = ParamSpec("P")
T = TypeVar("T")

DEFAULT = "00-default.pem"
STORE = ".store"
METADATA = f"{STORE}/store.json"
CERTIFICATES = f"{STORE}/certificates"
REQUESTS = f"{STORE}/requests"
RELOAD_DUE = f"{STORE}/reload-due"
LOCK = f"{STORE}/lock"
RESERVED = f"{STORE}/apply"

_PASSED_OVER = (".key", ".issuer", ".ocsp", ".sctl")
"""Extensions that HAProxy takes for companions of another file (`ssl-load-extra-files`)."""
_MOST_BYTES = 1 << 20
_MOST_BYTES_OF_METADATA = 16 << 20
_MOST_FILES = 10_000
_MOST_SHOWN = 20


class Metadata(Model):
    """What no certificate says of itself.

    Attributes:
        format_version: Of the whole layout.
        factory: Fingerprint of the certificate that came with the store, if one did.
        friendly_names: By fingerprint of certificate or request.
        fulfilled: Requests whose answer was imported, with the answer's fingerprint. As soon as the answer is in the
            directory the request no longer counts, so that both change places in one instant.
    """

    format_version: Literal[1] = 1
    factory: str | None = None
    friendly_names: dict[str, str] = Field(default_factory=dict)
    fulfilled: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that a front end loads.

    Attributes:
        name: Its name in the directory.
        content: What is in it.
        target: Name of the file that it links to, or None where it is a file itself.
    """

    name: str
    content: ServableFile
    target: str | None = None

    @property
    def fingerprint(self) -> str:
        """Identity of the certificate that it serves."""
        return self.content.leaf.fingerprint


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A pending request and its key.

    Attributes:
        request: The request.
        key: Its key, PEM.
    """

    request: Request
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Snapshot:
    """A directory as it was read.

    Attributes:
        entries: What a front end loads, in the order in which it does: by the bytes of the name.
        companions: Other names in the directory that belong to one of these files (`NAME.key`, ...).
        kept: Certificates in `.store/certificates`, by fingerprint.
        stored_requests: All request files by fingerprint, the fulfilled included.
        metadata: See `Metadata`.
        reload_due: Whether an interrupted change left a reload due.
    """

    entries: tuple[Entry, ...] = ()
    companions: frozenset[str] = frozenset()
    kept: Mapping[str, Certificate] = field(default_factory=dict)
    stored_requests: Mapping[str, StoredRequest] = field(default_factory=dict)
    metadata: Metadata = field(default_factory=Metadata)
    reload_due: bool = False

    @cached_property
    def keyed(self) -> dict[str, ServableFile]:
        """What is served, by fingerprint."""
        return {each.fingerprint: each.content for each in reversed(self.entries)}

    @cached_property
    def keyless(self) -> dict[str, Certificate]:
        """Certificates without a key: those that are kept, and those that only a file's chain holds so far."""
        embedded = {one.fingerprint: one for each in self.entries for one in each.content.chain}
        both = {**embedded, **self.kept}
        return {fingerprint: both[fingerprint] for fingerprint in both if fingerprint not in self.keyed}

    @cached_property
    def requests(self) -> dict[str, StoredRequest]:
        """Requests that still wait for an answer."""
        done = {request for request, answer in self.metadata.fulfilled.items() if answer in self.keyed}
        return {key: value for key, value in self.stored_requests.items() if key not in done}

    def key(self, public_key: str) -> bytes | None:
        """A key that is held with a certificate or a pending request, PEM."""
        served = (each.key for each in self.keyed.values() if each.leaf.public_key == public_key)
        pending = (each.key for each in self.requests.values() if each.request.public_key == public_key)
        return next(chain(served, pending), None)

    @property
    def default(self) -> str | None:
        """What a front end serves by default: the certificate that it loads first."""
        return self.entries[0].fingerprint if self.entries else None


def holds_files(root: Path) -> bool:
    """Whether there is anything that a front end would try to load, sound or not.

    Raises:
        OSError: That cannot be seen.
    """
    with suppress(FileNotFoundError), os.scandir(root) as found:
        return any(_is_loaded(each.name) and _is_looked_at(each) for each in found)
    return False


def read_directory(root: Path) -> Snapshot:
    """Read everything, once.

    Raises:
        StoreUnreachable: The directory cannot be read at all.
        StoreUnrecognised: A front end would refuse it, or `.store/` is damaged. The message lists every problem.
    """
    return _Reader(root).read()


class _Reader:
    """Collects problems while it reads, so that all of them are told at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._problems: list[str] = []

    def read(self) -> Snapshot:
        try:
            with os.scandir(self._root) as found:
                names = {each.name: each.is_symlink() for each in found if _is_looked_at(each)}
        except OSError as error:
            raise StoreUnreachable(
                f"{shown(self._root)} cannot be read: {reason(error)}",
                "check the store's path and permissions, or make the store with `reconciler apply --create-stores`",
            ) from error
        loaded = [name for name in names if _is_loaded(name)]
        if len(loaded) > _MOST_FILES:
            self._problems.append(f"there are {len(loaded)} files, more than the {_MOST_FILES} that are read")
            loaded = []
        snapshot = Snapshot(
            entries=self._entries({name: names[name] for name in loaded}, frozenset(names)),
            companions=frozenset(name for name in names if name.endswith(_PASSED_OVER) and not name.startswith(".")),
            kept=dict(self._folder(CERTIFICATES, _kept)),
            stored_requests=dict(self._folder(REQUESTS, _request)),
            metadata=self._attempt(METADATA, self._metadata) or Metadata(),
            reload_due=os.path.lexists(self._root / RELOAD_DUE),
        )
        if self._problems:
            raise self._unrecognised()
        return snapshot

    def _entries(self, loaded: dict[str, bool], names: frozenset[str]) -> tuple[Entry, ...]:
        files: dict[str, Entry] = {}
        broken: set[str] = set()
        for name in sorted(name for name, is_link in loaded.items() if not is_link):
            entry = self._attempt(name, self._file, name, names)
            if entry:
                files[name] = entry
            else:
                broken.add(name)
        regular = frozenset(files) | broken
        for name in sorted(name for name, is_link in loaded.items() if is_link):
            target = self._attempt(name, self._target, name, regular)
            if target in files:
                files[name] = replace(files[target], name=name, target=target)
        return tuple(files[name] for name in sorted(files, key=os.fsencode))

    def _file(self, name: str, names: frozenset[str]) -> Entry:
        content = read_file(self._root / name, _MOST_BYTES)
        beside = f"{name}.key"
        if beside in names and b"PRIVATE KEY-----" not in content:
            return Entry(name, read_servable(content, read_file(self._root / beside, _MOST_BYTES)))
        return Entry(name, read_servable(content))

    def _target(self, name: str, files: frozenset[str]) -> str:
        path = self._root / (self._root / name).readlink()
        if not path.exists():
            raise FormatError("it is a symbolic link that leads nowhere")
        if path.parent.resolve() != self._root.resolve() or path.name not in files:
            raise FormatError("it is a symbolic link that does not lead to a certificate file of this directory")
        return path.name

    def _metadata(self) -> Metadata:
        try:
            content = read_file(self._root / METADATA, _MOST_BYTES_OF_METADATA)
        except FileNotFoundError:
            return Metadata()
        try:
            return Metadata.model_validate_json(content)
        except ValidationError as error:
            raise FormatError("it is damaged, or of a later version of the reconciler") from error

    def _folder(self, folder: str, parse: Callable[[bytes], tuple[str, T]]) -> Iterator[tuple[str, T]]:
        """Every file of a folder of `.store/`, which only this driver writes to."""
        try:
            with os.scandir(self._root / folder) as found:
                names = sorted(each.name for each in found if not each.name.startswith("."))
        except FileNotFoundError:
            return
        except OSError as error:
            self._problems.append(f"{folder}: {reason(error)}")
            return
        for name in names[:_MOST_FILES]:
            content = self._attempt(f"{folder}/{name}", read_file, self._root / folder / name, _MOST_BYTES)
            parsed = None if content is None else self._attempt(f"{folder}/{name}", parse, content)
            if parsed:
                yield parsed

    def _attempt(self, name: str, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return read(*args, **kwargs)
        except FormatError as error:
            self._problems.append(f"{printable(name)}: {error.message}")
        except OSError as error:
            self._problems.append(f"{printable(name)}: it cannot be read: {reason(error)}")
        return None

    def _unrecognised(self) -> StoreUnrecognised:
        told = self._problems[:_MOST_SHOWN]
        more = len(self._problems) - len(told)
        return StoreUnrecognised(
            f"{shown(self._root)} holds what no front end would load: "
            + "; ".join([*told, f"and {more} more"] if more else told),
            "replace each by a PEM file of certificate, chain and unencrypted key, or move it out of the directory",
        )


def _kept(content: bytes) -> tuple[str, Certificate]:
    certificate = read_certificate(content)
    return certificate.fingerprint, certificate


def _request(content: bytes) -> tuple[str, StoredRequest]:
    request, key = read_request(content)
    return request.fingerprint, StoredRequest(request, key)


def _is_looked_at(entry: os.DirEntry[str]) -> bool:
    """Files, and links unless they lead to a folder, which is passed over like the folder itself."""
    if entry.is_symlink():
        return not os.path.isdir(entry.path)  # noqa: PTH112 - one call for each of many entries
    return entry.is_file(follow_symlinks=False)


def _is_loaded(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(_PASSED_OVER)
