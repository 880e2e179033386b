"""The ledger: failures and retries, limits, interrupts, and what it finds after a crash."""

import math
from typing import Any

import pytest

from platform import room
from platform.journal import TrialFiles
from platform.runners import ledger as ledgers
from platform.runners.ledger import Ledger
from platform.runners.live import Ended


def start(ledger: Ledger) -> dict[str, Any] | None:
    return ledger.next_task(cpus=1.0, gpus=0.0)


def report(ledger: Ledger, number: int, step: int, value: float) -> bool:
    return ledger.report(number, step, {"train/loss": 1.0, "valid/ndcg_10": value})


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
    TrialFiles(first.folder, 0).end({"state": "COMPLETE", "reason": "finished", "time": 5.0})
    here = begin("num_trials=1")
    (trial,) = here.study.trials()
    assert (trial.state.name, trial.value) == ("COMPLETE", 0.4)
    assert here.ledger.left == 0
    assert start(here.ledger) is None


def test_a_trial_that_is_taken_up_with_nothing_left_to_report_ends_with_what_it_reported_before(begin):
    first = begin()
    start(first.ledger)
    report(first.ledger, 0, 1, 0.4)
    here = begin("num_trials=1")
    assert start(here.ledger)["number"] == 0
    here.ledger.finish(0, {"trial/wall_seconds": 2.0})
    assert here.ended == [Ended(0, "COMPLETE", "finished", (0.4,))]
    assert [line["step"] for line in TrialFiles(here.folder, 0).lines()] == [1, 1]


def test_a_trial_whose_last_journalled_objective_is_not_finite_fails_when_it_is_taken_up(begin):
    first = begin()
    start(first.ledger)
    TrialFiles(first.folder, 0).append(1, {"valid/ndcg_10": math.nan})  # the driver dies here
    here = begin("num_trials=1")
    (trial,) = here.study.trials()
    assert trial.state.name == "FAIL"
    assert TrialFiles(here.folder, 0).read("end.json")["reason"] == (
        "non-finite objective: valid/ndcg_10 = nan at step 1"
    )
    assert here.ledger.left == 0


def test_a_failed_trial_is_started_again_under_its_number_before_a_new_one(begin):
    here = begin()
    first = start(here.ledger)
    here.ledger.fail(0, "worker lost", "gone")
    again = start(here.ledger)
    assert again == {**first, "attempt": 1}
    assert here.ended == []


def test_a_trial_fails_after_the_failures_it_is_allowed(begin):
    here = begin("limits.max_failures_per_trial=2")
    for attempt in range(3):
        assert start(here.ledger)["attempt"] == attempt
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
    assert start(here.ledger)["attempt"] == 5
    here.ledger.fail(0, "worker lost", "gone")
    assert here.ended == [Ended(0, "FAIL", "worker lost: gone (5 times in a row)", None)]


def test_a_trial_that_ran_out_of_memory_comes_back_as_it_was_where_its_trainable_says_nothing(begin):
    here = begin()
    assert start(here.ledger)["micro_batch_divisor"] == 1
    here.ledger.fail(0, "out of memory", "")
    assert start(here.ledger)["micro_batch_divisor"] == 1


def test_a_trial_that_ran_out_of_memory_comes_back_with_half_the_micro_batch_where_that_is_exact(begin):
    space = ("trainable=spectran", "metric.name=valid/ndcg_20", "constraints=[]")
    here = begin(*space, "parameters={adapter.name: none, fit.batch_size: {values: [64, 128]}}")
    start(here.ledger)
    here.ledger.fail(0, "out of memory", "")
    assert start(here.ledger)["micro_batch_divisor"] == 2
    here = begin(
        *space, "parameters={adapter.name: none, fit.batch_size: {values: [64, 128]}}"
    )  # by another driver, too
    assert start(here.ledger)["micro_batch_divisor"] == 2
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
    assert start(here.ledger)["number"] == 0


def test_too_many_failed_trials_close_the_sweep(begin):
    here = begin("limits.max_failed_trials=1", "limits.max_failures_per_trial=0")
    for number in range(2):
        start(here.ledger)
        here.ledger.fail(number, "exception", "no")
    assert start(here.ledger) is None
    assert here.ledger.closing == "limits.max_failed_trials 1 is exceeded"
    assert here.ledger.left == 0


