"""`reconciler inspect` as people run it."""

from __future__ import annotations

import json
import os
import pty
import sys
from pathlib import Path

import certifi
import cryptography_vectors
import pytest

from reconciler.cli.main import main
from reconciler.pki.writing import write_pem
from tests.support.authority import Authority

ROOT = Authority.root()
LEAF = ROOT.issue(["access.example.com"])
PASSPHRASE = "correct hörse".encode()
VECTORS = Path(cryptography_vectors.__file__).parent


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("leaf.cer").write_bytes(LEAF.certificate.der)
    Path("root.pem").write_bytes(write_pem([ROOT.certificate]))
    Path("key.p12").write_bytes(LEAF.pkcs12(PASSPHRASE))
    Path("key.pem").write_bytes(LEAF.pem() + LEAF.key_pem(PASSPHRASE))
    Path("secret").write_bytes(PASSPHRASE + b"\n")
    return tmp_path


@pytest.mark.usefixtures("files")
def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "leaf.cer", "root.pem", "--name", "access.example.com"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("leaf.cer: DER certificate\n  server certificate\n")
    assert "access.example.com: covered" in shown.out
    assert "Example remote access < Root, complete" in shown.out
    assert shown.err == ""


@pytest.mark.usefixtures("files")
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--format", "json", "leaf.cer"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["files"][0]["certificates"][0]["fingerprint"] == LEAF.certificate.fingerprint


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("option", [("--passphrase-env", "SECRET"), ("--passphrase-file", "secret")])
def test_passphrase_by_reference(
    option: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", PASSPHRASE.decode())
    assert main(["inspect", "key.p12", "key.pem", *option]) == 0
    shown = capsys.readouterr().out
    assert shown.count("private key in these files") == 2
    assert "hörse" not in shown


@pytest.mark.usefixtures("files")
def test_what_is_not_encrypted_is_described_without_a_passphrase(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "key.pem"]) == 0
    shown = capsys.readouterr().out
    assert "server certificate" in shown
    assert "1 private key, not opened since no passphrase was given" in shown


@pytest.mark.usefixtures("files")
def test_every_problem_at_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "wrong")
    arguments = ["missing.pem", ".", "secret", "key.p12", "key.pem", "leaf.cer"]
    assert main(["inspect", *arguments, "--passphrase-env", "SECRET"]) == 1
    shown = capsys.readouterr().out
    assert "missing.pem: it cannot be read: No such file or directory - " in shown
    assert ".: it cannot be read: Is a directory - " in shown
    assert "secret: the file is text in which there is no certificate" in shown
    assert "key.p12: the passphrase does not fit the PKCS#12 file" in shown
    assert "key.pem: the passphrase does not fit the private key" in shown
    assert "leaf.cer: DER certificate" in shown


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--passphrase-env", "NOT_SET_ANYWHERE"], "the environment variable NOT_SET_ANYWHERE is not set"),
        (["--passphrase-file", "missing"], "the secret in missing cannot be read"),
        (["--passphrase-file", "secret", "--ask-passphrase"], "there can be only one passphrase"),
        (["--ask-passphrase"], "there is no terminal to ask for the passphrase"),
    ],
)
def test_passphrases_that_lead_nowhere(
    options: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nowhere:  # noqa: PTH123 - a device, not a file
        monkeypatch.setattr(sys, "stdin", nowhere)
        assert main(["inspect", "key.p12", *options]) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.usefixtures("files")
def test_passphrase_from_a_terminal() -> None:
    """A person types it; the terminal does not show it."""
    process, terminal = pty.fork()
    if process == 0:  # pragma: no cover - it is another process
        command = [sys.executable, "-c", "from reconciler.cli.main import main; raise SystemExit(main())"]
        os.execv(sys.executable, [*command, "inspect", "key.p12", "--ask-passphrase"])  # noqa: S606 - no shell wanted
    shown = b""
    while not shown.endswith(b"Passphrase: "):
        shown += os.read(terminal, 1024)
    os.write(terminal, PASSPHRASE + b"\n")
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # how Linux says that the other end has been closed
            break
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert b"private key in these files" in shown
    assert "hörse".encode() not in shown


def test_every_public_root_and_vector(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is described or refused in one sentence: no traceback, no crash, nothing that steers a terminal."""
    folders = ("pkcs12", "pkcs7", "x509", "asymmetric/PKCS8")
    found = [str(file) for folder in folders for file in sorted((VECTORS / folder).rglob("*")) if file.is_file()]
    assert main(["inspect", certifi.where()]) == 0
    assert capsys.readouterr().out.count("\n  root\n") > 100
    assert main(["inspect", *found, "--format", "json"]) == 1
    shown = capsys.readouterr()
    assert shown.err == ""
    files = json.loads(shown.out)["files"]
    assert len(files) == len(found)
    refused = [file for file in files if file["problem"]]
    described = [
        file for file in files if file["certificates"] or file["requests"] or file["keys"] or file["keys_not_opened"]
    ]
    certificates = sum(len(file["certificates"]) for file in files)
    with capsys.disabled():
        print(f"\n{len(files)} files: {len(described)} described, {len(refused)} refused, {certificates} certificates")  # noqa: T201 - part of the proof
    assert len(described) + len(refused) == len(files)
    assert all(file["remedy"] and "\n" not in file["problem"] for file in refused)
    assert (len(files) > 1850, len(described) > 500) == (True, True)
    assert main(["inspect", *found]) == 1
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())
