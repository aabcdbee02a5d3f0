"""Journals on a real file system: written by processes that are killed, on disks that are full, read by anybody."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.history import interrupted, read_history
from reconciler.apply.journal import Unwritten, WrittenJournal, place
from reconciler.apply.result import ApplianceResult, Outcome, StepResult
from reconciler.base.errors import UnreadableInput
from reconciler.plan.model import AppliancePlan, Basis, Plan, Progress, Reason, Remove, State, Summary
from tests.support.authority import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.apply.history import Entry

DIGEST = "d" * 64
HOSTILE = 'a\n{"at": "2026-01-01T00:00:00Z", "event": "end"}\n\x1b[2J\u2028\x85\ud800'


def remove(number: int, *, label: str = "", state: State = State.READY) -> Remove:
    return Remove(
        id=f"east-1/remove/{number}",
        appliance="east-1",
        state=state,
        certificate=None,
        label=label or f"certificate {number}",
        reason=Reason(code="retired", sentence="it is retired"),
        fingerprint=f"{number:064}",
        has_key=True,
    )


FIRST, SECOND, HELD = remove(1), remove(2), remove(3, state=State.HELD)


def plan(*actions: Remove, appliance: str = "east-1") -> Plan:
    shown = [each.model_copy(update={"appliance": appliance}) for each in actions or (FIRST, SECOND, HELD)]
    return Plan(
        made_at=NOW,
        digest=DIGEST,
        basis=Basis(desired_digest="0", revision="c" * 40),
        appliances=(AppliancePlan(name=appliance, actions=tuple(shown)),),
        summary=Summary(),
    )


def ticking() -> Iterator[dt.datetime]:
    instant = NOW
    while True:
        yield instant
        instant += dt.timedelta(seconds=1)


def begin(folder: Path, *actions: Remove, appliance: str = "east-1") -> WrittenJournal:
    ticks = ticking()
    return WrittenJournal(folder, plan(*actions, appliance=appliance), "desired-state", lambda: next(ticks))


def done(action: Remove, outcome: Outcome = Outcome.APPLIED, **more: str) -> StepResult:
    return StepResult(action.id, outcome, **more)


APPLIED = (ApplianceResult("east-1", Outcome.APPLIED), ApplianceResult("west-1", Outcome.UNCHANGED))


def whole(folder: Path, appliance: str = "east-1") -> WrittenJournal:
    """A journal of an apply that ended well."""
    journal = begin(folder, appliance=appliance)
    for action in (FIRST, SECOND):
        journal.intend(action)
        journal.record(done(action))
    journal.end(APPLIED)
    journal.close()
    return journal


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def only(folder: Path) -> Entry:
    [entry] = read_history(folder)
    return entry


class TestWriting:
    def test_intent_comes_before_and_outcome_after_each_action(self, tmp_path: Path) -> None:
        journal = begin(tmp_path / "journal")
        journal.intend(FIRST)
        journal.record(done(FIRST, made="f" * 64))
        journal.intend(SECOND)
        journal.record(done(SECOND, Outcome.FAILED, message="the disk is full", remedy="make room"))
        journal.end([ApplianceResult("east-1", Outcome.FAILED), ApplianceResult("west-1", Outcome.UNCHANGED)])
        journal.close()
        first, *others = lines(journal.path)
        assert first == {
            "at": "2026-11-23T12:00:01Z",
            "event": "begin",
            "format_version": "1.1",
            "desired_state": place("desired-state"),
            "revision": "c" * 40,
            "plan": DIGEST,
            "appliances": ["east-1"],
            "actions": [
                {
                    "id": each.id,
                    "kind": "remove",
                    "appliance": "east-1",
                    "label": each.label,
                    "certificate": None,
                }
                for each in (FIRST, SECOND)
            ],
        }
        assert [{key: value for key, value in each.items() if key != "at"} for each in others] == [
            {"event": "intent", "action": FIRST.id},
            {"event": "outcome", "action": FIRST.id, "outcome": "applied", "made": "f" * 64},
            {"event": "intent", "action": SECOND.id},
            {"event": "outcome", "action": SECOND.id, "outcome": "failed", "message": "the disk is full"},
            {"event": "end", "appliances": {"east-1": "failed"}},
        ]

    def test_nobody_else_may_read_it(self, tmp_path: Path) -> None:
        umask = os.umask(0)
        try:
            path = whole(tmp_path / "state" / "journal").path
        finally:
            os.umask(umask)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_every_line_is_on_the_disk_before_anything_else_happens(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[str] = []
        sync = os.fsync

        def noting(descriptor: int) -> None:
            sync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").resolve()
            synced.append("the folder" if path.is_dir() else path.read_text().splitlines()[-1])

        monkeypatch.setattr(os, "fsync", noting)
        journal = begin(tmp_path)
        numbers = [len(synced)]
        for action in (FIRST, SECOND):
            journal.intend(action)
            numbers.append(len(synced))
            journal.record(done(action))
            numbers.append(len(synced))
        journal.end(APPLIED)
        journal.close()
        assert numbers == [2, 3, 4, 5, 6]
        assert synced.pop(1) == "the folder"
        assert synced == journal.path.read_text().splitlines()

    def test_no_label_makes_a_line_of_its_own(self, tmp_path: Path) -> None:
        journal = begin(tmp_path, remove(1, label=HOSTILE))
        journal.intend(FIRST)
        journal.record(done(FIRST, Outcome.FAILED, message=HOSTILE))
        journal.close()
        assert [each["event"] for each in lines(journal.path)] == ["begin", "intent", "outcome"]
        entry = only(tmp_path)
        assert entry.interrupted
        assert (entry.actions[FIRST.id].label, entry.messages[FIRST.id]) == (HOSTILE, HOSTILE)

    def test_it_holds_what_it_must_tell_and_no_more(self, tmp_path: Path) -> None:
        # Of an action only what names it, whatever else it should ever carry.
        journal = begin(tmp_path)
        journal.intend(FIRST.model_copy(update={"reason": Reason(code="x", sentence="a passphrase by mistake")}))
        journal.record(done(FIRST, remedy="a passphrase by mistake"))
        journal.close()
        assert "passphrase" not in journal.path.read_text()

    def test_two_that_begin_within_a_second_are_told_apart_and_keep_their_order(self, tmp_path: Path) -> None:
        made = [whole(tmp_path) for _ in range(12)]
        assert [each.id for each in read_history(tmp_path)] == [each.path.stem for each in reversed(made)]
        assert made[0].path.name == "20261123T120000Z-01.jsonl"

    def test_a_folder_that_is_a_link_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "journal").symlink_to("elsewhere")
        whole(tmp_path / "journal")
        assert only(tmp_path / "elsewhere").ended
        assert only(tmp_path / "journal").ended

    def test_it_does_not_write_through_a_link_that_somebody_left_in_its_place(self, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (tmp_path / "20261123T120000Z-01.jsonl").symlink_to(victim)
        assert whole(tmp_path).path.name == "20261123T120000Z-02.jsonl"
        assert victim.read_text() == "precious"

    @pytest.mark.parametrize("how", ["a file", "a link to nowhere", "a place where nothing can be made", "no path"])
    def test_a_folder_that_cannot_be_used_is_one_sentence(self, tmp_path: Path, how: str) -> None:
        folder = tmp_path / "journal"
        match how:
            case "a file":
                folder.write_text("")
            case "a link to nowhere":
                folder.symlink_to(tmp_path / "nowhere")
            case "no path":
                folder = tmp_path / "a\0b"
            case _:
                folder = Path("/proc/self")
        with pytest.raises(UnreadableInput, match=r"cannot be written: .*name another folder as `journal`") as caught:
            begin(folder)
        assert "\n" not in str(caught.value)

    def test_an_unwritten_one_keeps_nothing(self) -> None:
        journal = Unwritten()
        journal.intend(FIRST)
        journal.record(done(FIRST))


@contextmanager
def full_disk(path: Path, room: int) -> Iterator[None]:
    """No file may grow beyond what this one has now and some bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((path.stat().st_size if path.is_file() else 0) + room, hard))
    try:
        yield  # Python ignores SIGXFSZ, so that writing fails instead
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestFullDisk:
    @pytest.mark.parametrize("room", [0, 1, 30])
    def test_it_does_not_begin_and_leaves_nothing(self, tmp_path: Path, room: int) -> None:
        with full_disk(tmp_path, room), pytest.raises(UnreadableInput, match="File too large - make room"):
            begin(tmp_path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("room", [0, 1, 30])
    def test_an_action_that_cannot_be_noted_should_not_run(self, tmp_path: Path, room: int) -> None:
        journal = begin(tmp_path)
        journal.intend(FIRST)
        journal.record(done(FIRST))
        with full_disk(journal.path, room), pytest.raises(UnreadableInput, match="File too large - make room"):
            journal.intend(SECOND)
        # What could not be noted stays out, and what comes once there is room again is readable.
        journal.end([ApplianceResult("east-1", Outcome.FAILED)])
        journal.close()
        assert [each["event"] for each in lines(journal.path)] == ["begin", "intent", "outcome", "end"]
        entry = only(tmp_path)
        assert (entry.outcomes, entry.left) == ({FIRST.id: Outcome.APPLIED}, [SECOND.id])
        assert entry.appliances == {"east-1": Outcome.FAILED}

    def test_what_has_happened_has_happened(self, tmp_path: Path) -> None:
        journal = begin(tmp_path)
        journal.intend(FIRST)
        with full_disk(journal.path, 10):
            journal.record(done(FIRST))
            journal.end(APPLIED)
        assert journal.problem is not None
        assert "File too large" in journal.problem.message
        journal.close()
        entry = only(tmp_path)
        assert entry.interrupted
        assert entry.outcomes == {FIRST.id: None}

    def test_what_comes_after_it_was_closed_goes_nowhere(self, tmp_path: Path) -> None:
        journal = whole(tmp_path)
        assert journal.problem is None
        content = journal.path.read_bytes()
        journal.close()
        journal.end(APPLIED)
        with pytest.raises(UnreadableInput, match="cannot be written"):
            journal.intend(FIRST)
        assert journal.path.read_bytes() == content


CHILD = """
import sys
from pathlib import Path
from tests.apply.test_journal import FIRST, SECOND, APPLIED, begin, done

def pause(where):
    print(where, flush=True)
    sys.stdin.readline()

journal = begin(Path(sys.argv[1]))
pause("begun")
for name, action in (("first", FIRST), ("second", SECOND)):
    journal.intend(action)
    pause(name + " intended")
    journal.record(done(action))
    pause(name + " done")
journal.end(APPLIED)
pause("ended")
"""
POINTS = ("begun", "first intended", "first done", "second intended", "second done", "ended")


@contextmanager
def child(folder: Path, until: str) -> Iterator[subprocess.Popen[str]]:
    """A process that writes a journal, and stands still at some point of it."""
    command = [sys.executable, "-c", CHILD, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            while (line := process.stdout.readline()) != f"{until}\n":
                assert line
                process.stdin.write("\n")
                process.stdin.flush()
            yield process
        finally:
            process.kill()


class TestInterrupted:
    @pytest.mark.parametrize("until", POINTS)
    def test_one_at_work_is_told_from_one_that_was_killed(self, tmp_path: Path, until: str) -> None:
        with child(tmp_path, until) as process:
            at_work = only(tmp_path)
            assert (at_work.running, at_work.interrupted) == (until != "ended", False)
            process.send_signal(signal.SIGKILL)
            process.wait()
        entry = only(tmp_path)
        assert not entry.running
        assert entry.interrupted == (until != "ended")
        known = {
            "begun": {},
            "first intended": {FIRST.id: None},
            "first done": {FIRST.id: Outcome.APPLIED},
            "second intended": {FIRST.id: Outcome.APPLIED, SECOND.id: None},
        }.get(until, {FIRST.id: Outcome.APPLIED, SECOND.id: Outcome.APPLIED})
        assert entry.outcomes == known
        assert list(entry.actions) == [FIRST.id, SECOND.id]
        assert entry.left == [each for each in entry.actions if known.get(each) is None]

    def test_looking_does_not_disturb_who_is_at_work(self, tmp_path: Path) -> None:
        journal = begin(tmp_path)
        with journal.path.open() as reader:
            with pytest.raises(BlockingIOError):
                fcntl.flock(reader, fcntl.LOCK_SH | fcntl.LOCK_NB)
            assert only(tmp_path).running
            journal.close()
            assert only(tmp_path).interrupted
            fcntl.flock(reader, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_it_is_the_last_apply_of_the_same_folder_that_counts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "journal"
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / "one")
        begin(folder).close()
        found = interrupted(read_history(folder), str(tmp_path / "one" / "desired-state"))
        assert [each.left for each in found] == [[FIRST.id, SECOND.id]]
        monkeypatch.chdir(tmp_path / "two")
        assert interrupted(read_history(folder), "desired-state") == ()
        whole(folder)
        monkeypatch.chdir(tmp_path / "one")
        assert interrupted(read_history(folder), "desired-state") == found
        whole(folder)
        assert interrupted(read_history(folder), "desired-state") == ()

    def test_applies_to_several_parts_of_a_fleet_are_interrupted_together(self, tmp_path: Path) -> None:
        at_work = [begin(tmp_path, appliance=name) for name in ("east-1", "west-1")]
        whole(tmp_path, appliance="north-1")  # it came to its end before the others were killed
        for each in at_work:
            each.close()
        ids = [each.path.stem for each in at_work]
        assert [each.id for each in interrupted(read_history(tmp_path), "desired-state")] == ids[::-1]
        whole(tmp_path, appliance="west-1")
        assert [each.id for each in interrupted(read_history(tmp_path), "desired-state")] == ids[:1]

    def test_who_could_not_be_planned_is_not_made_up_for(self, tmp_path: Path) -> None:
        begin(tmp_path).close()
        lost = AppliancePlan(name="east-1", progress=Progress.UNREACHABLE)
        made = plan().model_copy(update={"appliances": (lost,)})
        WrittenJournal(tmp_path, made, "desired-state", lambda: NOW).close()
        assert len(interrupted(read_history(tmp_path), "desired-state")) == 1

    def test_a_journal_that_does_not_say_who_was_planned_is_understood(self, tmp_path: Path) -> None:
        journal = begin(tmp_path)
        journal.close()
        old = [{key: value for key, value in each.items() if key != "appliances"} for each in lines(journal.path)]
        journal.path.write_text("".join(f"{json.dumps(each)}\n" for each in old))
        [entry] = interrupted(read_history(tmp_path), "desired-state")
        assert entry.planned is None
        whole(tmp_path)
        assert interrupted(read_history(tmp_path), "desired-state") == ()

    def test_one_that_is_at_work_is_not_interrupted(self, tmp_path: Path) -> None:
        journal = begin(tmp_path)
        assert interrupted(read_history(tmp_path), "desired-state") == ()
        journal.close()


class TestReading:
    def test_a_whole_one(self, tmp_path: Path) -> None:
        path = whole(tmp_path).path
        entry = only(tmp_path)
        assert (entry.id, entry.path, entry.plan, entry.revision) == (path.stem, path, DIGEST, "c" * 40)
        assert (entry.began, entry.ended) == (NOW + dt.timedelta(seconds=1), NOW + dt.timedelta(seconds=6))
        assert not entry.interrupted
        assert not entry.running
        assert entry.appliances == {"east-1": Outcome.APPLIED}
        assert (entry.messages, entry.left) == ({}, [])

    def test_where_there_is_no_folder_there_is_no_history(self, tmp_path: Path) -> None:
        assert list(read_history(tmp_path / "nowhere")) == []
        (tmp_path / "file").write_text("")
        for nothing in (tmp_path / "file", tmp_path / ("x" * 300)):
            assert list(read_history(nothing)) == []

    def test_wherever_it_was_cut_off_what_stands_before_is_told(self, tmp_path: Path) -> None:
        path = whole(tmp_path).path
        content = path.read_bytes()
        begin_ends = content.index(b"\n")
        for length in range(len(content)):
            path.write_bytes(content[:length])
            entries = list(read_history(tmp_path))
            if length < begin_ends:
                assert entries == []
                continue
            [entry] = entries
            assert list(entry.actions) == [FIRST.id, SECOND.id]
            assert entry.interrupted == (length < len(content) - 1)

    @pytest.mark.parametrize(
        "garbage",
        [
            os.urandom(4096),
            b"\xff\xfe\x00",
            b"[" * 100_000,
            b"9" * 10_000,
            b'"a string"',
            b"[]",
            b'{"event": "end"}',
            b'{"event": "end", "at": 5}',
            b'{"event": "end", "at": "2026-11-23T12:00:00"}',
            b'{"event": "end", "at": "tomorrow", "appliances": {"east-1": "applied"}}',
            b'{"event": "intent"}',
            b'{"event": "outcome", "action": ["x"], "outcome": "unheard of"}',
            b'{"event": "fanfare", "at": "2026-11-23T12:00:00Z"}',
        ],
    )
    def test_garbage_is_passed_over(self, tmp_path: Path, garbage: bytes) -> None:
        journal = begin(tmp_path)
        journal.intend(FIRST)
        with journal.path.open("ab") as file:
            file.write(garbage + b"\n")
        journal.record(done(FIRST))
        journal.close()
        entry = only(tmp_path)
        assert entry.interrupted
        assert entry.outcomes[FIRST.id] is Outcome.APPLIED

    @pytest.mark.parametrize(
        "first",
        [
            "",
            "{}",
            '{"event": "begin"}',
            '{"event": "begin", "at": "yesterday"}',
            '{"event": "begin", "at": "2026-11-23T12:00:00"}',
        ],
    )
    def test_what_does_not_begin_is_none(self, tmp_path: Path, first: str) -> None:
        (tmp_path / "a.jsonl").write_text(first + "\n")
        assert list(read_history(tmp_path)) == []

    @pytest.mark.parametrize("actions", ["5", "{}", '["x"]', "[{}]", '[{"id": ""}]', "null"])
    def test_a_beginning_of_another_version_says_what_it_can(self, tmp_path: Path, actions: str) -> None:
        line = f'{{"event": "begin", "at": "2026-11-23T12:00:00Z", "actions": {actions}, "more": 1}}\n'
        (tmp_path / "a.jsonl").write_text(line)
        entry = only(tmp_path)
        assert (entry.actions, entry.plan, entry.revision, entry.desired_state) == ({}, "", None, "")

    def test_what_is_no_journal_is_left_alone(self, tmp_path: Path) -> None:
        whole(tmp_path)
        os.mkfifo(tmp_path / "pipe.jsonl")  # whoever opens it waits for ever
        (tmp_path / "folder.jsonl").mkdir()
        (tmp_path / "link.jsonl").symlink_to("link.jsonl")
        (tmp_path / "unreadable.jsonl").symlink_to("/proc/self/mem")
        (tmp_path / "notes.txt").write_text("mine")
        assert only(tmp_path).ended

    def test_only_what_is_asked_for_is_read(self, tmp_path: Path) -> None:
        first, last = whole(tmp_path), whole(tmp_path)
        history = read_history(tmp_path)
        assert next(history).id == last.path.stem
        first.path.unlink()
        assert next(history, None) is None


def test_what_is_held_was_not_to_be_done(tmp_path: Path) -> None:
    begin(tmp_path, HELD).close()
    assert only(tmp_path).actions == {}
