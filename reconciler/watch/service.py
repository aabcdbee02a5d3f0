"""The systemd unit of a loop: it may write where its work needs it to, and nowhere else (systemd.exec(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.base.errors import UsageError
from reconciler.base.text import printable
from reconciler.desired.revision import open_repository
from reconciler.engine.stores import Stores
from reconciler.live.directory import DirectoryConfiguration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from reconciler.base.clock import Clock
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings

UNIT = "reconciler-watch.service"
"""What the unit is called."""
SECRETS = "/etc/reconciler/secrets"
"""Where a service finds the variables that the files name as `{env: NAME}`."""
STATE = "/var/lib"
"""Where a service has its state, as `XDG_STATE_HOME`: systemd makes the folder `reconciler` in it."""
ROOT = "root"
"""Whom it had better not run as."""


@dataclass(frozen=True)
class Service:
    """What a unit says.

    Attributes:
        program: The program, absolute.
        desired_state: Folder of the desired state, absolute.
        operator: The operator settings, absolute; None for the defaults.
        user: Whom it runs as.
        writable: Places that it may write to, beside a folder of its own.
    """

    program: str
    desired_state: str
    operator: str | None
    user: str
    writable: tuple[str, ...]


def writable(path: Path, state: DesiredState, settings: OperatorSettings, clock: Clock) -> tuple[str, ...]:
    """The places that a loop writes to: stores, journals, what it knows, and the clone that it fetches into.

    Args:
        path: Folder of the desired state.
        state: The desired state.
        settings: Operator settings.
        clock: The time.

    Raises:
        UnreadableInput: A branch is to be followed, and the folder is in no clone.
    """
    return tuple(sorted({os.path.abspath(each) for each in _writable(path, state, settings, clock)}))  # noqa: PTH100


def _writable(path: Path, state: DesiredState, settings: OperatorSettings, clock: Clock) -> Iterator[str | Path]:
    stores = Stores(state, settings, clock)
    for name in state.appliances:
        configuration = stores.configuration(name)
        if isinstance(configuration, DirectoryConfiguration):
            yield path / configuration.path
        elif settings.network.known_appliances:
            # Replaced by a new file beside it, so the folder must be writable.
            yield settings.network.known_appliances.parent
    yield from filter(None, (settings.journal, settings.watch.state))
    if settings.watch.follow:
        with open_repository(path, "name a folder in a clone of the repository") as repository:
            yield str(repository.common_dir)


def unit_text(service: Service) -> str:
    """The unit.

    Raises:
        UsageError: A path has characters in it that a unit cannot hold.
    """
    operator = ("--operator", service.operator) if service.operator else ()
    command = _line((service.program, *operator, "watch", service.desired_state), dollars=True)
    return _UNIT.format(
        command=command,
        user=service.user,
        secrets=SECRETS,
        state=STATE,
        # Root without them may not read or write what belongs to others.
        capabilities="" if service.user == ROOT else "CapabilityBoundingSet=\nAmbientCapabilities=\n",
        writable="".join(f"ReadWritePaths={_line([f'-{each}'])}\n" for each in service.writable),
    )


def _line(words: Iterable[str], *, dollars: bool = False) -> str:
    return " ".join(_quoted(each, dollars=dollars) for each in words)


def _quoted(word: str, *, dollars: bool) -> str:
    """A word as systemd reads it back (systemd.syntax(7), and specifiers in systemd.unit(5))."""
    if not word.isprintable():
        raise UsageError(f"no unit can name {printable(word)}", "use a path without control characters")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    # Variables are put in on command lines alone.
    escaped = escaped.replace("$", "$$") if dollars else escaped
    return f'"{escaped}"'


_UNIT = """\
[Unit]
Description=Reconcile loop for the SSL certificates of BeyondTrust PRA appliances
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
User={user}
ExecReload=/bin/kill -HUP $MAINPID
# The secrets that files name as {{env: NAME}}, as lines NAME=VALUE; mode 0600, owned by root.
EnvironmentFile=-{secrets}
Environment=XDG_STATE_HOME={state}
Restart=on-failure
RestartSec=10s
WatchdogSec=5min

# An apply ends after the action in hand.
KillSignal=SIGTERM
KillMode=mixed
TimeoutStopSec=5min

# Journals and what it knows, unless the operator settings say where; and the places that it is there for: once a store
# in another directory is declared, or the settings name another place, this file has to be made anew.
StateDirectory=reconciler
StateDirectoryMode=0700
{writable}UMask=0077
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=true
PrivateDevices=true
NoNewPrivileges=true
{capabilities}ProtectKernelTunables=true
ProtectKernelModules=true
ProtectKernelLogs=true
ProtectControlGroups=true
ProtectClock=true
ProtectHostname=true
ProtectProc=invisible
LockPersonality=true
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
