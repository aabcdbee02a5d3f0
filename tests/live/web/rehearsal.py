"""Rehearsals: one action at a time on a lab appliance, from a store that was prepared for it.

A planned action goes through the real planner and executor. What the planner does not plan yet goes through the driver,
and is looked at before and after as the executor would.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from reconciler.apply.result import Outcome
from reconciler.base.errors import EffectUnknown, StoreError
from reconciler.engine.operator import load_settings
from reconciler.engine.run import apply_planned, plan_fleet
from reconciler.engine.stores import Stores
from reconciler.live.driver import DriverType, ExportOptions, Upload, driver_types
from reconciler.live.web import WebConfiguration
from reconciler.live.web.opening import open_driver
from reconciler.live.web.transport import Limits
from reconciler.pki.reading import read
from reconciler.plan.model import State
from tests.apply.stage import Stage
from tests.live.contract import form
from tests.live.web.interface import PASSWORD, USERNAME
from tests.plan.scenes import BOTH, SITE, Provided, Scene, leaf, provided
from tests.support.authority import DAY, NOW, Authority, Issued

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from reconciler.base.references import StoreConfiguration
    from reconciler.desired.state import DesiredState
    from reconciler.engine.operator import OperatorSettings
    from reconciler.engine.run import Planned
    from reconciler.lab.appliance import LabAppliance
    from reconciler.live.directory.operations import DirectoryStore
    from reconciler.live.driver import Driver, OpenContext
    from reconciler.live.store import LiveStore

    Prepare: TypeAlias = Callable[[DirectoryStore], None]

HOST = "east.example.com"
LIMITS = Limits(patience=0.25, pause=0.01)


@asynccontextmanager
async def _open(configuration: StoreConfiguration, context: OpenContext) -> AsyncIterator[Driver]:
    assert isinstance(configuration, WebConfiguration)
    async with open_driver(configuration, context, LIMITS) as driver:
        yield driver


DRIVERS = {"web": DriverType(WebConfiguration, _open), "directory": driver_types()["directory"]}
"""The drivers, of which the one for the web loses patience soon."""
SECRET = b"correct horse"


@dataclass
class Stand:
    """One appliance being served, and how it is reached.

    Attributes:
        appliance: The appliance.
        folder: Where operator settings and known appliances lie.
        trusted: Certificates that are trusted by the operator's word.
    """

    appliance: LabAppliance
    folder: Path
    trusted: list[str] = field(default_factory=list)

    @property
    def settings(self) -> OperatorSettings:
        """Operator settings that lead to it."""
        options = {
            "driver": "web",
            "url": f"https://{HOST}/appliance",
            "username": {"env": USERNAME},
            "password": {"env": PASSWORD},
            "trust": {"sha256": self.trusted},
        }
        connect = {f"{HOST}:443": f"127.0.0.1:{self.appliance.port}"}
        return self._settings({"hosts": [HOST], "connect": connect, "stores": {"east": options}})

    @property
    def behind(self) -> OperatorSettings:
        """Operator settings that lead to its directory, past the interface."""
        return self._settings({"stores": {"east": {"driver": "directory", "path": str(self.appliance.folder)}}})

    def _settings(self, options: dict[str, object]) -> OperatorSettings:
        file = self.folder / "operator.yaml"
        file.write_text(json.dumps(options))
        return load_settings(file, {})


@dataclass(frozen=True)
class Told:
    """What came of a run.

    Attributes:
        done: Whether everything that was to be done was done.
        problems: What went wrong, each with its remedy.
    """

    done: bool
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Rehearsal:
    """One action.

    Attributes:
        name: What it is called.
        prepare: Fills a store that is fresh from the factory. Blocks.
        scene: What is declared, so that the planner plans it.
        about: Common name of what it is about.
        takes: Whether it takes that away.
    """

    name: str
    prepare: Prepare
    scene: Scene
    about: str
    takes: bool = False

    @property
    def state(self) -> DesiredState:
        """The desired state."""
        return Stage(self.scene, {}).state

    async def plan(self, stand: Stand) -> Planned:
        """Plan it, through the interface."""
        return await plan_fleet(self.state, stand.settings, lambda: NOW)

    async def run(self, stand: Stand, planned: Planned | None = None) -> Told:
        """Apply a plan, or plan and apply."""
        planned = planned or await self.plan(stand)
        failures = planned.observation.failures
        if failures:
            return Told(done=False, problems=tuple((each.message, each.remedy) for each in failures.values()))
        (result,) = await apply_planned(planned, stand.settings, lambda: NOW)
        ready = [each for each in planned.plan.actions if each.state is State.READY]
        assert len(result.steps) == len(ready), "each step has a result"
        bad = [each for each in result.steps if each.outcome in {Outcome.FAILED, Outcome.STALE}]
        problems = [(each.message, each.remedy) for each in bad]
        if result.message:
            problems.append((result.message, result.remedy))
        return Told(result.outcome in {Outcome.APPLIED, Outcome.UNCHANGED}, tuple(problems))

    async def is_settled(self, stand: Stand) -> bool:
        """Whether a plan made from the store itself has nothing left to do."""
        planned = await plan_fleet(self.state, stand.behind, lambda: NOW)
        assert not planned.observation.failures
        return not any(each.state is State.READY for each in planned.plan.actions)


@dataclass(frozen=True)
class Asked(Rehearsal):
    """What the planner does not plan: it is asked of the driver.

    Attributes:
        ask: Does it.
        shows: Whether a store shows it; None where it leaves no trace.
    """

    ask: Callable[[Driver, LiveStore], Awaitable[object]] = field(kw_only=True)
    shows: Callable[[LiveStore], bool] | None = field(kw_only=True)

    async def run(self, stand: Stand, planned: Planned | None = None) -> Told:  # noqa: ARG002 - it is not planned
        """Look, ask, and look again as the executor does."""
        try:
            async with Stores(self.state, stand.settings, lambda: NOW).open("east") as driver:
                return await self._steps(driver)
        except StoreError as error:
            return Told(done=False, problems=((error.message, error.remedy),))

    async def _steps(self, driver: Driver) -> Told:
        before = await driver.observe()
        if self.shows and self.shows(before):
            return Told(done=True)
        message, remedy = "the store does not show it", "look at the store"
        try:
            await self.ask(driver, before)
        except EffectUnknown as unknown:
            message, remedy = unknown.message, unknown.remedy
        if self.shows is None or self.shows(await driver.observe()):
            return Told(done=True)
        return Told(done=False, problems=((message, remedy),))

    async def is_settled(self, stand: Stand) -> bool:
        """Whether the store shows it."""
        return self.shows is None or self.shows(stand.appliance.store.observe())


# What there is


@cache
def root() -> Authority:
    """The root that issues everything here."""
    return Authority.root("Example Root")


@cache
def before() -> Issued:
    """What `new` replaces."""
    return leaf(root(), start=-300, common_name="Before")


@cache
def new() -> Issued:
    """What is declared. It covers the interface's own name."""
    return leaf(root(), start=-10)


