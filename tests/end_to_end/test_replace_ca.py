"""Chapter "Replace an SSL Certificate", with clients: one CA takes the place of another, and nobody is locked out.

A real HAProxy serves the pair's directories, and real TLS clients, one for each software build that clients may be
running, come to every name before every single action and after it, at the clock that the test turns. Each trusts just
what its build trusts.
"""

from __future__ import annotations

import datetime as dt
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.base.clock import system_clock
from reconciler.base.findings import Severity
from reconciler.engine.operator import OperatorSettings
from reconciler.plan.model import State
from tests.end_to_end.example import reconciler
from tests.end_to_end.years import HOSTNAME, MEMBERS, NAMES, SECOND, Pair, TurnedClock, make_pair, ready
from tests.support.authorities import openssl_authority
from tests.support.authority import DAY, NOW
from tests.support.haproxy import serving
from tests.support.programs import require_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from reconciler.engine.run import Planned
    from tests.support.authorities import OpenSSLAuthority

HOUR = dt.timedelta(hours=1)
SETTLE = 48 * HOUR
VALID = 90 * DAY
EVERYWHERE = [(each, name) for each in MEMBERS for name in (*NAMES, None)]


@dataclass(frozen=True)
class Build:
    """A software build, as a test knows it.

    Attributes:
        installed_at: When it was installed on the site.
        roots: What is in it.
    """

    installed_at: dt.datetime
    roots: tuple[bytes, ...]


