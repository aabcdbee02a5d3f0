"""`reconciler export`: certificate, key and chain to a file, in the formats of the appliance's Export page."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.base.errors import UsageError
from reconciler.base.text import printable
from reconciler.cli.exits import Exit
from reconciler.cli.fleet import open_scope
from reconciler.cli.options import DEFAULT_DESIRED_STATE, DesiredStatePath
from reconciler.cli.output import progress
from reconciler.cli.session import session_of

if TYPE_CHECKING:
    from reconciler.engine.export import Export
    from reconciler.live.driver import ExportOptions

_CERTIFICATE, _KEY, _CHAIN = "certificate", "key", "chain"
_PARTS = (_CERTIFICATE, _KEY, _CHAIN)
_REFERENCE = "write env:NAME for an environment variable, or file:PATH"


def export(
    context: typer.Context,
    appliance: Annotated[str, typer.Argument(metavar="APPLIANCE", help="Name of the appliance.")],
    certificate: Annotated[
        str,
        typer.Argument(
            metavar="CERTIFICATE", help="Its declared name, the first digits of its SHA-256, or its friendly name."
        ),
    ],
    desired_state: DesiredStatePath = DEFAULT_DESIRED_STATE,
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file to make; with a key in it, it cannot be left out.")
    ] = None,
    include: Annotated[
        str, typer.Option(metavar="PARTS", help="Which of certificate, key and chain, with commas between them.")
    ] = _CERTIFICATE,
    passphrase: Annotated[
        str | None,
        typer.Option(
            metavar="env:NAME|file:PATH", help="Where the passphrase for the key is found; else it is asked for."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> Exit:
    """Export a certificate, its key, its chain to a file that only you may read. Changes nothing on the appliance.

    The format follows from what is included: DER for the certificate alone, PKCS#8 for the key alone, PKCS#7 with the
    chain, PKCS#12 for certificate and key with or without the chain. A key always gets a passphrase.
    """
    import anyio

    from reconciler.base.clock import system_clock
    from reconciler.engine.export import export_certificate
    from reconciler.engine.files import write_private

    parts = _parts(include)
    _check_out(out, desired_state, has_key=_KEY in parts, force=force)
    options = _options(parts, passphrase)
    scope = open_scope(session_of(context), desired_state, None, [appliance], None)
    with progress("exporting") as notify:

        async def fetch() -> Export:
            return await export_certificate(
                scope.state, scope.settings, system_clock, appliance, certificate, options, notify or _tell_nobody
            )

        exported = anyio.run(fetch)
    if out is None:
        sys.stdout.buffer.write(exported.file.content)
    else:
        write_private(out, exported.file.content, replace=force)
    _describe(exported, str(out or "stdout"), appliance)
    return Exit.DONE


def _tell_nobody(appliance: str, happening: str) -> None:
    """Progress is shown on terminals only."""


def _parts(include: str) -> frozenset[str]:
    parts = frozenset(each.strip() for each in include.split(","))
    if not parts <= set(_PARTS):
        raise UsageError(
            f"--include {include} is not understood", f"name any of {', '.join(_PARTS)}, with commas between them"
        )
    if {_KEY, _CHAIN} <= parts and _CERTIFICATE not in parts:
        raise UsageError("there is no format for a key and a chain without the certificate", "include certificate")
    return parts


def _check_out(out: Path | None, desired_state: Path, *, has_key: bool, force: bool) -> None:
    """Refuse what cannot be written before anybody is asked for anything."""
    from reconciler.engine.files import check_place

    if out is None:
        if has_key:
            raise UsageError("a private key goes to a file, not to stdout", "name one with --out FILE")
        if sys.stdout.isatty():
            raise UsageError("what is exported is not for a terminal", "name a file with --out FILE, or use a pipe")
        return
    check_place(out, replace=force)
    if has_key and out.parent.resolve().is_relative_to(desired_state.resolve()):
        raise UsageError(
            f"{out} lies in the desired state {desired_state}, where everything is committed",
            "keep the key outside of it",
        )


def _options(parts: frozenset[str], reference: str | None) -> ExportOptions:
    from reconciler.live.driver import ExportOptions

    if _KEY not in parts:
        if reference is not None:
            raise UsageError("a passphrase protects a private key, and none is included", "add key to --include")
        return ExportOptions(_CERTIFICATE in parts, chain=_CHAIN in parts)
    passphrase = _ask() if reference is None else _resolve(reference)
    return ExportOptions(_CERTIFICATE in parts, private_key=True, chain=_CHAIN in parts, passphrase=passphrase)


def _resolve(reference: str) -> bytes:
    """The passphrase from where it is said to be. What is said may be the passphrase itself: it is not repeated."""
    from reconciler.base.references import EnvironmentSecret, FileSecret
    from reconciler.base.secrets import resolve

    match reference.partition(":"):
        case ["env", ":", name] if name:
            return resolve(EnvironmentSecret.model_construct(env=name), os.environ, Path())
        case ["file", ":", path] if path:
            return resolve(FileSecret.model_construct(file=path), os.environ, Path())
        case _:
            raise UsageError("--passphrase says where the passphrase is found, never what it is", _REFERENCE)


def _ask() -> bytes:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for a passphrase for the key", "use --passphrase")
    try:
        first, second = getpass.getpass("Passphrase for the key: "), getpass.getpass("The same again: ")
    except EOFError:
        first = second = ""
    if not first:
        raise UsageError("no passphrase was given, and no key is exported without one", "run again and type one")
    if first != second:
        raise UsageError("the two passphrases are not the same", "run again")
    return first.encode(errors="surrogateescape")


def _describe(exported: Export, place: str, appliance: str) -> None:
    """Say on stderr what is in the file. Nothing of it is secret."""
    from reconciler.report.words import counted

    held = [
        *(["the certificate"] if exported.has_certificate else []),
        *(["its private key, encrypted"] if exported.has_key else []),
        *([f"{counted(exported.issuers, 'certificate')} of its chain"] if exported.issuers else []),
    ]
    _tell(f"{place}: {exported.file.format} with {'; '.join(held)}")
    _tell(f"certificate: {exported.name}, SHA-256 {exported.live.fingerprint}")
    if exported.missing:
        _tell(f"its chain is not complete: {appliance} does not hold {exported.missing}")


def _tell(line: str) -> None:
    sys.stderr.write(printable(line) + "\n")
