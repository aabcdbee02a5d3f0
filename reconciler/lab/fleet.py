"""A lab for a whole desired state: an appliance for each declared one, and the files that lead the reconciler to them.

The declared stores are not touched: each appliance gets a store beneath the lab's own folder. The operator settings
that are written put these in the place of the declared ones, so that the very plan can be rehearsed.
"""

from __future__ import annotations

import io
import secrets
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ruamel.yaml import YAML

from reconciler.base.errors import UnreadableInput, UsageError
from reconciler.engine.load import load_desired
from reconciler.engine.operator import KNOWN_APPLIANCES, VARIABLE
from reconciler.lab.appliance import LabAppliance
from reconciler.lab.server import HOST
from reconciler.lab.sessions import Account
from reconciler.live.store import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.base.clock import Clock
    from reconciler.desired.models import Appliance
    from reconciler.lab.tls import TieBreak

USERNAME, PASSWORD = "LAB_USERNAME", "LAB_PASSWORD"
_HTTPS = 443


@dataclass(frozen=True)
class Member:
    """An appliance of a lab, and where the reconciler believes it to be.

    Attributes:
        appliance: The simulated appliance.
        url: Address of its interface, as declared or as its host name has it.
        endpoints: `host:port` of everything that is to lead to it, that of the interface first.
    """

    appliance: LabAppliance
    url: str
    endpoints: tuple[str, ...]


@dataclass(frozen=True)
class Lab:
    """Simulated appliances for a desired state.

    Attributes:
        folder: Where everything of it lies.
        account: Who may sign in to each of them.
        members: Its appliances, by name.
    """

    folder: Path
    account: Account
    members: tuple[Member, ...]

    @property
    def appliances(self) -> tuple[LabAppliance, ...]:
        """Its appliances."""
        return tuple(each.appliance for each in self.members)

    @property
    def environment(self) -> Path:
        """The file to source in a shell that is to work on the lab."""
        return self.folder / "environment"

    def write_files(self) -> None:
        """Write the operator settings, the known appliances and the environment, once the appliances have ports.

        Raises:
            UnreadableInput: They cannot be written.
        """
        operator = self.folder / "operator.yaml"
        lines = {VARIABLE: str(operator), USERNAME: self.account.username, PASSWORD: self.account.password}
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in lines.items())
        try:
            operator.write_text(self._settings(), encoding="utf-8")
            self._write_known()
            self.environment.touch(mode=0o600)
            self.environment.chmod(0o600)
            self.environment.write_text(exports, encoding="utf-8")
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def _settings(self) -> str:
        hosts = {endpoint for each in self.members for endpoint in each.endpoints}
        settings = {
            "journal": "journal",
            "hosts": sorted(hosts),
            "connect": {
                endpoint: f"{HOST}:{each.appliance.port}" for each in self.members for endpoint in each.endpoints
            },
            "stores": {
                each.appliance.name: {
                    "driver": "web",
                    "url": each.url,
                    "username": {"env": USERNAME},
                    "password": {"env": PASSWORD},
                }
                for each in self.members
            },
        }
        yaml, text = YAML(), io.StringIO("# Written by `reconciler lab`: every appliance is a simulated one.\n")
        text.seek(0, io.SEEK_END)
        yaml.default_flow_style = False
        yaml.dump(settings, text)
        return text.getvalue()

    def _write_known(self) -> None:
        """Add the factory certificates to the known appliances. What the reconciler has added to them stays."""
        path = self.folder / KNOWN_APPLIANCES
        told = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = ["" if told else "# Certificates of simulated appliances, made under our eyes\n"]
        lines += [f"{each.endpoints[0]} {_factory(each.appliance)}\n" for each in self.members]
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(line for line in lines if line not in told))


def make_lab(
    desired_state: Path,
    folder: Path,
    *,
    variant: str,
    tie_break: TieBreak,
    clock: Clock,
    account: Account | None = None,
) -> Lab:
    """Make an appliance for each declared one, on a store beneath a folder; a store that is there already is kept.

    Args:
        desired_state: Folder of the desired state. Its declared stores are left alone.
        folder: Where the lab is made; it need not exist.
        variant: Which pages the appliances show.
        tie_break: What their TLS serves where several certificates match.
        clock: What the time is on them.
        account: Who may sign in; None for `admin` with a new password.

    Raises:
        UnreadableInput: The desired state or the folder cannot be used.
        UsageError: It declares no appliances, or there is no such variant.
        StoreError: A store cannot be made.
    """
    declared = load_desired(desired_state).appliances
    if not declared:
        raise UsageError(f"{desired_state} declares no appliances that can be played", "see `reconciler validate`")
    if folder.resolve().is_relative_to(desired_state.resolve()):
        raise UsageError(
            f"the folder {folder} lies inside the desired state", "name one outside: a lab holds keys and a password"
        )
    account = account or Account(password=secrets.token_urlsafe(12))
    root = folder.resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not any(root.iterdir()):  # a folder that holds anything else is not ours to hide
            (root / ".gitignore").write_text("*\n", encoding="utf-8")
        (root / "stores").mkdir(exist_ok=True)
    except OSError as error:
        raise _unwritable(root, error) from error
    members = []
    for name in sorted(declared):
        model = declared[name].model
        appliance = LabAppliance(
            name,
            root / "stores" / name,
            hostname=model.hostname,
            platform=model.platform,
            account=account,
            variant=variant,
            tie_break=tie_break,
            clock=clock,
        )
        appliance.make_store()
        url = _url(model)
        members.append(Member(appliance, url, tuple(dict.fromkeys((_endpoint_of(url), _endpoint(model))))))
    return Lab(root, account, tuple(members))


def _url(model: Appliance) -> str:
    declared = getattr(model.store, "url", None) if model.store.driver == "web" else None
    return declared or f"https://{model.hostname}/appliance"


def _endpoint_of(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or _HTTPS}"


def _endpoint(model: Appliance) -> str:
    return model.endpoint or f"{model.hostname}:{_HTTPS}"


def _factory(appliance: LabAppliance) -> str:
    """Fingerprint of the factory certificate, which no appliance loses."""
    certificates = appliance.store.observe().certificates
    return next(each.fingerprint for each in certificates if each.origin is Origin.FACTORY)


def _unwritable(folder: Path, error: OSError) -> UnreadableInput:
    return UnreadableInput(f"the lab's folder {folder} cannot be used: {error.strerror}", "name another with --folder")