def test_a_closing_sweep_ends_what_runs_and_leaves_what_waits_to_be_taken_up(begin):
    here = begin("limits.max_failed_trials=1", "limits.max_failures_per_trial=0")
    for _ in range(4):
        start(here.ledger)
    here.ledger.fail(3, "worker retired", "")  # waits
    for number in (0, 1):
        here.ledger.fail(number, "exception", "no")
    assert not report(here.ledger, 2, 1, 0.5)
    here.ledger.interrupt()
    states = [trial.state.name for trial in here.study.trials()[:3]]
    assert states == ["FAIL", "FAIL", "PRUNED"]
    assert here.ended[-1].reason == "limits.max_failed_trials 1 is exceeded"
    assert TrialFiles(here.folder, 3).read("end.json")["state"] == "INTERRUPTED"


def test_the_hours_of_a_sweep_end_what_runs_and_start_nothing_more(begin, monkeypatch):
    here = begin("limits.max_hours=1")
    start(here.ledger)
    now = ledgers.time.monotonic()
    monkeypatch.setattr(ledgers.time, "monotonic", lambda: now + 3601)
    assert not report(here.ledger, 0, 1, 0.5)
    assert here.ended == [Ended(0, "PRUNED", "limits.max_hours 1 is reached", (0.5,))]
    assert start(here.ledger) is None


def test_the_minutes_of_a_trial_end_it_and_not_the_sweep(begin, monkeypatch):
    here = begin("limits.max_minutes_per_trial=2")
    start(here.ledger)
    assert report(here.ledger, 0, 1, 0.5)
    now = ledgers.time.monotonic()
    monkeypatch.setattr(ledgers.time, "monotonic", lambda: now + 121)
    assert not report(here.ledger, 0, 2, 0.6)
    assert here.ended == [Ended(0, "PRUNED", "time limit (max_minutes_per_trial 2)", (0.6,))]
    assert here.study.trials()[0].intermediate_values == {1: 0.5, 2: 0.6}
    assert start(here.ledger)["number"] == 1


class Clock:
    """In place of the clock: `pass_` lets it go on."""

    def __init__(self, monkeypatch) -> None:
        self._now = ledgers.time.monotonic()
        monkeypatch.setattr(ledgers.time, "monotonic", lambda: self._now)

    def pass_(self, seconds: float) -> None:
        self._now += seconds


def test_a_trial_that_hangs_is_ended_a_little_after_its_minutes(begin, monkeypatch):
    clock = Clock(monkeypatch)
    here = begin("limits.max_minutes_per_trial=2")
    start(here.ledger)
    assert report(here.ledger, 0, 1, 0.5)
    clock.pass_(125)
    assert here.ledger.end_silent() == []  # it may yet report, which spares its worker
    clock.pass_(6)
    assert here.ledger.end_silent() == [0]
    assert here.ended == [Ended(0, "PRUNED", "time limit (max_minutes_per_trial 2)", (0.5,))]
    assert not report(here.ledger, 0, 2, 0.6)
    assert here.ledger.end_silent() == []


def test_minutes_for_which_a_trial_waits_for_anothers_stage_are_not_its_own(begin, monkeypatch):
    clock = Clock(monkeypatch)
    here = begin("limits.max_minutes_per_trial=2")
    status = here.folder / "trials" / str(start(here.ledger)["number"]) / "status"
    status.write_text("phase1: waits for pretrained, computed by trial 7")
    for _ in range(100):
        clock.pass_(2)
        assert here.ledger.end_silent() == []
    assert report(here.ledger, 0, 1, 0.5)
    status.write_text("epoch 3, which waits for nothing")
    clock.pass_(125)
    assert not report(here.ledger, 0, 2, 0.6)


def test_trials_that_hang_are_ended_with_the_hours_of_the_sweep(begin, monkeypatch):
    clock = Clock(monkeypatch)
    here = begin("limits.max_hours=1")
    start(here.ledger), start(here.ledger)
    clock.pass_(3601)
    assert here.ledger.end_silent() == []
    clock.pass_(11)
    assert here.ledger.end_silent() == [0, 1]
    assert {ended.reason for ended in here.ended} == {"limits.max_hours 1 is reached"}
    assert here.ledger.left == 0


GRID = ("method=grid", "parameters={x: {values: [0.1, 0.2, 0.3]}}", "constraints=[]")


def used_up(begin, *overrides):
    """A sweep over a grid whose points have all been started, and that has found out that there is none more."""
    here = begin(*GRID, *overrides)
    for _ in range(3):
        start(here.ledger)
    assert start(here.ledger) is None
    assert here.ledger.is_exhausted
    return here


