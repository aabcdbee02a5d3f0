from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.history import Entry, Noted
from reconciler.apply.result import Outcome
from reconciler.report.history import Ending, History, apply_of, history_of
from reconciler.report.history_text import apply_text, history_text
from reconciler.report.page import Medium
from tests.report.goldens import check_golden
from tests.support.authority import NOW

if TYPE_CHECKING:
    from collections.abc import Mapping

HOSTILE = "Evil\x1b[31m\u202e[bold red]gpj.exe[/]\x9b2J\nsecond <b>&amp;</b> | `line`"
ACTIONS = {
    "east-1/create_self_signed/lab": Noted("create_self_signed", "east-1", "lab"),
    "east-1/create_request/access": Noted("create_request", "east-1", "access"),
    "east-1/import/access": Noted("import", "east-1", "access.example.com"),
    "east-1/default/access": Noted("set_default", "east-1", "access.example.com"),
    "west-1/remove/1a": Noted("remove", "west-1", HOSTILE),
    "west-1/remove_request/2b": Noted("remove_request", "west-1", "old"),
    "west-1/bless/3c": Noted("bless", "west-1", "of another version"),
}
FIRST = list(ACTIONS)


def entry(
    number: int,
    *,
    took: dt.timedelta | None = None,
    running: bool = False,
    outcomes: Mapping[str, Outcome | None] | None = None,
    appliances: Mapping[str, Outcome] | None = None,
    revision: str | None = "c0ffee" * 6 + "c0ff",
    messages: dict[str, str] | None = None,
) -> Entry:
    began = NOW - dt.timedelta(days=number)
    return Entry(
        id=f"{began:%Y%m%dT%H%M%SZ}-01",
        path=Path(f"/var/lib/reconciler/{number}.jsonl"),
        began=began,
        ended=began + took if took is not None else None,
        running=running,
        desired_state="/srv/certificates/desired-state",
        revision=revision,
        plan="d1" * 32,
        planned=None,
        actions=ACTIONS,
        outcomes=outcomes or {},
        messages=messages or {},
        appliances=appliances or {},
    )


EVERYTHING = dict.fromkeys(ACTIONS, Outcome.APPLIED)
SOME = {FIRST[0]: Outcome.APPLIED, FIRST[1]: Outcome.APPLIED, FIRST[2]: None}
BOTH = {"east-1": Outcome.APPLIED, "west-1": Outcome.APPLIED}
AT_WORK = entry(0, running=True, outcomes=SOME)
INTERRUPTED = entry(1, outcomes=SOME, revision=None)
FAILED = entry(
    2,
    took=dt.timedelta(seconds=75),
    outcomes={
        FIRST[0]: Outcome.APPLIED,
        FIRST[1]: Outcome.FAILED,
        FIRST[2]: Outcome.NOT_ATTEMPTED,
        FIRST[4]: Outcome.STALE,
    },
    appliances={"east-1": Outcome.FAILED, "west-1": Outcome.STALE, "node-1": Outcome.NOT_ATTEMPTED},
    messages={FIRST[1]: HOSTILE, FIRST[4]: "the store has changed since the plan was made"},
)
DONE = entry(3, took=dt.timedelta(seconds=4), outcomes=EVERYTHING, appliances=BOTH)
LONG = entry(4, took=dt.timedelta(hours=2, minutes=5), outcomes=EVERYTHING, appliances=BOTH)
NOTHING = entry(5, took=dt.timedelta(seconds=-5))
ENTRIES = (AT_WORK, INTERRUPTED, FAILED, DONE, LONG, NOTHING)
HISTORY = history_of(ENTRIES, 20)


@pytest.mark.parametrize(("name", "medium"), [("pipe", Medium()), ("80-colour", Medium(80, colour=True))])
def test_the_history_reads_as_it_was_looked_at(name: str, medium: Medium) -> None:
    check_golden(f"history-{name}.txt", history_text(HISTORY, medium))


@pytest.mark.parametrize(("name", "medium"), [("pipe", Medium()), ("80-colour", Medium(80, colour=True))])
def test_one_apply_reads_as_it_was_looked_at(name: str, medium: Medium) -> None:
    shown = [apply_text(apply_of(each), medium) for each in (FAILED, INTERRUPTED, AT_WORK)]
    check_golden(f"apply-{name}.txt", "\n".join(shown))


