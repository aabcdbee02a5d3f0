"""Saved plans: a file that holds what was reviewed, and the check that it is still what would be done."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from reconciler.apply.result import Outcome
from reconciler.base.errors import StaleError, UnreadableInput, UsageError
from reconciler.engine.run import plan_again
from reconciler.engine.saved import MAX_AGE, check_age, read_plan, save_plan, what_moved
from reconciler.plan.digest import digest
from reconciler.plan.model import Plan, State
from tests.apply.stage import PASSPHRASE, Stage
from tests.engine.test_run import NEW, OLD, PAIR, SETTINGS, Engine, before
from tests.plan.scenes import Scene, builds, leaf, one, provided, steps, two
from tests.support.authority import DAY, NOW, self_signed
from tests.support.memory import Fault, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.engine.run import Planned

HOUR, MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(monkeypatch, PAIR, {"east": before(), "west": before()})


@pytest.fixture
def saved(engine: Engine, tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    save_plan(engine.plan().plan, path)
    return path


def again(engine: Engine, plan: Plan, *, later: dt.timedelta = DAY) -> Planned:
    async def run() -> Planned:
        return await plan_again(plan, engine.state, SETTINGS, lambda: NOW + later)

    return anyio.run(run)


def moved(engine: Engine, plan: Plan) -> list[str]:
    """What is told to have moved."""
    with pytest.raises(StaleError) as caught:
        again(engine, plan)
    first, *told = caught.value.message.splitlines()
    assert first == "the saved plan no longer fits:"
    assert "have it reviewed again" in caught.value.remedy
    return [each.strip() for each in told]


def rewritten(path: Path, change: Callable[[dict[str, Any]], object], *, digested: bool = False) -> Path:
    """The plan as a forger or another version would have written it: changed, with a checksum that fits."""
    document = json.loads(path.read_text())
    change(document)
    del document["checksum"]
    if digested:
        document["digest"] = digest(Plan.model_validate(document, extra="ignore").appliances)
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    document["checksum"] = hashlib.sha256(canonical).hexdigest()
    path.write_text(json.dumps(document))
    return path


class TestFile:
    def test_it_is_read_back_as_it_was_written(self, engine: Engine, saved: Path) -> None:
        plan = engine.plan().plan
        read = read_plan(saved)
        assert len(read.checksum) == 64
        assert read.model_copy(update={"checksum": ""}) == plan

    def test_it_is_complete_from_the_moment_it_is_there(self, engine: Engine, saved: Path) -> None:
        there = saved.stat().st_ino
        save_plan(engine.plan().plan.model_copy(update={"made_at": NOW + DAY}), saved)
        assert saved.stat().st_ino != there
        assert list(saved.parent.iterdir()) == [saved]
        assert stat.S_ISREG(saved.lstat().st_mode)

    def test_what_is_no_regular_file_is_left_alone(self, engine: Engine, tmp_path: Path) -> None:
        (tmp_path / "victim").write_text("precious")
        (tmp_path / "link").symlink_to("victim")
        for path in (tmp_path / "link", tmp_path):
            with pytest.raises(UsageError, match="no regular file"):
                save_plan(engine.plan().plan, path)
        with pytest.raises(UsageError, match="is no folder"):
            save_plan(engine.plan().plan, tmp_path / "nowhere" / "plan.json")
        assert (tmp_path / "victim").read_text() == "precious"

    def test_no_character_of_a_value_can_be_changed(self, saved: Path) -> None:
        text = saved.read_text()
        refused = (StaleError, UnreadableInput)
        for index, character in enumerate(text):
            if not character.isalnum() or index % 7:
                continue
            other = "1" if character != "1" else "2"
            saved.write_text(text[:index] + other + text[index + 1 :])
            with pytest.raises(refused):
                read_plan(saved)

    @pytest.mark.parametrize("key", ["made_at", "digest", "checksum", "basis", "appliances", "findings", "summary"])
    def test_a_changed_value_is_stale(self, saved: Path, key: str) -> None:
        document = json.loads(saved.read_text())
        document[key] = "0" * 64
        saved.write_text(json.dumps(document))
        with pytest.raises(StaleError, match="was changed after it was saved"):
            read_plan(saved)

    def test_its_layout_does_not_matter(self, saved: Path) -> None:
        plan = read_plan(saved)
        document = json.loads(saved.read_text())
        saved.write_text(json.dumps(dict(reversed(document.items()))))
        assert read_plan(saved) == plan

    def test_a_forged_action_does_not_have_the_digest(self, saved: Path) -> None:
        def forge(document: dict[str, Any]) -> None:
            document["appliances"][0]["actions"][0]["fingerprint"] = "0" * 64

        with pytest.raises(StaleError, match="does not have the digest that it says it has"):
            read_plan(rewritten(saved, forge))

    def test_a_plan_that_was_only_shown_is_not_a_saved_one(self, engine: Engine, tmp_path: Path) -> None:
        path = tmp_path / "shown.json"
        path.write_text(engine.plan().plan.model_dump_json(by_alias=True))
        with pytest.raises(UnreadableInput, match="was shown and not saved - save one with `reconciler plan --out`"):
            read_plan(path)

    def test_a_plan_as_of_another_time_is_refused(self, engine: Engine, tmp_path: Path) -> None:
        save_plan(engine.plan(at=NOW + DAY).plan, tmp_path / "plan.json")
        with pytest.raises(UsageError, match="cannot be applied - plan again without --at"):
            read_plan(tmp_path / "plan.json")

    def test_it_says_when_it_was_made_and_where_that_is(self, saved: Path) -> None:
        path = rewritten(saved, lambda document: document.update(made_at="2026-11-23T12:00:00"))
        with pytest.raises(UnreadableInput, match="time zone"):
            read_plan(path)


class TestVersions:
    def test_a_newer_minor_version_is_read_and_what_is_new_passed_over(self, saved: Path) -> None:
        plan = read_plan(saved)

        def newer(document: dict[str, Any]) -> None:
            document["format_version"] = "1.99"
            document["fanfare"] = ["new"]
            document["basis"]["weather"] = "fine"
            for part in document["appliances"]:
                part["mood"] = {"deep": [1, 2.5, None, True]}
                for action in part["actions"]:
                    action["colour"] = "green"
                    action["expects"]["patience"] = 5

        read = read_plan(rewritten(saved, newer))
        assert (read.digest, read.actions, read.basis) == (plan.digest, plan.actions, plan.basis)

    @pytest.mark.parametrize("version", ["2.0", "0.9", "", "10.0", "one", 1.1, None, {"major": 1}])
    def test_another_major_version_is_refused(self, saved: Path, version: object) -> None:
        with pytest.raises(UnreadableInput, match="format") as caught:
            read_plan(rewritten(saved, lambda document: document.update(format_version=version)))
        assert "\n" not in str(caught.value)

    def test_an_action_that_is_not_known_is_refused_with_its_place(self, saved: Path) -> None:
        def newer(document: dict[str, Any]) -> None:
            document["format_version"] = "1.99"
            document["appliances"][0]["actions"][0]["kind"] = "bless"

        with pytest.raises(UnreadableInput, match=r"not understood: appliances\.0\.actions\.0: "):
            read_plan(rewritten(saved, newer))


class TestGarbage:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x00\xff\xfe",
            os.urandom(1000),
            b"null",
            b"[]",
            b"{}",
            b'"plan"',
            b"9" * 100_000,
            b'{"appliances": ' + b"9" * 100_000 + b"}",
            b"[" * 1_000_000,
            b'{"appliances": NaN, "format_version": "1.0", "checksum": "0"}',
            b'{"appliances": "\\ud800", "format_version": "1.0", "checksum": "0"}',
        ],
    )
    def test_it_is_refused_in_one_sentence(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "plan.json"
        path.write_bytes(content)
        with pytest.raises((UnreadableInput, StaleError)) as caught:
            read_plan(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize("bracket", ["[]", "{}"])
    def test_at_no_depth_does_it_break_the_program(self, tmp_path: Path, bracket: str) -> None:
        path = tmp_path / "plan.json"
        opening = "[" if bracket == "[]" else '{"a":'
        for depth in (10, 190, 210, *range(850, 1010, 3), 5000):
            nested = opening * depth + "1" + bracket[1] * depth
            path.write_text('{"format_version": "1.0", "checksum": "0", "appliances": ' + nested + "}")
            with pytest.raises((UnreadableInput, StaleError)):
                read_plan(path)

    @pytest.mark.parametrize("value", ["\ud800", float("nan"), 1e999, 2**70, {"x": "\x1b[2J"}, None])
    @pytest.mark.parametrize("key", ["made_at", "digest", "appliances", "basis", "findings"])
    def test_a_forged_value_is_refused_in_one_sentence(self, saved: Path, key: str, value: object) -> None:
        with pytest.raises((UnreadableInput, StaleError)) as caught:
            read_plan(rewritten(saved, lambda document: document.update({key: value})))
        assert "\n" not in str(caught.value)

    def test_what_cannot_be_read_is_said(self, tmp_path: Path) -> None:
        for path in (tmp_path / "nowhere", tmp_path):
            with pytest.raises(UnreadableInput, match="cannot be read"):
                read_plan(path)

    def test_more_than_any_plan_holds_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "plan.json"
        with path.open("wb") as file:
            file.truncate(2**40)
        with pytest.raises(UnreadableInput, match="is no saved plan"):
            read_plan(path)


class TestAge:
    def test_it_may_be_as_old_as_allowed(self, saved: Path) -> None:
        plan = read_plan(saved)
        check_age(plan, NOW + MAX_AGE)
        check_age(plan, NOW + 8 * DAY, 8 * DAY)
        check_age(plan, NOW - 5 * MINUTE)

    @pytest.mark.parametrize(
        ("age", "allowed", "sentence"),
        [
            (7 * DAY + MINUTE, MAX_AGE, "the plan is 7d old, and 7d is allowed"),
            (7 * DAY + 3 * HOUR, MAX_AGE, "the plan is 171h old, and 7d is allowed"),
            (20 * MINUTE, 10 * MINUTE, "the plan is 20m old, and 10m is allowed"),
            (90 * MINUTE, HOUR, "the plan is 90m old, and 1h is allowed"),
        ],
    )
    def test_and_not_older(self, saved: Path, age: dt.timedelta, allowed: dt.timedelta, sentence: str) -> None:
        with pytest.raises(StaleError, match=sentence):
            check_age(read_plan(saved), NOW + age, allowed)

    def test_nor_from_the_future(self, saved: Path) -> None:
        with pytest.raises(StaleError, match="made in the future, on 2026-11-23 12:00 UTC - check the clocks"):
            check_age(read_plan(saved), NOW - 6 * MINUTE)


class TestAgain:
    def test_what_did_not_move_is_carried_out(self, engine: Engine, saved: Path) -> None:
        planned = again(engine, read_plan(saved), later=6 * DAY)
        assert steps(planned.plan) == ["import new", "default new", "remove old"]
        assert planned.plan.made_at == NOW
        assert {each.outcome for each in engine.apply(planned).values()} == {Outcome.APPLIED}

    def test_once_it_is_carried_out_it_fits_no_more(self, engine: Engine, saved: Path) -> None:
        plan = read_plan(saved)
        engine.apply(again(engine, plan))
        assert [each.partition(":")[0] for each in moved(engine, plan)] == ["east", "west"]

    def test_a_plan_with_nothing_to_do_fits_for_as_long_as_that_is_so(self, engine: Engine, tmp_path: Path) -> None:
        engine.apply(engine.plan())
        save_plan(engine.plan().plan, tmp_path / "plan.json")
        plan = read_plan(tmp_path / "plan.json")
        for _ in range(2):
            assert {each.outcome for each in engine.apply(again(engine, plan)).values()} == {Outcome.UNCHANGED}

    def test_an_appliance_that_moved_is_named_with_what(self, engine: Engine, saved: Path) -> None:
        by_hand = leaf(one(), start=-20, names=["west.example.com"], common_name="By hand")
        engine.stores["west"].put(by_hand)
        [told] = moved(engine, read_plan(saved))
        short = by_hand.certificate.fingerprint[:12]
        assert told == f"west: its store has changed; By hand ({short}) may be served for west.example.com now"

    def test_so_is_one_that_lost_a_certificate(self, engine: Engine, tmp_path: Path) -> None:
        names = ["west.example.com", "access.example.com"]
        by_hand = leaf(one(), start=-20, names=names, common_name="By hand")
        engine.stores["west"].put(by_hand)
        save_plan(engine.plan().plan, tmp_path / "plan.json")
        engine.stores["west"].drop(by_hand.certificate.fingerprint)
        [told] = moved(engine, read_plan(tmp_path / "plan.json"))
        assert f"By hand ({by_hand.certificate.fingerprint[:12]}) is not served for " in told
        assert told.endswith(" and 1 more any more")

    def test_each_action_that_is_another_is_named(self, engine: Engine, saved: Path) -> None:
        engine.stores["east"].put(NEW)
        [told] = moved(engine, read_plan(saved))
        assert told.startswith("east: its store has changed; ")
        assert "import" in told
        assert "not planned any more" in told

    def test_whatever_changes_nothing_of_the_plan_may_move(self, engine: Engine, saved: Path) -> None:
        engine.state = replace(engine.state, revision="f" * 40, digest="0" * 64)
        assert again(engine, read_plan(saved)).plan.basis.revision == "f" * 40

    def test_another_desired_state_is_named(self, engine: Engine, saved: Path) -> None:
        other = leaf(one(), start=-9, names=["access.example.com", "east.example.com", "west.example.com"])
        changed = Stage(replace(PAIR, certificates={"new": provided(other)}), {}).state
        engine.state = replace(changed, revision="f" * 40, digest="0" * 64)
        first, *others = moved(engine, read_plan(saved))
        assert first.startswith("the desired state is another one: it was the work tree's (SHA-256 ")
        assert ", and is that of commit ffffffffffff (SHA-256 " in first
        assert [each.partition(":")[0] for each in others] == ["east", "west"]
        assert not any("its store has changed" in each for each in others)

    def test_an_appliance_that_cannot_be_reached_any_more_is_named_with_why(self, engine: Engine, saved: Path) -> None:
        engine.stores["west"].faults["observe", 2] = Fault.UNREACHABLE
        assert moved(engine, read_plan(saved)) == [
            "east: it comes after other appliances",
            "west: it was planned, and is unreachable now: nobody answers",
        ]

    def test_one_that_is_declared_no_more_or_only_now_is_named(self, engine: Engine, saved: Path) -> None:
        engine.state = Stage(replace(PAIR, west=None), {}).state
        assert "west is not declared any more" in moved(engine, read_plan(saved))
        alone = Stage(replace(PAIR, west=None), {})
        engine.state = alone.state
        plan = engine.plan().plan
        engine.state = Stage(PAIR, {}).state
        assert "west is declared now" in moved(engine, plan)

    def test_a_plan_that_lists_an_appliance_twice_is_another_one(self, engine: Engine, saved: Path) -> None:
        def twice(document: dict[str, Any]) -> None:
            document["appliances"].append(document["appliances"][1])

        assert moved(engine, read_plan(rewritten(saved, twice, digested=True))) == [
            "the appliances are listed otherwise"
        ]

    def test_a_hold_that_has_ended_meanwhile_stays_held(self, monkeypatch: pytest.MonkeyPatch) -> None:
        new = leaf(two(), start=-10, names=["access.example.com", "east.example.com"])
        clients = builds((-600, [one()]), (-1, [one(), two()]))
        scene = Scene({"new": provided(new)}, default="new", clients=clients)
        store = MemoryStore().put(OLD, name="old", default=True).put(*OLD.chain)
        engine = Engine(monkeypatch, scene, {"east": store})
        plan = engine.plan().plan
        held = [each.id for each in plan.actions if each.state is State.HELD]
        ready = [each.id for each in plan.actions if each.state is State.READY]
        assert held
        assert ready
        results = engine.apply(again(engine, plan, later=6 * DAY))
        assert [step.action for step in results["east"].steps] == ready
        assert store.default == OLD.certificate.fingerprint


class TestScope:
    def test_it_is_planned_again_for_the_same_appliances(self, engine: Engine, tmp_path: Path) -> None:
        save_plan(engine.plan(only=frozenset({"east"})).plan, tmp_path / "plan.json")
        plan = read_plan(tmp_path / "plan.json")
        planned = again(engine, plan)
        assert [each.name for each in planned.plan.appliances] == ["east"]
        assert set(engine.apply(planned)) == {"east"}
        assert engine.stores["west"].changes == []

    def test_one_of_them_that_is_gone_is_named(self, engine: Engine) -> None:
        plan = engine.plan(only=frozenset({"east", "west"})).plan
        engine.state = Stage(replace(PAIR, west=None), {}).state
        assert moved(engine, plan) == ["west is not declared any more"]

    def test_the_removals_that_were_allowed_are_allowed_again(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        rows = [self_signed([f"{name}.example.org"], common_name=name) for name in ("one", "two", "three")]
        store = MemoryStore().put(NEW, name="new", default=True).put(*NEW.chain).put(*rows)
        engine = Engine(monkeypatch, replace(PAIR, west=None, east="undeclared: remove\n"), {"east": store})
        save_plan(engine.plan(allow_removals=3).plan, tmp_path / "plan.json")
        plan = read_plan(tmp_path / "plan.json")
        assert len(steps(again(engine, plan).plan)) == 3
        # A ceiling is no part of what was reviewed: what follows from it is.
        assert what_moved(plan, engine.plan().plan) != ()
        assert what_moved(plan, engine.plan(allow_removals=5).plan) == ()


def test_it_holds_no_secret(saved: Path) -> None:
    text = saved.read_text()
    assert PASSPHRASE not in text
    assert "PRIVATE KEY" not in text
