"""Filling a form in as a person does, and what a browser then sends (HTML Living Standard, section 4.10.21.4).

Everything that the page put into the form goes back unless it was changed: hidden fields, and with them the tokens that
tell our request from a forged one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlencode, urlsplit

from reconciler.live.web.page import Control

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.live.web.page import Option, Page

_BUTTONS = frozenset({"submit", "script"})
_BOXES = frozenset({"checkbox", "radio"})

File: TypeAlias = tuple[str, str, bytes]
"""Field, file name, content."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A form on its way. What it holds is not shown, since that may be a password or a key.

    Attributes:
        method: `GET` or `POST`.
        url: Where it goes.
        fields: Names and values, in order.
        files: Files.
        multipart: Whether it is encoded as `multipart/form-data`.
    """

    method: str
    url: str
    fields: tuple[tuple[str, str], ...] = field(repr=False)
    files: tuple[File, ...] = field(default=(), repr=False)
    multipart: bool = False

    @property
    def address(self) -> str:
        """Where it goes, with the fields of a form that is sent by GET."""
        if self.method != "GET":
            return self.url
        return urlsplit(self.url)._replace(query=urlencode(self.fields)).geturl()


class Filling:
    """One form of a page while it is filled in."""

    def __init__(self, page: Page, form: int | None) -> None:
        self._page = page
        self._form = form
        self._texts: dict[int, str] = {}
        self._ticks: dict[int, bool] = {}
        self._files: dict[int, tuple[str, bytes]] = {}

    def enter(self, control: Control, text: str) -> None:
        """Write into a field, which holds one line of what UTF-8 can say."""
        plain = text.encode("utf-8", "replace").decode()
        self._texts[control.place] = plain.replace("\r", "").replace("\n", "")

    def choose(self, control: Control, option: Option) -> None:
        """Choose from a drop-down."""
        self._texts[control.place] = option.value

    def attach(self, control: Control, name: str, content: bytes) -> None:
        """Choose a file."""
        self._files[control.place] = (name, content)

    def tick(self, control: Control, on: bool = True) -> None:  # noqa: FBT001, FBT002 - a tick is on or off
        """Tick a box or take the tick away; a radio button takes it from the others of its group."""
        if control.kind == "radio":
            group = (each for each in self._controls() if each.kind == "radio" and each.name == control.name)
            self._ticks.update({each.place: False for each in group})
        self._ticks[control.place] = on

    def press(self, button: Control) -> Submission:
        """Send the form off by one of its buttons."""
        form = None if self._form is None else self._page.forms[self._form]
        url = button.action or (form.url if form else self._page.url)
        multipart = any(each.kind == "file" for each in self._controls())
        fields = tuple(pair for each in self._controls() for pair in self._sent(each, button))
        files = tuple((each.name, *self._files[each.place]) for each in self._controls() if each.place in self._files)
        return Submission("POST" if form and form.method == "POST" else "GET", url, fields, files, multipart)

    def _controls(self) -> Iterator[Control]:
        for each in self._page.items:
            if isinstance(each, Control) and each.form == self._form and each.name and not each.disabled:
                yield each

    def _sent(self, control: Control, button: Control) -> Iterator[tuple[str, str]]:
        if control.kind in _BUTTONS:
            if control.place == button.place:
                yield control.name, control.value
        elif control.kind in _BOXES:
            if self._ticks.get(control.place, control.checked):
                yield control.name, control.value
        elif control.kind == "choice":
            chosen = next((each.value for each in control.options if each.selected), None)
            value = self._texts.get(control.place, chosen)
            if value is not None:
                yield control.name, value
        elif control.kind != "file":
            yield control.name, self._texts.get(control.place, control.value)
