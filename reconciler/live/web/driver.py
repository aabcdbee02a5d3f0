"""The web driver as the rest of the program sees it: the `Driver` protocol over one interface.

Each change looks at the store's list before and after, so that what came of it is read from the store and not from what
a page says. Before something is removed or chosen, its certificate is exported from the very page that acts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from reconciler.base.errors import (
    ActionRefused,
    EffectUnknown,
    FormatError,
    ReconcilerError,
    StoreError,
    StoreUnreachable,
)
from reconciler.live.driver import ExistingKey
from reconciler.live.web import labels
from reconciler.live.web.creating import Creation, write_form
from reconciler.live.web.finding import button, only_button
from reconciler.live.web.forms import Filling
from reconciler.live.web.installation import finish_import
from reconciler.live.web.listing import WHERE, is_certificates
from reconciler.live.web.looking import (
    certificate_of,
    export,
    is_factory,
    live_store,
    look,
    outline,
    request_of,
    ticked,
)
from reconciler.live.web.session import SignedOut
from reconciler.live.web.trouble import said
from reconciler.pki.asn1 import Kind
from reconciler.pki.protection import is_text
from reconciler.pki.reading import Keys, read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import timedelta

    from reconciler.live.driver import CertificateForm, ExportedFile, ExportOptions, Upload
    from reconciler.live.store import LiveStore
    from reconciler.live.web.forms import Submission
    from reconciler.live.web.installation import CreatePage, ImportPage
    from reconciler.live.web.listing import Interface, Listing
    from reconciler.live.web.page import Control, Page
    from reconciler.live.web.pages import CertificateRow, CertificatesPage, RequestRow
    from reconciler.live.web.trust import Pins
    from reconciler.pki.certificate import Certificate
    from reconciler.pki.request import Request

_EXTENSIONS: dict[Kind | None, str] = {Kind.PKCS12: "p12", Kind.PKCS7: "p7b", Kind.CERTIFICATE: "cer"}
T = TypeVar("T")


class WebDriver:
    """The /appliance interface. See `reconciler.live.driver.Driver` for what its methods promise."""

    def __init__(self, interface: Interface, pins: Pins, remember: Callable[[Iterable[str]], None]) -> None:
        self._interface = interface
        self._session = interface.session
        self._pins = pins
        self._remember = remember
        self._forms: tuple[CreatePage | None, ImportPage | None] | None = None
        self._making: CertificateForm | None = None
        self._has_sent = False

    async def observe(self) -> LiveStore:
        """Everything the store holds now. Changes nothing."""
        return await self._reading(self._observe)

    async def _observe(self) -> LiveStore:
        seen = await look(self._interface)
        self._meet((row, certificate) for _, row, certificate in seen.certificates)
        if self._forms is None:
            # What an interface offers does not change while one is signed in.
            create = await self._interface.create_page(seen.listing)
            self._forms = create, await self._interface.import_page(seen.listing)
        return live_store(seen, *self._forms)

    async def create_self_signed(self, form: CertificateForm, valid_for: timedelta) -> None:
        """Create Self-Signed Certificate. How long it is valid is the appliance's choice."""
        if valid_for.total_seconds() <= 0:
            raise ActionRefused("a certificate cannot be valid for no time", "ask for a longer time")

        async def act(before: Listing) -> None:
            creation = await self._creation(before, form)
            self._making = form
            await self._create(before, creation, creation.page.self_signed, labels.CREATE_SELF_SIGNED)
            # It may be what the interface presents at the next handshake, and nobody has committed it: it is fetched
            # over the connection that it was made on.
            after = await self._interface.listing()
            there = {row.shown for _, row in before.rows}
            new = [(page, row) for page, row in after.rows if row.shown not in there] or after.rows
            self._meet([(row, await certificate_of(self._interface, page, row)) for page, row in new])

        await self._changing(act)

    async def create_request(self, form: CertificateForm) -> None:
        """Create Certificate Request."""

        async def act(before: Listing) -> None:
            creation = await self._creation(before, form)
            await self._create(before, creation, creation.page.request, labels.CREATE_REQUEST)
            if isinstance(form.key, ExistingKey):
                await self._check_key(before, form, form.key)

        await self._changing(act)

    async def import_(self, upload: Upload) -> None:
        """Import. What is there already is left as it is."""
        expected = _served_with(upload)
        # It may be what the interface presents at the next handshake, and to whoever goes on where this one was killed.
        self._pins.add(expected)
        self._remember(expected)

        async def act(before: Listing) -> None:
            found = await self._interface.import_page(before)
            if found is None:
                raise ActionRefused("the interface offers no import", "import it by hand")
            filling = Filling(found.page, found.file.form)
            filling.attach(found.file, f"upload.{_extension(upload.content)}", upload.content)
            if upload.passphrase is not None:
                if found.password is None:
                    raise ActionRefused(f"the interface has no field '{labels.PASSWORD_OF_FILE}'", "import it by hand")
                filling.enter(found.password, _text(upload.passphrase))
            after = await self._sent(filling.press(found.upload))
            step = finish_import(after) if after and not is_certificates(after) else None
            if after and step:
                after = await self._sent(Filling(after, step.form).press(step))
            if after is None or not is_certificates(after):
                await self._unless_changed(before, "the file is not imported", found.page, after)

        await self._changing(act)

    async def set_default(self, fingerprint: str) -> None:
        """Select the radio button in the column Default."""

        async def act(before: Listing) -> None:
            page, row, _ = await self._row(before, fingerprint)
            if not row.has_key:
                raise ActionRefused(f"the certificate {fingerprint} has no private key here", "import its key first")
            if row.is_default:
                return
            save = button(page.page, labels.SAVE_DEFAULT, row.radio.form) if row.radio else None
            if row.radio is None or save is None:
                raise ActionRefused(f"the interface offers no way to save '{labels.DEFAULT}'", "set it by hand")
            filling = Filling(page.page, row.radio.form)
            filling.tick(row.radio)
            # Before it is sent: whoever is killed meanwhile must know later what the interface presents.
            self._remember([fingerprint])
            after = await self._sent(filling.press(save))
            now = await self._interface.listing()
            if now.shown == before.shown:
                raise ActionRefused(*_refusal("the default is not changed", page.page, after))

        await self._changing(act)

    async def remove(self, fingerprint: str) -> None:
        """Remove a certificate, unless it is the default or the factory certificate."""

        async def act(before: Listing) -> None:
            page, row, certificate = await self._row(before, fingerprint)
            if is_factory(certificate) and row.has_key:
                raise ActionRefused("the factory certificate cannot be removed", "leave it where it is")
            if row.is_default:
                raise ActionRefused(
                    f"the certificate {fingerprint} is the default and cannot be removed",
                    "make another certificate the default first",
                )
            actions = page.actions_of(row)
            option = actions.option(labels.REMOVE_ACTION) if actions else None
            if actions is None or option is None or row.tick is None:
                raise ActionRefused("the interface offers no removal of certificates", "remove it by hand")
            after = await self._confirmed(ticked(page, row.tick, actions, option), row.friendly_name, row.issued_to)
            await self._unless_changed(before, "the certificate is not removed", page.page, after)

        await self._changing(act)

    async def remove_request(self, fingerprint: str) -> None:
        """Withdraw a pending request."""

        async def act(before: Listing) -> None:
            page, row = await self._request(before, fingerprint)
            actions = page.request_actions
            option = actions.option(labels.REMOVE_REQUEST_ACTION) if actions else None
            if actions is None or option is None or row.tick is None or row.tick.form != actions.choice.form:
                raise ActionRefused("the interface offers no removal of requests", "remove it by hand")
            after = await self._confirmed(ticked(page, row.tick, actions, option), row.subject)
            await self._unless_changed(before, "the request is not removed", page.page, after)

        await self._changing(act)

    async def export(self, fingerprint: str, options: ExportOptions) -> ExportedFile:
        """Export a certificate in the format that the options ask for."""
        if options.passphrase is not None:
            _text(options.passphrase)

        async def act() -> ExportedFile:
            page, row, _ = await self._row(await self._interface.listing(), fingerprint)
            if options.private_key and not row.has_key:
                raise ActionRefused(
                    f"the certificate {fingerprint} has no private key here", "export it without its key"
                )
            return await export(self._interface, page, row, options)

        return await self._reading(act)

    async def recover(self) -> None:
        """Nothing is ever left due here."""

    # How things are done

    async def _reading(self, act: Callable[[], Awaitable[T]]) -> T:
        """Look at something; once more where the session has expired on the way."""
        try:
            return await act()
        except SignedOut:
            try:
                return await act()
            except SignedOut:
                raise self._forgetful() from None

    async def _changing(self, act: Callable[[Listing], Awaitable[None]]) -> None:
        """Change something; once more where the session had expired and the store shows that nothing has happened."""
        before = await self._reading(self._interface.listing)
        try:
            return await self._attempt(act, before)
        except SignedOut:
            sent = self._has_sent
        try:
            after = await self._reading(self._interface.listing)
        except ReconcilerError as error:
            raise _unknown(error) if sent else error from error
        if sent and after.shown != before.shown:
            raise _interrupted()
        try:
            await self._attempt(act, after)
        except SignedOut:
            raise _interrupted() if self._has_sent else self._forgetful() from None

    async def _attempt(self, act: Callable[[Listing], Awaitable[None]], before: Listing) -> None:
        """Change something; what goes wrong once the form is sent leaves its effect unknown."""
        self._has_sent = False
        try:
            await act(before)
        except (ActionRefused, EffectUnknown):
            raise
        except ReconcilerError as error:
            raise _unknown(error) if self._has_sent else error from error

    def _forgetful(self) -> StoreUnreachable:
        return StoreUnreachable(
            f"{self._session.endpoint} ends sessions as soon as they have begun",
            "see whether somebody else signs in with the same account",
        )

    async def _sent(self, submission: Submission) -> Page | None:
        """Send what changes something; the page that comes back, if it is one."""
        try:
            reply = await self._session.change(submission)
        except SignedOut:
            self._has_sent = True
            raise
        self._has_sent = True
        return reply.page

    async def _confirmed(self, submission: Submission, *names: str) -> Page | None:
        """The same, and say yes where the interface asks whether it is meant, naming what it is about."""
        after = await self._sent(submission)
        if after is None or not any(name and name in line for name in names for line in after.lines()):
            return after
        button = only_button(after, labels.CONFIRM)
        return await self._sent(Filling(after, button.form).press(button)) if button else after

    async def _unless_changed(self, before: Listing, what: str, asked: Page, after: Page | None) -> None:
        """Refuse, unless the store shows that something has happened all the same."""
        if (await self._interface.listing()).shown == before.shown:
            raise ActionRefused(*_refusal(what, asked, after))

    async def _row(self, listing: Listing, fingerprint: str) -> tuple[CertificatesPage, CertificateRow, Certificate]:
        """The row of a certificate, found by what it exports; that was the last thing asked of the interface."""
        for page, row in listing.rows:
            certificate = await certificate_of(self._interface, page, row)
            if certificate.fingerprint == fingerprint:
                return page, row, certificate
        raise ActionRefused(f"there is no certificate {fingerprint}", "look at the store's status")

    async def _request(self, listing: Listing, fingerprint: str) -> tuple[CertificatesPage, RequestRow]:
        """The row of a request, found by its data."""
        for page, row in listing.requests:
            if (await request_of(self._interface, row)).fingerprint == fingerprint:
                return page, row
        raise ActionRefused(f"there is no pending request {fingerprint}", "look at the store's status")

    # Creating

    async def _creation(self, before: Listing, form: CertificateForm) -> Creation:
        page = await self._interface.create_page(before)
        if page is None:
            raise ActionRefused("the interface offers no new certificates", "make it by hand")
        return await write_form(self._interface, before, page, form)

    async def _create(self, before: Listing, creation: Creation, button: Control | None, label: labels.Label) -> None:
        if button is None:
            raise ActionRefused(f"the interface offers no '{label}'", "make it by hand")
        after = await self._sent(creation.filling.press(button))
        await self._unless_changed(before, "nothing is created", creation.page.page, after)

    async def _check_key(self, before: Listing, form: CertificateForm, key: ExistingKey) -> None:
        """See that the new request has the key that was asked for: the choices do not say whose key they are.

        Raises:
            ActionRefused: It has another one, and is withdrawn.
            EffectUnknown: Which request is the new one cannot be told, or it cannot be withdrawn.
        """
        known = {row.shown for _, row in before.requests}
        rows = [row for _, row in (await self._interface.listing()).requests if row.shown not in known]
        new = [await request_of(self._interface, row) for row in rows]
        mine = [each for each in new if _is_asked_for(each, form)]
        if any(each.public_key == key.public_key for each in mine):
            return
        wrong = "the request was made with another key than the one that was chosen"
        if len(new) != 1 or len(mine) != 1:
            raise EffectUnknown(f"{wrong}, or which one it is cannot be told", "look at the pending requests")
        try:
            await self.remove_request(mine[0].fingerprint)
        except StoreError as error:
            raise EffectUnknown(f"{wrong}, and it is not withdrawn: {error.message}", "withdraw it by hand") from error
        raise ActionRefused(f"{wrong}, and is withdrawn", "make the request by hand")

    # Trust

    def _meet(self, rows: Iterable[tuple[CertificateRow, Certificate]]) -> None:
        """Get to know what a trusted interface shows.

        What it says it may serve, it may also present to us from now on. What it has just made for us is remembered
        beyond that, also where the reply was lost and the connection was not.
        """
        keyed = [certificate for row, certificate in rows if row.has_key]
        self._pins.add(each.fingerprint for each in keyed)
        if self._making is not None:
            self._remember([each.fingerprint for each in keyed if _is_made(each, self._making)])


