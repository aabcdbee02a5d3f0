"""What an import uploads: committed material, read and decrypted at the moment it is needed, or what a peer has lent.

A key leaves the committed file, or the peer, only into a PKCS#12 in memory, under a passphrase of this one upload.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.base.errors import FormatError, WrongPassphrase
from reconciler.base.secrets import resolve
from reconciler.desired.models import Provided
from reconciler.live.driver import Upload
from reconciler.pki.reading import read
from reconciler.pki.writing import write_pkcs12
from reconciler.plan.model import KeySource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.apply.loans import Lent
    from reconciler.desired.models import Certificate as CertificateModel
    from reconciler.desired.state import Declared, DesiredState
    from reconciler.pki.certificate import Certificate
    from reconciler.pki.keys import PrivateKey
    from reconciler.plan.model import Import


@dataclass(frozen=True)
class Uploads:
    """Makes uploads from the committed material of one desired state.

    Attributes:
        state: The desired state.
        environment: Where secrets that are environment variables are found.
        root: Folder of the desired state, for secrets that are files.
    """

    state: DesiredState
    environment: Mapping[str, str]
    root: Path
    _keys: dict[str, PrivateKey] = field(default_factory=dict, repr=False)

    def certificate(self, action: Import, lent: Lent | None = None) -> Certificate | None:
        """The certificate that an import brings, without a look at its key."""
        material = self.state.material[action.certificate or ""]
        if action.key_source is KeySource.NONE:
            return next((each for each in material.chain if each.fingerprint == action.fingerprint), None)
        return material.leaf or (lent.certificate if lent else None)

    def upload(self, action: Import, lent: Lent | None = None) -> Upload:
        """The file for an import.

        Args:
            action: The import.
            lent: What the peer has lent, where the key comes from one.

        Raises:
            SecretUnavailable: The passphrase is not there.
            WrongPassphrase: It does not fit.
            FormatError: The committed key is not the certificate's key.
            UnreadableInput: The committed key cannot be read any more.
        """
        name, friendly_name = action.certificate or "", action.friendly_name
        declared, material = self.state.certificates[name], self.state.material[name]
        match action.key_source:
            case KeySource.NONE:
                certificate = next(each for each in material.chain if each.fingerprint == action.fingerprint)
                return Upload(certificate.der, friendly_name=friendly_name)
            case KeySource.STORE if material.leaf:
                return Upload(material.leaf.der, friendly_name=friendly_name)
            case KeySource.COMMITTED if material.leaf and isinstance(declared.model.source, Provided):
                key = self._committed_key(declared, declared.model.source, material.leaf)
                return _with_key(friendly_name, key, material.leaf)
            case KeySource.PEER if lent:
                return _with_key(friendly_name, lent.key, material.leaf or lent.certificate)
            case _:
                raise FormatError(f"there is nothing to upload for {name}", "plan again")

    def _committed_key(self, declared: Declared[CertificateModel], source: Provided, leaf: Certificate) -> PrivateKey:
        if declared.name not in self._keys:
            self._keys[declared.name] = self._open(declared, source, leaf)
        return self._keys[declared.name]

    def _open(self, declared: Declared[CertificateModel], source: Provided, leaf: Certificate) -> PrivateKey:
        folder = (self.root / declared.document.path).parent
        passphrase = resolve(source.passphrase, self.environment, folder)
        try:
            contents = read(self.state.tree.read(source.key), passphrase)
        except WrongPassphrase as error:
            place = declared.position("source", "passphrase")
            raise WrongPassphrase(
                f"{source.key}: {error.message}", f"check the passphrase that {place} names"
            ) from None
        except FormatError as error:
            raise FormatError(f"{source.key}: {error.message}", error.remedy) from None
        key = next((each for each in contents.keys if each.public_key == leaf.public_key), None)
        if key is None:
            # Of several keys in a PKCS#12 file only the first can be read.
            message = f"{source.key} does not hold the key of {declared.name}, or not as its first one"
            raise FormatError(message, "commit a file that holds only the key that fits")
        return key


def _with_key(friendly_name: str, key: PrivateKey, certificate: Certificate) -> Upload:
    passphrase = secrets.token_urlsafe(32).encode()
    return Upload(write_pkcs12(friendly_name, key, certificate, (), passphrase), passphrase, friendly_name)
