"""Pull requests from opening to what the stores hold, by the very commands of the workflows, and how they go wrong."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.base.clock import system_clock
from reconciler.engine.load import load_desired
from reconciler.engine.operator import OperatorSettings
from reconciler.engine.run import observe_fleet
from reconciler.engine.saved import read_plan
from reconciler.engine.stores import Stores
from reconciler.live.driver import Upload
from tests.cli.fleet import PASSPHRASE, VARIABLE, issue
from tests.cli.test_saved_plans import made
from tests.end_to_end.forge import Forge, Planned
from tests.support.authority import DAY, Authority
from tests.support.signing import SshKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAN_ANEW = "::error::The plan is stale. Start this workflow by hand to plan anew."


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge.open(tmp_path)


def change(forge: Forge) -> None:
    """Two commits on a branch, and what they would do is ten actions."""
    forge.branch()
    forge.fleet.edit("certificates/access.yaml", "key: ec-p256", "renew_before: 20d\nkey: ec-p256")
    forge.commit("First")
    forge.fleet.edit("certificates/lab.yaml", "key: ec-p256", "key: ec-p384")
    forge.propose("Second")


def certificates(forge: Forge, name: str) -> int:
    seen = anyio.run(observe_fleet, load_desired(forge.fleet.desired_state), OperatorSettings(), system_clock)
    return len(seen.stores[name].certificates)


@pytest.mark.parametrize(
    "how",
    ["squash", pytest.param("merge", marks=pytest.mark.prove), pytest.param("rebase", marks=pytest.mark.prove)],
)
def test_what_was_reviewed_is_applied_however_it_is_merged(forge: Forge, how: str) -> None:
    change(forge)
    assert forge.validate().code == 0
    planned = forge.plan()
    assert planned.ran.code == 0, planned.ran.out
    assert planned.comment.startswith("<!-- pra-certificate-reconciler: plan desired-state -->\n")
    assert planned.digest == read_plan(planned.saved).digest
    assert planned.ran.summary == planned.comment
    assert "https://forge.example.com/example/certificates/actions/runs/42" in planned.comment
    assert (planned.folder / "plan.html").exists()
    forge.merge(how)
    applied = forge.apply(planned)
    assert applied.code == 0, applied.out
    assert "Apply: 10 actions applied on 3 appliances.\n" in applied.out
    again, left = forge.nightly()
    assert "No changes." in again.out
    assert (again.code, left.code, left.outputs) == (0, 0, {"left": "0"})


@pytest.mark.prove
def test_no_secret_is_in_what_a_job_leaves_behind(forge: Forge) -> None:
    change(forge)
    planned = forge.plan()
    everything = [path.read_text() for path in planned.folder.rglob("*") if path.is_file()]
    for text in (planned.ran.out, planned.ran.summary, *everything):
        assert PASSPHRASE not in text
        assert "a=b c" not in text


class TestStale:
    def test_a_store_that_moved(self, forge: Forge) -> None:
        change(forge)
        planned = forge.plan()
        forge.merge("squash")
        somebody_applies(forge, "lab")
        applied = forge.apply(planned)
        assert applied.code == 4
        assert "lab: its store has changed" in applied.out
        assert PLAN_ANEW in applied.obeyed

    @pytest.mark.prove
    def test_another_merge_in_between(self, forge: Forge) -> None:
        change(forge)
        planned = forge.plan()
        forge.branch("other")
        forge.fleet.edit("sites/access.yaml", "default: access\n", "")
        forge.propose("Other", "other")
        forge.merge("merge", "other")
        forge.merge("merge")
        applied = forge.apply(planned)
        assert applied.code == 4
        assert "the desired state is another one: " in applied.out
        assert PLAN_ANEW in applied.obeyed

    @pytest.mark.prove
    def test_which_then_is_planned_anew_by_hand_and_applied(self, forge: Forge) -> None:
        change(forge)
        planned = forge.plan()
        forge.merge("squash")
        somebody_applies(forge, "lab")
        assert forge.apply(planned).code == 4
        anew = forge.plan_anew()
        assert anew.ran.code == 0
        assert anew.ran.outputs == {"digest": read_plan(anew.saved).digest}
        assert anew.ran.summary == anew.comment
        assert forge.apply(anew, anew.ran.outputs["digest"]).code == 0
        assert forge.nightly()[1].outputs == {"left": "0"}

    def test_a_branch_that_lacks_what_was_merged_is_not_planned(self, forge: Forge) -> None:
        change(forge)
        forge.branch("other")
        forge.fleet.edit("fleet.yaml", "policy: {}", "policy: {removals_at_most: 1}")
        forge.propose("Other", "other")
        forge.merge("merge", "other")
        planned = forge.plan()
        assert planned.ran.code == 1
        why = "The desired state has changed on the base branch: update this branch first."
        assert planned.ran.obeyed == [f"::error::{why}"]
        assert planned.ran.outputs == {"outdated": why}
        forge.git("checkout", "-q", "change")
        forge.git("merge", "-q", "-m", "Update", "origin/main")
        forge.git("push", "-q", "origin", "change")
        assert forge.plan().ran.code == 0

    @pytest.mark.prove
    def test_though_what_lies_outside_may_have_been_merged(self, forge: Forge) -> None:
        change(forge)
        forge.branch("other")
        (forge.clone / "notes.md").write_text("ours\n")
        forge.propose("Other", "other")
        forge.merge("merge", "other")
        planned = forge.plan()
        assert planned.ran.code == 0
        forge.merge("merge")
        assert forge.apply(planned).code == 0


def somebody_applies(forge: Forge, name: str) -> None:
    """What a workflow was to do, from a terminal."""
    assert forge.fleet.run("apply", "--appliance", name, "--yes").code == 0


def by_hand(forge: Forge, name: str, number: int, label: str = "old") -> None:
    """Import certificates that nothing declares."""
    authority = Authority.root("Somebody", not_before=system_clock() - 900 * DAY)

    async def act() -> None:
        stores = Stores(load_desired(forge.fleet.desired_state), OperatorSettings(), system_clock)
        async with stores.open(name) as driver:
            for each in range(number):
                issued = authority.issue([f"old-{each}.example.com"], not_before=system_clock() - 9 * DAY)
                await driver.import_(Upload(issued.pkcs12(b"x"), b"x", f"{label}-{each}"))

    anyio.run(act)


class TestRunnersObeyNobodyElse:
    """A runner takes what a step writes for commands: also in a certificate's name, which anybody chose."""

    STEERING = "##[set-output name=digest]x"

    def test_names_in_what_is_planned_and_applied(self, forge: Forge) -> None:
        by_hand(forge, "lab", 2, self.STEERING)
        forge.branch()
        lab = forge.fleet.file("appliances/lab.yaml")
        lab.write_text(lab.read_text() + "undeclared: remove\n")
        forge.propose("Remove")
        planned = forge.plan()
        assert all(each.startswith("::") for each in planned.ran.obeyed)
        forge.merge("squash")
        anew = forge.plan_anew()
        applied = forge.apply(planned)
        assert applied.code == 0
        for ran in (anew.ran, applied):
            assert self.STEERING in ran.out
            assert not ran.obeyed

    @pytest.mark.prove
    def test_names_at_night(self, forge: Forge) -> None:
        lab = forge.fleet.file("appliances/lab.yaml")
        lab.write_text(lab.read_text() + "undeclared: remove\n")
        forge.commit("Remove")
        forge.git("push", "-q", "origin", "main")
        by_hand(forge, "lab", 5, self.STEERING)
        for ran in forge.nightly():
            assert self.STEERING in ran.out
            assert not ran.obeyed

    def test_names_in_errors(self, forge: Forge) -> None:
        change(forge)
        planned = forge.plan()
        forge.merge("squash")
        (forge.clone / "operator.yaml").write_text(f"'{self.STEERING}': 1\n")
        forge.commit("Operator")
        forge.git("push", "-q", "origin", "main")
        forge.branch("other")
        forge.git("push", "-q", "origin", "other")
        refused = forge.plan("other")
        assert refused.comment.startswith("There is no plan:\n\n    ")
        assert self.STEERING in refused.comment
        for ran in (refused.ran, forge.plan_anew().ran, forge.apply(planned), *forge.nightly()):
            assert ran.code == 1
            assert self.STEERING in ran.out
            assert not ran.obeyed

    def test_names_in_what_is_validated(self, forge: Forge) -> None:
        forge.branch()
        forge.fleet.edit("fleet.yaml", "policy: {}", f"policy: {{'{self.STEERING}': 1}}")
        forge.propose("Steer")
        ran = forge.validate()
        assert ran.code != 0
        assert self.STEERING in ran.out
        assert [each.partition(" ")[0] for each in ran.obeyed] == ["::notice", "::error"]


