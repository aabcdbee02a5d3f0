"""`reconciler bundle`: the .zip for BeyondTrust Technical Support. Committed files suffice; no appliance is changed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.base.text import printable
from reconciler.cli.exits import Exit
from reconciler.cli.options import DEFAULT_DESIRED_STATE, DesiredStatePath, Revision
from reconciler.cli.output import medium_of, progress
from reconciler.cli.session import Session, session_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.desired.state import DesiredState
    from reconciler.report.bundle import Gathered
    from reconciler.report.bundle_archive import Bundle, Picture


def bundle(
    context: typer.Context,
    site: Annotated[str, typer.Argument(metavar="SITE", help="Name of the site, or of an appliance outside any site.")],
    desired_state: DesiredStatePath = DEFAULT_DESIRED_STATE,
    *,
    revision: Revision = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The .zip to write; SITE-bundle.zip if it is left out.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there already.")] = False,
    certificate: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A certificate that is not committed, such as a self-signed one of the appliance's; "
            "may be given several times.",
        ),
    ] = None,
    screenshot: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A screenshot of Status > Basics, PNG or JPEG; may be given several times."),
    ] = None,
    take_screenshot: Annotated[
        list[str] | None,
        typer.Option(
            metavar="APPLIANCE",
            help="Take the screenshot from this appliance's web interface, with Chromium; may be given several times.",
        ),
    ] = None,
    incident: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Number of your open incident with support.")
    ] = None,
) -> Exit:
    """Make the .zip that BeyondTrust Technical Support needs: certificates without keys, screenshots, a message.

    The message is written to stdout as well. Send it when a root, or a self-signed certificate, is new.
    """
    from reconciler.engine.files import check_place, write_private
    from reconciler.engine.load import load_desired
    from reconciler.report.bundle import certificates_in, gather, hindrances
    from reconciler.report.bundle_archive import Picture, make_bundle
    from reconciler.report.validation import findings_text

    target = out or Path(f"{site}-bundle.zip")
    state = load_desired(desired_state, revision)
    found = hindrances(state, site)
    if found:
        sys.stderr.write(findings_text(found, state.root, medium_of(sys.stderr)))
        told = printable(site)
        sys.stderr.write(f"reconciler: the bundle of {told} is not made while its files have these errors\n")
        return Exit.FINDINGS
    given = [each for file in certificate or () for each in certificates_in(_shown(file), _read(file))]
    gathered = gather(state, site, given)
    check_place(target, replace=force)
    pictures = [Picture(_shown(file), _read(file)) for file in screenshot or ()]
    make_bundle(gathered, pictures, incident)  # what is wrong with it is said before anybody signs in anywhere
    pictures += _take(session_of(context), state, desired_state, gathered, take_screenshot or ())
    made = make_bundle(gathered, pictures, incident)
    write_private(target, made.archive(), replace=force)
    sys.stdout.write(made.message)
    sys.stdout.flush()
    _tell(target, made)
    return Exit.DONE


def _take(
    session: Session, state: DesiredState, desired_state: Path, gathered: Gathered, appliances: Sequence[str]
) -> list[Picture]:
    """Screenshots from web interfaces, one after the other."""
    import anyio

    from reconciler.base.clock import system_clock
    from reconciler.engine.operator import load_settings
    from reconciler.engine.picture import take_picture
    from reconciler.report.bundle_archive import Picture

    members = [each.name for each in gathered.members]
    for name in appliances:
        if name not in members:
            raise UsageError(f"{name} is no appliance of {gathered.site}", f"name {' or '.join(members)}")
    if not appliances:
        return []
    settings = load_settings(session.operator, os.environ, desired_state)
    taken = []
    with progress("taking screenshots") as notify:
        for name in dict.fromkeys(appliances):
            if notify:
                notify(name, "Status > Basics")
            taken.append(Picture(name, anyio.run(take_picture, state, settings, system_clock, name), name))
    return taken


def _shown(path: Path) -> str:
    return printable(str(path))


def _read(path: Path) -> bytes:
    """A file that was named on the command line; not more of it than can be of use."""
    from reconciler.report.pictures import LARGEST

    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise UnreadableInput(f"{_shown(path)} cannot be read: {error.strerror}", "check the path") from error


def _tell(path: Path, made: Bundle) -> None:
    sys.stderr.write(f"\n{_shown(path)} is written: {len(made.files)} files, the message above among them, no key.\n")
    sys.stderr.write("Before you send it:\n")
    sys.stderr.writelines(f"  - {each}\n" for each in made.to_do)
