"""The Export page: which file format follows from which choice of certificate, key and chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.base.errors import ActionRefused, FormatError
from reconciler.live.directory.servable import load_key
from reconciler.live.driver import ExportedFile, Format
from reconciler.pki.chain import ChainBuilder
from reconciler.pki.keys import private_key
from reconciler.pki.writing import write_der, write_pkcs7, write_pkcs8, write_pkcs12

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.live.directory.servable import ServableFile
    from reconciler.live.directory.snapshot import Snapshot
    from reconciler.live.driver import ExportOptions
    from reconciler.pki.certificate import Certificate
    from reconciler.pki.keys import PrivateKey


def export(snapshot: Snapshot, fingerprint: str, options: ExportOptions) -> ExportedFile:
    """A certificate, its key, its chain (root included), in the format that the choice asks for.

    Raises:
        ActionRefused: There is no such certificate or key, or the guide has no format for the choice.
    """
    everything = {**{key: each.leaf for key, each in snapshot.keyed.items()}, **snapshot.keyless}
    if fingerprint not in everything:
        raise ActionRefused(f"there is no certificate {fingerprint}", "look at the store's status")
    certificate = everything[fingerprint]
    chain = ChainBuilder(everything.values()).chains(certificate)[0].certificates[1:] if options.chain else ()
    name = snapshot.metadata.friendly_names.get(fingerprint) or certificate.subject.display
    try:
        return _write(certificate, chain, _key(snapshot.keyed, fingerprint, options), name, options)
    except FormatError as error:
        raise ActionRefused(f"the certificate is not exported: {error.message}", error.remedy) from error


def _key(keyed: Mapping[str, ServableFile], fingerprint: str, options: ExportOptions) -> PrivateKey | None:
    if not options.private_key:
        return None
    if fingerprint not in keyed:
        raise ActionRefused(f"the certificate {fingerprint} has no private key here", "export it without its key")
    return private_key(load_key(keyed[fingerprint].key))


def _write(
    certificate: Certificate,
    chain: Sequence[Certificate],
    key: PrivateKey | None,
    friendly_name: str,
    options: ExportOptions,
) -> ExportedFile:
    match options.certificate, key, options.chain:
        case True, None, False:
            return ExportedFile(Format.DER, write_der(certificate))
        case _, None, True:
            several = (certificate, *chain) if options.certificate else chain
            return ExportedFile(Format.PKCS7, write_pkcs7(several))
        case False, key, False if key is not None:
            return ExportedFile(Format.PKCS8, write_pkcs8(key, options.passphrase))
        case True, key, _ if key is not None:
            content = write_pkcs12(friendly_name, key, certificate, chain, options.passphrase)
            return ExportedFile(Format.PKCS12, content)
        case _:
            raise ActionRefused(
                "nothing was chosen that there is a format for",
                "choose the certificate, its key, or several certificates",
            )
