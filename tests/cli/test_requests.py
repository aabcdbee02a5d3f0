"""`reconciler requests` as people and pipelines run it, over certificate directories."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import anyio
import pytest

from reconciler.base.clock import system_clock
from reconciler.engine.load import load_desired
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.stores import Stores
from reconciler.live.driver import CertificateForm, NewKey
from reconciler.pki.certificate import distinguished_name
from reconciler.pki.names import parse_name
from reconciler.pki.reading import read
from reconciler.report.requests import Requests
from tests.cli.terminal import Terminal
from tests.support.programs import require_program

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.live.store import PendingRequest
    from reconciler.report.requests import Request
    from tests.cli.fleet import Fleet

SUBJECT = [("C", "US"), ("O", "Example Company"), ("CN", "Example remote access")]
NAMES = ("access.example.com", "east-1.example.com", "west-1.example.com")
HOSTILE = [("CN", "../../etc/\x1b[2J\u202e\nreconciler: sent"), ("O", "x" * 10_000)]
_REQUESTED = "source: {kind: requested, chain: [access/chain.pem]}\n"


@pytest.fixture
def fleet(fleet: Fleet) -> Fleet:
    """`access` is asked of a CA, which has not answered."""
    path = fleet.file("certificates/access.yaml")
    path.write_text(path.read_text().split("source:")[0] + _REQUESTED)
    return fleet


def ask(fleet: Fleet, appliance: str, subject: list[tuple[str, str]], *names: str) -> PendingRequest:
    """Make a request in a store, and return it as the store shows it."""
    form = CertificateForm("", NewKey("ec-p256"), distinguished_name(subject), tuple(map(parse_name, names)))

    async def act() -> PendingRequest:
        async with Stores(load_desired(fleet.desired_state), OperatorSettings(), system_clock).open(
            appliance
        ) as driver:
            before = await driver.observe()
            await driver.create_request(form)
            (made,) = set((await driver.observe()).requests) - set(before.requests)
            return made

    return anyio.run(act)


def listed(fleet: Fleet, *options: str | Path) -> dict[str, Request]:
    """The requests of the JSON document by fingerprint."""
    document = Requests.model_validate_json(fleet.run("requests", "--format", "json", *options).out)
    return {each.fingerprint: each for part in document.appliances for each in part.requests}


def folder(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


def test_each_request_is_listed_with_what_it_is_for(fleet: Fleet) -> None:
    awaited = ask(fleet, "east-1", SUBJECT, *NAMES)
    strange = ask(fleet, "lab", [("CN", "Strange")], "strange.example.com")
    ran = fleet.run("requests")
    assert (ran.code, ran.err) == (0, "")
    assert (
        f"""
east-1, site access
  for access: the CA's answer is awaited
    Subject              CN=Example remote access, O=Example Company, C=US
    Alternative Name(s)  dNSName - access.example.com
                         dNSName - east-1.example.com
                         dNSName - west-1.example.com
    Public Key           ec-p256
    Public Key SHA-256   {awaited.public_key}
    Fingerprint SHA-256  {awaited.fingerprint}
    File                 access.csr
