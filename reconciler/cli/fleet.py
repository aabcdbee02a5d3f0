"""What `plan`, `apply` and `status` begin with: operator settings, the desired state, and which part of the fleet."""

from __future__ import annotations

import difflib
import os
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.base.errors import UsageError
from reconciler.base.findings import Severity
from reconciler.base.text import printable
from reconciler.cli.exits import Exit
from reconciler.cli.output import progress

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Sequence

    from reconciler.cli.session import Session
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings
    from reconciler.engine.run import Planned


@dataclass(frozen=True)
class Scope:
    """What a command works on.

    Attributes:
        state: The desired state.
        settings: The operator settings.
        only: The appliances that were asked for; None for all.
    """

    state: DesiredState
    settings: OperatorSettings
    only: frozenset[str] | None

    def plan(self, *, at: dt.datetime | None = None, allow_removals: int | None = None) -> Planned:
        """Observe and plan what was asked for."""
        return self._planned("planning", self.only, at, allow_removals)

    def look(self) -> Planned:
        """Observe, and say what is known of the appliances that were asked for.

        What is due on one depends on the others of its site, so these are planned too, and left out again.
        """
        if self.only is None:
            return self._planned("observing", None)
        members = frozenset(each for name in self.only for each in self.state.members_with(name))
        planned = self._planned("observing", members)
        parts = tuple(each for each in planned.plan.appliances if each.name in self.only)
        failures = {name: error for name, error in planned.observation.failures.items() if name in self.only}
        observation = replace(planned.observation, failures=failures)
        return replace(planned, plan=planned.plan.model_copy(update={"appliances": parts}), observation=observation)

    def _planned(
        self,
        doing: str,
        only: frozenset[str] | None,
        at: dt.datetime | None = None,
        allow_removals: int | None = None,
    ) -> Planned:
        import anyio

        from reconciler.base.clock import system_clock
        from reconciler.engine.run import plan_fleet

        with progress(doing) as notify:
            make = partial(plan_fleet, at=at, only=only, allow_removals=allow_removals, notify=notify)
            return anyio.run(make, self.state, self.settings, system_clock)


def open_scope(
    session: Session,
    desired_state: Path,
    revision: str | None,
    appliances: Sequence[str] | None,
    sites: Sequence[str] | None,
) -> Scope:
    """Read what a command works on.

    Raises:
        UsageError: A name is not known, or the operator settings are not understood.
        UnreadableInput: Something cannot be read at all.
    """
    from reconciler.engine.operator import load_settings

    settings = load_settings(session.operator, os.environ, desired_state)
    return _scope(settings, desired_state, revision, appliances, sites)


def open_signed_scope(
    session: Session,
    desired_state: Path,
    revision: str | None,
    appliances: Sequence[str] | None,
    sites: Sequence[str] | None,
    require_signed: Path | None,
) -> Scope:
    """Read what a command works on that plans changes: where signatures are required, from the commit that is signed.

    They are required by the operator settings, by the option, or by both: then both have to allow the commit.

    Raises:
        NotSigned: Nobody who is allowed to has signed it.
        UsageError: As `open_scope`, and what says who may sign is not understood.
        UnreadableInput: Something cannot be read at all.
    """
    from reconciler.engine.load import signed_commit
    from reconciler.engine.operator import load_settings

    settings = load_settings(session.operator, os.environ, desired_state)
    asked = Path(settings.require_signed) if settings.require_signed is not None else None
    signers = [each for each in (asked, require_signed) if each is not None]
    if signers:
        signatures = signed_commit(desired_state, revision, signers)
        revision = signatures[0].commit
        for each in dict.fromkeys(signatures):
            told = f"reconciler: commit {each.commit[:12]} is signed by {each.signer} ({each.key})"
            sys.stderr.write(printable(told) + "\n")
    return _scope(settings, desired_state, revision, appliances, sites)


def _scope(
    settings: OperatorSettings,
    desired_state: Path,
    revision: str | None,
    appliances: Sequence[str] | None,
    sites: Sequence[str] | None,
) -> Scope:
    from reconciler.engine.load import has_uncommitted, load_desired

    state = load_desired(desired_state, revision)
    if revision == "HEAD" and has_uncommitted(desired_state):
        told = f"reconciler: {desired_state} has changes that are not committed: HEAD has not"
        sys.stderr.write(printable(told) + "\n")
    return Scope(state, settings, _only(state, appliances or (), sites or ()))


def _only(state: DesiredState, appliances: Sequence[str], sites: Sequence[str]) -> frozenset[str] | None:
    for kind, asked, known in (("appliance", appliances, state.appliances), ("site", sites, state.sites)):
        for name in asked:
            if name not in known:
                raise UsageError(f"no {kind} of the desired state is called {name}", _did_you_mean(name, known))
    if not appliances and not sites:
        return None
    of_sites = (name for name in state.appliances if (site := state.site_of(name)) and site.name in sites)
    return frozenset((*appliances, *of_sites))


def _did_you_mean(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else "the names are those of the files"


def exits_of(planned: Planned) -> tuple[Exit, ...]:
    """What a plan tells the shell apart from its actions: could all be observed, is a rule broken."""
    unseen = (Exit.COULD_NOT,) if planned.observation.failures else ()
    errors = any(finding.severity is Severity.ERROR for finding in planned.plan.all_findings)
    return (*unseen, *((Exit.FINDINGS,) if errors else ()))