KEPT = form("Kept", SITE, "kept.example.com")
"""The default at the start, declared so; where another is declared, it has to survive all the same."""


def put(*held: Issued | Authority, default: Issued | None = None, request: str = "") -> Prepare:
    """Put certificates into a store, beside what has to survive: a certificate with its key, and a request."""

    def prepare(store: DirectoryStore) -> None:
        store.create_self_signed(KEPT, 300 * DAY)
        chosen = default.certificate.fingerprint if default else fingerprint_of(store.observe(), "Kept")
        for each in held:
            file = each.pkcs12(SECRET) if isinstance(each, Issued) else each.certificate.der
            store.import_(Upload(file, SECRET if isinstance(each, Issued) else None))
        store.set_default(chosen)
        for name in filter(None, ("Kept request", request)):
            store.create_request(form(name, SITE))

    return prepare


def fingerprint_of(store: LiveStore, common_name: str) -> str:
    """The certificate with a common name, or an empty string."""
    return next((each.fingerprint for each in store.certificates if each.common_name == common_name), "")


def requested(store: LiveStore, common_name: str) -> tuple[str, ...]:
    """The pending requests with a common name."""
    return tuple(each.fingerprint for each in store.requests if each.subject.common_name == common_name)


async def _export(driver: Driver, store: LiveStore) -> None:
    fingerprint = fingerprint_of(store, "Kept")
    file = await driver.export(fingerprint, ExportOptions(private_key=True, chain=True, passphrase=SECRET))
    contents = read(file.content, SECRET)
    assert [each.public_key for each in contents.keys] == [store.by_fingerprint[fingerprint].certificate.public_key]


async def _withdraw(driver: Driver, store: LiveStore) -> None:
    await driver.remove_request(requested(store, "Withdrawn")[0])


def _declared(default: str, **certificates: Provided | str) -> Scene:
    return Scene({**certificates, "kept": _own("Kept", SITE, "kept.example.com")}, default=default)


def _own(common_name: str, *names: str) -> str:
    subject = f"{{country: US, organization: Example Company, common_name: {common_name}}}"
    source = "{kind: self_signed, valid_for: 300d}"
    return f"subject: {subject}\nsubject_alternative_names: [{', '.join(names)}]\nkey: ec-p256\nsource: {source}\n"


@cache
def rehearsals() -> dict[str, Rehearsal]:
    """All of them, by name."""
    name, nothing = new().certificate.common_name, _declared("kept")
    declared, as_default = (_declared(default, new=provided(new())) for default in ("kept", "new"))
    found = (
        Rehearsal("create_self_signed", put(), _declared("kept", own=_own("Made here", *BOTH)), "Made here"),
        Rehearsal("import_leaf", put(root()), declared, name),
        Rehearsal("import_chain", put(new()), declared, "Example Root"),
        Rehearsal("set_default", put(root(), new()), as_default, name),
        Rehearsal("remove", put(root(), new(), before(), default=new()), as_default, "Before", takes=True),
        Asked(
            "create_request",
            put(),
            nothing,
            "Asked for",
            ask=lambda driver, _: driver.create_request(form("Asked for", SITE)),
            shows=lambda store: bool(requested(store, "Asked for")),
        ),
        Asked(
            "remove_request",
            put(request="Withdrawn"),
            nothing,
            "Withdrawn",
            takes=True,
            ask=_withdraw,
            shows=lambda store: not requested(store, "Withdrawn"),
        ),
        Asked("export", put(), nothing, "Kept", ask=_export, shows=None),
    )
    return {each.name: each for each in found}
