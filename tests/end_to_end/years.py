"""A failover pair on certificate directories whose clock a test turns, and what its front ends would serve at it.

    pair = make_pair(tmp_path, authority.chain, clock)
    pair.run()                               # load, plan, apply, and plan once more: there is nothing left to do
    pair.commit(authority.sign(...), authority.chain)
    pair.unserved(clock.now)                 # (appliance, name) pairs that a strict client would refuse somewhere

What is served is read from the files as HAProxy would load them, and verified by `cryptography`'s verifier: nothing of
the reconciler judges its own work here.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from reconciler.apply.result import Outcome
from reconciler.base.findings import Severity
from reconciler.engine.load import load_desired
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.run import apply_planned, plan_fleet
from reconciler.live.directory import create_store
from reconciler.live.directory.operations import DirectoryStore
from reconciler.plan.model import Import, State
from tests.support.authorities import as_pkcs7
from tests.support.authority import NOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from reconciler.engine.run import Notify, Planned
    from reconciler.live.store import PendingRequest
    from reconciler.plan.model import Action

MEMBERS = ("east-1", "west-1")
HOSTNAME = "access.example.com"
NAMES = (HOSTNAME, "east-1.example.com", "west-1.example.com")
EVERYTHING: frozenset[tuple[str, str | None]] = frozenset((each, name) for each in MEMBERS for name in (*NAMES, None))
SECOND = dt.timedelta(seconds=1)
_SITE = """\
hostname: access.example.com
topology: failover
primary: east-1
backup: west-1
certificates: [access]
default: access
settle: 48h
client_software:
"""
_ACCESS = """\
friendly_name: access.example.com
subject: {{country: US, organization: Example Company, common_name: Example remote access}}
subject_alternative_names: [access.example.com, east-1.example.com, west-1.example.com]
key: {key}
renew_with: {renew_with}
source: {{kind: requested{source}}}
"""


@dataclass
class TurnedClock:
    """A clock that stands still until a test turns it.

    Attributes:
        now: The instant that it shows.
    """

    now: dt.datetime = NOW

    def __call__(self) -> dt.datetime:
        return self.now


@dataclass(frozen=True)
class Run:
    """What a run did.

    Attributes:
        kinds: How many actions of each kind were applied; imports of leaves and of chains apart.
        errors: Rules whose findings were errors.
        awaited: The requests whose answers are waited for afterwards.
    """

    kinds: Counter[str]
    errors: frozenset[str]
    awaited: frozenset[str]


@dataclass(frozen=True)
class Pair:
    """A failover pair: its desired state, and its stores beside it.

    Attributes:
        folder: Holds both.
        clock: What it is for the reconciler.
        key: The kind of key.
        renew_with: `same_key` or `new_key`.
        settings: Operator settings.
    """

    folder: Path
    clock: TurnedClock
    key: str = "ec-p256"
    renew_with: str = "same_key"
    settings: OperatorSettings = field(default_factory=OperatorSettings)

    @property
    def root(self) -> Path:
        """Folder of the desired state."""
        return self.folder / "desired-state"

    def directory(self, appliance: str) -> Path:
        """Where an appliance's store lies: aside, where it cannot be reached."""
        aside = self._aside(appliance)
        return aside if aside.exists() else self._declared(appliance)

    def _declared(self, appliance: str) -> Path:
        return self.folder / ".stores" / appliance

    def _aside(self, appliance: str) -> Path:
        return self.folder / ".stores" / f"{appliance}.aside"

    def take_away(self, appliance: str) -> None:
        """Let an appliance be out of reach; it serves on."""
        self._declared(appliance).rename(self._aside(appliance))

    def bring_back(self, appliance: str) -> None:
        """Let it be in reach again."""
        self._aside(appliance).rename(self._declared(appliance))

    def declare(self, source: str = "", more: str = "") -> None:
        """Declare the certificate, with what more there is to say of its source and of itself."""
        text = _ACCESS.format(key=self.key, renew_with=self.renew_with, source=source) + more
        (self.root / "certificates/access.yaml").write_text(text)

    def commit(self, leaf: bytes, chain: Sequence[bytes], more: str = "") -> None:
        """Commit a CA's answer with its chain."""
        (self.root / "certificates/access/signed.p7b").write_bytes(as_pkcs7(leaf, chain))
        self.declare(", signed: access/signed.p7b", more)

    def trust(self, *builds: tuple[dt.datetime, Sequence[bytes]]) -> None:
        """Declare software builds, oldest first: when each was installed, and the roots in it."""
        lines = []
        for number, (installed, roots) in enumerate(builds):
            paths = []
            for index, each in enumerate(roots):
                path = self.root / f"certificates/access/root-{number}-{index}.pem"
                path.write_bytes(each)
                paths.append(f"../certificates/access/{path.name}")
            lines.append(f"  - {{installed_at: {installed:%Y-%m-%dT%H:%M:%SZ}, trusts: [{', '.join(paths)}]}}\n")
        (self.root / "sites/access.yaml").write_text(_SITE + "".join(lines))

    def plan(self, at: dt.datetime | None = None) -> Planned:
        """Plan, as of another instant if one is given."""
        return anyio.run(self._plan, at)

    async def _plan(self, at: dt.datetime | None = None) -> Planned:
        return await plan_fleet(load_desired(self.root), self.settings, self.clock, at=at)

    def run(self, notify: Notify | None = None) -> Run:
        """What an unattended run does: load, plan, apply. A second plan at the same instant has nothing to do."""
        return anyio.run(self._run, notify)

    async def _run(self, notify: Notify | None) -> Run:
        planned = await self._plan()
        results = await apply_planned(planned, self.settings, self.clock, notify=notify)
        assert {each.outcome for each in results} <= {Outcome.APPLIED, Outcome.UNCHANGED}, results
        again = await self._plan()
        assert not ready(again), (self.clock.now, ready(again))
        errors = {each.rule for each in planned.plan.all_findings if each.severity is Severity.ERROR}
        waiting = (each for each in again.plan.actions if each.state is State.WAITING)
        awaited = frozenset(request for each in waiting for request in each.expects.requests)
        return Run(Counter(kind_of(each) for each in ready(planned)), frozenset(errors), awaited)

    def requests(self) -> Iterator[PendingRequest]:
        """The requests that are pending on the appliances that can be reached."""
        for appliance in MEMBERS:
            if not self._aside(appliance).exists():
                yield from DirectoryStore(self._declared(appliance), self.clock).observe().requests

    def unserved(self, at: dt.datetime, root: bytes) -> frozenset[tuple[str, str | None]]:
        """Appliances and server names for which a client that trusts one root may be served what it refuses.

        Whichever of several certificates is chosen for a name must do. None is a client that sends no server name.
        """
        store = Store(x509.load_pem_x509_certificates(root))
        asked: list[tuple[str | None, str]] = [*((name, name) for name in NAMES), (None, HOSTNAME)]
        refused = set()
        for appliance in MEMBERS:
            files = [
                x509.load_pem_x509_certificates(each.read_bytes()) for each in _servable(self.directory(appliance))
            ]
            for sent, name in asked:
                if not all(_is_accepted(each, name, store, at) for each in _may_be_chosen(files, sent)):
                    refused.add((appliance, sent))
        return frozenset(refused)

    def differences(self) -> set[str]:
        """Files that a front end loads on one appliance and not, byte by byte, on the other; but for the factory's."""
        ours, theirs = ({each.read_bytes() for each in _servable(self.directory(name))} for name in MEMBERS)
        certificates = {each: x509.load_pem_x509_certificate(each) for each in ours ^ theirs}
        return {str(each) for each in certificates.values() if each.issuer != each.subject}


