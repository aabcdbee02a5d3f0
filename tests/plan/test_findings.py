"""What a person is told of the live state: what nobody declared, where members differ, what expires unnoticed."""

from __future__ import annotations

from dataclasses import replace

from reconciler.base.errors import StoreUnreachable
from reconciler.base.findings import Severity
from reconciler.live.store import LiveCertificate, Origin
from tests.plan.scenes import (
    ALL,
    SITE,
    Scene,
    builds,
    chain_of,
    found,
    keyed,
    keyless,
    leaf,
    message,
    one,
    part,
    pending,
    provided,
    requested,
    steps,
    store,
    two,
)
from tests.support.authority import DAY

CURRENT = leaf(one(), start=-10, names=ALL)
SETTLED = (keyed(CURRENT, "access"), *chain_of(one()))
LIVE = store(SETTLED, default=CURRENT)
PAIR = Scene({"access": provided(CURRENT)}, default="access", west="")
ALONE = replace(PAIR, west=None)
LOST = StoreUnreachable("nobody answers", "check the cable")


def managed(*, end: float, names: tuple[str, ...] = ("else.example.com",)) -> LiveCertificate:
    """A certificate that the appliance requests and renews by itself."""
    made = leaf(two(), start=end - 90, end=end, names=names, common_name="Managed").certificate
    return LiveCertificate(made, "managed", has_key=True, origin=Origin.APPLIANCE)


class TestPeerDiverged:
    """Which member, what differs, and what becomes of it."""

    def test_one_that_lacks_it_is_named_with_who_has_it(self) -> None:
        plan = PAIR.planning(LIVE, store()).plan
        [finding] = plan.all_findings
        short = CURRENT.certificate.fingerprint[:16]
        assert (finding.rule, finding.severity, finding.appliance) == ("peer-diverged", Severity.WARNING, "west")
        assert finding.message == f"west lacks access ({short}), unlike east"
        assert finding.remedy is not None
        assert str(finding.position).startswith("sites/access.yaml:")

    def test_one_that_holds_another_in_its_place_says_which(self) -> None:
        before, long_before = leaf(one(), start=-300, names=ALL), leaf(one(), start=-400, names=ALL)
        west = store(keyed(before, "before"), keyed(long_before, "long before"), chain_of(one()), default=before)
        text = message(PAIR.planning(LIVE, west).plan, "peer-diverged")
        assert f"and holds before ({before.certificate.fingerprint[:16]}) in its place, unlike east" in text

    def test_one_that_holds_it_without_its_key_says_so(self) -> None:
        west = store(keyless(CURRENT, "bare"), chain_of(one()))
        text = message(PAIR.planning(LIVE, west).plan, "peer-diverged")
        assert text.startswith("west holds access (")
        assert ") without its key, unlike east" in text

    def test_the_primary_can_be_the_one_that_lacks_it(self) -> None:
        plan = PAIR.planning(store(), LIVE).plan
        assert message(plan, "peer-diverged").startswith("east lacks access")

    def test_each_of_three_that_lacks_it_is_told(self) -> None:
        plan = replace(PAIR, north="").planning(store(), LIVE, store()).plan
        messages = sorted(each.message.split(" ")[0] for each in plan.all_findings)
        assert messages == ["east", "north"]

    def test_where_nobody_holds_it_nobody_differs(self) -> None:
        assert found(PAIR.planning(store(), store()).plan) == []

    def test_where_all_hold_it_nobody_differs(self) -> None:
        assert found(PAIR.planning(LIVE, LIVE).plan) == []

    def test_one_that_cannot_be_reached_is_not_said_to_differ(self) -> None:
        assert found(PAIR.planning(LIVE, failures={"west": LOST}).plan) == ["unreachable"]

    def test_what_will_be_copied_needs_nobody(self) -> None:
        scene = replace(PAIR, certificates={"access": requested(CURRENT)})
        assert message(scene.planning(LIVE, store()).plan, "peer-diverged").endswith(" - apply brings it there")


class TestUndeclared:
    STRANGER = leaf(two(), start=-50, end=50, names=["else.example.com"], common_name="Stranger")

    def test_one_that_lasts_is_a_notice(self) -> None:
        plan = ALONE.plan(store(SETTLED, keyed(self.STRANGER, "stranger"), default=CURRENT))
        assert found(plan) == ["undeclared"]

    def test_one_that_is_about_to_expire_is_a_warning(self) -> None:
        ending = leaf(two(), start=-100, end=20, names=["else.example.com"], common_name="Stranger")
        plan = ALONE.plan(store(SETTLED, keyed(ending, "stranger"), default=CURRENT))
        assert found(plan) == ["expiring-undeclared"]
        text = message(plan, "expiring-undeclared")
        assert text.startswith("nothing declares stranger, which expires on 2026-12-13 (")
        assert f"- {{sha256: {ending.certificate.fingerprint}, reason: ...}}" in text

    def test_the_warning_begins_when_the_policy_would_renew_it(self) -> None:
        live = store(SETTLED, keyed(self.STRANGER, "stranger"), default=CURRENT)
        scene = replace(ALONE, policy="renew_before: 25d")
        edge = self.STRANGER.certificate.not_after - 25 * DAY
        assert found(scene.plan(live, now=edge)) == ["expiring-undeclared"]
        assert found(scene.plan(live, now=edge - DAY / 86400)) == ["undeclared"]

    def test_one_that_has_expired_is_said_to_have(self) -> None:
        gone = leaf(two(), start=-100, end=-1, names=["else.example.com"], common_name="Stranger")
        plan = ALONE.plan(store(SETTLED, keyed(gone, "stranger"), default=CURRENT))
        assert "which expired on 2026-11-22" in message(plan, "expiring-undeclared")

    def test_without_a_key_it_expires_unnoticed_because_it_serves_nobody(self) -> None:
        ending = leaf(two(), start=-100, end=20, names=["else.example.com"], common_name="Stranger")
        plan = ALONE.plan(store(SETTLED, keyless(ending, "stranger"), default=CURRENT))
        assert found(plan) == ["undeclared"]

    def test_where_it_is_removed_nothing_is_told(self) -> None:
        ending = leaf(two(), start=-100, end=20, names=["else.example.com"], common_name="Stranger")
        scene = replace(ALONE, east="undeclared: remove\n")
        plan = scene.plan(store(SETTLED, keyed(ending, "stranger"), default=CURRENT))
        assert (steps(plan), found(plan)) == (["remove stranger"], [])

    def test_a_newer_one_is_told_with_the_lines_that_declare_or_retire_it(self) -> None:
        newer = leaf(one(), start=-1, names=ALL)
        plan = ALONE.plan(store(SETTLED, keyed(newer, "by hand"), default=CURRENT))
        assert found(plan) == ["newer-than-declared"]
        text = message(plan, "newer-than-declared")
        assert "commit it as access, or retire it with" in text
        assert newer.certificate.fingerprint in text


