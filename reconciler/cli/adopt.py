"""`reconciler adopt`: writes YAML for what appliances hold, so that the first plan is empty. Changes no appliance."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.cli.exits import Exit
from reconciler.cli.options import DEFAULT_DESIRED_STATE
from reconciler.cli.output import medium_of, progress
from reconciler.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.desired.adoption import Adoption
    from reconciler.engine.desk import Wish
    from reconciler.engine.newcomer import Newcomer

_NEW = "A new appliance:"


def adopt(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[APPLIANCE]... [DESIRED_STATE]",
            help="The appliances, all declared ones if none is named; then the folder of the desired state.",
            show_default=False,
        ),
    ] = None,
    *,
    site: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The appliances of this site; the site that a new one joins or begins."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the files, and write nothing.")] = False,
    hostname: Annotated[str | None, typer.Option(metavar="NAME", help=f"{_NEW} its host name.")] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help=f"{_NEW} the address of its web interface.")] = None,
    username_env: Annotated[
        str | None, typer.Option(metavar="VARIABLE", help=f"{_NEW} the variable that holds the user name.")
    ] = None,
    password_env: Annotated[
        str | None, typer.Option(metavar="VARIABLE", help=f"{_NEW} the variable that holds the password.")
    ] = None,
    trust_sha256: Annotated[
        list[str] | None,
        typer.Option(metavar="SHA256", help=f"{_NEW} a certificate that its interface may present; several times."),
    ] = None,
    trust_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"{_NEW} a root whose certificates its interface may present.")
    ] = None,
    path: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help=f"{_NEW} the certificate directory that is its store.")
    ] = None,
    platform: Annotated[
        Literal["hardware", "virtual", "cloud"], typer.Option(help=f"{_NEW} what kind of appliance it is.")
    ] = "virtual",
    site_hostname: Annotated[
        str | None, typer.Option(metavar="NAME", help="A new site: its hostname; the appliance's unless told.")
    ] = None,
) -> Exit:
    """Write YAML for what appliances hold, so that the first plan changes nothing.

    Every certificate with a key becomes a declared one, shared where several appliances hold it; it is committed, its
    key stays on the appliance. Files that are there are completed, never overwritten. What cannot be declared is told.
    """
    from reconciler.desired.writing import write_all

    appliances, desired_state = _told_apart(names or [])
    if hostname is None and not desired_state.is_dir():
        raise UsageError(f"there is no folder {desired_state}", "make it, or begin with `reconciler init`")
    given = [url, path, username_env, password_env, trust_ca, site_hostname, *(trust_sha256 or ())]
    with _folder(desired_state):
        if hostname is not None:
            wish = _wish_for_new(
                desired_state,
                appliances,
                hostname=hostname,
                platform=platform,
                path=path,
                url=url,
                username=username_env,
                password=password_env,
                sha256=tuple(trust_sha256 or ()),
                ca=trust_ca,
                site=site,
                site_hostname=site_hostname,
            )
        elif any(given):
            raise UsageError("these options are for a new appliance", "give its --hostname as well, or leave them out")
        else:
            wish = _wish_for_declared(desired_state, appliances, site)
        adoption = _look(context, desired_state, wish)
        if dry_run:
            _show_diff(adoption, desired_state)
        else:
            write_all(desired_state, adoption.files)
    _show(adoption, desired_state, written=not dry_run)
    return Exit.DONE


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """The folder of the desired state, made for a first appliance; gone again where nothing was written into it."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnreadableInput(f"{folder} cannot be made: {error.strerror}", "name another folder") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it holds something now
            for each in missing:
                each.rmdir()


def _told_apart(names: list[str]) -> tuple[tuple[str, ...], Path]:
    """Appliances and desired state: the last one is the folder if it is one."""
    if names and (Path(names[-1]).is_dir() or os.sep in names[-1]):
        return tuple(names[:-1]), Path(names[-1])
    return tuple(names), DEFAULT_DESIRED_STATE


def _wish_for_declared(desired_state: Path, appliances: tuple[str, ...], site: str | None) -> Wish:
    from reconciler.engine.desk import Wish
    from reconciler.engine.load import load_desired
    from reconciler.engine.newcomer import selected

    return Wish(selected(load_desired(desired_state), appliances, site))


def _wish_for_new(desired_state: Path, appliances: tuple[str, ...], *, ca: Path | None, **given: object) -> Wish:
    from reconciler.engine.newcomer import Newcomer, wish_for

    if len(appliances) != 1:
        raise UsageError("one new appliance is adopted at a time", "name it, and give its options")
    name = appliances[0]
    if (given["url"] is None) == (given["path"] is None):
        raise UsageError("a new appliance has a web interface or a directory", "give either --url or --path")
    for ending in (".yaml", ".yml"):
        there = desired_state / "appliances" / f"{name}{ending}"
        if there.exists():
            raise UsageError(f"{there} is there already", "leave the options out to adopt it as it is declared")
    new: Newcomer = Newcomer(name, ca=_root_of(ca) if ca else None, **given)  # type: ignore[arg-type]  # as they are named
    return wish_for(desired_state, new)


def _root_of(file: Path) -> bytes:
    """The certificates of a file, without whatever else it holds."""
    from reconciler.pki.reading import Keys, read
    from reconciler.pki.writing import write_pem

    try:
        content = file.read_bytes()
    except OSError as error:
        raise UnreadableInput(f"{file} cannot be read: {error.strerror}", "check --trust-ca") from error
    return write_pem(read(content, keys=Keys.LEFT_ALONE).certificates)


def _look(context: typer.Context, desired_state: Path, wish: Wish) -> Adoption:
    import anyio

    from reconciler.base.clock import system_clock
    from reconciler.engine.adopt import adopt as look
    from reconciler.engine.operator import load_settings

    settings = load_settings(session_of(context).operator, os.environ, desired_state)
    with progress("adopting") as notify:

        async def ask() -> Adoption:
            return await look(desired_state, wish, settings, system_clock, notify=notify)

        return anyio.run(ask)


def _show_diff(adoption: Adoption, desired_state: Path) -> None:
    from reconciler.report.adoption_text import diff_text

    sys.stdout.write(diff_text(adoption, str(desired_state), medium_of(sys.stdout)))


def _show(adoption: Adoption, desired_state: Path, *, written: bool) -> None:
    from reconciler.engine.desk import has_schemas
    from reconciler.report.adoption_text import adoption_text

    schemas = has_schemas(desired_state)
    medium = medium_of(sys.stdout)
    sys.stdout.write(adoption_text(adoption, str(desired_state), medium, written=written, schemas=schemas))
