"""The check before an action runs: what it refuses and what it lets pass, rule by rule."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.safety import Guard
from reconciler.desired.state import Build, Clients
from reconciler.pki.reading import read
from reconciler.pki.selection import LIBERAL, CandidateRule
from tests.apply.test_safety_properties import asked, default, imported, made, removed, withdrawn
from tests.plan.scenes import CERTAIN, SITE, chain_of, factory, keyed, keyless, leaf, one, pending, store, two
from tests.support.authority import DAY, NOW, Authority, Issued, self_signed
from tests.support.programs import require_program

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.live.store import LiveStore
    from reconciler.pki.certificate import Certificate
    from reconciler.plan.model import Action

NOBODY = Clients((), 2 * DAY)
GONE = f"clients of {SITE} would be left without a good certificate"
BAD = f"clients of {SITE} might be served a certificate that is not good"
NO_NAME_BAD = "clients that send no server name might be served a certificate that is not good"
NO_NAME_GONE = "clients that send no server name would be left without a good certificate"


def build(days: float, *roots: Authority) -> Build:
    tops = [each.chain[-1] if each.chain else each.certificate for each in roots]
    return Build(NOW + days * DAY, frozenset((each.subject.der, each.public_key) for each in tops))


def said(
    action: Action,
    held: LiveStore,
    arriving: Certificate | Issued | None = None,
    *,
    clients: Clients = NOBODY,
    names: tuple[str, ...] = (SITE,),
    bound: Mapping[str, str] | None = None,
    now: dt.datetime = NOW,
) -> str:
    plain = arriving.certificate if isinstance(arriving, Issued) else arriving
    return Guard(names, clients).objection(action, held, plain, bound or {}, now)


def bring(issued: Issued | Certificate, held: LiveStore, *, clients: Clients = NOBODY, role: str = "leaf") -> str:
    plain = issued.certificate if isinstance(issued, Issued) else issued
    return said(imported(plain, role), held, plain, clients=clients)


@cache
def good() -> Issued:
    return leaf(one())


def serving(*more: object, default: object = None, rule: CandidateRule = LIBERAL) -> LiveStore:
    """A store in which the site is served well."""
    return store(keyed(good(), "good"), chain_of(one()), *more, default=default or good(), rule=rule)  # type: ignore[arg-type]


class TestRemoving:
    def test_the_last_good_certificate_stays(self) -> None:
        assert said(removed(good().certificate.fingerprint), serving()) == NO_NAME_GONE
        assert said(removed(good().certificate.fingerprint), serving(default=factory())) == GONE

    def test_one_of_two_may_go(self) -> None:
        other = leaf(one(), start=-2)
        assert said(removed(good().certificate.fingerprint), serving(keyed(other, "other"), default=other)) == ""

    def test_unless_the_other_is_not_good(self) -> None:
        other = leaf(one(), start=-400, end=-1)
        held = serving(keyed(other, "expired"), default=factory())
        assert said(removed(good().certificate.fingerprint), held) == GONE

    def test_one_of_two_stays_beside_one_that_is_not_good(self) -> None:
        other, stray = leaf(one(), start=-2), leaf(two())
        held = serving(keyed(other, "other"), keyed(stray, "stray"), default=other)
        assert said(removed(good().certificate.fingerprint), held) == f"{BAD} in the place of one that is"
        assert said(removed(stray.certificate.fingerprint), held) == ""

    def test_an_issuer_that_something_needs_stays(self) -> None:
        for each in (one().certificate, one().chain[0]):
            assert said(removed(each.fingerprint), serving()) == NO_NAME_GONE

    def test_an_issuer_stays_though_something_else_is_still_good(self) -> None:
        other = leaf(two(), start=-2)
        held = serving(keyed(other, "other"), chain_of(two()))
        assert said(removed(two().certificate.fingerprint), held) == BAD

    def test_an_issuer_that_something_has_twice_may_go(self) -> None:
        first = Authority.root("Twice")
        again = Authority.root("Twice", key=first.key, not_after=NOW + 900 * DAY)
        issued = first.intermediate("Under both").issue([SITE])
        held = store(
            keyed(issued, "good"), *(keyless(each) for each in (issued.chain[0], first, again)), default=issued
        )
        assert said(removed(again.certificate.fingerprint), held) == ""
        assert said(removed(issued.chain[0].fingerprint), held) == NO_NAME_GONE

    def test_what_is_not_good_any_more_may_go(self) -> None:
        expired = leaf(one(), start=-400, end=-1)
        assert said(removed(expired.certificate.fingerprint), serving(keyed(expired, "expired"))) == ""

    def test_the_default_stays_while_it_serves_clients_that_send_no_name(self) -> None:
        other = leaf(one(), start=-2)
        held = serving(keyed(other, "other"))
        assert said(removed(good().certificate.fingerprint), held) == NO_NAME_GONE

    def test_every_protected_name_counts(self) -> None:
        narrow = leaf(one(), names=["west.example.com"], common_name="Narrow")
        held = serving(keyed(narrow, "narrow"))
        action = removed(narrow.certificate.fingerprint)
        assert said(action, held) == ""
        assert said(action, held, names=(SITE, "west.example.com")) == (
            "clients of west.example.com would be left without a good certificate"
        )


class TestImporting:
    def test_a_good_one_may_come(self) -> None:
        assert bring(leaf(one(), start=-1), serving()) == ""

    @pytest.mark.parametrize(
        "arriving",
        [
            leaf(one(), start=-400, end=-1),
            leaf(one(), start=1),
            leaf(two(), start=-1),
            leaf(one(), start=-1, names=["else.example.com"], common_name=SITE),
            self_signed([SITE], not_after=NOW - DAY),
        ],
        ids=["expired", "not yet valid", "without its chain", "selected by common name", "self-signed, expired"],
    )
    def test_one_that_would_be_served_and_is_not_good_may_not(self, arriving: Issued) -> None:
        assert bring(arriving, serving()) == BAD

    def test_a_self_signed_one_is_its_own_root(self) -> None:
        assert bring(self_signed([SITE]), serving()) == ""

    def test_one_that_no_protected_name_selects_may_come_whatever_it_is(self) -> None:
        assert bring(leaf(two(), names=["else.example.com"], common_name="Else", end=-1), serving()) == ""

    def test_where_nothing_good_is_served_nothing_is_lost(self) -> None:
        assert bring(leaf(two(), start=-1), store()) == ""

    def test_a_row_that_gains_its_key_begins_to_be_served(self) -> None:
        expired = leaf(one(), start=-400, end=-1)
        held = serving(keyless(expired))
        assert bring(expired, held) == BAD
        fresh = leaf(one(), start=-1)
        assert bring(fresh, serving(keyless(fresh))) == ""

    def test_as_part_of_a_chain_it_is_not_served(self) -> None:
        assert bring(leaf(one(), start=-400, end=-1), serving(), role="chain") == ""

    def test_unless_the_store_holds_its_key(self) -> None:
        renewed = one().issue([SITE], key=good().key, not_before=NOW - 400 * DAY, not_after=NOW - DAY)
        assert bring(renewed, serving(), role="chain") == BAD
        waited_for = leaf(one(), start=-400, end=-1)
        held = replace(serving(), requests=(pending(waited_for),))
        assert bring(waited_for, held, role="chain") == BAD

    def test_nothing_unknown_or_other_than_planned_may_come(self) -> None:
        sentence = "what would be imported is not the certificate that was planned"
        planned, other = leaf(one(), start=-1).certificate, leaf(one(), start=-1).certificate
        assert said(imported(planned), serving(), None) == sentence
        assert said(imported(planned), serving(), other) == sentence
        copied = imported(planned).model_copy(update={"fingerprint": "new:own@west"})
        assert said(copied, serving(), planned) == sentence
        assert said(copied, serving(), planned, bound={"new:own@west": planned.fingerprint}) == ""


class TestDefault:
    def test_a_good_one_may_become_it(self) -> None:
        other = leaf(one(), start=-1)
        assert said(default(other.certificate.fingerprint), serving(keyed(other, "other"))) == ""

    @pytest.mark.parametrize(
        "other",
        [leaf(one(), start=-400, end=-1), leaf(two()), leaf(one(), names=["east.example.com"])],
        ids=["expired", "without its chain", "of another name"],
    )
    def test_another_may_not(self, other: Issued) -> None:
        held = serving(keyed(other, "other"), rule=CERTAIN)
        assert said(default(other.certificate.fingerprint), held) == NO_NAME_GONE

    def test_nor_one_without_a_key_nor_one_that_is_not_there(self) -> None:
        other = leaf(one(), start=-1)
        assert said(default(other.certificate.fingerprint), serving(keyless(other))) == NO_NAME_GONE
        assert said(default("0" * 64), serving()) == NO_NAME_GONE

    def test_it_is_known_by_what_it_became(self) -> None:
        other = leaf(one(), start=-1)
        held = serving(keyed(other, "other"))
        assert said(default("new:own@east"), held, bound={"new:own@east": other.certificate.fingerprint}) == ""
        assert said(default("new:own@east"), held) == NO_NAME_GONE

    def test_where_it_may_answer_for_names_it_counts_for_them_too(self) -> None:
        # Nothing says that this front end lets a name match that only a deep wildcard covers.
        deep = leaf(one(), names=["*.example.com", SITE])
        names = (SITE, "a.b.example.com")
        held = store(keyed(deep, "deep"), chain_of(one()), default=deep)
        assert said(default(factory().fingerprint), held, names=names) == NO_NAME_GONE


class TestSelfSigned:
    def test_one_made_where_there_are_no_clients_yet_is_good(self) -> None:
        assert said(made(SITE), serving()) == ""

    def test_clients_trust_none(self) -> None:
        clients = Clients((build(-400, one()),), 2 * DAY)
        assert said(made(SITE), serving(), clients=clients) == BAD
        assert said(made("else.example.com"), serving(), clients=clients) == ""
        assert said(made("else.example.com", common_name=SITE), serving(), clients=clients) == BAD

    def test_it_is_named_as_it_is_written(self) -> None:
        clients = Clients((build(-400, one()),), 2 * DAY)
        assert said(made("ACCESS.Example.com"), serving(), clients=clients) == BAD
        assert said(made("*.example.com"), serving(), clients=clients) == BAD

    def test_requests_serve_nothing(self) -> None:
        assert said(asked(), serving()) == ""
        assert said(withdrawn(), serving()) == ""


class TestNames:
    @pytest.mark.parametrize(
        ("name", "is_covered"),
        [
            ("*.example.com", True),
            ("*.com", False),
            ("*.access.example.com", False),
            ("access.example.com", True),
            ("example.com", False),
        ],
    )
    def test_covering_is_strict(self, name: str, is_covered: bool) -> None:  # noqa: FBT001
        serves = store(keyed(leaf(one(), names=[name], common_name="x"), "it"), chain_of(one()))
        lost = said(removed(one().certificate.fingerprint), serves)
        assert (lost == GONE) == is_covered

    def test_no_wildcard_covers_what_stands_beneath_a_single_label(self) -> None:
        wide = leaf(one(), names=["*.com"], common_name="x")
        held = store(keyed(wide, "wide"), chain_of(one()), default=wide)
        assert said(removed(wide.certificate.fingerprint), held, names=("example.com",)) == ""

    def test_a_wildcard_beside_an_exact_name_might_be_served(self) -> None:
        wild = leaf(one(), start=-400, end=-1, names=["*.example.com"], common_name="x")
        assert bring(wild, serving()) == BAD

    def test_the_rule_of_the_front_end_says_what_might(self) -> None:
        titled = leaf(two(), names=["else.example.com"], common_name=SITE)
        certain = replace(CERTAIN, common_name=False)
        assert bring(titled, serving(rule=CERTAIN)) == BAD
        assert bring(titled, serving(rule=certain)) == ""

    def test_a_common_name_covers_nothing(self) -> None:
        titled = leaf(one(), names=["else.example.com"], common_name=SITE)
        assert said(removed(titled.certificate.fingerprint), store(keyed(titled, "it"), chain_of(one()))) == ""


class TestChains:
    def test_a_cross_sign_that_leads_astray_takes_what_is_good_away(self) -> None:
        root, stranger = Authority.root("Trusted"), Authority.root("Stranger")
        between = root.intermediate("Between")
        issued = between.issue([SITE])
        clients = Clients((build(-400, root),), 2 * DAY)
        rows = [keyed(issued, "it"), keyless(between), keyless(root)]
        held = store(*rows, keyless(stranger), default=issued)
        # A client that is led to the root it trusts, by its name and key, never comes to the other.
        assert bring(stranger.cross_sign(root), held, clients=clients, role="chain") == ""
        astray = stranger.cross_sign(between)
        assert bring(astray, held, clients=clients, role="chain") == NO_NAME_GONE
        # Without the root above it, the way is not complete.
        assert bring(astray, store(*rows, default=issued), clients=clients, role="chain") == ""
        lapsed = stranger.cross_sign(between, not_after=NOW - DAY)
        assert bring(lapsed, store(*rows, default=issued), clients=clients, role="chain") == ""

    def test_a_root_that_changed_its_key_is_no_root_until_its_own_key_signed_it(self) -> None:
        old, new = Authority.root("Rolling"), Authority.root("Rolling")
        link = old.cross_sign(new)
        issued = new.issue([SITE])
        assert link.is_self_issued
        whole = store(keyed(issued, "it"), keyless(link), keyless(old), default=issued)
        assert said(removed(old.certificate.fingerprint), whole) == NO_NAME_GONE
        assert bring(issued, store(keyless(link))) == ""
        trusting = Clients((build(-400, old),), 2 * DAY)
        assert said(removed(link.fingerprint), whole, clients=trusting) == NO_NAME_GONE

    @pytest.mark.parametrize("kind", ["ed25519", "rsa-2048", "ec-p384"])
    def test_whatever_the_kind_of_key(self, kind: str) -> None:
        root = Authority.root("Of some kind", key_kind=kind)
        issued = root.issue([SITE])
        whole = store(keyed(issued, "it"), keyless(root), default=issued)
        assert said(removed(root.certificate.fingerprint), whole) == NO_NAME_GONE
        # The same name, and a key that could not have made that signature.
        other = Authority.root("Of some kind", key_kind="ec-p521")
        link = other.cross_sign(root)
        assert bring(issued, store(keyless(link), keyless(other))) == ""
        through = store(keyed(issued, "it"), keyless(link), keyless(other), default=issued)
        assert said(removed(other.certificate.fingerprint), through) == NO_NAME_GONE

    def test_an_intermediate_that_expired_carries_nothing(self) -> None:
        lapsed = Authority.root("Lapsing").intermediate("Lapsed", not_after=NOW - DAY)
        held = serving(keyless(lapsed), keyless(lapsed.chain[0]))
        assert bring(lapsed.issue([SITE], not_before=NOW - 9 * DAY), held) == BAD

    def test_a_way_must_be_valid_as_a_whole_and_a_client_may_leave_it_early(self) -> None:
        lapsed, root = Authority.root("Lapsed", not_after=NOW - DAY), Authority.root("Root")
        between = root.intermediate("Between")
        issued = between.issue([SITE])
        held = store(keyed(issued, "it"), keyless(between), keyless(root), keyless(lapsed), default=issued)
        second_way = lapsed.cross_sign(between)
        # Whoever trusts the root that lapsed uses the copy that was built in.
        both = Clients((build(-400, root, lapsed),), 2 * DAY)
        assert bring(second_way, held, clients=both, role="chain") == ""
        only_root = Clients((build(-400, root),), 2 * DAY)
        assert bring(second_way, held, clients=only_root, role="chain") == NO_NAME_GONE
        # A way to what is trusted that passes something which lapsed is none that a client can take.
        through = root.intermediate("Through", not_after=NOW - DAY)
        detour = store(*held.certificates, keyless(through), default=issued)
        assert bring(through.cross_sign(between), detour, clients=only_root, role="chain") == NO_NAME_GONE
        assert bring(through.cross_sign(between), detour, role="chain") == ""
        # But a certificate with no way that is valid is not good for anybody.
        alone = store(keyed(lapsed.issue([SITE]), "it"), keyless(lapsed))
        only_lapsed = Clients((build(-400, lapsed),), 2 * DAY)
        for fingerprint in (each.fingerprint for each in alone.certificates):
            assert said(removed(fingerprint), alone, clients=only_lapsed) == ""

    def test_a_signature_with_an_outdated_hash_is_one(self, tmp_path: Path) -> None:
        command = [require_program("openssl"), "req", "-x509", "-sha1", "-newkey", "rsa:2048", "-noenc", "-days", "30"]
        names = ["-subj", "/CN=Long ago", "-addext", f"subjectAltName=DNS:{SITE}"]
        files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "old.pem")]
        subprocess.run([*command, *names, *files], check=True, capture_output=True)
        [old] = read((tmp_path / "old.pem").read_bytes()).certificates
        assert old.signature_hash == "sha1"
        action = removed(old.fingerprint)
        assert said(action, store(keyed(old, "old"), default=old), now=old.not_before + DAY) == NO_NAME_GONE

    def test_a_name_alone_makes_no_issuer(self) -> None:
        impostor = Authority.root("Issuer One")
        held = store(keyed(good(), "good"), keyless(impostor), keyless(one().chain[0]), default=good())
        assert said(removed(good().certificate.fingerprint), held) == ""

    def test_many_cross_signs_take_no_time(self) -> None:
        # Ways multiply: 7 authorities of 12 copies each make some 36 million of them.
        copies = 12
        top = Authority.root("Top")
        level, rows = top, [keyless(top)]
        for number in range(7):
            below = level.intermediate(f"Level {number}")
            rows += [keyless(level.cross_sign(below), f"{number} {copy}") for copy in range(copies)]
            level = below
        issued = level.issue([SITE])
        held = store(keyed(issued, "it"), rows, default=issued)
        assert said(removed(top.certificate.fingerprint), held) == NO_NAME_GONE
        assert said(removed(rows[1].fingerprint), held) == ""


class TestBuilds:
    def test_a_root_that_a_running_build_does_not_know_may_not_be_served(self) -> None:
        clients = Clients((build(-400, one()), build(-1, one(), two())), 2 * DAY)
        held = serving(chain_of(two()))
        assert bring(leaf(two(), start=-1), held, clients=clients) == BAD

    def test_once_the_newer_has_settled_it_may(self) -> None:
        clients = Clients((build(-400, one()), build(-2, one(), two())), 2 * DAY)
        assert bring(leaf(two(), start=-1), serving(chain_of(two())), clients=clients) == ""

    def test_one_that_is_still_to_come_is_in_nobodys_hands(self) -> None:
        clients = Clients((build(-400, one()), build(1, two())), 2 * DAY)
        assert bring(leaf(one(), start=-1), serving(), clients=clients) == ""
        alone = Clients((build(1, one()),), 2 * DAY)
        assert bring(leaf(two(), start=-1), serving(chain_of(two())), clients=alone) == BAD

    def test_each_build_has_clients_that_must_not_lose_what_serves_them(self) -> None:
        # The newer build does not trust what is served; those who run the older one must not pay for that.
        clients = Clients((build(-400, one()), build(-1, two())), 2 * DAY)
        assert said(removed(good().certificate.fingerprint), serving(), clients=clients) == NO_NAME_GONE


class TestTime:
    def test_it_is_the_present_that_counts(self) -> None:
        ending = leaf(one(), end=1)
        held = store(keyed(ending, "ending"), chain_of(one()), default=ending)
        action = removed(ending.certificate.fingerprint)
        assert said(action, held) == NO_NAME_GONE
        assert said(action, held, now=NOW + DAY) == NO_NAME_GONE
        assert said(action, held, now=NOW + 2 * DAY) == ""


def test_the_name_that_is_meant_without_one_is_the_first() -> None:
    east = leaf(one(), names=["east.example.com"], common_name="East")
    held = store(keyed(good(), "good"), keyed(east, "east"), chain_of(one()), default=good())
    action = default(east.certificate.fingerprint)
    assert said(action, held, names=(SITE, "east.example.com")) == NO_NAME_GONE
    assert said(action, held, names=("east.example.com", SITE)) == ""
