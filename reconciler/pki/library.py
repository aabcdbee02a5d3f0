"""What cryptography does besides returning a value: warnings on the side, and exceptions of many families.

Everything of this room that hands foreign bytes to it does so inside `understanding`.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm

from reconciler.base.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

# It raises lazily, and not only ValueError: UnsupportedAlgorithm, InvalidVersion and others stand on their own, and a
# passphrase that is no UTF-8 ends in a TypeError. All of them mean the same to a reader.
REFUSALS: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    OverflowError,
    InternalError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)

_ASK_FOR_ANOTHER = "get the file again, or another one from whoever made it"

_filters = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings in: serial numbers that are not positive, BER where DER is due, Diffie-Hellman keys.

    They are addressed to programmers, who can do nothing about a certificate that exists. The filters are the whole
    process's, so only one thread at a time changes them.
    """
    with _filters, warnings.catch_warnings(action="ignore"):
        yield


@contextmanager
def understanding(what: str, remedy: str = _ASK_FOR_ANOTHER) -> Iterator[None]:
    """Turn whatever cryptography raises into a sentence that begins with `what`.

    Args:
        what: What cannot be done.
        remedy: What to do about it.

    Raises:
        FormatError: The bytes could not be understood.
    """
    try:
        with quiet():
            yield
    except REFUSALS as error:
        raise FormatError(f"{what}: {first_line(error)}", remedy) from error
    except BaseException as error:
        # A panic in Rust is no Exception, so that programs end. A file that someone else made must not end this one.
        if type(error).__name__ != "PanicException":
            raise
        raise FormatError(f"{what}: it is damaged in a way that cryptography does not expect", remedy) from None


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for a sentence of our own; its type where it has none."""
    text = str(error).strip().splitlines()
    return text[0].rstrip(".") if text else type(error).__name__
