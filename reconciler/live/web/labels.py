"""The words by which pages are understood, as data.

Those that the vendor's guide gives are verified. The others are what such interfaces commonly say; a release that says
something else needs a word more here and nothing else. Case, white space, a final colon and the kind of separator in
`Security :: Certificates` do not matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

_LONGEST = 200
"""Characters of a text that may be a label: nothing longer is compared, or kept for the next comparison."""


@dataclass(frozen=True)
class Label:
    """What something is called.

    Attributes:
        texts: The words that are looked for; the first is how it is called in messages.
        verified: Whether the guide gives them.
    """

    texts: tuple[str, ...]
    verified: bool = True

    @cached_property
    def _normal(self) -> frozenset[str]:
        return frozenset(map(normal, self.texts))

    def __str__(self) -> str:
        return self.texts[0]

    def matches(self, text: str) -> bool:
        """Whether a text is this label."""
        return len(text) <= _LONGEST and normal(text) in self._normal


@lru_cache(maxsize=4096)
def normal(text: str) -> str:
    """A text as labels are compared."""
    plain = text.casefold().replace("\u2019", "'").replace("\u2026", "...")
    plain = re.sub(r"\s*(?:::|\u00bb|\u203a|\u2192|>|/)\s*", " > ", plain)
    return " ".join(plain.split()).strip(" :*")


def _given(*texts: str) -> Label:
    return Label(texts)


def _guessed(*texts: str) -> Label:
    return Label(texts, verified=False)


PRODUCT = _given("BeyondTrust", "Bomgar")

# Sign-in
USERNAME = _guessed("Username", "User Name", "User", "Login", "Account")
PASSWORD_TO_SIGN_IN = _guessed("Password", "Passwort")
SIGN_IN = _guessed("Sign In", "Log In", "Login", "Sign On", "Log On", "Submit", "Continue")
SIGN_OUT = _guessed("Sign Out", "Log Out", "Logout", "Sign Off", "Log Off", "Logoff")

# Navigation
SECURITY = _given("Security")
CERTIFICATES = _given("Certificates")
STATUS = _given("Status")
BASICS = _given("Basics")
NEXT = _guessed("Next", "Next Page", "Next >", ">", ">>", "Older")

# Security > Certificates
INSTALLATION_SECTION = _given("Security :: Certificate Installation")
CERTIFICATES_SECTION = _given("Security :: Certificates")
OTHER_SECTION = _given("Security :: Other Certificates", "Other Certificates")
LETS_ENCRYPT_SECTION = _given("Security :: Let's Encrypt Certificates", "Let's Encrypt Certificates")
REQUESTS_SECTION = _given("Security :: Certificate Requests")
CREATE = _given("Create")
IMPORT = _given("Import")
SELECT_ACTION = _given("-- Select Action --", "Select Action")
APPLY = _given("Apply")
EXPORT_ACTION = _given("Export")
REMOVE_ACTION = _guessed("Remove", "Delete", "Remove Certificate", "Delete Certificate", "Remove Selected")
REMOVE_REQUEST_ACTION = _guessed("Remove", "Delete", "Remove Request", "Delete Request", "Remove Selected")
CONFIRM = _guessed("Remove", "Delete", "Confirm", "Yes", "OK", "Continue")
SAVE_DEFAULT = _guessed("Save Default", "Save", "Save Changes", "Set Default", "Make Default", "Update")

FRIENDLY_NAME = _given("Friendly Name")
ISSUED_TO = _given("Issued To")
ISSUED_BY = _given("Issued By")
EXPIRATION = _given("Expiration")
ALTERNATIVE_NAMES = _given("Alternative Name(s)")
PRIVATE_KEY = _given("Private Key?")
DEFAULT = _given("Default")
SUBJECT = _given("Subject")
FINGERPRINT = _given("Fingerprint")

# Security > Certificates > Create
NEW_FRIENDLY_NAME = _given("Certificate Friendly Name")
KEY = _given("Key")
COUNTRY = _given("Country")
STATE = _given("State/Province")
LOCALITY = _given("City (Locality)")
ORGANIZATION = _given("Organization")
ORGANIZATIONAL_UNIT = _given("Organizational Unit")
COMMON_NAME = _given("Name (Common Name)")
SUBJECT_ALTERNATIVE_NAMES = _given("Subject Alternative Names")
ADD = _given("Add")
CREATE_SELF_SIGNED = _given("Create Self-Signed Certificate")
CREATE_REQUEST = _given("Create Certificate Request")

# Security > Certificates > Import
CERTIFICATE_FILE = _guessed("Browse", "Certificate File", "File", "Certificate", "Choose File")
PASSWORD_OF_FILE = _given("Password")
UPLOAD = _given("Upload")
FINISH_IMPORT = _guessed("Import", "Continue", "Finish", "Confirm", "OK", "Save")

# Security > Certificates > Export
INCLUDE_CERTIFICATE = _given("Include Certificate")
INCLUDE_PRIVATE_KEY = _given("Include Private Key")
PASSPHRASE = _given("Passphrase")
INCLUDE_CHAIN = _given("Include Certificate Chain")
EXPORT = _given("Export")

# A pending request
REQUEST_DATA = _given("Request Data")

HEADINGS = (INSTALLATION_SECTION, CERTIFICATES_SECTION, OTHER_SECTION, LETS_ENCRYPT_SECTION, REQUESTS_SECTION)
"""What divides the page of certificates into sections."""
FACTORY_NAMES = ("BeyondTrust Appliance", "Bomgar Appliance")
"""Common names of the certificate that ships with every appliance."""
