"""Security > Certificates as a whole: all pages of its tables, and how to get to the pages behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.base.errors import StoreUnrecognised
from reconciler.live.web import labels
from reconciler.live.web.finding import NotUnderstood, pressed
from reconciler.live.web.installation import read_create, read_import
from reconciler.live.web.page import Link
from reconciler.live.web.pages import CertificatesPage, read_certificates
from reconciler.live.web.trouble import not_recognised

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from reconciler.live.web.installation import CreatePage, ImportPage
    from reconciler.live.web.page import Page
    from reconciler.live.web.pages import CertificateRow, RequestRow
    from reconciler.live.web.session import Session

WHERE = "Security > Certificates"
_OWN, _MANAGED, _REQUESTS = range(3)
_MOST_ITEMS = 200_000
"""Texts and controls of all pages of a table: some twenty for each row."""


@dataclass(frozen=True)
class Listing:
    """What the tables of certificates and of requests list, each row with the page that it stands on.

    Attributes:
        first: The first page.
        rows: Certificates.
        requests: Pending requests.
    """

    first: CertificatesPage
    rows: tuple[tuple[CertificatesPage, CertificateRow], ...]
    requests: tuple[tuple[CertificatesPage, RequestRow], ...]

    @property
    def shown(self) -> tuple[object, ...]:
        """What a person sees: two looks at the same store show the same."""
        return (tuple(row.shown for _, row in self.rows), tuple(row.shown for _, row in self.requests))


class Interface:
    """Finds its way through one interface."""

    def __init__(self, session: Session, most_pages: int) -> None:
        self.session = session
        self._most_pages = most_pages
        self._certificates_url = ""

    async def listing(self) -> Listing:
        """All certificates and pending requests as the interface lists them now.

        Raises:
            StoreError: The page cannot be reached, or is not understood.
        """
        first = understood(await self._certificates())
        rows = [(first, row) for row in first.rows]
        requests = [(first, row) for row in first.requests]
        for part in (_OWN, _MANAGED, _REQUESTS):
            async for page in self._following(first, part):
                if part == _REQUESTS:
                    requests += [(page, row) for row in page.requests]
                else:
                    rows += [(page, row) for row in page.rows if row.managed == (part == _MANAGED)]
        return Listing(first, tuple(rows), tuple(requests))

    async def _following(self, first: CertificatesPage, part: int) -> AsyncIterator[CertificatesPage]:
        """The further pages of one table."""
        link, seen, items = first.more[part], {first.page.url}, len(first.page.items)
        while link is not None and link.url not in seen:
            seen.add(link.url)
            if len(seen) > self._most_pages:
                raise StoreUnrecognised(
                    f"a table of {WHERE} has more than {self._most_pages} pages", "see whether it works in a browser"
                )
            page = understood(await self.session.page(link.url))
            items += len(page.page.items)
            if items > _MOST_ITEMS:
                raise StoreUnrecognised(f"{WHERE} lists more than any appliance holds", "see what answers there")
            yield page
            link = page.more[part]

    async def _certificates(self) -> Page:
        """The page Security > Certificates, by way of the navigation."""
        if self._certificates_url:
            return await self.session.page(self._certificates_url)
        page = await self.session.page(self.session.url)
        for label in (labels.SECURITY, labels.CERTIFICATES):
            if is_certificates(page):
                break
            link = pressed(page, label)
            if isinstance(link, Link):
                page = await self.session.page(link.url)
            elif label is labels.CERTIFICATES:
                raise not_recognised("the way to " + WHERE, f"a link '{label}'", page)
        self._certificates_url = page.url
        return page

    async def create_page(self, listing: Listing) -> CreatePage | None:
        """Where certificates and requests are made; None where nothing leads there or the page cannot be used."""
        where = listing.first.create
        if where is None:
            return None
        page = await self.session.follow(where, listing.first.page)
        try:
            return read_create(page)
        except NotUnderstood:
            return None

    async def import_page(self, listing: Listing) -> ImportPage | None:
        """Where files are imported; None where nothing leads there or the page cannot be used."""
        where = listing.first.import_
        if where is None:
            return None
        page = await self.session.follow(where, listing.first.page)
        try:
            return read_import(page)
        except NotUnderstood:
            return None

    async def basics(self) -> Page | None:
        """Status > Basics; None where nothing leads there."""
        page = await self.session.page(self.session.url)
        for label in (labels.STATUS, labels.BASICS):
            link = pressed(page, label)
            if isinstance(link, Link):
                page = await self.session.page(link.url)
            elif label is labels.BASICS:
                return None
        return page


def understood(page: Page) -> CertificatesPage:
    """The page Security > Certificates as values.

    Raises:
        StoreUnrecognised: It is not understood.
    """
    try:
        return read_certificates(page)
    except NotUnderstood as missing:
        raise not_recognised(f"the page {WHERE}", missing.wanted, page) from None


def is_certificates(page: Page) -> bool:
    """Whether a page is Security > Certificates."""
    try:
        read_certificates(page)
    except NotUnderstood:
        return False
    return True
