"""Nobody who comes while certificates are renewed and a CA is replaced is turned away, whichever match is served."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from reconciler.base.clock import system_clock
from reconciler.lab.tls import TieBreak
from reconciler.plan.model import State
from reconciler.report.results import Applied
from tests.end_to_end.hammering import hammering, visits
from tests.end_to_end.lifecycle import Lifecycle, appliance, certificate
from tests.end_to_end.test_chapters import done
from tests.support.authorities import openssl_authority
from tests.support.authority import DAY
from tests.support.playing import playing

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.authorities import OpenSSLAuthority

SITE, HELP = "access.example.com", "help.example.com"
MEMBERS = ("east-1", "west-1")
NAMES = {name: (SITE, f"{name}.example.com", HELP) for name in MEMBERS}
TODAY = system_clock()
OLD_BUILD, NEW_BUILD = "sites/old-build.pem", "sites/new-build.pem"


def site(*builds: tuple[str, dt.datetime]) -> dict[str, str]:
    """The site with the builds that were installed, each trusting the roots of a file."""
    listed = "".join(f"  - {{installed_at: '{at:%Y-%m-%dT%H:%M:%SZ}', trusts: [../{file}]}}\n" for file, at in builds)
    return {
        "sites/access.yaml": (
            f"hostname: {SITE}\ntopology: failover\nprimary: east-1\nbackup: west-1\n"
            f"certificates: [access]\ndefault: access\nprotected_names: [{HELP}]\nclient_software:\n{listed}"
        )
    }


CERTIFICATE = certificate("requested", SITE, HELP, *(f"{name}.example.com" for name in MEMBERS))
FILES = {
    **site((OLD_BUILD, TODAY - 400 * DAY)),
    **appliance("east-1"),
    **appliance("west-1"),
    # Small keys: the machine's time is for the clients.
    **{path: text.replace("rsa-2048", "ec-p256") for path, text in CERTIFICATE.items()},
    "fleet.yaml": "policy: {keep_previous: 30m}\n",
}


def apply(life: Lifecycle) -> Applied:
    """Apply while clients come."""
    return Applied.model_validate_json(life.run("apply", "--yes", "--format", "json"))


def issued_after(life: Lifecycle, days: int) -> None:
    """Declare that what is older than some days is to be replaced."""
    path = life.root / "certificates/access.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("issued_after:")]
    path.write_text("\n".join([*lines, f"issued_after: {TODAY - days * DAY:%Y-%m-%d}"]) + "\n")


@pytest.mark.prove
@pytest.mark.parametrize("tie_break", list(TieBreak))
def test_every_client_is_served_well_while_certificates_change(
    tmp_path: Path, tie_break: TieBreak, record_property: Callable[[str, object], None]
) -> None:
    first, second = (openssl_authority(tmp_path / name, name) for name in ("First", "Second"))
    root = tmp_path / "desired-state"
    life = Lifecycle(root, {}, {})
    life.declare(FILES)
    (root / OLD_BUILD).write_bytes(first.chain[-1])
    (root / NEW_BUILD).write_bytes(first.chain[-1] + second.chain[-1])
    with playing(root, tmp_path / "lab", "--tie-break", tie_break) as lab:
        life.environ, life.ports = lab.environ, {each: lab.port(f"{each}.example.com:443") for each in MEMBERS}
        life.begin(first, TODAY - 10 * DAY)
        with served_well(life, root / OLD_BUILD, root / NEW_BUILD, tell=record_property):
            renew(life, first)
        with served_well(life, root / OLD_BUILD, root / NEW_BUILD, tell=record_property):
            announce(life, second)
        with served_well(life, root / NEW_BUILD, tell=record_property):
            replace(life)
        strangers = visits(life.ports, SITE, NAMES, [root / OLD_BUILD])
        assert all(each.problem(each.context()) for group in strangers for each in group)


@contextmanager
def served_well(life: Lifecycle, *believed: Path, tell: Callable[[str, object], None]) -> Iterator[None]:
    """See that the clients of some builds are content with whatever they are served until the block ends."""
    with hammering(visits(life.ports, SITE, NAMES, believed)) as tally:
        yield
    assert not tally.problems
    assert min(tally.handshakes.values()) > 5
    tell("cases", tally.count)


def renew(life: Lifecycle, authority: OpenSSLAuthority) -> None:
    """With the same key, then with a new one; what is replaced goes at once."""
    for days, more in ((6, ""), (3, "renew_with: new_key\n")):
        before = life.leaf
        issued_after(life, days)
        life.add("certificates/access.yaml", more)
        assert done(apply(life)) == {"create_request": 1}
        life.commit(authority, not_before=TODAY - (days - 1) * DAY + DAY / 24)
        assert done(apply(life)) == {"import": 2, "set_default": 2, "remove": 2}
        assert before
        assert life.leaf
        assert (life.leaf.public_key == before.public_key) == (not more)


def announce(life: Lifecycle, authority: OpenSSLAuthority) -> None:
    """The answer of another CA is committed too early for some clients: only its chain comes in, and serves nobody."""
    life.declare(site((OLD_BUILD, TODAY - 400 * DAY), (NEW_BUILD, TODAY - DAY / 24)))
    issued_after(life, 1)
    assert done(apply(life)) == {"create_request": 1}
    life.commit(authority, not_before=TODAY - DAY / 24)
    applied = apply(life)
    assert done(applied) == {"import": 4}
    held = {each.id: each.hold.reason.code for each in applied.plan.actions if each.state is State.HELD and each.hold}
    assert {held[f"{name}/import/access"] for name in MEMBERS} == {"untrusted-by-clients", "follows"}


def replace(life: Lifecycle) -> None:
    """All clients have the build that believes both: the other CA's certificate takes over."""
    life.declare(site((OLD_BUILD, TODAY - 400 * DAY), (NEW_BUILD, TODAY - 3 * DAY)))
    assert done(apply(life)) == {"import": 2, "set_default": 2, "remove": 2}
