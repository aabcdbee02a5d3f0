"""A desired state that is in force, with what is known of it without asking an appliance. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.base.findings import Kind
from reconciler.desired.models import Provided
from reconciler.rules.validity import EXPIRED, EXPIRES_SOON
from reconciler.watch.concerned import by_appliance, errors_of, together
from reconciler.watch.seen import Seen

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from reconciler.base.findings import Finding
    from reconciler.desired.state import DesiredState
    from reconciler.engine.run import Checked
    from reconciler.engine.unattended import Mode, Unattended


@dataclass(frozen=True)
class InForce:
    """A desired state that is in force, and what is known of it without asking an appliance.

    Attributes:
        state: The desired state.
        checked: What the rules say of it.
        errors: Errors among that, by appliance.
        groups: The appliances that belong together.
        watch: What the loop may do with them.
        warnings: What is odd about the operator settings beside it, a sentence each.
        due: What is told of certificates that only a person can renew and that are due for it, by appliance.
    """

    state: DesiredState
    checked: Checked
    errors: Mapping[str, tuple[Finding, ...]]
    groups: tuple[frozenset[str], ...]
    watch: Unattended
    warnings: tuple[str, ...] = ()
    due: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """The appliances, and those whose own file is broken."""
        return frozenset(self.state.appliances) | self.errors.keys()

    def site_of(self, name: str) -> str | None:
        """The site of an appliance, where it has one."""
        site = self.state.site_of(name)
        return site.name if site else None

    def is_stopped(self, name: str) -> bool:
        """Whether an error keeps an appliance, or one of its certificates, from being planned."""
        stopped = self.checked.stopped
        return (
            name not in self.state.appliances
            or name in stopped.appliances
            or not stopped.certificates.isdisjoint(self.state.certificates_of(name))
        )

    def undeclared(self, name: str, now: dt.datetime, mode: Mode) -> Seen:
        """What there is to say of an appliance whose own file is broken: why."""
        return Seen(at=now, state=self.state, mode=mode, errors=self.errors.get(name, ()), stopped=True)


def restated(old: InForce, new: InForce) -> frozenset[str]:
    """The appliances of which rules say something else than before."""
    told = old.errors.keys() | new.errors.keys()
    differing = {name for name in told if old.errors.get(name) != new.errors.get(name)}
    return frozenset(differing | (old.checked.stopped.appliances ^ new.checked.stopped.appliances))


def in_force(state: DesiredState, checked: Checked, watch: Unattended) -> InForce:
    """A desired state, as it is put in force.

    Where the operator settings restrain what is not declared, nothing is applied at all: a site or an appliance may
    have been renamed by whoever was to be kept from having it changed, or the settings may be mistyped.

    Args:
        state: The desired state.
        checked: What the rules say of it.
        watch: What the loop may do, as the operator settings say.
    """
    errors = errors_of(state, checked.accepted)
    # A file that is broken declares something all the same.
    broken = {each.about.name for each in checked.accepted if each.about and each.about.kind is Kind.SITE}
    strangers = watch.strangers(state.sites.keys() | broken, state.appliances.keys() | errors.keys())
    restraining = [each for each in strangers if watch.restrains(each, checked.at)]
    warnings = tuple(
        f"`{each}` beneath `watch` in the operator settings is not declared"
        + ("; nothing is applied to anything until it is, or is taken out" if each in restraining else "")
        for each in strangers
    )
    watch = watch.telling_only() if restraining else watch
    due = by_appliance(state, (each for each in checked.accepted if _is_due(state, each)))
    return InForce(state, checked, errors, together(state), watch, warnings, due)


def _is_due(state: DesiredState, finding: Finding) -> bool:
    about = finding.about
    if finding.rule not in {EXPIRES_SOON.id, EXPIRED.id} or about is None or about.name not in state.certificates:
        return False
    # What a CA is asked for is asked for in time, and told as waiting.
    return isinstance(state.certificates[about.name].model.source, Provided)
