"""What a file is that is no certificate file, so that its refusal can say so and what to do instead."""

from __future__ import annotations

import codecs

from reconciler.base.errors import FormatError

_GIVE = "give a certificate, request or key file in DER, PEM, PKCS#7 or PKCS#12"
_OPENSSH_KEY = ("an OpenSSH private key", "write it as PKCS#8 first: ssh-keygen -p -m PKCS8 -f FILE")
_SSH_PUBLIC_KEY = ("an SSH public key", _GIVE)
_OPENPGP = ("OpenPGP data", _GIVE)
_JAVA = ("a Java key store", "convert it first: keytool -importkeystore -deststoretype PKCS12")
_ZIP = ("a ZIP archive", "unpack it first")
_MARKUP = ("XML or HTML, a page rather than a certificate", "download the file itself")
_UTF16 = ("text in UTF-16", "save it as ASCII or UTF-8")

_BEGINNINGS: tuple[tuple[bytes, tuple[str, str]], ...] = (
    (b"-----BEGIN OPENSSH", _OPENSSH_KEY),
    (b"-----BEGIN PGP ", _OPENPGP),
    (b"-----BEGIN SSH2", _SSH_PUBLIC_KEY),
    (b"---- BEGIN SSH2", _SSH_PUBLIC_KEY),
    (b"ssh-", _SSH_PUBLIC_KEY),
    (b"ecdsa-sha2-", _SSH_PUBLIC_KEY),
    (b"PuTTY-User-Key-File", ("a PuTTY private key", "export it first as an OpenSSH key, then as PKCS#8")),
    (b"\xfe\xed\xfe\xed", _JAVA),
    (b"\xce\xce\xce\xce", _JAVA),
    (b"PK\x03\x04", _ZIP),
    (b"\x1f\x8b", ("compressed with gzip", "unpack it first")),
    (b"%PDF", ("a PDF document", _GIVE)),
    (b"\xff\xfe", _UTF16),
    (b"\xfe\xff", _UTF16),
    (b"{", ("JSON", _GIVE)),
    (b"[", ("JSON", _GIVE)),
    (b"<", _MARKUP),
    (b"MI", ("base64 without its BEGIN and END lines", "add them: -----BEGIN CERTIFICATE----- and its END")),
)
_ENOUGH = 1024


def what_else(content: bytes) -> FormatError:
    """The refusal of a file in which no format of certificates was recognised."""
    start = content[:_ENOUGH].removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, (what, remedy) in _BEGINNINGS:
        if start.startswith(beginning):
            return FormatError(f"the file is {what}", remedy)
    kind = "text" if _is_text(content[:_ENOUGH]) else "bytes"
    return FormatError(f"the file is {kind} in which there is no certificate, request or private key", _GIVE)


def _is_text(start: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return all(each.isprintable() or each.isspace() for each in text)
