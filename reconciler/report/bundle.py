"""What BeyondTrust Technical Support needs to prepare a site's clients: the certificates and their chains, no keys.

The guide, *Update the BeyondTrust Appliance*: support builds the root (or the self-signed certificate) into the client
software, so it is sent whenever a new one is about to be used. Everything comes from the committed certificates, parsed
and encoded anew, never from the bytes of a file; `bundle_message` writes the message, `bundle_archive` the .zip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.base.errors import FormatError, UsageError, WrongPassphrase
from reconciler.base.findings import Kind, ObjectName, Severity
from reconciler.desired.hints import nearest
from reconciler.desired.models import SelfSigned
from reconciler.desired.state import members
from reconciler.pki.chain import ChainBuilder
from reconciler.pki.names import parse_name
from reconciler.pki.reading import Keys, read
from reconciler.report.bundle_files import BundleFile, certificate_files, chain_file, file_names, shown

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from reconciler.base.findings import Finding
    from reconciler.desired.models import Certificate as CertificateModel
    from reconciler.desired.models import ClientSoftware
    from reconciler.desired.state import DesiredState
    from reconciler.pki.certificate import Certificate

_WITHOUT_KEY = "export it again with 'Include Private Key' cleared"


@dataclass(frozen=True, slots=True)
class Member:
    """An appliance to be updated.

    Attributes:
        name: Its name.
        hostname: Its host name.
        role: What it is to its site: `primary`, `backup`, `traffic node`; empty where it is the only one.
    """

    name: str
    hostname: str
    role: str


@dataclass(frozen=True, slots=True)
class Held:
    """One declared certificate and what there is of it.

    Attributes:
        name: Its name.
        shown: What it is issued to, for people.
        certificates: The certificate itself, if there is one yet, and every one of its chain.
        roots: What clients have to trust: each root that it leads up to, or itself where it is self-signed.
        new: Those of them that the newest software build does not trust.
        is_issued: Whether the certificate itself is there.
    """

    name: str
    shown: str
    certificates: tuple[Certificate, ...]
    roots: tuple[Certificate, ...]
    new: tuple[Certificate, ...]
    is_issued: bool


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a bundle is made of, before pictures are added.

    Attributes:
        site: Name of the site, or of the appliance that stands alone.
        hostname: The host name that clients use.
        members: The appliances to be updated, primary first.
        held: The declared certificates.
        files: A file for each certificate, and one for each chain.
        named: The file of each certificate.
        installed_at: When the newest software build was installed; None where there is none.
        trusted: The roots in it, each once.
        settle: How long clients take to update to a new build.
    """

    site: str
    hostname: str
    members: tuple[Member, ...]
    held: tuple[Held, ...]
    files: tuple[BundleFile, ...]
    named: dict[Certificate, str]
    installed_at: dt.datetime | None
    trusted: tuple[Certificate, ...]
    settle: dt.timedelta

    @property
    def new_roots(self) -> tuple[Certificate, ...]:
        """What clients have to be made to trust, each once."""
        return tuple(dict.fromkeys(root for each in self.held for root in each.new))

    @property
    def roots(self) -> tuple[Certificate, ...]:
        """What clients have to trust, each once."""
        return tuple(dict.fromkeys(root for each in self.held for root in each.roots))


@dataclass(frozen=True, slots=True)
class _Place:
    """A site, or an appliance that stands alone."""

    about: ObjectName
    hostname: str
    members: tuple[Member, ...]
    certificates: tuple[str, ...]
    software: ClientSoftware | None
    settle: dt.timedelta


def hindrances(state: DesiredState, name: str) -> tuple[Finding, ...]:
    """Errors of form that leave it open what belongs into the bundle of a site or of an appliance that stands alone."""
    about = {ObjectName(Kind.SITE, name)}
    if name in state.sites or name in state.appliances:
        place = _place(state, name)
        site = state.sites.get(name)
        about = {place.about, *(ObjectName(Kind.CERTIFICATE, each) for each in place.certificates)}
        # A member whose file is broken is not among the appliances, and what it lists is not known.
        about |= {ObjectName(Kind.APPLIANCE, each) for each in (members(site.model) if site else (name,))}
    elif not any(each.about in about for each in state.findings):
        about = {ObjectName(Kind.APPLIANCE, name)}
    return tuple(each for each in state.findings if each.severity is Severity.ERROR and each.about in about)


def gather(state: DesiredState, name: str, given: Sequence[Certificate] = ()) -> Gathered:
    """Find everything that belongs into the bundle of a site, or of an appliance that stands alone.

    Args:
        state: The desired state; see `hindrances` first.
        name: Name of the site or appliance.
        given: Certificates that are not committed: self-signed ones that appliances made, missing roots.

    Raises:
        UsageError: There is no such site, something is still missing, or what was given does not belong there.
    """
    place = _place(state, name)
    builds = state.builds.get(place.about, ())
    newest = builds[-1].trusts if builds else frozenset()
    held, problems = list[Held](), list[str]()
    for each in place.certificates:
        try:
            held.append(_hold(state, each, place.members[0].name, given, newest))
        except UsageError as error:
            problems.append(str(error))
    used = {certificate for each in held for certificate in each.certificates}
    for stranger in dict.fromkeys(given):
        if stranger not in used and not problems:
            told = shown(stranger.subject.display)
            problems.append(f"'{told}' is no certificate of {name}, nor of a chain there - leave it out")
    if not place.certificates:
        problems.append(f"{name} lists no certificate - list those that its appliances are to hold")
    if problems:
        raise UsageError(f"the bundle of {name} cannot be made:\n" + "\n".join(problems))
    named = file_names(certificate for each in held for certificate in each.certificates)
    roots = {root for each in held for root in each.roots}
    return Gathered(
        site=name,
        hostname=place.hostname,
        members=place.members,
        held=tuple(held),
        files=(
            *certificate_files(named, roots),
            *(chain_file(each.name, each.shown, each.certificates) for each in held if len(each.certificates) > 1),
        ),
        named=named,
        installed_at=builds[-1].installed_at if builds else None,
        trusted=tuple(dict.fromkeys(_trusted(state, place))),
        settle=place.settle,
    )