class TestSecrets:
    @pytest.fixture(autouse=True)
    def refused(self, forge: Forge) -> None:
        forge.contexts["secrets.RECONCILER_SECRETS"] = f"{VARIABLE}={PASSPHRASE}\nBASH_ENV=hidden\n"

    def test_a_line_that_is_refused_is_told_by_its_number_wherever_it_is_read(self, forge: Forge) -> None:
        change(forge)
        planned = forge.plan()
        assert planned.ran.code == 1
        assert planned.comment.startswith("There is no plan:\n\n    RECONCILER_SECRETS, line 2: ")
        forge.merge("squash")
        for ran in (planned.ran, forge.plan_anew().ran, forge.apply(planned), *forge.nightly()):
            assert ran.code == 1
            assert "RECONCILER_SECRETS, line 2: " in ran.out
            assert ran.masked == [PASSPHRASE, "hidden"]
            assert "hidden" not in ran.out + ran.summary
        assert certificates(forge, "lab") == 1


class TestNotTrusted:
    @pytest.mark.parametrize(
        "digest",
        ["0" * 64, pytest.param("$(touch pwned)", marks=pytest.mark.prove)],
    )
    def test_another_digest_than_the_reviewed_one(self, forge: Forge, digest: str) -> None:
        change(forge)
        planned = forge.plan()
        forge.merge("squash")
        (planned.folder / "comment.md").write_text("no digest\n")
        applied = forge.apply(planned, digest)
        assert applied.code == 4
        assert "does not have the digest that is expected" in applied.out
        assert PLAN_ANEW in applied.obeyed
        assert not list(forge.folder.rglob("pwned"))

    def test_no_digest_at_all(self, forge: Forge) -> None:
        change(forge)
        planned = forge.plan()
        forge.merge("squash")
        (planned.folder / "comment.md").write_text("no digest\n")
        assert forge.apply(planned).code == 1
        assert certificates(forge, "lab") == 1

    @pytest.mark.parametrize("how", ["edited", pytest.param("shortened", marks=pytest.mark.prove), "another's"])
    def test_an_artifact_that_was_tampered_with(self, forge: Forge, how: str) -> None:
        change(forge)
        planned = forge.plan()
        reviewed = planned.digest
        text = planned.saved.read_text()
        match how:
            case "edited":
                planned.saved.write_text(text.replace('"appliance": "east-1"', '"appliance": "west-1"', 1))
            case "shortened":
                planned.saved.write_text(text[:-100])
            case _:
                ran = forge.fleet.run("plan", "--appliance", "lab", "--out", planned.saved)
                assert ran.code == 0
        forge.merge("squash")
        applied = forge.apply(planned, reviewed)
        assert applied.code != 0
        assert certificates(forge, "east-1") == 1
        assert certificates(forge, "lab") == 1

    @pytest.mark.prove
    def test_one_that_is_too_old(self, forge: Forge) -> None:
        change(forge)
        planned = forge.plan()
        made(planned.saved, 8 * DAY)
        forge.merge("squash")
        applied = forge.apply(planned)
        assert applied.code == 4
        assert "the plan is 8d old, and 7d is allowed" in applied.out
        assert PLAN_ANEW in applied.obeyed


