"""What leaves a store, when, and what never does."""

from __future__ import annotations

from dataclasses import replace

from reconciler.live.store import LiveCertificate, Operation, Origin
from reconciler.plan.model import Remove
from tests.plan.scenes import (
    ALL,
    EVERYTHING,
    OWN,
    SITE,
    Scene,
    builds,
    by_hand,
    chain_of,
    factory,
    found,
    held,
    keyed,
    keyless,
    leaf,
    message,
    one,
    own,
    part,
    provided,
    steps,
    store,
    two,
)
from tests.support.authority import DAY, NOW, Authority

CURRENT = leaf(one(), start=-10)
SETTLED = (keyed(CURRENT, "current"), *chain_of(one()))
SCENE = Scene({"current": provided(CURRENT)}, default="current")
PRUNING = replace(SCENE, east="undeclared: remove\n")


def stranger(label: str, *, issuer: Authority | None = None, start: float = -50) -> LiveCertificate:
    made = leaf(issuer or one(), start=start, names=[f"{label}.example.org"], common_name=label.title())
    return keyed(made, label)


def retire(*certificates: LiveCertificate, more: str = "") -> str:
    lines = "".join(f"  - {{sha256: '{each.fingerprint}', reason: key exposed}}\n" for each in certificates)
    return f"retired:\n{lines}{more}"


class TestPrevious:
    def test_stays_beside_its_successor_for_as_long_as_the_policy_says(self) -> None:
        fresh, before = leaf(one(), start=-2), keyed(leaf(one(), start=-300), "before")
        scene = Scene({"fresh": provided(fresh)}, default="fresh")
        live = store(keyed(fresh, "fresh"), before, chain_of(one()), default=fresh)
        plan = scene.plan(live)
        assert steps(plan) == []
        assert held(plan) == {"remove before": ("keep-previous", NOW + 5 * DAY)}
        assert steps(scene.plan(live, now=NOW + 5 * DAY)) == ["remove before"]
        assert steps(scene.plan(live, now=NOW + 5 * DAY - DAY / 86400)) == []

    def test_leaves_in_the_plan_of_the_cut_over_where_its_time_is_over_already(self) -> None:
        before = leaf(one(), start=-300)
        plan = SCENE.plan(store(keyed(before, "before"), chain_of(one()), default=before))
        assert steps(plan) == ["import current", "default current", "remove before"]
        [import_, default, remove] = part(plan).actions
        assert set(remove.depends_on) == {import_.id, default.id}
        assert remove.expects.present == (CURRENT.certificate.fingerprint,)
        assert remove.expects.default == CURRENT.certificate.fingerprint

    def test_leaves_at_the_latest_a_day_before_it_expires(self) -> None:
        fresh, before = leaf(one(), start=-1), keyed(leaf(one(), start=-300, end=3), "before")
        scene = Scene({"fresh": provided(fresh)}, default="fresh")
        live = store(keyed(fresh, "fresh"), before, chain_of(one()), default=fresh)
        assert held(scene.plan(live)) == {"remove before": ("keep-previous", NOW + 2 * DAY)}
        assert steps(scene.plan(live, now=NOW + 2 * DAY)) == ["remove before"]

    def test_is_kept_where_the_declared_one_does_not_exist_yet(self) -> None:
        before = keyed(leaf(one(), start=-300, names=[SITE]), "before")
        scene = Scene({"own": OWN}, default="own", clients=builds((-400, [one()])), east="undeclared: remove\n")
        plan = scene.plan(store(before, chain_of(one()), default=before))
        assert steps(plan) == []
        assert set(held(plan)) == {"create own", "default own"}

    def test_is_kept_while_its_successor_is_held(self) -> None:
        before = keyed(leaf(one(), start=-300), "before")
        new = leaf(two(), start=-10)
        scene = Scene(
            {"new": provided(new)}, default="new", clients=builds((-400, [one()])), east="undeclared: remove\n"
        )
        plan = scene.plan(store(before, chain_of(one()), default=before))
        assert set(held(plan)) == {"import new", "default new"}

    def test_is_kept_where_its_successor_is_there_and_not_good(self) -> None:
        before = keyed(leaf(one(), start=-300), "before")
        new = leaf(two(), start=-10)
        scene = Scene({"new": provided(new, chain=[])}, default="new", east="undeclared: remove\n")
        plan = scene.plan(store(before, keyed(new, "new"), chain_of(one()), default=new))
        assert steps(plan) == []
        assert held(plan) == {}

    def test_leaves_only_when_every_declared_one_that_shares_its_names_has_been_good_for_so_long(self) -> None:
        other = leaf(one(), start=-3, names=[SITE])
        before = keyed(leaf(one(), start=-300), "before")
        scene = Scene({"current": provided(CURRENT), "other": provided(other)}, default="current")
        live = store(SETTLED, keyed(other, "other"), before, default=CURRENT)
        assert held(scene.plan(live)) == {"remove before": ("keep-previous", NOW + 4 * DAY)}
        missing = store(SETTLED, before, default=CURRENT)
        assert steps(scene.plan(missing)) == ["import other"]

    def test_is_never_removed_while_it_is_the_default(self) -> None:
        before = keyed(leaf(one(), start=-300), "before")
        plan = replace(SCENE, default=None).plan(store(SETTLED, before, default=before))
        assert steps(plan) == []
        assert held(plan) == {"remove before": ("is-default", None)}

    def test_is_kept_where_it_alone_is_good_for_a_protected_name(self) -> None:
        before = keyed(leaf(one(), start=-300, names=ALL), "before")
        scene = replace(SCENE, site="protected_names: [west.example.com]\n")
        plan = scene.plan(store(SETTLED, before, default=CURRENT))
        assert steps(plan) == []
        assert held(plan) == {"remove before": ("served-name-lost", None)}
        assert "west.example.com" in message(plan, "served-name-lost")

    def test_a_renewed_self_signed_one_stays_as_long(self) -> None:
        aging = keyed(own(start=-340, end=25), "aging")
        plan = Scene({"own": OWN}, default="own").plan(store(aging, default=aging))
        assert steps(plan) == ["create own", "default own"]
        assert held(plan) == {"remove aging": ("keep-previous", NOW + 7 * DAY)}