def certificates_in(name: str, content: bytes) -> tuple[Certificate, ...]:
    """The certificates in a file that was given, whatever its format.

    Raises:
        FormatError: It holds a private key, encrypted or not, or no certificate.
    """
    try:
        found = read(content, keys=Keys.LEFT_ALONE)
    except WrongPassphrase as error:
        raise FormatError(f"{name} may hold a private key, which must never be sent", _WITHOUT_KEY) from error
    except FormatError as error:
        raise FormatError(f"{name}: {error.message}", error.remedy) from error
    if found.keys_left_alone:
        raise FormatError(f"{name} holds a private key, which must never be sent", _WITHOUT_KEY)
    if not found.certificates:
        raise FormatError(f"{name} holds no certificate, but {found.format}", "give the certificate")
    return found.certificates


def _place(state: DesiredState, name: str) -> _Place:
    site, alone = state.sites.get(name), state.appliances.get(name)
    if site is not None:
        roles = {site.model.backup: "backup", site.model.primary: "primary"}
        names = [each for each in members(site.model) if each in state.appliances]
        listed = [each for member in names for each in state.certificates_of(member)]
        return _Place(
            site.about,
            site.model.hostname,
            tuple(
                Member(
                    each,
                    state.appliances[each].model.hostname,
                    roles.get(each, "traffic node") if len(names) > 1 else "",
                )
                for each in names
            ),
            tuple(dict.fromkeys((*site.model.certificates, *listed))),
            site.model.client_software,
            site.model.settle,
        )
    if alone is None or state.site_of(name) is not None:
        own = state.site_of(name) if alone else None
        known = [*state.sites, *(each for each in state.appliances if state.site_of(each) is None)]
        near = own.name if own else nearest(name, known)
        remedy = f"did you mean {near}?" if near else f"there are {', '.join(known)}" if known else "declare one"
        raise UsageError(f"no site of the desired state is called {name}", remedy)
    model = alone.model
    member = Member(name, model.hostname, "")
    settle = state.clients(name).settle
    return _Place(alone.about, model.hostname, (member,), model.certificates, model.client_software, settle)


def _hold(
    state: DesiredState, name: str, primary: str, given: Sequence[Certificate], newest: frozenset[tuple[bytes, str]]
) -> Held:
    """One declared certificate with everything above it."""
    declared, material = state.certificates[name].model, state.material[name]
    leaf = material.leaf or next((each for each in given if _is_declared(each, declared)), None)
    self_signed = isinstance(declared.source, SelfSigned)
    if leaf is None and self_signed:
        raise UsageError(
            f"{name} is self-signed and made on the appliance, so it is not committed",
            f"`reconciler export {primary} {name} --out {name}.cer` fetches it without its key; "
            f"then give it with --certificate {name}.cer",
        )
    builder = ChainBuilder((*material.chain, *given))
    begins = (leaf,) if leaf else material.chain or tuple(given)
    ways = [each for begin in begins for each in builder.chains(begin)]
    chains = [each for each in ways if each.complete]
    if not chains:
        missing = next((each.missing for each in ways if each.missing), None)
        lacking = f"'{shown(missing.display)}'" if missing else "the CA's root"
        raise UsageError(
            f"the chain of {name} lacks {lacking}: a root is what clients have to trust",
            "commit it beneath `chain`, or give it with --certificate FILE",
        )
    climbed = [each for chain in chains for each in chain.certificates]
    unmet = [
        chain
        for chain in chains
        if not any((each.subject.der, each.public_key) in newest for each in chain.certificates)
    ]
    return Held(
        name,
        shown(leaf.subject.display if leaf else declared.subject.common_name),
        tuple(dict.fromkeys((*climbed, *material.chain))),
        tuple(dict.fromkeys(each.top for each in chains)),
        tuple(dict.fromkeys(each.top for each in unmet)),
        leaf is not None,
    )


def _is_declared(certificate: Certificate, declared: CertificateModel) -> bool:
    """Whether a certificate that was given is what is declared."""
    names = frozenset(parse_name(each) for each in declared.subject_alternative_names)
    return (
        certificate.san_set == names
        and certificate.key_kind == declared.key
        and certificate.is_self_issued == isinstance(declared.source, SelfSigned)
        and frozenset(certificate.subject.attributes) == frozenset(declared.subject.distinguished_name.attributes)
    )


def _trusted(state: DesiredState, place: _Place) -> Iterator[Certificate]:
    """The roots of the newest software build, each once."""
    if place.software is None or place.software == "none":
        return
    for path in place.software[-1].trusts:
        yield from read(state.tree.read(path), keys=Keys.LEFT_ALONE).certificates