@pytest.mark.prove
class TestRemovals:
    @pytest.fixture
    def planned(self, forge: Forge) -> Planned:
        """A change by which more would be removed than the ceiling allows."""
        change(forge)
        planned = forge.plan()
        forge.merge("squash")
        assert forge.apply(planned).code == 0
        by_hand(forge, "lab", 4)
        forge.branch("remove")
        lab = forge.fleet.file("appliances/lab.yaml")
        lab.write_text(lab.read_text() + "undeclared: remove\n")
        forge.propose("Remove", "remove")
        planned = forge.plan("remove")
        forge.merge("merge", "remove")
        return planned

    def test_the_comment_tells_of_the_ceiling_and_nothing_is_removed(self, forge: Forge, planned: Planned) -> None:
        before = certificates(forge, "lab")
        assert planned.ran.code == 3
        assert "--allow-removals" in planned.comment
        assert forge.apply(planned).code == 3
        assert [ran.code for ran in forge.nightly()] == [3, 3]
        assert certificates(forge, "lab") == before

    def test_a_saved_plan_may_not_bring_its_own(self, forge: Forge, planned: Planned) -> None:
        before = certificates(forge, "lab")
        assert forge.fleet.run("plan", "--allow-removals", "9", "--out", planned.saved).code == 0
        applied = forge.apply(planned, read_plan(planned.saved).digest)
        assert applied.code == 1
        assert "pass --allow-removals 9 as well, if that is meant" in applied.out
        assert certificates(forge, "lab") == before

    @pytest.mark.usefixtures("planned")
    def test_who_plans_anew_may_allow_more_this_once(self, forge: Forge) -> None:
        before = certificates(forge, "lab")
        forge.contexts |= {"inputs.allow-removals": "4", "inputs.plan-anew && inputs.allow-removals || ''": "4"}
        anew = forge.plan_anew()
        assert anew.ran.code == 0, anew.ran.out
        applied = forge.apply(anew, anew.ran.outputs["digest"])
        assert applied.code == 0, applied.out
        assert certificates(forge, "lab") == before - 4


