"""Two applies at once on the same stores: the end is that of one after the other, whoever comes first.

One waits for the other, or finds the stores no longer as it planned and says so (exit code 4); a second run of that one
does what is left. Nothing is made twice, and nothing that one of them does is lost by the other.
"""

from __future__ import annotations

import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.exits import Exit
from tests.end_to_end.killed_sites import Killing, copy_over, directory_site, played_site
from tests.end_to_end.killing import FILES, Program
from tests.end_to_end.test_kills import (
    ISSUING,
    KINDS,
    NAMES,
    START,
    committed_key,
    copy,
    killing,
    listing,
    provide,
)
from tests.support.authorities import openssl_authority
from tests.support.authority import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.end_to_end.killed_sites import Site
    from tests.end_to_end.killing import Ran
    from tests.end_to_end.test_kills import Prepare
    from tests.support.authorities import OpenSSLAuthority

LATE = 0.4
"""How much later than the other one an apply may begin, in seconds."""
REFUSED = ("presents a certificate that is not trusted", "does not stay as it is while it is read")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Program]]:
    both = Program(tmp_path_factory.mktemp("program")), Program(tmp_path_factory.mktemp("program"))
    yield both
    for each in both:
        each.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpenSSLAuthority:
    return openssl_authority(tmp_path_factory.mktemp("openssl") / "ca")


def at_once(sites: tuple[Site, Site], late: float) -> list[Ran]:
    """Apply both, the second one a moment later."""
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(sites[0].start, "apply", "--yes")
        time.sleep(late)
        second = pool.submit(sites[1].start, "apply", "--yes")
        ran = [first.result(), second.result()]
    for each in ran:
        # One may look just when the other has had a certificate made and has not remembered it, or changes the list at
        # each of its readings: it sends nothing then, and says why.
        told = " ".join(each.out.split())
        refused = each.code == Exit.COULD_NOT and any(why in told for why in REFUSED)
        assert refused or each.code in {Exit.DONE, Exit.STALE}, each.out + each.err
        assert not each.err
    return ran


def rounds(killed: Killing, other: Program, number: int, seed: str) -> int:
    """Apply the same twice at once, again and again; how often one of both was stale."""
    site, chance, stale = killed.site, random.Random(seed), 0  # noqa: S311 - no secret
    for _ in range(number):
        killed.begin()
        ran = at_once((site, replace(site, program=other)), chance.uniform(0, LATE))
        codes = [each.code for each in ran]
        assert Exit.DONE in codes, [each.out for each in ran]
        stale += Exit.STALE in codes
        killed.comes_to_the_same_end()
    return stale


@pytest.mark.prove
@pytest.mark.parametrize("prepare", KINDS, ids=lambda each: each.__name__)
def test_the_same_twice_on_directories(
    tmp_path: Path,
    programs: tuple[Program, Program],
    authority: OpenSSLAuthority,
    prepare: Prepare,
    record_property: Callable[[str, object], None],
) -> None:
    names = ("east-1", "west-1") if prepare is copy else ("east-1",)
    killed = killing(directory_site(programs[0], tmp_path, {}, *names), authority, prepare, FILES)
    rounds(killed, programs[1], 5, prepare.__name__)
    record_property("cases", 5)


@pytest.mark.prove
@pytest.mark.parametrize("prepare", KINDS, ids=lambda each: each.__name__)
def test_the_same_twice_on_simulated_appliances(
    tmp_path: Path,
    programs: tuple[Program, Program],
    authority: OpenSSLAuthority,
    prepare: Prepare,
    record_property: Callable[[str, object], None],
) -> None:
    names = ("east-1", "west-1") if prepare is copy else ("east-1",)
    with played_site(programs[0], tmp_path, {}, *names) as site:
        rounds(killing(site, authority, prepare, FILES), programs[1], 4, prepare.__name__)
    record_property("cases", 4)


@pytest.mark.prove
def test_what_one_brings_is_not_lost_by_the_other(
    tmp_path: Path,
    programs: tuple[Program, Program],
    authority: OpenSSLAuthority,
    record_property: Callable[[str, object], None],
) -> None:
    """Two desired states, each with a certificate of its own, and one that both declare."""
    site = directory_site(programs[0], tmp_path, {}, "east-1")
    committed_key(site, authority)
    other = replace(site, root=tmp_path / "other-state", program=programs[1])
    shutil.copytree(site.root, other.root)
    wanted = {}
    for each, name in ((site, "two"), (other, "three")):
        issued = ISSUING.issue(
            (*NAMES, f"{name}.example.com"), not_before=START, not_after=START + 300 * DAY, common_name=name.title()
        )
        provide(each, name, issued)
        each.declare(listing(each, "one", name))
        wanted[issued.certificate.fingerprint] = name
    copy_over(site.stores, tmp_path / "saved")
    chance = random.Random("two")  # noqa: S311 - no secret
    for _ in range(10):
        copy_over(tmp_path / "saved", site.stores)
        ran = at_once((site, other), chance.uniform(0, LATE))
        for each, came in zip((site, other), ran, strict=True):
            if came.code == Exit.STALE:
                each.run("apply", "--yes")
        for each in (site, other):
            each.run("plan", "--detailed-exitcode")
        store = site.observe()["east-1"]
        held = {each.fingerprint: each.friendly_name for each in store.certificates if each.has_key}
        assert wanted.items() <= held.items()
        assert len(store.certificates) == 6
    record_property("cases", 10)
