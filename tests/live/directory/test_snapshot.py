"""Reading directories as HAProxy would: what counts, what is passed over, what is refused and in which words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.base.errors import StoreUnreachable, StoreUnrecognised
from reconciler.live.directory import snapshot as module
from tests.live.contract import form
from tests.live.directory.stores import assert_haproxy_starts, bundle, keys, names, new_store, put, store_at
from tests.support.authority import Authority, make_key, self_signed
from tests.support.haproxy import check

ROOT = Authority.root()
ISSUED = ROOT.intermediate().issue(["access.example.com"])
OTHER = self_signed(["other.example.com"], common_name="Other")
FINGERPRINT = ISSUED.certificate.fingerprint
GOOD = bundle(ISSUED)

BROKEN = {
    "keyless": (ISSUED.pem(), "holds no private key"),
    "key only": (ISSUED.key_pem(), "holds no certificate"),
    "empty": (b"", "holds no certificate"),
    "garbage": (bytes(range(256)), "holds no certificate"),
    "text": (b"# to do: put the certificate here\n", "holds no certificate"),
    "half": (GOOD[:300], "no END line"),
    "half key": (GOOD[:-80], "no END line"),
    "damaged": (GOOD.replace(b"MII", b"!!!", 1), "base64"),
    "no certificate in it": (GOOD.replace(b"\nMII", b"\nAII", 1), "not a certificate"),
    "wrong key": (bundle(ISSUED).replace(ISSUED.key_pem(), OTHER.key_pem()), "not that of the first certificate"),
    "chain first": (b"".join([bundle(OTHER).replace(OTHER.key_pem(), b""), GOOD]), "not that of the first"),
    "encrypted key": (ISSUED.pem() + ISSUED.key_pem(b"secret"), "encrypted"),
    "damaged key": (ISSUED.pem() + ISSUED.key_pem().replace(b"\nM", b"\nN", 1), "cannot be read"),
    "der": (ISSUED.certificate.der, "holds no certificate"),
    "indented": (GOOD.replace(b"-----BEGIN CERT", b" -----BEGIN CERT", 1), "laid out in lines"),
    "huge": (GOOD + b"#" * (1 << 20), "larger than"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_file_is_named_and_explained(tmp_path: Path, case: str) -> None:
    content, words = BROKEN[case]
    put(tmp_path, "good.pem", bundle(OTHER))
    put(tmp_path, "site.pem", content)
    with pytest.raises(StoreUnrecognised) as caught:
        store_at(tmp_path).observe()
    assert "site.pem" in caught.value.message
    assert words in caught.value.message
    assert "good.pem" not in caught.value.message
    assert "PEM" in caught.value.remedy
    assert ISSUED.key_pem().decode()[30:90] not in str(caught.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    for index, (content, _) in enumerate(BROKEN.values()):
        put(tmp_path, f"{index}.pem", content)
    (tmp_path / "nowhere.pem").symlink_to("gone.pem")
    with pytest.raises(StoreUnrecognised) as caught:
        store_at(tmp_path).observe()
    for name in (*(f"{index}.pem" for index in range(len(BROKEN))), "nowhere.pem"):
        assert f" {name}: " in caught.value.message


def test_many_problems_are_counted(tmp_path: Path) -> None:
    for index in range(50):
        put(tmp_path, f"{index}.pem", b"")
    with pytest.raises(StoreUnrecognised, match="and 30 more"):
        store_at(tmp_path).observe()


def test_more_files_than_anyone_has_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_FILES", 2)
    for name in ("a", "b", "c"):
        put(tmp_path, name, GOOD)
    with pytest.raises(StoreUnrecognised, match="3 files"):
        store_at(tmp_path).observe()


def test_missing_and_empty_directories_ask_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path / "folders", ".hidden", GOOD)
    for name in ("missing", "empty", "folders"):
        with pytest.raises(StoreUnreachable, match="--create-stores") as caught:
            store_at(tmp_path / name).observe()
        assert name in caught.value.message
    put(tmp_path, "file", b"")
    with pytest.raises(StoreUnreachable, match="Not a directory"):
        store_at(tmp_path / "file").observe()


def test_directory_of_an_administrator_is_a_store(tmp_path: Path) -> None:
    """Everything that HAProxy loads counts, and what it passes over does not."""
    put(tmp_path, "site", GOOD)
    put(tmp_path, "zz.crt", b"a comment\n" + bundle(OTHER))
    put(tmp_path, "same.txt", ISSUED.key_pem() + ISSUED.pem())
    for passed_over in (".hidden.pem", "x.key", "x.issuer", "x.ocsp", "x.sctl"):
        put(tmp_path, passed_over, b"nothing that could be loaded")
    put(tmp_path / "folder.pem", "x.pem", b"nothing that could be loaded")
    (tmp_path / "linked.pem").symlink_to("folder.pem")
    os.mkfifo(tmp_path / "pipe.pem")
    (tmp_path / "link.pem").symlink_to("zz.crt")
    assert_haproxy_starts(tmp_path)
    store = store_at(tmp_path).observe()
    assert keys(store) == {
        FINGERPRINT: True,
        OTHER.certificate.fingerprint: True,
        **{each.fingerprint: False for each in ISSUED.chain},
    }
    # The first name in byte order, as HAProxy takes them: a link to zz.crt.
    assert store.default == OTHER.certificate.fingerprint
    assert not (tmp_path / ".store").exists()


def test_order_is_by_bytes_and_not_by_locale(tmp_path: Path) -> None:
    put(tmp_path, "a.pem", GOOD)
    put(tmp_path, "B.pem", bundle(OTHER))
    assert store_at(tmp_path).observe().default == OTHER.certificate.fingerprint


def test_order_of_names_that_are_no_text(tmp_path: Path) -> None:
    put(tmp_path, "\U0001f600.pem", GOOD)
    put(tmp_path, os.fsdecode(b"\xff.pem"), bundle(OTHER))
    assert store_at(tmp_path).observe().default == FINGERPRINT


def test_key_beside_a_keyless_file_is_found_where_haproxy_looks(tmp_path: Path) -> None:
    put(tmp_path, "site.pem", ISSUED.pem())
    put(tmp_path, "site.pem.key", ISSUED.key_pem())
    assert_haproxy_starts(tmp_path)
    assert store_at(tmp_path).observe().by_fingerprint[FINGERPRINT].has_key
    put(tmp_path, "site.pem.key", OTHER.key_pem())
    with pytest.raises(StoreUnrecognised, match="not that of the first"):
        store_at(tmp_path).observe()
    put(tmp_path, "site.pem.key", b"nothing")
    with pytest.raises(StoreUnrecognised, match="no private key"):
        store_at(tmp_path).observe()


def test_parameters_in_a_file_are_no_problem(tmp_path: Path) -> None:
    openssl = ["openssl", "ecparam", "-name", "prime256v1"]
    parameters = subprocess.run(openssl, check=True, capture_output=True).stdout
    put(tmp_path, "site.pem", GOOD + parameters)
    assert_haproxy_starts(tmp_path)
    assert store_at(tmp_path).observe().default == FINGERPRINT


def test_encrypted_traditional_key(tmp_path: Path) -> None:
    traditional = ISSUED.key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x")
    )
    put(tmp_path, "site.pem", ISSUED.pem() + traditional)
    with pytest.raises(StoreUnrecognised, match="encrypted"):
        store_at(tmp_path).observe()


@pytest.mark.parametrize("kind", ["rsa-2048", "ec-p384", "ec-p521", "ed25519"])
def test_every_kind_of_key(tmp_path: Path, kind: str) -> None:
    issued = ROOT.issue(["a.example.com"], key=make_key(kind))
    put(tmp_path, "site.pem", bundle(issued))
    assert_haproxy_starts(tmp_path)
    assert store_at(tmp_path).observe().default == issued.certificate.fingerprint


def test_traditional_keys(tmp_path: Path) -> None:
    for kind, command in (("rsa-2048", "rsa"), ("ec-p256", "ec")):
        issued = ROOT.issue(["a.example.com"], key=make_key(kind))
        convert = ["openssl", command, *(["-traditional"] if command == "rsa" else [])]
        key = subprocess.run(convert, check=True, capture_output=True, input=issued.key_pem()).stdout
        assert b"BEGIN PRIVATE" not in key
        put(tmp_path, "site.pem", issued.pem() + key)
        assert store_at(tmp_path).observe().default == issued.certificate.fingerprint


@pytest.mark.parametrize("target", ["gone.pem", "loop.pem", "../out.pem", "/etc/hostname", ".store/x.pem", "two.pem"])
def test_links_that_lead_astray(tmp_path: Path, target: str) -> None:
    store = tmp_path / "store"
    new_store(store)
    put(tmp_path, "out.pem", GOOD)
    put(store / ".store", "x.pem", GOOD)
    (store / "two.pem").symlink_to("00-default.pem")
    (store / "loop.pem").symlink_to(target)
    with pytest.raises(StoreUnrecognised, match=r"loop\.pem: it is a symbolic link"):
        store_at(store).observe()


def test_link_by_absolute_path_within_the_directory(tmp_path: Path) -> None:
    put(tmp_path, "site.pem", GOOD)
    put(tmp_path, "other.pem", bundle(OTHER))
    (tmp_path / "00-default.pem").symlink_to(tmp_path / "site.pem")
    assert store_at(tmp_path).observe().default == FINGERPRINT


def test_hostile_file_names_are_escaped(tmp_path: Path) -> None:
    hostile = [b"\x1b[31mred\x1b[0m.pem", b"two\nlines", b"\xff\xfe.pem", "\u202eevil".encode(), b"<b>|`*"]
    for name in hostile:
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    with pytest.raises(StoreUnrecognised) as caught:
        store_at(tmp_path).observe()
    assert str(caught.value).isprintable()
    str(caught.value).encode()
    for name in hostile:
        (tmp_path / os.fsdecode(name)).write_bytes(GOOD)
    put(tmp_path, "z.pem", bundle(OTHER))
    store = store_at(tmp_path)
    assert keys(store.observe())[FINGERPRINT]
    store.set_default(OTHER.certificate.fingerprint)
    store.remove(FINGERPRINT)
    assert names(tmp_path) == ["00-default.pem", "z.pem"]
    assert_haproxy_starts(tmp_path)


STORE_FILES = {
    ".store/store.json": [b"", b"{", b"[]", b'{"format_version": 2}', b'{"surprise": 1}', b'{"factory": 3}', b"\xff"],
    ".store/certificates/x.pem": [b"", GOOD, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    ".store/requests/x.pem": [b"", GOOD],
}


@pytest.mark.parametrize(("name", "content"), [(name, each) for name, all_ in STORE_FILES.items() for each in all_])
def test_damaged_store_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    store = new_store(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreUnrecognised, match=name):
        store.observe()


def test_request_whose_key_is_another(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.create_request(form())
    (path,) = (tmp_path / ".store/requests").iterdir()
    request, begin, _ = path.read_bytes().partition(b"-----BEGIN PRIVATE")
    assert begin
    path.write_bytes(request + OTHER.key_pem())
    with pytest.raises(StoreUnrecognised, match="not that of the request"):
        store.observe()


def test_store_without_its_folders_is_a_store(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for each in ("certificates", "requests"):
        (tmp_path / ".store" / each).rmdir()
    assert store.observe().certificates
    (tmp_path / ".store/certificates").write_bytes(b"")
    with pytest.raises(StoreUnrecognised, match=r"\.store/certificates: Not a directory"):
        store.observe()


def test_store_files_that_are_none(tmp_path: Path) -> None:
    """A named pipe, a link: nothing waits for a writer, nothing is followed."""
    store = new_store(tmp_path)
    (tmp_path / ".store/store.json").unlink()
    os.mkfifo(tmp_path / ".store/store.json")
    (tmp_path / ".store/certificates/x.pem").symlink_to("/etc/hostname")
    with pytest.raises(StoreUnrecognised) as caught:
        store.observe()
    assert "store.json: it is no regular file" in caught.value.message
    assert "x.pem: it cannot be read: Too many levels of symbolic links" in caught.value.message


def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    """In a process that is not root, since root may read everything."""
    new_store(tmp_path / "store")
    put(tmp_path / "store", "secret.pem", GOOD)
    tmp_path.chmod(0o755)
    command = [sys.executable, "-m", "tests.live.directory.stranger", str(tmp_path)]
    folder = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    broken, absent, unwritable, locked, observed, unreachable, unseen = done.stdout.splitlines()
    assert broken.startswith("StoreUnrecognised")
    assert "secret.pem: it cannot be read: Permission denied" in broken
    assert absent.startswith("ActionRefused there is no certificate")
    assert unwritable.startswith("ActionRefused nothing can be written")
    assert locked.startswith("ActionRefused nothing can be written")
    assert observed == "1"
    assert unreachable.startswith("StoreUnreachable")
    assert unseen.startswith("StoreUnreachable")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("cut"), st.integers(0, len(GOOD)), st.integers(0, 400)),
            st.tuples(
                st.just("put"), st.integers(0, len(GOOD)), st.sampled_from([b"\n", b" ", b"-", b"A", b"=", b"\0"])
            ),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_what_is_accepted_haproxy_accepts(tmp_path: Path, edits: list[tuple[str, int, int | bytes]]) -> None:
    """Files that something befell: never is one taken for sound that a front end would not start with."""
    content = GOOD
    for _, place, what in edits:
        content = (
            content[:place] + what + content[place:]
            if isinstance(what, bytes)
            else content[:place] + content[place + what :]
        )
    put(tmp_path, "site.pem", content)
    try:
        store_at(tmp_path).observe()
    except StoreUnrecognised:
        return
    assert not check(tmp_path)
