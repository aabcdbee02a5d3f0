"""What people are handed out of appliances, through their web interfaces: exported files, and requests for a CA."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.base.clock import system_clock
from reconciler.engine.load import load_desired
from reconciler.engine.operator import load_settings
from reconciler.engine.stores import Stores
from reconciler.lab.example import PASSPHRASE, VARIABLE
from reconciler.live.driver import CertificateForm, NewKey
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.names import parse_name
from reconciler.pki.reading import read
from reconciler.report.requests import Requests
from tests.end_to_end.example import reconciler
from tests.end_to_end.needles import Needles, committed_keys, keys_below
from tests.support.playing import Playing, playing
from tests.support.programs import require_program
from tests.test_readme import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TRIAL = "trial-1"
OTHERS = b"a passphrase that does not fit"


def ask(root: Path, lab: Playing, common_name: str) -> None:
    """Have an appliance make a certificate request, through its pages."""
    settings = load_settings(None, lab.environ)
    subject = distinguished_name([("C", "US"), ("O", "Example Company"), ("CN", common_name)])
    form = CertificateForm("Next", NewKey("rsa-2048"), subject, (parse_name("next.example.com"),))

    async def act() -> None:
        async with Stores(load_desired(root), settings, system_clock).open(TRIAL) as driver:
            await driver.create_request(form)

    anyio.run(act)


def key_in(file: Path, passphrase: bytes) -> bytes:
    """What OpenSSL finds in a PKCS#12 file; nothing where the passphrase does not fit."""
    passing = f"pass:{passphrase.decode()}"
    command: list[str | Path] = [require_program("openssl"), "pkcs12", "-in", file, "-noenc", "-passin", passing]
    return subprocess.run(command, capture_output=True, check=False).stdout


@pytest.mark.parametrize(
    "variant", ["guide", pytest.param("later", marks=pytest.mark.prove), pytest.param("other", marks=pytest.mark.prove)]
)
def test_an_appliance_hands_out_what_was_asked_for(
    tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = shutil.copytree(ROOT / "desired-state", tmp_path / "desired-state"), tmp_path / "out"
    with playing(root, tmp_path / "lab", "--variant", variant) as lab:
        for name, value in lab.environ.items():
            monkeypatch.setenv(name, value)
        assert reconciler("apply", root, "--yes", "--site", "trial", "--site", "access").returncode == 0
        ask(root, lab, "Next remote access")
        everything = ("--include", "certificate,key,chain", "--passphrase", f"env:{VARIABLE}")
        files = {"east-1": tmp_path / "access.p12", TRIAL: tmp_path / "trial.p12"}
        exported = [
            reconciler("--debug", "export", appliance, certificate, root, *everything, "--out", file)
            for (appliance, file), certificate in zip(files.items(), ("access", "trial"), strict=True)
        ]
        listed = reconciler("--debug", "requests", root, "--out", out)
        document = Requests.model_validate_json(reconciler("requests", root, "--format", "json").stdout)
        needles = Needles.of(
            [*keys_below(lab.folder / "stores"), *committed_keys(root, PASSPHRASE)],
            [PASSPHRASE, lab.environ["LAB_PASSWORD"].encode()],
        )
    assert [each.returncode for each in (*exported, listed)] == [0, 0, 0], [each.stderr for each in exported]
    leaf = read((root / "certificates/access/leaf.pem").read_bytes()).certificates[0]
    contents = read(files["east-1"].read_bytes(), PASSPHRASE)
    assert contents.certificates[0] == leaf
    assert (len(contents.certificates), [each.public_key for each in contents.keys]) == (3, [leaf.public_key])
    for file in files.values():
        assert file.stat().st_mode & 0o777 == 0o600
        assert b"PRIVATE KEY" in key_in(file, PASSPHRASE)
        assert key_in(file, OTHERS) == b""
    (pending,) = [each for part in document.appliances for each in part.requests]
    assert (pending.subject, pending.certificate) == ("CN=Next remote access, O=Example Company, C=US", None)
    assert list(out.iterdir()) == []  # nothing that is declared waits for it
    (request,) = read(pending.request_data.encode()).requests
    assert (request.fingerprint, request.public_key) == (pending.fingerprint, pending.public_key)
    for ran in (*exported, listed):
        assert not needles.within(ran.stdout + ran.stderr)
