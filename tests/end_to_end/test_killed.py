"""An apply that is killed, wherever it is: nothing is lost, nothing comes twice, and the next one goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.exits import Exit
from tests.cli.terminal import PROGRAM
from tests.end_to_end.example import reconciler
from tests.end_to_end.lifecycle import certificate
from tests.end_to_end.three_members import AN_HOUR_AGO, MEMBERS, WILDCARD, ThreeMembers, held, played, three_members
from tests.support.authorities import openssl_authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.authorities import OpenSSLAuthority

KILLER = """
import os, signal, sys

left = int(os.environ["KILLED_AT"])

def count(event, arguments):
    global left
    if event in {"os.rename", "os.remove", "os.symlink"} and ".stores" in os.fspath(arguments[0]):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
"""
"""Kills the program just before one of the file operations by which it changes stores."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpenSSLAuthority:
    return openssl_authority(tmp_path_factory.mktemp("openssl") / "ca")


@pytest.fixture
def site(tmp_path: Path) -> ThreeMembers:
    return three_members(tmp_path)


def killed(site: ThreeMembers, number: int) -> bool:
    """Apply, killed before the n-th file operation; whether it came to that."""
    folder = site.root.parent / "killer"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(KILLER)
    environ = {**site.environ, "PYTHONPATH": str(folder), "KILLED_AT": str(number)}
    ran = reconciler("apply", site.root, "--yes", environ=environ)
    assert ran.returncode in {0, -signal.SIGKILL}, ran.stdout + ran.stderr
    return ran.returncode != 0


def kill_everywhere(
    site: ThreeMembers, now: Callable[[], None], in_the_end: Callable[[], None], *, every: int = 1
) -> int:
    """Kill an apply at one operation after the other, each time from the same stores, and apply again.

    Args:
        site: The site.
        now: Looks at the stores after each kill.
        in_the_end: Looks at them after the apply that follows.
        every: Kill at every n-th operation only.

    Returns:
        How often it was killed.
    """
    saved = shutil.copytree(site.stores, site.root.parent / "saved", symlinks=True)
    number = every
    while killed(site, number):
        now()
        site.run("apply", "--yes")
        in_the_end()
        shutil.rmtree(site.stores)
        shutil.copytree(saved, site.stores, symlinks=True)
        number += every
    site.run("apply", "--yes")  # as after a kill that came too late to keep anything from happening
    in_the_end()
    return number // every - 1


@pytest.mark.parametrize(("every", "cases"), [(11, 3), pytest.param(1, 35, marks=pytest.mark.prove)])
def test_an_apply_that_is_killed_goes_on_where_it_was(
    site: ThreeMembers,
    authority: OpenSSLAuthority,
    every: int,
    cases: int,
    record_property: Callable[[str, object], None],
) -> None:
    """At every moment the default is the old certificate or the new one, with its key."""
    site.renewal_is_due(authority, "new_key")
    old = site.fingerprint
    site.run("apply", "--yes")
    site.commit(authority, not_before=AN_HOUR_AGO)

    def nothing_is_lost() -> None:
        for each in MEMBERS:
            present = held(site.stores / each)
            assert present["00-default.pem"] in {present.get(f"{name}.pem") for name in (old, site.fingerprint)}

    kills = kill_everywhere(site, nothing_is_lost, site.hold_the_same, every=every)
    assert kills >= cases
    site.plan(exits=Exit.DONE)
    record_property("cases", kills)


@pytest.mark.prove
def test_a_request_is_made_once_however_often_the_apply_is_killed(
    site: ThreeMembers, authority: OpenSSLAuthority
) -> None:
    def requests() -> list[str]:
        return [each for name in MEMBERS for each in held(site.stores / name) if "requests" in each]

    def is_made_once() -> None:
        assert len(requests()) == 1, requests()

    def is_made_at_most_once() -> None:
        assert len(requests()) <= 1, requests()

    assert kill_everywhere(site, is_made_at_most_once, is_made_once) > 1
    site.commit(authority)
    site.run("apply", "--yes")
    site.hold_the_same()


@pytest.mark.prove
def test_a_self_signed_certificate_is_made_once_however_often_the_apply_is_killed(site: ThreeMembers) -> None:
    site.declare(certificate("self_signed", WILDCARD))

    def is_the_same() -> None:
        first, *others = (held(site.stores / each) for each in MEMBERS)
        assert len(first) == 2, list(first)
        assert others == [first, first]

    assert kill_everywhere(site, lambda: None, is_the_same) > 10


@pytest.mark.prove
def test_an_apply_to_played_members_that_is_killed_at_every_step_gets_there(
    site: ThreeMembers, authority: OpenSSLAuthority
) -> None:
    with played(site) as operator:
        stores = operator.with_name("stores")
        site.renewal_is_due(authority, "new_key")
        assert times_killed(site, stores) == 1
        site.commit(authority, not_before=AN_HOUR_AGO)
        # Import, default and removal on each; where the machine is busy, one may come to its end before it is killed.
        assert 5 < times_killed(site, stores) <= 9
        assert site.classes() == {"declared": 1, "chain": 2}
        site.hand_out_the_same(authority)
        site.plan(exits=Exit.DONE)


def times_killed(site: ThreeMembers, stores: Path) -> int:
    """Apply until nothing is left, killed each time as soon as a change of a store shows."""
    number = 0
    while killed_at_a_change(site, stores):
        number += 1
    return number


def killed_at_a_change(site: ThreeMembers, stores: Path) -> bool:
    """Apply, killed as soon as a change shows; whether it came to that."""
    before, environ = look(stores), {**os.environ, **site.environ}
    with subprocess.Popen([PROGRAM, "apply", site.root, "--yes"], env=environ, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and look(stores) == before:
            time.sleep(0.001)
        process.kill()
    assert process.returncode in {0, -signal.SIGKILL}
    while before != (now := look(stores)):  # an appliance carries out what it was asked for, whoever is gone
        before = now
        time.sleep(0.1)
    return process.returncode != 0


def look(stores: Path) -> set[str]:
    """What lies in stores, with the ends of symbolic links."""
    return {f"{each} {each.readlink() if each.is_symlink() else ''}" for each in stores.rglob("*")}