class TestUndeclared:
    def test_is_kept_and_reported_with_the_line_that_retires_it(self) -> None:
        left = stranger("stranger")
        plan = SCENE.plan(store(SETTLED, left, default=CURRENT))
        assert (steps(plan), held(plan)) == ([], {})
        assert found(plan) == ["undeclared"]
        assert f"- {{sha256: {left.fingerprint}, reason: ...}}" in message(plan, "undeclared")

    def test_goes_where_the_appliance_holds_only_what_is_declared(self) -> None:
        plan = PRUNING.plan(store(SETTLED, stranger("stranger"), default=CURRENT))
        assert steps(plan) == ["remove stranger"]
        assert found(plan) == []

    def test_a_newer_one_is_never_removed(self) -> None:
        by_name = keyed(leaf(one(), start=-1, names=["else.example.org"]), "by hand")
        by_sans = keyed(leaf(one(), start=-1, common_name="Emergency"), "emergency")
        plan = PRUNING.plan(store(SETTLED, by_name, by_sans, default=CURRENT))
        assert (steps(plan), held(plan)) == ([], {})
        assert found(plan) == ["newer-than-declared", "newer-than-declared"]

    def test_a_newer_one_is_removed_by_retiring_it(self) -> None:
        newer = keyed(leaf(one(), start=-1), "by hand")
        scene = replace(SCENE, east=retire(newer))
        assert steps(scene.plan(store(SETTLED, newer, default=CURRENT))) == ["remove by hand"]

    def test_is_kept_where_it_alone_is_good_for_a_protected_name(self) -> None:
        needed = keyed(leaf(one(), names=["west.example.com"], common_name="West"), "west")
        scene = replace(PRUNING, site="protected_names: [west.example.com]\n")
        plan = scene.plan(store(SETTLED, needed, default=CURRENT))
        assert held(plan) == {"remove west": ("served-name-lost", None)}
        assert found(plan) == ["served-name-lost"]

    def test_is_kept_where_only_bad_certificates_would_be_left(self) -> None:
        lapsed = keyed(leaf(one(), start=-400, end=-1, names=["west.example.com"], common_name="Lapsed"), "lapsed")
        needed = keyed(leaf(one(), names=["west.example.com"], common_name="West"), "west")
        scene = replace(SCENE, site="protected_names: [west.example.com]\n", east=retire(needed))
        plan = scene.plan(store(SETTLED, needed, lapsed, default=CURRENT))
        assert steps(plan) == []
        assert held(plan) == {"remove west": ("served-name-lost", None)}

    def test_what_starts_with_the_declared_one_is_neither_older_nor_newer(self) -> None:
        twin = keyed(leaf(one(), start=-10, common_name="Twin"), "twin")
        live = store(SETTLED, twin, default=CURRENT)
        assert found(SCENE.plan(live)) == ["undeclared"]
        assert steps(PRUNING.plan(live)) == ["remove twin"]

    def test_factory_and_what_the_appliance_manages_are_never_touched(self) -> None:
        managed = LiveCertificate(leaf(two()).certificate, "managed", has_key=True, origin=Origin.APPLIANCE)
        scene = replace(PRUNING, east=retire(factory(), managed, more="undeclared: remove\n"))
        plan = scene.plan(store(SETTLED, managed, chain_of(two()), default=CURRENT))
        assert [each for each in plan.actions if isinstance(each, Remove)] == []

    def test_the_removal_of_the_only_good_certificate_is_held_even_where_nothing_at_all_is_declared(self) -> None:
        plan = Scene({}, east="undeclared: remove\n").plan(store(SETTLED, default=None))
        assert steps(plan) == []
        assert held(plan) == {"remove current": ("served-name-lost", None)}


