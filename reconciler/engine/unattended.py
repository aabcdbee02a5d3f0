"""What may happen while nobody watches: the part of the operator settings that `reconciler watch` goes by.

It is the operator's to say, not the reviewed tree's: whoever may propose a change must not be able to have it applied.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from reconciler.base.references import Duration, Model, PlacePath, SecretReference
from reconciler.desired.models import Endpoint, Moment

Mode: TypeAlias = Literal["observe", "plan", "apply"]
"""What the loop may do with an appliance: tell whether it is in sync; tell what would be done as well; do it."""


def _at_most_plan(mode: Mode) -> Mode:
    return "plan" if mode == "apply" else mode


class Suspension(Model):
    """A pause: it is observed, and nothing is applied."""

    reason: Annotated[str, Field(min_length=1)]
    """Why."""
    until: Moment
    """Until when, as a date or an instant; a pause without an end is forgotten."""


class Treatment(Model):
    """What the loop may do with a site or an appliance, where that is not what it may do with the rest."""

    mode: Mode | None = None
    """What it may do: observe, plan or apply."""
    suspended: Suspension | None = None
    """A pause."""

    def telling_only(self) -> Treatment:
        """The same, but nothing is applied."""
        return self.model_copy(update={"mode": self.mode and _at_most_plan(self.mode)})


class Follow(Model):
    """A branch of a remote that is followed, in place of the files as they lie in the folder."""

    branch: Annotated[str, Field(min_length=1)]
    """The branch."""
    remote: str = "origin"
    """The remote of the clone in which the desired state lies."""
    every: Duration = dt.timedelta(minutes=1)
    """How often it is asked for new commits, about."""


class Unattended(Model):
    """What `reconciler watch` may do."""

    mode: Mode = "plan"
    """What it may do with every appliance, unless its site or it has its own: observe, plan (report only) or apply."""
    sites: Mapping[str, Treatment] = {}
    """By site."""
    appliances: Mapping[str, Treatment] = {}
    """By appliance; it goes before its site's."""
    follow: Follow | None = None
    """The branch to follow; without one, the files as they lie in the folder."""
    resync: Duration = dt.timedelta(minutes=10)
    """How often every appliance is looked at, about, whatever else happens."""
    listen: Endpoint = "127.0.0.1:9464"
    """Where health, metrics and the status page are served: an address of this machine's loopback, and a port."""
    webhook: SecretReference | None = None
    """Where the URL is found to which changes of sync, of health and of the source are posted, and each apply."""
    state: PlacePath | None = None
    """Folder where what it knows is kept, relative to this file; else beside the journals."""

    def mode_of(self, appliance: str, site: str | None) -> Mode:
        """What it may do with an appliance of a site, or of none."""
        return next((each.mode for each in self._treatments(appliance, site) if each.mode), self.mode)

    def suspension_of(self, appliance: str, site: str | None, now: dt.datetime) -> Suspension | None:
        """The pause that an appliance takes at an instant: its own, or else its site's."""
        pauses = (each.suspended for each in self._treatments(appliance, site))
        return next((each for each in pauses if each and now < each.until), None)

    def strangers(self, sites: Collection[str], appliances: Collection[str]) -> tuple[str, ...]:
        """What of `sites` and `appliances` is not among those that are declared, as `sites.acces`, `appliances.lab`."""
        unknown = (("sites", self.sites.keys() - sites), ("appliances", self.appliances.keys() - appliances))
        return tuple(f"{kind}.{name}" for kind, names in unknown for name in sorted(names))

    def restrains(self, stranger: str, now: dt.datetime) -> bool:
        """Whether what is said of a stranger would keep something from being applied."""
        kind, _, name = stranger.partition(".")
        treatment = (self.sites if kind == "sites" else self.appliances)[name]
        paused = treatment.suspended is not None and now < treatment.suspended.until
        return paused or (treatment.mode is not None and treatment.mode != "apply")

    def telling_only(self) -> Unattended:
        """The same, but nothing is applied to anything."""
        return self.model_copy(
            update={
                "mode": _at_most_plan(self.mode),
                "sites": {name: each.telling_only() for name, each in self.sites.items()},
                "appliances": {name: each.telling_only() for name, each in self.appliances.items()},
            }
        )

    def _treatments(self, appliance: str, site: str | None) -> tuple[Treatment, ...]:
        """What is said of it, the most particular first."""
        own, shared = self.appliances.get(appliance), self.sites.get(site or "")
        return tuple(each for each in (own, shared) if each)
