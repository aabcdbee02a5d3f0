"""`reconciler export` as people run it, over certificate directories; OpenSSL opens what comes out."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.base.clock import system_clock
from reconciler.engine.load import load_desired
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.stores import Stores
from reconciler.live.driver import Upload
from reconciler.pki.reading import read
from tests.cli.fleet import PASSPHRASE, VARIABLE, Ran, run
from tests.cli.terminal import PROGRAM, Terminal
from tests.support.programs import require_program

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.pki.certificate import Certificate
    from tests.cli.fleet import Fleet

HOSTILE = "evil\x1b[2J\u202e\nreconciler: all is well"
SECRET = "another horse"  # noqa: S105 - of a key that lives as long as a test
FROM_ENVIRONMENT = ("--passphrase", f"env:{VARIABLE}")


@pytest.fixture
def stocked(fleet: Fleet) -> Fleet:
    """The declared certificate is in the store of east-1 with its key and chain."""
    committed = [fleet.file(f"certificates/access/{name}.pem").read_bytes() for name in ("leaf", "chain", "key")]

    async def stock() -> None:
        async with Stores(load_desired(fleet.desired_state), OperatorSettings(), system_clock).open("east-1") as driver:
            await driver.import_(Upload(b"".join(committed), PASSPHRASE.encode(), HOSTILE))

    anyio.run(stock)
    return fleet


def leaf(fleet: Fleet) -> Certificate:
    return read(fleet.file("certificates/access/leaf.pem").read_bytes()).certificates[0]


def export(fleet: Fleet, certificate: str, *options: str | Path) -> Ran:
    return run("export", "east-1", certificate, fleet.desired_state, *options)


def openssl(*arguments: str | Path, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [require_program("openssl"), *arguments]
    return subprocess.run(command, input=content, capture_output=True, check=False)


def opens(*arguments: str | Path, passphrase: str = PASSPHRASE) -> bytes:
    """What OpenSSL makes of a file; nothing where the passphrase does not fit."""
    ran = openssl(*arguments, "-passin", f"pass:{passphrase}")
    return ran.stdout if ran.returncode == 0 else b""


class TestFormats:
    def test_the_certificate_alone(self, stocked: Fleet, tmp_path: Path) -> None:
        ran = export(stocked, "access", "--out", tmp_path / "access.cer")
        assert (ran.code, ran.out) == (0, "")
        first, second = ran.err.splitlines()
        assert first == f"{tmp_path}/access.cer: DER with the certificate"
        assert second.startswith("certificate: evil")
        assert second.endswith(f", SHA-256 {leaf(stocked).fingerprint}")
        assert second.isprintable()
        assert (tmp_path / "access.cer").read_bytes() == leaf(stocked).der
        assert openssl("x509", "-inform", "der", "-in", tmp_path / "access.cer", "-noout").returncode == 0

    def test_the_key_alone_opens_with_its_passphrase_only(self, stocked: Fleet, tmp_path: Path) -> None:
        file = tmp_path / "access.p8"
        ran = export(stocked, "access", "--include", "key", "--out", file, *FROM_ENVIRONMENT)
        assert ran.code == 0
        assert f"{file}: PKCS#8 with its private key, encrypted" in ran.err
        public = opens("pkey", "-inform", "der", "-in", file, "-pubout")
        assert public == openssl("x509", "-noout", "-pubkey", content=_pem(stocked)).stdout
        assert not opens("pkey", "-inform", "der", "-in", file, "-pubout", passphrase=SECRET)
        assert not opens("pkey", "-inform", "der", "-in", file, "-pubout", passphrase="")

    @pytest.mark.parametrize(("parts", "certificates"), [("certificate,key", 1), ("chain, key,certificate", 3)])
    def test_certificate_and_key(self, stocked: Fleet, tmp_path: Path, parts: str, certificates: int) -> None:
        file = tmp_path / "access.p12"
        ran = export(stocked, "access", "--include", parts, "--out", file, *FROM_ENVIRONMENT)
        assert ran.code == 0
        assert f"{file}: PKCS#12 with the certificate; its private key, encrypted" in ran.err
        assert ("2 certificates of its chain" in ran.err) is (certificates == 3)
        opened = opens("pkcs12", "-in", file, "-noenc")
        assert opened.count(b"BEGIN CERTIFICATE") == certificates
        assert opened.count(b"BEGIN PRIVATE KEY") == 1
        assert not opens("pkcs12", "-in", file, "-noenc", passphrase=SECRET)

    @pytest.mark.parametrize(("parts", "certificates"), [("certificate,chain", 3), ("chain", 2)])
    def test_several_certificates(self, stocked: Fleet, tmp_path: Path, parts: str, certificates: int) -> None:
        file = tmp_path / "access.p7b"
        ran = export(stocked, "access", "--include", parts, "--out", file)
        assert ran.code == 0
        assert "PKCS#7 with" in ran.err
        shown = openssl("pkcs7", "-inform", "der", "-in", file, "-print_certs").stdout
        assert shown.count(b"BEGIN CERTIFICATE") == certificates

    def test_a_chain_that_is_not_complete_is_told(self, fleet: Fleet, tmp_path: Path) -> None:
        ran = export(fleet, "BeyondTrust Appliance", "--include", "certificate,chain", "--out", tmp_path / "whole")
        assert "not complete" not in ran.err
        chain = read(fleet.file("certificates/access/chain.pem").read_bytes()).certificates

        async def stock() -> None:
            stores = Stores(load_desired(fleet.desired_state), OperatorSettings(), system_clock)
            async with stores.open("east-1") as driver:
                await driver.import_(Upload(chain[0].der))

        anyio.run(stock)
        parts = ("--include", "certificate,chain")
        ran = export(fleet, chain[0].fingerprint[:12], *parts, "--out", tmp_path / "half")
        assert ran.code == 0
        assert ran.err.endswith("its chain is not complete: east-1 does not hold Example Root\n")


def _pem(fleet: Fleet) -> bytes:
    return fleet.file("certificates/access/leaf.pem").read_bytes()


class TestTheFile:
    def test_only_its_owner_may_read_it_and_nothing_is_left_beside_it(self, stocked: Fleet, tmp_path: Path) -> None:
        folder = tmp_path / "kept"
        folder.mkdir()
        before = os.umask(0)
        try:
            assert export(stocked, "access", "--out", folder / "access.cer").code == 0
        finally:
            os.umask(before)
        assert [(each.name, each.stat().st_mode & 0o777) for each in folder.iterdir()] == [("access.cer", 0o600)]

    def test_one_that_is_there_is_replaced_only_by_force(self, stocked: Fleet, tmp_path: Path) -> None:
        file = tmp_path / "access.cer"
        file.write_text("mine")
        refused = export(stocked, "access", "--out", file)
        assert refused.code == 1
        assert refused.err == (f"reconciler: {file} is there already - name another file, or replace it with --force\n")
        assert file.read_text() == "mine"
        assert export(stocked, "access", "--out", file, "--force").code == 0
        assert file.read_bytes() == leaf(stocked).der
        assert file.stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("place", ["certificates/access.p12", "../link/access.p12"])
    def test_a_key_is_not_written_where_everything_is_committed(
        self, stocked: Fleet, tmp_path: Path, place: str
    ) -> None:
        (tmp_path / "link").symlink_to(stocked.desired_state / "certificates")
        file = stocked.desired_state / place
        refused = export(stocked, "access", "--include", "certificate,key", "--out", file, *FROM_ENVIRONMENT)
        assert refused.code == 1
        assert "lies in the desired state" in refused.err
        assert not file.exists()
        assert export(stocked, "access", "--out", file).code == 0

    def test_a_certificate_may_go_into_a_pipe(self, stocked: Fleet) -> None:
        command: list[str | Path] = [PROGRAM, "export", "east-1", "access", stocked.desired_state]
        ran = subprocess.run(command, capture_output=True, check=False)
        assert (ran.returncode, ran.stdout) == (0, leaf(stocked).der)
        assert ran.stderr.startswith(b"stdout: DER with the certificate\n")


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (["--include", "certificate,secret"], "--include certificate,secret is not understood - name any of cert"),
            (["--include", ""], "--include  is not understood"),
            (["--include", "key,chain"], "there is no format for a key and a chain without the certificate - include"),
            (["--include", "key", *FROM_ENVIRONMENT], "a private key goes to a file, not to stdout - name one with"),
            (["--out", "missing/file"], "missing is no folder - make it"),
            (["--out", "file", *FROM_ENVIRONMENT], "a passphrase protects a private key, and none is included"),
        ],
    )
    def test_what_makes_no_sense_is_told_before_anything_is_asked(
        self, fleet: Fleet, options: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(fleet.root)
        ran = export(fleet, "access", *options)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err.startswith(f"reconciler: {sentence}")
        assert ran.err.count("\n") == 1

    @pytest.mark.parametrize(
        ("reference", "sentence"),
        [
            ("hunter2-is-secret", "--passphrase says where the passphrase is found, never what it is - write env:NAME"),
            ("env:", "--passphrase says where"),
            ("file:", "--passphrase says where"),
            ("pass:hunter2-is-secret", "--passphrase says where"),
            ("env:NOT_SET_ANYWHERE", "the environment variable NOT_SET_ANYWHERE is not set"),
            ("file:missing", "the secret in missing cannot be read"),
        ],
    )
    def test_a_passphrase_is_named_and_never_repeated(
        self, stocked: Fleet, tmp_path: Path, reference: str, sentence: str
    ) -> None:
        ran = export(stocked, "access", "--include", "key", "--out", tmp_path / "k", "--passphrase", reference)
        assert ran.code == 1
        assert ran.err.startswith(f"reconciler: {sentence}")
        assert "hunter2" not in ran.err
        assert not (tmp_path / "k").exists()

    def test_a_passphrase_that_no_format_can_hold_is_refused(self, stocked: Fleet, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"\xff\xfe no text")
        reference = f"file:{tmp_path / 'secret'}"
        ran = export(stocked, "access", "--include", "key", "--out", tmp_path / "k", "--passphrase", reference)
        assert ran.code == 1
        assert "a passphrase is text in UTF-8" in ran.err

    def test_without_a_terminal_nobody_can_be_asked(self, stocked: Fleet, tmp_path: Path) -> None:
        command: list[str | Path] = [PROGRAM, "export", "east-1", "access", stocked.desired_state, "--include", "key"]
        ran = subprocess.run(
            [*command, "--out", tmp_path / "k"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr.startswith("reconciler: there is no terminal to ask for a passphrase for the key - use")

    def test_an_unknown_appliance_or_certificate_is_told_with_what_there_is(self, stocked: Fleet) -> None:
        ran = run("export", "east-2", "access", stocked.desired_state)
        assert (ran.code, ran.err) == (
            1,
            "reconciler: no appliance of the desired state is called east-2 - did you mean east-1?\n",
        )
        ran = export(stocked, "acces")
        assert (ran.code, ran.out) == (1, "")
        first, *lines = ran.err.splitlines()
        assert first.startswith("reconciler: no certificate in the store of east-1 is called acces; name one of these")
        assert any(line.endswith(", declared as access") for line in lines)
        assert any("BeyondTrust Appliance" in line for line in lines)
        assert all(line.isprintable() for line in ran.err.splitlines())
        assert len(lines) == 4

    def test_a_key_that_is_not_there_is_told(self, stocked: Fleet, tmp_path: Path) -> None:
        root = read(stocked.file("certificates/access/chain.pem").read_bytes()).certificates[-1]
        ran = export(stocked, root.fingerprint[:10], "--include", "key", "--out", tmp_path / "k", *FROM_ENVIRONMENT)
        assert ran.code == 1
        assert "has no private key here - export it without its key" in ran.err

    def test_a_store_that_cannot_be_read_is_told(self, stocked: Fleet, tmp_path: Path) -> None:
        (stocked.store("east-1") / "half.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
        ran = export(stocked, "access", "--out", tmp_path / "access.cer")
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert not (tmp_path / "access.cer").exists()


class TestOnATerminal:
    def run(self, fleet: Fleet, *options: str | Path) -> Terminal:
        return Terminal.run("export", "east-1", "access", fleet.desired_state, *options)

    def test_the_passphrase_is_typed_twice_and_not_shown(self, stocked: Fleet, tmp_path: Path) -> None:
        file = tmp_path / "access.p12"
        terminal = self.run(stocked, "--include", "certificate,key", "--out", file)
        terminal.read_until("Passphrase for the key: ")
        terminal.type(SECRET + "\n")
        terminal.read_until("The same again: ")
        terminal.type(SECRET + "\n")
        code, output = terminal.end()
        assert (code, SECRET in output) == (0, False)
        assert "PKCS#12 with the certificate; its private key, encrypted" in output
        assert opens("pkcs12", "-in", file, "-noenc", passphrase=SECRET)

    @pytest.mark.parametrize(
        ("typed", "sentence"),
        [
            ([SECRET + "\n", "something else\n"], "the two passphrases are not the same"),
            (["\n", "\n"], "no key is exported without one"),
            (["\x04"], "no key is exported without one"),
        ],
    )
    def test_without_a_sure_passphrase_nothing_is_exported(
        self, stocked: Fleet, tmp_path: Path, typed: list[str], sentence: str
    ) -> None:
        terminal = self.run(stocked, "--include", "key", "--out", tmp_path / "k")
        for prompt, text in zip(("Passphrase for the key: ", "The same again: "), typed, strict=False):
            terminal.read_until(prompt)
            terminal.type(text)
        code, output = terminal.end()
        assert (code, sentence in output, SECRET in output) == (1, True, False)
        assert not (tmp_path / "k").exists()

    def test_what_is_exported_is_not_written_on_the_terminal(self, stocked: Fleet) -> None:
        code, output = self.run(stocked).end()
        assert code == 1
        assert "what is exported is not for a terminal" in output