def test_nothing_from_a_journal_reaches_a_terminal_unescaped() -> None:
    for width in (None, 20, 80):
        texts = [history_text(HISTORY, Medium(width)), *(apply_text(apply_of(each), Medium(width)) for each in ENTRIES)]
        assert all(line.isprintable() for text in texts for line in text.splitlines())


def test_the_endings_are_told_apart() -> None:
    assert [each.ending for each in HISTORY.applies] == [
        Ending.AT_WORK,
        Ending.INTERRUPTED,
        Ending.FAILED,
        Ending.APPLIED,
        Ending.APPLIED,
        Ending.APPLIED,
    ]
    text = history_text(HISTORY, Medium())
    for ending in (
        "at work, 2 of 7 actions done",
        "interrupted after 2 of 7 actions",
        "failed on east-1, node-1; not as planned: west-1",
        "applied, 7 actions",
    ):
        assert ending in text


def test_no_more_than_asked_for_is_told_and_none_more_is_read() -> None:
    entries = iter(ENTRIES)
    told = history_of(entries, 2)
    assert ([each.ending for each in told.applies], told.more) == ([Ending.AT_WORK, Ending.INTERRUPTED], True)
    assert next(entries) is DONE
    assert history_text(told, Medium()).endswith("\nThere are older ones: ask for more with --limit.\n")
    assert not history_of(ENTRIES, len(ENTRIES)).more


def again(number: int, *names: str, why: str = "no answer", done: bool = False) -> Entry:
    """One that failed, on some appliances."""
    actions = {each: noted for each, noted in ACTIONS.items() if noted.appliance in names}
    outcomes: dict[str, Outcome | None] = dict.fromkeys(actions, Outcome.APPLIED if done else Outcome.FAILED)
    failed = dict.fromkeys(names, Outcome.FAILED)
    made = entry(number, took=dt.timedelta(seconds=1), outcomes=outcomes, appliances=failed)
    return replace(made, actions=actions, messages=dict.fromkeys(actions, why))


def test_what_failed_alike_again_and_again_is_told_once() -> None:
    east, west = [again(number, "east-1") for number in (1, 2, 4)], [again(number, "west-1") for number in (3, 5)]
    other, before = again(6, "east-1", why="not signed in"), again(7, "east-1")
    told = history_of(sorted([*east, *west, other, before], key=lambda each: each.id, reverse=True), 5)
    assert [(each.id, each.times, each.first_began) for each in told.applies] == [
        (east[0].id, 3, east[-1].began),
        (west[0].id, 2, west[-1].began),
        (other.id, 1, other.began),
        (before.id, 1, before.began),
    ]
    assert "failed on east-1, 3 times since 2026-11-19 12:00:00 UTC" in history_text(told, Medium(width=400))


def test_what_came_between_on_one_of_the_appliances_parts_those_that_failed_alike() -> None:
    told = history_of([again(1, "east-1"), again(2, "east-1", "west-1"), again(3, "east-1")], 5)
    assert [each.times for each in told.applies] == [1, 1, 1]


def test_what_did_something_is_told_each_time() -> None:
    told = history_of([again(1, "east-1", done=True), again(2, "east-1", done=True), DONE, replace(DONE, id="x")], 5)
    assert [each.times for each in told.applies] == [1, 1, 1, 1]


def test_those_that_failed_alike_count_as_one_of_those_asked_for() -> None:
    told = history_of([again(1, "east-1"), again(2, "east-1"), again(3, "west-1"), DONE], 2)
    assert [(each.times, told.more) for each in told.applies] == [(2, True), (1, True)]


def test_that_it_is_of_several_folders_is_said() -> None:
    other = replace(DONE, desired_state="/srv/other")
    text = history_text(history_of((other, *ENTRIES), 20), Medium())
    assert text.endswith("\nThese are of 2 folders: name one to see only what was applied of it.\n")
    assert "folders" not in history_text(HISTORY, Medium())


def test_where_there_is_none_that_is_said() -> None:
    assert history_text(history_of((), 20), Medium()) == "Nothing was applied yet.\n"


def test_the_document_is_read_back_as_it_was_written() -> None:
    text = HISTORY.model_dump_json(by_alias=True, ensure_ascii=True)
    assert History.model_validate_json(text) == HISTORY
    assert text.isprintable()
    document = json.loads(text)
    assert document["format_version"] == "1.1"
    assert document["applies"][1]["actions"][2] == {
        "action": "east-1/import/access",
        "kind": "import",
        "appliance": "east-1",
        "what": "import access.example.com",
        "begun": True,
        "outcome": None,
        "message": "",
    }