class TestChain:
    def test_is_kept_while_something_needs_it(self) -> None:
        live = store(SETTLED, stranger("stranger", issuer=two()), chain_of(two()), default=CURRENT)
        assert steps(SCENE.plan(live)) == []

    def test_goes_from_the_leaf_up_where_nothing_needs_it_any_more(self) -> None:
        live = store(SETTLED, stranger("stranger", issuer=two()), chain_of(two()), default=CURRENT)
        assert steps(PRUNING.plan(live)) == ["remove stranger", "remove Issuer Two", "remove Root Two"]

    def test_stays_where_the_policy_is_to_keep_what_nothing_declares(self) -> None:
        assert steps(SCENE.plan(store(SETTLED, chain_of(two()), default=CURRENT))) == []

    def test_stays_with_what_stays_for_now(self) -> None:
        before = keyed(leaf(two(), start=-300), "before")
        fresh = leaf(one(), start=-2)
        scene = Scene({"fresh": provided(fresh)}, default="fresh", east="undeclared: remove\n")
        plan = scene.plan(store(keyed(fresh, "fresh"), before, chain_of(one()), chain_of(two()), default=fresh))
        assert steps(plan) == []
        assert set(held(plan)) == {"remove before"}

    def test_of_what_the_appliance_manages_stays(self) -> None:
        managed = LiveCertificate(leaf(two()).certificate, "managed", has_key=True, origin=Origin.APPLIANCE)
        assert steps(PRUNING.plan(store(SETTLED, managed, chain_of(two()), default=CURRENT))) == []

    def test_of_a_certificate_that_is_still_to_be_imported_stays(self) -> None:
        scene = replace(SCENE, certificates={"current": provided(CURRENT, chain=[])}, east="undeclared: remove\n")
        assert steps(scene.plan(store(chain_of(one())))) == ["import current", "default current"]

    def test_a_declared_chain_stays_for_a_certificate_that_cannot_come_yet(self) -> None:
        new = leaf(two(), start=-1)
        scene = Scene(
            {"current": provided(CURRENT), "new": provided(new)},
            default="current",
            clients=builds((-400, [one()])),
            east="undeclared: remove\n",
        )
        plan = scene.plan(store(SETTLED, chain_of(two()), default=CURRENT))
        assert steps(plan) == []
        assert set(held(plan)) == {"import new"}

    def test_a_chain_certificate_with_a_key_is_counted_as_one(self) -> None:
        root = Authority.root("Lab Root")
        row = keyed(root.certificate, "lab root")
        scene = replace(PRUNING, policy="removals_at_most: 0")
        plan = scene.plan(store(SETTLED, row, default=CURRENT))
        assert held(plan) == {"remove lab root": ("removal-ceiling", None)}


