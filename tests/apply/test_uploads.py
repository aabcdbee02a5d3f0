"""What an import uploads: a chain certificate as it is, a leaf with its key under a passphrase of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.apply.uploads import Uploads
from reconciler.base.errors import FormatError
from reconciler.pki.reading import read
from reconciler.plan.model import Import
from tests.apply.stage import PASSPHRASE, Files, Stage
from tests.plan.scenes import Scene, leaf, one, provided
from tests.support.desired import desired
from tests.support.memory import MemoryStore

ISSUED = leaf(one())
STAGE = Stage(Scene({"access": provided(ISSUED)}), {"east": MemoryStore()})
ROOT, ISSUER, LEAF = (each for each in STAGE.plan().actions if isinstance(each, Import))


def uploads(stage: Stage = STAGE, folder: Path | None = None) -> Uploads:
    return Uploads(stage.state, stage.environment, folder or Path("desired-state"))


def test_a_chain_certificate_goes_as_it_is() -> None:
    upload = uploads().upload(ROOT)
    assert upload.content == ISSUED.chain[-1].der
    assert (upload.passphrase, upload.friendly_name) == (None, "Root One")
    assert uploads().upload(ISSUER).content == ISSUED.chain[0].der


def test_a_leaf_brings_its_key_and_nothing_else() -> None:
    upload = uploads().upload(LEAF)
    contents = read(upload.content, upload.passphrase)
    assert contents.certificates == (ISSUED.certificate,)
    assert [each.public_key for each in contents.keys] == [ISSUED.certificate.public_key]
    assert contents.friendly_name == upload.friendly_name == "access"


def test_every_upload_has_a_passphrase_of_its_own() -> None:
    first, second = uploads().upload(LEAF), uploads().upload(LEAF)
    assert first.passphrase != second.passphrase
    assert first.passphrase
    assert len(first.passphrase) > 32
    assert PASSPHRASE.encode() not in {first.passphrase, second.passphrase}


def test_nothing_of_it_shows() -> None:
    upload = uploads().upload(LEAF)
    assert repr(upload) == "Upload(friendly_name='access')"


def test_a_passphrase_in_a_file_is_found_beside_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "desired-state/certificates").mkdir(parents=True)
    (tmp_path / "secret").write_text(PASSPHRASE + "\n")
    text = (
        "subject: {common_name: Example remote access}\nsubject_alternative_names: [access.example.com]\n"
        "source: {kind: provided, certificate: access.pem, key: access.key, passphrase: {file: ../../secret}}\n"
    )
    committed = {"certificates/access.pem": (ISSUED.certificate,)}
    declared = desired({"certificates/access.yaml": text}, committed)
    files = Files({"certificates/access.key": ISSUED.key_pem(PASSPHRASE.encode())})
    upload = Uploads(replace(declared, tree=files), {}, tmp_path / "desired-state").upload(LEAF)
    assert read(upload.content, upload.passphrase).keys


def test_what_brings_no_key_along_cannot_be_uploaded() -> None:
    requested = Stage(
        Scene(
            {
                "access": "subject: {common_name: x}\nsubject_alternative_names: [access.example.com]\n"
                "source: {kind: requested}\n"
            }
        ),
        {},
    )
    with pytest.raises(FormatError, match="there is nothing to upload for access"):
        uploads(requested).upload(LEAF)