def make_pair(pair: Pair, chain: Sequence[bytes], *, undeclared: str = "keep") -> None:
    """Make the stores as they come from the factory, and a desired state that awaits a first certificate."""
    for each in ("sites", "appliances", "certificates/access"):
        (pair.root / each).mkdir(parents=True)
    (pair.folder / ".stores").mkdir()
    (pair.root / "fleet.yaml").write_text("policy: {}\n")
    for name in MEMBERS:
        create_store(pair.directory(name), pair.clock)
        store = f"store: {{driver: directory, path: ../../.stores/{name}}}"
        text = f"hostname: {name}.example.com\nundeclared: {undeclared}\n{store}\n"
        (pair.root / f"appliances/{name}.yaml").write_text(text)
    pair.declare()
    pair.trust((pair.clock.now - dt.timedelta(days=400), [chain[-1]]))


def ready(planned: Planned) -> list[Action]:
    """The actions that can run."""
    return [each for each in planned.plan.actions if each.state is State.READY]


def kind_of(action: Action) -> str:
    """The kind of an action; imports of leaves and of chains apart."""
    return f"import {action.role}" if isinstance(action, Import) else action.kind


def _servable(directory: Path) -> list[Path]:
    """What HAProxy loads of a directory: every plain file, in the order of their names."""
    return sorted(each for each in directory.iterdir() if each.is_file() and not each.name.startswith("."))


def _may_be_chosen(files: list[list[x509.Certificate]], name: str | None) -> Iterable[list[x509.Certificate]]:
    """Every certificate that has the name, whichever comes first; where none has it, the first file's."""
    matching = [each for each in files if name and name in _names(each[0])]
    return matching or files[:1]


def _names(leaf: x509.Certificate) -> set[str]:
    common = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    names = {str(each.value) for each in common}
    try:
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return names
    return names | set(alternative.get_values_for_type(x509.DNSName))


def _is_accepted(chain: list[x509.Certificate], name: str, store: Store, at: dt.datetime) -> bool:
    verifier = PolicyBuilder().store(store).time(at).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(chain[0], chain[1:])
    except VerificationError:
        return False
    return True