def test_what_a_person_has_to_bring_counts_as_the_successor_that_it_will_be() -> None:
    """Once it has been made elsewhere, what lies before it is older than what is declared, here as well."""
    aging, stray = own(start=-340, end=25), keyless(own(start=-5), "stray")
    scene = Scene({"own": OWN}, west="undeclared: remove\n")
    west = store(keyed(aging, "aging"), stray, default=aging, offers=EVERYTHING - {Operation.IMPORT})
    plan = scene.planning(store(), west).plan
    assert by_hand(plan, "west") == ["import own"]
    assert steps(plan, "west") == ["remove stray"]


class TestRetired:
    def test_goes_now_without_regard_to_what_is_kept_beside_a_successor(self) -> None:
        fresh, exposed = leaf(one(), start=-1), keyed(leaf(one(), start=-300), "exposed")
        scene = Scene({"fresh": provided(fresh)}, default="fresh", east=retire(exposed))
        plan = scene.plan(store(keyed(fresh, "fresh"), exposed, chain_of(one()), default=fresh))
        assert steps(plan) == ["remove exposed"]
        assert "key exposed" in part(plan).actions[0].reason.sentence

    def test_goes_after_the_default_has_moved(self) -> None:
        exposed = keyed(leaf(one(), start=-300), "exposed")
        scene = replace(SCENE, east=retire(exposed))
        plan = scene.plan(store(exposed, chain_of(one()), default=exposed))
        assert steps(plan) == ["import current", "default current", "remove exposed"]

    def test_and_declared_is_an_error_and_it_goes_only_where_another_is_good(self) -> None:
        scene = replace(SCENE, default=None, east=retire(keyed(CURRENT, "current")))
        alone = scene.plan(store(SETTLED))
        assert steps(alone) == []
        assert held(alone) == {"remove current": ("served-name-lost", None)}
        assert set(found(alone)) == {"retired-needed", "served-name-lost"}
        other = keyed(leaf(one(), start=-40, names=ALL, common_name="Other"), "other")
        beside = scene.plan(store(SETTLED, other))
        assert steps(beside) == ["remove current"]

    def test_and_declared_is_never_imported_again(self) -> None:
        scene = replace(SCENE, east=retire(keyed(CURRENT, "current")))
        plan = scene.plan(store(chain_of(one())))
        assert steps(plan) == []
        assert found(plan) == ["retired-absent", "retired-needed"]

    def test_and_default_is_held_and_an_error(self) -> None:
        exposed = keyed(leaf(one(), start=-300), "exposed")
        scene = replace(SCENE, default=None, east=retire(exposed))
        plan = scene.plan(store(SETTLED, exposed, default=exposed))
        assert held(plan) == {"remove exposed": ("is-default", None)}
        assert found(plan) == ["retired-needed"]
        assert "declare another default" in message(plan, "retired-needed")

    def test_and_still_needed_as_an_issuer_stays_and_is_an_error(self) -> None:
        root = keyless(one().chain[0])
        plan = replace(SCENE, east=retire(root)).plan(store(SETTLED, default=CURRENT))
        assert (steps(plan), held(plan)) == ([], {})
        assert found(plan) == ["retired-needed"]
        assert "needs it as its issuer" in message(plan, "retired-needed")

    def test_an_issuer_goes_after_what_needs_it(self) -> None:
        left = stranger("stranger", issuer=two())
        scene = replace(SCENE, east=retire(left, keyless(two()), keyless(two().chain[0])))
        plan = scene.plan(store(SETTLED, left, chain_of(two()), default=CURRENT))
        assert steps(plan) == ["remove stranger", "remove Issuer Two", "remove Root Two"]

    def test_and_gone_is_noticed(self) -> None:
        gone = stranger("stranger")
        plan = replace(SCENE, east=retire(gone)).plan(store(SETTLED, default=CURRENT))
        assert found(plan) == ["retired-absent"]
        [finding] = plan.all_findings
        assert finding.position
        assert (finding.position.file, finding.position.line) == ("appliances/east.yaml", 4)


