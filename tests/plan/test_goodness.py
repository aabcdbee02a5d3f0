"""What is good for a name: validity, key, chain, and the roots that clients' software builds contain."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from reconciler.desired.state import Build, Clients
from reconciler.plan.goodness import Chains, Judge
from reconciler.plan.world import World, entry_of
from tests.plan.scenes import SITE, chain_of, keyed, keyless, leaf, one, store, two
from tests.support.authority import DAY, NOW, Authority, Issued, self_signed

SETTLE = dt.timedelta(hours=48)
SECOND = dt.timedelta(seconds=1)


def build(days: float, *authorities: Authority) -> Build:
    roots = (each.chain[-1] if each.chain else each.certificate for each in authorities)
    return Build(NOW + days * DAY, frozenset((root.subject.der, root.public_key) for root in roots))


def why(issued: Issued, world: World, *builds: Build, name: str = SITE, now: dt.datetime = NOW) -> str | None:
    judge = Judge(Clients(builds, SETTLE), now, Chains())
    reason = judge.why_not_good(world.entries[issued.certificate.fingerprint], name, world)
    return reason.code if reason else None


def test_validity_counts_both_of_its_ends() -> None:
    issued = leaf(one(), start=-10, end=10)
    world = World.of(store(keyed(issued, "leaf"), chain_of(one())))
    assert why(issued, world, now=NOW - 10 * DAY) is None
    assert why(issued, world, now=NOW + 10 * DAY) is None
    assert why(issued, world, now=NOW - 10 * DAY - SECOND) == "not-yet-valid"
    assert why(issued, world, now=NOW + 10 * DAY + SECOND) == "expired"


def test_without_its_key_a_certificate_is_useless() -> None:
    issued = leaf(one())
    assert why(issued, World.of(store(keyless(issued, "leaf"), chain_of(one())))) == "no-key"


def test_only_subject_alternative_names_cover() -> None:
    issued = leaf(one(), names=["*.example.com"], common_name="access.elsewhere.org")
    world = World.of(store(keyed(issued, "leaf"), chain_of(one())))
    assert why(issued, world) is None
    assert why(issued, world, name="a.access.example.com") == "does-not-cover"
    assert why(issued, world, name="access.elsewhere.org") == "does-not-cover"


@pytest.mark.parametrize(
    "rows", [[], [keyless(one())], [keyless(one().chain[0])]], ids=["none", "no-root", "no-issuer"]
)
def test_a_chain_is_complete_only_with_every_certificate_up_to_the_root(rows: list[object]) -> None:
    issued = leaf(one())
    world = World.of(store(keyed(issued, "leaf"), *rows))  # type: ignore[arg-type]
    assert why(issued, world) == "chain-incomplete"


def test_an_incomplete_chain_says_what_it_lacks() -> None:
    issued = leaf(one())
    world = World.of(store(keyed(issued, "leaf"), keyless(one())))
    reason = Judge(Clients((), SETTLE), NOW, Chains()).why_unsound(world.entries[issued.certificate.fingerprint], world)
    assert reason
    assert reason.sentence == "its chain lacks Root One"


def test_an_expired_intermediate_spoils_the_chain() -> None:
    root = Authority.root("Root")
    lapsed = root.intermediate("Lapsed", not_before=NOW - 900 * DAY, not_after=NOW - DAY)
    issued = leaf(lapsed)
    world = World.of(store(keyed(issued, "leaf"), chain_of(lapsed)))
    assert why(issued, world) == "chain-expired"
    assert why(issued, world, build(-100, root)) == "chain-expired"


def test_a_renewed_intermediate_beside_the_expired_one_will_do_where_there_are_no_clients() -> None:
    root = Authority.root("Root")
    lapsed = root.intermediate("Issuer", not_before=NOW - 900 * DAY, not_after=NOW - DAY)
    renewed = root.intermediate("Issuer", key=lapsed.key)
    issued = leaf(lapsed)
    world = World.of(store(keyed(issued, "leaf"), chain_of(lapsed), keyless(renewed)))
    assert why(issued, world) is None
    # With clients, the appliance may send them either: every chain that the store allows counts.
    assert why(issued, world, build(-100, root)) == "untrusted-by-clients"


def test_a_self_signed_certificate_is_its_own_root() -> None:
    issued = self_signed([SITE])
    world = World.of(store(keyed(issued, "own")))
    assert why(issued, world) is None
    assert why(issued, world, build(-100, one())) == "untrusted-by-clients"
    built_in = Build(NOW - 9 * DAY, frozenset({(issued.certificate.subject.der, issued.certificate.public_key)}))
    assert why(issued, world, built_in) is None


class TestBuildsInTheField:
    issued = leaf(one())
    world = World.of(store(keyed(issued, "leaf"), chain_of(one())))

    def test_the_newest_settled_build_has_replaced_the_older_ones(self) -> None:
        assert why(self.issued, self.world, build(-100, two()), build(-2, one())) is None

    def test_a_build_settles_at_the_very_instant_at_which_its_time_is_over(self) -> None:
        builds = (build(-100, two()), Build(NOW - SETTLE + SECOND, build(0, one()).trusts))
        assert why(self.issued, self.world, *builds) == "untrusted-by-clients"
        assert why(self.issued, self.world, *builds, now=NOW + SECOND) is None

    def test_while_a_build_settles_both_are_in_the_field(self) -> None:
        assert why(self.issued, self.world, build(-100, two()), build(-1, one())) == "untrusted-by-clients"
        assert why(self.issued, self.world, build(-100, one()), build(-1, two())) == "untrusted-by-clients"
        assert why(self.issued, self.world, build(-100, one()), build(-1, one(), two())) is None

    def test_where_none_has_settled_all_count(self) -> None:
        assert why(self.issued, self.world, build(-1.5, two()), build(-1, one())) == "untrusted-by-clients"
        assert why(self.issued, self.world, build(-1.5, one()), build(-1, one())) is None

    def test_every_build_after_the_settled_one_counts_not_only_the_last(self) -> None:
        between = (build(-100, one()), build(-1.5, two()), build(-1, one()))
        assert why(self.issued, self.world, *between) == "untrusted-by-clients"

    def test_a_build_whose_installation_is_still_to_come_is_in_nobodys_hands(self) -> None:
        assert why(self.issued, self.world, build(-100, one()), build(+1, two())) is None
        assert why(self.issued, self.world, build(-100, two()), build(+1, one())) == "untrusted-by-clients"

    def test_unless_there_is_no_other(self) -> None:
        assert why(self.issued, self.world, build(+1, two())) == "untrusted-by-clients"


class TestCrossSigns:
    old, new = Authority.root("Old Root"), Authority.root("New Root")
    cross = old.cross_sign(new)  # New Root, as those who know only Old Root accept it
    issued = leaf(new)

    def world(self, *extra: Authority) -> World:
        rows = [keyless(self.cross, "cross"), *(keyless(each) for each in extra)]
        return World.of(store(keyed(self.issued, "leaf"), *rows))

    def test_a_cross_sign_leads_to_the_root_that_made_it(self) -> None:
        assert why(self.issued, self.world(self.old), build(-100, self.old)) is None

    def test_every_chain_that_the_store_allows_must_be_trusted(self) -> None:
        # With New Root in the store as well, the appliance may send the short chain, which Old Root says nothing about.
        assert why(self.issued, self.world(self.old, self.new), build(-100, self.old)) == "untrusted-by-clients"

    def test_a_root_is_met_by_subject_and_key_not_by_its_bytes(self) -> None:
        # A build that knows New Root stops at the cross-sign: same subject, same key.
        assert why(self.issued, self.world(self.old), build(-100, self.new)) is None
        assert why(self.issued, self.world(self.old, self.new), build(-100, self.new)) is None

    def test_the_same_name_with_another_key_is_another_root(self) -> None:
        namesake = Authority.root("New Root")
        world = World.of(store(keyed(self.issued, "leaf"), keyless(self.new)))
        assert why(self.issued, world, build(-100, namesake)) == "untrusted-by-clients"

    def test_an_expired_cross_sign_is_a_chain_that_clients_may_be_sent(self) -> None:
        lapsed = self.old.cross_sign(self.new, not_before=NOW - 900 * DAY, not_after=NOW - DAY)
        rows = [keyless(lapsed, "lapsed"), keyless(self.old), keyless(self.new)]
        world = World.of(store(keyed(self.issued, "leaf"), *rows))
        assert why(self.issued, world, build(-100, self.old)) == "untrusted-by-clients"
        # Who has New Root built in never looks at the lapsed copy's dates.
        assert why(self.issued, world, build(-100, self.new)) is None

    def test_every_build_in_the_field_must_be_met_by_every_chain(self) -> None:
        builds = build(-100, self.old), build(-1, self.old, self.new)
        assert why(self.issued, self.world(self.old), *builds) is None
        assert why(self.issued, self.world(self.old, self.new), *builds) == "untrusted-by-clients"
        assert why(self.issued, self.world(self.old, self.new), *builds, now=NOW + DAY) is None


def test_what_does_not_exist_yet_is_self_signed_and_trusted_by_no_build() -> None:
    made = entry_of(self_signed([SITE]).certificate, "new", has_key=True)
    entry = replace(made, ref="new:own@east", certificate=None)
    world = World.of(store()).with_entry(entry)
    assert Judge(Clients((), SETTLE), NOW, Chains()).is_good(entry, SITE, world)
    assert not Judge(Clients((build(-9, one()),), SETTLE), NOW, Chains()).is_good(entry, SITE, world)


def test_a_longer_chain_that_nobody_trusts_counts_like_a_shorter_one() -> None:
    root = Authority.root("Root")
    issuer = root.intermediate("Issuer")
    detour = Authority.root("Other").intermediate("Middle")
    issued = leaf(issuer)
    rows = [*chain_of(issuer), *chain_of(detour), keyless(detour.cross_sign(issuer), "detour")]
    world = World.of(store(keyed(issued, "leaf"), *rows))
    assert why(issued, world, build(-100, root, detour)) is None
    assert why(issued, world, build(-100, root)) == "untrusted-by-clients"


def test_a_key_that_arrives_changes_the_judgement() -> None:
    issued = leaf(one())
    world = World.of(store(keyless(issued, "leaf"), chain_of(one())))
    bare = world.entries[issued.certificate.fingerprint]
    judge = Judge(Clients((), SETTLE), NOW, Chains())
    assert judge.why_unsound(bare, world)
    whole = replace(bare, has_key=True)
    assert judge.why_unsound(whole, world.with_entry(whole)) is None
