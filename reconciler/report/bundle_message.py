"""The message that goes to BeyondTrust Technical Support with a bundle, as a person would write it.

It names the appliances to be updated, the roots to be built in by fingerprint, and what must not be lost: the roots
that clients trust now. What only the sender knows is left in square brackets.
"""

from __future__ import annotations

import datetime as dt
import textwrap
from typing import TYPE_CHECKING

from reconciler.report.bundle_files import shown
from reconciler.report.words import counted, gmt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.pki.certificate import Certificate
    from reconciler.report.bundle import Gathered, Held
    from reconciler.report.bundle_files import BundleFile

WIDTH = 76
_INDENT = "  "
_HOUR = dt.timedelta(hours=1)


def message_text(gathered: Gathered, pictures: Sequence[BundleFile], incident: str | None) -> str:
    """The message, in lines of at most 76 characters.

    Args:
        gathered: What the bundle is made of.
        pictures: The screenshots in it.
        incident: Number of the open incident, if it is known.
    """
    paragraphs = (
        *_opening(gathered, incident),
        *_appliances(gathered),
        *_new(gathered),
        *_certificates(gathered),
        *_kept(gathered),
        *_attached(gathered, pictures),
        *_closing(gathered),
    )
    return "\n\n".join(paragraphs) + "\n"


def _opening(gathered: Gathered, incident: str | None) -> Iterator[str]:
    new, site = gathered.new_roots, gathered.hostname
    subject = f"New {_kind(new)} for {site}" if new else f"SSL certificates of {site}"
    yield f"Subject: {subject}{f', incident {incident}' if incident else ''}"
    yield "Hello BeyondTrust Technical Support,"
    if new:
        lacking = "our software does not contain yet" if gathered.installed_at else "its clients have to trust"
        yield _text(
            f"our site {site} is going to use {_article(new)}{_kind(new)} that {lacking}. Please build "
            f"{'it' if len(new) == 1 else 'them'} into our software, and send us the update."
        )
    else:
        since = f", installed on {gathered.installed_at:%Y-%m-%d}," if gathered.installed_at else ""
        roots = "their root" if len(gathered.roots) == 1 else "their roots"
        yield _text(
            f"attached are the SSL certificates of our site {site}, together with those that issued them. As far as we "
            f"know, our newest software build{since} contains {roots} already. Please tell us if it does not, and send "
            f"us an update then."
        )
    yield f"Incident number: {incident or '[add it if an incident is open, or delete this line]'}"


def _appliances(gathered: Gathered) -> Iterator[str]:
    noun = "appliances" if len(gathered.members) > 1 else "appliance"
    heading = f"The {noun} to be updated:" if gathered.new_roots else f"The {noun} of this site:"
    yield _listed(heading, (f"{one.hostname} ({one.role})" if one.role else one.hostname for one in gathered.members))


def _new(gathered: Gathered) -> Iterator[str]:
    new = gathered.new_roots
    if new:
        yield f"{'These are' if len(new) > 1 else 'This is'} the new {_kind(new)}:"
        yield from (_described(each, gathered.named[each]) for each in new)


def _kept(gathered: Gathered) -> Iterator[str]:
    if gathered.installed_at is None:
        return
    one = len(gathered.trusted) == 1
    what = "root certificate" if one else "root certificates"
    until = " until all of them have been updated" if gathered.new_roots else ""
    yield _text(
        f"Please keep the {what} of our newest software build, installed on {gathered.installed_at:%Y-%m-%d}, in "
        f"whatever you build next, since clients depend on {'it' if one else 'them'}{until}:"
    )
    for each in gathered.trusted:
        yield _listed("", (f"Issued To: {shown(each.subject.display)}", f"SHA-256: {each.fingerprint}"))


def _certificates(gathered: Gathered) -> Iterator[str]:
    """The certificates themselves, but for self-signed ones, which are roots and so were told already."""
    own = [each for each in gathered.held if not (each.is_issued and each.certificates[0] in gathered.new_roots)]
    if own:
        yield f"The SSL {'certificates' if len(own) > 1 else 'certificate'} for these appliances:"
        yield from (_own(each, gathered) for each in own)


def _own(held: Held, gathered: Gathered) -> str:
    if held.is_issued:
        return _described(held.certificates[0], gathered.named[held.certificates[0]])
    return _listed("", (f"Issued To: {held.shown}", "(not issued yet; the root of its CA is attached)"))


def _attached(gathered: Gathered, pictures: Sequence[BundleFile]) -> Iterator[str]:
    yield _listed("The attached .zip holds:", (f"{each.name} - {each.about}" for each in (*gathered.files, *pictures)))
    lacking = len(gathered.members) - len(pictures)
    if lacking > 0:
        other = "other " if pictures else ""
        whose = f"the {other}appliance" if lacking == 1 else f"each {other}appliance"
        yield _text(f"[Still to be added: a screenshot of Status > Basics of {whose}.]")
    yield "There is no private key in it."


def _closing(gathered: Gathered) -> Iterator[str]:
    if gathered.new_roots:
        where = "each appliance" if len(gathered.members) > 1 else "the appliance"
        yield _text(
            f"We will install the update on {where} as you instruct us, and wait {_duration(gathered.settle)} for "
            f"clients to update themselves before the new certificate is used."
        )
    yield "Thank you,\n[your name]"


def _described(certificate: Certificate, file: str) -> str:
    return _listed(
        "",
        (
            f"Issued To: {shown(certificate.subject.display)}",
            f"Issued By: {shown(certificate.issuer.display)}",
            f"Expiration: {gmt(certificate.not_after)}",
            f"SHA-256: {certificate.fingerprint}",
            f"File: {file}",
        ),
    )


def _kind(roots: Sequence[Certificate]) -> str:
    own = all(not each.is_authority for each in roots)
    return f"{'self-signed' if own else 'root'} certificate{'s' if len(roots) > 1 else ''}"


def _article(roots: Sequence[Certificate]) -> str:
    return "a new " if len(roots) == 1 else "new "


def _duration(span: dt.timedelta) -> str:
    if span % _HOUR:
        return counted(int(span.total_seconds()) // 60, "minute")
    return counted(span // _HOUR, "hour")


def _text(text: str) -> str:
    return textwrap.fill(text, WIDTH)


def _listed(heading: str, lines: Iterable[str]) -> str:
    """Lines beneath a heading; a long one goes on beneath itself."""
    filled = (
        textwrap.fill(line, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT * 2, break_on_hyphens=False)
        for line in lines
    )
    return "\n".join((heading, *filled) if heading else filled)
