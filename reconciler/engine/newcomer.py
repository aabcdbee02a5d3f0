"""An appliance that is not declared yet: the files that are to declare it, before anybody has looked what it holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.base.errors import UsageError
from reconciler.desired.adoption import appliance_text, directory_store, site_text, web_store
from reconciler.desired.beginning import variable
from reconciler.desired.models import NAME
from reconciler.desired.state import members
from reconciler.desired.writing import Append, Change, Put, scalar
from reconciler.engine.desk import Wish, has_schemas
from reconciler.engine.load import load_desired

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.desired.models import Site
    from reconciler.desired.state import Declared, DesiredState


@dataclass(frozen=True)
class Newcomer:
    """An appliance to declare.

    Attributes:
        name: What it is to be called.
        hostname: Its host name.
        platform: hardware, virtual or cloud.
        path: The directory that is its store, or None.
        url: The address of its web interface, or None.
        username: The environment variable that holds the user name there.
        password: The environment variable that holds the password.
        sha256: Fingerprints of certificates that the interface may present.
        ca: A root whose certificates the interface may present, or None.
        site: The site that it joins or that is made for it; None where it stands alone.
        site_hostname: The hostname of a site that is made.
    """

    name: str
    hostname: str
    platform: str = "virtual"
    path: Path | None = None
    url: str | None = None
    username: str | None = None
    password: str | None = None
    sha256: tuple[str, ...] = ()
    ca: bytes | None = None
    site: str | None = None
    site_hostname: str | None = None


def wish_for(root: Path, new: Newcomer) -> Wish:
    """What is to be adopted, with the files that declare it.

    Raises:
        UsageError: It cannot be declared like this.
        UnreadableInput: The desired state cannot be read.
    """
    for kind, name in (("appliance", new.name), ("site", new.site or "")):
        if name and not NAME.fullmatch(name):
            remedy = "use lower-case letters, digits, and dots, dashes and underscores between them"
            raise UsageError(f"'{name}' cannot be the name of a declared {kind}", remedy)
    state = load_desired(root)
    own = f"appliances/{new.name}.yaml"
    files: dict[str, bytes] = {}
    if new.ca is not None:
        files[f"certificates/{new.name}-trusted.pem"] = new.ca
    files[own] = appliance_text(new.hostname, new.platform, _store(root, new), schema=has_schemas(root)).encode()
    if new.site is None:
        return Wish((new.name,), files, places=frozenset({own}))
    path = f"sites/{new.site}.yaml"
    site = state.sites.get(new.site)
    if site is not None:
        return Wish((new.name,), files, {site.document.path: _joining(site, new.name)})
    if (root / path).exists():
        raise UsageError(f"{root / path} cannot be read as a site", f"see `reconciler validate {root}`")
    hostname = new.site_hostname or new.hostname
    files[path] = site_text(hostname, "single", [new.name], "", schema=has_schemas(root)).encode()
    return Wish((new.name,), files, places=frozenset({path}))


def _store(root: Path, new: Newcomer) -> list[str]:
    if new.path is not None:
        place = new.path
        folder = os.path.abspath(root / "appliances")  # noqa: PTH100 - links are kept as they were typed
        return directory_store(str(place) if place.is_absolute() else os.path.relpath(place, folder))
    assert new.url is not None  # noqa: S101 - the command line sees to it that there is one or the other
    return web_store(
        new.url,
        new.username or variable(new.name, "USERNAME"),
        new.password or variable(new.name, "PASSWORD"),
        sha256=new.sha256,
        ca=f"../certificates/{new.name}-trusted.pem" if new.ca is not None else "",
    )


def _joining(site: Declared[Site], name: str) -> tuple[Change, ...]:
    """How a site takes one more appliance in."""
    model = site.model
    if model.topology == "atlas":
        return (Append("traffic_nodes", (scalar(name),)),)
    if model.backup is not None:
        remedy = "make it an Atlas site by hand: `topology: atlas`, `traffic_nodes:` in the place of `backup`"
        raise UsageError(f"the site {site.name} has its two appliances", remedy)
    return (Put("topology", "topology: failover"), Put("backup", f"backup: {scalar(name)}", after="primary"))


def selected(state: DesiredState, names: tuple[str, ...], site: str | None) -> tuple[str, ...]:
    """The declared appliances that are to be adopted: those named, those of a site, or all.

    Raises:
        UsageError: There is no such site, or no appliance at all.
    """
    if names:
        return tuple(dict.fromkeys(names))
    if site is not None and site not in state.sites:
        remedy = "name a declared one, or name the appliance that is to be its first"
        raise UsageError(f"no site {site} is declared", remedy)
    wanted = members(state.sites[site].model) if site is not None else sorted(state.appliances)
    chosen = tuple(each for each in wanted if each in state.appliances)
    if not chosen:
        remedy = "name one, and give --hostname, and --url or --path"
        raise UsageError("no appliance is declared that could be read", remedy)
    return chosen
