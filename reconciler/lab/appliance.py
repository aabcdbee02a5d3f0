"""One simulated appliance: a directory store with an account, a clock, a release of its pages, and its faults.

It is not a server: `pages` shows it, `server` puts it on the network, and `tls` chooses its certificates.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from anyio import to_thread

from reconciler.base.clock import system_clock
from reconciler.lab.faults import Faults
from reconciler.lab.lets_encrypt import LetsEncrypt
from reconciler.lab.release import COMPLETE, load_release
from reconciler.lab.sessions import Account, Sessions
from reconciler.lab.tls import Selection, TieBreak
from reconciler.live.directory.driver import FACTORY_NAME
from reconciler.live.directory.operations import DirectoryStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.base.clock import Clock
    from reconciler.lab.server import Listener

P = ParamSpec("P")
T = TypeVar("T")


class LabAppliance:
    """A simulated appliance.

    Attributes:
        name: As the desired state calls it.
        hostname: Its own host name.
        platform: `hardware`, `virtual` or `cloud`; a cloud appliance makes no self-signed certificates.
        folder: Its certificate directory.
        store: What can be done to it, blocking; see `call`.
        account: Who may sign in.
        clock: What the time is on it.
        variant: Name of the variant of its pages.
        release: What that variant says.
        faults: What goes wrong.
        requests: Every request so far, `METHOD path`, without those for the style sheet.
        sessions: Who is signed in.
        selection: What its TLS serves.
        lets_encrypt: The certificates that it requests and renews by itself.
        listener: Where it listens, once it is served.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        hostname: str | None = None,
        platform: str = "virtual",
        account: Account | None = None,
        variant: str = COMPLETE,
        tie_break: TieBreak = TieBreak.FIRST,
        clock: Clock = system_clock,
    ) -> None:
        """Play an appliance over a directory, which `make_store` fills where it is empty.

        Raises:
            UsageError: There is no such variant.
        """
        self.name = name
        self.hostname = hostname or f"{name}.example.com"
        self.platform = platform
        self.folder = folder
        self.clock = clock
        self.store = DirectoryStore(folder, clock)
        self.account = account or Account()
        self.variant = variant
        self.release = load_release(variant)
        self.faults = Faults()
        self.requests: list[str] = []
        self.sessions = Sessions(self.account, clock)
        self.selection = Selection(folder, tie_break)
        self.lets_encrypt = LetsEncrypt(self.store, folder.with_name(f"{folder.name}.lets-encrypt"), clock)
        self.listener: Listener | None = None

    def make_store(self) -> bool:
        """Make the store, with its factory certificate, where there is none yet; whether it did. Blocks.

        Raises:
            StoreError: It cannot be made.
        """
        if self.store.exists():
            return False
        self.store.create(FACTORY_NAME)
        return True

    async def call(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something that blocks, in a thread."""
        return await to_thread.run_sync(partial(operation, *args, **kwargs))

    @property
    def port(self) -> int:
        """Where it listens.

        Raises:
            RuntimeError: It is not served yet.
        """
        if self.listener is None:
            raise RuntimeError(f"{self.name} is not served yet")
        return self.listener.port

    @property
    def url(self) -> str:
        """The address of its pages on this machine."""
        return f"https://127.0.0.1:{self.port}/appliance"

    @property
    def serial_number(self) -> str:
        """A serial number that is always the same for the same name."""
        return "SIM-" + hashlib.sha256(self.name.encode()).hexdigest()[:10].upper()
