"""SIGTERM, SIGKILL and restart at random instants during 100 reconciles: nobody is turned away, and no key is lost."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.changing import EXPECTED, MEMBERS, NAMES, Changing
from tests.end_to_end.hammering import hammering, visits
from tests.end_to_end.keeping import Keeper
from tests.end_to_end.killed_sites import directory_site, played_site
from tests.end_to_end.killing import Program
from tests.end_to_end.needles import Needles
from tests.end_to_end.test_kills import KINDS
from tests.end_to_end.watched import KILL, TEMPORARY, TERM, Loop, Memory, Reconciles, save
from tests.support.authorities import openssl_authority
from tests.support.haproxy import serving
from tests.support.signing import git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.end_to_end.killed_sites import Site

PAUSE = 0.03
"""Between two clients, in seconds."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("program"))
    yield program
    program.close()


@contextmanager
def directories(program: Program, folder: Path, watch: str = "") -> Iterator[Site]:
    """Certificate directories that HAProxy serves."""
    site = directory_site(program, folder, {}, *MEMBERS)
    with ExitStack() as held:
        # One for each, as on appliances: they reload side by side.
        running = {name: held.enter_context(serving({name: site.stores / name})) for name in MEMBERS}
        reload = json.dumps({name: each.reload_command for name, each in running.items()})
        (folder / "operator.yaml").write_text(f"reload: {reload}\nwatch: {{mode: apply{watch}}}\n")
        site.reloaded = None
        site.ports = {name: each.ports[name] for name, each in running.items()}
        yield site


@contextmanager
def appliances(program: Program, folder: Path) -> Iterator[Site]:
    """Simulated appliances, which serve whatever matches."""
    with played_site(program, folder, {}, *MEMBERS, options=("--tie-break", "random")) as site:
        operator = folder / "lab/operator.yaml"
        operator.write_text(operator.read_text().replace("concurrency: 1\n", "watch: {mode: apply}\n"))
        yield site


@contextmanager
def reconciling(
    site: Site, folder: Path, tell: Callable[[str, object], None], *, has_front_end: bool, follows: bool = False
) -> Iterator[Reconciles]:
    """Have the loop run and clients come; in the end see what they say, and that no key is where it should not be."""
    changing = Changing(site, openssl_authority(folder / "ca"))
    changing.begin()
    if follows:
        make_repository(site, folder)
    (site.journals / TEMPORARY.replace("*", "0")).touch()  # as one leaves it who is killed while writing
    loop, memory = Loop(site, folder), Memory(site.journals / "watch.json")
    stores = {name: site.stores / name for name in MEMBERS}
    asked = [
        group
        for name in MEMBERS
        for group in visits({name: site.ports[name]}, EXPECTED[name], NAMES, [changing.believed])
    ]
    with memory.read(), hammering(asked, PAUSE) as tally:
        try:
            loop.start()
            made = Reconciles(
                changing, Keeper(changing, stores), loop, tally, has_front_end=has_front_end, follows=follows
            )
            yield made
            loop.end(TERM)
        finally:
            loop.close()
    assert not tally.problems
    assert min(tally.handshakes.values()) > 5
    assert not memory.problems
    assert memory.reads > 5
    assert not list(site.journals.glob(TEMPORARY))
    assert not list(loop.temporary.iterdir())
    leaks(made, site, loop)
    counts = made.counts
    for name, count in {**counts, "cases": counts["reconciles"], "handshakes": tally.count}.items():
        tell(name, count)


def leaks(made: Reconciles, site: Site, loop: Loop) -> None:
    """See that no key that was ever in a store is in anything that the loop said or wrote beside stores."""
    needles = Needles.of(made.keys, [])
    written = [*loop.folder.iterdir(), *site.journals.iterdir(), *site.beside, site.root.parent / "operator.yaml"]
    for path in filter(Path.is_file, written):
        assert not needles.within(path.read_bytes()), path


def make_repository(site: Site, folder: Path) -> None:
    """Put what is declared into a repository, whose branch is followed."""
    git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", "remote.git")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "remote", "add", "origin", str(folder / "remote.git"))
    save(site)


def is_sharp(made: Reconciles) -> None:
    """See that every kind of action came by, and that a good part of the signals of either kind fell into an apply."""
    assert made.kinds() == set().union(*KINDS.values())
    for each in (TERM, KILL):
        assert made.counts[f"{each.name} in an apply"] >= made.counts[each.name] / 4 > 2, made.counts


def test_ended_and_killed_a_few_times(
    tmp_path: Path, program: Program, record_property: Callable[[str, object], None]
) -> None:
    with (
        directories(program, tmp_path) as site,
        reconciling(site, tmp_path, record_property, has_front_end=True) as made,
    ):
        made.disturb((KILL, 0.5), running=True)
        made.disturb((TERM, 0.4), running=True)
        made.disturb((KILL, 0.3), running=True)
        made.disturb((TERM, -0.5), (KILL, 0.5), running=False)
    assert made.counts["SIGKILL in an apply"] >= 2, made.counts


@pytest.mark.prove
def test_on_directories(tmp_path: Path, program: Program, record_property: Callable[[str, object], None]) -> None:
    with (
        directories(program, tmp_path) as site,
        reconciling(site, tmp_path, record_property, has_front_end=True) as made,
    ):
        made.measure(9)
        for _ in range(38):
            made.disturb()
        is_sharp(made)


@pytest.mark.prove
def test_on_directories_by_a_branch(
    tmp_path: Path, program: Program, record_property: Callable[[str, object], None]
) -> None:
    with (
        directories(program, tmp_path, ", follow: {branch: main}") as site,
        reconciling(site, tmp_path, record_property, has_front_end=True, follows=True) as made,
    ):
        made.measure(4)
        for _ in range(12):
            made.disturb()
        assert not list((tmp_path / ".git").rglob("*.lock"))
        git(tmp_path, "fsck", "--strict")
        assert not git(tmp_path, "status", "--porcelain", site.root.name)


@pytest.mark.prove
def test_on_simulated_appliances(
    tmp_path: Path, program: Program, record_property: Callable[[str, object], None]
) -> None:
    with (
        appliances(program, tmp_path) as site,
        reconciling(site, tmp_path, record_property, has_front_end=False) as made,
    ):
        made.measure(9)
        for _ in range(50):
            made.disturb()
        is_sharp(made)
