"""Commits signed with real keys: SSH and OpenPGP, by people who may sign and by strangers."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.programs import require_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def environment(home: Path, **more: str) -> dict[str, str]:
    """An environment in which git knows a committer, and nothing of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    person = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in _PERSON.items()}
    return {**kept, **person, "HOME": str(home), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **more}


_PERSON = {"NAME": "Alice", "EMAIL": "alice@example.com"}


def git(folder: Path, *words: str, stdin: bytes | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Run git in a folder."""
    chosen = environment(folder, **(environ or {}))
    command = ["git", "-C", str(folder), *words]
    done = subprocess.run(command, check=True, capture_output=True, env=chosen, input=stdin)
    return done.stdout.decode().strip()


@dataclass(frozen=True)
class SshKey:
    """An SSH key.

    Attributes:
        file: Its private half.
    """

    file: Path

    @classmethod
    def make(cls, folder: Path, name: str) -> SshKey:
        file = folder / name
        program = require_program("ssh-keygen")
        command = [program, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(file)]
        subprocess.run(command, check=True, capture_output=True)
        return cls(file)

    @property
    def public(self) -> str:
        return self.file.with_suffix(".pub").read_text().strip()

    @property
    def fingerprint(self) -> str:
        command = ["ssh-keygen", "-l", "-f", str(self.file)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]

    @property
    def options(self) -> list[str]:
        """What makes git sign with it."""
        return ["-c", "gpg.format=ssh", "-c", f"user.signingkey={self.file}", "-c", "commit.gpgsign=true"]


@dataclass(frozen=True)
class PgpKey:
    """An OpenPGP key, in a home of its own.

    Attributes:
        home: Where gpg keeps it.
        fingerprint: Its fingerprint.
    """

    home: Path
    fingerprint: str

    @classmethod
    def make(cls, home: Path, user: str, expires: str = "never", *, faked: str | None = None) -> PgpKey:
        program = require_program("gpg")
        home.mkdir(mode=0o700)
        clock = ["--faked-system-time", faked] if faked else []
        command = [program, "--batch", "--quiet", "--passphrase", "", *clock]
        _gpg(home, *command, "--quick-gen-key", user, "ed25519", "sign", expires)
        listed = _gpg(home, program, "--list-keys", "--with-colons").decode()
        return cls(home, next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")))

    def export(self, *options: str) -> bytes:
        return _gpg(self.home, "gpg", *options, "--export")

    def revoke(self) -> None:
        text = (self.home / "openpgp-revocs.d" / f"{self.fingerprint}.rev").read_text().replace(":-----", "-----")
        _gpg(self.home, "gpg", "--batch", "--import", stdin=text.encode())

    def close(self) -> None:
        """End the agent that gpg has started."""
        _gpg(self.home, "gpgconf", "--kill", "all")

    @property
    def environ(self) -> dict[str, str]:
        return {"GNUPGHOME": str(self.home)}

    @property
    def options(self) -> list[str]:
        """What makes git sign with it, with `environ`."""
        return ["-c", "gpg.format=openpgp", "-c", f"user.signingkey={self.fingerprint}", "-c", "commit.gpgsign=true"]


def _gpg(home: Path, *command: str, stdin: bytes | None = None) -> bytes:
    chosen = {**os.environ, "GNUPGHOME": str(home)}
    return subprocess.run(command, check=True, capture_output=True, env=chosen, input=stdin).stdout
