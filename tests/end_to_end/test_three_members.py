"""What the members of a site hold is the same to the byte: when one comes, when one is away, when one dies.

The certificate is asked for on the primary, signed by OpenSSL's `ca`, and copied. What clients see of that is shown in
`test_chapters`, what becomes of it when the program is killed in `test_killed`.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.exits import Exit
from reconciler.plan.model import Import, KeySource
from tests.end_to_end.lifecycle import appliance, certificate
from tests.end_to_end.three_members import (
    AN_HOUR_AGO,
    MEMBERS,
    TODAY,
    WILDCARD,
    ThreeMembers,
    held,
    played,
    three_members,
)
from tests.support.authorities import openssl_authority
from tests.support.authority import DAY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.authorities import OpenSSLAuthority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpenSSLAuthority:
    return openssl_authority(tmp_path_factory.mktemp("openssl") / "ca")


@pytest.fixture
def site(tmp_path: Path) -> ThreeMembers:
    return three_members(tmp_path)


def test_members_hold_the_same_and_a_fourth_gets_what_it_lacks(site: ThreeMembers, authority: OpenSSLAuthority) -> None:
    site.begin(authority, TODAY - 10 * DAY)
    site.hold_the_same()
    before = [held(site.stores / each) for each in MEMBERS]
    site.declare(appliance("node-3"))
    site.edit("sites/access.yaml", "[node-1, node-2]", "[node-1, node-2, node-3]")
    site.make_store("node-3")
    plan = site.plan()
    expected = ["import", "import", "import", "set_default"]
    assert [(each.appliance, each.kind) for each in plan.actions] == [("node-3", each) for each in expected]
    assert [each.key_source for each in plan.actions if isinstance(each, Import)][-1] is KeySource.PEER
    site.run("apply", "--yes")
    assert [held(site.stores / each) for each in MEMBERS] == before
    site.hold_the_same(*MEMBERS, "node-3")


@pytest.mark.parametrize("away", ["node-2", pytest.param("hub-1", marks=pytest.mark.prove)])
def test_the_others_renew_while_a_member_is_away(site: ThreeMembers, authority: OpenSSLAuthority, away: str) -> None:
    """With the same key even where it is the primary that is away: any member that holds the key can ask."""
    site.renewal_is_due(authority, "same_key")
    old, hidden = site.fingerprint, site.root.parent / "hidden"
    (site.stores / away).rename(hidden)
    site.run("apply", "--yes", exits=Exit.COULD_NOT)
    site.commit(authority, not_before=AN_HOUR_AGO, exits=Exit.COULD_NOT)
    site.run("apply", "--yes", exits=Exit.COULD_NOT)
    assert site.fingerprint != old
    site.hold_the_same(*(each for each in MEMBERS if each != away))
    hidden.rename(site.stores / away)
    site.hold_the_same(away, leaf=old)
    comes_after(site, away)
    site.hold_the_same()
    site.plan(exits=Exit.DONE)


def test_played_members_hand_out_the_same(site: ThreeMembers, authority: OpenSSLAuthority) -> None:
    with played(site):
        site.begin(authority, TODAY - 10 * DAY)
        site.hand_out_the_same(authority)


@pytest.mark.prove
def test_the_others_renew_while_a_played_member_is_cut_off(site: ThreeMembers, authority: OpenSSLAuthority) -> None:
    with played(site) as operator:
        site.renewal_is_due(authority, "new_key")
        settings = operator.read_text()
        [port] = re.findall(r"node-2\.example\.com:443: (\S+)", settings)
        operator.write_text(settings.replace(port, "127.0.0.1:1"))
        site.run("apply", "--yes", exits=Exit.COULD_NOT)
        site.commit(authority, not_before=AN_HOUR_AGO, exits=Exit.COULD_NOT)
        site.run("apply", "--yes", exits=Exit.COULD_NOT)
        operator.write_text(settings)
        comes_after(site, "node-2")
        site.hand_out_the_same(authority)


def comes_after(site: ThreeMembers, member: str) -> None:
    """A member that was away gets exactly what it lacks, and nothing happens elsewhere."""
    expected = ["import", "set_default", "remove"]
    assert [(each.appliance, each.kind) for each in site.plan().actions] == [(member, each) for each in expected]
    site.run("apply", "--yes")


def test_a_primary_that_died_before_the_copy_is_said_and_can_be_replaced(
    site: ThreeMembers, authority: OpenSSLAuthority
) -> None:
    site.run("apply", "--yes")
    site.commit(authority, not_before=AN_HOUR_AGO)
    shutil.rmtree(site.stores / "hub-1")
    told = words(site.run("plan", exits=Exit.COULD_NOT))
    assert "the key of access is on no appliance that can be reached; it may be on hub-1" in told
    assert "name another `primary` and delete `signed` to start over" in told

    name_another_primary(site)
    site.declare(certificate("requested", WILDCARD))
    site.run("apply", "--yes", exits=Exit.COULD_NOT)
    site.commit(authority, not_before=AN_HOUR_AGO, exits=Exit.COULD_NOT)
    site.run("apply", "--yes", exits=Exit.COULD_NOT)
    site.hold_the_same("node-1", "node-2")
    site.run("apply", "--yes", "--create-stores")
    site.hold_the_same()
    site.plan(exits=Exit.DONE)


def test_a_primary_that_died_with_the_request_is_said_and_can_be_replaced(site: ThreeMembers) -> None:
    site.run("apply", "--yes")
    shutil.rmtree(site.stores / "hub-1")
    told = words(site.run("plan", exits=Exit.COULD_NOT))
    assert "access's request is made on hub-1, which cannot be reached" in told
    assert "bring hub-1 back, or name another appliance as `primary`" in told
    name_another_primary(site)
    plan = site.plan(exits=Exit.COULD_NOT)
    assert [(each.appliance, each.kind) for each in plan.actions] == [("node-1", "create_request")]


def name_another_primary(site: ThreeMembers) -> None:
    site.edit("sites/access.yaml", "primary: hub-1", "primary: node-1")
    site.edit("sites/access.yaml", "[node-1, node-2]", "[hub-1, node-2]")


def words(text: str) -> str:
    """A text without the ends of its lines."""
    return " ".join(text.split())
