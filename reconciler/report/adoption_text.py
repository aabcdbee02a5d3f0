"""What adopting comes to, for people: what is written, what is not and why, and the next step."""

from __future__ import annotations

import difflib
import posixpath
import shlex
from typing import TYPE_CHECKING

from reconciler.desired.adoption import SCHEMAS, head
from reconciler.report.page import Ink, Page, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.desired.adoption import Adoption, Told
    from reconciler.report.page import Medium

_INKS = {"+": Ink.GOOD, "-": Ink.BAD, "@": Ink.HELD}


def adoption_text(adoption: Adoption, root: str, medium: Medium, *, written: bool, schemas: bool) -> str:
    """The summary.

    Args:
        adoption: What it comes to.
        root: The desired state's folder as people name it.
        medium: What it is written on.
        written: Whether the files have been written.
        schemas: Whether JSON Schemas lie beside the folder, so that new files name theirs.
    """
    page = Page(medium)
    if adoption.adopted:
        page.write(Span("Declared as found" if written else "Would be declared as found", Ink.STRONG))
        for name, where in adoption.adopted:
            page.write(f"certificate {name}, listed by {where}", indent=2)
        page.blank()
    if adoption.files:
        page.write(Span("Written" if written else "Would be written", Ink.STRONG))
        for path, (before, _) in adoption.files.items():
            page.write(f"{path}{'' if before is None else ' (edited)'}", indent=2)
        page.blank()
    else:
        page.write("Already declared: there is nothing to write.")
        page.blank()
    _section(page, "Not declared", adoption.left)
    _section(page, "Wrong as it is", adoption.troubles)
    _section(page, "Accepted for now, by `acknowledge` or `renew_before`", adoption.accepted)
    _section(page, "What the next plan will do nevertheless", adoption.changes)
    if not schemas and any(path.endswith(".yaml") and old is None for path, (old, _) in adoption.files.items()):
        folder = shlex.quote(posixpath.join(posixpath.dirname(root.rstrip("/")), SCHEMAS))
        (line,) = head("site", schema=True)
        page.write("Editors complete and check files that name their schema. These do not: there are none yet.")
        page.write(f"reconciler schema --write {folder}", indent=2)
        page.write(f"then `{line}` on top of a site's file, and so on", indent=2)
        page.blank()
    if adoption.files and written:
        quoted = shlex.quote(root)
        page.write(Span("Next", Ink.STRONG))
        page.write("See what was written, `client_software` before all, and what comes of it:", indent=2)
        page.write(f"git add -N {quoted} && git diff {quoted}", indent=2)
        page.write(f"reconciler plan {quoted}", indent=2)
    return page.text()


def _section(page: Page, title: str, items: Sequence[Told]) -> None:
    if not items:
        return
    page.write(Span(title, Ink.STRONG))
    for each in items:
        told = f"{each.message} - {each.remedy}" if each.remedy else each.message
        page.write(told, head=f"{each.where}:", indent=2, column=14)
    page.blank()


def diff_text(adoption: Adoption, root: str, medium: Medium) -> str:
    """What would be written, as a unified diff."""
    page = Page(medium)
    for path, (before, after) in adoption.files.items():
        name = f"{root}/{path}"
        if path.endswith(".pem"):
            page.write(Span(f"+++ {name}", Ink.STRONG), ", a certificate in PEM")
            continue
        old = "/dev/null" if before is None else name
        lines = difflib.unified_diff(_lines(before or b""), _lines(after), old, name, lineterm="", n=2)
        for line in lines:
            page.write(Span(line, _INKS.get(line[:1], Ink.PLAIN)))
    return page.text() + "\n" if adoption.files else ""


def _lines(content: bytes) -> list[str]:
    text = content.decode("utf-8", "replace").replace("\r\n", "\n")
    return text.removesuffix("\n").split("\n") if text else []