@pytest.mark.prove
def test_what_is_held_is_in_the_comment_and_is_left_at_night(forge: Forge) -> None:
    builds = "client_software:\n  - {installed_at: 2025-01-01T00:00:00Z, trusts: [../certificates/access/root.pem]}"
    authority = Authority.root("Old Root", not_before=system_clock() - 900 * DAY)
    forge.branch("begin")
    issued = issue(authority)
    forge.fleet.commit(issued)
    forge.fleet.file("certificates/access/root.pem").write_bytes(issued.chain[-1].to_x509().public_bytes(Encoding.PEM))
    forge.fleet.edit("sites/access.yaml", "client_software: none", builds)
    forge.propose("Clients", "begin")
    planned = forge.plan("begin")
    forge.merge("squash", "begin")
    assert forge.apply(planned).code == 0

    forge.branch()
    new = issue(Authority.root("New Root", not_before=system_clock() - 900 * DAY), days_ago=1)
    forge.fleet.commit(new)
    forge.fleet.file("certificates/access/new.pem").write_bytes(new.chain[-1].to_x509().public_bytes(Encoding.PEM))
    both = "trusts: [../certificates/access/root.pem, ../certificates/access/new.pem]"
    installed = f"{system_clock() - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    site = forge.fleet.file("sites/access.yaml")
    site.write_text(site.read_text() + f"  - {{installed_at: {installed}, {both}}}\n")
    forge.propose("Another CA")
    planned = forge.plan()
    assert "Held" in planned.comment
    forge.merge("squash")
    assert forge.apply(planned).code == planned.ran.code == 0
    assert forge.nightly()[1].outputs == {"left": "6"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[SshKey, SshKey]:
    """One that may sign, and one that may not."""
    folder = tmp_path_factory.mktemp("ssh")
    return SshKey.make(folder, "forge"), SshKey.make(folder, "mallory")


class TestSigned:
    @pytest.fixture
    def signed(self, tmp_path: Path, keys: tuple[SshKey, SshKey]) -> Forge:
        """A repository whose operator asks for signatures, and says whose."""
        (tmp_path / "signers").write_text(f"forge@example.com {keys[0].public}\n")
        forge = Forge.open(tmp_path, *keys[0].options, operator=f"require_signed: {tmp_path / 'signers'}\n")
        change(forge)
        return forge

    @pytest.mark.prove
    @pytest.mark.parametrize("how", ["merge", "squash"])
    def test_what_is_signed_is_planned_and_applied(self, signed: Forge, how: str) -> None:
        planned = signed.plan()
        assert planned.ran.code == 0
        assert " is signed by forge@example.com (SHA256:" in planned.ran.out
        signed.merge(how)
        assert signed.apply(planned).code == 0

    @pytest.mark.parametrize("who", [pytest.param("nobody", marks=pytest.mark.prove), "mallory"])
    def test_what_is_not_is_neither(self, signed: Forge, keys: tuple[SshKey, SshKey], who: str) -> None:
        planned = signed.plan()
        signed.signing = keys[1].options if who == "mallory" else ()
        signed.git("checkout", "-q", "change")
        signed.git("commit", "-q", "--allow-empty", "-m", "Third\n\n@everybody")
        signed.git("push", "-q", "origin", "change")
        refused = signed.plan()
        why = "is not signed" if who == "nobody" else f"is signed with the key {keys[1].fingerprint} that "
        assert refused.ran.code == 1
        assert not refused.saved.exists()
        said, empty, *told = refused.comment.splitlines()
        assert (said, empty) == ("There is no plan:", "")
        assert why in refused.comment
        assert all(line.startswith("    ") for line in told)
        signed.merge("squash")
        applied = signed.apply(planned)
        assert applied.code == 1
        assert why in applied.out
        assert [ran.code for ran in signed.nightly()] == [1, 1]
        assert certificates(signed, "lab") == 1


class TestFork:
    def test_it_is_validated_without_secrets_and_operator(self, forge: Forge) -> None:
        change(forge)
        ran = forge.validate()
        assert ran.code == 0
        assert VARIABLE not in ran.out

    def test_what_is_wrong_is_annotated_at_its_place(self, forge: Forge) -> None:
        forge.branch()
        forge.fleet.edit("certificates/lab.yaml", "key: ec-p256", "key: rsa-1024")
        forge.propose("Weak")
        ran = forge.validate()
        assert ran.code == 3
        assert any(each.startswith("::error file=desired-state/certificates/lab.yaml,line=3,") for each in ran.obeyed)


class TestHosts:
    """A change cannot send a password anywhere: what may be contacted is in the settings of the protected branch."""

    WEB = (
        "store:\n  {driver: web, url: URL, username: {env: PASSWORD}, password: {env: PASSWORD}, "
        "trust: {sha256: [ONES]}}\n"
    )

    @pytest.fixture
    def listener(self) -> Iterator[socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(0.2)
            yield listening

    def propose(self, forge: Forge, listener: socket.socket) -> str:
        """Point the lab's appliance at a server of the author's."""
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        forge.branch()
        lab = forge.fleet.file("appliances/lab.yaml")
        lines = [line for line in lab.read_text().splitlines(keepends=True) if not line.startswith("store:")]
        store = self.WEB.replace("URL", f"https://{place}/appliance").replace("ONES", f'"{"1" * 64}"')
        lab.write_text("".join(lines) + store + f"endpoint: {place}\n")
        (forge.clone / "operator.yaml").write_text(f"hosts: ['{place}']\n")
        forge.propose("Mine")
        return place

    def test_no_byte_is_sent_to_a_host_that_a_change_names(self, forge: Forge, listener: socket.socket) -> None:
        place = self.propose(forge, listener)
        planned = forge.plan()
        assert planned.ran.code == 1
        assert f"the host `{place}` is not among those that may be contacted" in planned.comment
        with pytest.raises(TimeoutError):
            listener.accept()

    @pytest.mark.prove
    def test_though_it_would_be_reached_if_the_operator_allowed_it(
        self, tmp_path: Path, listener: socket.socket
    ) -> None:
        forge = Forge.open(tmp_path, operator=f"hosts: ['127.0.0.1:{listener.getsockname()[1]}']\n")
        self.propose(forge, listener)
        listener.settimeout(60)

        def accept() -> None:
            listener.accept()[0].close()

        with ThreadPoolExecutor(1) as pool:
            called = pool.submit(accept)
            assert forge.plan().ran.code == 1
            assert called.done()
