"""`reconciler inspect`: what is in these certificate files, is the chain complete, which names do they cover."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.base.clock import system_clock
from reconciler.base.errors import ReconcilerError, UnreadableInput, UsageError, WrongPassphrase
from reconciler.cli.exits import Exit
from reconciler.cli.options import Format, OutputFormat
from reconciler.cli.output import medium_of, write_json

if TYPE_CHECKING:
    from reconciler.pki.reading import Contents
    from reconciler.report.inspection import Found


def inspect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Certificate, request and key files.")],
    *,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="Say whether this name is covered; may be given several times."),
    ] = None,
    passphrase_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The passphrase is in this environment variable.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The passphrase is in this file.")
    ] = None,
    ask_passphrase: Annotated[bool, typer.Option("--ask-passphrase", help="Ask for the passphrase.")] = False,
    output_format: OutputFormat = Format.TEXT,
) -> Exit:
    """Describe certificate files, whatever they are called: PEM, DER, PKCS#7, PKCS#12, requests and keys.

    All files are looked at together: chains and private keys are sought in every one of them. One passphrase serves for
    all; without one, what is not encrypted is still described.
    """
    from reconciler.report.inspection import inspection
    from reconciler.report.inspection_text import inspection_text

    passphrase = _passphrase(passphrase_env, passphrase_file, ask=ask_passphrase)
    document = inspection([_look(file, passphrase) for file in files], names or [], system_clock())
    if output_format is Format.JSON:
        write_json(document)
    else:
        sys.stdout.write(inspection_text(document, medium_of(sys.stdout)))
    return Exit.COULD_NOT if any(file.problem is not None for file in document.files) else Exit.DONE


def _passphrase(variable: str | None, file: Path | None, *, ask: bool) -> bytes | None:
    """The passphrase from wherever it is said to be; never from the command line, which others can see."""
    from reconciler.base.references import EnvironmentSecret, FileSecret
    from reconciler.base.secrets import resolve

    if (variable is not None) + (file is not None) + ask > 1:
        raise UsageError(
            "there can be only one passphrase", "give one of the three options, or inspect files one by one"
        )
    if variable is not None:
        return resolve(EnvironmentSecret.model_construct(env=variable), os.environ, Path())
    if file is not None:
        return resolve(FileSecret.model_construct(file=str(file)), os.environ, Path())
    if not ask:
        return None
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for the passphrase", "use --passphrase-env or --passphrase-file")
    return getpass.getpass("Passphrase: ").encode()


def _look(file: Path, passphrase: bytes | None) -> Found:
    from reconciler.report.inspection import Found

    try:
        return Found(str(file), _contents(file, passphrase))
    except ReconcilerError as error:
        return Found(str(file), error)


def _contents(file: Path, passphrase: bytes | None) -> Contents:
    from reconciler.pki.reading import LARGEST, Keys, read

    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
    except OSError as error:
        raise UnreadableInput(f"it cannot be read: {error.strerror or error}", "look at the path") from error
    try:
        return read(content, passphrase)
    except WrongPassphrase:
        if passphrase is not None:
            raise
        return read(content, keys=Keys.LEFT_ALONE)
