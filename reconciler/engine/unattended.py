"""What may happen while nobody watches: the part of the operator settings that `reconciler watch` goes by.

It is the operator's to say, not the reviewed tree's: whoever may propose a change must not be able to have it applied.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from reconciler.base.references import Duration, Model, PlacePath, SecretReference
from reconciler.desired.models import Endpoint, Moment

Mode: TypeAlias = Literal["observe", "plan", "apply"]
"""What the loop may do with an appliance: tell whether it is in sync; tell what would be done as well; do it."""


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
    """Where the URL is found to which each change of an appliance's sync or health is posted."""
    state: PlacePath | None = None
    """Folder where what it knows is kept, relative to this file; else beside the journals."""

    def mode_of(self, appliance: str, site: str | None) -> Mode:
        """What it may do with an appliance of a site, or of none."""
        return next((each.mode for each in self._treatments(appliance, site) if each.mode), self.mode)

    def suspension_of(self, appliance: str, site: str | None, now: dt.datetime) -> Suspension | None:
        """The pause that an appliance takes at an instant: its own, or else its site's."""
        pauses = (each.suspended for each in self._treatments(appliance, site))
        return next((each for each in pauses if each and now < each.until), None)

    def _treatments(self, appliance: str, site: str | None) -> tuple[Treatment, ...]:
        """What is said of it, the most particular first."""
        own, shared = self.appliances.get(appliance), self.sites.get(site or "")
        return tuple(each for each in (own, shared) if each)
