"""Whether somebody who is allowed to has signed a commit: `git verify-commit`, with the keys of one file and no others.

The file is the operator's: SSH allowed signers (ssh-keygen(1), ALLOWED SIGNERS) or an OpenPGP keyring. Which programs
verify, and against what, is said on git's command line, which comes before whatever a repository or a user has
configured. A forge that merges or squashes makes a commit of its own, and it is that commit which counts here.

That the author is who signed is not asked: the name in a commit is whatever its author wrote. Nor does this guard
against whoever can write into `.git` on this machine, nor against an older commit that was signed once: guard the
branch.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from reconciler.base.errors import NotSigned, UnreadableInput, UsageError
from reconciler.base.text import printable
from reconciler.desired.revision import open_repository, read_revision, resolve
from reconciler.desired.tree import LIMITS, read_work_tree, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from git import Repo

_SHORT = 12
_FEW = 5
_HEADERS = (b"gpgsig ", b"gpgsig-sha256 ")
_KEY = r"(?:sk-)?(?:ssh|ecdsa)-[\w@.-]+[ \t]+AAAA[\w+/]+=*"
_ALLOWED_SIGNER = re.compile(rf"[^\s#][^\n]*?[ \t]{_KEY}", re.ASCII)
_ONLY_A_KEY = re.compile(_KEY, re.ASCII)
_FORMATS = "name SSH allowed signers (`alice@example.com ssh-ed25519 AAAA...`) or OpenPGP public keys (`gpg --export`)"
# What a keyring holds is what its owner trusts; nothing is fetched, and no agent is left running.
_GPG_CONF = """\
trust-model always
no-autostart
no-auto-key-retrieve
no-auto-key-import
batch
no-tty
"""


class Kind(Enum):
    """Which program verifies. The value is how a signature of the kind begins in a commit."""

    SSH = b"-----BEGIN SSH SIGNATURE-----"
    OPENPGP = b"-----BEGIN PGP SIGNATURE-----"

    @property
    def program(self) -> str:
        """What must be installed."""
        return "ssh-keygen" if self is Kind.SSH else "gpg"

    @property
    def key(self) -> str:
        """What signs, in a sentence."""
        return "an SSH key" if self is Kind.SSH else "an OpenPGP key"


@dataclass(frozen=True)
class Signers:
    """Who may sign.

    Attributes:
        path: The file that says so.
        kind: What it holds.
        content: Its content.
    """

    path: Path
    kind: Kind
    content: bytes


@dataclass(frozen=True)
class Signature:
    """That a commit is signed by somebody who is allowed to.

    Attributes:
        commit: Its id.
        signer: Who, as the file of the signers calls them.
        key: Fingerprint of the key: `SHA256:...` of an SSH key, the primary key's of an OpenPGP one.
    """

    commit: str
    signer: str
    key: str


@dataclass(frozen=True)
class _Refusal:
    how: str
    remedy: str


@dataclass(frozen=True)
class _Commit:
    sha: str
    author: str
    subject: str
    signatures: tuple[bytes, ...]

    def __str__(self) -> str:
        return f"commit {self.sha[:_SHORT]} ({shown(self.subject)}, by {shown(self.author)})"


def read_signers(path: Path, desired_state: Path) -> Signers:
    """Read who may sign.

    Args:
        path: The file.
        desired_state: Folder of the desired state, in which it may not lie.

    Raises:
        UsageError: It lies there, or holds something else.
        UnreadableInput: It cannot be read.
    """
    try:
        inside = path.resolve().is_relative_to(desired_state.resolve())
        with path.open("rb") as file:
            content = file.read(LIMITS.file_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise UnreadableInput(
            f"{path}, which says who may sign, cannot be read: {reason}", "check --require-signed and `require_signed`"
        ) from error
    if inside:
        problem = f"{path}, which says who may sign, lies inside the desired state {desired_state}"
        raise UsageError(problem, "keep it outside, where a proposed change cannot reach it")
    if len(content) > LIMITS.file_bytes:
        raise UsageError(f"{path}, which says who may sign, is larger than {LIMITS.file_bytes} bytes", _FORMATS)
    return Signers(path, _kind(path, content), content)


def _kind(path: Path, content: bytes) -> Kind:
    if b"PRIVATE KEY" in content:
        raise UsageError(f"{path} holds a private key, and is to say who may sign", "name public keys alone")
    if b"-----BEGIN PGP PUBLIC KEY BLOCK-----" in content or _is_public_key_packet(content):
        return Kind.OPENPGP
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines()]
    if any(_ALLOWED_SIGNER.match(line) for line in lines):
        return Kind.SSH
    if any(_ONLY_A_KEY.match(line) for line in lines):
        raise UsageError(f"{path} holds SSH keys, and does not say whose", "write a name before each: " + _FORMATS)
    raise UsageError(f"{path} does not say who may sign", _FORMATS)


def _is_public_key_packet(content: bytes) -> bool:
    """Whether this begins with an OpenPGP packet of the tag 6, in the old or the new format (RFC 9580, section 4.2)."""
    first = content[0] if content else 0
    return first == 0b11000110 or first & 0b11111100 == 0b10011000  # noqa: PLR2004 - spelled as the section does


def check_signed(root: Path, revision: str | None, signers: Sequence[Signers]) -> tuple[Signature, ...]:
    """See that the commit of a desired state is signed by somebody whom each of some files allows.

    Args:
        root: Folder of the desired state.
        revision: What is read; None where the files are read as they lie there. These must be the ones of `HEAD` then,
            without one more or less, and `HEAD` counts. Read them from the commit that is returned.
        signers: Who may sign, at least one file.

    Returns:
        A signature for each file, all of the same commit.

    Raises:
        NotSigned: It is not, the files are not those of `HEAD`, or a link leads to them.
        UnreadableInput: There is no repository, no such revision, or no program to verify with.
        UsageError: A keyring holds no key.
    """
    _check_no_link(root)
    with open_repository(root, "put the desired state under git, since its commits have to be signed") as repository:
        commit = _read_commit(repository, resolve(repository, revision or "HEAD"))
        if revision is None:
            _check_work_tree(root, commit)
        found = [_verify(repository, commit, each) for each in signers]
    for result in found:
        if isinstance(result, _Refusal):
            raise NotSigned(f"{commit} {result.how}", result.remedy)
    return tuple(result for result in found if isinstance(result, Signature))


def _check_no_link(root: Path) -> None:
    """See that no link of a work tree leads to the folder: what it leads to may be signed, and the link is not."""
    place = Path(os.path.abspath(root))  # noqa: PTH100 - links are kept as they were typed
    ways = [place, *place.parents]
    tops = [index for index, each in enumerate(ways) if (each / ".git").exists()]
    link = next((each for each in ways[: tops[-1] if tops else 0] if each.is_symlink()), None)
    if link:
        raise NotSigned(
            f"{root} leads through the link {link}, for which no signature speaks", "name the folder itself"
        )


def _check_work_tree(root: Path, commit: _Commit) -> None:
    """See that the files are those of a commit. Content is compared, since what git takes for clean can be set."""
    lying, committed = read_work_tree(root), read_revision(root, commit.sha)
    if lying.digest == committed.digest:
        return
    before, after = ({**each.obstacles, **each.links, **each.files} for each in (committed, lying))
    differ = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    named = ", ".join(shown(path) for path in differ[:_FEW]) + (", ..." if len(differ) > _FEW else "")
    raise NotSigned(
        f"the files in {root} are not those of {commit}, so no signature speaks for them: {named}",
        "commit them, signed, or name a commit with --revision",
    )


def _read_commit(repository: Repo, sha: str) -> _Commit:
    raw = repository.git.cat_file("commit", sha, stdout_as_string=False, strip_newline_in_stdout=False)
    headers, _, message = raw.partition(b"\n\n")
    # A header goes on in lines that begin with a space.
    unfolded = headers.replace(b"\n ", b"\0").split(b"\n")
    author = next((each.removeprefix(b"author ") for each in unfolded if each.startswith(b"author ")), b"")
    signatures = tuple(
        each.removeprefix(name).replace(b"\0", b"\n") for each in unfolded for name in _HEADERS if each.startswith(name)
    )
    first, _, _ = message.strip().partition(b"\n")
    name, _, _ = author.rpartition(b">")
    return _Commit(sha, name.decode("utf-8", "replace") + ">", first.decode("utf-8", "replace"), signatures)


def _verify(repository: Repo, commit: _Commit, signers: Signers) -> Signature | _Refusal:
    if not commit.signatures:
        return _Refusal("is not signed", f"have it signed (`git commit -S`) by somebody whom {signers.path} allows")
    if len(commit.signatures) > 1 or commit.signatures[0].count(b"-----BEGIN ") > 1:
        return _Refusal("carries several signatures", "make the commit anew, with one signature")
    kind = next((each for each in Kind if commit.signatures[0].startswith(each.value)), None)
    if kind is not signers.kind:
        with_ = kind.key if kind else "something else"
        return _Refusal(f"is signed with {with_}, and {signers.path} takes {signers.kind.key}", _with_another(signers))
    program = shutil.which(kind.program)
    if program is None:
        raise UnreadableInput(f"there is no {kind.program} to verify signatures with", "install it")
    with TemporaryDirectory(prefix="reconciler-") as folder:
        keys = Path(folder, "signers")
        keys.write_bytes(signers.content)
        if kind is Kind.OPENPGP:
            _import(program, keys, signers)
        good, told = _run_git(repository, commit.sha, program, keys)
    if kind is Kind.SSH:
        return (_good_ssh(commit, told) if good else None) or _bad_ssh(told, keys, signers)
    return (_good_openpgp(commit, told) if good else None) or _bad_openpgp(told, signers)


def _import(program: str, keys: Path, signers: Signers) -> None:
    (keys.parent / "gpg.conf").write_text(_GPG_CONF)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "GNUPGHOME": str(keys.parent), "LC_ALL": "C"}
    command = [program, "--status-fd", "1", "--import", str(keys)]
    # No shell, and the only words are paths that are ours.
    done = subprocess.run(command, env=environment, capture_output=True, check=False)  # noqa: S603
    if b"[GNUPG:] IMPORT_OK" not in done.stdout:
        raise UsageError(f"{signers.path} holds no OpenPGP public key", _FORMATS)


def _run_git(repository: Repo, sha: str, program: str, keys: Path) -> tuple[bool, str]:
    """Whether git finds the signature good, and what the program that verified it has said."""
    # Each of these could be set in the repository, or by whoever runs this; `gpg.program` is another name of the first.
    settings = [
        f"gpg.openpgp.program={program}",
        f"gpg.ssh.program={program}",
        f"gpg.ssh.allowedSignersFile={keys}",
        "gpg.minTrustLevel=undefined",
    ]
    with repository.git.custom_environment(GNUPGHOME=str(keys.parent), LC_ALL="C"):
        status, _, told = repository.git(c=settings).verify_commit(
            "--raw", sha, with_extended_output=True, with_exceptions=False
        )
    return status == 0, told


def _good_ssh(commit: _Commit, told: str) -> Signature | None:
    found = re.search(r'^Good "git" signature for (.+) with \S+ key (SHA256:\S+)$', told, re.MULTILINE)
    return Signature(commit.sha, printable(found[1]), found[2]) if found else None


def _bad_ssh(told: str, keys: Path, signers: Signers) -> _Refusal:
    key = re.search(r'^Good "git" signature with \S+ key (SHA256:\S+)$', told, re.MULTILINE)
    by = f"is signed with the key {key[1]}" if key else "is signed with a key"
    why = re.search(rf"^{re.escape(str(keys))}:(\d+): (.+)$", told, re.MULTILINE)
    if why:
        at = f"{signers.path}:{why[1]}"
        return _Refusal(f"{by} that {at} does not allow here: {printable(why[2].strip())}", _with_another(signers))
    return _not_allowed(f"{by} that {signers.path} does not allow", signers) if key else _BAD


def _good_openpgp(commit: _Commit, told: str) -> Signature | None:
    status = _statuses(told)
    signer, key = status.get("GOODSIG", "").partition(" ")[2], status.get("VALIDSIG", "").rpartition(" ")[2]
    return Signature(commit.sha, printable(signer), key) if signer and key else None


def _bad_openpgp(told: str, signers: Signers) -> _Refusal:
    status = _statuses(told)
    for word, what in (("REVKEYSIG", "a revoked key"), ("EXPKEYSIG", "an expired key"), ("EXPSIG", "an expired date")):
        if word in status:
            return _Refusal(f"is signed with {what}, {_named(status[word])}", _with_another(signers))
    if "NO_PUBKEY" in status:
        return _not_allowed(
            f"is signed with the key {_named(status['NO_PUBKEY'])} that {signers.path} does not hold", signers
        )
    return _BAD


_BAD = _Refusal("has a signature that does not fit it", "apply nothing of it, and find out who changed it")


def _with_another(signers: Signers) -> str:
    return f"have it signed with a key that {signers.path} allows"


def _not_allowed(how: str, signers: Signers) -> _Refusal:
    return _Refusal(how, f"find out who signed it; add the key to {signers.path} only if it may sign")


def _statuses(told: str) -> dict[str, str]:
    """What gpg says on its status lines (doc/DETAILS of GnuPG): the rest of each line by its first word."""
    lines = (line.split(" ", 2) for line in told.splitlines() if line.startswith("[GNUPG:] "))
    return {word: "".join(rest) for _, word, *rest in lines}


def _named(rest: str) -> str:
    key, _, name = rest.partition(" ")
    return f"{printable(key)} ({printable(name)})" if name else printable(key)
