"""The recipe of the certificates in `desired-state/`: `make example` makes them anew.

They are valid until 2045, so that the example stays an example; their keys are encrypted under a published passphrase,
since they protect nothing.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from reconciler.lab.example import PASSPHRASE
from tests.support.authority import Authority, Issued

FOLDER = Path(__file__).parents[2] / "desired-state" / "certificates"
START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
END = dt.datetime(2045, 1, 5, tzinfo=dt.UTC)


def main() -> None:
    """Write every committed certificate and key of the example fleet."""
    root = Authority.root("Example Root CA", not_before=START, not_after=END, key_kind="rsa-3072")
    issuing = root.intermediate("Example Issuing CA", not_before=START, not_after=END, key_kind="rsa-3072")
    access = issuing.issue(
        ["access.example.com", "east-1.example.com", "west-1.example.com"],
        common_name="Example remote access",
        not_before=START,
        not_after=END,
        key_kind="rsa-2048",
    )
    atlas = issuing.issue(["*.atlas.example.com"], common_name="Example Atlas access", not_before=START, not_after=END)
    _write("root.pem", Issued(root.certificate, root.key).pem())
    _write("issuing.pem", Issued(issuing.certificate, issuing.key).pem())
    _write("access/leaf.pem", access.pem())
    _write("access/key.p12", access.pkcs12(PASSPHRASE, friendly_name="access.example.com"))
    _write("atlas/leaf.pem", atlas.pem())
    _write("atlas/key.p12", atlas.pkcs12(PASSPHRASE, friendly_name="Atlas wildcard"))


def _write(path: str, content: bytes) -> None:
    (FOLDER / path).write_bytes(content)


if __name__ == "__main__":
    main()
