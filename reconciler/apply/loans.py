"""Keys on their way from one appliance to another: exported under a one-time passphrase, and kept in memory only."""

from __future__ import annotations

import secrets
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from reconciler.base.errors import ActionRefused, FormatError, ReconcilerError
from reconciler.live.driver import ExportOptions
from reconciler.pki.reading import read
from reconciler.plan.model import CreateSelfSigned, Import, Loan, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.live.driver import Driver
    from reconciler.pki.certificate import Certificate
    from reconciler.pki.keys import PrivateKey
    from reconciler.plan.model import Plan

_Place: TypeAlias = tuple[str, str]
"""An appliance, and a certificate there as the plan calls it."""


@dataclass(frozen=True, slots=True)
class Lent:
    """What an appliance has lent.

    Attributes:
        certificate: The certificate that was exported.
        key: Its key.
    """

    certificate: Certificate
    key: PrivateKey = field(repr=False)


class Loans:
    """What the imports of a plan borrow: what can be had at once, and what another action brings first."""

    def __init__(self, plan: Plan) -> None:
        ready = [action for action in plan.actions if action.state is State.READY]
        brought = {(each.appliance, each.fingerprint) for each in ready if isinstance(each, Import)}
        brought |= {(each.appliance, each.new) for each in ready if isinstance(each, CreateSelfSigned)}
        loans = (each.loan for each in ready if isinstance(each, Import) and each.loan)
        wanted = dict.fromkeys((loan.appliance, loan.certificate) for loan in loans)
        self._later = {place for place in wanted if place in brought}
        self._lent: dict[_Place, Lent | ReconcilerError] = {}
        at_once: dict[str, list[str]] = defaultdict(list)
        for appliance, certificate in wanted:
            if (appliance, certificate) not in self._later:
                at_once[appliance].append(certificate)
        self.at_once: Mapping[str, list[str]] = at_once
        """Certificates to borrow before anything changes, by appliance."""

    def is_awaited(self, appliance: str, ref: str) -> bool:
        """Whether somebody borrows what an action has just brought."""
        return (appliance, ref) in self._later

    async def fetch(self, driver: Driver, appliance: str, ref: str, fingerprint: str) -> None:
        """Export a certificate with its key. What goes wrong is told to those who borrow."""
        try:
            self._lent[appliance, ref] = await _export(driver, fingerprint)
        except ReconcilerError as error:
            self.fail(appliance, ref, error)

    def fail(self, appliance: str, ref: str, error: ReconcilerError) -> None:
        """Note why something cannot be borrowed."""
        self._lent[appliance, ref] = error

    def get(self, loan: Loan) -> Lent:
        """What was lent.

        Raises:
            ActionRefused: It could not be exported.
        """
        lent = self._lent.get((loan.appliance, loan.certificate))
        if isinstance(lent, Lent):
            return lent
        why = lent.message if lent else "nothing was exported"
        remedy = lent.remedy if lent else "apply again"
        raise ActionRefused(f"its key could not be copied from {loan.appliance}: {why}", remedy)


async def _export(driver: Driver, fingerprint: str) -> Lent:
    passphrase = secrets.token_urlsafe(32).encode()
    options = ExportOptions(certificate=True, private_key=True, passphrase=passphrase)
    exported = await driver.export(fingerprint, options)
    contents = read(exported.content, passphrase)
    certificate = next((each for each in contents.certificates if each.fingerprint == fingerprint), None)
    key = contents.key_of(certificate) if certificate else None
    if certificate is None or key is None:
        raise FormatError("what it exported is not the certificate with its key", "look at its Export page")
    return Lent(certificate, key)
