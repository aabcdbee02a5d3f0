"""Every operation, broken off at each of its file operations: by a crash, and by a disk that is full.

Whatever instant it is, HAProxy can start on the directory, nothing is lost, what was served is served, and doing the
same again leads to where it would have led at once.
"""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from reconciler.base.errors import ActionRefused, EffectUnknown, StoreUnreachable
from reconciler.live.driver import ExistingKey, Upload
from tests.live.contract import form
from tests.live.directory.faults import Crash, disk, full
from tests.live.directory.stores import bundle, keys, names, new_store, put, store_at, upload
from tests.support.authority import Authority, self_signed
from tests.support.haproxy import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.live.directory.operations import DirectoryStore
    from reconciler.live.store import LiveStore

ROOT = Authority.root()
INTERMEDIATE = ROOT.intermediate()
ACCESS = INTERMEDIATE.issue(["access.example.com"])
RENEWED = INTERMEDIATE.issue(["access.example.com"], key=ACCESS.key)
OTHER = self_signed(["other.example.com"], common_name="Other")
LEAF, OTHER_LEAF = ACCESS.certificate.fingerprint, OTHER.certificate.fingerprint


def factory(path: Path) -> DirectoryStore:
    return new_store(path)


def furnished(path: Path) -> DirectoryStore:
    """Two leaves and a chain; the intermediate's absence is noticed in the leaf's file."""
    store = new_store(path)
    store.import_(upload(ACCESS))
    store.import_(upload(OTHER))
    store.set_default(OTHER_LEAF)
    return store


def without_chain(path: Path) -> DirectoryStore:
    store = new_store(path)
    store.import_(upload(ACCESS, chain=False))
    store.import_(upload(INTERMEDIATE.issue(["b.example.com"]), chain=False))
    return store


def keyless(path: Path) -> DirectoryStore:
    store = new_store(path)
    store.import_(Upload(ACCESS.pem(), friendly_name="Access"))
    return store


def asking(path: Path) -> DirectoryStore:
    """A request that waits for the answer `answer` makes."""
    store = new_store(path)
    store.create_request(form("Asked", friendly_name="Asked"))
    return store


def asking_again(path: Path) -> DirectoryStore:
    store = furnished(path)
    store.create_request(form("Example remote access", key=ExistingKey(ACCESS.certificate.public_key)))
    return store


def foreign(path: Path) -> DirectoryStore:
    """What an administrator made: several files of one certificate, links, files that come before 00-default.pem."""
    put(path, "00-a.pem", bundle(ACCESS))
    put(path, "00-default.pem", bundle(OTHER))
    put(path, "site.pem", bundle(self_signed(["third.example.com"], common_name="Third")))
    put(path, "again.pem", bundle(ACCESS))
    (path / "0-first.pem").symlink_to("00-a.pem")
    (path / "zz.pem").symlink_to("00-a.pem")
    return store_at(path)


def unnumbered(path: Path) -> DirectoryStore:
    """What an administrator made, where the order of names alone makes the default; a new file may well come first."""
    put(path, "~last.pem", bundle(ACCESS))
    put(path, "~later.pem", bundle(OTHER))
    put(path, "~later.pem.issuer", OTHER.pem())
    return store_at(path)


def answer(store: DirectoryStore) -> None:
    (request,) = store.observe().requests
    signed = INTERMEDIATE.sign(x509.load_pem_x509_csr(request.request_data.encode()))
    store.import_(Upload(signed.der))


def make_default(common_name: str) -> Callable[[DirectoryStore], None]:
    def operation(store: DirectoryStore) -> None:
        rows = store.observe().certificates
        store.set_default(next(each.fingerprint for each in rows if each.common_name == common_name))

    return operation


def self_sign(store: DirectoryStore) -> None:
    store.create_self_signed(form("Made here"), dt.timedelta(days=1))


@dataclass
class Case:
    prepare: Callable[[Path], DirectoryStore]
    operation: Callable[[DirectoryStore], None]
    makes_new: bool = False
    """Whether it makes something else each time that it is done."""
    is_repeatable: bool = False
    """Whether doing it again, when it is done, is no error and changes nothing."""


