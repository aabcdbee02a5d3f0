"""Filling in the page for new certificates and requests: the key, the subject, and one name after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from reconciler.base.errors import ActionRefused
from reconciler.live.driver import ExistingKey, NewKey
from reconciler.live.web import labels
from reconciler.live.web.finding import NotUnderstood
from reconciler.live.web.forms import Filling
from reconciler.live.web.installation import read_create
from reconciler.live.web.labels import normal
from reconciler.live.web.looking import certificate_of, request_of
from reconciler.live.web.trouble import not_recognised

if TYPE_CHECKING:
    from reconciler.live.driver import CertificateForm
    from reconciler.live.web.installation import CreatePage
    from reconciler.live.web.listing import Interface, Listing
    from reconciler.live.web.page import Option


@dataclass(frozen=True)
class Creation:
    """A form for a new certificate or request that is ready to be sent.

    Attributes:
        page: The page that it stands on, every name added.
        filling: What was filled in.
    """

    page: CreatePage
    filling: Filling


async def write_form(interface: Interface, before: Listing, page: CreatePage, form: CertificateForm) -> Creation:
    """Fill the page in, adding the names one after the other as a person does. Nothing is created yet.

    Raises:
        ActionRefused: It has no field or no choice for what is asked.
        StoreError: It is not understood.
    """
    unknown = [name for name, _ in form.subject.attributes if name not in page.fields]
    if unknown:
        raise ActionRefused(f"the interface has no field for {', '.join(unknown)} in a subject", "leave it out")
    choose = await _chooser(interface, before, page, form)
    for name in form.subject_alternative_names:
        filling = _filled(page, form, choose(page))
        filling.enter(page.name, name.value)
        reply = await interface.session.read(filling.press(page.add))
        if reply.page is None:
            raise ActionRefused(f"the interface does not add the name {name.value}", "make it by hand")
        try:
            page = read_create(reply.page)
        except NotUnderstood as missing:
            raise not_recognised("the page for new certificates", missing.wanted, reply.page) from None
        if not _lists(page, name.value):
            raise ActionRefused(f"the interface does not take the name {name.value}", "look at it in a browser")
    return Creation(page, _filled(page, form, choose(page)))


def _lists(page: CreatePage, name: str) -> bool:
    """Whether a page lists a name that was added: on a line of its own, or behind its type."""
    return any(line.strip() == name or line.endswith(f" - {name}") for line in page.page.lines())


def _filled(page: CreatePage, form: CertificateForm, key: Option) -> Filling:
    filling = Filling(page.page, page.key.form)
    filling.enter(page.friendly_name, form.friendly_name)
    filling.choose(page.key, key)
    for name, value in form.subject.attributes:
        filling.enter(page.fields[name], value)
    return filling


class _Chooser:
    """Finds the choice of a key again on each page that comes back."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, page: CreatePage) -> Option:
        option = next((each for each in page.key.options if each.text == self._text), None)
        if option is None:
            raise ActionRefused(f"'{labels.KEY}' no longer offers what was chosen", "run again")
        return option


async def _chooser(interface: Interface, before: Listing, page: CreatePage, form: CertificateForm) -> _Chooser:
    match form.key:
        case NewKey(kind):
            option = page.new_key(kind)
            if option is None:
                offered = ", ".join(f"'{each.text}'" for each in page.key.options) or "nothing"
                raise ActionRefused(
                    f"'{labels.KEY}' offers no new key of kind {kind}: {offered}", "choose another kind"
                )
            return _Chooser(option.text)
        case ExistingKey(public_key):
            return _Chooser((await _existing(interface, before, page, public_key)).text)
        case _:
            assert_never(form.key)


async def _existing(interface: Interface, before: Listing, page: CreatePage, public_key: str) -> Option:
    """The choice that names something with that key and nothing with another one."""
    own, others = set[str](), set[str]()
    for at, row in before.rows:
        if row.has_key:
            key = (await certificate_of(interface, at, row)).public_key
            (own if key == public_key else others).update({normal(row.friendly_name), normal(row.issued_to)})
    for _, asked in before.requests:
        request = await request_of(interface, asked)
        names = {normal(asked.subject), normal(request.subject.common_name)}
        (own if request.public_key == public_key else others).update(names)
    if not own:
        raise ActionRefused(f"the store holds no key {public_key}", "choose a new key, or a key that it holds")
    telling = own - others - {""}
    fitting = [each for each in page.existing_keys if any(name in normal(each.text) for name in telling)]
    # A longer name may hold a shorter one, so what speaks of another key as well is not taken.
    clear = [each for each in fitting if not any(name in normal(each.text) for name in others - own - {""})]
    if len({each.value for each in clear}) != 1:
        raise ActionRefused(
            f"which choice of '{labels.KEY}' is the key {public_key} cannot be told", "make the request by hand"
        )
    return clear[0]
