"""The bundle as a .zip: each file looked at once more for keys, and the same bytes whenever it is made of the same."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.base.errors import FormatError, UsageError
from reconciler.report.bundle_files import BundleFile, slug, unused
from reconciler.report.bundle_message import message_text
from reconciler.report.keyless import check_keyless
from reconciler.report.pictures import image_only

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.report.bundle import Gathered

MESSAGE = "message.txt"
_LONGEST_INCIDENT = 40
_START = (1980, 1, 1, 0, 0, 0)
"""The first instant that a .zip knows; when it was made is nothing to anybody."""
_UNIX = 3
_PLAIN_FILE = 0o100644 << 16


@dataclass(frozen=True, slots=True)
class Picture:
    """A screenshot of Status > Basics as it was given or taken.

    Attributes:
        source: Where it comes from, for messages.
        content: The file.
        appliance: The appliance that it shows; empty where that is not known.
    """

    source: str
    content: bytes = field(repr=False)
    appliance: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is sent.

    Attributes:
        files: The files of the .zip, by name; the message is one of them.
        message: The text to send.
        to_do: What is left to do before it is sent, a clause each.
    """

    files: tuple[BundleFile, ...]
    message: str
    to_do: tuple[str, ...]

    def archive(self) -> bytes:
        """The .zip. Nothing in it is compressed, so that it does not depend on who compresses.

        Raises:
            FormatError: A private key shows in one of the files.
        """
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
            for each in self.files:
                check_keyless(each.name, each.content)
                entry = zipfile.ZipInfo(each.name, _START)
                entry.create_system, entry.external_attr = _UNIX, _PLAIN_FILE
                archive.writestr(entry, each.content)
        return written.getvalue()


def make_bundle(gathered: Gathered, pictures: Sequence[Picture] = (), incident: str | None = None) -> Bundle:
    """Put a bundle together.

    Args:
        gathered: The certificates.
        pictures: Screenshots of Status > Basics.
        incident: Number of the open incident, if it is known.

    Raises:
        FormatError: A picture is none.
        UsageError: The incident's number is not one line.
    """
    if incident is not None and not (incident.isprintable() and 0 < len(incident) <= _LONGEST_INCIDENT):
        raise UsageError("the incident number is not one short line", "give it as support has told it to you")
    shots = _picture_files(gathered, pictures)
    message = message_text(gathered, shots, incident)
    files = (*gathered.files, *shots, BundleFile(MESSAGE, message.encode(), "this message"))
    return Bundle(tuple(sorted(files, key=lambda each: each.name)), message, tuple(_to_do(gathered, shots, incident)))


def _picture_files(gathered: Gathered, pictures: Sequence[Picture]) -> tuple[BundleFile, ...]:
    hostnames = {each.name: each.hostname for each in gathered.members}
    files: list[BundleFile] = []
    for each in pictures:
        try:
            extension, content = image_only(each.content)
        except FormatError as error:
            raise FormatError(f"{each.source} is no screenshot: {error.message}", error.remedy) from error
        stem = slug(f"status basics {each.appliance}")
        whose = f" of {hostnames[each.appliance]}" if each.appliance else ""
        name = unused(stem, extension, {one.name for one in files})
        files.append(BundleFile(name, content, f"Status > Basics{whose}"))
    return tuple(files)


def _to_do(gathered: Gathered, pictures: Sequence[BundleFile], incident: str | None) -> list[str]:
    tasks = []
    if not gathered.new_roots and gathered.installed_at is not None:
        tasks.append("see whether it is needed: the newest software build that is declared trusts every root in it")
    if len(pictures) < len(gathered.members):
        whose = "" if len(gathered.members) == 1 else " of each appliance"
        tasks.append(
            f"add a screenshot of Status > Basics{whose}: --screenshot FILE or --take-screenshot APPLIANCE does it"
        )
    if incident is None:
        tasks.append("write the incident number into the message if there is one: --incident NUMBER does it")
    return [*tasks, "put your name beneath the message"]
