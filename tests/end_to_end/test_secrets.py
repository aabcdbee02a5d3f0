"""Nothing that any command writes over the example fleet holds a private key or a passphrase."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from reconciler.lab.example import PASSPHRASE, VARIABLE
from tests.cli.fleet import Ran, run
from tests.end_to_end.example import APPLIANCES, Example, reconciler
from tests.end_to_end.needles import Needles, committed_keys, keys_below

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRONG = "wrong-but-just-as-secret"
KEY_FILES = ("certificates/access/key.p12", "certificates/atlas/key.p12")
EXPORTED = ("exported.p12", "exported.p8")
DUMP = """
import json, os, sys
with open(sys.argv[1], "a") as file:
    json.dump({"argv": sys.argv, "environ": dict(os.environ)}, file)
    with open(f"/proc/{os.getppid()}/cmdline") as parent:
        json.dump(parent.read(), file)
    file.write("\\n")
"""


def needles_of(example: Example) -> Needles:
    stored, committed = keys_below(example.root.parent / ".stores"), committed_keys(example.root, PASSPHRASE)
    assert len(stored) >= len(APPLIANCES)
    assert len(committed) == len(KEY_FILES)
    return Needles.of([*stored, *committed], [PASSPHRASE, WRONG.encode()])


def commands(example: Example) -> Iterator[list[str | Path]]:
    """Every command that changes no store, in every format."""
    root, beside = example.root, example.root.parent
    for output_format in ("text", "json", "github"):
        yield ["validate", root, "--format", output_format]
    yield ["validate", "--list-rules"]
    for output_format in ("text", "json"):
        yield ["plan", root, "--format", output_format]
        yield ["status", root, "--format", output_format]
        yield ["doctor", root, "--format", output_format]
        yield ["requests", root, "--out", beside / "requests", "--format", output_format]
        files = [root / each for each in KEY_FILES]
        served = [path for path in sorted(example.directory("east-1").iterdir()) if path.is_file()]
        yield ["inspect", *files, *served, "--passphrase-env", VARIABLE, "--format", output_format]
        yield ["inspect", *files, "--format", output_format]
    for file, parts in zip(EXPORTED, ("certificate,key,chain", "key"), strict=True):
        options = ["--include", parts, "--passphrase", f"env:{VARIABLE}", "--force"]
        yield ["export", "east-1", "access", root, *options, "--out", beside / file]
    for name in ("certificate", "operator", "plan", "applied", "status", "doctor", "requests"):
        yield ["schema", name]
    yield ["plan", root, "--revision", "HEAD"]
    yield ["apply", root]


@pytest.mark.parametrize("options", [[], ["--debug"]], ids=["plain", "debug"])
def test_no_output_of_any_command_holds_a_secret(
    example: Example, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def one_time(length: int | None = None) -> str:
        made.append(_token_urlsafe(length))
        return made[-1]

    _token_urlsafe = secrets.token_urlsafe
    monkeypatch.setattr(secrets, "token_urlsafe", one_time)
    before = needles_of(example)
    outputs = [run(*options, *each) for each in commands(example)]
    outputs += _with_errors(example, options, monkeypatch)
    applied = run(*options, "apply", example.root, "--yes")
    outputs += [applied, *(run(*options, *each) for each in commands(example))]
    outputs += [run(*options, "apply", example.root, "--yes", "--format", "json"), run(*options, "demo")]
    assert all((example.root.parent / each).exists() for each in EXPORTED)
    assert "3 to remove" in applied.out
    assert applied.code == 0
    assert len(made) >= 7
    sought = [before, needles_of(example), Needles.of([], [each.encode() for each in made])]
    for ran in outputs:
        assert ran.out or ran.err
        for needles in sought:
            assert not needles.within(ran.out + ran.err)


def _with_errors(example: Example, options: list[str], monkeypatch: pytest.MonkeyPatch) -> list[Ran]:
    """Everything that may go wrong with a secret, one after the other; what is broken is mended again."""
    root, found = example.root, []
    with monkeypatch.context() as patch:
        patch.setenv(VARIABLE, WRONG)
        found += [run(*options, "apply", root, "--yes"), run(*options, "inspect", root / KEY_FILES[0], *_variable())]
        patch.delenv(VARIABLE)
        found += [run(*options, "apply", root, "--yes"), run(*options, "inspect", root / KEY_FILES[0], *_variable())]
    assert {each.code for each in found} == {1, 5}
    for reference in (WRONG, f"file:{root / KEY_FILES[0]}"):
        asked: list[str | Path] = ["--include", "key", "--out", root.parent / "key", "--passphrase", reference]
        found.append(run(*options, "export", "east-1", "access", root, *asked))
    stores = root.parent / ".stores"
    shutil.copytree(stores, root.parent / "sound", symlinks=True)
    for path in stores.glob("*/*.pem"):
        if not path.is_symlink():
            path.write_bytes(path.read_bytes().replace(b"-----END", b"-END"))
    found += [run(*options, command, root) for command in ("plan", "status")]
    for directory in stores.iterdir():
        first, *others = sorted(path for path in (stores / "east-1").iterdir() if path.is_file())
        shutil.copy(others[0] if others else first, directory / "half.pem")
    found += [run(*options, command, root, "--format", "json") for command in ("plan", "status")]
    shutil.rmtree(stores)
    (root.parent / "sound").rename(stores)
    declared = root / "certificates/atlas.yaml"
    text = declared.read_text()
    declared.write_text(text.replace(f"{{env: {VARIABLE}}}", PASSPHRASE.decode()))
    found += [run(*options, command, root) for command in ("validate", "plan")]
    declared.write_text(text)
    clear = root / "certificates/clear.pem"
    clear.write_bytes(_some_key_file(stores))
    found += [run(*options, command, root) for command in ("validate", "plan")]
    clear.unlink()
    assert all(each.code for each in found)
    return found


def _variable() -> list[str]:
    return ["--passphrase-env", VARIABLE]


def _some_key_file(stores: Path) -> bytes:
    return next(path for path in sorted(stores.glob("*/*.pem")) if not path.is_symlink()).read_bytes()


def test_children_and_the_command_line_and_what_is_left_behind_hold_no_secret(example: Example, tmp_path: Path) -> None:
    script, dumped, temporary = tmp_path / "dump.py", tmp_path / "dumped", tmp_path / "temporary"
    script.write_text(DUMP)
    temporary.mkdir()
    command = [sys.executable, str(script), str(dumped)]
    operator = tmp_path / "operator.yaml"
    operator.write_text(json.dumps({"reload": dict.fromkeys(APPLIANCES, command)}))
    before = needles_of(example)
    ran = reconciler(
        "--operator", operator, "apply", example.root, "--yes", environ={"TMPDIR": str(temporary), "LEFT_OUT": "1"}
    )
    assert ran.returncode == 0, ran.stderr
    sought = [before, needles_of(example)]
    said = dumped.read_text()
    assert said.count("\n") >= 17
    assert "apply" in said
    assert VARIABLE not in said
    assert "LEFT_OUT" not in said
    for needles in sought:
        assert not needles.within(said + ran.stdout + ran.stderr)
    assert not list(temporary.iterdir())
    for directory in example.directories.values():
        _holds_keys_only_where_they_are_served(directory, sought)


def _holds_keys_only_where_they_are_served(directory: Path, sought: list[Needles]) -> None:
    for path in directory.rglob("*"):
        name = str(path.relative_to(directory))
        assert not path.name.startswith(".reconciler"), name
        if not path.is_file():
            continue
        if os.sep in name:
            assert not any(needles.within(path.read_bytes()) for needles in sought), name
        assert not path.stat().st_mode & 0o077, name


RSA, EC = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
_DER = [each.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) for each in (RSA, EC)]
_PEM = [each.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for each in (RSA, EC)]
_OLD = [each.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()) for each in (RSA, EC)]


@pytest.mark.parametrize(
    "leak",
    [
        *_DER,
        *_PEM,
        *_OLD,
        *(json.dumps(each.decode()) for each in _PEM),
        *(each.hex() for each in _DER),
        *(each.hex(":").upper() for each in _DER),
        *(base64.b64encode(b"x" * shift + each) for each in _DER for shift in range(3)),
        *(repr(each) for each in _DER),
        str(RSA.private_numbers().p),
        str(RSA.private_numbers().d),
        f"{EC.private_numbers().private_value:#066x}",
        b"\n".join(_PEM[0].splitlines()[12:16]),
        "a secret passphrase",
        b"a secret passphrase".hex(),
        *(base64.b64encode(b"x" * shift + b"a secret passphrase") for shift in range(3)),
    ],
    ids=lambda leak: type(leak).__name__,  # the keys are new in every process, and so would be their names
)
def test_a_leak_is_found_in_every_form(leak: bytes | str) -> None:
    needles = Needles.of([RSA, EC], [b"a secret passphrase"])
    around = leak.encode() if isinstance(leak, str) else leak
    assert needles.within(b"before " + around + b" after")
    assert not needles.within(b"before and after")


def test_a_public_key_and_its_certificate_are_no_leak(example: Example) -> None:
    needles = needles_of(example)
    for path in (example.root / "certificates").rglob("*.pem"):
        assert not needles.within(path.read_bytes())
    assert needles.within(_some_key_file(example.root.parent / ".stores"))