class TestCeiling:
    THREE = (stranger("first"), stranger("second"), stranger("third"))

    def test_none_goes_where_more_would_go_than_the_policy_allows(self) -> None:
        plan = PRUNING.plan(store(SETTLED, self.THREE, default=CURRENT))
        assert steps(plan) == []
        assert held(plan) == {f"remove {each.friendly_name}": ("removal-ceiling", None) for each in self.THREE}
        assert found(plan) == ["removal-ceiling"]
        assert "--allow-removals 3" in message(plan, "removal-ceiling")

    def test_two_may_go(self) -> None:
        plan = PRUNING.plan(store(SETTLED, self.THREE[:2], default=CURRENT))
        assert steps(plan) == ["remove first", "remove second"] or steps(plan) == ["remove second", "remove first"]

    def test_more_go_where_that_is_allowed_for_this_plan(self) -> None:
        live = store(SETTLED, self.THREE, default=CURRENT)
        assert len(steps(PRUNING.plan(live, allow_removals=3))) == 3
        assert steps(PRUNING.plan(live, allow_removals=2)) == []

    def test_none_may_go_at_all_where_the_ceiling_is_zero(self) -> None:
        live = store(SETTLED, self.THREE[0], default=CURRENT)
        assert steps(PRUNING.plan(live, allow_removals=0)) == []

    def test_certificates_without_a_key_are_not_counted(self) -> None:
        bare = [replace(each, has_key=False) for each in self.THREE]
        plan = PRUNING.plan(store(SETTLED, bare, default=CURRENT))
        assert len(steps(plan)) == 3

    def test_and_go_where_those_with_a_key_must_stay(self) -> None:
        bare = replace(stranger("bare"), has_key=False)
        plan = PRUNING.plan(store(SETTLED, self.THREE, bare, default=CURRENT))
        assert steps(plan) == ["remove bare"]
        assert len(held(plan)) == 3

    def test_previous_ones_that_are_about_to_expire_do_not_count(self) -> None:
        ending = [keyed(leaf(one(), start=-80 - each, end=0.9), f"ending {each}") for each in range(3)]
        plan = SCENE.plan(store(SETTLED, ending, default=CURRENT))
        assert sorted(steps(plan)) == [f"remove ending {each}" for each in range(3)]
        later = [keyed(leaf(one(), start=-80 - each, end=1.1), f"ending {each}") for each in range(3)]
        assert steps(SCENE.plan(store(SETTLED, later, default=CURRENT))) == []

    def test_retired_ones_count_too(self) -> None:
        scene = replace(SCENE, east=retire(*self.THREE))
        plan = scene.plan(store(SETTLED, self.THREE, default=CURRENT))
        assert steps(plan) == []
        assert found(plan) == ["removal-ceiling"]

    def test_what_is_held_for_another_reason_does_not_count(self) -> None:
        fresh = leaf(one(), start=-2)
        scene = Scene({"fresh": provided(fresh)}, default="fresh", east="undeclared: remove\n")
        before = keyed(leaf(one(), start=-300), "before")
        live = store(keyed(fresh, "fresh"), before, self.THREE[:2], chain_of(one()), default=fresh)
        plan = scene.plan(live)
        assert len(steps(plan)) == 2
        assert set(held(plan)) == {"remove before"}

    def test_additions_go_on(self) -> None:
        before = leaf(one(), start=-300)
        plan = PRUNING.plan(store(keyed(before, "before"), self.THREE, chain_of(one()), default=before))
        assert steps(plan) == ["import current", "default current"]
        assert len(held(plan)) == 4

    def test_issuers_of_what_stays_stay(self) -> None:
        three = [stranger(name, issuer=two()) for name in ("first", "second", "third")]
        plan = PRUNING.plan(store(SETTLED, three, chain_of(two()), default=CURRENT))
        assert steps(plan) == []


def test_a_second_plan_after_the_removals_is_empty() -> None:
    plan = PRUNING.plan(store(SETTLED, default=CURRENT))
    assert plan.actions == ()
    assert plan.summary.ready == 0
