"""Fleets as the loop may know them: the example's seven appliances or hundreds, all well or with every trouble."""

from __future__ import annotations

import datetime as dt
import hashlib

from reconciler.watch.board import Board, Figures
from reconciler.watch.model import (
    Condition,
    ConditionType,
    Health,
    LastApply,
    Source,
    Sync,
    Truth,
    Upcoming,
    Watched,
    WatchedAppliance,
    WatchedCertificate,
)

NOW = dt.datetime(2026, 11, 28, 12, 0, tzinfo=dt.UTC)
DAY, HOUR, MINUTE = dt.timedelta(days=1), dt.timedelta(hours=1), dt.timedelta(minutes=1)
HOSTILE = '</style><script>alert("1")</script>\u202e\n"\\ \x1b[31m{{ 7*7 }}'

_SITES = (("access", ("east-1", "west-1")), ("portal", ("hub-1", "node-1", "node-2", "node-3")), (None, ("trial-1",)))


def source(**changed: object) -> Source:
    told = Source(
        place="https://git.example.com/fleet.git main",
        revision="4f2a9c71d05be83a6c1d2f90b7e48a35c6d1f0e2",
        digest="ab" * 32,
        since=NOW - 3 * DAY,
        signed_by=("Ada Lovelace <ada@example.com>",),
    )
    return told.model_copy(update=changed)


def certificate(label: str, days: float, *, name: str | None = None, renew: float | None = 30) -> WatchedCertificate:
    end = NOW + days * DAY
    return WatchedCertificate(
        label=label,
        certificate=name,
        fingerprint=hashlib.sha256(f"{label}{days}".encode()).hexdigest(),
        expiration=end,
        renewal=end - renew * DAY if name and renew is not None else None,
    )


def conditions(**said: tuple[Truth, str, dt.timedelta]) -> tuple[Condition, ...]:
    """All conditions: true for a month, but for those that are said, by name: status, message, for how long."""
    return tuple(
        Condition(type=each, status=status, reason="Reason", message=message, since=NOW - lasting)
        for each in ConditionType
        for status, message, lasting in [said.get(each.name.lower(), (Truth.TRUE, "", 30 * DAY))]
    )


def appliance(name: str, site: str | None = "access", **changed: object) -> WatchedAppliance:
    """One that is in step, and holds its site's certificate."""
    label = f"{site or name}.example.com"
    days = 47 + int(hashlib.sha256(label.encode()).hexdigest(), 16) % 300
    held = certificate(label, days, name=site or name)
    known = WatchedAppliance(
        name=name,
        site=site,
        mode="apply",
        sync=Sync.SYNCED,
        health=Health.HEALTHY,
        conditions=conditions(),
        observed_at=NOW - 3 * MINUTE,
        looked_at=NOW - 3 * MINUTE,
        next_look=NOW + 7 * MINUTE,
        certificates=(held,),
        upcoming=(Upcoming(at=held.expiration - 30 * DAY, what=f"{label} is due for renewal"),),
    )
    return known.model_copy(update=changed)


def needing(name: str, site: str | None = "access") -> WatchedAppliance:
    """One that cannot be reached."""
    told = f"{name}.example.com:443 cannot be reached: connection refused - is it running, and is the port open?"
    return appliance(
        name,
        site,
        sync=Sync.UNKNOWN,
        health=Health.DEGRADED,
        failures=4,
        observed_at=NOW - 3 * HOUR,
        conditions=conditions(
            observed=(Truth.FALSE, told, 3 * HOUR),
            in_sync=(Truth.UNKNOWN, "it could not be observed", 3 * HOUR),
        ),
    )


def failing(name: str, site: str | None = "access") -> WatchedAppliance:
    """One on which an apply has failed."""
    told = "the appliance refused the file: the passphrase is wrong - commit the file again with the right one"
    return appliance(
        name,
        site,
        sync=Sync.OUT_OF_SYNC,
        health=Health.DEGRADED,
        ready=1,
        failures=2,
        conditions=conditions(applied=(Truth.FALSE, told, 40 * MINUTE), in_sync=(Truth.FALSE, "1 to import", 2 * HOUR)),
        last_apply=LastApply(
            at=NOW - 40 * MINUTE, journal="20261128T112000Z-4f2a", outcome="failed", done=2, message=told
        ),
    )


