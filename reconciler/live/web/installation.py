"""The pages behind Security > Certificates on which one creates, imports, exports and looks at a request, as values.

Like `pages`: found by what is visible, `NotUnderstood` where something must be there and is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from reconciler.live.web import labels
from reconciler.live.web.finding import NotUnderstood, button, labelled, need, only_button

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.live.web.labels import Label
    from reconciler.live.web.page import Control, ControlKind, Option, Page

    Kinds: TypeAlias = frozenset[ControlKind]

SUBJECT_FIELDS: Mapping[str, Label] = {
    "C": labels.COUNTRY,
    "ST": labels.STATE,
    "L": labels.LOCALITY,
    "O": labels.ORGANIZATION,
    "OU": labels.ORGANIZATIONAL_UNIT,
    "CN": labels.COMMON_NAME,
}
"""The fields of the Subject Name."""

_PEM = re.compile(
    # No hyphen stands in the data, so that each beginning is followed up only to the next.
    r"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([^-]*)-----END (?:NEW )?CERTIFICATE REQUEST-----"
)
_RSA = re.compile(r"\brsa\b", re.IGNORECASE)
_EC = re.compile(r"\b(?:ec|ecc|ecdsa|elliptic)\b", re.IGNORECASE)
_SIZE = re.compile(r"(?<!\d)(2048|3072|4096|256|384)(?!\d)")
_WORDS_OF_A_NEW_KEY = re.compile(
    r"rsa|ecdsa|ecc|ec|elliptic|curve|new|create|generate|private|key|bits?|size|nist|secp|prime|[pak]\b|r1|v1|[^a-z]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class CreatePage:
    """Where certificates and requests are made.

    Attributes:
        page: The page.
        fields: The fields of the Subject Name, by attribute.
        friendly_name: Certificate Friendly Name.
        key: Key.
        name: Where one Subject Alternative Name is entered.
        add: What adds it.
        self_signed: Create Self-Signed Certificate; None where that is not offered.
        request: Create Certificate Request; None where that is not offered.
    """

    page: Page
    fields: Mapping[str, Control]
    friendly_name: Control
    key: Control
    name: Control
    add: Control
    self_signed: Control | None
    request: Control | None

    def new_key(self, kind: str) -> Option | None:
        """The choice that makes a new key of a kind (`rsa-2048`, `ec-p256`)."""
        return next((each for each in self.key.options if kind_of_new_key(each.text) == kind), None)

    @property
    def existing_keys(self) -> tuple[Option, ...]:
        """The choices that use a key of the store."""
        return tuple(each for each in self.key.options if not is_new_key(each.text) and each.value)


def is_new_key(text: str) -> bool:
    """Whether a choice speaks of kinds of key and of nothing else."""
    return not _WORDS_OF_A_NEW_KEY.sub("", text)


def kind_of_new_key(text: str) -> str:
    """The kind of key that a choice makes, in the words of the policy; empty where it is not understood."""
    size = _SIZE.search(text)
    if not is_new_key(text) or not size:
        return ""
    if int(size[1]) < _SMALLEST_RSA:
        return f"ec-p{size[1]}" if _EC.search(text) or "P-" in text.upper() else ""
    return "" if _EC.search(text) and not _RSA.search(text) else f"rsa-{size[1]}"


_SMALLEST_RSA = 1024


def read_create(page: Page) -> CreatePage:
    """The page for new certificates and requests.

    Raises:
        NotUnderstood: It is another page.
    """
    text: Kinds = frozenset({"text"})
    key = need(labelled(page, labels.KEY, {"choice"}), labels.KEY)
    name = need(labelled(page, labels.SUBJECT_ALTERNATIVE_NAMES, text), labels.SUBJECT_ALTERNATIVE_NAMES)
    found = CreatePage(
        page=page,
        fields={part: need(labelled(page, label, text), label) for part, label in SUBJECT_FIELDS.items()},
        friendly_name=need(labelled(page, labels.NEW_FRIENDLY_NAME, text), labels.NEW_FRIENDLY_NAME),
        key=key,
        name=name,
        add=need(button(page, labels.ADD, name.form), labels.ADD),
        self_signed=button(page, labels.CREATE_SELF_SIGNED, key.form),
        request=button(page, labels.CREATE_REQUEST, key.form),
    )
    forms = {each.form for each in (*found.fields.values(), found.friendly_name, key, name)}
    if len(forms) != 1:
        raise NotUnderstood("all fields of a new certificate in one form")
    if found.self_signed is None and found.request is None:
        raise NotUnderstood(f"'{labels.CREATE_REQUEST}'")
    return found


@dataclass(frozen=True)
class ImportPage:
    """Where files are imported.

    Attributes:
        page: The page.
        file: Where the file is chosen.
        password: Its password, where one can be given.
        upload: What uploads it.
    """

    page: Page
    file: Control
    password: Control | None
    upload: Control


def read_import(page: Page) -> ImportPage:
    """The page for imports.

    Raises:
        NotUnderstood: It is another page.
    """
    files = [each for each in page.controls() if each.kind == "file"]
    if len(files) != 1:
        raise NotUnderstood("a field for one file")
    password = labelled(page, labels.PASSWORD_OF_FILE, {"password", "text"})
    found = ImportPage(
        page,
        files[0],
        password if password and password.form == files[0].form else None,
        need(button(page, labels.UPLOAD, files[0].form), labels.UPLOAD),
    )
    _check_posted(page, found.file)
    return found


def _check_posted(page: Page, control: Control) -> None:
    """Sent in another way, a passphrase would stand in an address, and so in logs."""
    if control.form is None or page.forms[control.form].method != "POST":
        raise NotUnderstood("a form that is sent by POST")


def finish_import(page: Page) -> Control | None:
    """What goes on with an upload that takes a second step: a form that asks for nothing more."""
    return only_button(page, labels.FINISH_IMPORT)


@dataclass(frozen=True)
class ExportPage:
    """Where a certificate is exported.

    Attributes:
        page: The page.
        certificate: Include Certificate.
        private_key: Include Private Key; None where there is none.
        passphrase: Passphrase; None where there is none.
        chain: Include Certificate Chain; None where there is none.
        others: Every other box of the form, whatever it may be for.
        export: What exports.
    """

    page: Page
    certificate: Control
    private_key: Control | None
    passphrase: Control | None
    chain: Control | None
    others: tuple[Control, ...]
    export: Control


def read_export(page: Page) -> ExportPage:
    """The page for exports.

    Raises:
        NotUnderstood: It is another page.
    """
    box: Kinds = frozenset({"checkbox"})
    certificate = need(labelled(page, labels.INCLUDE_CERTIFICATE, box), labels.INCLUDE_CERTIFICATE)
    passphrase = labelled(page, labels.PASSPHRASE, {"password", "text"})
    private_key, chain = (labelled(page, label, box) for label in (labels.INCLUDE_PRIVATE_KEY, labels.INCLUDE_CHAIN))
    known = {each.place for each in (certificate, private_key, chain) if each}
    boxes = (each for each in page.controls() if each.kind == "checkbox" and each.form == certificate.form)
    found = ExportPage(
        page=page,
        certificate=certificate,
        private_key=private_key,
        passphrase=passphrase if passphrase and passphrase.form == certificate.form else None,
        chain=chain,
        others=tuple(each for each in boxes if each.place not in known),
        export=need(button(page, labels.EXPORT, certificate.form), labels.EXPORT),
    )
    _check_posted(page, certificate)
    return found


def read_request_data(page: Page) -> str:
    """The request data on the page of a pending request, as base64 in one line.

    Raises:
        NotUnderstood: There is none.
    """
    held = (each.value for each in page.controls() if each.kind == "text")
    for text in (*held, "\n".join(page.lines())):
        match = _PEM.search(text)
        if match:
            return "".join(match[1].split())
    raise NotUnderstood(f"'{labels.REQUEST_DATA}'")
