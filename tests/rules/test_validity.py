from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from reconciler.rules.validity import renewal_due
from tests.rules.fleet import C_LONE, C_SINGLE, Broken, intermediate, root
from tests.support.authority import DAY, NOW, Authority

if TYPE_CHECKING:
    from reconciler.pki.certificate import Certificate

SECOND = dt.timedelta(seconds=1)
LEAF = "certificates/lone/leaf.pem"
PLACE = f"{C_LONE}: lone/leaf.pem"


def lone(
    start: dt.timedelta, end: dt.timedelta, authority: Authority | None = None, edits: tuple[tuple[str, str], ...] = ()
) -> Broken:
    """The fleet with a certificate of the lone appliance whose validity is given from now."""
    issuer = authority or intermediate()
    leaf = issuer.issue(["lone.example.com"], not_before=NOW + start, not_after=NOW + end)
    material: dict[str, tuple[Certificate, ...]] = {LEAF: (leaf.certificate,)}
    if authority:
        material["certificates/own.pem"] = (issuer.certificate, *issuer.chain)
        edits = (*edits, ("chain: [intermediate.pem, root.pem]", "chain: [own.pem]"))
    return Broken({C_LONE: edits}, material)


def test_the_last_second_is_inside_the_validity() -> None:
    fleet = lone(-90 * DAY, dt.timedelta())
    assert fleet.found() == [("expires-soon", "warning", PLACE)]
    assert fleet.found(NOW + SECOND) == [("expired", "error", PLACE)]
    assert "expired on 2026-11-23 12:00 UTC" in fleet.check(NOW + SECOND)[0].message


def test_the_first_second_is_inside_the_validity() -> None:
    fleet = lone(dt.timedelta(), 90 * DAY)
    assert fleet.found(NOW - SECOND) == [("not-yet-valid", "warning", PLACE)]
    assert fleet.found() == []


def test_what_has_expired_stops_the_certificate_and_not_its_site() -> None:
    (finding,) = lone(-90 * DAY, -DAY).check()
    assert (finding.stops.value, str(finding.about)) == ("certificate", "certificate lone")


def test_the_policy_says_when_a_renewal_is_due() -> None:
    assert lone(-365 * DAY, 31 * DAY).found() == []
    assert lone(-365 * DAY, 30 * DAY).found() == [("expires-soon", "warning", PLACE)]


def test_a_certificate_may_have_its_own_time() -> None:
    later = (("key: ec-p256\n", "key: ec-p256\nrenew_before: 10d\n"),)
    assert lone(-365 * DAY, 11 * DAY, edits=later).found() == []
    assert lone(-365 * DAY, 10 * DAY, edits=later).found() == [("expires-soon", "warning", PLACE)]


def test_a_short_life_is_renewed_after_two_thirds() -> None:
    assert lone(-59 * DAY / 10, 31 * DAY / 10).found() == []
    assert lone(-6 * DAY, 3 * DAY).found() == [("expires-soon", "warning", PLACE)]


def test_the_instant_at_which_a_certificate_falls_due() -> None:
    state = lone(-300 * DAY, 60 * DAY).state()
    leaf = state.material["lone"].leaf
    assert leaf
    assert renewal_due(state.certificates["lone"], leaf, state) == NOW + 30 * DAY


def test_the_remedy_fits_the_source() -> None:
    leaf = intermediate().issue(["single.example.com"], not_before=NOW - 90 * DAY, not_after=NOW + DAY).certificate
    fleet = Broken(material={"certificates/single/signed.p7b": (leaf,)})
    assert fleet.found() == [("expires-soon", "warning", f"{C_SINGLE}: single/signed.p7b")]
    assert "`signed`" in fleet.check()[0].remedy
    assert "with its key" in lone(-90 * DAY, DAY).check()[0].remedy


def below_root(start: dt.timedelta, end: dt.timedelta) -> Authority:
    return root().intermediate("Brief", not_before=NOW + start, not_after=NOW + end)


def test_a_chain_that_has_expired() -> None:
    fleet = lone(-90 * DAY, 90 * DAY, below_root(-500 * DAY, -DAY))
    assert fleet.found() == [("expired", "error", f"{C_LONE}: [own.pem]")]
    assert "'Brief' expired on 2026-11-22 12:00 UTC" in fleet.check()[0].message


def test_a_chain_that_is_not_yet_valid() -> None:
    fleet = lone(-90 * DAY, 90 * DAY, below_root(DAY, 500 * DAY))
    assert fleet.found() == [("not-yet-valid", "warning", f"{C_LONE}: [own.pem]")]


def test_a_chain_that_ends_before_the_certificate() -> None:
    fleet = lone(-90 * DAY, 90 * DAY, below_root(-500 * DAY, 20 * DAY))
    assert fleet.found() == [("expires-soon", "warning", f"{C_LONE}: [own.pem]")]
    assert "'Brief', which the certificate needs" in fleet.check()[0].message


def test_a_chain_that_ends_with_the_certificate_is_the_smaller_worry() -> None:
    fleet = lone(-90 * DAY, 20 * DAY, below_root(-500 * DAY, 25 * DAY))
    assert fleet.found() == [("expires-soon", "warning", PLACE)]


def test_another_way_up_makes_good_for_an_expired_one() -> None:
    brief = below_root(-500 * DAY, -DAY)
    leaf = brief.issue(["lone.example.com"]).certificate
    fleet = Broken(
        {C_LONE: [("chain: [intermediate.pem, root.pem]", "chain: [own.pem]")]},
        {LEAF: (leaf,), "certificates/own.pem": (brief.certificate, root().cross_sign(brief), root().certificate)},
    )
    assert fleet.found() == []