CASES = {
    "import bundle": Case(factory, lambda store: store.import_(upload(ACCESS)), is_repeatable=True),
    "import leaf that is known without key": Case(
        keyless, lambda store: store.import_(upload(ACCESS)), is_repeatable=True
    ),
    "import key": Case(keyless, lambda store: store.import_(Upload(ACCESS.key_pem())), is_repeatable=True),
    "import chain": Case(
        without_chain, lambda store: store.import_(Upload(INTERMEDIATE.certificate.der)), is_repeatable=True
    ),
    "import renewal": Case(furnished, lambda store: store.import_(Upload(RENEWED.pem())), is_repeatable=True),
    "import into foreign": Case(foreign, lambda store: store.import_(upload(RENEWED)), is_repeatable=True),
    "import into unnumbered": Case(unnumbered, lambda store: store.import_(upload(RENEWED)), is_repeatable=True),
    "answer": Case(asking, answer, makes_new=True),
    "answer with existing key": Case(
        asking_again, lambda store: store.import_(Upload(RENEWED.pem())), is_repeatable=True
    ),
    "create request": Case(furnished, lambda store: store.create_request(form()), makes_new=True),
    "create self-signed": Case(furnished, self_sign, makes_new=True),
    "set default": Case(furnished, make_default("Example remote access"), is_repeatable=True),
    "set default in foreign": Case(foreign, make_default("Third"), is_repeatable=True),
    "set default in foreign to what is hidden": Case(foreign, make_default("Other"), is_repeatable=True),
    "set default in unnumbered": Case(unnumbered, make_default("Other"), is_repeatable=True),
    "remove": Case(furnished, lambda store: store.remove(LEAF)),
    "remove chain": Case(furnished, lambda store: store.remove(INTERMEDIATE.certificate.fingerprint)),
    "remove in foreign": Case(foreign, lambda store: store.remove(OTHER_LEAF)),
    "remove in unnumbered": Case(unnumbered, lambda store: store.remove(OTHER_LEAF)),
    "remove request": Case(asking, lambda store: store.remove_request(store.observe().requests[0].fingerprint)),
}


def steps(case: Case, path: Path) -> int:
    """How many file operations it takes on a fresh copy."""
    case.prepare(path)
    with disk() as watched:
        case.operation(store_at(path))
    return len(watched.happened)


def loaded(path: Path) -> frozenset[tuple[str, bytes]]:
    """What a front end would read."""
    return frozenset((name, (path / name).read_bytes()) for name in names(path) if (path / name).is_file())


class Starts:
    """Whether HAProxy starts on a directory, asked once for each thing that it would load."""

    def __init__(self) -> None:
        self._asked: set[frozenset[tuple[str, bytes]]] = set()

    def __call__(self, path: Path) -> None:
        content = loaded(path)
        if content not in self._asked:
            problem = check(path)
            assert not problem, problem
            self._asked.add(content)


def assert_nothing_lost(before: LiveStore, now: LiveStore, after: LiveStore) -> None:
    """What is there on both ends is there in between; nothing is there that is on neither end."""
    was, is_, will_be = keys(before), keys(now), keys(after)
    for fingerprint in was.keys() & will_be.keys():
        assert is_.get(fingerprint) in {was[fingerprint], will_be[fingerprint]}
    assert is_.keys() <= was.keys() | will_be.keys()
    assert now.default in {before.default, after.default}
    assert {*before.requests} & {*after.requests} <= {*now.requests} <= {*before.requests} | {*after.requests}
    for request in before.requests:
        holders = [
            each for each in now.certificates if each.certificate.public_key == request.public_key and each.has_key
        ]
        assert request in now.requests or holders or request not in after.requests


@pytest.mark.parametrize("name", CASES)
def test_crash_at_every_instant(tmp_path: Path, name: str) -> None:
    case, starts = CASES[name], Starts()
    count = steps(case, tmp_path / "counted")
    original = tmp_path / "original"
    before = case.prepare(original).observe()
    straight = tmp_path / "straight"
    shutil.copytree(original, straight, symlinks=True)
    case.operation(store_at(straight))
    after = store_at(straight).observe()
    assert count >= 3
    assert before.digest != after.digest
    for instant in range(count):
        path = tmp_path / str(instant)
        shutil.copytree(original, path, symlinks=True)
        with disk(instant) as watched, pytest.raises(Crash):
            case.operation(store_at(path))
        assert len(watched.happened) == instant + 1
        starts(path)
        store = store_at(path)
        now = store.observe()
        if not case.makes_new:
            assert_nothing_lost(before, now, after)
        # Only the last operation, which flushes that the marker is gone, comes after the reload.
        if loaded(path) != loaded(original) and instant < count - 1:
            assert now.unfinished
        store.recover()
        starts(path)
        recovered = store.observe()
        assert not recovered.unfinished
        assert keys(recovered) == keys(now)
        assert (recovered.default, recovered.requests) == (now.default, now.requests)
        if case.makes_new:
            assert keys(before).items() <= keys(recovered).items()
            if recovered.digest == before.digest:
                case.operation(store)
            assert len(store.observe().certificates) == len(after.certificates)
            assert len(store.observe().requests) == len(after.requests)
        else:
            if recovered.digest != after.digest:
                case.operation(store)
            assert store.observe() == after
            if case.is_repeatable:
                case.operation(store)
                assert store.observe() == after
        starts(path)
        assert temporary(path) == [] or recovered.digest == after.digest
        shutil.rmtree(path)


