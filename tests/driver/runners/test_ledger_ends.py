"""The ledger: failures and retries, interrupts, and what it finds after a crash."""

import math
from dataclasses import replace

import pytest

from platform.storage.trial_end import State, TrialEnd
from platform.tracking.journal import TrialFiles
from tests.driver.ledgers import Ended, report, start, starts_nothing


def test_a_report_that_was_journalled_but_not_told_to_the_study_is_told_by_the_next_driver(begin):
    first = begin()
    start(first.ledger)
    report(first.ledger, 0, 1, 0.1)
    TrialFiles(first.folder, 0).append(2, {"valid/ndcg_10": 0.2})  # the driver dies here
    here = begin()
    assert here.study.trials()[0].intermediate_values == {1: 0.1, 2: 0.2}


def test_an_end_that_was_written_but_not_told_is_only_told(begin):
    first = begin()
    start(first.ledger)
    report(first.ledger, 0, 1, 0.4)
    TrialFiles(first.folder, 0).end(TrialEnd(State.COMPLETE, "finished", 5.0))
    here = begin("num_trials=1")
    (trial,) = here.study.trials()
    assert (trial.state.name, trial.value) == ("COMPLETE", 0.4)
    assert here.ledger.left == 0
    assert starts_nothing(here.ledger)


def test_a_trial_that_is_taken_up_with_nothing_left_to_report_ends_with_what_it_reported_before(begin):
    first = begin()
    start(first.ledger)
    report(first.ledger, 0, 1, 0.4)
    here = begin("num_trials=1")
    assert start(here.ledger).number == 0
    here.ledger.finish(0, {"trial/wall_seconds": 2.0})
    assert here.ended == [Ended(0, "COMPLETE", "finished", (0.4,))]
    assert [line["step"] for line in TrialFiles(here.folder, 0).lines()] == [1, 1]


def test_a_trial_that_was_asked_for_and_not_started_when_its_driver_died_is_one_of_those_asked_for(begin):
    begin("num_trials=2").study.optuna.ask()  # the driver dies here
    here = begin("num_trials=2")
    assert here.ledger.left == 2
    assert [start(here.ledger).number for _ in range(2)] == [0, 1]
    assert starts_nothing(here.ledger)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_trial_whose_last_journalled_objective_is_not_finite_fails_when_it_is_taken_up(begin, value):
    first = begin()
    start(first.ledger)
    TrialFiles(first.folder, 0).append(1, {"valid/ndcg_10": value})  # the driver dies here
    here = begin("num_trials=1")
    (trial,) = here.study.trials()
    assert trial.state.name == "FAIL"
    assert TrialFiles(here.folder, 0).read("end.json")["reason"] == (
        f"non-finite objective: valid/ndcg_10 = {value} at step 1"
    )
    assert here.ledger.left == 0


def test_a_failed_trial_is_started_again_under_its_number_before_a_new_one(begin):
    here = begin()
    first = start(here.ledger)
    here.ledger.fail(0, "worker lost", "gone")
    again = start(here.ledger)
    assert again == replace(first, attempt=1)
    assert here.ended == []


def test_a_trial_fails_after_the_failures_it_is_allowed(begin):
    here = begin("limits.max_failures_per_trial=2")
    for attempt in range(3):
        assert start(here.ledger).attempt == attempt
        here.ledger.fail(0, "exception", f"no {attempt}")
    assert here.ended == [Ended(0, "FAIL", "exception: no 2", None)]
    assert here.study.trials()[0].state.name == "FAIL"


def test_a_trial_whose_workers_are_lost_is_no_failure_and_ends_where_none_gets_any_further(begin):
    here = begin("limits.max_failures_per_trial=0", "limits.max_failed_trials=0")
    for _ in range(4):
        start(here.ledger)
        here.ledger.fail(0, "worker lost", "gone")
    assert here.ended == []
    here = begin("limits.max_failures_per_trial=0", "limits.max_failed_trials=0")  # the driver was lost, too
    assert start(here.ledger).attempt == 5
    here.ledger.fail(0, "worker lost", "gone")
    assert here.ended == [Ended(0, "FAIL", "worker lost: gone (5 times in a row)", None)]


def test_a_trial_that_ran_out_of_memory_comes_back_as_it_was_where_its_trainable_says_nothing(begin):
    here = begin()
    assert start(here.ledger).micro_batch_divisor == 1
    here.ledger.fail(0, "out of memory", "")
    assert start(here.ledger).micro_batch_divisor == 1


