"""What is particular to certificate directories: files, modes, chain parts, names in the way, locks, reloads."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from reconciler.base.errors import ActionRefused, EffectUnknown, StoreUnreachable
from reconciler.live.directory import DRIVER, DirectoryConfiguration, create_store, operations, reload
from reconciler.live.directory.files import locked
from reconciler.live.directory.operations import DirectoryStore
from reconciler.live.driver import ExistingKey, ExportOptions, OpenContext, Upload
from reconciler.live.store import Origin
from reconciler.pki.reading import read
from reconciler.pki.selection import may_serve
from tests.live.contract import form
from tests.live.directory.stores import assert_haproxy_starts, bundle, keys, names, new_store, put, store_at, upload
from tests.support.authority import DAY, NOW, Authority, Issued, make_key, self_signed
from tests.support.haproxy import serving
from tests.support.tls import served, served_chain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROOT = Authority.root()
INTERMEDIATE = ROOT.intermediate()
ACCESS = INTERMEDIATE.issue(["access.example.com", "*.atlas.example.com"], common_name="cn.example.com")
OTHER = self_signed(["other.example.com"], common_name="Other")
LEAF, OTHER_LEAF = ACCESS.certificate.fingerprint, OTHER.certificate.fingerprint


def chain_in(path: Path, name: str = f"{LEAF}.pem") -> list[str]:
    """Fingerprints of what a file holds after its leaf, as OpenSSL reads it."""
    return [each.fingerprint for each in read((path / name).read_bytes()).certificates[1:]]


# Making


def test_new_store_is_as_from_the_factory(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er"
    create_store(path, lambda: NOW)
    store = store_at(path).observe()
    (factory,) = store.certificates
    assert factory.origin is Origin.FACTORY
    assert factory.common_name == factory.friendly_name == "BeyondTrust Appliance"
    assert factory.certificate.not_before == NOW
    with pytest.raises(x509.ExtensionNotFound):
        factory.certificate.to_x509().extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names(path) == ["00-default.pem", f"{factory.fingerprint}.pem"]
    assert str((path / "00-default.pem").readlink()) == f"{factory.fingerprint}.pem"
    assert_haproxy_starts(path)


def test_factory_certificate_of_an_older_appliance(tmp_path: Path) -> None:
    create_store(tmp_path / "s", lambda: NOW, factory_name="Bomgar Appliance")
    assert store_at(tmp_path / "s").observe().certificates[0].common_name == "Bomgar Appliance"


def test_store_is_made_only_where_there_is_none(tmp_path: Path) -> None:
    configuration = DirectoryConfiguration(driver="directory", path="store")
    context = OpenContext("east-1", tmp_path, lambda: NOW)
    assert DRIVER.create
    assert DRIVER.create(configuration, context)
    before = store_at(tmp_path / "store").observe()
    assert not DRIVER.create(configuration, context)
    with pytest.raises(ActionRefused, match="already"):
        create_store(tmp_path / "store", lambda: NOW)
    assert store_at(tmp_path / "store").observe() == before
    put(tmp_path / "broken", "site.pem", b"garbage")
    assert not DRIVER.create(DirectoryConfiguration(driver="directory", path="broken"), context)
    put(tmp_path, "file", b"")
    with pytest.raises(StoreUnreachable, match="Not a directory"):
        DRIVER.create(DirectoryConfiguration(driver="directory", path="file"), context)
    with pytest.raises(ActionRefused, match="cannot be made"):
        create_store(tmp_path / "file" / "store", lambda: NOW)


def test_store_that_lost_its_certificates_keeps_what_else_it_had(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.create_request(form())
    store.import_(Upload(ROOT.certificate.der))
    before = store.observe()
    for name in names(tmp_path):
        (tmp_path / name).unlink()
    with pytest.raises(StoreUnreachable, match="--create-stores"):
        store.import_(upload(ACCESS))
    create_store(tmp_path, lambda: NOW)
    after = store.observe()
    assert after.requests == before.requests
    assert ROOT.certificate.fingerprint in after.by_fingerprint


def test_nothing_can_be_done_to_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable, match="--create-stores"):
        store_at(tmp_path / "missing").set_default(LEAF)
    assert not (tmp_path / "missing").exists()


# Files


def test_only_servable_files_are_in_the_directory_and_all_are_private(tmp_path: Path) -> None:
    path = tmp_path / "store"
    previous = os.umask(0)
    try:
        store = new_store(path)
        store.import_(Upload(ACCESS.pkcs12(b"x", chain=ACCESS.chain), b"x"))
        store.create_request(form())
        store.create_self_signed(form(), dt.timedelta(days=1))
    finally:
        os.umask(previous)
    assert all(name == "00-default.pem" or len(name) == 68 for name in names(path))
    for each in (path, *path.rglob("*")):
        mode = stat.S_IMODE(each.lstat().st_mode)
        assert each.is_symlink() or mode == (0o700 if each.is_dir() else 0o600), each
    for each in (path / ".store/certificates").iterdir():
        assert b"PRIVATE KEY" not in each.read_bytes()
    assert "PRIVATE" not in (path / ".store/store.json").read_text()


def test_files_hold_leaf_chain_and_key_without_the_root(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.import_(upload(ACCESS))
    content = (tmp_path / f"{LEAF}.pem").read_bytes()
    assert content == bundle(ACCESS, [INTERMEDIATE.certificate])
    assert b"ENCRYPTED" not in content


def test_chain_part_follows_the_store(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.import_(upload(OTHER))
    store.import_(upload(ACCESS, chain=False))
    untouched = {name: (tmp_path / name).stat().st_mtime_ns for name in names(tmp_path) if LEAF not in name}
    assert chain_in(tmp_path) == []
    store.import_(Upload(ROOT.certificate.der))
    assert chain_in(tmp_path) == []
    store.import_(Upload(INTERMEDIATE.certificate.der))
    assert chain_in(tmp_path) == [INTERMEDIATE.certificate.fingerprint]
    store.remove(ROOT.certificate.fingerprint)
    assert chain_in(tmp_path) == [INTERMEDIATE.certificate.fingerprint]
    store.remove(INTERMEDIATE.certificate.fingerprint)
    assert chain_in(tmp_path) == []
    assert untouched == {name: (tmp_path / name).stat().st_mtime_ns for name in untouched}
    assert_haproxy_starts(tmp_path)


def test_chain_part_prefers_what_is_complete_and_lasts(tmp_path: Path) -> None:
    short = Authority.root("Old root", not_after=NOW + DAY)
    cross = short.cross_sign(ROOT)
    brief = ROOT.intermediate(key=INTERMEDIATE.key, not_after=NOW + DAY)
    store = new_store(tmp_path)
    store.import_(upload(ACCESS, chain=False))
    for each in (brief.certificate, cross, INTERMEDIATE.certificate):
        store.import_(Upload(each.der))
    assert chain_in(tmp_path)[0] == INTERMEDIATE.certificate.fingerprint
    assert chain_in(tmp_path)[1:] == [cross.fingerprint]
    store.import_(Upload(ROOT.certificate.der))
    assert chain_in(tmp_path) == [INTERMEDIATE.certificate.fingerprint]


def test_what_openssl_would_not_serve_is_refused_before_anything_happens(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    weak = ROOT.issue(["a.example.com"], key=make_key("rsa-1024"))
    weak_authority = ROOT.intermediate("Weak", key=make_key("rsa-1024"))
    beneath = weak_authority.issue(["b.example.com"])
    store.import_(upload(beneath, chain=False))
    before, files = store.observe(), names(tmp_path)
    for file in (upload(weak), Upload(weak_authority.certificate.der)):
        with pytest.raises(ActionRefused, match="key too small"):
            store.import_(file)
    assert store.observe() == before
    assert names(tmp_path) == files
    assert not list(tmp_path.rglob(".reconciler-new*"))


def test_weak_root_is_kept_since_it_is_not_sent(tmp_path: Path) -> None:
    root = Authority.root(key=make_key("rsa-1024"))
    store = new_store(tmp_path)
    store.import_(upload(root.issue(["a.example.com"])))
    assert root.certificate.fingerprint in store.observe().by_fingerprint
    assert_haproxy_starts(tmp_path)


# What an administrator made


def test_change_of_a_foreign_directory_loses_nothing(tmp_path: Path) -> None:
    """Chain certificates that only a file held are kept when it goes; its companions go with it."""
    put(tmp_path, "a.pem", bundle(OTHER))
    put(tmp_path, "site.pem", ACCESS.pem() + Issued(INTERMEDIATE.certificate, ACCESS.key).pem())
    put(tmp_path, "site.pem.key", ACCESS.key_pem())
    put(tmp_path, "copy", bundle(ACCESS))
    (tmp_path / "link").symlink_to("copy")
    store = store_at(tmp_path)
    before = store.observe()
    assert [each.fingerprint for each in before.certificates].count(LEAF) == 1
    assert not [each for each in before.certificates if each.origin is Origin.FACTORY]
    store.remove(LEAF)
    after = store.observe()
    assert keys(after) == {fingerprint: has for fingerprint, has in keys(before).items() if fingerprint != LEAF}
    assert names(tmp_path) == ["00-default.pem", "a.pem"]
    assert after.default == before.default


def test_default_stays_when_new_names_would_come_first(tmp_path: Path) -> None:
    put(tmp_path, "~.pem", bundle(OTHER))
    store = store_at(tmp_path)
    store.import_(upload(ACCESS))
    assert store.observe().default == OTHER_LEAF
    assert names(tmp_path)[0] == "00-default.pem"


def test_files_before_the_default_make_room_for_it(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(tmp_path, "00-a.pem", bundle(OTHER))
    put(tmp_path, "!b.pem", bundle(ACCESS))
    assert store.observe().default == LEAF
    with pytest.raises(ActionRefused, match="default"):
        store.remove(LEAF)
    store.set_default(OTHER_LEAF)
    assert store.observe().default == OTHER_LEAF
    assert keys(store.observe())[LEAF]
    assert names(tmp_path)[0] == "00-default.pem"
    assert_haproxy_starts(tmp_path)


def test_removing_what_the_default_link_leads_to_where_another_file_comes_first(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.import_(upload(ACCESS))
    store.set_default(LEAF)
    put(tmp_path, "00-a.pem", bundle(OTHER))
    store.remove(LEAF)
    assert store.observe().default == OTHER_LEAF
    assert_haproxy_starts(tmp_path)


def test_name_of_a_fingerprint_that_holds_another_certificate_is_not_overwritten(tmp_path: Path) -> None:
    put(tmp_path, f"{LEAF}.pem", bundle(OTHER))
    store = store_at(tmp_path)
    store.import_(upload(ACCESS))
    assert {LEAF, OTHER_LEAF} <= keys(store.observe()).keys()
    assert f"{LEAF}-1.pem" in names(tmp_path)


def test_parameters_survive_a_new_chain(tmp_path: Path) -> None:
    parameters = subprocess.run(["openssl", "ecparam", "-name", "prime256v1"], check=True, capture_output=True).stdout
    put(tmp_path, "site.pem", bundle(ACCESS, ()) + parameters)
    store_at(tmp_path).import_(Upload(INTERMEDIATE.certificate.der))
    content = (tmp_path / "site.pem").read_bytes()
    assert content.endswith(parameters)
    assert chain_in(tmp_path, "site.pem") == [INTERMEDIATE.certificate.fingerprint]


def test_chain_file_with_its_root_is_left_as_it_is(tmp_path: Path) -> None:
    put(tmp_path, "site.pem", bundle(ACCESS))
    store_at(tmp_path).import_(upload(OTHER))
    assert (tmp_path / "site.pem").read_bytes() == bundle(ACCESS)


def test_keyless_certificate_is_not_served_by_surprise(tmp_path: Path) -> None:
    """Its key may come with something else; it is served when it is imported, not as a side effect."""
    renewed = INTERMEDIATE.issue(["access.example.com"], key=ACCESS.key)
    store = new_store(tmp_path)
    store.import_(Upload(renewed.pem()))
    store.import_(upload(ACCESS))
    assert not keys(store.observe())[renewed.certificate.fingerprint]
    store.import_(Upload(renewed.pem()))
    assert keys(store.observe())[renewed.certificate.fingerprint]


def test_key_of_a_pending_request_makes_certificates_and_requests(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.create_request(form("One"))
    (request,) = store.observe().requests
    key = ExistingKey(request.public_key)
    store.create_self_signed(form("Two", key=key), dt.timedelta(days=1))
    store.create_request(form("Three", key=key))
    assert {each.public_key for each in store.observe().requests} == {request.public_key}
    assert len(store.observe().requests) == 2


def test_friendly_name_of_the_request_goes_to_its_answer(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.create_request(form(friendly_name="As asked"))
    (request,) = store.observe().requests
    signed = ROOT.sign(x509.load_pem_x509_csr(request.request_data.encode()))
    store.import_(Upload(signed.der))
    assert store.observe().by_fingerprint[signed.fingerprint].friendly_name == "As asked"


def test_friendly_names_of_what_is_gone_are_forgotten(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.import_(Upload(bundle(ACCESS), friendly_name="Access"))
    store.import_(Upload(ROOT.certificate.der, friendly_name="The root"))
    store.remove(LEAF)
    names_ = json.loads((tmp_path / ".store/store.json").read_text())["friendly_names"]
    assert names_ == {}


# Locks


def test_store_held_by_another_process_is_unreachable(tmp_path: Path) -> None:
    new_store(tmp_path)
    store = DirectoryStore(tmp_path, lambda: NOW, patience=0.2)
    code = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / ".store/lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout
        assert holder.stdin
        holder.stdout.readline()
        for operation in (store.observe, lambda: store.set_default(LEAF), store.recover):
            with pytest.raises(StoreUnreachable, match="another process"):
                operation()
        holder.stdin.close()
    assert store.observe().certificates


def test_observers_do_not_wait_for_each_other_and_changes_wait_for_them(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with (tmp_path / ".store/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        store.observe()
        change = threading.Thread(target=store.import_, args=(upload(ACCESS),))
        change.start()
        time.sleep(0.2)
        assert LEAF not in store_at(tmp_path).observe().by_fingerprint
    change.join()
    assert LEAF in store.observe().by_fingerprint


def test_lock_that_cannot_be_opened(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    (tmp_path / ".store/lock").unlink()
    (tmp_path / ".store/lock").mkdir()
    with pytest.raises(ActionRefused, match="cannot be changed"):
        store.import_(upload(ACCESS))
    (tmp_path / ".store/lock").rmdir()
    (tmp_path / ".store/lock").symlink_to("elsewhere")
    with pytest.raises(StoreUnreachable, match="cannot be read"):
        store.observe()


def test_folder_of_the_lock_may_vanish(tmp_path: Path) -> None:
    with locked(tmp_path / "gone/lock", exclusive=False, patience=1):
        pass
    with pytest.raises(FileNotFoundError), locked(tmp_path / "gone/lock", exclusive=True, patience=1):
        pass


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    issued = [self_signed([f"{index}.example.com"]) for index in range(8)]
    problems: list[BaseException] = []

    def work(each: Issued) -> None:
        try:
            own = store_at(tmp_path)
            own.import_(upload(each))
            own.create_request(form())
            own.set_default(each.certificate.fingerprint)
            own.observe()
        except BaseException as error:  # noqa: BLE001 - told to the main thread
            problems.append(error)

    workers = [threading.Thread(target=work, args=(each,)) for each in issued]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert not problems
    after = store.observe()
    assert len(after.certificates) == 9
    assert len(after.requests) == 8
    assert_haproxy_starts(tmp_path)


def test_operation_that_has_begun_ends_before_its_task_does(tmp_path: Path) -> None:
    new_store(tmp_path / "store")
    context = OpenContext("a", tmp_path, lambda: NOW, (sys.executable, "-c", "import time; time.sleep(0.5)"))

    async def main() -> None:
        async with DRIVER.open(DirectoryConfiguration(driver="directory", path="store"), context) as driver:
            with anyio.move_on_after(0.1) as scope:
                await driver.import_(upload(ACCESS))
            assert scope.cancel_called

    anyio.run(main)
    store = store_at(tmp_path / "store").observe()
    assert keys(store)[LEAF]
    assert not store.unfinished


# Reload


def script(path: Path, body: str) -> tuple[str, ...]:
    path.write_text(f"#!/bin/sh\n{body}\n")
    return ("/bin/sh", str(path))


def test_reload_runs_after_each_change_of_what_is_served_and_only_then(tmp_path: Path) -> None:
    count = tmp_path / "count"
    store = new_store(tmp_path / "store", script(tmp_path / "reload", f"echo >> {count}"))

    def reloads() -> int:
        return len(count.read_text()) if count.exists() else 0

    changes = (
        (lambda: store.import_(upload(ACCESS, chain=False)), 1),
        (lambda: store.import_(upload(ACCESS, chain=False)), 1),
        (lambda: store.import_(Upload(ROOT.certificate.der)), 1),
        (lambda: store.create_request(form()), 1),
        (lambda: store.import_(Upload(INTERMEDIATE.certificate.der)), 2),
        (lambda: store.set_default(LEAF), 3),
        (lambda: store.set_default(LEAF), 3),
        (lambda: store.create_self_signed(form(), dt.timedelta(days=1)), 4),
        (store.observe, 4),
        (store.recover, 4),
    )
    for change, expected in changes:
        change()
        assert reloads() == expected
        assert not store.observe().unfinished


def test_failed_reload_fails_the_action_and_is_repeated(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    command = script(tmp_path / "reload", f"echo 'the \033[31mcertificate'; echo is bad >&2; test -e {gate}")
    store = new_store(tmp_path / "store", command)
    again: tuple[Callable[[], None], ...] = (lambda: store.import_(upload(ACCESS)), store.recover)
    for operation in (*again, *again):
        with pytest.raises(EffectUnknown) as caught:
            operation()
        assert "exit status 1: the \\x1b[31mcertificate | is bad" in caught.value.message
        observed = store.observe()
        assert keys(observed)[LEAF]
        assert observed.unfinished
    gate.touch()
    store.recover()
    assert not store.observe().unfinished


def test_later_change_repeats_a_reload_that_is_due(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    store = new_store(tmp_path / "store", script(tmp_path / "reload", f"test -e {gate}"))
    with pytest.raises(EffectUnknown):
        store.import_(upload(ACCESS))
    gate.touch()
    store.import_(upload(ACCESS))
    assert not store.observe().unfinished


def test_reload_commands_that_cannot_be_run(tmp_path: Path) -> None:
    for command, words in (
        (("/nowhere/reload",), "No such file or directory"),
        ((str(tmp_path),), "Permission denied"),
        (("/bin/echo", "a\0b"), "not valid"),
        (("/bin/sh", "-c", "kill -9 $$"), "signal 9"),
        (("/bin/sh", "-c", "seq 10000; exit 3"), "exit status 3: ... "),
    ):
        with pytest.raises(EffectUnknown) as caught:
            reload.run_reload(command)
        assert words in caught.value.message
        assert len(str(caught.value)) < 900


def test_reload_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    command = script(tmp_path / "reload", f"(sleep 3; touch {alive}) & echo begun; wait")
    start = time.monotonic()
    with pytest.raises(EffectUnknown, match=r"did not end within 0\.3 seconds: begun"):
        reload.run_reload(command, patience=0.3)
    assert time.monotonic() - start < 2
    time.sleep(0.1)
    assert not alive.exists()


def test_reload_does_not_wait_for_a_daemon_that_it_leaves_behind(tmp_path: Path) -> None:
    start = time.monotonic()
    reload.run_reload(script(tmp_path / "reload", "sleep 3 & exit 0"))
    assert time.monotonic() - start < 2


def test_a_slow_reload_does_not_make_others_give_up() -> None:
    assert operations.LOCK_PATIENCE > reload.PATIENCE


def test_reload_sees_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCESS_KEY_PASSPHRASE", "correct horse")
    shown = tmp_path / "shown"
    reload.run_reload(script(tmp_path / "reload", f"env > {shown}; cat >> {shown}"))
    assert "correct horse" not in shown.read_text()
    assert "PATH=" in shown.read_text()


# Served


def test_haproxy_answers_as_selection_foretells_after_every_action(tmp_path: Path) -> None:
    new_store(tmp_path / "store")
    under = ("access", "ACCESS", "x.atlas", "x.y.atlas", "atlas", "cn", "other", "unknown")
    asked = (None, *(f"{name}.example.com" for name in under), "access.example.com.")
    with serving({"east-1": tmp_path / "store"}) as haproxy:
        store = store_at(tmp_path / "store", haproxy.reload_command)

        def assert_foretold() -> None:
            live = store.observe()
            default = live.by_fingerprint[live.default or ""]
            for name in asked:
                foretold = may_serve(live.certificates, default, name and name.removesuffix("."), live.rule)
                if name and name.endswith("."):
                    foretold = (*foretold, default)
                assert served(haproxy.ports["east-1"], name) in {each.fingerprint for each in foretold}, name

        assert_foretold()
        renewed = INTERMEDIATE.issue(["access.example.com"])
        exact = ROOT.issue(["x.atlas.example.com"], key=make_key("rsa-2048"))
        changes: tuple[Callable[[], None], ...] = (
            lambda: store.import_(upload(ACCESS, chain=False)),
            lambda: store.import_(Upload(INTERMEDIATE.certificate.der)),
            lambda: store.import_(upload(OTHER)),
            lambda: store.set_default(OTHER_LEAF),
            lambda: store.import_(upload(renewed)),
            lambda: store.import_(upload(exact)),
            lambda: store.set_default(LEAF),
            lambda: store.remove(OTHER_LEAF),
            lambda: store.create_self_signed(form("Made", "other.example.com"), dt.timedelta(days=1)),
            lambda: store.remove(renewed.certificate.fingerprint),
        )
        for change in changes:
            change()
            assert_foretold()
        assert served_chain(haproxy.ports["east-1"], "access.example.com") == (
            LEAF,
            INTERMEDIATE.certificate.fingerprint,
        )


def test_export_after_all_that_has_the_key_that_is_served(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.import_(upload(ACCESS))
    file = store.export(LEAF, ExportOptions(certificate=False, private_key=True))
    assert load_der_private_key(file.content, None).public_key() == ACCESS.key.public_key()
