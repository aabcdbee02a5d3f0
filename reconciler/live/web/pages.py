"""What the pages of the interface say, as values: found by visible label, heading, table header and button text.

A page that lacks what it must have raises `NotUnderstood`; a control that may be missing is None, and what needs it is
left to do by hand. Nothing here asks for a page or sends one.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from reconciler.live.web import labels
from reconciler.live.web.finding import NotUnderstood, button, labelled, need, pressed, sections, table_with
from reconciler.live.web.page import Span

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from reconciler.live.web.finding import Pressed
    from reconciler.live.web.labels import Label
    from reconciler.live.web.page import Control, Link, Option, Page

_EXPIRATION = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d) ?(?:GMT|UTC|Z)")
_WARNINGS = re.compile(r"\d+ Warning\(s\)", re.IGNORECASE)
_YES_OR_NO = re.compile(r"(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True)
class SignInPage:
    """Where one signs in.

    Attributes:
        page: The page.
        username: The field for the user name.
        password: The field for the password.
        button: What signs in.
    """

    page: Page
    username: Control
    password: Control
    button: Control


def is_sign_in(page: Page) -> bool:
    """Whether a page asks for a password in order to let somebody in."""
    controls = list(page.controls())
    passwords = [each for each in controls if each.kind == "password"]
    return (
        len(passwords) == 1
        and not any(each.kind == "file" for each in controls)
        and button(page, labels.SIGN_IN, passwords[0].form) is not None
        and pressed(page, labels.SIGN_OUT) is None
    )


def read_sign_in(page: Page) -> SignInPage:
    """The sign-in page.

    Raises:
        NotUnderstood: It is none of this product.
    """
    if not any(
        word.casefold() in text.casefold() for word in labels.PRODUCT.texts for text in (page.title, *page.lines())
    ):
        raise NotUnderstood("'BeyondTrust' or 'Bomgar' on the sign-in page")
    password = need(labelled(page, labels.PASSWORD_TO_SIGN_IN, {"password"}), labels.PASSWORD_TO_SIGN_IN)
    username = need(labelled(page, labels.USERNAME, {"text"}), labels.USERNAME)
    if username.form != password.form:
        raise NotUnderstood("user name and password in one form")
    if password.form is None or page.forms[password.form].method != "POST":
        # Sent in another way, the password would stand in an address, and so in logs.
        raise NotUnderstood("a form that sends the password by POST")
    return SignInPage(page, username, password, need(button(page, labels.SIGN_IN, password.form), labels.SIGN_IN))


# Security > Certificates


@dataclass(frozen=True)
class Actions:
    """The drop-down above a table, and what applies it.

    Attributes:
        choice: `-- Select Action --`.
        apply: `Apply`.
    """

    choice: Control
    apply: Control

    def option(self, label: Label) -> Option | None:
        """What the drop-down calls an action."""
        return next((each for each in self.choice.options if label.matches(each.text)), None)


@dataclass(frozen=True)
class CertificateRow:
    """A row of the table of certificates.

    Attributes:
        managed: Whether the appliance requests and renews the certificate by itself.
        friendly_name: Friendly Name, warnings left out.
        issued_to: Issued To.
        issued_by: Issued By.
        expiration: Expiration, where it is written as the guide shows.
        names: Alternative Name(s), as they are shown.
        has_key: Private Key?
        is_default: Default.
        tick: The box in front of it.
        radio: The button in the column Default.
    """

    managed: bool
    friendly_name: str
    issued_to: str
    issued_by: str
    expiration: dt.datetime | None
    names: tuple[str, ...]
    has_key: bool
    is_default: bool
    tick: Control | None
    radio: Control | None

    @property
    def shown(self) -> tuple[object, ...]:
        """What a person sees of it, and by what it is chosen."""
        handle = self.tick.value if self.tick else ""
        names = (self.friendly_name, self.issued_to, self.issued_by, self.names)
        return (*names, self.expiration, self.has_key, self.is_default, handle)


@dataclass(frozen=True)
class RequestRow:
    """A row of the table of certificate requests.

    Attributes:
        subject: Subject.
        names: Alternative Name(s).
        fingerprint: Fingerprint, as it is shown.
        details: Where it leads.
        tick: The box in front of it.
    """

    subject: str
    names: tuple[str, ...]
    fingerprint: str
    details: Link
    tick: Control | None

    @property
    def shown(self) -> tuple[object, ...]:
        """What a person sees of it."""
        return (self.subject, self.names, self.fingerprint)


@dataclass(frozen=True)
class CertificatesPage:
    """Security > Certificates, or one page of it where its tables are long.

    Attributes:
        page: The page.
        rows: The certificates.
        requests: The pending requests.
        shows_requests: Whether it has a section for them.
        actions: What can be done to ticked certificates, by section: those of the administrator, and the appliance's.
        request_actions: What can be done to ticked requests.
        create: Leads to the page on which certificates and requests are made.
        import_: Leads to the page on which files are imported.
        more: Where the tables go on that do: those of the administrator's, the appliance's, and of requests.
    """

    page: Page
    rows: tuple[CertificateRow, ...]
    requests: tuple[RequestRow, ...]
    shows_requests: bool
    actions: tuple[Actions | None, Actions | None]
    request_actions: Actions | None
    create: Pressed | None
    import_: Pressed | None
    more: tuple[Link | None, Link | None, Link | None]

    def actions_of(self, row: CertificateRow) -> Actions | None:
        """What can be done to a certificate when it is ticked."""
        found = self.actions[row.managed]
        return found if found and row.tick and found.choice.form == row.tick.form else None

    @cached_property
    def save_default(self) -> Control | None:
        """What saves the choice in the column Default."""
        radio = next((row.radio for row in self.rows if row.radio), None)
        return button(self.page, labels.SAVE_DEFAULT, radio.form) if radio else None


_ROW = (labels.FRIENDLY_NAME, labels.ISSUED_TO, labels.ISSUED_BY, labels.EXPIRATION, labels.ALTERNATIVE_NAMES)
_COLUMNS = (*_ROW, labels.PRIVATE_KEY, labels.DEFAULT)
_REQUEST_COLUMNS = (labels.SUBJECT, labels.ALTERNATIVE_NAMES, labels.FINGERPRINT)


def read_certificates(page: Page) -> CertificatesPage:
    """Security > Certificates.

    Raises:
        NotUnderstood: It is another page, or one that shows this in a way that is not known.
    """
    if page.is_cut_short:
        raise NotUnderstood("the end of each table")
    parts = sections(page)
    own = _section_with_table(page, parts, (labels.CERTIFICATES_SECTION, labels.OTHER_SECTION))
    if own is None:
        seen = any(label in {labels.CERTIFICATES_SECTION, labels.OTHER_SECTION} for label, _ in parts)
        columns = ", ".join(f"'{label}'" for label in _COLUMNS)
        raise NotUnderstood(f"a table with the columns {columns}" if seen else f"'{labels.CERTIFICATES_SECTION}'")
    managed = _section_with_table(page, parts, (labels.LETS_ENCRYPT_SECTION,))
    waiting = [span for label, span in parts if label is labels.REQUESTS_SECTION]
    requests = [table for span in waiting if (table := table_with(page, _REQUEST_COLUMNS, span))]
    installation = [span for label, span in parts if label is labels.INSTALLATION_SECTION]
    rows = list(_rows(page, own, managed=False))
    if managed:
        rows += _rows(page, managed, managed=True)
    pending = waiting[0] if waiting else None
    return CertificatesPage(
        page=page,
        rows=tuple(rows),
        requests=tuple(_requests(page, *requests[0])) if requests else (),
        shows_requests=bool(waiting),
        actions=(_actions(page, own), _actions(page, managed) if managed else None),
        request_actions=_actions(page, pending) if pending else None,
        create=next((found for span in installation if (found := pressed(page, labels.CREATE, span))), None),
        import_=next((found for span in installation if (found := pressed(page, labels.IMPORT, span))), None),
        more=(_next(page, own), _next(page, managed), _next(page, pending)),
    )


def _next(page: Page, span: Span | None) -> Link | None:
    links = page.links(span) if span else ()
    return next((link for link in links if labels.NEXT.matches(link.text)), None)


def _section_with_table(page: Page, parts: list[tuple[Label, Span]], wanted: Collection[Label]) -> Span | None:
    spans = (span for label, span in parts if label in wanted)
    return next((span for span in spans if table_with(page, _COLUMNS, span)), None)


def _rows(page: Page, span: Span, *, managed: bool) -> Iterator[CertificateRow]:
    table = table_with(page, _COLUMNS, span)
    for cells in table[1] if table else ():
        columns = table[0] if table else {}
        text = {label: tuple(page.lines(cells[index])) for label, index in columns.items()}
        key = _YES_OR_NO.match(" ".join(text[labels.PRIVATE_KEY]))
        if not key:
            raise NotUnderstood(f"'Yes' or 'No' beneath '{labels.PRIVATE_KEY}'")
        row = Span(cells[0].start, cells[-1].end)
        radio = next((each for each in page.controls(cells[columns[labels.DEFAULT]]) if each.kind == "radio"), None)
        names = [each for each in text[labels.FRIENDLY_NAME] if not _WARNINGS.fullmatch(each)]
        yield CertificateRow(
            managed=managed,
            friendly_name=names[0] if names else "",
            issued_to=" ".join(text[labels.ISSUED_TO]),
            issued_by=" ".join(text[labels.ISSUED_BY]),
            expiration=_instant(" ".join(text[labels.EXPIRATION])),
            names=text[labels.ALTERNATIVE_NAMES],
            has_key=key[1].casefold() == "yes",
            is_default=radio.checked if radio else any(text[labels.DEFAULT]),
            tick=next((each for each in page.controls(row) if each.kind == "checkbox"), None),
            radio=radio,
        )


def _instant(text: str) -> dt.datetime | None:
    match = _EXPIRATION.search(text)
    try:
        return dt.datetime.fromisoformat(f"{match[1]}T{match[2]}+00:00") if match else None
    except ValueError:
        return None


def _requests(page: Page, columns: dict[Label, int], rows: list[tuple[Span, ...]]) -> Iterator[RequestRow]:
    for cells in rows:
        link = next(page.links(cells[columns[labels.SUBJECT]]), None)
        if link is None:
            raise NotUnderstood(f"a link beneath '{labels.SUBJECT}'")
        boxes = page.controls(Span(cells[0].start, cells[-1].end))
        yield RequestRow(
            subject=link.text,
            names=tuple(page.lines(cells[columns[labels.ALTERNATIVE_NAMES]])),
            fingerprint=" ".join(page.lines(cells[columns[labels.FINGERPRINT]])),
            details=link,
            tick=next((each for each in boxes if each.kind == "checkbox"), None),
        )


def _actions(page: Page, span: Span) -> Actions | None:
    choices = (each for each in page.controls(span) if each.kind == "choice")
    choice = next((each for each in choices if any(map(_is_select_action, each.options))), None)
    if choice is None:
        return None
    after = Span(choice.place, span.end)
    applies = (each for each in page.controls(after) if each.kind == "submit" and labels.APPLY.matches(each.text))
    apply = next((each for each in applies if each.form == choice.form), None)
    return Actions(choice, apply) if apply else None


def _is_select_action(option: Option) -> bool:
    return labels.SELECT_ACTION.matches(option.text)
