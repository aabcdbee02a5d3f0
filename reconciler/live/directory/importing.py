"""What an uploaded file does to a store: which certificates are served from now on, which are only kept.

A certificate is served when its key is at hand: in the same file, with a pending request, or with another certificate
of the store. Then the requests for that key are answered and pending no longer. What is served already stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.errors import ActionRefused
from reconciler.live.directory.servable import ServableFile
from reconciler.pki.writing import write_key_pem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.live.directory.change import Target
    from reconciler.live.directory.snapshot import Snapshot
    from reconciler.pki.certificate import Certificate
    from reconciler.pki.reading import Contents


def take(contents: Contents, friendly_name: str, snapshot: Snapshot, target: Target) -> None:
    """Add what a file holds to a target.

    Args:
        contents: What was read from the file.
        friendly_name: What the certificate is to be called; empty to go by the file, then by its request.
        snapshot: What the store holds.
        target: What it is to hold.

    Raises:
        ActionRefused: There is nothing to import, or a key that belongs to nothing, which would be lost.
        FormatError: A key is of a kind that cannot be written.
    """
    if not contents.certificates and not contents.keys:
        raise ActionRefused(
            "the file holds a certificate request, which is not imported",
            "import the certificate that the CA made of it",
        )
    keys = {each.public_key: write_key_pem(each, None) for each in contents.keys}
    holders = {each.public_key for each in (*contents.certificates, *target.certificates())}
    if not holders.issuperset(keys):
        raise ActionRefused(
            "the file holds a private key that fits no certificate in it or in the store",
            "import it together with its certificate",
        )
    # A key that comes alone belongs to what the store has been keeping without it.
    added = contents.certificates or tuple(each for each in target.keyless.values() if each.public_key in keys)
    new = [each for each in added if each.fingerprint not in snapshot.keyed]
    served = [each for each in new if _serve(each, keys, snapshot, target)]
    target.keyless.update({each.fingerprint: each for each in new if each not in served})
    unknown = [each for each in new if each.fingerprint not in snapshot.keyless]
    for each in served or (unknown if len(unknown) == 1 else []):
        target.call(each.fingerprint, friendly_name or contents.friendly_name or "")


def _serve(certificate: Certificate, keys: Mapping[str, bytes], snapshot: Snapshot, target: Target) -> bool:
    """Serve a certificate if its key is at hand; the requests that it answers are pending no longer."""
    key = keys.get(certificate.public_key) or snapshot.key(certificate.public_key)
    if key is None:
        return False
    target.keyed[certificate.fingerprint] = ServableFile(certificate, (), key)
    target.keyless.pop(certificate.fingerprint, None)
    for fingerprint, stored in snapshot.requests.items():
        if stored.request.public_key == certificate.public_key:
            target.requests.pop(fingerprint, None)
            target.fulfilled[fingerprint] = certificate.fingerprint
            target.call(certificate.fingerprint, target.friendly_names.get(fingerprint, ""))
    return True
