"""What an import uploads: committed material, read and decrypted at the moment it is needed.

A key leaves the committed file only into a PKCS#12 in memory, under a passphrase made for this one upload.
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

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.desired.models import Certificate as CertificateModel
    from reconciler.desired.state import Declared, DesiredState, Material
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

    def upload(self, action: Import) -> Upload:
        """The file for an import.

        Raises:
            SecretUnavailable: The passphrase is not there.
            WrongPassphrase: It does not fit.
            FormatError: The committed key is not the certificate's key.
            UnreadableInput: The committed key cannot be read any more.
        """
        name = action.certificate or ""
        declared, material = self.state.certificates[name], self.state.material[name]
        if action.role == "chain":
            certificate = next(each for each in material.chain if each.fingerprint == action.fingerprint)
            return Upload(certificate.der, friendly_name=action.friendly_name)
        return self._with_key(declared, material, action.friendly_name)

    def _with_key(self, declared: Declared[CertificateModel], material: Material, friendly_name: str) -> Upload:
        leaf = material.leaf
        if not isinstance(declared.model.source, Provided) or leaf is None:
            raise FormatError(f"{declared.name} brings no key along", "plan again")
        key = self._keys.get(declared.name)
        if key is None:
            key = self._keys[declared.name] = self._open(declared, declared.model.source, leaf)
        passphrase = secrets.token_urlsafe(32).encode()
        return Upload(write_pkcs12(friendly_name, key, leaf, (), passphrase), passphrase, friendly_name)

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
            raise FormatError(f"{source.key} does not hold the key of {declared.name}", "commit the key that fits")
        return key
