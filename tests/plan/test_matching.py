"""Which live certificates are ours: each class, and which comes first."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from reconciler.live.store import LiveCertificate, Origin
from reconciler.plan.matching import CertificateClass as Class
from reconciler.plan.matching import why_due
from tests.plan.scenes import (
    ALL,
    OWN,
    SITE,
    Scene,
    chain_of,
    factory,
    found,
    keyed,
    keyless,
    leaf,
    message,
    one,
    own,
    provided,
    steps,
    store,
    two,
)
from tests.support.authority import DAY, NOW, Authority

CURRENT = leaf(one(), start=-10)
SCENE = Scene({"access": provided(CURRENT)}, default="access")
COMPLETE = (keyed(CURRENT, "access"), *chain_of(one()))


def retire(*certificates: LiveCertificate) -> str:
    lines = "".join(f"  - {{sha256: '{each.fingerprint}', reason: key exposed}}\n" for each in certificates)
    return f"retired:\n{lines}"


class TestClasses:
    def test_each_live_certificate_gets_the_first_class_that_fits(self) -> None:
        rows = [
            keyed(leaf(one(), start=-100), "before"),
            keyed(leaf(two(), common_name="Stranger", names=["else.example.com"]), "stranger"),
            LiveCertificate(leaf(two()).certificate, "encrypted", has_key=True, origin=Origin.APPLIANCE),
        ]
        retired = keyed(leaf(one(), start=-200), "exposed")
        scene = replace(SCENE, east=retire(retired))
        assert scene.classes(store(COMPLETE, rows, retired)) == {
            "factory": Class.FACTORY,
            "access": Class.DECLARED,
            "Issuer One": Class.CHAIN,
            "Root One": Class.CHAIN,
            "before": Class.PREVIOUS,
            "stranger": Class.UNDECLARED,
            "encrypted": Class.APPLIANCE_MANAGED,
            "exposed": Class.RETIRED,
        }

    def test_the_factory_certificate_is_that_even_where_it_is_retired(self) -> None:
        scene = replace(SCENE, east=retire(factory()) + "undeclared: remove\n")
        assert scene.classes(store(COMPLETE))["factory"] is Class.FACTORY
        assert steps(scene.plan(store(COMPLETE, default=CURRENT))) == []

    def test_what_the_appliance_manages_is_that_even_where_it_is_retired(self) -> None:
        managed = LiveCertificate(leaf(two()).certificate, "managed", has_key=True, origin=Origin.APPLIANCE)
        scene = replace(SCENE, east=retire(managed) + "undeclared: remove\n")
        assert scene.classes(store(COMPLETE, managed))["managed"] is Class.APPLIANCE_MANAGED
        assert steps(scene.plan(store(COMPLETE, managed, default=CURRENT))) == []

    def test_retired_comes_before_declared(self) -> None:
        scene = replace(SCENE, east=retire(COMPLETE[0]))
        assert scene.classes(store(COMPLETE))["access"] is Class.RETIRED

    def test_declared_without_its_key_is_not_declared_yet(self) -> None:
        rows = store(keyless(CURRENT, "bare"), chain_of(one()))
        assert SCENE.classes(rows)["bare"] is Class.UNDECLARED
        assert steps(SCENE.plan(rows)) == ["import access", "default access"]
        assert "undeclared" not in found(SCENE.plan(rows))

    def test_a_friendly_name_is_no_identity(self) -> None:
        other = keyed(leaf(two(), start=-100, names=["else.example.com"], common_name="Else"), "access")
        assert SCENE.classes(store(other))["access"] is Class.UNDECLARED
        renamed = keyed(CURRENT, "an entirely different name")
        assert SCENE.classes(store(renamed, chain_of(one())))[renamed.friendly_name] is Class.DECLARED
        assert steps(SCENE.plan(store(renamed, chain_of(one()), default=CURRENT))) == []

    def test_a_part_of_a_declared_chain_is_chain_even_where_nothing_was_issued_by_it(self) -> None:
        scene = Scene({"access": provided(CURRENT, chain=[*CURRENT.chain, two().certificate])})
        assert scene.classes(store(keyless(two())))["Issuer Two"] is Class.CHAIN

    def test_issuers_of_what_is_kept_are_chain_and_of_what_goes_are_not(self) -> None:
        stranger = keyed(leaf(two(), common_name="Stranger", names=["else.example.com"]), "stranger")
        live = store(COMPLETE, stranger, chain_of(two()))
        assert SCENE.classes(live)["Issuer Two"] is Class.CHAIN
        assert replace(SCENE, east="undeclared: remove\n").classes(live)["Issuer Two"] is Class.UNDECLARED


class TestPrevious:
    def test_by_the_same_common_name(self) -> None:
        before = keyed(leaf(one(), start=-100, names=["else.example.com"]), "before")
        assert SCENE.classes(store(COMPLETE, before))["before"] is Class.PREVIOUS

    def test_by_the_same_set_of_names_in_any_order(self) -> None:
        names = tuple(reversed(CURRENT.certificate.subject_alternative_names))
        before = keyed(leaf(one(), start=-100, names=[each.value for each in names], common_name="Title"), "before")
        assert SCENE.classes(store(COMPLETE, before))["before"] is Class.PREVIOUS

    def test_a_part_of_the_names_is_not_the_same_set(self) -> None:
        less = keyed(leaf(one(), start=-100, names=[SITE], common_name="Less"), "less")
        more = keyed(leaf(one(), start=-100, names=ALL, common_name="More"), "more")
        classes = SCENE.classes(store(COMPLETE, less, more))
        assert (classes["less"], classes["more"]) == (Class.UNDECLARED, Class.UNDECLARED)

    def test_without_a_key_it_is_not(self) -> None:
        bare = keyless(leaf(one(), start=-100), "bare")
        assert SCENE.classes(store(COMPLETE, bare))["bare"] is Class.UNDECLARED

    def test_what_starts_later_is_newer_than_declared(self) -> None:
        newer = keyed(leaf(one(), start=-1), "by hand")
        planning = SCENE.planning(store(COMPLETE, newer, default=CURRENT))
        classified = planning.classes["east"][newer.fingerprint]
        assert (classified.kind, classified.newer, classified.certificate) == (Class.UNDECLARED, True, "access")
        assert found(planning.plan) == ["newer-than-declared"]
        assert newer.fingerprint in message(planning.plan, "newer-than-declared")

    def test_where_the_declared_one_does_not_exist_yet_all_that_share_its_names_are_previous(self) -> None:
        scene = Scene({"own": OWN.replace("Made here", "Example remote access")})
        older, later = keyed(leaf(one(), start=-100), "older"), keyed(leaf(one(), start=-1), "later")
        classes = scene.classes(store(older, later, chain_of(one())))
        assert (classes["older"], classes["later"]) == (Class.PREVIOUS, Class.PREVIOUS)


class TestSelfSigned:
    SCENE = Scene({"own": OWN}, default="own")

    def declared(self, *rows: LiveCertificate) -> list[str]:
        classes = self.SCENE.classes(store(*rows))
        return [name for name, kind in classes.items() if kind is Class.DECLARED]

    def test_is_found_by_subject_names_and_kind_of_key(self) -> None:
        assert self.declared(keyed(own(), "own")) == ["own"]
        assert self.declared(keyed(own(names=ALL), "names")) == []
        assert self.declared(keyed(own(key="ec-p384"), "kind")) == []
        assert self.declared(keyed(own(common_name="Else"), "subject")) == []
        assert self.declared(keyless(own(), "bare")) == []

    def test_a_certificate_of_a_ca_with_the_same_subject_is_not_it(self) -> None:
        assert self.declared(keyed(leaf(one(), names=[SITE], common_name="Made here"), "issued")) == []

    def test_what_the_appliance_manages_is_not_it(self) -> None:
        assert self.declared(LiveCertificate(own(), "managed", has_key=True, origin=Origin.APPLIANCE)) == []

    def test_the_latest_start_of_validity_wins(self) -> None:
        rows = keyed(own(start=-30), "older"), keyed(own(start=-5), "newest"), keyed(own(start=-9), "middle")
        assert self.declared(*rows) == ["newest"]
        assert self.SCENE.classes(store(*rows))["older"] is Class.PREVIOUS

    def test_a_retired_one_does_not_count(self) -> None:
        newest, older = keyed(own(start=-5), "newest"), keyed(own(start=-30), "older")
        scene = replace(self.SCENE, east=retire(newest))
        assert scene.classes(store(newest, older)) == {
            "factory": Class.FACTORY,
            "newest": Class.RETIRED,
            "older": Class.DECLARED,
        }

    def test_one_that_another_member_retires_does_not_count_anywhere(self) -> None:
        exposed = keyed(own(start=-5), "exposed")
        pair = replace(self.SCENE, west=retire(exposed))
        planning = pair.planning(store(exposed, default=exposed), store())
        assert planning.classes["east"][exposed.fingerprint].kind is Class.PREVIOUS
        assert steps(planning.plan) == ["create own", "default own"]
        assert steps(planning.plan, "west") == ["import own", "default own"]

    def test_the_latest_start_on_any_reachable_member_wins_for_the_whole_site(self) -> None:
        pair = replace(self.SCENE, west="")
        older, newer = keyed(own(start=-30), "older"), keyed(own(start=-5), "newer")
        planning = pair.planning(store(newer, default=newer), store(older, default=older))
        assert planning.classes["west"][older.fingerprint].kind is Class.PREVIOUS
        assert steps(planning.plan, "west") == ["import own", "default own"]
        assert steps(planning.plan) == []

    def test_what_another_member_holds_is_not_made_a_second_time(self) -> None:
        pair = replace(self.SCENE, west="")
        newer = keyed(own(start=-5), "newer")
        plan = pair.planning(store(), store(newer, default=newer)).plan
        assert steps(plan) == ["import own", "default own"]
        assert steps(plan, "west") == []


RENEW = dt.timedelta(days=30)


class TestDue:
    def test_renew_before_its_end(self) -> None:
        start, end = NOW - 335 * DAY, NOW + 30 * DAY
        assert why_due(start, end, RENEW, None, NOW)
        assert why_due(start, end, RENEW, None, NOW - dt.timedelta(seconds=1)) is None

    def test_a_third_of_a_short_lifetime(self) -> None:
        start, end = NOW - 20 * DAY, NOW + 10 * DAY
        assert why_due(start, end, RENEW, None, NOW)
        assert why_due(start, end, RENEW, None, NOW - dt.timedelta(seconds=1)) is None

    def test_what_was_made_a_moment_ago_is_never_due(self) -> None:
        assert why_due(NOW, NOW + DAY, 365 * DAY, None, NOW) is None

    @pytest.mark.parametrize(("end", "sentence"), [(1, "it expires on 2026-11-24"), (-1, "it expired on 2026-11-22")])
    def test_the_reason_says_whether_it_has_ended(self, end: int, sentence: str) -> None:
        reason = why_due(NOW - 90 * DAY, NOW + end * DAY, RENEW, None, NOW)
        assert reason
        assert reason.sentence == sentence

    @pytest.mark.parametrize(
        ("issued_after", "due"),
        [
            (dt.datetime(2026, 11, 22, tzinfo=dt.UTC), True),
            (dt.datetime(2026, 11, 23, tzinfo=dt.UTC), True),
            (dt.datetime(2026, 11, 24, tzinfo=dt.UTC), False),
        ],
    )
    def test_issued_after_counts_from_its_day_on(self, issued_after: dt.datetime, *, due: bool) -> None:
        reason = why_due(NOW - 10 * DAY, NOW + 300 * DAY, RENEW, issued_after, NOW)
        assert (reason is not None) is due

    def test_issued_after_asks_nothing_of_what_was_issued_after_it(self) -> None:
        assert why_due(NOW - 10 * DAY, NOW + 300 * DAY, RENEW, dt.datetime(2026, 11, 13, tzinfo=dt.UTC), NOW) is None
        midnight = dt.datetime(2026, 11, 13, tzinfo=dt.UTC)
        assert why_due(midnight, NOW + 300 * DAY, RENEW, dt.datetime(2026, 11, 13, tzinfo=dt.UTC), NOW) is None


def test_a_renewed_root_of_the_same_key_is_chain() -> None:
    root = Authority.root("Rolled Root")
    rolled = Authority.root("Rolled Root", key=root.key)
    issued = leaf(root)
    scene = Scene({"access": provided(issued, chain=[rolled.certificate])})
    classes = scene.classes(store(keyed(issued, "access"), keyless(root, "first"), keyless(rolled, "second")))
    assert (classes["first"], classes["second"]) == (Class.CHAIN, Class.CHAIN)
