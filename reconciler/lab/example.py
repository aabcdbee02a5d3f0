"""The example fleet in a temporary place where it can be changed: the committed files, and stores to begin with.

The stores are as an administrator may find them after a while of doing by hand: factory certificates, on the failover
pair a self-signed certificate from before there was a CA's, and on one node a certificate whose key was exposed.
"""

from __future__ import annotations

import datetime as dt
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.base.errors import UnreadableInput
from reconciler.engine.load import load_desired
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.run import create_stores
from reconciler.engine.stores import Stores
from reconciler.live.driver import Upload
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.issuing import self_signed
from reconciler.pki.keys import create_key
from reconciler.pki.names import parse_name
from reconciler.pki.writing import write_pkcs12

if TYPE_CHECKING:
    from reconciler.base.clock import Clock

PASSPHRASE = b"only-an-example"
"""Of the example's keys. It is published, since they protect nothing."""
VARIABLE = "EXAMPLE_PASSPHRASE"
"""The environment variable in which the example's certificates look for it."""

_INSTALLED = Path(__file__).parents[1] / "_example"
_CHECKOUT = Path(__file__).parents[2] / "desired-state"
_PAIR = ("east-1", "west-1")
_EXPOSED = "node-3"


async def make_example(folder: Path, clock: Clock) -> Path:
    """Copy the example fleet into a folder and give it stores to begin with.

    Returns:
        The desired state's folder.

    Raises:
        UnreadableInput: The example is not installed.
    """
    source = next((each for each in (_INSTALLED, _CHECKOUT) if each.is_dir()), None)
    if source is None:
        raise UnreadableInput("the example fleet is not installed", "install the package again")
    root = folder / "desired-state"
    shutil.copytree(source, root)
    state, settings = load_desired(root, None), OperatorSettings()
    create_stores(state, settings, clock)
    stores = Stores(state, settings, clock)
    for name in _PAIR:
        async with stores.open(name) as driver:
            upload, fingerprint = _earlier("access.example.com", "Example remote access", clock() - dt.timedelta(330))
            await driver.import_(upload)
            await driver.set_default(fingerprint)
    async with stores.open(_EXPOSED) as driver:
        upload, fingerprint = _earlier("old.atlas.example.com", "Exposed", clock() - dt.timedelta(100))
        await driver.import_(upload)
    with (root / "appliances" / f"{_EXPOSED}.yaml").open("a") as file:
        file.write(f"retired:\n  - {{sha256: {fingerprint}, reason: its key was exposed}}\n")
    return root


async def disturb(root: Path, clock: Clock) -> str:
    """Do to one store what an administrator in a hurry may do by hand, and say what it was."""
    state = load_desired(root, None)
    async with Stores(state, OperatorSettings(), clock).open("west-1") as driver:
        store = await driver.observe()
        factory = next(each for each in store.certificates if each.common_name == "BeyondTrust Appliance")
        await driver.set_default(factory.fingerprint)
        intermediate = next(each for each in store.certificates if each.common_name == "Example Issuing CA")
        await driver.remove(intermediate.fingerprint)
    return "On west-1, somebody makes the factory certificate the default and removes the intermediate."


def _earlier(name: str, common_name: str, start: dt.datetime) -> tuple[Upload, str]:
    """A self-signed certificate from before, as a file to import, and its fingerprint."""
    key = create_key("ec-p256")
    subject = distinguished_name([("CN", common_name), ("O", "Example Company")])
    certificate = self_signed(key, subject, [parse_name(name)], start, dt.timedelta(days=365))
    passphrase = secrets.token_urlsafe(16).encode()
    upload = Upload(write_pkcs12(name, key, certificate, (), passphrase), passphrase, f"{name} (by hand)")
    return upload, certificate.fingerprint
