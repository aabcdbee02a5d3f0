"""Operator settings: what is decided by whoever runs the reconciler, not by whoever may propose a change.

They name the hosts that may be contacted and the commands that may be run, so they are no part of the reviewed tree: a
pull request could otherwise send a password to its author's host, or run a command.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, create_model

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.base.references import Model, PlacePath, StoreConfiguration
from reconciler.desired.compose import compose
from reconciler.desired.explain import explain
from reconciler.desired.hints import Hints
from reconciler.desired.load import store_options
from reconciler.desired.models import Endpoint, HostAndPort
from reconciler.desired.nodes import Document, Scalar, plain
from reconciler.desired.tree import LIMITS
from reconciler.engine.unattended import Unattended
from reconciler.live.driver import driver_types
from reconciler.live.network import HTTPS, Network, endpoint

VARIABLE = "RECONCILER_OPERATOR"
"""Environment variable that names the file."""
KNOWN_APPLIANCES = "known-appliances"
"""The file beside the operator settings in which certificates are remembered that appliances made for themselves."""


class OperatorSettings(Model):
    """Operator settings: hosts, reload commands and limits. Kept outside the desired state."""

    hosts: tuple[HostAndPort, ...] = ()
    """Hosts that may be contacted, by name or address; `host:port` for a port other than 443. No other is."""
    connect: Mapping[Endpoint, Endpoint] = {}
    """Where an endpoint is reached instead, both as host:port: through a tunnel, or in the lab."""
    # Narrowed to the options of the installed drivers; see `settings_model`.
    stores: Mapping[str, StoreConfiguration] = {}
    """A store to work on in place of the declared one, by appliance: a rehearsal."""
    reload: Mapping[str, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    """Command that reloads a directory store's TLS front end, by appliance: a list of words, run without a shell."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 16
    """Appliances that are worked on at once."""
    journal: PlacePath | None = None
    """Folder for the journals of applies, relative to this file; else beneath `XDG_STATE_HOME` or `~/.local/state`."""
    require_signed: PlacePath | None = None
    """Plan and apply only commits signed by whom this file allows: SSH allowed signers or an OpenPGP keyring."""
    watch: Unattended = Unattended()
    """What `reconciler watch` may do while nobody looks."""
    _file: Path | None = None

    @property
    def folder(self) -> Path | None:
        """The folder of the file that they were read from, where there is one."""
        return self._file.parent if self._file else None

    @property
    def network(self) -> Network:
        """What they say of the network. Certificates that appliances make are remembered beside the file."""
        known = self.folder / KNOWN_APPLIANCES if self.folder else None
        places = (each if _has_port(each) else endpoint(each, HTTPS) for each in self.hosts)
        return Network(frozenset(places), self.connect, known)


@cache
def settings_model() -> type[OperatorSettings]:
    """The model with the options of the installed drivers."""
    options = store_options([each.configuration for each in driver_types().values()])
    described = OperatorSettings.model_fields["stores"].description
    by_appliance = Mapping[str, options]  # type: ignore[valid-type]  # a type made at run time
    field: Any = (by_appliance, Field(default={}, description=described))
    return create_model("OperatorSettings", __base__=OperatorSettings, __doc__=OperatorSettings.__doc__, stores=field)


def _has_port(host: str) -> bool:
    """Whether it is `host:port`, and not the address of a host, which may hold colons as well."""
    return host.count(":") == 1 or "]:" in host


def load_settings(path: Path | None, environ: Mapping[str, str], desired_state: Path | None = None) -> OperatorSettings:
    """Read the operator settings; the defaults where no file is named.

    Args:
        path: The file, as `--operator` names it; where it is None, `RECONCILER_OPERATOR` may name it.
        environ: The environment.
        desired_state: Folder of the desired state, in which the file may not lie.

    Raises:
        UsageError: The file lies in the desired state, or what it says is not understood.
        UnreadableInput: The file cannot be read.
    """
    named = path or (Path(environ[VARIABLE]) if environ.get(VARIABLE) else None)
    if named is None:
        return OperatorSettings()
    if desired_state is not None and named.resolve().is_relative_to(desired_state.resolve()):
        remedy = "keep it outside, where a proposed change cannot reach it"
        raise UsageError(f"the operator settings {named} lie inside the desired state {desired_state}", remedy)
    return _parse(_read(named), str(named))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LIMITS.file_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise UnreadableInput(
            f"the operator settings {path} cannot be read: {reason}", f"check --operator and {VARIABLE}"
        ) from error
    if len(content) > LIMITS.file_bytes:
        raise UnreadableInput(f"the operator settings {path} are larger than {LIMITS.file_bytes} bytes", "shorten them")
    return content


def _parse(content: bytes, file: str) -> OperatorSettings:
    composed = compose(content)
    problems = [f"{file}:{flaw.line}:{flaw.column} {flaw.message} - {flaw.remedy}" for flaw in composed.flaws]
    root = composed.root
    if root is None:
        raise _refused(problems)
    empty = isinstance(root, Scalar) and root.value is None
    try:
        given = {} if empty else plain(root)
        place = os.path.abspath(file)  # noqa: PTH100 - links are kept as they were typed
        settings = settings_model().model_validate(given, context={"file": place})
    except ValidationError as error:
        told = explain(error, settings_model(), Document(file, file, root), Hints())
        problems += [f"{each.position} {each.message} - {each.remedy}" for each in told]
        # The original repeats what was written, which may be a secret in the wrong place.
        raise _refused(problems) from None
    if problems:
        raise _refused(problems)
    settings._file = Path(file)  # noqa: SLF001 - where they come from is known only here
    return settings


def _refused(problems: list[str]) -> UsageError:
    return UsageError("the operator settings are not understood:\n" + "\n".join(problems))
