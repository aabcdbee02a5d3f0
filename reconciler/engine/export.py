"""One certificate out of one store, in a format of the appliance's Export page.

Here it is decided which certificate is meant, and whether what comes is what was asked for: an interface may hand out
anything. Where it is kept is the caller's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.base.errors import FormatError, StoreUnrecognised, UsageError, WrongPassphrase
from reconciler.base.text import printable
from reconciler.desired.models import SelfSigned
from reconciler.engine.stores import Stores
from reconciler.pki.chain import ChainBuilder, needed_issuers
from reconciler.pki.protection import holds_clear_key
from reconciler.pki.reading import read
from reconciler.plan.matching import find_targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.base.clock import Clock
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings
    from reconciler.engine.run import Notify
    from reconciler.live.driver import ExportedFile, ExportOptions
    from reconciler.live.store import LiveCertificate, LiveStore
    from reconciler.pki.reading import Contents

_PREFIX = re.compile("[0-9a-f]{8,64}")
_WHOLE = 64
_SHOWN = 16
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Export:
    """What was exported.

    Attributes:
        live: The certificate that was meant.
        file: What the store handed out for it.
        has_certificate: Whether the certificate itself is in the file.
        has_key: Whether its private key is, encrypted.
        issuers: How many certificates of its chain are.
        missing: The issuer that a chain lacks which was asked for, as people know it; empty where it is complete.
    """

    live: LiveCertificate
    file: ExportedFile
    has_certificate: bool
    has_key: bool
    issuers: int
    missing: str = ""

    @property
    def name(self) -> str:
        """What people call the certificate, on one line and of some length."""
        return _cut(self.live.friendly_name or self.live.certificate.subject.display)


async def export_certificate(
    state: DesiredState,
    settings: OperatorSettings,
    clock: Clock,
    appliance: str,
    wanted: str,
    options: ExportOptions,
    notify: Notify,
) -> Export:
    """Find a certificate in the store of an appliance, export it, and look at what came.

    Args:
        state: The desired state.
        settings: Operator settings.
        clock: The time.
        appliance: Name of the appliance.
        wanted: The certificate: its declared name, the beginning of its SHA-256, or its friendly name.
        options: The options of the Export page.
        notify: Told of progress.

    Raises:
        UsageError: There is no such certificate, or there are several.
        StoreError: The store cannot be asked, refuses, or hands out something else.
    """
    stores = Stores(state, settings, clock)
    members: dict[str, LiveStore] = {}
    if _is_self_signed(state, appliance, wanted):
        # Which one counts as it is decided over the whole site.
        seen, _ = await stores.observe([each for each in state.members_with(appliance) if each != appliance], notify)
        members.update(seen)
    async with stores.open(appliance) as driver:
        notify(appliance, "observing")
        members[appliance] = await driver.observe()
        live = _Rows(state, appliance, members, clock).find(wanted)
        notify(appliance, "exporting")
        file = await driver.export(live.fingerprint, options)
    return _checked(live, file, options)


def _is_self_signed(state: DesiredState, appliance: str, wanted: str) -> bool:
    declared = state.certificates.get(wanted) if wanted in state.certificates_of(appliance) else None
    return declared is not None and isinstance(declared.model.source, SelfSigned)


class _Rows:
    """The rows of one store and the names that they go by."""

    def __init__(self, state: DesiredState, appliance: str, stores: Mapping[str, LiveStore], clock: Clock) -> None:
        members = [state.appliances[each].model for each in state.members_with(appliance) if each in state.appliances]
        retired = frozenset(each.sha256 for member in members for each in member.retired)
        targets = find_targets(state, state.certificates_of(appliance), stores, retired, clock())
        self._state = state
        self._appliance = appliance
        self._store = stores[appliance]
        self._instances = {each.name: each.instance for each in targets}

    def find(self, wanted: str) -> LiveCertificate:
        """The one row that is meant. A declared name comes first, since it was reviewed; then the whole SHA-256."""
        if wanted in self._state.certificates_of(self._appliance):
            return self._declared(wanted)
        digits = wanted.replace(":", "").lower()
        exact = self._store.by_fingerprint.get(digits) if len(digits) == _WHOLE else None
        if exact is not None:
            return exact
        by_digits = digits if _PREFIX.fullmatch(digits) else None
        found = [
            each
            for each in self._store.certificates
            if each.friendly_name == wanted or (by_digits and each.fingerprint.startswith(by_digits))
        ]
        where = f"in the store of {self._appliance}"
        match found:
            case [live]:
                return live
            case []:
                raise self._unclear(f"no certificate {where} is called {_cut(wanted)}", self._store.certificates)
            case several:
                raise self._unclear(f"{_cut(wanted)} may mean {len(several)} certificates {where}", several)

    def _declared(self, name: str) -> LiveCertificate:
        if name not in self._instances:
            raise UsageError(f"what {name}.yaml declares is not understood", "run `reconciler validate`")
        live = self._store.by_fingerprint.get(self._instances[name] or "")
        if live is None:
            raise self._unclear(
                f"the certificate that is declared as {name} is not in the store of {self._appliance}",
                self._store.certificates,
            )
        return live

    def _unclear(self, message: str, rows: Iterable[LiveCertificate]) -> UsageError:
        names = {instance: name for name, instance in self._instances.items()}
        lines = [f"{message}; name one of these, by its first digits if need be:"]
        for each in sorted(rows, key=lambda row: (row.friendly_name.casefold(), row.fingerprint)):
            declared = f", declared as {names[each.fingerprint]}" if each.fingerprint in names else ""
            key = "" if each.has_key else ", without a key"
            lines.append(f"  {each.fingerprint[:_SHOWN]}  {_cut(each.friendly_name)}{declared}{key}")
        return UsageError("\n".join(lines))


def _cut(text: str) -> str:
    """A name that somebody else chose, on one line and of some length."""
    shown = printable(text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def _checked(live: LiveCertificate, file: ExportedFile, options: ExportOptions) -> Export:
    """What came, once it is known to be what was asked for.

    Raises:
        StoreUnrecognised: It is not.
    """
    certificate, contents = live.certificate, _read(file, options)
    others = [each for each in contents.certificates if each != certificate]
    problem = _problem(live, file, contents, options)
    if problem:
        raise _something_else(problem)
    missing = ChainBuilder(contents.certificates).chains(certificate)[0].missing if options.chain else None
    return Export(
        live,
        file,
        has_certificate=certificate in contents.certificates,
        has_key=bool(contents.keys),
        issuers=len(others),
        missing=_cut(missing.display) if missing else "",
    )


def _read(file: ExportedFile, options: ExportOptions) -> Contents:
    try:
        return read(file.content, options.passphrase)
    except WrongPassphrase:
        raise _something_else("it does not open with the passphrase that was given") from None
    except FormatError as error:
        raise _something_else(error.message) from error


def _problem(live: LiveCertificate, file: ExportedFile, contents: Contents, options: ExportOptions) -> str:
    """What is wrong with it, or nothing."""
    certificate = live.certificate
    known = {certificate} | needed_issuers([certificate], contents.certificates)
    if options.certificate and certificate not in contents.certificates:
        return "the certificate is not in it"
    if not known.issuperset(contents.certificates):
        return "there are certificates in it that are not of its chain"
    if not options.private_key:
        return "there is a private key in it" if contents.keys else ""
    if [each.public_key for each in contents.keys] != [certificate.public_key]:
        return "the private key of the certificate is not in it"
    return "the private key in it is not encrypted" if holds_clear_key(file.content) else ""


def _something_else(problem: str) -> StoreUnrecognised:
    return StoreUnrecognised(
        f"what the store hands out is not what was asked for, and it is not kept: {problem}", "export it by hand"
    )