def test_a_trial_that_ran_out_of_memory_comes_back_with_half_the_micro_batch_where_that_is_exact(begin):
    space = ("trainable=spectran", "metric.name=valid/ndcg_20", "constraints=[]")
    here = begin(*space, "parameters={adapter.name: none, fit.batch_size: {values: [64, 128]}}")
    start(here.ledger)
    here.ledger.fail(0, "out of memory", "")
    assert start(here.ledger).micro_batch_divisor == 2
    here = begin(
        *space, "parameters={adapter.name: none, fit.batch_size: {values: [64, 128]}}"
    )  # by another driver, too
    assert start(here.ledger).micro_batch_divisor == 2
    here.ledger.fail(0, "out of memory", "again")
    assert here.ended[0].reason == "out of memory: again"


def test_an_exception_that_comes_back_at_the_same_report_is_not_tried_a_third_time(begin):
    here = begin("limits.max_failures_per_trial=5")
    for _ in range(2):
        start(here.ledger)
        report(here.ledger, 0, 1, 0.5)
        here.ledger.fail(0, "exception", "ValueError: shapes")
    assert here.ended == [Ended(0, "FAIL", "exception: ValueError: shapes", (0.5,))]


def test_an_exception_after_more_reports_is_another_one(begin):
    here = begin("limits.max_failures_per_trial=5")
    for step in (1, 2):
        start(here.ledger)
        report(here.ledger, 0, step, 0.5)
        here.ledger.fail(0, "exception", "ValueError: shapes")
    assert here.ended == []


def test_a_worker_that_retires_is_no_failure_of_the_trial(begin):
    here = begin("limits.max_failures_per_trial=0")
    for _ in range(3):
        start(here.ledger)
        here.ledger.fail(0, "worker retired", "a thread still runs")
    assert here.ended == []
    assert start(here.ledger).number == 0


def test_an_interrupt_leaves_running_and_waiting_trials_to_be_taken_up(begin):
    here = begin()
    for _ in range(2):
        start(here.ledger)
    here.ledger.fail(1, "worker lost", "")
    here.shipped.numbers.clear()
    here.ledger.interrupt()
    assert here.ledger.running == {}
    assert sorted(here.shipped.numbers) == [0, 1]
    for number in (0, 1):
        end = TrialFiles(here.folder, number).read("end.json")
        assert (end["state"], end["reason"]) == ("INTERRUPTED", "interrupted, resumable")
    assert [trial.state.name for trial in here.study.trials()] == ["RUNNING", "RUNNING"]
    again = begin()
    assert {start(again.ledger).number, start(again.ledger).number} == {0, 1}
    assert not (here.folder / "trials" / "0" / "end.json").exists()


def test_an_interrupt_before_a_taken_up_trial_was_ever_written_goes_well(begin):
    first = begin()
    number = first.study.ask().number  # the driver dies before the trial's folder is made
    here = begin()
    here.ledger.interrupt()
    assert TrialFiles(here.folder, number).read("end.json")["state"] == "INTERRUPTED"
    assert start(begin().ledger).number == number


def test_an_interrupt_between_an_ends_writing_and_its_telling_keeps_the_end(begin, monkeypatch):
    here = begin()
    start(here.ledger)
    report(here.ledger, 0, 1, 0.4)
    monkeypatch.setattr(here.study, "tell", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        here.ledger.finish(0, {})
    here.ledger.interrupt()
    assert TrialFiles(here.folder, 0).read("end.json")["state"] == "COMPLETE"
    assert begin().study.trials()[0].value == 0.4


def test_a_trial_that_waits_is_still_run_when_the_grid_is_used_up(begin):
    grid = ("method=grid", "parameters.x={values: [0.1, 0.2]}", "parameters.width=32")
    here = begin(*grid, "parameters.part.name=plain")
    assert [start(here.ledger).number for _ in range(2)] == [0, 1]
    assert starts_nothing(here.ledger)
    assert here.ledger.is_exhausted
    assert here.ledger.closing is None
    assert here.ledger.left == 0
    here.ledger.fail(0, "worker lost", "")
    assert here.ledger.left == 1
    assert start(here.ledger).number == 0
    assert report(here.ledger, 0, 1, 0.5)