def _served_with(upload: Upload) -> tuple[str, ...]:
    """Fingerprints of the certificates that a file brings along with their keys, or whose keys may be there already."""
    try:
        contents = read(upload.content, upload.passphrase, keys=Keys.UNCHECKED)
    except FormatError:
        return ()  # the interface will say so in its own words
    return tuple(each.fingerprint for each in contents.certificates if contents.key_of(each) or not each.is_authority)


def _is_made(certificate: Certificate, form: CertificateForm) -> bool:
    """Whether a certificate is what a form asked for."""
    return (
        certificate.is_self_issued
        and set(certificate.subject.attributes) == set(form.subject.attributes)
        and certificate.san_set == frozenset(form.subject_alternative_names)
    )


def _is_asked_for(request: Request, form: CertificateForm) -> bool:
    """Whether a request is what a form asked for, but for its key."""
    names = frozenset(request.subject_alternative_names)
    same_subject = set(request.subject.attributes) == set(form.subject.attributes)
    return same_subject and names == frozenset(form.subject_alternative_names)


def _unknown(error: ReconcilerError) -> EffectUnknown:
    return EffectUnknown(f"{error.message}, so what came of it is not known", error.remedy)


def _interrupted() -> EffectUnknown:
    message = "the session ended while something was changed, so what came of it is not known"
    return EffectUnknown(message, "look at the store, then run again")


def _refusal(what: str, asked: Page, after: Page | None) -> tuple[str, str]:
    words = said(asked.lines(), after.lines()) if after else ""
    quoted = f": the interface says '{words}'" if words else ", and the interface does not say why"
    return f"{what}{quoted}", f"look at {WHERE} in a browser"


def _text(passphrase: bytes) -> str:
    if not passphrase or not is_text(passphrase):
        raise ActionRefused(
            "a passphrase is text in UTF-8, of at least one character and without NUL", "choose another"
        )
    return passphrase.decode()


def _extension(content: bytes) -> str:
    return "pem" if content.lstrip().startswith(b"-----") else _EXTENSIONS.get(outline(content), "cer")
