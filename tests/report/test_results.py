from __future__ import annotations

from reconciler.apply.result import ApplianceResult, Outcome, StepResult
from reconciler.report.page import Medium
from reconciler.report.results import Applied, applied, results_text
from tests.report import sample
from tests.report.goldens import check_golden

RESULTS = applied(
    sample.PLAN,
    (
        ApplianceResult(
            "east-1",
            Outcome.FAILED,
            (
                StepResult("east-1/1", Outcome.APPLIED),
                StepResult("east-1/2", Outcome.FAILED, f"the key of {sample.HOSTILE} does not fit", "commit its key"),
                StepResult("east-1/3", Outcome.NOT_ATTEMPTED),
                StepResult("east-1/4", Outcome.NOT_ATTEMPTED, "west-1/4 did not succeed", "see what came of it"),
            ),
        ),
        ApplianceResult("lone", Outcome.FAILED, (), "the store cannot be opened", "check the path"),
        ApplianceResult("mute", Outcome.FAILED, (), "the store cannot be opened"),
        ApplianceResult("node-1", Outcome.UNCHANGED),
        ApplianceResult("node-2", Outcome.STALE, (StepResult("node-2/1", Outcome.STALE, "it is gone", "plan again"),)),
        ApplianceResult("node-3", Outcome.APPLIED),
        ApplianceResult("west-1", Outcome.APPLIED, (StepResult("west-1/1", Outcome.APPLIED, made="ab" * 32),)),
    ),
)


def test_every_appliance_gets_one_result_with_the_step_that_failed() -> None:
    check_golden("results-pipe.txt", results_text(RESULTS, Medium()))
    check_golden("results-80.txt", results_text(RESULTS, Medium(80)))


def test_success_says_how_much_was_done() -> None:
    west = RESULTS.model_copy(update={"results": RESULTS.results[-1:]})
    assert f": SHA-256 {'ab' * 32}\n" in results_text(west, Medium())
    assert results_text(west, Medium()).endswith("\nApply: 1 action applied on 1 appliance.\n")


def test_the_document_is_read_back_as_it_was_written() -> None:
    assert Applied.model_validate_json(RESULTS.model_dump_json(by_alias=True)) == RESULTS
    assert [each.failed_step for each in RESULTS.results] == [2, None, None, None, 1, None, None]