def temporary(path: Path) -> list[str]:
    return [each.name for each in path.rglob(".reconciler-new-*")]


@pytest.mark.parametrize("name", CASES)
def test_full_disk_at_every_instant(tmp_path: Path, name: str) -> None:
    case, starts = CASES[name], Starts()
    count = steps(case, tmp_path / "counted")
    original = tmp_path / "original"
    before = case.prepare(original).observe()
    refused = 0
    for instant in range(count):
        path = tmp_path / str(instant)
        shutil.copytree(original, path, symlinks=True)
        with disk(instant, full), pytest.raises((ActionRefused, EffectUnknown)) as caught:
            case.operation(store_at(path))
        assert "No space left on device" in caught.value.message
        assert caught.value.remedy
        assert str(path) in caught.value.message
        starts(path)
        now = store_at(path).observe()
        if isinstance(caught.value, ActionRefused):
            refused += 1
            assert now == before
            assert not temporary(path)
        shutil.rmtree(path)
    assert refused


def test_crash_while_a_store_is_made(tmp_path: Path) -> None:
    with disk() as watched:
        new_store(tmp_path / "counted")
    for instant in range(len(watched.happened)):
        path = tmp_path / str(instant)
        with disk(instant), pytest.raises(Crash):
            new_store(path)
        store = store_at(path)
        if store.exists():
            assert not check(path)
        else:
            with pytest.raises(StoreUnreachable, match="--create-stores"):
                store.observe()
            new_store(path)
        (row,) = store.observe().certificates
        assert store.observe().default == row.fingerprint
        with pytest.raises(ActionRefused, match="factory"):
            store.remove(row.fingerprint)
        assert not check(path)


def test_full_disk_while_a_store_is_made(tmp_path: Path) -> None:
    with disk() as watched:
        new_store(tmp_path / "counted")
    for instant in range(len(watched.happened)):
        with disk(instant, full), pytest.raises((ActionRefused, EffectUnknown), match="No space left"):
            new_store(tmp_path / str(instant))


def test_everything_is_flushed_before_it_is_named(tmp_path: Path) -> None:
    """A file before its rename, its folder after it, and both before the next step."""
    store = new_store(tmp_path)
    store.create_request(form())
    with disk() as watched:
        store.import_(upload(ACCESS))
        answer(store)
        store.set_default(LEAF)
    happened = [name for name, _ in watched.happened]
    for index, (name, subject) in enumerate(watched.happened):
        if name in {"replace", "unlink", "mkdir"}:
            assert happened[index + 1] == "fsync", (name, subject)
        if name == "open" and ".reconciler-new-" in str(subject):
            assert happened[index + 1] == "fsync", (name, subject)


def test_leftovers_of_a_crash_are_swept_away_by_the_next_change(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    count = steps(CASES["import bundle"], tmp_path / "counted")
    with disk(count // 2), pytest.raises(Crash):
        store.import_(upload(ACCESS))
    assert temporary(tmp_path)
    store.create_request(form())
    assert not temporary(tmp_path)


def test_answered_request_does_not_come_back(tmp_path: Path) -> None:
    """Its file may outlive a crash; it counts no more, not even while the answer is removed later."""
    original = tmp_path / "original"
    store = asking(original)
    (request,) = store.observe().requests
    signed = INTERMEDIATE.sign(x509.load_pem_x509_csr(request.request_data.encode()))
    file = f".store/requests/{request.fingerprint}.pem"
    kept = (original / file).read_bytes()
    store.import_(Upload(signed.der))
    assert not (original / file).exists()
    (original / file).write_bytes(kept)
    assert not store.observe().requests
    for instant in range(100):
        path = tmp_path / str(instant)
        shutil.copytree(original, path, symlinks=True)
        broken = False
        with disk(instant):
            try:
                store_at(path).remove(signed.fingerprint)
            except Crash:
                broken = True
        assert not store_at(path).observe().requests
        if not broken:
            assert not (path / file).exists()
            assert signed.fingerprint not in keys(store_at(path).observe())
            return
    pytest.fail("it never came to an end")
