"""Commits that may be applied, and those that may not: signed by real keys, attacked as a repository can be."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import NotSigned, UnreadableInput, UsageError
from reconciler.desired.revision import read_revision
from reconciler.desired.signatures import Kind, Signature, check_signed, read_signers
from tests.support.programs import require_program
from tests.support.signing import PgpKey, SshKey, git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    return SshKey.make(tmp_path_factory.mktemp("ssh"), "alice")


@pytest.fixture(scope="module")
def mallory(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    return SshKey.make(tmp_path_factory.mktemp("ssh"), "mallory")


@pytest.fixture(scope="module")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgpKey]:
    key = PgpKey.make(tmp_path_factory.mktemp("gpg") / "bob", "Bob <bob@example.com>")
    yield key
    key.close()


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgpKey]:
    key = PgpKey.make(tmp_path_factory.mktemp("gpg") / "eve", "Eve <eve@example.com>")
    yield key
    key.close()


@dataclass(frozen=True)
class Place:
    """A repository with a desired state, and beside it the file that says who may sign."""

    top: Path

    @property
    def root(self) -> Path:
        return self.top / "desired-state"

    @property
    def file(self) -> Path:
        return self.top.parent / "signers"

    def commit(self, *options: str, policy: str = "{}", environ: dict[str, str] | None = None) -> str:
        (self.root / "fleet.yaml").write_text(f"policy: {policy}\n")
        git(self.top, "add", "-A")
        git(self.top, *options, "commit", "-q", "--allow-empty", "-m", "Declare\n\nit", environ=environ)
        return git(self.top, "rev-parse", "HEAD")

    def check(self, revision: str | None = "HEAD") -> Signature:
        [found] = check_signed(self.root, revision, [read_signers(self.file, self.root)])
        return found

    def refusal(self, revision: str | None = "HEAD") -> str:
        with pytest.raises(NotSigned) as caught:
            self.check(revision)
        assert str(caught.value).isprintable()
        assert caught.value.remedy
        return caught.value.message.removeprefix(f"commit {git(self.top, 'rev-parse', 'HEAD')[:12]} ").replace(
            str(self.file), "FILE"
        )

    def allow(self, key: SshKey, who: str = "alice@example.com") -> None:
        self.file.write_text(f"# who may sign\n{who} {key.public}\n")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in [each for each in os.environ if each.startswith("GIT_")]:
        monkeypatch.delenv(name)
    place = Place(tmp_path / "repository")
    place.root.mkdir(parents=True)
    git(place.top, "init", "-q", "-b", "main")
    return place


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


_GOOD = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG {key} Bob\n[GNUPG:] VALIDSIG {key} 2026-01-01 0 0 4 0 22 8 00 {key}"
_ARMOR = "-----BEGIN PGP SIGNATURE-----\n \n "
BY = "(Declare, by Alice <alice@example.com>) "


class TestSsh:
    def test_one_that_is_allowed_is_told_by_name_and_key(self, place: Place, alice: SshKey, temporary: Path) -> None:
        place.allow(alice)
        sha = place.commit(*alice.options)
        assert place.check() == place.check(None) == Signature(sha, "alice@example.com", alice.fingerprint)
        assert not list(temporary.iterdir())

    @pytest.mark.parametrize("who", ["*", "*@example.com", 'alice@example.com namespaces="git,file"'])
    def test_whatever_the_line_says_of_the_name(self, place: Place, alice: SshKey, who: str) -> None:
        place.allow(alice, who)
        place.commit(*alice.options)
        assert place.check().signer == who.split(maxsplit=1)[0]

    def test_one_that_is_not_signed(self, place: Place, alice: SshKey) -> None:
        place.allow(alice)
        place.commit()
        assert place.refusal() == BY + "is not signed"

    def test_a_stranger_by_the_key(self, place: Place, alice: SshKey, mallory: SshKey) -> None:
        place.allow(alice)
        place.commit(*mallory.options)
        assert place.refusal() == f"{BY}is signed with the key {mallory.fingerprint} that FILE does not allow"

    def test_a_stranger_with_the_name_of_one_who_is_allowed(self, place: Place, alice: SshKey, mallory: SshKey) -> None:
        place.allow(alice)
        place.commit(*mallory.options, "-c", "user.email=alice@example.com")
        assert "that FILE does not allow" in place.refusal()

    def test_a_key_that_is_for_something_else(self, place: Place, alice: SshKey) -> None:
        place.allow(alice, 'alice@example.com namespaces="file"')
        place.commit(*alice.options)
        told = (
            "is signed with a key that FILE:2 does not allow here: key is not permitted for use in signature namespace"
        )
        assert place.refusal() == f'{BY}{told} "git"'

    def test_a_certified_key_counts_for_whom_it_is_certified(self, place: Place, alice: SshKey, tmp_path: Path) -> None:
        key = SshKey.make(tmp_path, "certified")
        command = ["ssh-keygen", "-q", "-s", str(alice.file), "-I", "id", "-n", "bob", f"{key.file}.pub"]
        subprocess.run(command, check=True, capture_output=True)
        place.commit(*key.options, "-c", f"user.signingkey={key.file}-cert.pub")
        place.allow(alice, "bob cert-authority")
        assert place.check().signer == "bob"
        place.allow(alice, "carol cert-authority")
        assert place.refusal().endswith("that FILE:2 does not allow here: no valid principals found")

    @pytest.mark.parametrize(("limit", "word"), [("before", "expired"), ("after", "not yet valid")])
    def test_a_key_outside_its_time(self, place: Place, alice: SshKey, limit: str, word: str) -> None:
        year = "20200101" if limit == "before" else "20990101"
        place.allow(alice, f'alice@example.com valid-{limit}="{year}"')
        place.commit(*alice.options)
        told = place.refusal()
        assert told.startswith(f"{BY}is signed with the key {alice.fingerprint} that FILE:2 does not allow here: key ")
        assert word in told

    def test_a_time_is_that_of_the_committer(self, place: Place, alice: SshKey) -> None:
        place.allow(alice, 'alice@example.com valid-before="20200101"')
        place.commit(*alice.options, environ={"GIT_COMMITTER_DATE": "2019-06-01T00:00:00Z"})
        assert place.check().signer == "alice@example.com"

    def test_a_signature_of_another_commit(self, place: Place, alice: SshKey) -> None:
        place.allow(alice)
        signed = place.commit(*alice.options)
        raw = git(place.top, "cat-file", "commit", signed)
        forged = raw.replace("Declare", "Destroy") + "\n"
        sha = git(place.top, "hash-object", "-t", "commit", "-w", "--stdin", stdin=forged.encode())
        git(place.top, "reset", "-q", "--hard", sha)
        assert place.refusal() == "(Destroy, by Alice <alice@example.com>) has a signature that does not fit it"

    @pytest.mark.parametrize("how", ["two headers", "one header"])
    def test_two_signatures(self, place: Place, alice: SshKey, mallory: SshKey, how: str) -> None:
        place.allow(alice)
        both = []
        for key in (alice, mallory):
            signed = place.commit(*key.options, environ={"GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"})
            both.append(re.search(r"gpgsig (?:.*\n )*.*\n", git(place.top, "cat-file", "commit", signed)))
            if key is alice:
                git(place.top, "update-ref", "-d", "HEAD")
        first, second = (each[0] for each in both if each)
        raw = git(place.top, "cat-file", "commit", "HEAD") + "\n"
        added = first if how == "two headers" else first.replace("gpgsig ", " ")
        forged = raw.replace(second, first + second if how == "two headers" else second + added)
        sha = git(place.top, "hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=forged.encode())
        git(place.top, "update-ref", "HEAD", sha)
        assert place.refusal() == BY + "carries several signatures"

    def test_a_signed_tag_does_not_sign_what_it_points_to(self, place: Place, alice: SshKey) -> None:
        place.allow(alice)
        place.commit()
        git(place.top, *alice.options, "tag", "-s", "-m", "signed", "v1")
        assert place.refusal("v1") == BY + "is not signed"

    def test_nor_does_a_tag_make_a_difference_to_one_that_is(self, place: Place, alice: SshKey) -> None:
        place.allow(alice)
        sha = place.commit(*alice.options)
        git(place.top, "tag", "-a", "-m", "not signed", "v1")
        assert place.check("v1").commit == sha

    def test_a_signed_parent_does_not_speak_for_its_child(self, place: Place, alice: SshKey) -> None:
        place.allow(alice)
        place.commit(*alice.options)
        place.commit(policy="{renew_before: 1d}")
        assert place.refusal() == BY + "is not signed"
        assert place.check("HEAD~1").signer


class TestRepository:
    """What a repository may say of itself changes nothing."""

    def test_a_replaced_commit_is_not_followed(self, place: Place, alice: SshKey) -> None:
        place.allow(alice)
        signed = place.commit(*alice.options)
        git(place.top, "checkout", "-q", "--orphan", "other")
        other = place.commit(policy="{removals_at_most: 99}")
        git(place.top, "replace", signed, other)
        assert b"99" in git(place.top, "show", f"{signed}:desired-state/fleet.yaml").encode()
        assert place.check(signed).commit == signed
        assert read_revision(place.root, signed).files["fleet.yaml"] == b"policy: {}\n"
        git(place.top, "replace", "-d", signed)
        git(place.top, "replace", other, signed)
        git(place.top, "reset", "-q", "--soft", other)
        assert place.refusal(other) == BY + "is not signed"

    def test_nor_is_a_replaced_file(self, place: Place, alice: SshKey) -> None:
        place.allow(alice)
        place.commit(*alice.options)
        blob = git(place.top, "rev-parse", "HEAD:desired-state/fleet.yaml")
        other = git(place.top, "hash-object", "-w", "--stdin", stdin=b"policy: {removals_at_most: 99}\n")
        git(place.top, "replace", blob, other)
        assert read_revision(place.root, "HEAD").files["fleet.yaml"] == b"policy: {}\n"

    @pytest.mark.parametrize("name", ["gpg.program", "gpg.openpgp.program", "gpg.ssh.program"])
    @pytest.mark.parametrize("scope", ["repository", "user", "environment"])
    def test_its_own_program_is_not_run(
        self,
        place: Place,
        alice: SshKey,
        mallory: SshKey,
        bob: PgpKey,
        stranger: PgpKey,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        scope: str,
    ) -> None:
        ran = place.top.parent / "ran"
        liar = place.top.parent / "liar"
        lies = f'Good "git" signature for alice with ED25519 key SHA256:x\n{_GOOD.format(key=bob.fingerprint)}'
        liar.write_text(f"#!/bin/sh\ntouch {ran}\ncat <<'END' | tee /dev/stderr\n{lies}\nEND\n")
        liar.chmod(0o755)
        if name == "gpg.ssh.program":
            place.allow(alice)
            place.commit(*mallory.options)
        else:
            place.file.write_bytes(bob.export())
            place.commit(*stranger.options, environ=stranger.environ)
        self._set(place, monkeypatch, scope, name, str(liar))
        asked = ["git", "-C", str(place.top), "-c", f"gpg.ssh.allowedSignersFile={place.file}", "verify-commit", "HEAD"]
        subprocess.run(asked, capture_output=True, check=False)
        assert ran.exists()
        ran.unlink()
        assert "is signed with the key " in place.refusal()
        assert not ran.exists()

    def test_its_own_level_of_trust_does_not_matter(self, place: Place, bob: PgpKey) -> None:
        place.file.write_bytes(bob.export())
        place.commit(*bob.options, environ=bob.environ)
        git(place.top, "config", "gpg.minTrustLevel", "ultimate")
        assert place.check().signer == "Bob <bob@example.com>"

    @pytest.mark.parametrize("scope", ["repository", "user", "environment"])
    def test_its_own_signers_do_not_count(
        self, place: Place, alice: SshKey, mallory: SshKey, monkeypatch: pytest.MonkeyPatch, scope: str
    ) -> None:
        place.allow(alice)
        place.commit(*mallory.options)
        theirs = place.top.parent / "theirs"
        theirs.write_text(f"mallory {mallory.public}\n")
        self._set(place, monkeypatch, scope, "gpg.ssh.allowedSignersFile", str(theirs))
        assert mallory.fingerprint in place.refusal()

    def _set(self, place: Place, monkeypatch: pytest.MonkeyPatch, scope: str, name: str, value: str) -> None:
        match scope:
            case "repository":
                git(place.top, "config", name, value)
            case "user":
                home = place.top.parent / "home"
                home.mkdir()
                git(place.top, "config", "--file", str(home / ".gitconfig"), name, value)
                monkeypatch.setenv("HOME", str(home))
            case _:
                monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
                monkeypatch.setenv("GIT_CONFIG_KEY_0", name)
                monkeypatch.setenv("GIT_CONFIG_VALUE_0", value)


class TestWorkTree:
    """Without a revision, the files must be those of HEAD."""

    @pytest.fixture
    def signed(self, place: Place, alice: SshKey) -> Place:
        place.allow(alice)
        (place.root / "sites").mkdir()
        (place.root / "sites" / "a.yaml").write_text("hostname: a.example.com\n")
        (place.root / "current").symlink_to("sites")
        (place.top / ".gitignore").write_text("*.swp\n")
        place.commit(*alice.options)
        assert place.check(None).signer
        return place

    @pytest.mark.parametrize("change", ["content", "new", "ignored", "gone", "link", "staged", "assumed"])
    def test_anything_else_is_refused_by_its_path(self, signed: Place, change: str) -> None:
        path = "fleet.yaml"
        match change:
            case "content" | "staged" | "assumed":
                if change == "assumed":
                    git(signed.top, "update-index", "--assume-unchanged", "desired-state/fleet.yaml")
                (signed.root / path).write_text("policy: {removals_at_most: 99}\n")
                if change == "staged":
                    git(signed.top, "add", "-A")
            case "new" | "ignored":
                path = "sites/b.yaml" if change == "new" else "sites/.a.yaml.swp"
                (signed.root / path).write_text("")
            case "gone":
                (signed.root / path).unlink()
            case _:
                path = "current"
                (signed.root / path).unlink()
                (signed.root / path).symlink_to("elsewhere")
        told = signed.refusal(None)
        assert told.startswith(f"the files in {signed.root} are not those of commit ")
        assert told.endswith(f"so no signature speaks for them: {path}")
        assert signed.check("HEAD").signer

    def test_only_a_few_are_named(self, signed: Place) -> None:
        for number in range(9):
            (signed.root / f"{number}.txt").write_text("")
        assert signed.refusal(None).endswith(": 0.txt, 1.txt, 2.txt, 3.txt, 4.txt, ...")

    def test_what_lies_beside_does_not_matter(self, signed: Place) -> None:
        (signed.top / "notes.txt").write_text("mine")
        assert signed.check(None).signer


class TestLinks:
    """A link is content of the outer work tree, which nobody has signed, whatever it leads to."""

    @pytest.fixture
    def signed(self, place: Place, alice: SshKey) -> Place:
        place.allow(alice)
        place.commit(*alice.options)
        return place

    @pytest.mark.parametrize("where", ["desired-state", "link/desired-state", "link/deep/desired-state"])
    def test_one_that_leads_into_another_repository_is_refused(self, signed: Place, tmp_path: Path, where: str) -> None:
        outer = tmp_path / "outer"
        outer.mkdir()
        git(outer, "init", "-q", "-b", "main")
        if where == "desired-state":
            (outer / where).symlink_to(signed.root)
        elif where == "link/desired-state":
            (outer / "link").symlink_to(signed.top)
        else:
            (signed.top / "deep").symlink_to(".")
            (outer / "link").symlink_to(signed.top)
        with pytest.raises(NotSigned, match=r"leads through the link .*, for which no signature speaks"):
            check_signed(outer / where, "HEAD", [read_signers(signed.file, outer / where)])

    def test_one_that_leads_to_the_repository_as_a_whole_may_be_taken(self, signed: Place, tmp_path: Path) -> None:
        (tmp_path / "short").symlink_to(signed.top)
        root = tmp_path / "short" / "desired-state"
        assert check_signed(root, "HEAD", [read_signers(signed.file, root)])


class TestOpenPgp:
    @pytest.mark.parametrize("options", [["--armor"], []], ids=["armored", "binary"])
    def test_one_whose_key_is_in_the_keyring(
        self, place: Place, bob: PgpKey, temporary: Path, options: list[str]
    ) -> None:
        place.file.write_bytes(bob.export(*options))
        sha = place.commit(*bob.options, environ=bob.environ)
        assert place.check() == Signature(sha, "Bob <bob@example.com>", bob.fingerprint)
        assert not list(temporary.iterdir())

    def test_not_one_whose_key_only_the_user_has(
        self, place: Place, bob: PgpKey, stranger: PgpKey, temporary: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.file.write_bytes(bob.export())
        place.commit(*stranger.options, environ=stranger.environ)
        monkeypatch.setenv("GNUPGHOME", str(stranger.home))
        key = stranger.fingerprint[-16:]
        assert place.refusal() == f"{BY}is signed with the key {key} that FILE does not hold"
        assert not list(temporary.iterdir())

    def test_not_one_that_was_changed_after(self, place: Place, bob: PgpKey) -> None:
        place.file.write_bytes(bob.export())
        signed = place.commit(*bob.options, environ=bob.environ)
        raw = git(place.top, "cat-file", "commit", signed).replace("Declare", "Destroy") + "\n"
        git(
            place.top, "reset", "-q", git(place.top, "hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.encode())
        )
        assert place.refusal().endswith("has a signature that does not fit it")

    def test_not_with_a_key_that_has_expired(self, place: Place, tmp_path: Path) -> None:
        key = PgpKey.make(tmp_path / "gpg", "Old <old@example.com>", "1d", faked="20200101T000000")
        place.file.write_bytes(key.export())
        liar = tmp_path / "earlier"
        liar.write_text(f'#!/bin/sh\nexec {require_program("gpg")} --faked-system-time 20200101T100000 "$@"\n')
        liar.chmod(0o755)
        place.commit(*key.options, "-c", f"gpg.program={liar}", environ=key.environ)
        key.close()
        assert place.refusal() == f"{BY}is signed with an expired key, {key.fingerprint[-16:]} (Old <old@example.com>)"

    def test_nor_with_one_that_is_revoked(self, place: Place, tmp_path: Path) -> None:
        key = PgpKey.make(tmp_path / "gpg", "Lost <lost@example.com>")
        place.commit(*key.options, environ=key.environ)
        place.file.write_bytes(key.export())
        assert place.check().signer
        key.revoke()
        place.file.write_bytes(key.export())
        key.close()
        assert "is signed with a revoked key, " in place.refusal()

    def test_not_with_a_second_one_in_the_same_armor(self, place: Place, bob: PgpKey, stranger: PgpKey) -> None:
        place.file.write_bytes(bob.export())
        packets, signed, armor = b"", "", ""
        for key in (bob, stranger):
            signed = place.commit(*key.options, environ=key.environ | {"GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"})
            armor = git(place.top, "cat-file", "commit", signed).split("gpgsig ")[1].split("\n -----END")[0]
            packets += base64.b64decode("".join(armor.split("\n \n")[1].split("\n =")[0].split()))
            git(place.top, "update-ref", "-d", "HEAD")
        raw = git(place.top, "cat-file", "commit", signed).replace(armor, _ARMOR + base64.b64encode(packets).decode())
        sha = git(place.top, "hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.encode() + b"\n")
        git(place.top, "update-ref", "HEAD", sha)
        assert "is signed with the key " in place.refusal()

    def test_a_signature_of_the_other_kind(self, place: Place, bob: PgpKey, alice: SshKey) -> None:
        place.file.write_bytes(bob.export())
        place.commit(*alice.options)
        assert place.refusal() == f"{BY}is signed with an SSH key, and FILE takes an OpenPGP key"
        place.allow(alice)
        place.commit(*bob.options, environ=bob.environ)
        assert place.refusal() == f"{BY}is signed with an OpenPGP key, and FILE takes an SSH key"

    def test_a_damaged_keyring(self, place: Place, bob: PgpKey, temporary: Path) -> None:
        place.file.write_bytes(bob.export()[:20])
        place.commit(*bob.options, environ=bob.environ)
        with pytest.raises(UsageError, match="holds no OpenPGP public key"):
            place.check()
        assert not list(temporary.iterdir())

    def test_several_files_must_all_allow_it(self, place: Place, alice: SshKey, mallory: SshKey) -> None:
        place.allow(alice)
        others = place.file.with_name("others")
        others.write_text(f"mallory {mallory.public}\n")
        place.commit(*alice.options)
        with pytest.raises(NotSigned, match=r"that .*others does not allow"):
            check_signed(place.root, None, [read_signers(each, place.root) for each in (place.file, others)])


def test_something_that_is_neither_kind_of_signature(place: Place, alice: SshKey) -> None:
    place.allow(alice)
    raw = git(place.top, "cat-file", "commit", place.commit())
    for value in ("-----BEGIN SIGNED MESSAGE-----\n x\n -----END SIGNED MESSAGE-----", "junk"):
        forged = raw.replace("\n\n", f"\ngpgsig {value}\n\n", 1).encode() + b"\n"
        sha = git(place.top, "hash-object", "-t", "commit", "-w", "--stdin", stdin=forged)
        git(place.top, "update-ref", "HEAD", sha)
        assert place.refusal() == f"{BY}is signed with something else, and FILE takes an SSH key"


def test_hostile_words_of_a_commit_are_escaped(place: Place, alice: SshKey) -> None:
    place.allow(alice)
    place.commit()
    git(place.top, "commit", "-q", "--amend", "-m", "\x1b[2Jred \u202e" + "x" * 200, "--author", "A\x1b <a@b>")
    told = place.refusal()
    assert "\\x1b[2Jred \\u202exx" in told
    assert len(told) < 300


class TestFile:
    def test_it_may_not_lie_in_the_desired_state_not_even_through_a_link(self, place: Place, alice: SshKey) -> None:
        inside = place.root / "signers"
        inside.write_text(f"alice {alice.public}\n")
        place.file.symlink_to(inside)
        for path in (inside, place.file):
            with pytest.raises(UsageError, match=r"lies inside the desired state .* - keep it outside"):
                read_signers(path, place.root)

    @pytest.mark.parametrize("name", ["missing", ".", "nul\0byte"])
    def test_one_that_cannot_be_read(self, place: Place, name: str) -> None:
        with pytest.raises(UnreadableInput, match="who may sign, cannot be read: "):
            read_signers(place.top.parent / name, place.root)

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"", "does not say who may sign"),
            (b"# nobody yet\n", "does not say who may sign"),
            (b"\x00\x00\x00\x20KBXf", "does not say who may sign"),
            (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 a\n", "holds SSH keys, and does not say whose"),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\n", "holds a private key"),
            (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "holds a private key"),
            (b"\x95", "does not say who may sign"),
            (b"#" * ((1 << 20) + 1), "is larger than"),
        ],
    )
    def test_one_that_holds_something_else(self, place: Place, content: bytes, problem: str) -> None:
        place.file.write_bytes(content)
        with pytest.raises(UsageError, match=problem):
            read_signers(place.file, place.root)

    @pytest.mark.parametrize("line", ["a@b ssh-ed25519 AAAAC3", 'a@b,c cert-authority,namespaces="a b" ssh-rsa AAAAB3'])
    def test_allowed_signers(self, place: Place, line: str) -> None:
        place.file.write_text(f"\n# a\n{line} comment\n")
        assert read_signers(place.file, place.root).kind is Kind.SSH

    @pytest.mark.parametrize("first", [b"\x98", b"\x99", b"\xc6"])
    def test_keyrings(self, place: Place, first: bytes) -> None:
        place.file.write_bytes(first)
        assert read_signers(place.file, place.root).kind is Kind.OPENPGP


def test_without_the_program_that_is_said(place: Place, alice: SshKey, monkeypatch: pytest.MonkeyPatch) -> None:
    place.allow(alice)
    place.commit(*alice.options)
    only_git = place.top.parent / "bin"
    only_git.mkdir()
    (only_git / "git").symlink_to(shutil.which("git") or "")
    monkeypatch.setenv("PATH", str(only_git))
    with pytest.raises(UnreadableInput, match="there is no ssh-keygen to verify signatures with - install it"):
        place.check()


def test_without_a_repository_it_is_said(tmp_path: Path, alice: SshKey) -> None:
    (tmp_path / "signers").write_text(f"a {alice.public}\n")
    (tmp_path / "desired-state").mkdir()
    with pytest.raises(UnreadableInput, match="is not in a git repository - put the desired state under git"):
        check_signed(tmp_path / "desired-state", None, [read_signers(tmp_path / "signers", tmp_path / "desired-state")])