class TestApplianceManaged:
    def test_one_that_serves_nobody_is_left_alone_in_silence(self) -> None:
        plan = ALONE.plan(store(SETTLED, managed(end=60), default=CURRENT))
        assert (plan.actions, found(plan)) == ((), [])

    def test_one_that_may_be_served_for_a_protected_name_is_a_notice(self) -> None:
        plan = ALONE.plan(store(SETTLED, managed(end=60, names=(SITE,)), chain_of(two()), default=CURRENT))
        [finding] = plan.all_findings
        assert (finding.rule, finding.severity) == ("appliance-managed", Severity.NOTICE)
        assert finding.message == f"managed, which the appliance renews by itself, may be served for {SITE}"

    def test_one_that_was_not_renewed_in_time_is_a_warning(self) -> None:
        late = store(SETTLED, managed(end=19), default=CURRENT)
        [finding] = ALONE.plan(late).all_findings
        assert (finding.rule, finding.severity) == ("appliance-managed", Severity.WARNING)
        assert finding.message == ("the appliance renews managed by itself and has not: it expires on 2026-12-12")
        assert found(ALONE.plan(store(SETTLED, managed(end=21), default=CURRENT))) == []


class TestWhoTells:
    """What concerns a whole site is told once, by the first member that is planned."""

    SCENE = replace(PAIR, certificates={"access": requested()})
    ASKED = store(requests=[pending("first")])

    def test_the_primary(self) -> None:
        plan = self.SCENE.planning(store(), self.ASKED).plan
        assert [each.rule for each in part(plan).findings] == ["request-pending"]
        assert part(plan, "west").findings == ()

    def test_another_where_the_primary_is_not_planned(self) -> None:
        plan = self.SCENE.planning(store(), self.ASKED, only=frozenset({"west"})).plan
        assert [each.rule for each in part(plan, "west").findings] == ["request-pending"]

    def test_another_where_the_primary_cannot_be_reached(self) -> None:
        plan = self.SCENE.planning(west=self.ASKED, failures={"east": LOST}).plan
        assert [each.rule for each in part(plan, "west").findings] == ["request-pending"]

    def test_an_unfinished_change_is_told_where_it_is(self) -> None:
        plan = PAIR.planning(LIVE, replace(LIVE, unfinished="a reload is due")).plan
        assert [each.rule for each in part(plan, "west").findings] == ["unfinished-change"]


class TestServedNotGood:
    """Clients that exist are refused by what may be served, and nothing that is ready helps."""

    def test_a_root_that_no_build_trusts_is_an_error_at_the_builds(self) -> None:
        plan = replace(ALONE, clients=builds((-90, [two()]))).plan(LIVE)
        finding = next(each for each in plan.all_findings if each.rule == "served-not-good")
        assert (finding.severity, finding.appliance) == (Severity.ERROR, "east")
        assert finding.message.startswith(
            f"clients that ask for {SITE}, east.example.com, no server name may be served "
        )
        assert finding.message.endswith("does not trust Root One")
        assert str(finding.position) == "sites/access.yaml:6:3"

    def test_what_they_accept_is_none_and_neither_is_what_is_replaced_at_once(self) -> None:
        scene = replace(ALONE, clients=builds((-90, [one()])))
        assert "served-not-good" not in found(scene.plan(LIVE))
        expired = keyed(leaf(one(), start=-90, end=-1, names=ALL), "expired")
        assert "served-not-good" not in found(scene.plan(store(expired, chain_of(one()), default=expired)))

    def test_what_expires_meanwhile_is_one(self) -> None:
        scene = replace(ALONE, clients=builds((-90, [one()])))
        assert "served-not-good" in found(scene.planning(LIVE, now=CURRENT.certificate.not_after + DAY).plan)

    def test_before_the_first_certificate_there_is_only_the_factorys(self) -> None:
        scene = Scene({"access": requested()}, default="access", clients=builds((-90, [one()])))
        assert "served-not-good" not in found(scene.plan(store()))

    def test_without_clients_nobody_is_refused(self) -> None:
        assert "served-not-good" not in found(ALONE.planning(LIVE, now=CURRENT.certificate.not_after + DAY).plan)