"""
        in ran.out
    )
    assert "\nlab\n  for none: nothing that is declared fits it\n" in ran.out
    assert strange.fingerprint in ran.out
    assert ran.out.count("    File  ") == 1
    assert "\nwest-1: no pending requests\n" in ran.out


def test_nothing_pending_is_one_line(fleet: Fleet) -> None:
    assert "east-1, lab, west-1: no pending requests\n" in fleet.run("requests").out


def test_programs_get_a_document(fleet: Fleet) -> None:
    awaited = ask(fleet, "east-1", SUBJECT, *NAMES)
    ran = fleet.run("requests", "--format", "json")
    assert ran.code == 0
    document = Requests.model_validate_json(ran.out)
    assert [(each.name, len(each.requests)) for each in document.appliances] == [
        ("east-1", 1),
        ("lab", 0),
        ("west-1", 0),
    ]
    row = document.appliances[0].requests[0]
    assert (row.standing, row.certificate, row.file) == ("awaited", "access", "access.csr")
    (request,) = read(row.request_data.encode()).requests
    assert request.fingerprint == row.fingerprint == awaited.fingerprint
    assert request.public_key == row.public_key
    assert request.is_signature_valid


def test_only_what_is_asked_for_is_listed(fleet: Fleet) -> None:
    awaited = ask(fleet, "east-1", SUBJECT, *NAMES)
    strange = ask(fleet, "lab", [("CN", "Strange")], "strange.example.com")
    assert set(listed(fleet)) == {awaited.fingerprint, strange.fingerprint}
    assert set(listed(fleet, "--appliance", "lab")) == {strange.fingerprint}
    assert set(listed(fleet, "--site", "access")) == {awaited.fingerprint}
    assert fleet.run("requests", "--appliance", "nobody").code == 1


class TestOut:
    def test_what_is_sent_to_a_ca_is_written_once(self, fleet: Fleet, tmp_path: Path) -> None:
        out = tmp_path / "new" / "requests"
        awaited, _strange = ask(fleet, "east-1", SUBJECT, *NAMES), ask(fleet, "lab", HOSTILE)
        ran = fleet.run("requests", "--out", out)
        assert (ran.code, ran.err.splitlines()) == (0, [f"{out}/access.csr: written"])
        assert f"    File                 {out}/access.csr\n" in ran.out
        assert folder(out) == {"access.csr": awaited.request_data.encode()}
        shown = subprocess.run(
            [require_program("openssl"), "req", "-in", out / "access.csr", "-verify", "-noout", "-text"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "DNS:access.example.com, DNS:east-1.example.com, DNS:west-1.example.com" in shown.stdout
        before = {each.name: each.stat() for each in out.iterdir()}
        again = fleet.run("requests", "--out", out)
        assert again.err.splitlines() == [f"{out}/access.csr: unchanged"]
        assert {each.name: each.stat() for each in out.iterdir()} == before

    def test_what_nobody_waits_for_any_more_is_named_and_left_there(self, fleet: Fleet, tmp_path: Path) -> None:
        out = tmp_path / "out"
        out.mkdir()
        for name in ("access.csr", "theirs.csr", "lab.txt"):
            (out / name).write_text("there before")
        ran = fleet.run("requests", "--out", out)
        assert ran.err.splitlines() == [f"{out}/access.csr: left there, nobody waits for its answer any more"]
        assert folder(out)["access.csr"] == b"there before"

    def test_of_several_alike_one_is_sent(self, fleet: Fleet, tmp_path: Path) -> None:
        made = [ask(fleet, "east-1", SUBJECT, *NAMES) for _ in range(2)]
        ran = fleet.run("requests", "--out", tmp_path / "out")
        assert "it would fit access, which does not wait for it" in ran.out
        assert folder(tmp_path / "out")["access.csr"] in [each.request_data.encode() for each in made]

    def test_a_folder_that_cannot_be_one_is_told_after_the_list(self, fleet: Fleet, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        ask(fleet, "east-1", SUBJECT, *NAMES)
        ran = fleet.run("requests", "--out", tmp_path / "file")
        assert ran.code == 1
        assert "for access: the CA's answer is awaited" in ran.out
        assert ran.err == (
            f"reconciler: {tmp_path}/file cannot be written: File exists - name another folder with --out\n"
        )

    def test_a_file_that_is_none_is_not_replaced(self, fleet: Fleet, tmp_path: Path) -> None:
        ask(fleet, "east-1", SUBJECT, *NAMES)
        (tmp_path / "elsewhere").write_text("mine")
        (tmp_path / "access.csr").symlink_to(tmp_path / "elsewhere")
        ran = fleet.run("requests", "--out", tmp_path)
        assert ran.code == 1
        assert "access.csr is there and no regular file" in ran.err
        assert (tmp_path / "elsewhere").read_text() == "mine"


class TestTrouble:
    def test_one_store_that_cannot_be_read_hides_no_other(self, fleet: Fleet, tmp_path: Path) -> None:
        ask(fleet, "east-1", SUBJECT, *NAMES)
        (fleet.store("lab") / "half.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
        ran = fleet.run("requests", "--out", tmp_path / "out")
        assert ran.code == 1
        assert "\nlab\n  could not be observed\n" in ran.out
        assert "unreachable" in ran.out
        assert list(folder(tmp_path / "out")) == ["access.csr"]

    def test_a_broken_rule_is_told_and_what_is_pending_is_listed(self, fleet: Fleet) -> None:
        awaited = ask(fleet, "east-1", SUBJECT, *NAMES)
        fleet.edit("certificates/access.yaml", "country: US", "country: USA")
        ran = fleet.run("requests")
        assert ran.code == 3
        assert awaited.fingerprint in ran.out
        assert "\nErrors\n" in ran.out

    def test_names_that_somebody_else_chose_stay_on_their_line(self, fleet: Fleet) -> None:
        ask(fleet, "lab", HOSTILE)
        ran = fleet.run("requests")
        assert all(line.isprintable() for line in (ran.out + ran.err).splitlines())
        assert "\nreconciler: sent" not in ran.out
        as_json = fleet.run("requests", "--format", "json").out
        assert all(line.isprintable() for line in as_json.splitlines())


def test_on_a_terminal_it_reads_the_same_in_colour(fleet: Fleet) -> None:
    ask(fleet, "east-1", SUBJECT, *NAMES)
    code, output = Terminal.run("requests", fleet.desired_state, columns=100).end()
    assert code == 0
    assert "\x1b[36mfor access: the CA's answer is awaited\x1b[0m" in output