def broken(name: str, site: str | None = "portal") -> WatchedAppliance:
    """One that has errors."""
    error = (
        "sites/portal.yaml:7:3 error default-not-listed: the default `portal` is not among the certificates"
        " - list it beneath `certificates`"
    )
    return appliance(
        name,
        site,
        sync=Sync.UNKNOWN,
        health=Health.DEGRADED,
        errors=(error,),
        conditions=conditions(
            valid=(Truth.FALSE, error, 26 * HOUR), in_sync=(Truth.UNKNOWN, "errors keep it from being planned", HOUR)
        ),
    )


def waiting(name: str, site: str | None = "portal") -> WatchedAppliance:
    """One that waits for a CA."""
    return appliance(
        name,
        site,
        sync=Sync.OUT_OF_SYNC,
        health=Health.PROGRESSING,
        waiting=1,
        held=1,
        conditions=conditions(in_sync=(Truth.FALSE, "1 held, 1 waiting", 5 * HOUR)),
    )


def reported(name: str, site: str | None = "portal") -> WatchedAppliance:
    """One that differs, and to which nothing may be applied from here."""
    return appliance(
        name,
        site,
        mode="plan",
        sync=Sync.OUT_OF_SYNC,
        ready=2,
        conditions=conditions(in_sync=(Truth.FALSE, "1 to import, 1 default to set", 90 * MINUTE)),
    )


def suspended(name: str, site: str | None = None) -> WatchedAppliance:
    """One that takes a pause."""
    return appliance(
        name,
        site,
        health=Health.SUSPENDED,
        suspended="moved to another rack, until 2026-12-01 08:00:00 UTC",
        upcoming=(Upcoming(at=NOW + 2 * DAY, what="the suspension ends"),),
    )


def unseen(name: str, site: str | None = "access") -> WatchedAppliance:
    """One that nobody has looked at yet."""
    return WatchedAppliance(name=name, site=site, mode="apply")


def watched(*appliances: WatchedAppliance, **changed: object) -> Watched:
    known = Watched(started_at=NOW - 9 * DAY, at=NOW - 3 * MINUTE, source=source(), appliances=appliances)
    return known.model_copy(update=changed)


def all_well() -> Watched:
    """The example fleet, in step."""
    applied = LastApply(at=NOW - 2 * DAY, journal="20261126T120000Z-91be", outcome="applied", done=3)
    return watched(
        *(
            appliance(name, site, last_apply=applied if site == "access" else None)
            for site, names in _SITES
            for name in names
        )
    )


def troubled() -> Watched:
    """The example fleet, with one of each trouble."""
    soon = (certificate("portal.example.com", 9, name="portal"), certificate("old.example.com", 3, name="portal"))
    held = (soon[0], soon[1].model_copy(update={"renewal": None}), certificate("by-hand.example.com", -2))
    return watched(
        needing("east-1"),
        failing("west-1"),
        broken("hub-1"),
        waiting("node-1").model_copy(update={"certificates": held}),
        reported("node-2"),
        appliance("node-3", "portal"),
        suspended("trial-1"),
        source=source(
            refused="9c3e1f5582a7b0de",
            problem="nobody who is allowed to has signed it - sign it, or revert it",
            problem_since=NOW - 20 * MINUTE,
        ),
    )


def many(number: int, *troubles: WatchedAppliance) -> Watched:
    """A large fleet in sites of three, in step but for these."""
    rest = (appliance(f"node-{index:03}", f"region-{index // 3:02}") for index in range(number - len(troubles)))
    return watched(*troubles, *rest)


def board(known: Watched, figures: Figures | None = None) -> Board:
    """A board of a loop that is alive and ready."""
    shown = Board(known, figures)
    shown.alive_at, shown.ready = NOW, True
    return shown
