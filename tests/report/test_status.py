from __future__ import annotations

import json

import pytest

from reconciler.report.page import Medium
from reconciler.report.status import LoopStatus, Reconciliation, Status, status_of
from reconciler.report.status_text import status_text
from tests.report import sample
from tests.report.goldens import check_golden

STATUS = status_of(sample.STATE, sample.PLAN, sample.STORES, sample.FAILURES, sample.CLASSES, {})


AT = sample.PLAN.made_at
HOSTILE = "\x1b[31m\u202eno\n"


def known(health: str, suspended: str = "") -> Reconciliation:
    return Reconciliation(sync="Synced", health=health, suspended=suspended, mode="plan", looked_at=AT)


def with_loop(loop: LoopStatus, *appliances: Reconciliation) -> Status:
    """As many appliances as are known, with what the loop knows of them."""
    told = (
        one.model_copy(update={"reconciliation": each})
        for one, each in zip(STATUS.appliances, appliances, strict=False)
    )
    return STATUS.model_copy(update={"appliances": tuple(told), "loop": loop, "findings": ()})


def watch_lines(status: Status) -> list[str]:
    lines = status_text(status, Medium()).splitlines()
    return [each for each in lines if each.lstrip().startswith(("watch", "source"))]


def test_what_a_loop_at_work_knows_is_told_as_it_is() -> None:
    pause = "moved to another rack, until 2026-12-01 08:00:00 UTC"
    status = with_loop(LoopStatus(at_work=True, knew_at=AT), known("Healthy"), known("Suspended", pause))
    assert watch_lines(status) == [
        "watch   a loop is at work",
        "  watch   Synced, Healthy; mode plan, looked at 2026-11-23 12:00:00 UTC",
        f"  watch   Synced, Suspended ({pause}); mode plan, looked at 2026-11-23 12:00:00 UTC",
    ]


def test_what_the_last_loop_knew_is_not_told_as_if_it_were_so() -> None:
    loop = LoopStatus(
        at_work=False, knew_at=AT, source_problem="origin/main cannot be fetched", source_problem_since=AT
    )
    assert watch_lines(with_loop(loop, known("Healthy"))) == [
        "watch   no loop is at work; what the last one knew is of 2026-11-23 12:00:00 UTC",
        "source  origin/main cannot be fetched, since 2026-11-23 12:00:00 UTC",
        "  watch   was Synced, Healthy; mode plan, looked at 2026-11-23 12:00:00 UTC",
    ]


def test_what_a_loop_knows_may_not_be_understood() -> None:
    loop = LoopStatus(at_work=True, problem=f"it is cut short {HOSTILE}", source_problem=HOSTILE)
    lines = watch_lines(with_loop(loop))
    unknown = with_loop(LoopStatus(at_work=None, problem="Permission denied"))
    assert watch_lines(unknown) == [
        "watch   it cannot be told whether a loop is at work; what it knew cannot be told: Permission denied"
    ]
    assert lines[0].startswith("watch   a loop is at work; what it knew cannot be told: it is cut short ")
    assert all(each.isprintable() for each in lines)


@pytest.mark.parametrize(
    ("name", "medium"), [("pipe", Medium()), ("80", Medium(80)), ("240-colour", Medium(240, colour=True))]
)
def test_the_status_reads_as_it_was_looked_at(name: str, medium: Medium) -> None:
    check_golden(f"status-{name}.txt", status_text(STATUS, medium))


def test_a_table_is_narrowed_before_it_is_given_up() -> None:
    node = next(each for each in STATUS.appliances if each.name == "node-1")
    text = status_text(STATUS.model_copy(update={"appliances": (node,)}), Medium(150))
    assert "2027-10-24    dNSName - access.example.com  Yes      Yes      declared\n" in text
    assert "12:00:00 UTC  dNSName - east-1.example.com                    as access\n" in text


def test_nothing_from_a_certificate_reaches_a_terminal_unescaped() -> None:
    for width in (None, 20, 80):
        assert all(line.isprintable() for line in status_text(STATUS, Medium(width)).splitlines())


def test_the_document_is_read_back_as_it_was_written() -> None:
    text = STATUS.model_dump_json(by_alias=True, ensure_ascii=True)
    assert Status.model_validate_json(text) == STATUS
    assert text.isprintable()
    east = json.loads(text)["appliances"][0]
    assert [row["class"] for row in east["certificates"]] == ["factory", "undeclared", "previous", "retired"]
    assert east["certificates"][0]["default"] is True


def test_one_appliance_that_cannot_be_observed_hides_no_other() -> None:
    by_name = {each.name: each for each in STATUS.appliances}
    assert by_name["lone"].problem == "the store cannot be read: Permission denied - check who may read it"
    assert by_name["quiet-1"].problem == "not observed"
    assert by_name["east-1"].certificates


def test_what_is_wrong_with_a_certificate_by_itself_is_a_warning() -> None:
    rows = {row.fingerprint: row.warnings for row in STATUS.appliances[0].certificates}
    assert rows[sample.EVIL.fingerprint] == ("expired",)
    assert rows[sample.ORPHAN.fingerprint] == ("its issuer Lost Root is missing",)
    assert rows[sample.FACTORY.fingerprint] == ()
    early = sample.PLAN.model_copy(update={"made_at": sample.FACTORY.not_before.replace(year=2020)})
    status = status_of(sample.STATE, early, sample.STORES, {}, {}, {})
    assert status.appliances[0].certificates[0].warnings == ("not valid before 2026-10-24 12:00:00 UTC",)
    assert status.appliances[0].certificates[0].class_ is None


def test_renewals_expirations_and_holds_fall_due() -> None:
    by_name = {each.name: each for each in STATUS.appliances}
    assert [(f"{each.at:%Y-%m-%d}", each.what) for each in by_name["node-1"].due] == [
        ("2027-09-24", "access.example.com is due for renewal, 30d before it expires"),
        ("2027-10-24", "access.example.com expires"),
    ]
    hold = "the hold ends that keeps access.example.com from being removed"
    assert hold in [each.what for each in by_name["east-1"].due]


def test_what_cannot_be_classified_says_so() -> None:
    stopped = STATUS.appliances[-2]
    assert stopped.certificates[0].class_ is None
    text = status_text(STATUS.model_copy(update={"appliances": (stopped,)}), Medium())
    assert "unknown, see the errors" in text
    assert "Served now" not in text


def test_only_the_soonest_are_shown() -> None:
    east = STATUS.appliances[0]
    due = tuple(each.model_copy(update={"what": f"thing {number}"}) for number in range(8) for each in east.due[:1])
    many = STATUS.model_copy(update={"appliances": (east.model_copy(update={"due": due}),)})
    assert "east-1: thing 4\n  and 3 more\n" in status_text(many, Medium())


def test_a_quiet_fleet_has_nothing_due() -> None:
    plan = sample.PLAN.model_copy(update={"appliances": (sample.PLAN.appliances[1],), "findings": ()})
    text = status_text(status_of(sample.STATE, plan, {}, {}, {}, {}), Medium())
    assert text == "Status 2026-11-23 12:00:00 UTC\n\nlone\n  could not be observed\n"
