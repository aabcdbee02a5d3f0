"""The desired state of a fleet as frozen values, and the questions that everything right of here asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pydantic import BaseModel

from reconciler.desired.models import Appliance, Certificate, Fleet, Policy, Site

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from reconciler.base.findings import Finding, ObjectName
    from reconciler.base.position import Position
    from reconciler.desired.nodes import Document
    from reconciler.pki import certificate as pki

DEFAULT_SETTLE = Site.model_fields["settle"].default

M_co = TypeVar("M_co", bound=BaseModel, covariant=True)


class Tree(Protocol):
    """Where the files of a desired state come from: a work tree or a git revision."""

    def read(self, path: str) -> bytes:
        """The content of a file, by its path from the root of the desired state."""


@dataclass(frozen=True, slots=True)
class Declared(Generic[M_co]):
    """One declared object and where it was written.

    Attributes:
        about: Its kind and name.
        model: Its content.
        document: Its file.
    """

    about: ObjectName
    model: M_co
    document: Document

    @property
    def name(self) -> str:
        """The stem of its file."""
        return self.about.name

    def position(self, *path: str | int, key: bool = False) -> Position:
        """Where a value of it stands; see `Document.position`."""
        return self.document.position(*path, key=key)


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """One committed file of a certificate's material.

    Attributes:
        index: Its index in `chain`; None for the file of the CA's answer or of the provided certificate.
        certificates: What it holds, each certificate once.
        ordered: Whether these stand in the order of the file; PKCS#7 and PKCS#12 have none that would say anything.
    """

    index: int | None
    certificates: tuple[pki.Certificate, ...]
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Material:
    """What is committed for one certificate.

    Attributes:
        leaf: The CA's answer or the provided certificate; None where there is none (yet), or it cannot be read.
        chain: The declared chain, each certificate once: what came along in the answer's file, then `chain`.
        files: The files that these come from, as they are listed; those that cannot be read are not among them.
    """

    leaf: pki.Certificate | None = None
    chain: tuple[pki.Certificate, ...] = ()
    files: tuple[CertificateFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Build:
    """One software build in which clients find the roots that they trust.

    Attributes:
        installed_at: When it was installed on the site.
        trusts: Subject (DER) and public key of each root in it.
    """

    installed_at: dt.datetime
    trusts: frozenset[tuple[bytes, str]]


@dataclass(frozen=True, slots=True)
class Clients:
    """The software builds of a site, oldest first, and how long clients take to follow.

    Attributes:
        builds: The builds; empty where there are no clients yet, so that every root will do.
        settle: How long clients take to update to a new build.
    """

    builds: tuple[Build, ...]
    settle: dt.timedelta

    def in_field(self, instant: dt.datetime) -> tuple[Build, ...]:
        """The builds that clients may be running: the newest settled one and every later one; all if none settled.

        A build whose installation is still to come is in nobody's hands, unless there is no other.
        """
        installed = tuple(each for each in self.builds if each.installed_at <= instant) or self.builds[:1]
        settled = [index for index, each in enumerate(installed) if each.installed_at + self.settle <= instant]
        return installed[settled[-1] :] if settled else installed


@dataclass(frozen=True)
class DesiredState:
    """A fleet as declared. Broken objects are absent; `findings` say why.

    Attributes:
        root: The folder as people name it.
        policy: Policy for everything.
        sites: Sites by name.
        appliances: Appliances by name.
        certificates: Certificates by name.
        material: Committed certificates by name of the declared certificate.
        builds: The software builds of each object that declares `client_software` as builds.
        findings: All problems of form, sorted by place.
        digest: SHA-256 over path and content of every file beneath the root.
        revision: The git commit that was read, or None for a work tree.
        tree: Where committed keys are read from when they are needed.
        fleet: `fleet.yaml`, where there is one.
    """

    root: str
    policy: Policy
    sites: Mapping[str, Declared[Site]]
    appliances: Mapping[str, Declared[Appliance]]
    certificates: Mapping[str, Declared[Certificate]]
    material: Mapping[str, Material]
    builds: Mapping[ObjectName, tuple[Build, ...]]
    findings: tuple[Finding, ...]
    digest: str
    revision: str | None
    tree: Tree
    fleet: Declared[Fleet] | None = None

    @cached_property
    def _site_of(self) -> Mapping[str, Declared[Site]]:
        return {member: site for site in self.sites.values() for member in members(site.model)}

    def site_of(self, appliance: str) -> Declared[Site] | None:
        """The site that an appliance belongs to; None where it stands alone."""
        return self._site_of.get(appliance)

    def members_with(self, appliance: str) -> tuple[str, ...]:
        """The appliances of the same site, the appliance itself included, primary first."""
        site = self.site_of(appliance)
        return members(site.model) if site else (appliance,)

    def primary_of(self, appliance: str) -> str:
        """Where keys are made: the site's primary, or the appliance itself."""
        return self.members_with(appliance)[0]

    def certificates_of(self, appliance: str) -> tuple[str, ...]:
        """Names of the certificates declared for an appliance: the site's, then its own."""
        site = self.site_of(appliance)
        names = (site.model.certificates if site else ()) + self.appliances[appliance].model.certificates
        return tuple(dict.fromkeys(names))

    @cached_property
    def _holders(self) -> Mapping[str, tuple[str, ...]]:
        grouped = [members(site.model) for site in self.sites.values()]
        alone = [(name,) for name in self.appliances if name not in self._site_of]
        holders: dict[str, list[str]] = {}
        for name in (name for group in (*grouped, *alone) for name in group if name in self.appliances):
            for certificate in self.certificates_of(name):
                holders.setdefault(certificate, []).append(name)
        return {certificate: tuple(dict.fromkeys(names)) for certificate, names in holders.items()}

    def holders_of(self, certificate: str) -> tuple[str, ...]:
        """The appliances for which a certificate is declared; where its key is made, if anywhere, comes first."""
        return self._holders.get(certificate, ())

    def default_of(self, appliance: str) -> str | None:
        """Name of the certificate that should be the appliance's default."""
        site = self.site_of(appliance)
        return self.appliances[appliance].model.default or (site.model.default if site else None)

    def hostname_without_sni(self, appliance: str) -> str:
        """The host name that clients without server name indication have in mind."""
        site = self.site_of(appliance)
        return site.model.hostname if site else self.appliances[appliance].model.hostname

    def protected_names(self, appliance: str) -> tuple[str, ...]:
        """The names that must never lose their certificate on this appliance: the site's, its own, further ones."""
        site = self.site_of(appliance)
        further = site.model.protected_names if site else ()
        own = self.appliances[appliance].model.hostname
        return tuple(dict.fromkeys((self.hostname_without_sni(appliance), own, *further)))

    def clients(self, appliance: str) -> Clients:
        """The software that the appliance's clients may be running."""
        site, own = self.site_of(appliance), self.appliances[appliance]
        settle = site.model.settle if site else own.model.settle or DEFAULT_SETTLE
        return Clients(self.builds.get(site.about if site else own.about, ()), settle)


def members(site: Site) -> tuple[str, ...]:
    """The appliances of a site, primary first, each once."""
    others = ((site.backup,) if site.backup else ()) + site.traffic_nodes
    return tuple(dict.fromkeys((site.primary, *others)))
