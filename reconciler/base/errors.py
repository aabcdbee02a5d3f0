"""The one family of errors.

    ReconcilerError
    ├── UsageError             a command was called in a way that makes no sense
    ├── UnreadableInput        a file, folder or git revision cannot be read at all
    ├── FormatError            bytes are not what they should be
    │   └── WrongPassphrase    encrypted, and the passphrase is missing or does not fit
    ├── SecretUnavailable      a secret reference leads nowhere
    ├── NotSigned              nobody who is allowed to has signed what is to be applied
    ├── StaleError             what was reviewed no longer fits what is there
    └── StoreError             an appliance's store
        ├── StoreUnreachable   nothing can be asked
        │   └── StoreUntrusted something answers that is not trusted
        ├── StoreUnrecognised  it answers, but not in a way that is understood
        ├── ActionRefused      an action was refused and had no effect
        └── EffectUnknown      an action may or may not have had its effect: observe before going on

Every error carries what is wrong and what to do about it. They become exit codes in `reconciler.cli` and nowhere else.
"""

from __future__ import annotations


class ReconcilerError(Exception):
    """Something that a person can act on.

    Attributes:
        message: What is wrong, in one sentence without a final full stop.
        remedy: What to do about it, or empty where nothing but the message helps.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} - {self.remedy}" if self.remedy else self.message


class UsageError(ReconcilerError):
    """A command was called in a way that makes no sense."""


class UnreadableInput(ReconcilerError):
    """A file, folder or git revision cannot be read at all."""


class FormatError(ReconcilerError):
    """Bytes are not what they should be."""


class WrongPassphrase(FormatError):
    """The material is encrypted, and the passphrase is missing or does not fit."""


class SecretUnavailable(ReconcilerError):
    """A secret reference leads nowhere. The message names the reference, never a value."""


class NotSigned(ReconcilerError):
    """Nobody who is allowed to has signed the commit that a plan would be made from."""


class StaleError(ReconcilerError):
    """What was reviewed no longer fits what is there."""


class StoreError(ReconcilerError):
    """An appliance's store could not do what was asked."""


class StoreUnreachable(StoreError):
    """Nothing can be asked of the store."""


class StoreUntrusted(StoreUnreachable):
    """Something answers, with a certificate that is not trusted; nothing was sent to it."""


class StoreUnrecognised(StoreError):
    """The store answers, but not in a way that is understood; nothing was written."""


class ActionRefused(StoreError):
    """An action was refused and had no effect."""


class EffectUnknown(StoreError):
    """An action may or may not have had its effect: observe before going on."""
