"""A desired state in memory, for tests: YAML text by path, and certificates where committed files would be.

    state = desired(
        {"sites/access.yaml": "hostname: access.example.com ...", ...},
        {"certificates/access/leaf.pem": (issued.certificate,)},
    )

It reads what is well-formed and no more: refusing and finding is the business of `reconciler.desired.load`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from textwrap import dedent
from typing import TYPE_CHECKING, TypeVar

from reconciler.base.findings import Kind, ObjectName
from reconciler.desired.compose import compose
from reconciler.desired.models import Appliance, Certificate, Fleet, Policy, Provided, Requested, Site
from reconciler.desired.nodes import Document, plain
from reconciler.desired.state import Build, CertificateFile, Declared, DesiredState, Material

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from reconciler.base.findings import Finding
    from reconciler.pki import certificate as pki

M = TypeVar("M", bound="BaseModel")
_KINDS = {"sites": Kind.SITE, "appliances": Kind.APPLIANCE, "certificates": Kind.CERTIFICATE}


@dataclass(frozen=True)
class _NoTree:
    def read(self, path: str) -> bytes:
        raise AssertionError(f"{path} is not read by what is tested here")


def desired(
    files: Mapping[str, str],
    committed: Mapping[str, Sequence[pki.Certificate]] | None = None,
    *,
    findings: Sequence[Finding] = (),
) -> DesiredState:
    """A desired state of these files.

    Args:
        files: YAML by path from the root; common indentation does not count.
        committed: The certificates in each committed file, by its path from the root.
        findings: What the loader would have found.
    """
    documents = {path: _document(path, dedent(text)) for path, text in sorted(files.items())}
    fleet = _read(Fleet, Kind.FLEET, documents["fleet.yaml"]) if "fleet.yaml" in documents else None
    state = DesiredState(
        root="desired-state",
        policy=fleet.model.policy if fleet else Policy(),
        sites=_all(Site, "sites", documents),
        appliances=_all(Appliance, "appliances", documents),
        certificates=_all(Certificate, "certificates", documents),
        material={},
        builds={},
        findings=tuple(findings),
        digest=hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest(),
        revision=None,
        tree=_NoTree(),
        fleet=fleet,
    )
    known = committed or {}
    material = {name: _material(each.model, known) for name, each in state.certificates.items()}
    return replace(state, material=material, builds=_builds(state, known))


def _document(path: str, text: str) -> Document:
    composed = compose(text.encode())
    assert composed.root is not None, composed.flaws
    assert not composed.flaws, composed.flaws
    return Document(path, path, composed.root)


def _read(model: type[M], kind: Kind, document: Document) -> Declared[M]:
    content = model.model_validate(plain(document.root), context={"file": document.path})
    return Declared(ObjectName(kind, PurePosixPath(document.path).stem), content, document)


def _all(model: type[M], folder: str, documents: Mapping[str, Document]) -> dict[str, Declared[M]]:
    read = (_read(model, _KINDS[folder], each) for path, each in documents.items() if path.startswith(f"{folder}/"))
    return {each.name: each for each in read}


def _material(model: Certificate, known: Mapping[str, Sequence[pki.Certificate]]) -> Material:
    source = model.source
    if not isinstance(source, Requested | Provided):
        return Material()
    path = source.signed if isinstance(source, Requested) else source.certificate
    answer = known.get(path or "", ())
    chain = [*answer[1:], *(each for path in source.chain for each in known.get(path, ()))]
    listed = ((None, path or ""), *enumerate(source.chain))
    files = (CertificateFile(index, tuple(known.get(name, ())), not name.endswith(".p7b")) for index, name in listed)
    return Material(
        answer[0] if answer else None, tuple(dict.fromkeys(chain)), tuple(each for each in files if each.certificates)
    )


def _builds(state: DesiredState, known: Mapping[str, Sequence[pki.Certificate]]) -> dict[ObjectName, tuple[Build, ...]]:
    places: tuple[Declared[Site] | Declared[Appliance], ...] = (*state.sites.values(), *state.appliances.values())
    builds: dict[ObjectName, tuple[Build, ...]] = {}
    for place in places:
        software = place.model.client_software
        if software and software != "none":
            builds[place.about] = tuple(Build(each.installed_at, _trusts(each.trusts, known)) for each in software)
    return builds


def _trusts(paths: Sequence[str], known: Mapping[str, Sequence[pki.Certificate]]) -> frozenset[tuple[bytes, str]]:
    return frozenset((root.subject.der, root.public_key) for path in paths for root in known.get(path, ()))
