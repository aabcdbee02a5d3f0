from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.plan.model import (
    Action,
    AppliancePlan,
    Candidate,
    CreateSelfSigned,
    Hold,
    Plan,
    Progress,
    Reason,
    ServedName,
    SetDefault,
    State,
)
from reconciler.report.changes import Known
from reconciler.report.noticed import nothing_noticed, noticed
from tests.report import sample
from tests.support.authority import NOW

if TYPE_CHECKING:
    import datetime as dt

OLD = Candidate(certificate=sample.OLD.fingerprint, label="old", good=True)
NEW = Candidate(certificate=sample.LEAF.fingerprint, label="new", good=True)
FACTORY = Candidate(certificate=sample.FACTORY.fingerprint, label="BeyondTrust Appliance", good=False, why_not="bad")
MADE = Candidate(certificate="new:lab@node-2", label="lab", good=True)
UNKNOWN = Candidate(certificate="9" * 64, label="somebody's", good=False)
FACTORY_WORDS = "BeyondTrust Appliance, self-signed, until 2027-10-24"
OLD_WORDS, NEW_WORDS = "from Example Issuing CA, until 2026-12-13", "from Example Issuing CA, until 2027-10-24"


def _noticed(*appliances: AppliancePlan, plan: Plan = sample.PLAN) -> tuple[str, ...]:
    return noticed(appliances, Known(plan, sample.STORES, sample.MATERIAL, sample.CLASSES))


def _part(*rows: ServedName, name: str = "east-1") -> AppliancePlan:
    return AppliancePlan(name=name, serving=rows)


def _row(before: tuple[Candidate, ...], after: tuple[Candidate, ...], name: str | None = "a.b") -> ServedName:
    return ServedName(name=name, before=before, after=after)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ((OLD,), (NEW,), f"get another certificate: {NEW_WORDS} (before: {OLD_WORDS})"),
        ((OLD,), (OLD, NEW), f"may get another certificate: {NEW_WORDS} (or still: {OLD_WORDS})"),
        ((OLD, NEW), (NEW,), f"do not get one of their certificates any more: {OLD_WORDS}; what stays is {NEW_WORDS}"),
        ((OLD,), (), f"are not served anything any more (before: {OLD_WORDS})"),
        ((), (), "are not served anything, as now"),
        ((), (NEW,), f"get a certificate, and get none now: {NEW_WORDS}"),
        (
            (FACTORY,),
            (FACTORY,),
            f"get what they get now: {FACTORY_WORDS}, not good: bad",
        ),
        ((), (MADE,), "get a certificate, and get none now: lab, self-signed, for 365d"),
        ((), (UNKNOWN,), "get a certificate, and get none now: somebody's, not good: see the errors"),
    ],
)
def test_what_changes_for_the_clients_of_a_name_is_a_sentence(
    before: tuple[Candidate, ...], after: tuple[Candidate, ...], sentence: str
) -> None:
    assert _noticed(_part(_row(before, after))) == (f"Clients of a.b {sentence}",)


def test_what_stays_good_is_not_told() -> None:
    assert _noticed(_part(_row((OLD, NEW), (NEW, OLD)))) == ()


def test_alike_certificates_are_told_apart_by_their_fingerprints() -> None:
    twin = Candidate(certificate="8" * 64, label="somebody's", good=False)
    (sentence,) = _noticed(_part(_row((twin,), (UNKNOWN,))))
    assert "get another certificate: somebody's, not good: see the errors [999999999999] (before: " in sentence


def test_names_to_which_the_same_happens_share_a_sentence() -> None:
    rows = [_row((OLD,), (NEW,), name) for name in ("a.b", None, "c.d")]
    (shared,) = _noticed(_part(*rows))
    assert shared.startswith("Clients of a.b, c.d and clients that send no server name get another certificate: ")
    (alone,) = _noticed(_part(rows[1]))
    assert alone.startswith("Clients that send no server name get another certificate: ")


def test_where_it_happens_is_told_only_where_it_does_not_happen_everywhere() -> None:
    changing, staying = _row((OLD,), (NEW,)), _row((OLD,), (OLD,))
    both = _noticed(_part(changing), _part(changing, name="west-1"))
    one = _noticed(_part(changing), _part(staying, name="west-1"))
    assert both[0].startswith("Clients of a.b get")
    assert one[0].startswith("Clients of a.b on east-1 get")


def test_names_to_which_the_same_happens_in_different_places_share_a_sentence() -> None:
    changing, nameless = _row((OLD,), (NEW,), "a.b"), _row((OLD,), (NEW,), None)
    elsewhere = _part(_row((OLD,), (OLD,), None), name="lab")
    (shared,) = _noticed(_part(nameless, changing), elsewhere)
    assert shared.startswith("Clients of a.b and clients that send no server name on east-1 get another certificate: ")


def test_certificates_that_do_not_cover_their_names_are_alike() -> None:
    rows = [_row((FACTORY.model_copy(update={"why_not": f"does not cover {name}"}),), (NEW,), name) for name in "ab"]
    (shared,) = _noticed(_part(*rows))
    assert shared.startswith("Clients of a, b get another certificate: ")
    assert shared.endswith(f"(before: {FACTORY_WORDS}, not good: does not cover the name)")


def test_what_is_worst_comes_first_since_long_lists_are_cut() -> None:
    rows = [
        _row((OLD,), (NEW,), "good"),
        _row((FACTORY, UNKNOWN), (FACTORY,), "bad-anyway"),
        _row((OLD,), (OLD, UNKNOWN), "worse"),
        _row((OLD,), (FACTORY,), "lost"),
        _row((OLD,), (), "gone"),
        _row((), (), "nothing"),
    ]
    told = [sentence.split()[2] for sentence in _noticed(_part(*rows))]
    assert told == ["lost", "gone", "worse", "bad-anyway", "good", "nothing"]


def _held(kind: type[SetDefault | CreateSelfSigned], code: str, until: dt.datetime | None) -> Action:
    action = next(each for each in sample.PLAN.appliances[3].actions if isinstance(each, kind))
    hold = Hold(reason=Reason(code=code, sentence=f"it is {code}"), until=until)
    return action.model_copy(update={"state": State.HELD, "hold": hold})


def test_what_is_held_from_clients_is_told_once_and_by_its_cause() -> None:
    follows, cause = _held(SetDefault, "follows", None), _held(CreateSelfSigned, "untrusted", NOW)
    parts = [AppliancePlan(name=name, actions=(follows, cause)) for name in ("a", "b")]
    assert _noticed(*parts) == (
        (
            "Until 2026-11-23 12:00:00 UTC clients keep what they are served now: the creation of lab is held, because"
            " it is untrusted"
        ),
    )
    assert _noticed(AppliancePlan(name="a", actions=(follows,))) == (
        "Clients keep what they are served now: the change of the default to lab is held, because it is follows",
    )


def test_a_held_removal_is_not_noticed() -> None:
    assert _noticed(AppliancePlan(name="a", actions=sample.PLAN.appliances[0].actions[-1:])) == ()


def test_nothing_is_claimed_of_appliances_that_could_not_be_planned() -> None:
    planned, unseen = AppliancePlan(name="a"), AppliancePlan(name="b", progress=Progress.UNREACHABLE)
    assert nothing_noticed([planned]) == "Nothing that clients are served changes"
    assert nothing_noticed([planned, unseen]).endswith(" on the appliances that could be planned")