def test_the_hours_of_a_sweep_end_what_runs_after_a_grid_is_used_up_too(begin, monkeypatch):
    clock = Clock(monkeypatch)
    here = used_up(begin, "limits.max_hours=1")
    assert report(here.ledger, 0, 1, 0.5)
    clock.pass_(3601)
    assert not report(here.ledger, 0, 2, 0.6)
    assert here.ledger.end_silent() == []
    clock.pass_(11)
    assert here.ledger.end_silent() == [1, 2]
    assert {ended.reason for ended in here.ended} == {"limits.max_hours 1 is reached"}


def test_failed_trials_close_a_sweep_after_its_grid_is_used_up_too(begin):
    here = used_up(begin, "limits.max_failed_trials=0", "limits.max_failures_per_trial=0")
    here.ledger.fail(0, "exception", "no")
    here.ledger.fail(1, "worker retired", "")  # waits
    assert start(here.ledger) is None
    assert here.ledger.closing == "limits.max_failed_trials 0 is exceeded"
    assert here.ledger.left == 0


def test_a_trial_that_comes_back_after_a_grid_is_used_up_waits_for_room_and_no_trial_does_where_none_is_left(
    begin, monkeypatch
):
    monkeypatch.setattr(room, "_has_room", lambda folder, size: False)
    here = used_up(begin)
    here.ledger.fail(0, "worker lost", "")
    here.ledger.fail(1, "disk full", "OSError")
    assert here.ledger.is_full
    assert start(here.ledger) is None
    monkeypatch.setattr(room, "_has_room", lambda folder, size: True)
    monkeypatch.setattr(room, "_PAUSE_S", 0.0)
    assert start(here.ledger)["number"] == 0
    monkeypatch.setattr(room, "_has_room", lambda folder, size: False)
    here.ledger.fail(2, "disk full", "OSError")
    assert not here.ledger.is_full


def test_the_budget_counts_trials_of_earlier_drivers_and_may_grow(begin):
    first = begin("num_trials=2")
    for number in range(2):
        start(first.ledger)
        report(first.ledger, number, 1, 0.5)
        first.ledger.finish(number, {})
    assert start(first.ledger) is None
    assert begin("num_trials=2").ledger.left == 0
    assert begin("num_trials=3").ledger.left == 1


def test_an_interrupt_leaves_running_and_waiting_trials_to_be_taken_up(begin):
    here = begin()
    for _ in range(2):
        start(here.ledger)
    here.ledger.fail(1, "worker lost", "")
    here.shipped.numbers.clear()
    here.ledger.interrupt()
    assert here.ledger.live == {}
    assert sorted(here.shipped.numbers) == [0, 1]
    for number in (0, 1):
        end = TrialFiles(here.folder, number).read("end.json")
        assert (end["state"], end["reason"]) == ("INTERRUPTED", "interrupted, resumable")
    assert [trial.state.name for trial in here.study.trials()] == ["RUNNING", "RUNNING"]
    again = begin()
    assert {start(again.ledger)["number"], start(again.ledger)["number"]} == {0, 1}
    assert not (here.folder / "trials" / "0" / "end.json").exists()


def test_an_interrupt_before_a_taken_up_trial_was_ever_written_goes_well(begin):
    first = begin()
    number = first.study.ask().number  # the driver dies before the trial's folder is made
    here = begin()
    here.ledger.interrupt()
    assert TrialFiles(here.folder, number).read("end.json")["state"] == "INTERRUPTED"
    assert start(begin().ledger)["number"] == number


def test_an_interrupt_between_an_ends_writing_and_its_telling_keeps_the_end(begin, monkeypatch):
    here = begin()
    start(here.ledger)
    report(here.ledger, 0, 1, 0.4)
    monkeypatch.setattr(here.study, "complete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        here.ledger.finish(0, {})
    here.ledger.interrupt()
    assert TrialFiles(here.folder, 0).read("end.json")["state"] == "COMPLETE"
    assert begin().study.trials()[0].value == 0.4


def test_a_trial_that_waits_is_still_run_when_the_grid_is_used_up(begin):
    grid = ("method=grid", "parameters.x={values: [0.1, 0.2]}", "parameters.width=32")
    here = begin(*grid, "parameters.part.name=plain")
    assert [start(here.ledger)["number"] for _ in range(2)] == [0, 1]
    assert start(here.ledger) is None
    assert here.ledger.is_exhausted
    assert here.ledger.closing is None
    assert here.ledger.left == 0
    here.ledger.fail(0, "worker lost", "")
    assert here.ledger.left == 1
    assert start(here.ledger)["number"] == 0
    assert report(here.ledger, 0, 1, 0.5)
