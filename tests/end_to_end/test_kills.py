"""Applies of every kind of action, killed at every operation on files and at every request to an appliance.

After each kill the stores have lost nothing and HAProxy could start on them, the journal can be read and says that the
apply was interrupted, and applying again says so too, comes to the very end that an apply without a kill comes to, and
leaves nothing to do. Three members and keys that they share are killed in `test_killed`.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from reconciler.base.clock import system_clock
from reconciler.cli.exits import Exit
from reconciler.lab.example import PASSPHRASE, VARIABLE
from tests.end_to_end.killed_sites import Killing, Site, copy_over, directory_site, played_site
from tests.end_to_end.killing import FILES, REQUESTS, Program
from tests.end_to_end.lifecycle import certificate
from tests.support.authorities import openssl_authority
from tests.support.authority import DAY, Authority, Issued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.support.authorities import OpenSSLAuthority

    Prepare = Callable[[Site, OpenSSLAuthority], None]

START = system_clock() - 100 * DAY
NAMES = ("access.example.com", "east-1.example.com", "west-1.example.com")
SITE = "hostname: access.example.com\nclient_software: none\n"
SINGLE = "topology: single\nprimary: east-1\n"
FAILOVER = "topology: failover\nprimary: east-1\nbackup: west-1\n"
ISSUING = Authority.root("Root", not_before=START).intermediate("Issuing CA", not_before=START)
ONE = ISSUING.issue(NAMES, common_name="One", not_before=START, not_after=START + 300 * DAY)
TWO = ISSUING.issue((*NAMES, "two.example.com"), common_name="Two", not_before=START, not_after=START + 300 * DAY)


def listing(site: Site, *certificates: str, default: str = "") -> dict[str, str]:
    """The file of the site."""
    names = f"certificates: [{', '.join(certificates)}]\ndefault: {default or certificates[0]}\n"
    return {"sites/access.yaml": SITE + (SINGLE if len(site.names) == 1 else FAILOVER) + names}


def provide(site: Site, name: str, issued: Issued) -> None:
    """Commit a certificate with its key."""
    names = [each.value for each in issued.certificate.subject_alternative_names]
    files = f"certificate: {name}.pem, chain: [issuing.pem], key: {name}.p12, passphrase: {{env: {VARIABLE}}}"
    lines = (
        f"subject: {{common_name: {name.title()}}}",
        f"subject_alternative_names: [{', '.join(names)}]",
        "key: ec-p256",
        f"source: {{kind: provided, {files}}}",
    )
    site.declare({f"certificates/{name}.yaml": "\n".join(lines) + "\n"})
    for path, content in (
        (f"{name}.pem", issued.pem()),
        (f"{name}.p12", issued.pkcs12(PASSPHRASE)),
        ("issuing.pem", b"".join(Issued(each, ISSUING.key).pem() for each in issued.chain)),
    ):
        (site.root / "certificates" / path).write_bytes(content)


def self_signed(site: Site, _: OpenSSLAuthority) -> None:
    site.declare({**listing(site, "access"), **certificate("self_signed", *NAMES)})


def request(site: Site, _: OpenSSLAuthority) -> None:
    site.declare({**listing(site, "access"), **certificate("requested", *NAMES)})


def committed_key(site: Site, _: OpenSSLAuthority) -> None:
    site.declare(listing(site, "one"))
    provide(site, "one", ONE)


def answer(site: Site, authority: OpenSSLAuthority) -> None:
    request(site, authority)
    site.run("apply", "--yes")
    site.commit(authority)


def copy(site: Site, authority: OpenSSLAuthority) -> None:
    answer(site, authority)
    delivered = site.root.parent / "delivered"
    shutil.copytree(site.stores / "west-1", delivered, symlinks=True)
    site.run("apply", "--yes")
    copy_over(delivered, site.stores / "west-1")


def default(site: Site, authority: OpenSSLAuthority) -> None:
    committed_key(site, authority)
    provide(site, "two", TWO)
    site.declare(listing(site, "one", "two"))
    site.run("apply", "--yes")
    site.declare(listing(site, "one", "two", default="two"))


def removal(site: Site, authority: OpenSSLAuthority) -> None:
    default(site, authority)
    site.run("apply", "--yes")
    site.declare(listing(site, "two"))
    (site.root / "certificates/one.yaml").unlink()
    site.add("appliances/east-1.yaml", "undeclared: remove\n")


def withdrawal(site: Site, authority: OpenSSLAuthority) -> None:
    committed_key(site, authority)
    site.declare({**listing(site, "one", "access"), **certificate("requested", *NAMES)})
    site.run("apply", "--yes")
    site.declare(listing(site, "one"))
    (site.root / "certificates/access.yaml").unlink()
    site.add("appliances/east-1.yaml", "undeclared: remove\n")


KINDS: Mapping[Prepare, set[str]] = {
    self_signed: {"create_self_signed", "set_default"},
    request: {"create_request"},
    committed_key: {"import", "set_default"},
    answer: {"import", "set_default"},
    copy: {"import", "set_default"},
    default: {"set_default"},
    removal: {"remove"},
    withdrawal: {"remove_request"},
}
PREPARED = pytest.mark.parametrize("prepare", KINDS, ids=lambda each: each.__name__)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpenSSLAuthority:
    return openssl_authority(tmp_path_factory.mktemp("openssl") / "ca")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("program"))
    yield program
    program.close()


def killing(site: Site, authority: OpenSSLAuthority, prepare: Prepare, what: str) -> Killing:
    """Prepare an apply, and see it come to its end without a kill."""
    prepare(site, authority)
    left = Exit.HELD if prepare is request else Exit.DONE
    made = Killing(site, what, site.places, site.root.parent / "saved", left)
    assert {each.kind for each in made.plan.actions} == KINDS[prepare]
    return made


@pytest.mark.parametrize(
    ("prepare", "number"),
    [(self_signed, 12), (request, 9), (committed_key, 30), (removal, 7)],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_killed_once(
    tmp_path: Path, program: Program, authority: OpenSSLAuthority, prepare: Prepare, number: int
) -> None:
    killed = killing(directory_site(program, tmp_path, {}, "east-1"), authority, prepare, FILES)
    assert killed.at(number)
    assert killed.endings


@pytest.mark.prove
@PREPARED
def test_killed_at_every_operation_on_files(
    tmp_path: Path,
    program: Program,
    authority: OpenSSLAuthority,
    prepare: Prepare,
    record_property: Callable[[str, object], None],
) -> None:
    names = ("east-1", "west-1") if prepare is copy else ("east-1",)
    killed = killing(directory_site(program, tmp_path, {}, *names), authority, prepare, FILES)
    number = 1
    while killed.at(number):
        number += 1
    total = len(killed.plan.actions)
    assert killed.endings == {(done, 0) for done in range(total + 1)} | {(done, 1) for done in range(total)}
    record_property("cases", number - 1)


@pytest.mark.prove
@PREPARED
def test_killed_at_every_request(
    tmp_path: Path,
    program: Program,
    authority: OpenSSLAuthority,
    prepare: Prepare,
    record_property: Callable[[str, object], None],
) -> None:
    names = ("east-1", "west-1") if prepare is copy else ("east-1",)
    with played_site(program, tmp_path, {}, *names) as site:
        killed = killing(site, authority, prepare, REQUESTS)
        every = 3 if prepare in {committed_key, answer, copy} else 1
        number = every
        while killed.at(number):
            number += every
    assert number > 2 * len(killed.plan.actions)
    # What an appliance makes is served at once, and known to nobody until it has been exported.
    assert (killed.strangers > 0) is (prepare is self_signed)
    record_property("cases", number // every - 1)