@dataclass
class Site:
    """A failover pair whose certificate is to come from another CA, and the clients that use it.

    Attributes:
        pair: The appliances.
        old: The CA so far.
        new: The CA from now on.
        builds: The software builds, oldest first.
        ports: Where the appliances answer, while they do.
        visits: How many handshakes there were.
    """

    pair: Pair
    old: OpenSSLAuthority
    new: OpenSSLAuthority
    builds: list[Build]
    ports: dict[str, int] = field(default_factory=dict)
    visits: int = 0

    @property
    def now(self) -> dt.datetime:
        """The present instant."""
        return self.pair.clock.now

    def turn(self, instant: dt.datetime) -> None:
        """Turn the clock."""
        self.pair.clock.now = instant

    def first_build(self) -> Build:
        """The build that trusts the old root alone."""
        return self.builds[0]

    def declare(self, *builds: Build) -> None:
        """Declare further builds."""
        self.builds[1:] = builds
        self.pair.trust(*((each.installed_at, each.roots) for each in self.builds))

    def in_field(self) -> list[Build]:
        """The builds that a client may be running: those that are installed, until a later one has settled."""
        there = [each for each in self.builds if each.installed_at <= self.now]
        return [
            each
            for index, each in enumerate(there)
            if not any(later.installed_at + SETTLE <= self.now for later in there[index + 1 :])
        ]

    def refused(self, build: Build) -> list[tuple[str, str | None]]:
        """Where clients of a build do not get through: appliance and server name."""
        file = self.pair.folder / "trusted.pem"
        file.write_bytes(b"".join(build.roots))
        return [
            (appliance, sent)
            for appliance, sent in EVERYWHERE
            if not self._gets_through(self.ports[appliance], sent, file)
        ]

    def _gets_through(self, port: int, sent: str | None, trusted: Path) -> bool:
        self.visits += 1
        name = ("-servername", sent) if sent else ("-noservername",)
        command = [require_program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", *name]
        command += ["-CAfile", str(trusted), "-no-CApath", "-no-CAstore", "-attime", f"{self.now.timestamp():.0f}"]
        command += ["-verify_hostname", sent or HOSTNAME, "-verify_return_error"]
        return subprocess.run(command, input=b"", capture_output=True, check=False).returncode == 0

    def nobody_is_refused(self) -> None:
        """Every client in the field gets through to every name, and without one."""
        for build in self.in_field():
            assert not self.refused(build), (self.now, build.installed_at)

    def run(self) -> dict[str, int]:
        """Run, with clients that come before every step and at the end: what was done."""
        done = self.pair.run(notify=lambda *_: self.nobody_is_refused()).kinds
        self.nobody_is_refused()
        return dict(done)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let a HAProxy for each of the appliances serve it."""
        with ExitStack() as running:
            haproxies = {each: running.enter_context(serving({each: self.pair.directory(each)})) for each in MEMBERS}
            self.ports = {each: haproxy.ports[each] for each, haproxy in haproxies.items()}
            reload = {each: haproxy.reload_command for each, haproxy in haproxies.items()}
            self.pair = replace(self.pair, settings=OperatorSettings(reload=reload))
            yield


def site_of(folder: Path, start: dt.datetime = NOW) -> Site:
    """A pair that serves a certificate of the old CA, which is handed out at the start."""
    old, new = (openssl_authority(folder / name, name) for name in ("Old", "New"))
    pair = Pair(folder, TurnedClock(start), renew_with="new_key")
    make_pair(pair, old.chain)
    site = Site(pair, old, new, [Build(start - 400 * DAY, old.chain[-1:])])
    site.declare()
    pair.run()
    hand_out(site, old)
    pair.run()
    return site


def hand_out(site: Site, authority: OpenSSLAuthority, chain: Sequence[bytes] = (), more: str = "") -> None:
    """A CA answers the pending request, and its answer is committed."""
    (request,) = site.pair.requests()
    answer = authority.sign(request.request_data, not_before=site.now, not_after=site.now + VALID)
    site.pair.commit(answer, chain or authority.chain, more)


def replace_authority(site: Site, chain: Sequence[bytes] = ()) -> None:
    """From now on the new CA: its answer to a new request is committed."""
    since = f"\nissued_after: {site.now:%Y-%m-%d}"
    site.pair.declare(", signed: access/signed.p7b", since)
    assert site.pair.run().kinds == {"create_request": 1}
    hand_out(site, site.new, chain, since)


def told(planned: Planned) -> set[tuple[str, str | None]]:
    """The findings about clients: rule and appliance."""
    rules = {"ca-change-unprepared", "client-settling", "hold-outlives-certificate"}
    return {(each.rule, each.appliance) for each in planned.plan.all_findings if each.rule in rules}


def holds(planned: Planned) -> dict[str, dt.datetime | None]:
    """What is held, until when."""
    held = (each for each in planned.plan.actions if each.state is State.HELD)
    return {each.id: each.hold.until for each in held if each.hold}


def test_a_ca_is_replaced_and_no_client_in_the_field_is_ever_refused(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    site = site_of(tmp_path)
    pair, old, new = site.pair, site.old.chain[-1], site.new.chain[-1]
    with site.open():
        site.turn(NOW + 20 * DAY)
        replace_authority(site)
        assert site.run() == {"import chain": 4}
        planned = site.pair.plan()
        assert holds(planned) == dict.fromkeys([f"{m}/{w}/access" for m in MEMBERS for w in ("import", "default")])
        assert told(planned) == {("ca-change-unprepared", "east-1")}
        assert "`reconciler bundle access`" in planned.plan.by_hand[0].what

        site.turn(NOW + 22 * DAY)
        assert site.run() == {}
        installed = site.now
        site.declare(Build(installed, (old, new)))
        planned = site.pair.plan()
        assert holds(planned)["east-1/import/access"] == installed + SETTLE
        assert told(planned) == {("client-settling", "east-1")}
        assert site.run() == {}
        assert not ready(pair.plan(at=installed + SETTLE - SECOND))
        site.turn(installed + SETTLE - SECOND)
        assert len(site.in_field()) == 2
        assert site.run() == {}

        site.turn(installed + SETTLE)
        assert len(site.in_field()) == 1
        assert site.run() == {"import leaf": 2, "set_default": 2}
        assert site.refused(site.first_build()) == EVERYWHERE

        site.turn(NOW + 27 * DAY - SECOND)
        assert site.run() == {}
        site.turn(NOW + 27 * DAY)
        assert site.run() == {"remove": 2}
        assert site.pair.plan().plan.actions == ()
    assert not site.pair.differences()
    record_property("cases", site.visits)


def test_a_root_that_the_old_one_has_signed_is_trusted_by_every_build_in_the_field(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    old, new = site.old.chain[-1], site.new.chain[-1]
    crossed = site.old.cross_sign(new, not_before=NOW - DAY, not_after=NOW + 900 * DAY)
    with site.open():
        site.turn(NOW + 20 * DAY)
        replace_authority(site, (site.new.chain[0], crossed, old))
        assert told(site.pair.plan()) == set()
        assert site.run() == {"import chain": 4, "import leaf": 2, "set_default": 2}
        assert not site.refused(Build(site.now, (new,)))


def test_a_way_up_to_the_new_root_itself_counts_although_the_old_one_has_signed_it(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    old, new = site.old.chain[-1], site.new.chain[-1]
    crossed = site.old.cross_sign(new, not_before=NOW - DAY, not_after=NOW + 900 * DAY)
    site.turn(NOW + 20 * DAY)
    replace_authority(site, (site.new.chain[0], crossed, old, new))
    assert site.pair.run().kinds == {"import chain": 6}
    assert told(site.pair.plan()) == {("ca-change-unprepared", "east-1")}


def test_who_has_not_updated_is_not_refused_for_a_build_that_drops_the_old_root_too_early(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    with site.open():
        site.turn(NOW + 20 * DAY)
        replace_authority(site)
        site.run()
        early = Build(site.now, (site.new.chain[-1],))
        site.declare(early)
        for instant in (site.now, site.now + SETTLE - SECOND):
            site.turn(instant)
            assert site.pair.run().kinds == {}
            assert holds(site.pair.plan())["east-1/import/access"] == early.installed_at + SETTLE
            assert not site.refused(site.first_build())
            assert site.refused(early) == EVERYWHERE
        site.turn(early.installed_at + SETTLE)
        assert site.pair.run().kinds == {"import leaf": 2, "set_default": 2}
        site.nobody_is_refused()


def test_a_hold_that_outlives_what_serves_is_an_error_as_soon_as_it_can_be_foreseen(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    pair, both = site.pair, (site.old.chain[-1], site.new.chain[-1])
    ends = NOW + VALID
    site.turn(NOW + 20 * DAY)
    replace_authority(site)
    pair.run()
    outlives = {("hold-outlives-certificate", "east-1")}
    assert told(pair.plan(at=ends - SETTLE - SECOND)) == {("ca-change-unprepared", "east-1")}
    assert told(pair.plan(at=ends - SETTLE)) == outlives
    site.declare(Build(ends - SETTLE - SECOND, both))
    assert told(pair.plan()) == {("client-settling", "east-1")}
    site.declare(Build(ends - SETTLE, both))
    planned = pair.plan()
    assert told(planned) == outlives
    assert [each.rule for each in planned.plan.all_findings if each.severity is Severity.ERROR] == [
        "hold-outlives-certificate"
    ]
    # What the finding says to do can be done: the request is still there, and the old CA may answer it, too.
    site.turn(ends - DAY)
    hand_out(site, site.old)
    assert pair.run().kinds == {"import leaf": 2, "set_default": 2, "remove": 2}
    assert not pair.unserved(site.now, site.old.chain[-1])


def test_the_command_line_tells_what_is_held_and_when_it_goes_on(tmp_path: Path) -> None:
    now = system_clock()
    site = site_of(tmp_path, now - 20 * DAY)
    both = (site.old.chain[-1], site.new.chain[-1])
    site.turn(now)
    replace_authority(site)

    def plan(*options: str) -> subprocess.CompletedProcess[str]:
        return reconciler("plan", site.pair.root, "--detailed-exitcode", *options)

    assert plan().returncode == 2
    assert reconciler("apply", site.pair.root, "--yes").returncode == 0
    held = plan()
    assert held.returncode == 6
    assert " ca-change-unprepared " in held.stdout
    assert "send what `reconciler bundle access` makes" in held.stdout
    assert plan("--at", f"{now + 69 * DAY:%Y-%m-%dT%H:%M:%SZ}").returncode == 3

    installed = system_clock()
    site.declare(Build(installed, both))
    settling = plan()
    assert settling.returncode == 6
    assert f"it goes on by itself from {installed + SETTLE:%Y-%m-%d %H:%M} UTC" in settling.stdout
    assert plan("--at", f"{installed + SETTLE - SECOND:%Y-%m-%dT%H:%M:%SZ}").returncode == 6
    assert plan("--at", f"{installed + SETTLE:%Y-%m-%dT%H:%M:%SZ}").returncode == 2

    site.declare(Build(installed - SETTLE, both))
    applied = reconciler("apply", site.pair.root, "--yes")
    assert applied.returncode == 0
    site.turn(installed)
    with site.open():
        site.nobody_is_refused()
