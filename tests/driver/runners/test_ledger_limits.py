"""The ledger: limits of a trial and of the sweep, and a search that is used up."""

import time

from platform.storage import disk_space
from platform.tracking.journal import TrialFiles
from tests.driver.ledgers import Ended, report, start, starts_nothing


def test_too_many_failed_trials_close_the_sweep(begin):
    here = begin("limits.max_failed_trials=1", "limits.max_failures_per_trial=0")
    for number in range(2):
        start(here.ledger)
        here.ledger.fail(number, "exception", "no")
    assert starts_nothing(here.ledger)
    assert here.ledger.closing == "limits.max_failed_trials 1 is exceeded"
    assert here.ledger.left == 0


def test_a_closing_sweep_interrupts_what_runs_and_what_waits_and_a_higher_limit_resumes_both(begin):
    here = begin("limits.max_failed_trials=1", "limits.max_failures_per_trial=0")
    for _ in range(4):
        start(here.ledger)
    here.ledger.fail(3, "worker retired", "")  # waits
    for number in (0, 1):
        here.ledger.fail(number, "exception", "no")
    assert not report(here.ledger, 2, 1, 0.5)
    here.ledger.interrupt()
    states = [trial.state.name for trial in here.study.trials()[:3]]
    assert states == ["FAIL", "FAIL", "RUNNING"]
    assert [TrialFiles(here.folder, number).read("end.json")["state"] for number in (2, 3)] == ["INTERRUPTED"] * 2
    again = begin("limits.max_failed_trials=2", "limits.max_failures_per_trial=0")
    assert [start(again.ledger).number for _ in range(2)] == [2, 3]
    assert again.study.trials()[2].intermediate_values == {1: 0.5}


def test_the_hours_of_a_sweep_interrupt_what_runs_and_start_nothing_more(begin, monkeypatch):
    here = begin("limits.max_hours=1")
    start(here.ledger)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 3601)
    assert not report(here.ledger, 0, 1, 0.5)
    assert here.ledger.closing == "limits.max_hours 1 is reached"
    assert (here.ended, here.ledger.running) == ([], {})
    assert TrialFiles(here.folder, 0).read("end.json")["state"] == "INTERRUPTED"
    assert starts_nothing(here.ledger)


def test_the_minutes_of_a_trial_end_it_and_not_the_sweep(begin, monkeypatch):
    here = begin("limits.max_minutes_per_trial=2")
    start(here.ledger)
    assert report(here.ledger, 0, 1, 0.5)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 121)
    assert not report(here.ledger, 0, 2, 0.6)
    assert here.ended == [Ended(0, "PRUNED", "time limit (max_minutes_per_trial 2)", (0.6,))]
    assert here.study.trials()[0].intermediate_values == {1: 0.5, 2: 0.6}
    assert start(here.ledger).number == 1


class Clock:
    """In place of the clock: `pass_` lets it go on."""

    def __init__(self, monkeypatch) -> None:
        self._now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: self._now)

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
    status = here.folder / "trials" / str(start(here.ledger).number) / "status"
    status.write_text("phase1: waits for pretrained, computed by trial 7")
    for _ in range(100):
        clock.pass_(2)
        assert here.ledger.end_silent() == []
    assert report(here.ledger, 0, 1, 0.5)
    status.write_text("epoch 3, which waits for nothing")
    clock.pass_(125)
    assert not report(here.ledger, 0, 2, 0.6)


def test_trials_that_hang_are_interrupted_with_the_hours_of_the_sweep(begin, monkeypatch):
    clock = Clock(monkeypatch)
    here = begin("limits.max_hours=1")
    start(here.ledger), start(here.ledger)
    clock.pass_(3601)
    assert here.ledger.end_silent() == []
    clock.pass_(11)
    assert here.ledger.end_silent() == [0, 1]
    assert (here.ended, here.ledger.running, here.ledger.left) == ([], {}, 0)


GRID = ("method=grid", "parameters={x: {values: [0.1, 0.2, 0.3]}}", "constraints=[]")


def used_up(begin, *overrides):
    """A sweep over a grid whose points have all been started, and that has found out that there is none more."""
    here = begin(*GRID, *overrides)
    for _ in range(3):
        start(here.ledger)
    assert starts_nothing(here.ledger)
    assert here.ledger.is_exhausted
    return here


def test_no_point_of_a_grid_is_lost_to_the_hours_of_a_sweep(begin, monkeypatch):
    clock = Clock(monkeypatch)
    here = used_up(begin, "limits.max_hours=1")
    assert report(here.ledger, 0, 1, 0.5)
    clock.pass_(3601)
    assert not report(here.ledger, 0, 2, 0.6)
    assert here.ledger.end_silent() == []
    clock.pass_(11)
    assert here.ledger.end_silent() == [1, 2]
    again = begin(*GRID, "limits.max_hours=2")
    assert [start(again.ledger).number for _ in range(3)] == [0, 1, 2]
    for number in range(3):
        report(again.ledger, number, 3, 0.5)
        again.ledger.finish(number, {})
    assert [trial.state.name for trial in again.study.trials()] == ["COMPLETE"] * 3


def test_failed_trials_close_a_sweep_after_its_grid_is_used_up_too(begin):
    here = used_up(begin, "limits.max_failed_trials=0", "limits.max_failures_per_trial=0")
    here.ledger.fail(0, "exception", "no")
    here.ledger.fail(1, "worker retired", "")  # waits
    assert starts_nothing(here.ledger)
    assert here.ledger.closing == "limits.max_failed_trials 0 is exceeded"
    assert here.ledger.left == 0


def test_trials_that_come_back_after_a_grid_is_used_up_wait_for_room(begin, monkeypatch):
    monkeypatch.setattr(disk_space, "_has_room", lambda folder, size: False)
    here = used_up(begin)
    here.ledger.fail(0, "worker lost", "")
    here.ledger.fail(1, "disk full", "OSError")
    assert here.ledger.waits
    assert starts_nothing(here.ledger)
    monkeypatch.setattr(disk_space, "_has_room", lambda folder, size: True)
    monkeypatch.setattr(disk_space, "_PAUSE_S", 0.0)
    assert [start(here.ledger).number, start(here.ledger).number] == [1, 0]
    assert not here.ledger.waits


def test_the_budget_counts_trials_of_earlier_drivers_and_may_grow(begin):
    first = begin("num_trials=2")
    for number in range(2):
        start(first.ledger)
        report(first.ledger, number, 1, 0.5)
        first.ledger.finish(number, {})
    assert starts_nothing(first.ledger)
    assert begin("num_trials=2").ledger.left == 0
    assert begin("num_trials=3").ledger.left == 1
