"""Committed certificates: each file is read once, and told apart into leaf, chain and trusted roots."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from pydantic import BaseModel

from reconciler.base.errors import FormatError, WrongPassphrase
from reconciler.base.findings import Finding, found
from reconciler.base.references import CommittedPath
from reconciler.desired import rules
from reconciler.desired.models import Appliance, Certificate, Provided, Requested, Site
from reconciler.desired.state import Build, CertificateFile, Declared, Material
from reconciler.desired.tree import Hindrance, Obstacle, Snapshot
from reconciler.pki.asn1 import Kind, Malformed, kind_of
from reconciler.pki.protection import holds_clear_key, key_bags
from reconciler.pki.reading import Contents, Keys, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.base.findings import ObjectName
    from reconciler.base.position import Position
    from reconciler.desired.hints import Hints
    from reconciler.desired.nodes import Document
    from reconciler.pki import certificate as pki

Path: TypeAlias = tuple[str | int, ...]

RULES = {
    Hindrance.MISSING: rules.MATERIAL_MISSING,
    Hindrance.OUTSIDE: rules.MATERIAL_OUTSIDE,
    Hindrance.TOO_LARGE: rules.FILE_TOO_LARGE,
    Hindrance.UNREADABLE: rules.FILE_UNREADABLE,
}


def committed(value: object, path: Path = ()) -> Iterator[tuple[Path, CommittedPath]]:
    """Every committed file that a model names, with the keys and indices that lead there."""
    if isinstance(value, CommittedPath):
        yield path, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from committed(getattr(value, name), (*path, name))
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from committed(each, (*path, index))


class MaterialReader:
    """Reads what declared objects name, and collects what is wrong with it.

    Attributes:
        findings: What was found so far.
        used: Every path that something refers to, links on the way included.
    """

    def __init__(self, tree: Snapshot, hints: Hints) -> None:
        self.findings: list[Finding] = []
        self.used: set[str] = set()
        self._tree = tree
        self._hints = hints
        self._clear: dict[str, bool] = {}
        self._by_part: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._read: dict[str, Contents | FormatError] = {}

    def is_clear_key(self, path: str) -> bool:
        """Whether a file holds an unencrypted private key. The path has no links."""
        if path not in self._clear:
            self._clear[path] = holds_clear_key(self._tree.files[path])
        return self._clear[path]

    def refer(self, names: Iterable[tuple[Path, CommittedPath]], about: ObjectName, document: Document) -> None:
        """Note which files an object refers to, and say what is not there or is a key in clear."""
        for path, name in names:
            trace = self._tree.trace(name)
            self.used.update(trace)
            content = self._tree.look_up(name)
            position = document.position(*path)
            if isinstance(content, Obstacle):
                remedy = content.remedy
                if content.hindrance is Hindrance.MISSING:
                    remedy = self._near_miss(name, posixpath.dirname(document.path), remedy)
                self._report(found(RULES[content.hindrance], content.message, remedy, position=position, about=about))
            elif self.is_clear_key(trace[-1]):
                self._report(clear_key(f"{name} holds", position, about))

    def _near_miss(self, name: str, beside: str, otherwise: str) -> str:
        """Ask for a file of a similar name in the same folder, or of the same name in another."""
        folder, _, last = name.rpartition("/")
        known = {posixpath.relpath(each, beside or "."): None for each in self._files_like(folder, last)}
        return self._hints.did_you_mean(posixpath.relpath(name, beside or "."), known, otherwise)

    def _files_like(self, folder: str, last: str) -> list[str]:
        if not self._by_part:
            for path in (*self._tree.files, *self._tree.links):
                parent, _, own = path.rpartition("/")
                self._by_part[parent, ""].append(path)
                self._by_part["", own].append(path)
        return self._by_part.get((folder, ""), []) + self._by_part.get(("", last), [])

    def material(self, declared: Declared[Certificate]) -> Material:
        """What is committed for a certificate; nothing where it is made on the appliance."""
        source = declared.model.source
        if isinstance(source, Provided):
            self._check_key(declared, source.key)
            name, key = source.certificate, "certificate"
        elif isinstance(source, Requested) and source.signed is not None:
            name, key = source.signed, "signed"
        else:
            name, key = "", ""
        leaf, along = self._answer(declared, name, key) if name else (None, ())
        files = [self._file(name, None, along)] if along else []
        for index, each in enumerate(source.chain if isinstance(source, Requested | Provided) else ()):
            certificates = self._certificates(declared, each, ("source", "chain", index))
            if certificates:
                files.append(self._file(each, index, certificates))
        chain = dict.fromkeys(certificate for file in files for certificate in file.certificates)
        return Material(leaf, tuple(each for each in chain if each != leaf), tuple(files))

    def builds(self, declared: Declared[Site] | Declared[Appliance]) -> tuple[Build, ...]:
        """The software builds that an object declares."""
        software = declared.model.client_software
        builds = () if software is None or software == "none" else software
        return tuple(
            Build(
                build.installed_at,
                frozenset(
                    (each.subject.der, each.public_key)
                    for index, name in enumerate(build.trusts)
                    for each in self._certificates(declared, name, ("client_software", number, "trusts", index))
                ),
            )
            for number, build in enumerate(builds)
        )

    def _report(self, finding: Finding) -> None:
        self.findings.append(finding)

    def _unreadable(self, declared: Declared[BaseModel], path: Path, message: str, remedy: str) -> None:
        position = declared.position(*path)
        self._report(found(rules.MATERIAL_UNREADABLE, message, remedy, position=position, about=declared.about))

    def _answer(
        self, declared: Declared[Certificate], name: str, key: str
    ) -> tuple[pki.Certificate | None, tuple[pki.Certificate, ...]]:
        """The leaf in a file, and what came along with it."""
        certificates = self._certificates(declared, name, ("source", key))
        if certificates and all(each.is_authority and not each.subject_alternative_names for each in certificates):
            held = "the certificate of a CA" if len(certificates) == 1 else f"{len(certificates)} certificates of CAs"
            remedy = "commit the certificate that was issued, and list this file in `chain`"
            self._unreadable(declared, ("source", key), f"{name} holds {held}, not one that was issued", remedy)
            return None, ()
        leaf = leaf_of(certificates)
        if certificates and leaf is None:
            message = f"{name} holds {len(certificates)} certificates, and which one was issued cannot be told"
            self._unreadable(declared, ("source", key), message, "commit the one alone, and the others as its `chain`")
        return leaf, certificates if leaf else ()

    def _file(self, name: str, index: int | None, certificates: tuple[pki.Certificate, ...]) -> CertificateFile:
        contents = self._contents(name)
        unordered = isinstance(contents, Contents) and ("PKCS#7" in contents.format or "PKCS#12" in contents.format)
        return CertificateFile(index, certificates, ordered=not unordered)

    def _certificates(self, declared: Declared[BaseModel], name: str, path: Path) -> tuple[pki.Certificate, ...]:
        """The certificates in a file; none where something was found to be wrong with it."""
        contents = self._contents(name)
        if contents is None:
            return ()
        if isinstance(contents, WrongPassphrase):
            message = f"{name} cannot be read without a passphrase"
            self._unreadable(declared, path, message, "commit the certificate in clear, so that everyone can review it")
            return ()
        if isinstance(contents, FormatError):
            self._unreadable(declared, path, f"{name}: {contents.message}", contents.remedy or "commit a certificate")
            return ()
        if contents.requests and not contents.certificates:
            message = f"{name} holds a certificate request, not the certificate that was asked for"
            self._unreadable(declared, path, message, "send the request to the CA, and commit its answer")
        elif not contents.certificates:
            message = f"{name} holds no certificate, but {contents.format}"
            self._unreadable(declared, path, message, "commit the certificate")
        return contents.certificates

    def _check_key(self, declared: Declared[Certificate], name: str) -> None:
        """A provided key must be there, encrypted and the only one; whose it is, is for `apply` to see."""
        contents = self._contents(name)
        keys = shown_keys(self._tree.look_up(name))
        if keys > 1:
            self._report(
                found(
                    rules.SEVERAL_KEYS,
                    f"{name} holds {keys} private keys, of which only the first can be read",
                    "commit a file that holds only the key of this certificate",
                    position=declared.position("source", "key"),
                    about=declared.about,
                )
            )
        if contents is None or isinstance(contents, WrongPassphrase) or self.is_clear_key(self._tree.trace(name)[-1]):
            return
        remedy = "commit the encrypted key (PKCS#8), or a PKCS#12 file that holds it"
        if isinstance(contents, FormatError):
            self._unreadable(declared, ("source", "key"), f"{name}: {contents.message}", remedy)
        elif not contents.keys_left_alone:
            message = f"{name} holds no private key, but {contents.format}"
            self._unreadable(declared, ("source", "key"), message, remedy)

    def _contents(self, name: str) -> Contents | FormatError | None:
        content = self._tree.look_up(name)
        if isinstance(content, Obstacle):
            return None
        path = self._tree.trace(name)[-1]
        if path not in self._read:
            try:
                self._read[path] = read(content, keys=Keys.LEFT_ALONE)
            except FormatError as error:
                self._read[path] = error
        return self._read[path]


def clear_key(what: str, position: Position, about: ObjectName | None) -> Finding:
    """An unencrypted private key was found."""
    return found(
        rules.CLEAR_KEY,
        f"{what} an unencrypted private key",
        "replace the key, since whoever saw the commit has it; commit keys only encrypted",
        position=position,
        about=about,
    )


def shown_keys(content: bytes | Obstacle) -> int:
    """How many private keys a PKCS#12 file shows without its passphrase; none where it is no such file."""
    try:
        return key_bags(content) if isinstance(content, bytes) and kind_of(content) is Kind.PKCS12 else 0
    except Malformed:
        return 0


def leaf_of(certificates: tuple[pki.Certificate, ...]) -> pki.Certificate | None:
    """The one certificate that issued none of the others; None where that does not tell one."""
    issuers = {each.issuer.der for each in certificates if not each.is_self_issued}
    ends = [each for each in certificates if each.subject.der not in issuers]
    if len(ends) > 1:
        ends = [each for each in ends if not each.is_authority]
    return ends[0] if len(ends) == 1 else None
